//! Slots: the objects, each in a place with a number.
//!
//! In: a number and what shall be there, from the one writer. Out: what is there. A place stays where it is while others
//! are added, so nobody waits for growth. Sixteen places are a group behind one pointer. A reader takes one object, or the whole
//! group as it is; the writer changes a group in place, or, while a reader has it, a copy of it. The lock of a group is held while
//! pointers are copied and no longer. No code of users runs under it.
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
    /// The fingerprint of its key, in parts: as a whole it would take four bytes more.
    hash: u64,
    rest: u32,
    bytes: u32,
}

impl<K> Place<K> {
    const EMPTY: Self = Self::new(None, Fingerprint::NONE, 0);

    const fn new(object: Option<Arc<K>>, key: Fingerprint, bytes: u32) -> Self {
        Self { object, hash: key.hash, rest: key.rest, bytes }
    }

    fn key(&self) -> Fingerprint {
        Fingerprint { hash: self.hash, rest: self.rest }
    }

    fn held(&self) -> Option<Held<K>> {
        self.object.clone().map(|object| Held { object, bytes: self.bytes })
    }
}

impl<K> Clone for Place<K> {
    fn clone(&self) -> Self {
        Self::new(self.object.clone(), self.key(), self.bytes)
    }
}

type Group<K> = [Place<K>; GROUP as usize];
type Block<K> = Box<[Mutex<Arc<Group<K>>>]>;

/// How many groups a walk takes at once: reading objects waits for nothing, taking and giving back waits for what was read.
const AT_ONCE: usize = 8;

/// Some places of a few groups, each group as it was at one moment.
pub(crate) struct Taken<K>(SmallVec<[Part<K>; AT_ONCE]>);

struct Part<K> {
    group: Arc<Group<K>>,
    /// The number of the first place of the group.
    first: u32,
    /// A bit for each place that is wanted.
    wanted: u16,
}

impl<K> Taken<K> {
    /// What is there, in order.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (u32, &Arc<K>)> {
        self.slots().filter_map(|(slot, object)| Some((slot, object?)))
    }

    /// The same, with what is empty.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, Option<&Arc<K>>)> {
        self.0.iter().flat_map(Part::slots)
    }
}

impl<K> Part<K> {
    fn slots(&self) -> impl Iterator<Item = (u32, Option<&Arc<K>>)> {
        let mut wanted = self.wanted;
        std::iter::from_fn(move || {
            let place = wanted.trailing_zeros();
            wanted &= wanted.checked_sub(1)?;
            Some((self.first + place, self.group[place as usize].object.as_ref()))
        })
    }
}

/// Appends the objects. While it counts some, the memory is fetched in which the next are counted: counting waits for one after the
/// other, fetching doesn't.
pub(super) fn list<K>(mut taken: impl Iterator<Item = Taken<K>>, objects: &mut Vec<Arc<K>>) {
    let mut next = taken.next();
    while let Some(present) = next {
        next = taken.next();
        next.iter().flat_map(Taken::objects).for_each(|(_, object)| fetch_count(object));
        objects.extend(present.objects().map(|(_, object)| Arc::clone(object)));
    }
}

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
        let group = group.lock();
        let place = &group[place];
        if place.key() == key { place.held() } else { None }
    }

    /// The key whose place this was last.
    pub(super) fn key(&self, slot: u32) -> Fingerprint {
        self.place(slot).map_or(Fingerprint::NONE, |(group, place)| group.lock()[place].key())
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
        let new = Place::new(object, key, bytes);
        let old = std::mem::replace(&mut Arc::make_mut(&mut block[offset].lock())[place], new);
        old.object.map(|object| Held { object, bytes: old.bytes })
    }

    /// Has the memory of these places fetched, then that in which their objects are counted.
    pub(super) fn fetch(&self, slots: impl Iterator<Item = u32> + Clone) {
        let places = || slots.clone().filter_map(|slot| self.place(slot));
        places().for_each(|(group, _)| fetch(group));
        places().for_each(|(group, place)| {
            let group = group.lock();
            fetch_count(&group);
            fetch(&raw const group[place]);
        });
        places().for_each(|(group, place)| group.lock()[place].object.iter().for_each(fetch_count));
    }

    /// What is in these places, each group at a moment of its own. Neighbours are read at once.
    pub(super) fn take<'a>(&'a self, slots: impl Iterator<Item = &'a [u32]>) -> impl Iterator<Item = Taken<K>> {
        let groups = slots.flat_map(|slots| slots.chunk_by(|a, b| split(*a).0 == split(*b).0));
        self.take_groups(groups.filter_map(|slots| {
            let wanted = slots.iter().fold(0, |wanted, slot| wanted | 1 << split(*slot).1);
            Some((split(*slots.first()?).0, wanted))
        }))
    }

    /// The same for all places below `end`.
    pub(super) fn take_all(&self, end: u32) -> impl Iterator<Item = Taken<K>> {
        let wanted = move |group: u32| u16::MAX >> (GROUP - (end - group * GROUP).min(GROUP));
        self.take_groups((0..end.div_ceil(GROUP)).map(move |group| (group, wanted(group))))
    }

    fn take_groups(&self, groups: impl Iterator<Item = (u32, u16)>) -> impl Iterator<Item = Taken<K>> {
        let mut parts = groups.filter_map(|(number, wanted)| {
            let first = number * GROUP;
            let group = Arc::clone(&self.place(first)?.0.lock());
            Some(Part { group, first, wanted })
        });
        std::iter::from_fn(move || {
            Some(Taken(parts.by_ref().take(AT_ONCE).collect())).filter(|taken| !taken.0.is_empty())
        })
    }

    fn place(&self, slot: u32) -> Option<(&Mutex<Arc<Group<K>>>, usize)> {
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

/// All groups of a new block are one, until they are changed.
fn new_block<K>(block: usize) -> Block<K> {
    let empty = Arc::new([const { Place::EMPTY }; GROUP as usize]);
    (0..(FIRST as usize) << block).map(|_| Mutex::new(Arc::clone(&empty))).collect()
}

/// The counts stand before the object.
fn fetch_count<K>(object: &Arc<K>) {
    fetch(Arc::as_ptr(object).cast::<usize>().wrapping_sub(2));
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
        for taken in slots.take_all(6_000) {
            seen.extend(taken.objects().map(|(slot, object)| (slot, **object)));
        }
        assert_eq!(seen, (0..5_000).map(|slot| (slot, slot)).collect::<Vec<_>>());
        assert_eq!(slots.set(17, key, None).map(|held| *held.object), Some(17));
        assert!(slots.get(17, key).is_none());
    }
}
