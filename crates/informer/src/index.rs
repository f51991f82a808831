//! Index: the cached objects under a value, found without a scan.
//!
//! In: a function from an object to zero or more values, given before the informer runs. Out: for a value, the present
//! objects that have it. User code runs outside every lock.
//!
//! What a reader sees: a change first enters the postings of its new values, then the object is swapped, then its old
//! postings are left. Every look-up asks the loaded object again, so it never returns one that doesn't have the value,
//! and never misses one that has it for the whole look-up. Two look-ups are two moments: an object that moves from one
//! value to another may be in neither, or the other way round in both.
//!
//! It never orders what it returns. Upstream counterpart: `Indexers` and `ByIndex` of client-go's `Indexer`, which
//! name an index by a string and its values by strings.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;
use parking_lot::RwLock;

use crate::key::ObjectKey;
use crate::object::Cached;
use crate::store::ThreadSafeStore;
use crate::store::root::{fixed_hasher, shard_of};

/// Small: most writes change no posting at all.
const SHARDS: usize = 16;

/// A handle on one index, made by [`StoreWriter::add_index`](crate::store::StoreWriter::add_index).
pub struct Index<K, V> {
    store: ThreadSafeStore<K>,
    position: usize,
    values: Values<K, V>,
}

/// From an object to the values it is found under.
pub(crate) type Values<K, V> = Arc<dyn Fn(&K) -> Vec<V> + Send + Sync>;

/// The bounds of an index value, in one name.
pub trait IndexValue: Eq + Hash + Clone + Send + Sync + 'static {}
impl<V: Eq + Hash + Clone + Send + Sync + 'static> IndexValue for V {}

impl<K, V> Clone for Index<K, V> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), position: self.position, values: Arc::clone(&self.values) }
    }
}

impl<K: Cached, V: IndexValue> Index<K, V> {
    pub(crate) fn new(store: ThreadSafeStore<K>, position: usize, values: Values<K, V>) -> Self {
        Self { store, position, values }
    }

    /// The present objects that have this value, in no particular order.
    pub fn get(&self, value: &V) -> Vec<Arc<K>> {
        let root = self.store.root();
        let Some(postings) = root.postings::<V>(self.position) else { return Vec::new() };
        let Some(keys) = postings.keys(value) else { return Vec::new() };
        let mut objects: Vec<Arc<K>> = keys.iter().filter_map(|key| root.get(key.as_str())).collect();
        objects.retain(|object| (self.values)(object).contains(value));
        objects
    }
}

/// The keys under one value; copied on write only while a reader walks them.
type Keys = HashSet<ObjectKey, RandomState>;

type Shard<V> = RwLock<HashMap<V, Arc<Keys>, RandomState>>;

/// The postings of one index in one root of the store.
pub(crate) struct Postings<K, V> {
    values: Values<K, V>,
    hasher: RandomState,
    /// Sharded by value, so that one look-up visits one shard.
    shards: Box<[Shard<V>]>,
}

impl<K, V: IndexValue> Postings<K, V> {
    pub(crate) fn new(values: Values<K, V>) -> Self {
        let hasher = fixed_hasher();
        let shards = (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(hasher.clone()))).collect();
        Self { values, hasher, shards }
    }

    pub(crate) fn keys(&self, value: &V) -> Option<Arc<Keys>> {
        self.shard(value).read().get(value).cloned()
    }

    fn enter(&self, value: &V, key: &ObjectKey) {
        let mut shard = self.shard(value).write();
        match shard.get_mut(value) {
            Some(keys) => {
                Arc::make_mut(keys).insert(key.clone());
            }
            None => {
                let mut keys = Keys::with_hasher(self.hasher.clone());
                keys.insert(key.clone());
                shard.insert(value.clone(), Arc::new(keys));
            }
        }
    }

    /// A value without objects is forgotten, else values that come and go would pile up.
    fn leave(&self, value: &V, key: &ObjectKey) {
        let mut shard = self.shard(value).write();
        let Some(keys) = shard.get_mut(value) else { return };
        let present = Arc::make_mut(keys);
        present.remove(key);
        if present.is_empty() {
            shard.remove(value);
        }
    }

    fn shard(&self, value: &V) -> &Shard<V> {
        &self.shards[shard_of(self.hasher.hash_one(value), SHARDS)]
    }
}

/// One index as the store sees it, whatever its values are.
pub(crate) trait Maintained<K>: Send + Sync {
    /// Calls `swap` (which changes the object) after the new postings are there and before the old ones go.
    fn around(&self, key: &ObjectKey, old: Option<&K>, new: Option<&K>, swap: &mut dyn FnMut());
    /// The same index without objects, for a root built aside.
    fn emptied(&self) -> Arc<dyn Maintained<K>>;
    fn as_any(&self) -> &dyn Any;
}

impl<K: Cached, V: IndexValue> Maintained<K> for Postings<K, V> {
    fn around(&self, key: &ObjectKey, old: Option<&K>, new: Option<&K>, swap: &mut dyn FnMut()) {
        let values = |object: Option<&K>| object.map(|object| (self.values)(object)).unwrap_or_default();
        let (before, after) = (values(old), values(new));
        for value in after.iter().filter(|value| !before.contains(value)) {
            self.enter(value, key);
        }
        swap();
        for value in before.iter().filter(|value| !after.contains(value)) {
            self.leave(value, key);
        }
    }

    fn emptied(&self) -> Arc<dyn Maintained<K>> {
        Arc::new(Self::new(Arc::clone(&self.values)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
