//! A cell: A in a state, one fault in one of its variants, and a healthy candidate beside it.
//!
//! Comes in: data. Goes out: what wasn't as it should be. A is brought to the state, the fault strikes its request, lasts and
//! is healed; then the leader is killed, the other one must lead, and nothing may be left after the stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube_client::api::{DeleteParams, Patch, PatchParams, PostParams, WatchParams};
use kube_client::core::WatchEvent;
use kube_client::{Api, Client};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Rule, Verb};
use watchkeeper_apiserver::replica::Lag;
use watchkeeper_apiserver::simulate::{check, log};
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};

use crate::breach::Breach;
use crate::config::PLACE;
use crate::fault::{Strike, Variant};
use crate::log::Log;
use crate::process::{Process, Rate, World};
use crate::state::{Expected, Fate, State, expected};
use crate::terms::Terms;
use crate::wire::BEHIND;

const MINUTE: Duration = Duration::from_secs(60);
/// The gates are looked at so often.
const LOOK: Duration = Duration::from_millis(50);
/// Nobody has ever held the Lease, so that it is waited out, and then some.
const FIRST_TERM: Duration = Duration::from_secs(25);
/// Time for the other one to see who leads.
const SETTLES: Duration = Duration::from_secs(10);
/// Just after a renewal and before the next.
const BETWEEN: Duration = Duration::from_millis(500);
/// A third party's change comes while a write of A is held up for so long.
const HELD_UP: Duration = Duration::from_millis(500);
/// A fault lasts at least so long: longer than a term without renewals and a takeover.
const LASTS: Duration = Duration::from_secs(40);
/// Then it is healed, and so long after that all is well.
const HEALED: Duration = Duration::from_secs(4);
/// I9, by one process in a minute: one each two seconds by the fastest clock, and what conflicts cost until D is over.
const MOST_REQUESTS: usize = 90;

pub(crate) struct Cell<'a> {
    pub(crate) fault: &'static str,
    pub(crate) state: State,
    pub(crate) variant: &'a Variant,
    pub(crate) breach: Option<Breach>,
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.fault, self.state.name())?;
        if self.variant.name.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant.name) }
    }
}

/// A cell being played.
struct Play<'a> {
    cell: &'a Cell<'a>,
    world: World,
    log: Log,
    admin: Api<Lease>,
    /// All that the Lease has ever said.
    story: Arc<Mutex<Vec<Value>>>,
    aids: Vec<JoinHandle<()>>,
    processes: Vec<Process>,
    /// When the fault struck.
    struck: Arc<Mutex<Option<Duration>>>,
    complaints: Vec<String>,
}

impl Cell<'_> {
    /// Plays it; what wasn't as it should be.
    pub(crate) async fn play(&self, log: Log) -> Vec<String> {
        let server = ApiServer::new(Config {
            seed: 1,
            replicas: BEHIND + 1,
            clock: Arc::new(TokioClock::starting_at(Timestamp::UNIX_EPOCH)),
            ..Config::default()
        });
        server.faults().record();
        let before = Handle::current().metrics().num_alive_tasks();
        let world = World { server, terms: Terms::default(), begin: Instant::now(), breach: self.breach };
        let mut complaints = Play::new(self, world, log).await.whole().await;
        if self.breach == Some(Breach::LeavesATask) {
            tokio::spawn(std::future::pending::<()>());
        }
        // Clients have a task each, which ends with the last handle.
        sleep(Duration::from_millis(1)).await;
        let after = Handle::current().metrics().num_alive_tasks();
        complaints.extend(check::no_tasks_left(before, after).err().map(|violation| violation.to_string()));
        complaints
    }
}

impl<'a> Play<'a> {
    async fn new(cell: &'a Cell<'a>, world: World, log: Log) -> Self {
        let admin: Api<Lease> = Api::namespaced(Client::new(world.server.service("admin"), PLACE.0), PLACE.0);
        let lease = json!({ "metadata": { "name": PLACE.1, "labels": { "theirs": "1" } }, "spec": {} });
        let lease = serde_json::from_value(lease).expect("a sound Lease");
        let lease = admin.create(&PostParams::default(), &lease).await.expect("nothing is wrong yet");
        let version = lease.metadata.resource_version.expect("a server's object");
        let story = Arc::default();
        let aids =
            vec![tokio::spawn(look(world.clone())), tokio::spawn(tell(admin.clone(), version, Arc::clone(&story)))];
        let (processes, struck, complaints) = (Vec::new(), Arc::default(), Vec::new());
        Self { cell, world, log, admin, story, aids, processes, struck, complaints }
    }

    async fn whole(mut self) -> Vec<String> {
        let expected = expected(self.cell.state, &self.cell.variant.strike);
        let holder = self.bring().await;
        self.strike(expected.leads.map_or(LASTS, |(_, within)| LASTS.max(within + HEALED))).await;
        self.judge_gates(holder, &expected);
        self.heal();
        sleep(HEALED).await;
        self.kill_the_leader(expected.after_a_crash).await;
        let (processes, mut panicked) = (std::mem::take(&mut self.processes), false);
        for process in processes {
            panicked |= process.stop().await;
        }
        self.complain_if(panicked, "a part has panicked");
        self.judge_the_end();
        for aid in std::mem::take(&mut self.aids) {
            aid.abort();
        }
        self.complaints
    }

    fn complain_if(&mut self, wrong: bool, what: impl Into<String>) {
        if wrong {
            self.complaints.push(what.into());
        }
    }

    fn start(&mut self, user: &str, rate: Rate) {
        let process = Process::start(&self.world, user, rate);
        self.processes.push(process);
    }

    fn a(&self) -> &Process {
        self.processes.iter().find(|process| process.user == "a").expect("A is alive")
    }

    /// The processes in their states; the number of the open gate.
    async fn bring(&mut self) -> Option<usize> {
        // The holder is as slow as stated and its rival as fast, but where A is to win.
        let (first, rate, second) = match self.cell.state {
            State::Candidate | State::Acquiring => ("b", Rate::Fast, "a"),
            State::Leading | State::Renewing | State::Releasing => ("a", Rate::Slow, "b"),
        };
        self.start(first, rate);
        sleep(FIRST_TERM).await;
        let leads = self.world.terms.leader().is_some_and(|(_, user)| user == first);
        self.complain_if(!leads, format!("{first} never led"));
        self.start(second, if second == "a" { Rate::Slow } else { Rate::Fast });
        sleep(SETTLES).await;
        if self.cell.state == State::Acquiring {
            self.processes.remove(0).crash(&self.world);
            return None;
        }
        self.world.terms.leader().map(|(number, _)| number)
    }

    /// The fault strikes its request, and lasts.
    async fn strike(&mut self, lasts: Duration) {
        let state = self.cell.state;
        let strike = self.strikes();
        match state {
            State::Leading => {
                self.wait_for_a_renewal().await;
                strike();
            }
            State::Candidate => self.a().wire.at(false, strike),
            State::Acquiring | State::Renewing => self.a().wire.at(true, strike),
            State::Releasing => {
                self.wait_for_a_renewal().await;
                self.a().wire.at(true, strike);
                self.a().hand_over();
            }
        }
        let begun = self.world.now();
        while self.struck.lock().is_none() && self.world.now() < begun + LASTS {
            sleep(Duration::from_millis(10)).await;
        }
        if state == State::Acquiring {
            self.start("c", Rate::Fast);
        }
        if self.world.breaks(Breach::StandingClock) {
            self.a().clock.set_rate(Instant::now(), 0);
        }
        sleep(lasts).await;
    }

    async fn wait_for_a_renewal(&self) {
        let told = self.story.lock().len();
        while self.story.lock().len() == told {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(BETWEEN).await;
    }

    /// What is done at that moment.
    fn strikes(&self) -> impl FnOnce() + Send + 'static {
        let (world, struck, admin) = (self.world.clone(), self.struck.clone(), self.admin.clone());
        let (wire, state, strike) = (self.a().wire.clone(), self.cell.state, self.cell.variant.strike.clone());
        if let Strike::Stale(lag) = strike {
            world.server.replica(BEHIND).set_lag(Lag::Time(lag));
        }
        move || {
            *struck.lock() = Some(world.now());
            let rule = |name: &str, action: Action, count, verbs| {
                let matcher = Matcher { identity: Some("a".into()), verbs, ..Matcher::default() };
                let budget = Budget { count, duration: None };
                let rule = Rule { matcher, budget, ..Rule::new(name, action) };
                world.server.faults().add(rule).expect("a sound rule");
            };
            let change = match strike {
                Strike::Once { action, .. } => return rule("fault", action, Some(1), Vec::new()),
                Strike::Lasting { action, .. } => return rule("fault", action, None, Vec::new()),
                Strike::Delete => None,
                Strike::Edit { patch, .. } => Some(patch),
                Strike::Stale(_) => {
                    wire.set_stale(true);
                    Some(json!({ "metadata": { "labels": { "more": "1" } } }))
                }
            };
            if matches!(state, State::Acquiring | State::Renewing | State::Releasing) {
                let held_up = Action::DelayBeforeCommit { by: HELD_UP, jitter: Duration::ZERO };
                rule("held up", held_up, Some(1), vec![Verb::Update, Verb::Create]);
            }
            tokio::spawn(meddle(admin, change));
        }
    }

    fn heal(&self) {
        self.world.server.faults().clear();
        for process in &self.processes {
            process.wire.set_stale(false);
        }
    }

    /// What became of the gate that was open, and who leads.
    fn judge_gates(&mut self, holder: Option<usize>, expected: &Expected) {
        let Some(struck) = *self.struck.lock() else { return self.complaints.push("the fault never struck".into()) };
        let closed = holder.and_then(|number| self.world.terms.closed(number));
        match expected.fate {
            Fate::Kept => {
                self.complain_if(
                    closed.is_some(),
                    format!("the gate closed, {:?} after the fault", closed.unwrap_or_default().saturating_sub(struck)),
                );
            }
            Fate::Closes(within) => {
                let late = closed.is_none_or(|closed| closed > struck + within);
                self.complain_if(late, format!("the gate was to close within {within:?} of {struck:?}: {closed:?}"));
            }
            Fate::Free => {}
        }
        let next = self.world.terms.first_after(struck);
        let right = match (&expected.leads, &next) {
            (None, None) => true,
            (Some((who, within)), Some((user, at))) => who.is_none_or(|who| who == user) && *at <= struck + *within,
            _ => false,
        };
        self.complain_if(!right, format!("I14: {:?} was to lead, struck at {struck:?}: {next:?}", expected.leads));
        let silent = !self.cell.variant.tells.is_empty() && !self.log.says(self.cell.variant.tells);
        self.complain_if(silent, format!("the log doesn't say {:?}: {:?}", self.cell.variant.tells, self.log.lines()));
    }

    /// All is well again: whoever is left leads in time.
    async fn kill_the_leader(&mut self, within: Duration) {
        let Some((_, user)) = self.world.terms.leader() else {
            return self.complaints.push("I14: nobody leads after healing".into());
        };
        let place = self.processes.iter().position(|process| process.user == user).expect("a leader is a process");
        let killed = self.world.now();
        self.processes.remove(place).crash(&self.world);
        while self.world.terms.leader().is_none() && self.world.now() < killed + within {
            sleep(LOOK).await;
        }
        let nobody = self.world.terms.leader().is_none();
        self.complain_if(nobody, format!("I14: nobody leads {within:?} after {user} was killed"));
    }

    fn judge_the_end(&mut self) {
        let stays = self.world.terms.stays();
        let sent = log::requests(&self.world.server, "/leases");
        let mut violations: Vec<_> = check::exclusive(&stays).err().into_iter().collect();
        for (user, times) in sent.iter().filter(|(user, _)| *user != "admin") {
            if let Err(mut violation) = check::request_budget(times, MINUTE, MOST_REQUESTS) {
                violation.what = format!("{user}: {}", violation.what);
                violations.push(violation);
            }
        }
        self.complaints.extend(violations.iter().map(ToString::to_string));
        let story = self.story.lock().clone();
        let meddled = matches!(self.cell.variant.strike, Strike::Edit { takes_holder: true, .. });
        let wrong = judge_story(&story, meddled);
        self.complaints.extend(wrong);
    }
}

/// Each new holder counts one transition, and nothing else does; what others wrote stays.
fn judge_story(story: &[Value], meddled: bool) -> Option<String> {
    let text = |state: &Value, field: &str| state["spec"][field].as_str().unwrap_or_default().to_owned();
    let count = |state: &Value| state["spec"]["leaseTransitions"].as_i64().unwrap_or(0);
    let dropped = |state: &&Value| {
        state["metadata"]["uid"] == story[0]["metadata"]["uid"] && state["metadata"]["labels"]["theirs"] != json!("1")
    };
    if let Some(state) = story.iter().find(dropped) {
        return Some(format!("what others wrote is gone: {state}"));
    }
    let wrong = story.windows(2).find(|pair| {
        let (holder, same_life) =
            (text(&pair[1], "holderIdentity"), pair[0]["metadata"]["uid"] == pair[1]["metadata"]["uid"]);
        let changes = !holder.is_empty() && holder != text(&pair[0], "holderIdentity");
        same_life && count(&pair[1]) - count(&pair[0]) != i64::from(changes)
    });
    wrong.filter(|_| !meddled).map(|pair| format!("transitions are miscounted: {} after {}", pair[1], pair[0]))
}

async fn look(world: World) {
    loop {
        world.terms.look(world.now());
        sleep(LOOK).await;
    }
}

/// Keeps what the Lease says.
async fn tell(admin: Api<Lease>, version: String, story: Arc<Mutex<Vec<Value>>>) {
    let parameters = WatchParams::default().timeout(290);
    let mut version = version;
    loop {
        let Ok(events) = admin.watch(&parameters, &version).await else { continue };
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            if let WatchEvent::Added(lease) | WatchEvent::Modified(lease) = event {
                version = lease.metadata.resource_version.clone().unwrap_or(version);
                story.lock().push(serde_json::to_value(lease).expect("an object of the server"));
            }
        }
    }
}

/// A third party's deletion or change.
async fn meddle(admin: Api<Lease>, change: Option<Value>) {
    match change {
        None => _ = admin.delete(PLACE.1, &DeleteParams::default()).await.expect("the Lease is there"),
        Some(patch) => {
            let patch = Patch::Merge(patch);
            _ = admin.patch(PLACE.1, &PatchParams::default(), &patch).await.expect("the Lease is there");
        }
    }
}
