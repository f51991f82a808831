//! Root: the objects and postings between two replacements.
//!
//! In: one change at a time from the one writer. Out: what readers see. Locks are held for one hash probe or for the
//! copying of one shard's pointers, never while user code runs. A replacement never edits a root: it fills a new one
//! that no reader has yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use parking_lot::RwLock;

use crate::index::{IndexValue, Maintained, Postings, Values};
use crate::key::ObjectKey;
use crate::object::Cached;

/// Enough that a reader copying one shard holds the writer up for a sixty-fourth of a list at most.
const SHARDS: usize = 64;

type Objects<K> = HashMap<ObjectKey, Arc<K>, RandomState>;

pub(crate) struct Root<K> {
    hasher: RandomState,
    shards: Box<[RwLock<Objects<K>>]>,
    len: AtomicUsize,
    /// The first one is by namespace.
    indexes: Vec<Arc<dyn Maintained<K>>>,
}

impl<K: Cached> Root<K> {
    pub(crate) fn new() -> Self {
        let mut root = Self::with_indexes(Vec::new());
        let by_namespace: Values<K, String> = Arc::new(|object: &K| vec![object.namespace().to_owned()]);
        root.indexes.push(Arc::new(Postings::new(by_namespace)));
        root
    }

    /// A root with the same indexes and no objects.
    pub(crate) fn emptied(&self) -> Self {
        Self::with_indexes(self.indexes.iter().map(|index| index.emptied()).collect())
    }

    fn with_indexes(indexes: Vec<Arc<dyn Maintained<K>>>) -> Self {
        let hasher = fixed_hasher();
        let shards = (0..SHARDS).map(|_| RwLock::new(Objects::with_hasher(hasher.clone()))).collect();
        Self { hasher, shards, len: AtomicUsize::new(0), indexes }
    }

    /// Only for a root without objects. Returns the position of the index.
    pub(crate) fn add_index<V: IndexValue>(&mut self, values: Values<K, V>) -> usize {
        self.indexes.push(Arc::new(Postings::new(values)));
        self.indexes.len() - 1
    }

    /// The postings at a position, if they are of this type.
    pub(crate) fn postings<V: IndexValue>(&self, position: usize) -> Option<&Postings<K, V>> {
        self.indexes.get(position)?.as_any().downcast_ref()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<K>> {
        self.shard(key).read().get(key).cloned()
    }

    /// The same, with the key as it is held: copying that allocates nothing.
    pub(crate) fn get_entry(&self, key: &str) -> Option<(ObjectKey, Arc<K>)> {
        self.shard(key).read().get_key_value(key).map(|(key, object)| (key.clone(), Arc::clone(object)))
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Copies pointers shard by shard; while the writer works, two shards are two moments.
    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        let mut objects = Vec::with_capacity(self.len());
        for shard in &self.shards {
            objects.extend(shard.read().values().cloned());
        }
        objects
    }

    pub(crate) fn keys(&self) -> Vec<ObjectKey> {
        let mut keys = Vec::with_capacity(self.len());
        for shard in &self.shards {
            keys.extend(shard.read().keys().cloned());
        }
        keys
    }

    pub(crate) fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let keys = self.postings::<String>(0).and_then(|postings| postings.keys(&namespace.to_owned()));
        // A key never changes its namespace, so there is nothing to ask the object again.
        keys.map_or_else(Vec::new, |keys| keys.iter().filter_map(|key| self.get(key.as_str())).collect())
    }

    /// Puts `new` in the place of `old`, in the objects and in every index. Called by the writer only, who knows that
    /// `old` is what is there.
    pub(crate) fn set(&self, key: &ObjectKey, old: Option<&K>, new: Option<&Arc<K>>) {
        around(&self.indexes, key, old, new.map(|object| &**object), &mut || {
            let mut shard = self.shard(key.as_str()).write();
            let before = match new {
                Some(object) => shard.insert(key.clone(), Arc::clone(object)),
                None => shard.remove(key),
            };
            drop(shard);
            match (before.is_some(), new.is_some()) {
                (false, true) => self.len.fetch_add(1, Ordering::Relaxed),
                (true, false) => self.len.fetch_sub(1, Ordering::Relaxed),
                _ => 0,
            };
        });
    }

    fn shard(&self, key: &str) -> &RwLock<Objects<K>> {
        &self.shards[shard_of(self.hasher.hash_one(key), SHARDS)]
    }
}

/// Every index around the change of the object, one inside the other.
fn around<K>(
    indexes: &[Arc<dyn Maintained<K>>],
    key: &ObjectKey,
    old: Option<&K>,
    new: Option<&K>,
    swap: &mut dyn FnMut(),
) {
    match indexes.split_first() {
        None => swap(),
        Some((index, others)) => index.around(key, old, new, &mut || around(others, key, old, new, swap)),
    }
}

/// The same seeds in every run, so that the order of a list is a function of what happened.
pub(crate) fn fixed_hasher() -> RandomState {
    RandomState::with_seeds(0x5761_7463, 0x686b_6565, 0x7065_7220, 0x7365_6564)
}

/// Tables use the low bits of a hash and, as tags, the highest; a shard is chosen by bits in between.
pub(crate) fn shard_of(hash: u64, shards: usize) -> usize {
    (hash >> 32) as usize % shards
}
