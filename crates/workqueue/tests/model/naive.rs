//! The reference: a list of keys, searched for everything. Times are milliseconds since the start.

use watchkeeper_workqueue::Snapshot;

mod outcome;
mod ready;
mod stop;

/// The limiter both sides use: 4 ms, doubling up to 32 ms.
pub(crate) fn backoff(failures: u32) -> u64 {
    (4 << (failures - 1).min(10)).min(32)
}

/// The rules of one case; zero is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// Milliseconds a level of priority; None: no priorities.
    pub(crate) step: Option<u64>,
    /// How many flows there are; a key's flow is what is left of it after dividing by this.
    pub(crate) flows: u64,
    pub(crate) min_interval: u64,
    pub(crate) quiet: u64,
    pub(crate) longest: u64,
    pub(crate) attempts: u32,
    pub(crate) resting: usize,
    pub(crate) reasons: usize,
    pub(crate) capacity: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Done,
    After(u64),
    Retry,
    GiveUp,
    Drop,
}

/// What became of a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Next {
    In(u64),
    AtOnce,
    Exhausted,
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(crate) enum State {
    #[default]
    Idle,
    /// The number says in which order such keys came.
    Ready(u64),
    Held,
    InFlight {
        again: bool,
    },
    Exhausted {
        since: u64,
        turn: u64,
    },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Key {
    pub(crate) state: State,
    pub(crate) paused: bool,
    pub(crate) failures: u32,
    /// When it is due, and in which order deadlines were set.
    pub(crate) due: Option<(u64, u64)>,
    /// When it became ready, or was added again.
    since: u64,
    /// It would be ready, did the minimum interval or the debounce not hold it back.
    owed: bool,
    /// What it waits for has been counted as an add.
    counted: bool,
    asked: Option<i16>,
    priority: i16,
    pub(crate) started: Option<u64>,
    /// When the first of the debounced adds came.
    burst: Option<u64>,
    /// The earliest delay that isn't a debounced add.
    delayed: Option<u64>,
    reasons: (Vec<u8>, u64),
}

impl Key {
    fn is_in_queue(&self) -> bool {
        self.state != State::Idle || self.due.is_some()
    }

    fn end_burst(&mut self) {
        (self.burst, self.delayed) = (None, None);
    }

    fn note(&mut self, reason: u8, most: usize) {
        if self.reasons.0.contains(&reason) {
            return;
        }
        if self.reasons.0.len() < most { self.reasons.0.push(reason) } else { self.reasons.1 += 1 }
    }
}

/// What a worker is given: key, attempt, reasons kept and dropped.
pub(crate) type Taken = (u8, u32, Vec<u8>, u64);

#[derive(Default)]
pub(crate) struct Naive {
    pub(crate) rules: Rules,
    pub(crate) now: u64,
    pub(crate) keys: [Key; 5],
    pub(crate) paused: bool,
    pub(crate) shut_down: bool,
    /// Which flow is next; each flow with ready keys is in it once.
    flows: Vec<u64>,
    turns: u64,
    adds: u64,
    retries: u64,
    given_up: u64,
}

impl Naive {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn key(&mut self, key: u8) -> &mut Key {
        &mut self.keys[usize::from(key)]
    }

    pub(crate) fn count(&self, which: impl Fn(&Key) -> bool) -> usize {
        self.keys.iter().filter(|key| which(key)).count()
    }

    fn flow(&self, key: u8) -> u64 {
        u64::from(key) % self.rules.flows.max(1)
    }

    fn is_prioritised(&self) -> bool {
        self.rules.step.is_some_and(|step| step > 0)
    }

    /// None: waits. Some(None): over.
    pub(crate) fn take(&mut self) -> Option<Option<Taken>> {
        if self.paused {
            return None;
        }
        let Some(flow) = self.flows.first().copied() else { return self.is_over().then_some(None) };
        let prioritised = self.is_prioritised();
        let step = i64::try_from(self.rules.step.unwrap_or(0)).expect("small");
        let rank = |key: &Key| i64::try_from(key.since).expect("small") - i64::from(key.asked.unwrap_or(0)) * step;
        let rank = |key: &Key| if prioritised { rank(key) } else { 0 };
        let ready =
            (0..5).filter(|key| self.flow(*key) == flow).filter_map(|key| match self.keys[usize::from(key)].state {
                State::Ready(turn) => Some((rank(&self.keys[usize::from(key)]), turn, key)),
                _ => None,
            });
        let key = ready.min().expect("a flow in turn has a ready key").2;
        self.key(key).state = State::InFlight { again: false };
        self.flows.remove(0);
        if self.has_ready(flow) {
            self.flows.push(flow);
        }
        let now = self.now;
        let entry = self.key(key);
        entry.started = Some(now);
        entry.priority = entry.asked.take().unwrap_or(i16::MIN);
        let (kept, dropped) = std::mem::take(&mut entry.reasons);
        Some(Some((key, entry.failures + 1, kept, dropped)))
    }

    fn has_ready(&self, flow: u64) -> bool {
        (0..5).any(|key| self.flow(key) == flow && matches!(self.keys[usize::from(key)].state, State::Ready(_)))
    }

    fn is_over(&self) -> bool {
        self.shut_down && self.flows.is_empty() && self.count(|key| key.state == State::InFlight { again: true }) == 0
    }

    pub(crate) fn forget(&mut self, key: u8) {
        self.key(key).failures = 0;
    }

    fn leave_lane(&mut self, key: u8) {
        let flow = self.flow(key);
        if !self.has_ready(flow) {
            self.flows.retain(|other| *other != flow);
        }
    }

    /// A key that has left the queue leaves nothing behind but what min_interval needs.
    fn settle(&mut self, key: u8) {
        let entry = self.key(key);
        if !entry.is_in_queue() {
            let (paused, started) = (entry.paused, entry.started);
            *entry = Key { paused, started, ..Key::default() };
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.count(|key| matches!(key.state, State::Ready(_) | State::InFlight { .. })) == 0
    }

    /// Whether the queue's counts are these.
    pub(crate) fn agrees(&self, seen: &Snapshot) -> Result<(), String> {
        let counts = [
            ("ready", seen.ready, self.count(|key| matches!(key.state, State::Ready(_)))),
            ("waiting", seen.waiting, self.count(|key| key.due.is_some())),
            ("in flight", seen.in_flight, self.count(|key| matches!(key.state, State::InFlight { .. }))),
            ("held", seen.held, self.count(|key| key.state == State::Held)),
            ("exhausted", seen.exhausted, self.exhausted().len()),
            ("failing", seen.failing, self.count(|key| key.failures > 0)),
        ];
        if let Some((name, seen, expected)) = counts.into_iter().find(|(_, seen, expected)| seen != expected) {
            return Err(format!("{seen} keys are {name}, expected {expected}"));
        }
        let flags = ((seen.paused, seen.shut_down), (self.paused, self.shut_down));
        let totals = ([seen.adds, seen.retries, seen.given_up], [self.adds, self.retries, self.given_up]);
        if flags.0 != flags.1 || totals.0 != totals.1 {
            return Err(format!("{flags:?} or {totals:?} differ (adds, retries, given up)"));
        }
        Ok(())
    }
}
