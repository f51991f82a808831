//! What each key is doing, and how many keys do what.
//!
//! In: records of keys that were added, taken, finished, paused. Out: their new marks, and which id is next. Pure: no
//! clock, no lock, no key. Never hands an id out twice before it is finished, and never puts an id into the lanes
//! twice.

use crate::keys::Id;
use crate::lanes::{Lanes, Standing};

/// client-go keeps two sets, dirty and processing; the first four are their combinations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Mark {
    /// Neither: unknown, or waiting for a deadline.
    #[default]
    Idle,
    /// Dirty: in a lane, once.
    Ready,
    /// Processing: a worker has it.
    Processing,
    /// Both: a worker has it, and it was added since that worker took it.
    Dirty,
    /// Dirty, but paused: in no lane until it is resumed.
    Held,
    /// Failed as often as it may; at rest until it is added or sent back.
    Exhausted,
}

impl Mark {
    /// A worker has the key.
    pub(crate) fn is_in_flight(self) -> bool {
        matches!(self, Self::Processing | Self::Dirty)
    }
}

/// What the queue knows of every key.
#[derive(Clone, Copy, Default)]
pub(crate) struct Record {
    pub(crate) mark: Mark,
    /// Counts against the capacity: ready, held, in flight, waiting or exhausted.
    pub(crate) admitted: bool,
    /// Not to be handed out.
    pub(crate) paused: bool,
    /// There are reasons for it.
    pub(crate) noted: bool,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// How many [`KeyId`](crate::KeyId)s keep it.
    pub(crate) pins: u32,
}

/// The lanes, and counts over all records.
pub(crate) struct State {
    lanes: Lanes,
    pub(crate) in_flight: usize,
    /// Keys in flight that will be ready again when they are finished.
    pub(crate) dirty: usize,
    /// Keys that would be ready, were they not paused.
    pub(crate) held: usize,
    /// Live keys whose last outcome was a failure.
    pub(crate) failing: usize,
    /// Adds that weren't absorbed by an earlier one.
    pub(crate) adds: u64,
}

impl State {
    pub(crate) fn new(ranked: bool) -> Self {
        Self { lanes: Lanes::new(ranked), in_flight: 0, dirty: 0, held: 0, failing: 0, adds: 0 }
    }

    /// An idle key has something to do: into its lane, or held if it is paused.
    #[inline]
    pub(crate) fn enqueue(&mut self, id: Id, record: &mut Record, standing: Standing) {
        debug_assert_eq!(record.mark, Mark::Idle, "only idle keys become ready");
        if record.paused {
            record.mark = Mark::Held;
            self.held += 1;
        } else {
            record.mark = Mark::Ready;
            self.lanes.push(id, standing);
        }
    }

    /// A key in flight has something more to do.
    #[inline]
    pub(crate) fn soil(&mut self, record: &mut Record) {
        debug_assert_eq!(record.mark, Mark::Processing, "only keys in flight become dirty");
        record.mark = Mark::Dirty;
        self.dirty += 1;
    }

    /// Whose turn it is.
    #[inline]
    pub(crate) fn first(&self) -> Option<Id> {
        self.lanes.first()
    }

    /// A planted fault: the id stays in its lane.
    pub(crate) fn put_back(&mut self, id: Id) {
        self.lanes.push(id, Standing::default());
    }

    /// A worker takes the key whose turn it is.
    #[inline]
    pub(crate) fn start(&mut self, record: &mut Record) {
        self.lanes.pop();
        record.mark = Mark::Processing;
        self.in_flight += 1;
    }

    /// The worker is finished and the key at rest. True: it was added meanwhile.
    #[inline]
    pub(crate) fn finish(&mut self, record: &mut Record) -> bool {
        let dirty = record.mark == Mark::Dirty;
        record.mark = Mark::Idle;
        self.in_flight -= 1;
        self.dirty -= usize::from(dirty);
        dirty
    }

    /// Takes a key that is ready out of its lane, or forgets that it is held or was added again; it is idle, or in
    /// flight only.
    pub(crate) fn unqueue(&mut self, id: Id, record: &mut Record, standing: Standing) {
        match record.mark {
            Mark::Ready => self.lanes.remove(id, standing),
            Mark::Held => self.held -= 1,
            Mark::Dirty => {
                self.dirty -= 1;
                record.mark = Mark::Processing;
                return;
            }
            Mark::Idle | Mark::Processing | Mark::Exhausted => return,
        }
        record.mark = Mark::Idle;
    }

    /// Nobody's turn it is; what was ready is to be unqueued next.
    pub(crate) fn clear_lanes(&mut self) {
        self.lanes.clear();
    }

    /// A ready key has got another standing.
    pub(crate) fn reorder(&mut self, id: Id, standing: Standing) {
        self.lanes.move_to(id, standing);
    }

    #[inline]
    pub(crate) fn set_failures(&mut self, record: &mut Record, failures: u32) {
        self.failing += usize::from(failures > 0);
        self.failing -= usize::from(record.failures > 0);
        record.failures = failures;
    }

    /// Keys in the lanes.
    #[inline]
    pub(crate) fn ready(&self) -> usize {
        self.lanes.len()
    }

    /// Gives memory back; `slots` is how many ids there are.
    pub(crate) fn trim(&mut self, slots: usize) {
        self.lanes.trim(slots);
    }
}
