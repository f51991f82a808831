//! Deadlines: keys that wait for a point in time.
//!
//! In: an id and when it is due. Out: the ids that are due, in order of their deadlines, equal ones in the order in
//! which they were set. Pure: `now` is an argument. At most one deadline a key, and the earliest one wins: a later
//! one never postpones it.
//!
//! A binary heap that knows where each id stands, so a deadline can be moved and withdrawn, and nothing stale stays
//! behind (client-go's heap can't withdraw).

use tokio::time::Instant;

use crate::keys::{KEPT_SLOTS, KeyId};

/// What became of a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheduled {
    /// The key had none.
    New,
    /// The key had a later one.
    Earlier,
    /// The key had an earlier one, which stands.
    Kept,
}

#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    /// Makes the order of equal deadlines the order in which they were set.
    order: u64,
    id: KeyId,
}

impl Deadline {
    fn rank(&self) -> (Instant, u64) {
        (self.at, self.order)
    }
}

const NOWHERE: u32 = u32::MAX;

/// The deadlines of all waiting keys.
pub(crate) struct Deadlines {
    heap: Vec<Deadline>,
    /// Per id: its index in the heap, or [`NOWHERE`].
    places: Vec<u32>,
    next_order: u64,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self { heap: Vec::new(), places: Vec::new(), next_order: 0 }
    }

    /// Sets the key's deadline, unless it has an earlier one.
    pub(crate) fn schedule(&mut self, id: KeyId, at: Instant) -> Scheduled {
        if id.index() >= self.places.len() {
            self.places.resize(id.index() + 1, NOWHERE);
        }
        let deadline = Deadline { at, order: self.next_order, id };
        self.next_order += 1;
        if let Some(place) = self.place(id) {
            if self.heap[place].at <= at {
                return Scheduled::Kept;
            }
            self.heap[place] = deadline;
            self.rise(place);
            return Scheduled::Earlier;
        }
        self.heap.push(deadline);
        self.rise(self.heap.len() - 1);
        Scheduled::New
    }

    /// Withdraws the key's deadline. False: it had none.
    pub(crate) fn cancel(&mut self, id: KeyId) -> bool {
        let Some(place) = self.place(id) else { return false };
        self.remove(place);
        true
    }

    pub(crate) fn is_waiting(&self, id: KeyId) -> bool {
        self.place(id).is_some()
    }

    /// When the first key is due.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.heap.first().map(|deadline| deadline.at)
    }

    /// Takes the first key that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<KeyId> {
        let first = *self.heap.first()?;
        if first.at > now {
            return None;
        }
        self.remove(0);
        Some(first.id)
    }

    /// Takes any key, due or not.
    pub(crate) fn pop_any(&mut self) -> Option<KeyId> {
        let last = self.heap.pop()?;
        self.places[last.id.index()] = NOWHERE;
        Some(last.id)
    }

    /// Waiting keys.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Gives memory back; only when no id is live.
    pub(crate) fn trim(&mut self) {
        if self.places.capacity() > KEPT_SLOTS {
            *self = Self { next_order: self.next_order, ..Self::new() };
        }
    }

    fn place(&self, id: KeyId) -> Option<usize> {
        self.places.get(id.index()).filter(|place| **place != NOWHERE).map(|place| *place as usize)
    }

    fn remove(&mut self, place: usize) {
        let gone = self.heap.swap_remove(place);
        self.places[gone.id.index()] = NOWHERE;
        if place < self.heap.len() {
            self.rise(place);
            self.sink(place);
        }
    }

    /// Moves the deadline at `place` towards the root until its parent is earlier, and notes where it stands.
    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].rank() <= self.heap[place].rank() {
                break;
            }
            self.heap.swap(parent, place);
            self.note(place);
            place = parent;
        }
        self.note(place);
    }

    /// Moves the deadline at `place` towards the leaves until its children are later.
    fn sink(&mut self, mut place: usize) {
        loop {
            let children = (2 * place + 1)..(2 * place + 3).min(self.heap.len());
            let Some(child) = children.min_by_key(|child| self.heap[*child].rank()) else { break };
            if self.heap[place].rank() <= self.heap[child].rank() {
                break;
            }
            self.heap.swap(place, child);
            self.note(place);
            place = child;
        }
        self.note(place);
    }

    fn note(&mut self, place: usize) {
        self.places[self.heap[place].id.index()] = u32::try_from(place).expect("fewer deadlines than ids");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::Keys;

    /// The naive model: an unordered list, searched.
    #[derive(Default)]
    struct Model {
        list: Vec<(Instant, u64, KeyId)>,
        order: u64,
    }

    impl Model {
        fn schedule(&mut self, id: KeyId, at: Instant) -> Scheduled {
            self.order += 1;
            let entry = (at, self.order, id);
            match self.list.iter_mut().find(|other| other.2 == id) {
                Some(other) if other.0 <= at => Scheduled::Kept,
                Some(other) => {
                    *other = entry;
                    Scheduled::Earlier
                }
                None => {
                    self.list.push(entry);
                    Scheduled::New
                }
            }
        }

        fn pop_due(&mut self, now: Instant) -> Option<KeyId> {
            let index = (0..self.list.len()).min_by_key(|index| (self.list[*index].0, self.list[*index].1))?;
            (self.list[index].0 <= now).then(|| self.list.remove(index).2)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Goal: the heap and its index agree with a searched list over any sequence of calls.
        #[test]
        fn deadlines_behave_like_a_searched_list(
            calls in prop::collection::vec((0..3_u8, 0..24_usize, 0..50_u64), 0..200),
        ) {
            let mut keys = Keys::new();
            let ids: Vec<KeyId> = (0..24_u64).map(|key| keys.intern(key, key)).collect();
            let start = Instant::now();
            let (mut real, mut model) = (Deadlines::new(), Model::default());
            for (call, key, ticks) in calls {
                let (id, at) = (ids[key], start + Duration::from_millis(ticks));
                match call {
                    0 => prop_assert_eq!(real.schedule(id, at), model.schedule(id, at)),
                    1 => {
                        let known = model.list.iter().any(|other| other.2 == id);
                        model.list.retain(|other| other.2 != id);
                        prop_assert_eq!(real.cancel(id), known);
                    }
                    _ => prop_assert_eq!(real.pop_due(at), model.pop_due(at)),
                }
                prop_assert_eq!(real.len(), model.list.len());
                prop_assert_eq!(real.earliest(), model.list.iter().map(|other| other.0).min());
                for id in &ids {
                    prop_assert_eq!(real.is_waiting(*id), model.list.iter().any(|other| other.2 == *id));
                }
            }
        }
    }
}
