//! The rules of a server: who holds them, and which of them a request meets.
//!
//! Comes in: rules through a handle, requests from the layer. Goes out: what was chosen for a request, counts and a log.
//! All chance comes from the server's seed and all time from its clock. The lock is never held over an await.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::request;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::action::Action;
use super::facts::Facts;
use super::gate::Gate;
use super::late::Late;
use super::record::{Fired, Record};
use super::rule::{Rule, RuleError};
use super::script::Script;
use crate::access::Rules as AccessRules;
use crate::clock::Clock;
use crate::signal::{Listener, Signal};

/// Rules at once.
pub const RULE_LIMIT: usize = 1024;

/// So that faults don't draw from the numbers that uids are made of.
const SEED_OF_FAULTS: u64 = 0x6661_756c_7473;

/// Names a rule until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

/// The faults of a server: a cheap handle. [`ApiServer::faults`](crate::ApiServer::faults) gives it.
#[derive(Clone)]
pub struct Faults {
    core: Arc<Core>,
}

pub(crate) struct Core {
    /// Whether the layer is in the way at all; once set, always set.
    armed: AtomicBool,
    pub(crate) clock: Arc<dyn Clock>,
    start: Instant,
    pub(crate) gate: Gate,
    pub(super) late: Late,
    changed: Signal,
    state: Mutex<State>,
}

struct State {
    rules: Vec<Entry>,
    next: u64,
    requests: u64,
    random: fastrand::Rng,
    record: Record,
    access: AccessRules,
}

struct Entry {
    id: RuleId,
    rule: Arc<Rule>,
    added: Duration,
    matched: u64,
    chosen: u64,
}

/// A rule that a request has met, with its draw.
#[derive(Clone)]
pub(crate) struct Chosen {
    pub(crate) rule: Arc<Rule>,
    pub(crate) pause: Duration,
}

impl Faults {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Adds a rule behind those there are.
    ///
    /// # Errors
    ///
    /// If the rule makes no sense, or [`RULE_LIMIT`] rules are there.
    pub fn add(&self, rule: Rule) -> Result<RuleId, RuleError> {
        rule.check()?;
        let added = self.core.elapsed();
        let id = {
            let mut state = self.core.state.lock();
            if state.rules.len() >= RULE_LIMIT {
                return Err(RuleError(format!("there are {RULE_LIMIT} rules already: remove some")));
            }
            state.add(rule, added)
        };
        self.core.arm();
        self.core.changed.ring();
        Ok(id)
    }

    /// Takes a rule away; what it has begun goes on. `false`: it wasn't there.
    pub fn remove(&self, id: RuleId) -> bool {
        let removed = {
            let mut state = self.core.state.lock();
            let before = state.rules.len();
            state.rules.retain(|entry| entry.id != id);
            state.rules.len() < before
        };
        self.core.changed.ring();
        removed
    }

    /// Heals: takes all rules away and thaws. Requests that hang go on hanging, running watches behind a partition go on.
    /// Access rules stay.
    pub fn clear(&self) {
        self.core.state.lock().rules.clear();
        self.core.changed.ring();
        self.core.gate.thaw();
    }

    /// Adds what a script says, all of it or nothing.
    ///
    /// # Errors
    ///
    /// If a rule makes no sense, or there would be too many.
    pub fn load(&self, script: Script) -> Result<(), RuleError> {
        let (rules, access) = script.into_parts();
        rules.iter().try_for_each(Rule::check)?;
        let added = self.core.elapsed();
        {
            let mut state = self.core.state.lock();
            if state.rules.len() + rules.len() > RULE_LIMIT {
                return Err(RuleError(format!("there would be more than {RULE_LIMIT} rules: remove some")));
            }
            state.access.extend(access)?;
            for rule in rules {
                state.add(rule, added);
            }
        }
        self.core.arm();
        self.core.changed.ring();
        Ok(())
    }

    /// Stops the whole server: from now on each arriving request and each event of a running watch waits. What was
    /// already on its way is not held up.
    pub fn freeze(&self) {
        self.core.arm();
        self.core.gate.freeze();
    }

    /// Lets everything go on that waits, in the order of its arrival.
    pub fn thaw(&self) {
        self.core.gate.thaw();
    }

    /// Frozen, lets one request or one event through: whoever has waited longest. `false`: nobody waits.
    pub fn step(&self) -> bool {
        self.core.gate.step()
    }

    /// Requests and events that wait while frozen.
    pub fn waiting(&self) -> usize {
        self.core.gate.waiting()
    }

    /// How often each rule and each kind of action took effect, since the start.
    pub fn fired(&self) -> Fired {
        self.core.state.lock().record.fired.clone()
    }

    /// The names of the rules that are there and have never taken effect, sorted: a rule that is for other requests than
    /// were meant shows nothing else.
    pub fn never_fired(&self) -> Vec<String> {
        let state = self.core.state.lock();
        let fired = &state.record.fired;
        let names = state.rules.iter().map(|entry| &entry.rule.name).filter(|name| fired.rule(name) == 0);
        let names: BTreeSet<&String> = names.collect();
        names.into_iter().cloned().collect()
    }

    /// Starts the log before there is a rule.
    pub fn record(&self) {
        self.core.arm();
    }

    /// The newest lines of the log, oldest first, at most [`Config::fault_log`](crate::Config::fault_log).
    ///
    /// A line is milliseconds since the server's start, `#` and number of the request, identity, verb, path with sorted
    /// query, and then `-> ` with the status or error of the answer (`dropped` if nobody waited for it), or `! ` with the
    /// quoted name of a rule and its kind of action at the moment it takes effect. It begins with the first rule, access
    /// rule, freeze or [`Faults::record`], or at once with [`Config::event_log`](crate::Config::event_log).
    pub fn log(&self) -> Vec<String> {
        self.core.state.lock().record.lines()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.core.state.lock().rules.len();
        formatter.debug_struct("Faults").field("rules", &rules).finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(seed: u64, record: Record, clock: Arc<dyn Clock>) -> Self {
        Self {
            armed: AtomicBool::new(record.is_wanted()),
            start: clock.now(),
            clock,
            gate: Gate::default(),
            late: Late::default(),
            changed: Signal::new(None),
            state: Mutex::new(State {
                rules: Vec::new(),
                next: 0,
                requests: 0,
                random: fastrand::Rng::with_seed(seed ^ SEED_OF_FAULTS),
                record,
                access: AccessRules::default(),
            }),
        }
    }

    /// All that a server without rules pays.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.start)
    }

    /// Works on the access rules.
    pub(crate) fn access<T>(&self, work: impl FnOnce(&mut AccessRules) -> T) -> T {
        work(&mut self.state.lock().access)
    }

    /// Numbers a request.
    pub(crate) fn arrived(&self, identity: &str, parts: &request::Parts) -> Facts {
        let number = {
            let mut state = self.state.lock();
            state.requests += 1;
            state.requests
        };
        Facts::of(number, identity, &parts.method, &parts.uri)
    }

    /// The rules a request meets, in their order, up to the first after which it gets no further.
    pub(crate) fn choose(&self, facts: &Facts, version: u64) -> Vec<Chosen> {
        let at = self.elapsed();
        let mut all = Vec::new();
        let State { rules, random, .. } = &mut *self.state.lock();
        for entry in rules {
            if !entry.is_open(at) || !entry.rule.is_for(facts, version) {
                continue;
            }
            entry.matched += 1;
            let matcher = &entry.rule.matcher;
            if entry.matched <= matcher.skip || matcher.probability.is_some_and(|chance| random.f64() >= chance) {
                continue;
            }
            entry.chosen += 1;
            let pause = entry.rule.action.pause().map_or(Duration::ZERO, |(by, jitter)| by + part(jitter, random));
            all.push(Chosen { rule: entry.rule.clone(), pause });
            if entry.rule.action.is_decisive() {
                break;
            }
        }
        all
    }

    /// The partition that cuts a running stream off, and when it ends by itself.
    pub(crate) fn cut_off(&self, facts: &Facts, version: u64) -> Option<(Arc<Rule>, Option<Instant>)> {
        let at = self.elapsed();
        let state = self.state.lock();
        let entry = state.rules.iter().find(|entry| {
            matches!(entry.rule.action, Action::RequestsLost | Action::ResponsesLost)
                && entry.is_within(at)
                && entry.rule.is_for(facts, version)
        })?;
        let end = entry.window().1.and_then(|end| self.start.checked_add(end));
        Some((entry.rule.clone(), end))
    }

    /// Wakes when rules come or go.
    pub(crate) fn rules_changed(&self) -> Listener {
        self.changed.listen()
    }

    /// A rule takes effect.
    pub(crate) fn fire(&self, facts: &Facts, rule: &Rule) {
        let at = self.elapsed().as_millis();
        let line = format!("{at} {} ! {:?} {}", facts.line(), rule.name, rule.action.kind());
        tracing::debug!("{line}");
        let mut state = self.state.lock();
        state.record.fire(rule);
        state.record.line(line);
    }

    /// A request has its outcome.
    pub(crate) fn outcome(&self, facts: &Facts, outcome: &str) {
        let line = format!("{} {} -> {outcome}", self.elapsed().as_millis(), facts.line());
        self.state.lock().record.line(line);
    }
}

impl State {
    fn add(&mut self, rule: Rule, added: Duration) -> RuleId {
        self.next += 1;
        let id = RuleId(self.next);
        self.rules.push(Entry { id, rule: Arc::new(rule), added, matched: 0, chosen: 0 });
        id
    }
}

impl Entry {
    /// From when, and before when.
    fn window(&self) -> (Duration, Option<Duration>) {
        let Rule { matcher, budget, .. } = &*self.rule;
        let begin = matcher.from.map_or(self.added, |from| from.max(self.added));
        let spent = budget.duration.map(|duration| begin.saturating_add(duration));
        (begin, [matcher.until, spent].into_iter().flatten().min())
    }

    fn is_within(&self, at: Duration) -> bool {
        let (begin, end) = self.window();
        at >= begin && end.is_none_or(|end| at < end)
    }

    fn is_open(&self, at: Duration) -> bool {
        self.is_within(at) && self.rule.budget.count.is_none_or(|count| self.chosen < count)
    }
}

/// A duration up to `whole`, in steps of a microsecond.
fn part(whole: Duration, random: &mut fastrand::Rng) -> Duration {
    let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 { Duration::ZERO } else { Duration::from_micros(random.u64(..=micros)) }
}
