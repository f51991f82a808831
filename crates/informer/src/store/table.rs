//! Table: from the hash of a key to the slots that may hold its object.
//!
//! In: hashes and slots, from the one writer. Out: candidates, nearly always one. Whether it is the one says the fingerprint in
//! its slot: so no key is held here, and nobody's code runs under a lock.
//!
//! The writer looks up under a shared lock, as readers do, so a change of what is there waits for nobody; what comes and
//! goes waits for readers that look into the same sixty-fourth.

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::sync::RwLock;

const SHARDS: usize = 64;

/// Slots, nearly always one.
pub(super) type Candidates = SmallVec<[u32; 4]>;

pub(super) struct Table {
    shards: Box<[RwLock<HashTable<u32>>]>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect() }
    }

    /// Slots whose objects may have a key of this hash.
    pub(super) fn candidates(&self, hash: u64) -> Candidates {
        self.shard(hash).read().iter_hash(hash).copied().collect()
    }

    /// `hash_of` tells the hashes of slots that are in already, should they have to move.
    pub(super) fn insert(&self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        self.shard(hash).write().insert_unique(hash, slot, |slot| hash_of(*slot));
    }

    pub(super) fn remove(&self, hash: u64, slot: u32) {
        if let Ok(entry) = self.shard(hash).write().find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
    }

    /// Makes room for so many keys at once, in a table that is empty.
    pub(super) fn reserve(&self, keys: usize) {
        // Hashes spread unevenly: a little more than the mean.
        let each = keys / SHARDS + keys / SHARDS / 8;
        for shard in &self.shards {
            *shard.write() = HashTable::with_capacity(each);
        }
    }

    /// By bits that tables use neither for places, the low ones, nor for tags, the highest.
    fn shard(&self, hash: u64) -> &RwLock<HashTable<u32>> {
        &self.shards[(hash >> 40) as usize % SHARDS]
    }
}
