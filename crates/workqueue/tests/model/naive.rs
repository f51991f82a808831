//! The reference: a list of keys, searched for everything. Times are milliseconds since the start.

use watchkeeper_workqueue::{Added, Snapshot};

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

    /// An add; `delay` of zero is now.
    pub(crate) fn add(&mut self, key: u8, delay: u64, priority: i16, reason: Option<u8>) -> Added {
        if self.shut_down {
            return Added::Refused;
        }
        let full = self.rules.capacity > 0 && self.count(Key::is_in_queue) >= self.rules.capacity;
        if full && !self.key(key).is_in_queue() {
            return Added::Full;
        }
        let (most, turn, prioritised) = (self.rules.reasons, self.turn(), self.is_prioritised());
        let entry = self.key(key);
        if let Some(reason) = reason.filter(|_| most > 0) {
            entry.note(reason, most);
        }
        if entry.asked.is_none_or(|asked| asked < priority) {
            entry.asked = Some(priority);
            // Behind those of the same rank.
            if let (State::Ready(at), true) = (&mut entry.state, prioritised) {
                *at = turn;
            }
        }
        self.wake_exhausted(key);
        if delay == 0 { self.want_soon(key) } else { self.want_at(key, self.now + delay) }
    }

    pub(crate) fn add_rate_limited(&mut self, key: u8) -> Added {
        if !self.shut_down {
            self.wake_exhausted(key);
        }
        let failures = self.key(key).failures + 1;
        let added = self.add(key, backoff(failures), 0, None);
        if added.is_accepted() {
            self.retries += 1;
            if !matches!(self.key(key).state, State::InFlight { .. }) {
                self.key(key).failures = failures;
            }
        }
        added
    }

    fn want_soon(&mut self, key: u8) -> Added {
        let (now, quiet, longest) = (self.now, self.rules.quiet, self.rules.longest);
        let state = self.key(key).state;
        if quiet > 0 && matches!(state, State::Idle | State::InFlight { again: false }) {
            let turn = self.turn();
            let entry = self.key(key);
            entry.owed = true;
            let burst = *entry.burst.get_or_insert(now);
            let due = (now + quiet).min(burst + longest).min(entry.delayed.unwrap_or(u64::MAX));
            if due > now {
                let sooner = entry.due.is_none_or(|before| due < before.0);
                entry.due = Some((due, turn));
                return match state {
                    State::Idle if sooner => Added::Queued,
                    State::Idle => Added::AlreadyQueued,
                    _ => Added::WillRerun,
                };
            }
        }
        self.make_ready(key)
    }

    fn want_at(&mut self, key: u8, due: u64) -> Added {
        let state = self.key(key).state;
        match state {
            State::Ready(_) | State::Held | State::Exhausted { .. } => Added::AlreadyQueued,
            State::InFlight { again: true } => Added::WillRerun,
            State::InFlight { again: false } => {
                self.delay(key, due);
                Added::WillRerun
            }
            State::Idle if self.delay(key, due) => Added::Queued,
            State::Idle => Added::AlreadyQueued,
        }
    }

    /// False: there is an earlier deadline.
    fn delay(&mut self, key: u8, due: u64) -> bool {
        let turn = self.turn();
        let entry = self.key(key);
        entry.delayed = Some(entry.delayed.map_or(due, |before| before.min(due)));
        let sooner = entry.due.is_none_or(|before| due < before.0);
        if sooner {
            entry.due = Some((due, turn));
        }
        sooner
    }

    fn make_ready(&mut self, key: u8) -> Added {
        self.become_ready(key, self.now)
    }

    fn become_ready(&mut self, key: u8, since: u64) -> Added {
        match self.key(key).state {
            State::Ready(_) | State::Held | State::Exhausted { .. } => return Added::AlreadyQueued,
            State::InFlight { again: true } => return Added::WillRerun,
            State::InFlight { again: false } | State::Idle => {}
        }
        if let Some(sooner) = self.hold_back(key) {
            return if sooner { Added::Queued } else { Added::AlreadyQueued };
        }
        let counted = std::mem::take(&mut self.key(key).counted);
        self.adds += u64::from(!counted);
        let entry = self.key(key);
        entry.end_burst();
        (entry.due, entry.since, entry.owed) = (None, since, false);
        if entry.state != State::Idle {
            entry.state = State::InFlight { again: true };
            return Added::WillRerun;
        }
        self.enqueue(key);
        Added::Queued
    }

    /// None: nothing holds it back.
    fn hold_back(&mut self, key: u8) -> Option<bool> {
        let (now, interval, shut_down) = (self.now, self.rules.min_interval, self.shut_down);
        let entry = self.key(key);
        let floor = entry.started? + interval;
        if interval == 0 || shut_down || entry.state != State::Idle || floor <= now {
            return None;
        }
        entry.end_burst();
        entry.owed = true;
        Some(self.delay(key, floor))
    }

    /// False: it has to wait.
    fn make_ready_again(&mut self, key: u8) -> bool {
        let held_back = self.hold_back(key).is_some();
        if held_back {
            self.key(key).counted = true
        } else {
            self.enqueue(key)
        }
        !held_back
    }

    fn again_in(&mut self, key: u8) -> Next {
        let (now, interval) = (self.now, self.rules.min_interval);
        let entry = self.key(key);
        let floor = entry.started.filter(|_| interval > 0).map_or(0, |started| started + interval);
        Next::In(entry.due.map_or(now, |due| due.0).max(floor).saturating_sub(now))
    }

    fn enqueue(&mut self, key: u8) {
        let (turn, flow) = (self.turn(), self.flow(key));
        if self.key(key).paused {
            self.key(key).state = State::Held;
            return;
        }
        if !self.flows.contains(&flow) {
            self.flows.push(flow);
        }
        self.key(key).state = State::Ready(turn);
    }

    pub(crate) fn is_due(&self) -> bool {
        self.keys.iter().any(|key| key.due.is_some_and(|due| due.0 <= self.now))
    }

    /// Keys whose deadline has come are ready since then.
    pub(crate) fn wake_due(&mut self) {
        loop {
            let due = (0..5).filter_map(|key| Some((self.key(key).due?, key))).min();
            let Some(((since, _), key)) = due.filter(|((due, _), _)| *due <= self.now) else { return };
            self.key(key).due = None;
            self.key(key).end_burst();
            self.become_ready(key, since);
        }
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

    /// A worker ends with what it was given.
    pub(crate) fn finish(&mut self, taken: Taken, outcome: Outcome) -> Next {
        let (key, attempt, kept, dropped) = taken;
        let (most, again) = (self.rules.reasons, self.key(key).state == State::InFlight { again: true });
        let last = outcome == Outcome::Retry && self.rules.attempts > 0 && attempt >= self.rules.attempts;
        let entry = self.key(key);
        entry.failures = match outcome {
            Outcome::Retry => attempt,
            Outcome::Drop => attempt - 1,
            _ => 0,
        };
        if matches!(outcome, Outcome::Retry | Outcome::Drop) && (!kept.is_empty() || dropped > 0) {
            let (later, later_dropped) = std::mem::replace(&mut entry.reasons, (kept, dropped));
            entry.reasons.1 += later_dropped;
            later.into_iter().for_each(|reason| entry.note(reason, most));
        }
        if !matches!(outcome, Outcome::Done | Outcome::GiveUp) {
            let priority = entry.priority;
            entry.asked = Some(entry.asked.map_or(priority, |asked| asked.max(priority)));
        }
        entry.state = State::Idle;
        self.retries += u64::from(outcome == Outcome::Retry);
        self.given_up += u64::from(outcome == Outcome::GiveUp);
        let next = if again {
            if last {
                self.key(key).failures = 0;
            }
            if self.make_ready_again(key) { Next::AtOnce } else { self.again_in(key) }
        } else if self.shut_down {
            Next::Dropped
        } else {
            self.follow_up(key, outcome, attempt, last)
        };
        self.settle(key);
        next
    }

    fn follow_up(&mut self, key: u8, outcome: Outcome, attempt: u32, last: bool) -> Next {
        match outcome {
            Outcome::Done | Outcome::GiveUp => {}
            Outcome::Drop | Outcome::After(0) => _ = self.make_ready(key),
            Outcome::After(delay) => _ = self.delay(key, self.now + delay),
            Outcome::Retry if last && self.key(key).due.is_none() => {
                let (turn, since) = (self.turn(), self.now);
                self.key(key).state = State::Exhausted { since, turn };
                self.give_up_surplus();
                return Next::Exhausted;
            }
            Outcome::Retry => {
                if last {
                    self.key(key).failures = 0;
                } else {
                    self.delay(key, self.now + backoff(attempt));
                }
                return self.again_in(key);
            }
        }
        Next::AtOnce
    }

    fn give_up_surplus(&mut self) {
        while self.count(|key| matches!(key.state, State::Exhausted { .. })) > self.rules.resting {
            let first = self.exhausted().first().expect("counted").1;
            self.wake_exhausted(first);
            self.given_up += 1;
            self.settle(first);
        }
    }

    /// Exhausted keys, the longest at rest first.
    pub(crate) fn exhausted(&self) -> Vec<((u64, u64), u8)> {
        let mut list: Vec<_> = (0..5)
            .filter_map(|key| match self.keys[usize::from(key)].state {
                State::Exhausted { since, turn } => Some(((since, turn), key)),
                _ => None,
            })
            .collect();
        list.sort_unstable();
        list
    }

    fn wake_exhausted(&mut self, key: u8) -> bool {
        let entry = self.key(key);
        let rests = matches!(entry.state, State::Exhausted { .. });
        if rests {
            (entry.state, entry.failures) = (State::Idle, 0);
        }
        rests
    }

    pub(crate) fn retry_exhausted(&mut self, key: u8) -> bool {
        let woken = !self.shut_down && self.wake_exhausted(key);
        if woken {
            self.make_ready(key);
        }
        woken
    }

    pub(crate) fn retry_all_exhausted(&mut self) -> usize {
        let keys = if self.shut_down { Vec::new() } else { self.exhausted() };
        keys.iter().filter(|(_, key)| self.retry_exhausted(*key)).count()
    }

    pub(crate) fn withdraw(&mut self, key: u8) -> bool {
        let had = self.key(key).due.take().is_some();
        if had {
            self.key(key).end_burst();
            self.key(key).owed = false;
            self.settle(key);
        }
        had
    }

    pub(crate) fn forget(&mut self, key: u8) {
        self.key(key).failures = 0;
    }

    pub(crate) fn pause(&mut self) {
        self.paused = !self.shut_down;
    }

    pub(crate) fn pause_key(&mut self, key: u8) {
        if self.shut_down {
            self.drop_ready(key);
            self.settle(key);
            return;
        }
        self.key(key).paused = true;
        if let State::Ready(_) = self.key(key).state {
            self.key(key).state = State::Held;
            self.leave_lane(key);
        }
    }

    pub(crate) fn resume_key(&mut self, key: u8) -> bool {
        let paused = std::mem::take(&mut self.key(key).paused);
        if paused && self.key(key).state == State::Held {
            self.key(key).state = State::Idle;
            self.make_ready_again(key);
        }
        paused
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

    pub(crate) fn shut_down(&mut self) {
        self.shut_down = true;
        let mut waiting: Vec<_> = (0..5).filter_map(|key| Some((self.key(key).due.take()?, key))).collect();
        waiting.sort_unstable();
        for (_, key) in waiting {
            self.key(key).end_burst();
            if std::mem::take(&mut self.key(key).owed) {
                self.make_ready(key);
            }
        }
        for key in 0..5 {
            let paused = self.paused;
            let entry = self.key(key);
            if entry.state == State::Held {
                entry.state = State::Idle;
            }
            if paused || std::mem::take(&mut self.key(key).paused) {
                self.drop_ready(key);
            }
            self.key(key).paused = false;
            self.settle(key);
        }
        self.paused = false;
    }

    pub(crate) fn discard(&mut self) {
        self.shut_down();
        (0..5).for_each(|key| {
            self.drop_ready(key);
            self.settle(key);
        });
    }

    fn drop_ready(&mut self, key: u8) {
        match &mut self.key(key).state {
            State::InFlight { again } => *again = false,
            state @ State::Ready(_) => {
                *state = State::Idle;
                self.leave_lane(key);
            }
            _ => {}
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
