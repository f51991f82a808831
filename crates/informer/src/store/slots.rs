//! Slots: the objects, each in a place with a number.
//!
//! In: a number and what shall be there, from the one writer. Out: what is there. A place stays where it is while others
//! are added, so nobody waits for growth. Sixteen places share a lock, which is held while pointers are copied and no
//! longer: neighbours, as a list brings them, are read at once. No code of users runs under it.
//!
//! It never knows whose object it holds.

use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

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
    bytes: [u32; GROUP as usize],
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

    pub(super) fn get(&self, slot: u32) -> Option<Arc<K>> {
        let (group, place) = self.place(slot)?;
        group.lock().objects[place].clone()
    }

    pub(super) fn held(&self, slot: u32) -> Option<Held<K>> {
        let (group, place) = self.place(slot)?;
        let group = group.lock();
        group.objects[place].clone().map(|object| Held { object, bytes: group.bytes[place] })
    }

    /// Puts something into a place, or nothing; returns what was there, to be freed outside of the lock.
    pub(super) fn set(&self, slot: u32, held: Option<Held<K>>) -> Option<Held<K>> {
        let (number, place) = split(slot);
        let (block, offset) = block_of(number);
        let block = self.blocks[block].get_or_init(|| new_block(block));
        let (object, bytes) = held.map_or((None, 0), |held| (Some(held.object), held.bytes));
        let mut group = block[offset].lock();
        let bytes = std::mem::replace(&mut group.bytes[place], bytes);
        std::mem::replace(&mut group.objects[place], object).map(|object| Held { object, bytes })
    }

    /// Calls `visit` with what is in these places, which should be in order: neighbours are read at once.
    pub(super) fn visit(&self, slots: impl IntoIterator<Item = u32>, mut visit: impl FnMut(u32, Arc<K>)) {
        let mut slots = slots.into_iter().peekable();
        while let Some(first) = slots.next() {
            let Some((group, place)) = self.place(first) else { continue };
            let mut copies = Copies::new();
            {
                let group = group.lock();
                let mut copy = |slot, place: usize| copies.extend(group.objects[place].clone().map(|one| (slot, one)));
                copy(first, place);
                while let Some(next) = slots.next_if(|next| next / GROUP == first / GROUP) {
                    copy(next, split(next).1);
                }
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
    let empty = || Group { objects: [const { None }; GROUP as usize], bytes: [0; GROUP as usize] };
    (0..(FIRST as usize) << block).map(|_| Mutex::new(empty())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each number has a place of its own, also where blocks meet, and a walk in order shows them all.
    #[test]
    fn every_number_has_a_place() {
        let slots = Slots::new();
        for slot in 0..5_000 {
            assert!(slots.set(slot, Some(Held { object: Arc::new(slot), bytes: slot })).is_none());
        }
        for slot in 0..5_000 {
            assert_eq!(slots.held(slot).map(|held| (*held.object, held.bytes)), Some((slot, slot)));
        }
        assert!(slots.get(u32::MAX).is_none());
        let mut seen = Vec::new();
        slots.visit(0..6_000, |slot, object| seen.push((slot, *object)));
        assert_eq!(seen, (0..5_000).map(|slot| (slot, slot)).collect::<Vec<_>>());
        assert_eq!(slots.set(17, None).map(|held| *held.object), Some(17));
        assert!(slots.get(17).is_none());
    }
}
