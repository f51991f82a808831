//! Slots: the objects, each in a place with a number.
//!
//! In: a number and what shall be there, from the one writer. Out: what is there. A place stays where it is while others
//! are added, so nobody waits for growth. Sixteen places share a lock, which is held while pointers are copied and no
//! longer: neighbours, as a list brings them, are read at once. No code of users runs under it.
//!
//! Beside each object stands the fingerprint of its key, so that finding one touches no other object's memory.

use std::hint::black_box;
use std::sync::{Arc, OnceLock};

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

struct Group<K> {
    objects: [Option<Arc<K>>; GROUP as usize],
    /// The fingerprints, in two parts.
    hashes: [u64; GROUP as usize],
    rests: [u32; GROUP as usize],
    bytes: [u32; GROUP as usize],
}

impl<K> Group<K> {
    fn key(&self, place: usize) -> Fingerprint {
        Fingerprint { hash: self.hashes[place], rest: self.rests[place] }
    }
}

type Block<K> = Box<[Mutex<Group<K>>]>;

pub(super) struct Slots<K> {
    blocks: [OnceLock<Block<K>>; BLOCKS],
}

/// Objects of one group, copied.
type Copies<K> = SmallVec<[(u32, Arc<K>); GROUP as usize]>;

impl<K> Slots<K> {
    pub(super) fn new() -> Self {
        Self { blocks: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// What is in this place, if it has this key.
    pub(super) fn get(&self, slot: u32, key: Fingerprint) -> Option<Arc<K>> {
        let (group, place) = self.place(slot)?;
        let group = group.lock();
        if group.key(place) == key { group.objects[place].clone() } else { None }
    }

    /// The key whose place this was last.
    pub(super) fn key(&self, slot: u32) -> Fingerprint {
        self.place(slot).map_or(Fingerprint::default(), |(group, place)| group.lock().key(place))
    }

    pub(super) fn held(&self, slot: u32) -> Option<Held<K>> {
        let (group, place) = self.place(slot)?;
        let group = group.lock();
        group.objects[place].clone().map(|object| Held { object, bytes: group.bytes[place] })
    }

    /// Puts an object of this key into a place, or nothing; returns what was there, to be freed outside of the lock.
    pub(super) fn set(&self, slot: u32, key: Fingerprint, held: Option<Held<K>>) -> Option<Held<K>> {
        let (number, place) = split(slot);
        let (block, offset) = block_of(number);
        let block = self.blocks[block].get_or_init(|| new_block(block));
        let (object, bytes) = held.map_or((None, 0), |held| (Some(held.object), held.bytes));
        let mut group = block[offset].lock();
        (group.hashes[place], group.rests[place]) = (key.hash, key.rest);
        let bytes = std::mem::replace(&mut group.bytes[place], bytes);
        std::mem::replace(&mut group.objects[place], object).map(|object| Held { object, bytes })
    }

    /// Calls `visit` with what is in these places, which should be in order: neighbours are read at once.
    pub(super) fn visit(&self, slots: impl IntoIterator<Item = u32>, mut visit: impl FnMut(u32, Arc<K>)) {
        let mut slots = slots.into_iter().peekable();
        while let Some(first) = slots.next() {
            let mut wanted: SmallVec<[u32; GROUP as usize]> = SmallVec::new();
            wanted.push(first);
            while let Some(next) = slots.next_if(|next| next / GROUP == first / GROUP) {
                wanted.push(next);
            }
            let Some((group, _)) = self.place(first) else { continue };
            let mut copies = Copies::new();
            {
                let group = group.lock();
                // Counting up waits for the memory of one object after the other, reading doesn't. So all are read first.
                let object = |slot: &u32| group.objects[split(*slot).1].as_ref();
                black_box(wanted.iter().filter_map(object).map(Arc::strong_count).sum::<usize>());
                copies.extend(wanted.iter().filter_map(|slot| Some((*slot, Arc::clone(object(slot)?)))));
            }
            copies.into_iter().for_each(|(slot, object)| visit(slot, object));
        }
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
    let empty = || Group {
        objects: [const { None }; GROUP as usize],
        hashes: [0; GROUP as usize],
        rests: [0; GROUP as usize],
        bytes: [0; GROUP as usize],
    };
    (0..(FIRST as usize) << block).map(|_| Mutex::new(empty())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each number has a place of its own, also where blocks meet, and a walk in order shows them all.
    #[test]
    fn every_number_has_a_place() {
        let (slots, key) = (Slots::new(), Fingerprint::default());
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
