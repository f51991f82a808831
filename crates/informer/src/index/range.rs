//! RangeIndex: the cached objects between two values, in the order of the values.
//!
//! In: a function from an object to values that have an order. Out: "everything before noon", "the ten oldest". It never
//! holds its lock for longer than it takes to copy a few postings.

use std::collections::HashSet;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use ahash::RandomState;

use super::maintained::{Built, Sorted};
use super::query::{Condition, Look, Query};
use crate::object::Cached;
use crate::store::ThreadSafeStore;
use crate::store::fingerprint::seeded;
use crate::store::posting::Posting;
use crate::store::root::Root;

/// How often a range is read before it is sorted by the objects themselves.
const TRIES: usize = 3;

/// Values whose postings are copied while the lock is held once.
const AT_ONCE: usize = 64;

/// A handle on one index by order, made by [`SharedInformer::add_range_index`](crate::SharedInformer::add_range_index) and the like.
pub struct RangeIndex<K, V> {
    store: ThreadSafeStore<K>,
    position: usize,
    of: PhantomData<fn() -> V>,
}

impl<K, V> Clone for RangeIndex<K, V> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), position: self.position, of: PhantomData }
    }
}

impl<K: Cached, V: Ord + Hash + Clone + Send + Sync + 'static> RangeIndex<K, V> {
    pub(crate) fn new(store: ThreadSafeStore<K>, position: usize) -> Self {
        Self { store, position, of: PhantomData }
    }

    /// The present objects with a value in the range, each once, in the order of their least values in it. A range that ends
    /// before it begins is empty.
    pub fn range(&self, range: impl RangeBounds<V>) -> Vec<Arc<K>> {
        self.first(range, usize::MAX)
    }

    /// The first so many of them. All objects under the value at which the limit is reached are read.
    pub fn first(&self, range: impl RangeBounds<V>, limit: usize) -> Vec<Arc<K>> {
        let root = self.store.root();
        let Some(built) = self.built(&root) else { return Vec::new() };
        for _ in 0..TRIES {
            let mark = built.postings.moves.mark();
            let mut objects = collect(built, &root, &range, limit);
            if built.postings.moves.is_quiet_since(mark) {
                objects.truncate(limit);
                return objects;
            }
        }
        // They move and move: all are read, and each is put where its own values say.
        let mut objects = collect(built, &root, &range, usize::MAX);
        root.objects.keep_newest(&mut objects);
        let least =
            |object: &Arc<K>| built.definition.values(object).into_iter().filter(|value| range.contains(value)).min();
        let mut placed: Vec<_> = objects.into_iter().filter_map(|object| Some((least(&object)?, object))).collect();
        placed.sort_by(|(a, _), (b, _)| a.cmp(b));
        placed.into_iter().map(|(_, object)| object).take(limit).collect()
    }

    /// The values under which something is found, in order.
    pub fn values(&self) -> Vec<V> {
        let (root, mut values) = (self.store.root(), Vec::new());
        if let Some(built) = self.built(&root) {
            each_posting(&built.postings, &.., |value, _| {
                values.push(value);
                true
            });
        }
        values
    }

    /// The objects with a value in this range, to be combined with other conditions.
    pub fn query(&self, range: impl RangeBounds<V>) -> Query<K> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        Query::new(self.store.clone(), Within { index: self.clone(), range })
    }

    fn built<'a>(&self, root: &'a Root<K>) -> Option<&'a Built<K, Sorted<V>>> {
        root.index(self.position)
    }
}

/// What is found under the values in a range, in their order, each slot once; at least `limit`, if there are so many.
fn collect<K: Cached, V: Ord + Hash + Clone + Send + Sync + 'static>(
    built: &Built<K, Sorted<V>>,
    root: &Root<K>,
    range: &impl RangeBounds<V>,
    limit: usize,
) -> Vec<Arc<K>> {
    let mut objects = Vec::new();
    let mut seen: HashSet<u32, RandomState> = HashSet::with_hasher(seeded());
    each_posting(&built.postings, range, |_, posting| {
        let new: Vec<u32> = posting.iter().filter(|slot| seen.insert(*slot)).collect();
        root.objects.list_slots(std::iter::once(&*new), &mut objects);
        objects.len() < limit
    });
    objects
}

/// The condition to have a value in a range.
struct Within<K, V> {
    index: RangeIndex<K, V>,
    range: (Bound<V>, Bound<V>),
}

impl<K: Cached, V: Ord + Hash + Clone + Send + Sync + 'static> Condition<K> for Within<K, V> {
    fn look(&self, root: &Root<K>) -> Look {
        let Some(built) = self.index.built(root) else { return Look::NOTHING };
        let (mark, mut slots) = (built.postings.moves.mark(), Vec::new());
        each_posting(&built.postings, &self.range, |_, posting| {
            slots.extend(posting.iter());
            true
        });
        Look { mark, posting: Some(Posting::of(slots)) }
    }

    fn is_quiet_since(&self, look: &Look, root: &Root<K>) -> bool {
        self.index.built(root).is_none_or(|built| built.postings.moves.is_quiet_since(look.mark))
    }

    fn holds(&self, object: &K, root: &Root<K>) -> bool {
        let is_within = |value: &V| self.range.contains(value);
        self.index.built(root).is_some_and(|built| built.definition.values(object).iter().any(is_within))
    }
}

/// Calls `visit` with the values in a range and their postings, in order, until it says `false`.
fn each_posting<V: Ord + Clone>(
    sorted: &Sorted<V>,
    range: &impl RangeBounds<V>,
    mut visit: impl FnMut(V, Posting) -> bool,
) {
    let (mut from, end) = (range.start_bound().cloned(), range.end_bound().cloned());
    let mut postings = Vec::with_capacity(AT_ONCE);
    while is_range(&from, &end) {
        {
            let sorted = sorted.postings.read();
            let some = sorted.range((from.as_ref(), end.as_ref())).take(AT_ONCE);
            postings.extend(some.map(|(value, posting)| (value.clone(), posting.clone())));
        }
        let Some((last, _)) = postings.last() else { return };
        from = Bound::Excluded(last.clone());
        for (value, posting) in postings.drain(..) {
            if !visit(value, posting) {
                return;
            }
        }
    }
}

/// A map refuses ranges that end before they begin by a panic.
fn is_range<V: Ord>(from: &Bound<V>, end: &Bound<V>) -> bool {
    match (from, end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(from), Bound::Included(end)) => from <= end,
        (Bound::Excluded(from), Bound::Excluded(end)) => from < end,
        (Bound::Included(from), Bound::Excluded(end)) | (Bound::Excluded(from), Bound::Included(end)) => from < end,
    }
}
