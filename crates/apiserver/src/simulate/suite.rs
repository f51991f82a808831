//! Playing a scenario for many seeds, and what becomes of a seed that fails.
//!
//! Comes in: a [`Scenario`] and a range of seeds. Goes out: a [`Report`]. Each run has a runtime of its own with paused
//! time, so one seed decides everything; [`Suite::twice`] plays each seed again and compares the traces. A failing seed is
//! minimised: as long as it still fails, faults are left out one by one.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube_client::api::{ListParams, PostParams};
//! use kube_client::core::ObjectMeta;
//! use kube_client::{Api, Client};
//! use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Rule, Verb};
//! use watchkeeper_apiserver::simulate::{Outcome, Scenario, Suite, Violation};
//! use watchkeeper_apiserver::{ApiServer, Config, TokioClock};
//!
//! /// A client creates five maps; whatever goes wrong, there must be five in the end.
//! struct FiveMaps {
//!     retries: bool,
//! }
//!
//! impl Scenario for FiveMaps {
//!     type Fault = Rule;
//!
//!     fn faults(&self, seed: u64) -> Vec<Rule> {
//!         let by = Duration::from_secs(seed);
//!         let matcher = Matcher { verbs: vec![Verb::Create], skip: seed % 8, ..Matcher::default() };
//!         let budget = Budget { count: Some(1), ..Budget::default() };
//!         vec![
//!             Rule::new("slow", Action::Delay { by, jitter: Duration::from_secs(1) }),
//!             Rule { matcher, budget, ..Rule::new("lost", Action::ResetBeforeCommit) },
//!         ]
//!     }
//!
//!     async fn run(&self, seed: u64, faults: &[Rule]) -> Outcome {
//!         // Its time is that of the run. The default clock's is the machine's, and no two runs would be alike.
//!         let clock = Arc::new(TokioClock::starting_at("2026-01-01T00:00:00Z".parse().expect("a time")));
//!         let server = ApiServer::new(Config { seed, clock, ..Config::default() });
//!         for rule in faults {
//!             server.faults().add(rule.clone()).expect("a rule that makes sense");
//!         }
//!         let maps: Api<ConfigMap> = Api::default_namespaced(Client::new(server.service("writer"), "default"));
//!         for number in 0..5 {
//!             let metadata = ObjectMeta { name: Some(format!("map-{number}")), ..ObjectMeta::default() };
//!             let map = ConfigMap { metadata, ..ConfigMap::default() };
//!             while maps.create(&PostParams::default(), &map).await.is_err() && self.retries {}
//!         }
//!
//!         server.faults().clear();
//!         let there = maps.list(&ListParams::default()).await.map_or(0, |list| list.items.len());
//!         let verdict = if there == 5 { Ok(()) } else { Err(Violation::new("five", format!("{there} are there"))) };
//!         Outcome { verdict, trace: server.faults().log().join("\n"), fired: server.faults().fired().by_rule }
//!     }
//! }
//!
//! let suite = Suite {
//!     seeds: 0..20,
//!     twice: true,
//!     must_fire: vec!["slow".into(), "lost".into()],
//!     replay: "WATCHKEEPER_SEED={seed} cargo test five_maps".into(),
//!     ..Suite::new("five maps")
//! }
//! .seeds_from_env()?;
//! let report = suite.run(&FiveMaps { retries: true });
//! assert!(report.is_green(), "{report}");
//!
//! // Planted: without retries the lost request is missed, and only that fault is needed to see it.
//! let report = suite.run(&FiveMaps { retries: false });
//! assert_eq!(report.failures[0].kept, [1], "{report}");
//! assert!(report.to_string().contains("again: WATCHKEEPER_SEED=0 cargo test five_maps"), "{report}");
//! # Ok::<(), String>(())
//! ```
//!
//! A failing seed that [`Failed::store`] has kept is played for ever by [`Regression::all`] and [`Suite::replay`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::simulate::check::Violation;

/// So much of the end of a failing trace a report shows.
const TRACE_LINES: usize = 30;

/// A workload and what it meets.
pub trait Scenario {
    /// One thing that goes wrong, and can be left out.
    type Fault: Clone + fmt::Debug;

    /// What goes wrong in the run of this seed.
    fn faults(&self, seed: u64) -> Vec<Self::Fault>;

    /// Plays one seed with these faults. Called inside a runtime of its own whose time is paused.
    fn run(&self, seed: u64, faults: &[Self::Fault]) -> impl Future<Output = Outcome>;
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The judgement.
    pub verdict: Result<(), Violation>,
    /// Everything that happened, in stable text: two runs of one seed must have the same.
    pub trace: String,
    /// How often each kind of fault has fired.
    pub fired: BTreeMap<String, u64>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { verdict: Ok(()), trace: String::new(), fired: BTreeMap::new() }
    }
}

/// Which seeds of a scenario are played, and how.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Names the scenario in reports and regressions.
    pub name: String,
    /// The seeds.
    pub seeds: Range<u64>,
    /// Whether each seed is played twice, and the traces compared.
    pub twice: bool,
    /// What replays a seed, shown with failures: `{seed}` stands for it.
    pub replay: String,
    /// Kinds of faults that must fire at least once over all seeds.
    pub must_fire: Vec<String>,
    /// How many failing seeds are minimised and reported before the suite ends.
    pub most_failures: usize,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What it broke with the faults that are left.
    pub violation: Violation,
    /// The places, among the seed's faults, of those that are needed to break it.
    pub kept: Vec<usize>,
    /// These faults, one a line.
    pub faults: String,
    /// The trace with these faults; a report shows its end.
    pub trace: String,
    /// The line that replays it.
    pub replay: String,
}

/// What came of a suite.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds that were played.
    pub runs: u64,
    /// Seeds that failed.
    pub failures: Vec<Failed>,
    /// How often each kind of fault has fired.
    pub fired: BTreeMap<String, u64>,
    /// Kinds that should have fired and never did.
    pub never_fired: Vec<String>,
}

/// A failing seed as a test keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// The [`Suite::name`].
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The places of the faults that are needed.
    pub kept: Vec<usize>,
    /// What it broke when it was found.
    pub broke: String,
}

impl Suite {
    /// A suite of the first hundred seeds, each played once.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seeds: 0..100,
            twice: false,
            replay: "WATCHKEEPER_SEED={seed}".to_owned(),
            must_fire: Vec::new(),
            most_failures: 3,
        }
    }

    /// The seeds that the environment asks for: `WATCHKEEPER_SEED` is a single one, `WATCHKEEPER_SEEDS` how many from 0 on.
    /// Else these.
    ///
    /// # Errors
    ///
    /// One of them isn't a number.
    pub fn seeds_from_env(mut self) -> Result<Self, String> {
        let number = |name: &str| match std::env::var(name) {
            Ok(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{name}={text}: a number was expected")),
            Err(_) => Ok(None),
        };
        if let Some(count) = number("WATCHKEEPER_SEEDS")? {
            self.seeds = 0..count;
        }
        if let Some(seed) = number("WATCHKEEPER_SEED")? {
            self.seeds = seed..seed.saturating_add(1);
            // One seed needn't have every kind of fault.
            self.must_fire.clear();
        }
        Ok(self)
    }

    /// Plays all seeds, one after the other.
    pub fn run<S: Scenario>(&self, scenario: &S) -> Report {
        let mut report = Report::default();
        for seed in self.seeds.clone() {
            let faults = scenario.faults(seed);
            let outcome = self.judge(scenario, seed, &faults);
            report.runs += 1;
            for (kind, count) in outcome.fired {
                *report.fired.entry(kind).or_default() += count;
            }
            if let Err(violation) = outcome.verdict {
                report.failures.push(self.minimise(scenario, seed, &faults, (violation, outcome.trace)));
                if report.failures.len() >= self.most_failures {
                    break;
                }
            }
        }
        let never = self.must_fire.iter().filter(|kind| report.fired.get(*kind).is_none_or(|count| *count == 0));
        report.never_fired = never.cloned().collect();
        report
    }

    /// Plays a regression again.
    ///
    /// # Errors
    ///
    /// It is broken again; or it says nothing any more: it is another scenario's, or its seed has fewer faults by now.
    pub fn replay<S: Scenario>(&self, scenario: &S, regression: &Regression) -> Result<(), Violation> {
        let stale = |what: String| Err(Violation::new("regression", what));
        if regression.scenario != self.name {
            return stale(format!("it is one of {:?}, not of {:?}", regression.scenario, self.name));
        }
        let faults = scenario.faults(regression.seed);
        let kept: Option<Vec<S::Fault>> = regression.kept.iter().map(|place| faults.get(*place).cloned()).collect();
        let Some(kept) = kept else {
            let (seed, kept, count) = (regression.seed, &regression.kept, faults.len());
            return stale(format!("it needs faults {kept:?} of seed {seed}, which has {count} now"));
        };
        self.judge(scenario, regression.seed, &kept).verdict
    }

    fn judge<S: Scenario>(&self, scenario: &S, seed: u64, faults: &[S::Fault]) -> Outcome {
        let outcome = play(scenario, seed, faults);
        if outcome.verdict.is_err() || !self.twice {
            return outcome;
        }
        let again = play(scenario, seed, faults);
        let difference = first_difference(&outcome.trace, &again.trace).or_else(|| {
            // The same trace, and judged otherwise.
            again.verdict.err().map(|violation| format!("the verdict: fine, then {violation}"))
        });
        match difference {
            None => outcome,
            Some(what) => Outcome { verdict: Err(Violation::new("determinism", what)), ..outcome },
        }
    }

    /// Leaves out what isn't needed, one by one.
    fn minimise<S: Scenario>(
        &self,
        scenario: &S,
        seed: u64,
        faults: &[S::Fault],
        (mut violation, mut trace): (Violation, String),
    ) -> Failed {
        let chosen = |kept: &[usize]| kept.iter().map(|place| faults[*place].clone()).collect::<Vec<_>>();
        let mut kept: Vec<usize> = (0..faults.len()).collect();
        let mut place = 0;
        while place < kept.len() {
            let mut fewer = kept.clone();
            fewer.remove(place);
            let outcome = self.judge(scenario, seed, &chosen(&fewer));
            match outcome.verdict {
                Ok(()) => place += 1,
                Err(still) => (kept, violation, trace) = (fewer, still, outcome.trace),
            }
        }
        let replay = self.replay.replace("{seed}", &seed.to_string());
        let faults = chosen(&kept).iter().map(|fault| format!("{fault:?}\n")).collect();
        Failed { seed, violation, faults, kept, trace, replay }
    }
}

/// Plays one seed in a runtime of its own. A panic is a violation.
fn play<S: Scenario>(scenario: &S, seed: u64, faults: &[S::Fault]) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without input and output needs nothing");
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(scenario.run(seed, faults))));
    // What it has spawned ends here, and not in the next run.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let what = text.unwrap_or("of an unknown kind");
        Outcome { verdict: Err(Violation::new("panic", what)), ..Outcome::default() }
    })
}

/// The first line in which two traces differ, with its number.
fn first_difference(one: &str, other: &str) -> Option<String> {
    if one == other {
        return None;
    }
    let (mut first, mut second) = (one.lines(), other.lines());
    let mut number = 0;
    loop {
        number += 1;
        let pair = (first.next(), second.next());
        if pair.0 != pair.1 || pair == (None, None) {
            return Some(format!("line {number} of the trace: {:?}, then {:?}", pair.0, pair.1));
        }
    }
}

impl Failed {
    /// Keeps it as a named regression: a file in `folder`.
    ///
    /// # Errors
    ///
    /// The file can't be written.
    pub fn store(&self, scenario: &str, folder: &Path) -> std::io::Result<()> {
        let regression = Regression {
            scenario: scenario.to_owned(),
            seed: self.seed,
            kept: self.kept.clone(),
            broke: self.violation.to_string(),
        };
        let text = serde_json::to_string_pretty(&regression).map_err(std::io::Error::other)?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(format!("{scenario}-{}.json", self.seed)), text + "\n")
    }
}

impl Regression {
    /// All of a folder, in the order of their names; none where there is no such folder.
    ///
    /// # Errors
    ///
    /// A file can't be read, or isn't a regression.
    pub fn all(folder: &Path) -> std::io::Result<Vec<Self>> {
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut files: Vec<_> =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        let read = |file: std::path::PathBuf| {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file)?;
            serde_json::from_str(&text).map_err(|error| std::io::Error::other(format!("{name}: {error}")))
        };
        files.into_iter().map(read).collect()
    }
}

impl Report {
    /// Something was played, nothing failed, and every kind of fault has fired that should.
    pub fn is_green(&self) -> bool {
        self.runs > 0 && self.failures.is_empty() && self.never_fired.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seeds, {} failed", self.runs, self.failures.len())?;
        for (kind, count) in &self.fired {
            writeln!(f, "  fired {count} times: {kind}")?;
        }
        for kind in &self.never_fired {
            writeln!(f, "  NEVER FIRED: {kind}")?;
        }
        for failed in &self.failures {
            writeln!(f, "seed {}: {}", failed.seed, failed.violation)?;
            writeln!(f, "  needs these of its faults: {:?}", failed.kept)?;
            for line in failed.faults.lines() {
                writeln!(f, "    {line}")?;
            }
            let hidden = failed.trace.lines().count().saturating_sub(TRACE_LINES);
            if hidden > 0 {
                writeln!(f, "  | ({hidden} lines before)")?;
            }
            for line in failed.trace.lines().skip(hidden) {
                writeln!(f, "  | {line}")?;
            }
            writeln!(f, "  again: {}", failed.replay)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "suite_test.rs"]
mod tests;
