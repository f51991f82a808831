//! Lister: reading the cache.
//!
//! In: the store. Out: shared pointers to the present objects; they are immutable, nothing is copied. It never waits,
//! never asks the server, and never orders what it returns.
//!
//! Upstream counterpart: the generated listers of client-go.

use std::sync::Arc;

use crate::key::ObjectKey;
use crate::object::Cached;
use crate::store::ThreadSafeStore;

/// A cheap, cloneable view of everything an informer has cached.
pub struct Lister<K> {
    store: ThreadSafeStore<K>,
}

impl<K> Clone for Lister<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone() }
    }
}

impl<K: Cached> Lister<K> {
    /// A view of this store.
    pub fn new(store: ThreadSafeStore<K>) -> Self {
        Self { store }
    }

    /// The present state of one object; `None` if it isn't cached.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.store.get(key)
    }

    /// All objects. Not one moment of the whole cache: objects may change while the list is made, but a relist is
    /// seen whole or not at all.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.store.list()
    }

    /// The objects of one namespace; the empty one holds what is cluster-scoped.
    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.store.namespace(namespace)
    }

    /// How many objects are cached.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}
