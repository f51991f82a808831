//! Interning: each live key gets a small number, so that everything behind the first look-up is an array access.
//!
//! In: a key and its hash. Out: a [`KeyId`], valid until it is released; numbers are used again. The hash is computed
//! once by the caller and kept beside the key, so neither growing the table nor releasing a key hashes again.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// The hash function of the queue: fast, and keyed at random, since keys come from the cluster's users.
pub(crate) type Hasher = ahash::RandomState;

/// Above this many slots the memory of a queue that has become empty is given back.
pub(crate) const KEPT_SLOTS: usize = 1024;

/// A live key's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyId(u32);

impl KeyId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

struct Slot<K> {
    hash: u64,
    /// None: free.
    key: Option<K>,
}

/// The live keys by number, and their numbers by key.
pub(crate) struct Keys<K> {
    table: HashTable<KeyId>,
    slots: Vec<Slot<K>>,
    free: Vec<KeyId>,
}

impl<K> Keys<K> {
    pub(crate) fn new() -> Self {
        Self { table: HashTable::new(), slots: Vec::new(), free: Vec::new() }
    }

    /// The key's number, a new one if the key isn't known yet.
    pub(crate) fn intern(&mut self, hash: u64, key: K) -> KeyId
    where
        K: Eq,
    {
        let slots = &mut self.slots;
        let same = |id: &KeyId| slots[id.index()].hash == hash && slots[id.index()].key.as_ref() == Some(&key);
        match self.table.entry(hash, same, |id| slots[id.index()].hash) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let slot = Slot { hash, key: Some(key) };
                let id = if let Some(id) = self.free.pop() {
                    slots[id.index()] = slot;
                    id
                } else {
                    let id = KeyId(u32::try_from(slots.len()).expect("fewer than 2^32 live keys"));
                    slots.push(slot);
                    id
                };
                vacant.insert(id);
                id
            }
        }
    }

    /// The key behind a live number.
    pub(crate) fn key(&self, id: KeyId) -> &K {
        self.slots[id.index()].key.as_ref().expect("ids in use are live")
    }

    /// Forgets a key; its number may be given to another one.
    pub(crate) fn release(&mut self, id: KeyId) {
        let slot = &mut self.slots[id.index()];
        slot.key = None;
        if let Ok(found) = self.table.find_entry(slot.hash, |other| *other == id) {
            found.remove();
        }
        self.free.push(id);
    }

    /// How many numbers were ever given out since the last [`Keys::trim`].
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Gives the memory of an empty table back.
    pub(crate) fn trim(&mut self) {
        debug_assert!(self.is_empty(), "live keys keep their numbers");
        if self.slots.capacity() > KEPT_SLOTS {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: equal keys share a number, others don't, also where their hashes collide.
    #[test]
    fn keys_with_the_same_hash_stay_apart() {
        let mut keys = Keys::new();
        let (a, b) = (keys.intern(7, "a"), keys.intern(7, "b"));
        assert_ne!(a, b);
        assert_eq!(keys.intern(7, "a"), a);
        keys.release(a);
        assert_eq!(keys.intern(7, "b"), b);
        assert_eq!(*keys.key(b), "b");
    }

    /// Goal: memory follows the live keys, not all keys ever seen.
    #[test]
    fn released_numbers_are_used_again() {
        let mut keys = Keys::new();
        for key in 0..10_000_u64 {
            let id = keys.intern(key, key);
            keys.release(id);
        }
        assert_eq!(keys.slots(), 1);
        assert!(keys.is_empty());
    }
}
