//! How workers end with keys, and where exhausted keys are.

use super::{Naive, Next, Outcome, State, Taken, backoff};

impl Naive {
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

    pub(super) fn follow_up(&mut self, key: u8, outcome: Outcome, attempt: u32, last: bool) -> Next {
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

    pub(super) fn again_in(&mut self, key: u8) -> Next {
        let (now, interval) = (self.now, self.rules.min_interval);
        let entry = self.key(key);
        let floor = entry.started.filter(|_| interval > 0).map_or(0, |started| started + interval);
        Next::In(entry.due.map_or(now, |due| due.0).max(floor).saturating_sub(now))
    }

    pub(super) fn give_up_surplus(&mut self) {
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

    pub(super) fn wake_exhausted(&mut self, key: u8) -> bool {
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
}
