//! ThreadSafeStore: what the cluster looks like, and the one place that says Added, Updated, Deleted.
//!
//! In: work from the DeltaFIFO, applied by the one [`StoreWriter`]. Out: events for the handlers, and for any number
//! of readers the present objects, by key, by namespace and by [`Index`], and the version reached.
//! It may be filled in parts, a namespace each, that come and go.
//!
//! What readers see: an object never goes back to an older state of the same uid, except through a replacement, which
//! the server presents as newest. A replacement is built aside and published as one pointer: a look-up sees all of it
//! or nothing. `version` is published last, so it is a lower bound of what a later look-up shows. Two look-ups are two
//! moments; [`ThreadSafeStore::snapshot`] is one of the whole store.
//!
//! | kept in | what | a reader holds it for | the writer waits for readers |
//! | --- | --- | --- | --- |
//! | slots | the objects, by number, in groups of 16 | copying one pointer | of the same 16 objects |
//! | table | hash of a key to slots | one probe | of the same 64th, when a key comes or goes |
//! | postings | value of an index to slots | copying one pointer, of a range 64; all values' names of a 16th | of the same 16th of the values (of a range index: of all), when an object moves |
//! | root | all of this between two replacements | nothing, it is an arc-swap | never |
//!
//! Keys are not stored, only 96 bits of each: the objects have them. No guard leaves this module. Index functions and visitors run under no
//! lock; only the `Eq`, `Hash`, `Ord`, `Clone` and `Drop` of index values do.
//!
//! Upstream counterpart: `ThreadSafeStore` and `processDeltas` in client-go's tools/cache, with one lock around it all.

use std::cmp::Ordering;
use std::sync::Arc;

use tokio::sync::watch;

use crate::delta_fifo::Known;
use crate::index::{Index, IndexSummary};
use crate::key::ObjectKey;
use crate::object::Cached;
use crate::version::ResourceVersion;

mod alarm;
mod edit;
pub(crate) mod fingerprint;
pub(crate) mod objects;
pub(crate) mod posting;
pub(crate) mod root;
mod slots;
mod snapshot;
pub(crate) mod sync;
mod table;
mod writer;

use root::{BY_NAMESPACE, Root};
pub use snapshot::Snapshot;
use sync::{ArcSwap, Guard, OnceLock};
pub use writer::{Applied, StoreWriter};

/// How many objects the writer looks at before it changes the first of them: about as many as a core waits for at once.
pub(crate) const AHEAD: usize = 16;

/// How far the store has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// The resource version of the last work applied; `None` before the first, and of several namespaces while one has none or they can't be
    /// compared.
    pub version: Option<ResourceVersion>,
    /// Complete lists applied so far; synced means at least one.
    pub replacements: u64,
}

impl Reached {
    /// Whether the store is known to stand at `version` or after it.
    pub fn has_reached(&self, version: &ResourceVersion) -> bool {
        self.version.as_ref().is_some_and(|present| present.has_reached(version))
    }
}

/// The readers' side of the store; a cheap handle.
pub struct ThreadSafeStore<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    root: ArcSwap<Root<K>>,
    /// Of each part by its number, see [`StoreWriter::in_parts`]. The writer says how far it has come; whoever adds a part says that it is expected.
    reached: watch::Sender<Vec<(usize, Reached)>>,
    bytes_budget: OnceLock<u64>,
}

/// What all parts have reached: of versions that can't be compared, none.
pub(crate) fn lowest<'a>(parts: impl IntoIterator<Item = &'a Reached>) -> Reached {
    let lower = |a: Reached, b: &Reached| Reached {
        replacements: a.replacements.min(b.replacements),
        version: match (a.version, &b.version) {
            (Some(a), Some(b)) => match a.compare(b) {
                Some(Ordering::Greater) => Some(b.clone()),
                Some(_) => Some(a),
                None => None,
            },
            _ => None,
        },
    };
    let mut parts = parts.into_iter();
    parts.next().map(|first| parts.fold(first.clone(), lower)).unwrap_or_default()
}

fn find(parts: &[(usize, Reached)], part: usize) -> Option<&Reached> {
    parts.iter().find(|(number, _)| *number == part).map(|(_, reached)| reached)
}

impl<K> Clone for ThreadSafeStore<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Cached> ThreadSafeStore<K> {
    /// The present state of one object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        let (namespace, name) = key.parts();
        self.get_named(namespace, name)
    }

    /// The same by namespace (empty: cluster-scoped) and name.
    pub fn get_named(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.root().objects.get(namespace, name)
    }

    /// All objects, each key once. Not one moment of the whole store: objects may change while the list is made.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.root().objects.list()
    }

    /// Calls `visit` with every object, under no lock and without making a list. An object that goes and comes back meanwhile may
    /// be shown twice, the older state first. Up to 128 are taken at a time: `visit` may find one of them newer than it is shown later.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<K>)) {
        self.root().objects.visit(|_, object| visit(object));
    }

    /// The objects of one namespace; the empty one holds what is cluster-scoped.
    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.by_namespace().get(namespace)
    }

    /// The index by namespace, which every store has.
    pub fn by_namespace(&self) -> Index<K, String> {
        Index::new(self.clone(), BY_NAMESPACE)
    }

    /// The indexes, the one by namespace first.
    pub fn indexes(&self) -> Vec<IndexSummary> {
        self.root().indexes.iter().map(|index| index.summary()).collect()
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.list().iter().map(|object| ObjectKey::of(&**object)).collect()
    }

    /// How many objects are cached.
    pub fn len(&self) -> usize {
        self.root().objects.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One moment of the whole store, between two batches. It copies nothing; one that is asked for while a batch of changes is being
    /// applied waits for the end of that batch, which blocks the calling thread (a batch is at most what
    /// [`FifoLimits`](crate::delta_fifo::FifoLimits) let wait); while a replacement is built it is the state before, at once. Never call it
    /// where the code that applies may wait for you on another thread. Each one held costs the writer work at every first change of an object. It
    /// has no indexes: filter [`Snapshot::list`].
    pub fn snapshot(&self) -> Snapshot<K> {
        Snapshot::new(Arc::clone(&self.root().objects))
    }

    /// How many bytes the cached objects are said to have: [`Cached::held_bytes`] where a shape knows, else the length of the JSON as it
    /// arrived (the heap may be several times that), or as it was saved, and 0 where that isn't known.
    pub fn bytes(&self) -> u64 {
        self.root().objects.bytes()
    }

    /// How many bytes it should hold at most, see [`StoreWriter::with_bytes_budget`].
    pub fn bytes_budget(&self) -> Option<u64> {
        self.shared.bytes_budget.get().copied()
    }

    /// Whether it holds more than it should.
    pub fn is_over_budget(&self) -> bool {
        self.bytes_budget().is_some_and(|budget| self.bytes() > budget)
    }

    /// The largest objects, and how large they are said to be, the largest first. Goes through all of them.
    pub fn largest(&self, count: usize) -> Vec<(ObjectKey, u32)> {
        self.root().objects.largest(count)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How far the store has come.
    pub fn reached(&self) -> Reached {
        lowest(self.shared.reached.borrow().iter().map(|(_, reached)| reached))
    }

    /// How far one part has come; `None`: there is no such part, or none any more.
    pub(crate) fn reached_in(&self, part: usize) -> Option<Reached> {
        find(&self.shared.reached.borrow(), part).cloned()
    }

    /// A part of this number is on its way to the writer: from now on nothing counts as listed that it hasn't.
    pub(crate) fn expect_part(&self, part: usize) {
        self.shared.reached.send_modify(|parts| parts.push((part, Reached::default())));
    }

    /// There is no such part any more, or it never came.
    pub(crate) fn forget_part(&self, part: usize) {
        self.shared.reached.send_modify(|parts| parts.retain(|(number, _)| *number != part));
    }

    /// Waits until `enough` says so of what was reached; looks at the present first. A store doesn't know whether anybody will write on: bound
    /// it, or wait at an [`InformerHandle`](crate::InformerHandle). Cancel-safe.
    pub async fn wait_until(&self, mut enough: impl FnMut(&Reached) -> bool) {
        let mut parts = self.shared.reached.subscribe();
        loop {
            // Copied first: `enough` is the caller's and must not hold up the writer.
            let reached = lowest(parts.borrow_and_update().iter().map(|(_, reached)| reached));
            if enough(&reached) {
                return;
            }
            // The sender lives in `self`, so the channel can't close while this waits.
            let _ = parts.changed().await;
        }
    }

    /// The same for one part, or until it is there no more.
    pub(crate) async fn wait_until_in(&self, part: usize, mut enough: impl FnMut(&Reached) -> bool) {
        let enough = |parts: &Vec<_>| find(parts, part).is_none_or(&mut enough);
        let _ = self.shared.reached.subscribe().wait_for(enough).await;
    }

    pub(crate) fn root(&self) -> Guard<Arc<Root<K>>> {
        self.shared.root.load()
    }
}

/// One part of a store, as the reflector that fills it may know it: everything, or a namespace.
pub(crate) struct Part<K> {
    pub(crate) store: ThreadSafeStore<K>,
    pub(crate) namespace: Option<String>,
}

impl<K: Cached> Known<K> for Part<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get_named(namespace, name)
    }

    fn count(&self) -> usize {
        self.namespace.as_ref().map_or_else(|| self.store.len(), |namespace| self.store.by_namespace().count(namespace))
    }
}

impl<K: Cached> Known<K> for ThreadSafeStore<K> {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_named(namespace, name)
    }

    fn count(&self) -> usize {
        self.len()
    }
}
