//! Ids in the order of a rank: the structure behind deadlines, priorities and whatever expires.
//!
//! In: an id and its rank. Out: the ids, lowest rank first, equal ones in the order in which they were set. Pure. A
//! binary heap beside an index that knows where each id stands, so that a rank can be changed and an id withdrawn, and
//! nothing stale stays behind (client-go's heap of delays can't withdraw). 16 bytes an id, and 4 for each known key.

use crate::keys::{Id, KEPT_SLOTS};

#[derive(Clone, Copy)]
struct Entry {
    rank: i64,
    /// Makes the order of equal ranks the order in which they were set. Wraps around: of equal ranks only those less
    /// than 2^31 calls apart are kept in order.
    turn: u32,
    id: Id,
}

impl Entry {
    fn is_before(&self, other: &Self) -> bool {
        let earlier = |a: u32, b: u32| a.wrapping_sub(b) > u32::MAX / 2;
        self.rank < other.rank || (self.rank == other.rank && earlier(self.turn, other.turn))
    }
}

/// Knows where each id stands in the [`Order`] that it is in.
pub(crate) trait Index {
    /// None: in none.
    fn of(&self, id: Id) -> Option<usize>;
    fn set(&mut self, id: Id, place: usize);
    fn clear(&mut self, id: Id);
}

const NOWHERE: u32 = u32::MAX;

/// The plain index. Several orders may share one, if no id is in two.
#[derive(Default)]
pub(crate) struct Places(Vec<u32>);

impl Index for Places {
    #[inline]
    fn of(&self, id: Id) -> Option<usize> {
        self.0.get(id.index()).filter(|place| **place != NOWHERE).map(|place| *place as usize)
    }

    fn set(&mut self, id: Id, place: usize) {
        if id.index() >= self.0.len() {
            self.0.resize(id.index() + 1, NOWHERE);
        }
        self.0[id.index()] = u32::try_from(place).expect("fewer entries than ids");
    }

    fn clear(&mut self, id: Id) {
        self.0[id.index()] = NOWHERE;
    }
}

impl Places {
    /// Gives memory back; `slots` is how many ids there are.
    pub(crate) fn trim(&mut self, slots: usize) {
        if self.0.capacity() > KEPT_SLOTS.max(2 * slots) {
            self.0.truncate(slots);
            self.0.shrink_to_fit();
        }
    }
}

/// A heap of ids.
#[derive(Default)]
pub(crate) struct Order {
    heap: Vec<Entry>,
    turns: u32,
}

impl Order {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Sets the id's rank, whether it is in the order or not. Behind those of the same rank.
    pub(crate) fn set(&mut self, places: &mut impl Index, id: Id, rank: i64) {
        self.turns = self.turns.wrapping_add(1);
        self.remove(places, id);
        self.insert(places, id, rank, self.turns);
    }

    /// Puts an id in that isn't in the order, with a turn of the caller's: the lower first, of equal ranks.
    pub(crate) fn insert(&mut self, places: &mut impl Index, id: Id, rank: i64, turn: u32) {
        self.heap.push(Entry { rank, turn, id });
        self.rise(places, self.heap.len() - 1);
    }

    /// The lowest rank and its id.
    #[inline]
    pub(crate) fn first(&self) -> Option<(i64, Id)> {
        self.heap.first().map(|entry| (entry.rank, entry.id))
    }

    /// Takes the id with the lowest rank.
    pub(crate) fn pop(&mut self, places: &mut impl Index) -> Option<Id> {
        let id = self.heap.first()?.id;
        self.take_out(places, 0);
        Some(id)
    }

    /// Takes an id out. False: it isn't in the order.
    #[inline]
    pub(crate) fn remove(&mut self, places: &mut impl Index, id: Id) -> bool {
        let Some(place) = places.of(id) else { return false };
        self.take_out(places, place);
        true
    }

    /// All ids, in no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (i64, Id)> {
        self.heap.iter().map(|entry| (entry.rank, entry.id))
    }

    /// Gives memory back that the ids in the order don't need.
    pub(crate) fn trim(&mut self) {
        if self.heap.capacity() > KEPT_SLOTS.max(2 * self.heap.len()) {
            self.heap.shrink_to_fit();
        }
    }

    fn take_out(&mut self, places: &mut impl Index, place: usize) {
        let gone = self.heap.swap_remove(place);
        places.clear(gone.id);
        if place < self.heap.len() {
            let place = self.rise(places, place);
            self.sink(places, place);
        }
    }

    /// Moves the entry at `place` towards the root until its parent comes before it, and notes where it stands.
    fn rise(&mut self, places: &mut impl Index, mut place: usize) -> usize {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / 2;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            self.heap[place] = self.heap[parent];
            places.set(self.heap[place].id, place);
            place = parent;
        }
        self.heap[place] = entry;
        places.set(entry.id, place);
        place
    }

    /// Moves the entry at `place` towards the leaves until its children come after it.
    fn sink(&mut self, places: &mut impl Index, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let mut child = 2 * place + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len() && self.heap[child + 1].is_before(&self.heap[child]) {
                child += 1;
            }
            if !self.heap[child].is_before(&entry) {
                break;
            }
            self.heap[place] = self.heap[child];
            places.set(self.heap[place].id, place);
            place = child;
        }
        self.heap[place] = entry;
        places.set(entry.id, place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::Keys;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Goal: the heap and its index agree with a searched list over any sequence of calls.
        #[test]
        fn an_order_behaves_like_a_searched_list(
            calls in prop::collection::vec((0..4_u8, 0..24_usize, 0..50_i64), 0..200),
        ) {
            let mut keys = Keys::new();
            let ids: Vec<Id> = (0..24_u64).map(|key| keys.insert(key, key)).collect();
            let (mut places, mut order) = (Places::default(), Order::default());
            let mut list: Vec<(i64, usize, Id)> = Vec::new();
            for (turn, (call, key, rank)) in calls.into_iter().enumerate() {
                let id = ids[key];
                match call {
                    0 | 1 => {
                        order.set(&mut places, id, rank);
                        list.retain(|other| other.2 != id);
                        list.push((rank, turn, id));
                    }
                    2 => {
                        let known = list.iter().any(|other| other.2 == id);
                        list.retain(|other| other.2 != id);
                        prop_assert_eq!(order.remove(&mut places, id), known);
                    }
                    _ => {
                        list.sort_unstable_by_key(|entry| (entry.0, entry.1));
                        let first = (!list.is_empty()).then(|| list.remove(0).2);
                        prop_assert_eq!(order.pop(&mut places), first);
                    }
                }
                prop_assert_eq!(order.len(), list.len());
                prop_assert_eq!(order.first().map(|first| first.0), list.iter().map(|other| other.0).min());
                for id in &ids {
                    prop_assert_eq!(places.of(*id).is_some(), list.iter().any(|other| other.2 == *id));
                }
            }
        }

        /// Goal: equal ranks stay in order across the point where the turns wrap around.
        #[test]
        fn turns_wrap_around(before in 0..8_u32) {
            let mut keys = Keys::new();
            let ids: Vec<Id> = (0..16_u64).map(|key| keys.insert(key, key)).collect();
            let mut places = Places::default();
            let mut order = Order { turns: u32::MAX - before, ..Order::default() };
            ids.iter().for_each(|id| order.set(&mut places, *id, 7));
            let popped: Vec<Id> = std::iter::from_fn(|| order.pop(&mut places)).collect();
            prop_assert_eq!(popped, ids);
        }
    }
}
