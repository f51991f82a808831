//! Root: the objects between two replacements, and the indexes over them.
//!
//! In: one change at a time from the one writer. Out: what readers see, behind one pointer. A replacement, and an index that
//! is added, make a new root aside; the objects are shared with the old one where they stay.

use std::sync::Arc;

use super::objects::Objects;
use crate::index::{Built, Definition, Hashed, Maintained, Move};
use crate::object::Cached;

pub(crate) struct Root<K> {
    pub(crate) objects: Arc<Objects<K>>,
    /// The first one is by namespace.
    pub(crate) indexes: Vec<Arc<dyn Maintained<K>>>,
}

/// What a change moves, at most one of each index.
pub(super) type IndexMoves<'a> = Vec<Box<dyn Move + 'a>>;

/// The position of the index by namespace.
pub(crate) const BY_NAMESPACE: usize = 0;

impl<K: Cached> Root<K> {
    pub(crate) fn new() -> Self {
        let by_namespace = Definition::new("namespace", |object: &K| [object.namespace().to_owned()]).of_key();
        let by_namespace: Arc<dyn Maintained<K>> = Arc::new(Built::<K, Hashed<String>>::new(by_namespace));
        Self { objects: Arc::new(Objects::new()), indexes: vec![by_namespace] }
    }

    /// A root with the same indexes and no objects, with room for so many.
    pub(crate) fn emptied(&self, keys: usize) -> Self {
        let objects = Arc::new(self.objects.emptied(keys));
        Self { objects, indexes: self.indexes.iter().map(|index| index.emptied()).collect() }
    }

    /// A root over the same objects with one index more, which has yet to be filled.
    pub(crate) fn with_index(&self, index: Arc<dyn Maintained<K>>) -> Self {
        let indexes = self.indexes.iter().cloned().chain([index]).collect();
        Self { objects: Arc::clone(&self.objects), indexes }
    }

    /// What a change of one object moves in the indexes.
    pub(super) fn moves(&self, old: Option<&K>, new: Option<&K>) -> IndexMoves<'_> {
        self.indexes.iter().filter_map(|index| index.moves(old, new)).collect()
    }

    /// The index at a position, if it is of this type.
    pub(crate) fn index<I: 'static>(&self, position: usize) -> Option<&I> {
        self.indexes.get(position)?.as_any().downcast_ref()
    }
}
