//! Slots: the objects, each in a place with a number.
//!
//! In: a number and what shall be there, from the one writer. Out: what is there. A place stays where it is while others
//! are added, so nobody waits for growth. Sixteen places share a lock, which is held while pointers are copied and no
//! longer: neighbours, as a list brings them, are read at once. No code of users runs under it.
//!
//! Beside each object stands the fingerprint of its key, so that finding one touches no other object's memory.

use std::sync::{Arc, OnceLock};

use branches::prefetch_read_data;
use smallvec::SmallVec;

use super::fingerprint::Fingerprint;
use super::sync::Mutex;
use crate::object::Cached;

/// Places under one lock.
const GROUP: u32 = 16;

/// Groups of the first block. Each block has twice as many as the one before.
const FIRST: u32 = 4;

/// How many objects a walk has fetched while it shows as many others.
const WINDOW: usize = 32;

/// Enough for 1.8 billion places.
const BLOCKS: usize = 25;

/// What one place holds.
pub(super) struct Held<K> {
    pub(super) object: Arc<K>,
    /// How large it is said to be.
    pub(super) bytes: u32,
}

impl<K: Cached> Held<K> {
    /// What says itself how large it is, or else is as large as it arrived.
    pub(super) fn new(object: Arc<K>, arrived: u32) -> Self {
        let bytes = object.held_bytes().map_or(arrived, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
        Self { object, bytes }
    }
}

impl<K> Clone for Held<K> {
    fn clone(&self) -> Self {
        Self { object: Arc::clone(&self.object), bytes: self.bytes }
    }
}

struct Place<K> {
    object: Option<Arc<K>>,
    key: Fingerprint,
    bytes: u32,
}

impl<K> Place<K> {
    const EMPTY: Self = Self { object: None, key: Fingerprint::NONE, bytes: 0 };

    fn held(&self) -> Option<Held<K>> {
        self.object.clone().map(|object| Held { object, bytes: self.bytes })
    }
}

type Group<K> = [Place<K>; GROUP as usize];

type Block<K> = Box<[Mutex<Group<K>>]>;

pub(super) struct Slots<K> {
    blocks: [OnceLock<Block<K>>; BLOCKS],
}

impl<K> Slots<K> {
    pub(super) fn new() -> Self {
        Self { blocks: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// What is in this place, if it has this key.
    pub(super) fn get(&self, slot: u32, key: Fingerprint) -> Option<Held<K>> {
        let (group, place) = self.place(slot)?;
        let place = &group.lock()[place];
        if place.key == key { place.held() } else { None }
    }

    /// The key whose place this was last.
    pub(super) fn key(&self, slot: u32) -> Fingerprint {
        self.place(slot).map_or(Fingerprint::NONE, |(group, place)| group.lock()[place].key)
    }

    pub(super) fn held(&self, slot: u32) -> Option<Held<K>> {
        let (group, place) = self.place(slot)?;
        group.lock()[place].held()
    }

    /// Puts an object of this key into a place, or nothing; returns what was there, to be freed outside of the lock.
    pub(super) fn set(&self, slot: u32, key: Fingerprint, held: Option<Held<K>>) -> Option<Held<K>> {
        let (number, place) = split(slot);
        let (block, offset) = block_of(number);
        let block = self.blocks[block].get_or_init(|| new_block(block));
        let (object, bytes) = held.map_or((None, 0), |held| (Some(held.object), held.bytes));
        let new = Place { object, key, bytes };
        let old = std::mem::replace(&mut block[offset].lock()[place], new);
        old.object.map(|object| Held { object, bytes: old.bytes })
    }

    /// Has the memory fetched that tells what is in a place.
    pub(super) fn fetch(&self, slot: u32) {
        if let Some((group, place)) = self.place(slot) {
            fetch(group);
            fetch(std::ptr::from_ref(group).cast::<Place<K>>().wrapping_add(place));
        }
    }

    /// Has the memory fetched in which the objects of these places are counted. Counting waits for each, this doesn't.
    pub(super) fn fetch_objects(&self, slots: &[u32]) {
        for (group, slots) in self.groups(slots) {
            let group = group.lock();
            let objects = slots.iter().filter_map(|slot| group[split(*slot).1].object.as_ref());
            objects.for_each(|object| fetch(Arc::as_ptr(object).cast::<usize>().wrapping_sub(2)));
        }
    }

    /// Calls `visit` with what is in these places, which should be in order: neighbours are read at once.
    pub(super) fn visit(&self, slots: impl IntoIterator<Item = u32>, mut visit: impl FnMut(u32, Arc<K>)) {
        let mut slots = slots.into_iter();
        let mut window = || slots.by_ref().take(WINDOW).collect::<SmallVec<[u32; WINDOW]>>();
        let mut next = window();
        self.fetch_objects(&next);
        while !next.is_empty() {
            let present = std::mem::replace(&mut next, window());
            self.fetch_objects(&next);
            let mut copies = SmallVec::<[(u32, Arc<K>); WINDOW]>::new();
            for (group, slots) in self.groups(&present) {
                let group = group.lock();
                copies.extend(slots.iter().filter_map(|slot| Some((*slot, group[split(*slot).1].object.clone()?))));
            }
            copies.into_iter().for_each(|(slot, object)| visit(slot, object));
        }
    }

    /// Slots that follow each other in one group, with its lock.
    fn groups<'a>(&'a self, slots: &'a [u32]) -> impl Iterator<Item = (&'a Mutex<Group<K>>, &'a [u32])> {
        let together = slots.chunk_by(|a, b| split(*a).0 == split(*b).0);
        together.filter_map(|slots| Some((self.place(*slots.first()?)?.0, slots)))
    }

    fn place(&self, slot: u32) -> Option<(&Mutex<Group<K>>, usize)> {
        let (number, place) = split(slot);
        let (block, offset) = block_of(number);
        Some((self.blocks.get(block)?.get()?.get(offset)?, place))
    }
}

/// The group and the place in it.
fn split(slot: u32) -> (u32, usize) {
    (slot / GROUP, (slot % GROUP) as usize)
}

/// The block and the group in it.
fn block_of(group: u32) -> (usize, usize) {
    let block = (group / FIRST + 1).ilog2();
    (block as usize, (group - FIRST * ((1 << block) - 1)) as usize)
}

fn new_block<K>(block: usize) -> Block<K> {
    (0..(FIRST as usize) << block).map(|_| Mutex::new([const { Place::EMPTY }; GROUP as usize])).collect()
}

/// Has a line of memory fetched into the first cache; waits for nothing.
fn fetch<T>(address: *const T) {
    prefetch_read_data::<T, 0>(address);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each number has a place of its own, also where blocks meet, and a walk in order shows them all.
    #[test]
    fn every_number_has_a_place() {
        let (slots, key) = (Slots::new(), Fingerprint::NONE);
        for slot in 0..5_000 {
            assert!(slots.set(slot, key, Some(Held { object: Arc::new(slot), bytes: slot })).is_none());
        }
        for slot in 0..5_000 {
            assert_eq!(slots.held(slot).map(|held| (*held.object, held.bytes)), Some((slot, slot)));
        }
        assert!(slots.get(u32::MAX, key).is_none());
        let mut seen = Vec::new();
        slots.visit(0..6_000, |slot, object| seen.push((slot, *object)));
        assert_eq!(seen, (0..5_000).map(|slot| (slot, slot)).collect::<Vec<_>>());
        assert_eq!(slots.set(17, key, None).map(|held| *held.object), Some(17));
        assert!(slots.get(17, key).is_none());
    }
}
