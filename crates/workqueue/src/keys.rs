//! Interning: each live key gets a small number, so that everything behind the first look-up is an array access.
//!
//! In: a key and its hash. Out: an [`Id`], valid until it is released; numbers are used again. The hash is computed
//! once by the caller and kept beside the key, so neither growing the table nor releasing a key hashes again. What
//! the queue must know of every key stands beside the key, on the same cache line.

use hashbrown::HashTable;

use crate::state::Record;

/// The hash function of the queue: fast, and keyed at random, since keys come from the cluster's users.
pub(crate) type Hasher = ahash::RandomState;

/// Below this many slots no memory is given back.
pub(crate) const KEPT_SLOTS: usize = 1024;

/// A live key's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Id(u32);

impl Id {
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Half of a cache line for keys of two words: this is where a queue of many keys spends its memory.
struct Slot<K> {
    /// Half of the hash is enough to tell keys apart before they are compared, and to find them again.
    hash: u32,
    /// None: free.
    key: Option<K>,
    record: Record,
}

fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The hash by which the table knows a key: its tags are made of the upper bits, its places of the lower ones.
fn whole(half: u32) -> u64 {
    u64::from(half).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// What the table holds of a key. With the hash, so that growing the table looks at no slots.
#[derive(Clone, Copy)]
struct Known {
    hash: u32,
    id: Id,
}

/// The live keys by number, and their numbers by key.
pub(crate) struct Keys<K> {
    table: HashTable<Known>,
    slots: Vec<Slot<K>>,
    free: Vec<Id>,
}

impl<K> Keys<K> {
    pub(crate) fn new() -> Self {
        Self { table: HashTable::new(), slots: Vec::new(), free: Vec::new() }
    }

    /// A number for a key that isn't known.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, key: K) -> Id {
        let hash = half(hash);
        let slot = Slot { hash, key: Some(key), record: Record::default() };
        let id = if let Some(id) = self.free.pop() {
            self.slots[id.index()] = slot;
            id
        } else {
            let id = Id(u32::try_from(self.slots.len()).expect("fewer than 2^32 live keys"));
            self.slots.push(slot);
            id
        };
        self.table.insert_unique(whole(hash), Known { hash, id }, |known| whole(known.hash));
        id
    }

    /// The key's number, if it is known.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &K) -> Option<Id>
    where
        K: Eq,
    {
        let hash = half(hash);
        let same = |known: &Known| known.hash == hash && self.slots[known.id.index()].key.as_ref() == Some(key);
        self.table.find(whole(hash), same).map(|known| known.id)
    }

    /// The key behind a live number.
    #[inline]
    pub(crate) fn key(&self, id: Id) -> &K {
        self.slots[id.index()].key.as_ref().expect("ids in use are live")
    }

    #[inline]
    pub(crate) fn record(&self, id: Id) -> &Record {
        &self.slots[id.index()].record
    }

    #[inline]
    pub(crate) fn record_mut(&mut self, id: Id) -> &mut Record {
        &mut self.slots[id.index()].record
    }

    /// All live keys, by number.
    pub(crate) fn live(&self) -> impl Iterator<Item = (Id, &K, &Record)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| Some((Id(index), slot.key.as_ref()?, &slot.record)))
    }

    /// Forgets a key; its number may be given to another one.
    #[inline]
    pub(crate) fn release(&mut self, id: Id) {
        let slot = &mut self.slots[id.index()];
        slot.key = None;
        slot.record = Record::default();
        if let Ok(found) = self.table.find_entry(whole(slot.hash), |known| known.id == id) {
            found.remove();
        }
        self.free.push(id);
    }

    /// The ids in use are below this number.
    #[inline]
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Gives back the memory of free slots, if that is at least half of all: those behind the last live one. To be
    /// called now and then, since it looks at every slot. True: there are fewer slots now.
    pub(crate) fn trim(&mut self) -> bool {
        let used = self.slots.iter().rposition(|slot| slot.key.is_some()).map_or(0, |last| last + 1);
        if self.slots.len() <= KEPT_SLOTS || used * 2 > self.slots.len() {
            return false;
        }
        self.slots.truncate(used);
        self.slots.shrink_to_fit();
        self.free.retain(|id| id.index() < used);
        self.free.shrink_to_fit();
        self.table.shrink_to_fit(|known| whole(known.hash));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: equal keys share a number, others don't, also where their hashes collide.
    #[test]
    fn keys_with_the_same_hash_stay_apart() {
        let mut keys = Keys::new();
        let (a, b) = (keys.insert(7, "a"), keys.insert(7, "b"));
        assert_ne!(a, b);
        assert_eq!(keys.find(7, &"a"), Some(a));
        keys.release(a);
        assert_eq!((keys.find(7, &"a"), keys.find(7, &"b")), (None, Some(b)));
        assert_eq!(*keys.key(b), "b");
    }

    /// Goal: memory follows the live keys, not all keys ever seen.
    #[test]
    fn released_numbers_are_used_again() {
        let mut keys = Keys::new();
        for key in 0..10_000_u64 {
            let id = keys.insert(key, key);
            keys.release(id);
        }
        assert_eq!((keys.slots(), keys.len()), (1, 0));
    }

    /// Goal: after a flood the slots behind the last live key are given back, and the table still works.
    #[test]
    fn a_flood_leaves_no_slots_behind() {
        let mut keys = Keys::new();
        let ids: Vec<Id> = (0..10_000_u64).map(|key| keys.insert(key, key)).collect();
        ids.iter().skip(10).for_each(|id| keys.release(*id));
        assert!(keys.trim());
        assert_eq!((keys.slots(), keys.len()), (10, 10));
        assert_eq!(keys.find(3, &3), Some(ids[3]));
        assert_eq!(keys.insert(77, 77).index(), 10);
    }
}
