//! What each key is doing, and the lane of keys that are ready.
//!
//! In: ids that were added, taken, finished. Out: which id is next. Pure: no clock, no lock, no key. Never hands an id
//! out twice before it is finished, and never puts an id into the lane twice.

use std::collections::VecDeque;

use crate::keys::{KEPT_SLOTS, KeyId};

/// client-go keeps two sets, dirty and processing; these are their four combinations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// Neither: unknown, or waiting for a deadline.
    Resting,
    /// Dirty: in the lane, once.
    Ready,
    /// Processing: a worker has it.
    Processing,
    /// Both: a worker has it, and it was added since that worker took it.
    Dirty,
}

#[derive(Clone, Copy)]
struct Record {
    mark: Mark,
    /// Failures in a row.
    failures: u32,
}

const UNKNOWN: Record = Record { mark: Mark::Resting, failures: 0 };

/// The marks, the failure counts and the ready lane.
pub(crate) struct State {
    records: Vec<Record>,
    ready: VecDeque<KeyId>,
    in_flight: usize,
    dirty: usize,
    failing: usize,
    adds: u64,
}

impl State {
    pub(crate) fn new() -> Self {
        Self { records: Vec::new(), ready: VecDeque::new(), in_flight: 0, dirty: 0, failing: 0, adds: 0 }
    }

    /// Makes room for ids below `slots`.
    pub(crate) fn grow(&mut self, slots: usize) {
        if slots > self.records.len() {
            self.records.resize(slots, UNKNOWN);
        }
    }

    /// The key has something to do: to the end of the lane, or again after its worker. Says what it was doing before.
    pub(crate) fn add(&mut self, id: KeyId) -> Mark {
        let mark = &mut self.records[id.index()].mark;
        let before = *mark;
        match before {
            Mark::Resting => {
                *mark = Mark::Ready;
                self.ready.push_back(id);
            }
            Mark::Processing => {
                *mark = Mark::Dirty;
                self.dirty += 1;
            }
            Mark::Ready | Mark::Dirty => return before,
        }
        self.adds += 1;
        before
    }

    /// The next key in the lane; it is in flight from now on.
    pub(crate) fn take(&mut self) -> Option<KeyId> {
        let id = self.ready.pop_front()?;
        self.records[id.index()].mark = Mark::Processing;
        self.in_flight += 1;
        Some(id)
    }

    /// The worker is finished. True: the key was added meanwhile and is ready again.
    pub(crate) fn finish(&mut self, id: KeyId) -> bool {
        let mark = &mut self.records[id.index()].mark;
        self.in_flight -= 1;
        if *mark == Mark::Dirty {
            *mark = Mark::Ready;
            self.dirty -= 1;
            self.ready.push_back(id);
            return true;
        }
        *mark = Mark::Resting;
        false
    }

    /// Empties the lane and forgets that keys in flight were added again. Returns the ids that are resting now.
    pub(crate) fn discard(&mut self) -> VecDeque<KeyId> {
        let dropped = std::mem::take(&mut self.ready);
        for id in &dropped {
            self.records[id.index()].mark = Mark::Resting;
        }
        if self.dirty > 0 {
            for record in self.records.iter_mut().filter(|record| record.mark == Mark::Dirty) {
                record.mark = Mark::Processing;
            }
            self.dirty = 0;
        }
        dropped
    }

    pub(crate) fn mark(&self, id: KeyId) -> Mark {
        self.records[id.index()].mark
    }

    pub(crate) fn failures(&self, id: KeyId) -> u32 {
        self.records[id.index()].failures
    }

    pub(crate) fn count_failure(&mut self, id: KeyId) {
        let failures = &mut self.records[id.index()].failures;
        self.failing += usize::from(*failures == 0);
        *failures = failures.saturating_add(1);
    }

    pub(crate) fn forget_failures(&mut self, id: KeyId) {
        let failures = &mut self.records[id.index()].failures;
        self.failing -= usize::from(*failures > 0);
        *failures = 0;
    }

    /// Keys in the lane.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Keys in the hands of workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Keys in flight that will be ready again when they are finished.
    pub(crate) fn dirty(&self) -> usize {
        self.dirty
    }

    /// Live keys whose last outcome was a failure.
    pub(crate) fn failing(&self) -> usize {
        self.failing
    }

    /// Adds that weren't absorbed by an earlier one.
    pub(crate) fn adds(&self) -> u64 {
        self.adds
    }

    /// Gives memory back; only when no id is live.
    pub(crate) fn trim(&mut self) {
        if self.records.capacity().max(self.ready.capacity()) > KEPT_SLOTS {
            *self = Self { adds: self.adds, ..Self::new() };
        }
    }
}
