//! How a worker ends with a key, and where keys rest that have failed too often.

use std::time::Duration;

use super::Ledger;
use crate::answer::Retried;
use crate::keys::Id;
use crate::moment::Moment;
use crate::policy::Reasons;

use crate::state::Mark;

/// How a worker ended with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Done,
    /// Succeeded, and to be worked on again after this; zero: at once.
    After(Duration),
    /// Failed, and to be worked on again after this.
    Retry(Duration),
    GiveUp,
    /// None was given: the worker was cancelled.
    Dropped,
}

/// An outcome with all that the worker gives back.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    /// Failures in a row, this one included.
    pub(crate) failures: u32,
    /// Why the key was handed out.
    pub(crate) reasons: Option<Box<Reasons>>,
}

impl Outcome {
    /// It can only be counted from now.
    pub(crate) fn needs_time(self) -> bool {
        matches!(self, Self::After(_) | Self::Retry(_))
    }
}

impl<K> Ledger<K> {
    /// The worker that took the key is finished with it. Says what became of a retry.
    #[inline]
    pub(crate) fn finish(&mut self, id: Id, finished: Finished, now: Moment) -> Retried {
        let Finished { outcome, failures, reasons } = finished;
        let failed = matches!(outcome, Outcome::Retry(_) | Outcome::Dropped);
        let failures_left = if failed { failures } else { 0 };
        if self.failures(id) != failures_left {
            self.set_failures(id, failures_left);
        }
        self.retries += u64::from(matches!(outcome, Outcome::Retry(_)));
        self.given_up += u64::from(outcome == Outcome::GiveUp);
        if failed && let Some(reasons) = reasons {
            self.give_back(id, *reasons);
        }
        if !matches!(outcome, Outcome::Done | Outcome::GiveUp)
            && let Some(memo) = self.memos.get_mut(id)
        {
            memo.asked = memo.asked.max(memo.priority);
        }
        let dirty = self.state.finish(self.keys.record_mut(id));
        let retried = if dirty {
            // The add that came meanwhile is earlier than any delay, and it starts a new count.
            if self.is_last_attempt(outcome, failures) {
                self.set_failures(id, 0);
            }
            if self.make_ready_again(id, now) { Retried::AtOnce } else { self.again_in(id, now) }
        } else if outcome == Outcome::Done {
            Retried::AtOnce
        } else if self.shut_down {
            Retried::Dropped
        } else {
            self.follow_up(id, outcome, failures, now)
        };
        self.settle(id, now);
        retried
    }

    /// What an outcome asks for, where nobody else has asked meanwhile.
    fn follow_up(&mut self, id: Id, outcome: Outcome, failures: u32, now: Moment) -> Retried {
        match outcome {
            Outcome::Done | Outcome::GiveUp => {}
            Outcome::After(Duration::ZERO) | Outcome::Dropped => {
                self.make_ready(id, now);
            }
            Outcome::After(delay) => {
                self.delay(id, now.after(delay));
            }
            Outcome::Retry(_) if self.is_last_attempt(outcome, failures) => {
                if !self.deadlines.is_waiting(id) {
                    self.exhaust(id, now);
                    return Retried::Exhausted;
                }
                self.set_failures(id, 0);
                return self.again_in(id, now);
            }
            Outcome::Retry(delay) => {
                self.delay(id, now.after(delay));
                return self.again_in(id, now);
            }
        }
        Retried::AtOnce
    }

    /// When a waiting key is handed out: when it is due, but not before its minimum interval is over.
    fn again_in(&self, id: Id, now: Moment) -> Retried {
        let due = self.deadlines.due(id).unwrap_or(now);
        Retried::In(due.max(self.memos.of(id).floor(&self.rules)).since(now))
    }

    /// Sends an exhausted key back to work. False: it isn't exhausted, or the queue is shut down.
    pub(crate) fn retry_exhausted(&mut self, id: Id, now: Moment) -> bool {
        if self.shut_down || !self.revive(id) {
            return false;
        }
        self.make_ready(id, now);
        true
    }

    /// The same for the one that rests longest.
    pub(crate) fn retry_first_exhausted(&mut self, now: Moment) -> bool {
        self.exhausted.order.first().is_some_and(|(_, id)| self.retry_exhausted(id, now))
    }

    /// Exhausted keys with their failures and since when they rest, in no order.
    pub(super) fn exhausted(&self) -> impl Iterator<Item = (Moment, Id)> {
        self.exhausted.order.ids().map(|(since, id)| (Moment::from_nanos(since), id))
    }

    /// An exhausted key rests no longer, and its failures are forgotten. False: it isn't exhausted.
    #[inline]
    pub(super) fn revive(&mut self, id: Id) -> bool {
        if self.keys.record(id).mark != Mark::Exhausted {
            return false;
        }
        self.exhausted.order.remove(&mut self.exhausted.places, id);
        self.keys.record_mut(id).mark = Mark::Idle;
        self.set_failures(id, 0);
        true
    }

    #[inline]
    fn is_last_attempt(&self, outcome: Outcome, failures: u32) -> bool {
        matches!(outcome, Outcome::Retry(_))
            && self.rules.attempts.is_some_and(|attempts| failures >= attempts.most.get())
    }

    fn exhaust(&mut self, id: Id, now: Moment) {
        let resting = self.rules.attempts.map_or(0, |attempts| attempts.resting);
        if resting == 0 {
            self.given_up += 1;
            return;
        }
        self.keys.record_mut(id).mark = Mark::Exhausted;
        // Threads may come in another order than their clock readings: the last to come is the last to be given up.
        self.last_exhausted = self.last_exhausted.max(now);
        self.exhausted.order.set(&mut self.exhausted.places, id, self.last_exhausted.nanos());
        while self.exhausted.order.len() > resting
            && let Some((_, first)) = self.exhausted.order.first()
        {
            self.revive(first);
            self.given_up += 1;
            self.settle(first, now);
        }
    }

    /// The reasons of an attempt that failed are the first of the next one's.
    fn give_back(&mut self, id: Id, mut reasons: Reasons) {
        let record = self.keys.record_mut(id);
        if std::mem::replace(&mut record.noted, true)
            && let Some(later) = self.reasons.remove(&id)
        {
            reasons.join(*later, self.rules.reasons);
        }
        self.reasons.insert(id, Box::new(reasons));
    }
}
