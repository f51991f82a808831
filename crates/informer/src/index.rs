//! Index: the cached objects under a value, found without a scan.
//!
//! In: a function from an object to any number of values, given before the informer runs or while it does. Out: for a
//! value the present objects that have it ([`Index`]), for a range of values too ([`RangeIndex`]), and for several
//! conditions at once ([`Query`]). An index over tuples is a composed one. Index functions run outside every lock; the values'
//! `Eq`, `Hash`, `Ord`, `Clone` and `Drop` don't.
//!
//! What a reader sees: objects that have the value at the moment they are read, each once (in `for_each` perhaps twice, the older
//! state first), and all that have it for the
//! whole look-up. An object that moves from one value to another meanwhile may be missed: two look-ups are two moments.
//! [`snapshot`](crate::ThreadSafeStore::snapshot) is one moment of everything.
//!
//! It orders by nothing but, in a [`RangeIndex`], the values. Upstream counterpart: `Indexers` and `ByIndex` of
//! client-go's `Indexer`, which name an index by a string, its values by strings, and have no ranges.

use std::borrow::Borrow;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use kube_client::Resource;

use crate::object::Cached;
use crate::store::ThreadSafeStore;
use crate::store::root::Root;

mod maintained;
mod query;
mod range;

pub use maintained::IndexSummary;
pub(crate) use maintained::{Built, Definition, Hashed, Maintained, Move, Sorted};
pub use query::Query;
pub(crate) use query::{Condition, Look, list};
pub use range::RangeIndex;

/// The bounds of an index value, in one name. For a [`RangeIndex`] it is [`Ord`] too.
pub trait IndexValue: Eq + Hash + Clone + Send + Sync + 'static {}
impl<V: Eq + Hash + Clone + Send + Sync + 'static> IndexValue for V {}

/// A handle on one index by equality, made by [`SharedInformer::add_index`](crate::SharedInformer::add_index) and the like.
pub struct Index<K, V> {
    store: ThreadSafeStore<K>,
    position: usize,
    of: PhantomData<fn() -> V>,
}

impl<K, V> Clone for Index<K, V> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), position: self.position, of: PhantomData }
    }
}

impl<K: Cached, V: IndexValue> Index<K, V> {
    pub(crate) fn new(store: ThreadSafeStore<K>, position: usize) -> Self {
        Self { store, position, of: PhantomData }
    }

    /// The present objects that have this value.
    pub fn get<Q: Hash + Eq + Sync + ?Sized>(&self, value: &Q) -> Vec<Arc<K>>
    where
        V: Borrow<Q>,
    {
        list(&self.store.root(), &[&self.has(value)])
    }

    /// Calls `visit` with each of them, under no lock and without making a list. An object that goes and comes back meanwhile
    /// may be shown twice, the older state first. Up to 128 are taken at a time: `visit` may find one of them newer than it is shown later.
    pub fn for_each<Q: Hash + Eq + Sync + ?Sized>(&self, value: &Q, visit: impl FnMut(&Arc<K>))
    where
        V: Borrow<Q>,
    {
        query::visit(&self.store.root(), &[&self.has(value)], visit);
    }

    /// An upper bound of how many objects have this value; exact while none moves. Reads no object.
    pub fn count<Q: Hash + Eq + Sync + ?Sized>(&self, value: &Q) -> usize
    where
        V: Borrow<Q>,
    {
        self.has(value).look(&self.store.root()).posting.map_or(0, |posting| posting.len())
    }

    /// The values under which something is found, in no order. Upstream counterpart: `ListIndexFuncValues`.
    pub fn values(&self) -> Vec<V> {
        let root = self.store.root();
        self.built(&root).map(|built| built.postings.values()).unwrap_or_default()
    }

    /// The objects that have this value, to be combined with other conditions.
    pub fn query(&self, value: V) -> Query<K> {
        Query::new(self.store.clone(), Has::<K, V, V, V> { index: self.clone(), value, of: PhantomData })
    }

    fn has<'a, Q: ?Sized>(&self, value: &'a Q) -> Has<K, V, Q, &'a Q> {
        Has { index: self.clone(), value, of: PhantomData }
    }

    fn built<'a>(&self, root: &'a Root<K>) -> Option<&'a Built<K, Hashed<V>>> {
        root.index(self.position)
    }
}

/// The condition to have one value: `value` is a `V`, or something borrowed that is equal to one.
struct Has<K, V, Q: ?Sized, B> {
    index: Index<K, V>,
    value: B,
    of: PhantomData<fn(&Q)>,
}

impl<K, V, Q, B> Condition<K> for Has<K, V, Q, B>
where
    K: Cached,
    V: IndexValue + Borrow<Q>,
    Q: Hash + Eq + ?Sized,
    B: Borrow<Q> + Send + Sync,
{
    fn look(&self, root: &Root<K>) -> Look {
        let Some(built) = self.index.built(root) else { return Look::NOTHING };
        built.postings.look(self.value.borrow())
    }

    fn is_quiet_since(&self, look: &Look, root: &Root<K>) -> bool {
        let built = self.index.built(root);
        built.is_none_or(|built| built.postings.moves_of(self.value.borrow()).is_quiet_since(look.mark))
    }

    fn holds(&self, object: &K, root: &Root<K>) -> bool {
        let is_it = |value: &V| value.borrow() == self.value.borrow();
        self.index.built(root).is_some_and(|built| built.definition.values(object).iter().any(is_it))
    }
}

/// The uids of an object's owners, for an index of what belongs to whom.
pub fn owners<K: Resource>(object: &K) -> Vec<String> {
    object.meta().owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect()
}
