//! Table: from the hash of a key to the slots that may hold its object.
//!
//! In: hashes and slots, from the one writer. Out: candidates, nearly always one. Whether it is the one says its object,
//! which has the key: so no key is held here, and nobody's code runs under a lock.
//!
//! The writer looks up under a shared lock, as readers do, so a change of what is there waits for nobody; what comes and
//! goes waits for readers that look into the same sixty-fourth.

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::sync::RwLock;

const SHARDS: usize = 64;

/// Half a hash is kept: its high bits lead to a shard, all of it to a place there, and it tells all but one in billions apart.
#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    slot: u32,
}

pub(super) struct Table {
    shards: Box<[RwLock<HashTable<Entry>>]>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect() }
    }

    /// Slots whose objects may have a key of this hash.
    pub(super) fn candidates(&self, hash: u64) -> SmallVec<[u32; 2]> {
        let (half, spread) = halve(hash);
        let shard = self.shard(half).read();
        shard.iter_hash(spread).filter(|entry| entry.hash == half).map(|entry| entry.slot).collect()
    }

    pub(super) fn insert(&self, hash: u64, slot: u32) {
        let (half, spread) = halve(hash);
        let mut shard = self.shard(half).write();
        shard.insert_unique(spread, Entry { hash: half, slot }, |entry| spread_of(entry.hash));
    }

    pub(super) fn remove(&self, hash: u64, slot: u32) {
        let (half, spread) = halve(hash);
        let mut shard = self.shard(half).write();
        if let Ok(entry) = shard.find_entry(spread, |entry| entry.slot == slot) {
            entry.remove();
        }
    }

    /// Makes room for so many keys at once.
    pub(super) fn reserve(&self, keys: usize) {
        for shard in &self.shards {
            shard.write().reserve(keys / SHARDS, |entry| spread_of(entry.hash));
        }
    }

    fn shard(&self, half: u32) -> &RwLock<HashTable<Entry>> {
        &self.shards[half as usize / (u32::MAX as usize / SHARDS + 1)]
    }
}

fn halve(hash: u64) -> (u32, u64) {
    let half = (hash >> 32) as u32;
    (half, spread_of(half))
}

/// A hash of full width again: tables use low bits for places and the highest for tags.
fn spread_of(half: u32) -> u64 {
    u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
