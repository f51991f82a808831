//! When a key becomes ready.

use watchkeeper_workqueue::Added;

use super::{Key, Naive, State, backoff};

impl Naive {
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

    pub(super) fn want_soon(&mut self, key: u8) -> Added {
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

    pub(super) fn want_at(&mut self, key: u8, due: u64) -> Added {
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
    pub(super) fn delay(&mut self, key: u8, due: u64) -> bool {
        let turn = self.turn();
        let entry = self.key(key);
        entry.delayed = Some(entry.delayed.map_or(due, |before| before.min(due)));
        let sooner = entry.due.is_none_or(|before| due < before.0);
        if sooner {
            entry.due = Some((due, turn));
        }
        sooner
    }

    pub(super) fn make_ready(&mut self, key: u8) -> Added {
        self.become_ready(key, self.now)
    }

    pub(super) fn become_ready(&mut self, key: u8, since: u64) -> Added {
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
    pub(super) fn hold_back(&mut self, key: u8) -> Option<bool> {
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
    pub(super) fn make_ready_again(&mut self, key: u8) -> bool {
        let held_back = self.hold_back(key).is_some();
        if held_back {
            self.key(key).counted = true
        } else {
            self.enqueue(key)
        }
        !held_back
    }

    pub(super) fn enqueue(&mut self, key: u8) {
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
}
