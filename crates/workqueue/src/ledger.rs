//! What every call means for a key: the queue's rules in one place, without locks, tasks or a clock.
//!
//! In: adds, takes and outcomes, with `now` where time matters. Out: keys to work on, and how many waiting workers
//! have something to come for. It joins the interned keys, their marks and their deadlines, and keeps two invariants:
//! a key that will be handed out anyway has no deadline, and a key that is at rest without a deadline is forgotten.

use tokio::time::Instant;

use crate::delay::{Deadlines, Scheduled};
use crate::keys::{KeyId, Keys};
use crate::metrics::Snapshot;
use crate::queue::Added;
use crate::state::{Mark, State};

/// How a worker ended with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Done,
    /// Succeeded, and to be worked on again when this is due, or at once.
    After(Option<Instant>),
    /// Failed, likewise.
    Retry(Option<Instant>),
    GiveUp,
    /// None was given: the worker was cancelled.
    Dropped,
}

/// What a worker that asks for a key gets.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Taken<K> {
    Key {
        id: KeyId,
        key: K,
        failures: u32,
    },
    /// Nothing is ready.
    Nothing,
    /// Nothing is ready and nothing ever will be.
    Over,
}

/// All keys of a queue.
pub(crate) struct Ledger<K> {
    keys: Keys<K>,
    state: State,
    deadlines: Deadlines,
    shut_down: bool,
    retries: u64,
    given_up: u64,
}

impl<K> Ledger<K> {
    pub(crate) fn new() -> Self {
        Self {
            keys: Keys::new(),
            state: State::new(),
            deadlines: Deadlines::new(),
            shut_down: false,
            retries: 0,
            given_up: 0,
        }
    }

    /// The key is to be worked on as soon as possible.
    pub(crate) fn add(&mut self, hash: u64, key: K) -> Added
    where
        K: Eq,
    {
        if self.shut_down {
            return Added::Refused;
        }
        let id = self.intern(hash, key);
        self.make_ready(id)
    }

    /// The key is to be worked on when this is due, or earlier if something else asks for it.
    pub(crate) fn add_after(&mut self, hash: u64, key: K, due: Option<Instant>) -> Added
    where
        K: Eq,
    {
        if self.shut_down {
            return Added::Refused;
        }
        let id = self.intern(hash, key);
        let Some(due) = due else { return self.make_ready(id) };
        let mark = self.state.mark(id);
        match mark {
            Mark::Ready => return Added::AlreadyQueued,
            Mark::Dirty => return Added::WillRerun,
            Mark::Resting | Mark::Processing => {}
        }
        match (mark, self.deadlines.schedule(id, due)) {
            (Mark::Processing, _) => Added::WillRerun,
            (_, Scheduled::New | Scheduled::Earlier) => Added::Queued,
            (_, Scheduled::Kept) => Added::AlreadyQueued,
        }
    }

    /// When the time is next of importance. None: `now` doesn't matter to [`Ledger::take`].
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    /// Hands out the next key. Keys whose deadline has come become ready first.
    pub(crate) fn take(&mut self, now: Option<Instant>) -> Taken<K>
    where
        K: Clone,
    {
        if let Some(now) = now {
            while let Some(id) = self.deadlines.pop_due(now) {
                self.state.add(id);
            }
        }
        match self.state.take() {
            Some(id) => Taken::Key { id, key: self.keys.key(id).clone(), failures: self.state.failures(id) },
            None if self.is_over() => Taken::Over,
            None => Taken::Nothing,
        }
    }

    /// The worker that took the key is finished with it.
    pub(crate) fn finish(&mut self, id: KeyId, outcome: Outcome) {
        match outcome {
            Outcome::Done | Outcome::After(_) => self.state.forget_failures(id),
            Outcome::Retry(_) => {
                self.state.count_failure(id);
                self.retries += 1;
            }
            Outcome::GiveUp => {
                self.state.forget_failures(id);
                self.given_up += 1;
            }
            Outcome::Dropped => {}
        }
        let ready_again = self.state.finish(id);
        // An add that came meanwhile is earlier than any delay, and after a shut down nothing new is accepted.
        if !ready_again && !self.shut_down {
            match outcome {
                Outcome::After(Some(due)) | Outcome::Retry(Some(due)) => {
                    self.deadlines.schedule(id, due);
                }
                Outcome::After(None) | Outcome::Retry(None) | Outcome::Dropped => {
                    self.make_ready(id);
                }
                Outcome::Done | Outcome::GiveUp => {}
            }
        }
        self.forget_if_unused(id);
    }

    /// Refuses further adds and drops the keys that wait for a deadline; ready ones are still handed out.
    pub(crate) fn shut_down(&mut self) {
        self.shut_down = true;
        while let Some(id) = self.deadlines.pop_any() {
            self.forget_if_unused(id);
        }
    }

    /// Shuts down and drops the ready keys, too. What is in flight finishes, but isn't handed out again.
    pub(crate) fn discard(&mut self) {
        self.shut_down();
        for id in self.state.discard() {
            self.forget_if_unused(id);
        }
    }

    /// No key is ready and none is in flight.
    pub(crate) fn is_drained(&self) -> bool {
        self.state.ready() == 0 && self.state.in_flight() == 0
    }

    /// How many calls of [`Ledger::take`] would not return [`Taken::Nothing`] now.
    pub(crate) fn demand(&self) -> usize {
        if self.is_over() { usize::MAX } else { self.state.ready() }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            ready: self.state.ready(),
            waiting: self.deadlines.len(),
            in_flight: self.state.in_flight(),
            failing: self.state.failing(),
            shut_down: self.shut_down,
            adds: self.state.adds(),
            retries: self.retries,
            given_up: self.given_up,
        }
    }

    /// A key in flight that was added again will be ready once more, so the end is only reached after it.
    fn is_over(&self) -> bool {
        self.shut_down && self.state.ready() == 0 && self.state.dirty() == 0
    }

    fn intern(&mut self, hash: u64, key: K) -> KeyId
    where
        K: Eq,
    {
        let id = self.keys.intern(hash, key);
        self.state.grow(self.keys.slots());
        id
    }

    fn make_ready(&mut self, id: KeyId) -> Added {
        match self.state.add(id) {
            Mark::Resting => {
                self.deadlines.cancel(id);
                Added::Queued
            }
            Mark::Ready => Added::AlreadyQueued,
            Mark::Processing => {
                self.deadlines.cancel(id);
                Added::WillRerun
            }
            Mark::Dirty => Added::WillRerun,
        }
    }

    fn forget_if_unused(&mut self, id: KeyId) {
        if self.state.mark(id) != Mark::Resting || self.deadlines.is_waiting(id) {
            return;
        }
        self.state.forget_failures(id);
        self.keys.release(id);
        if self.keys.is_empty() {
            self.keys.trim();
            self.state.trim();
            self.deadlines.trim();
        }
    }
}
