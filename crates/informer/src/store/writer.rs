//! StoreWriter: the one who changes the store, and the one place that says Added, Updated, Deleted.
//!
//! In: work from the DeltaFIFO. Out: the changed store, and events in the order in which handlers shall hear of them.
//! A replacement is built aside and published as one pointer. It never tells anyone anything: what the events are for is
//! the informer's business.

use std::cmp::Ordering;
use std::sync::Arc;

use tokio::sync::watch;

use super::alarm::Alarm;
use super::edit::{Edit, TakenOver, transition};
use super::objects::{Free, Objects};
use super::root::Root;
use super::snapshot::Batch;
use super::sync::{ArcSwap, Guard, OnceLock};
use super::{Reached, Shared, ThreadSafeStore, lowest};
use crate::delta_fifo::{Change, Relisted, Work};
use crate::event::{Event, Finality};
use crate::index::{Built, Definition, Hashed, Index, IndexValue, Maintained, RangeIndex, Sorted};
use crate::key;
use crate::mutant::{Mutant, is_planted};
use crate::object::{Cached, Labelled};
use crate::version::ResourceVersion;

/// The one writer. It is not `Clone`: every piece of state has one writer.
pub struct StoreWriter<K> {
    store: ThreadSafeStore<K>,
    parts: Vec<Part>,
    /// Of the present root.
    free: Free,
    /// Roots that were replaced, as long as a reader may have them: so it is never a reader who frees all that is in one.
    retired: Vec<Arc<Root<K>>>,
    alarm: Alarm,
}

/// What has lists and versions of its own.
struct Part {
    number: usize,
    /// `None`: everything.
    namespace: Option<String>,
    reached: Reached,
}

impl Part {
    fn holds<K: Cached>(&self, object: &K) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace())
    }

    /// Returns how many it has dropped.
    fn keep_own<K: Cached, T>(&self, all: &mut Vec<T>, object: impl Fn(&T) -> &K) -> usize {
        if self.namespace.is_none() {
            return 0;
        }
        let before = all.len();
        all.retain(|one| self.holds(object(one)));
        before - all.len()
    }
}

/// What applying a batch amounted to.
#[derive(Debug)]
pub struct Applied<K> {
    /// In the order in which handlers shall hear of them.
    pub events: Vec<Event<K>>,
    /// Changes that were older than what is cached, and dropped.
    pub stale: usize,
    /// Changes and items of another namespace than the part's, passed over.
    pub unwanted: usize,
}

impl<K> Default for Applied<K> {
    fn default() -> Self {
        Self { events: Vec::new(), stale: 0, unwanted: 0 }
    }
}

/// An empty store: its writer, from which readers' handles are made.
impl<K: Cached> Default for StoreWriter<K> {
    fn default() -> Self {
        Self::in_parts(vec![None])
    }
}

impl<K: Cached> StoreWriter<K> {
    /// An empty store that is filled in parts, a namespace each: every part has lists and versions of its own. `None` is
    /// everything, and then the only part.
    pub fn in_parts(parts: Vec<Option<String>>) -> Self {
        let (reached, _) = watch::channel((0..parts.len()).map(|number| (number, Reached::default())).collect());
        let shared = Shared { root: ArcSwap::from_pointee(Root::new()), reached, bytes_budget: OnceLock::new() };
        let store = ThreadSafeStore { shared: Arc::new(shared) };
        let part = |(number, namespace)| Part { number, namespace, reached: Reached::default() };
        let parts = parts.into_iter().enumerate().map(part).collect();
        Self { store, parts, free: Free::default(), retired: Vec::new(), alarm: Alarm::default() }
    }

    /// How many bytes it should hold at most: beyond that it says so in the log, naming the largest objects, and in
    /// [`ThreadSafeStore::is_over_budget`]. It never drops an object. Only the first budget counts.
    #[must_use]
    pub fn with_bytes_budget(self, bytes: u64) -> Self {
        // A budget is given once.
        let _ = self.store.shared.bytes_budget.set(bytes);
        self
    }

    /// A handle for readers.
    pub fn store(&self) -> ThreadSafeStore<K> {
        self.store.clone()
    }

    /// Adds an index over what is and will be cached: the objects under each of the values that `values` gives for them. The name is for
    /// people. `values` runs here for the old and the new state of each object that changes, and now and then where the index is
    /// read; it should depend on nothing but the object. If it panics, the object is in this index under no value. The values'
    /// `Eq`, `Hash`, `Ord`, `Clone` and `Drop` run under a lock, and must not use the store. None can be removed. An index is known by the handle
    /// that is returned, not by its name: adding the same twice makes two, at twice the cost, so share the handle.
    pub fn add_index<V: IndexValue, I: IntoIterator<Item = V>>(
        &mut self,
        name: &str,
        values: impl Fn(&K) -> I + Send + Sync + 'static,
    ) -> Index<K, V> {
        self.add_hashed(Definition::new(name, values))
    }

    /// The same for values that have an order, to be asked for ranges.
    pub fn add_range_index<V, I>(
        &mut self,
        name: &str,
        values: impl Fn(&K) -> I + Send + Sync + 'static,
    ) -> RangeIndex<K, V>
    where
        V: IndexValue + Ord,
        I: IntoIterator<Item = V>,
    {
        let definition = Definition::new(name, values);
        RangeIndex::new(self.store(), self.add(Arc::new(Built::<K, Sorted<V>>::new(definition))))
    }

    /// Adds an index by the value of a label, which [`Lister::select`](crate::Lister::select) uses by itself; or finds the one there is.
    pub fn add_label_index(&mut self, key: &str) -> Index<K, String>
    where
        K: Labelled,
    {
        let is_there = |index: &Arc<dyn Maintained<K>>| index.label() == Some(key);
        if let Some(position) = self.store.root().indexes.iter().position(is_there) {
            return Index::new(self.store(), position);
        }
        let label = key.to_owned();
        let value = move |object: &K| object.labels().get(&label).cloned();
        self.add_hashed(Definition::new(&format!("label {key}"), value).of_label(key))
    }

    fn add_hashed<V: IndexValue>(&mut self, definition: Definition<K, V>) -> Index<K, V> {
        Index::new(self.store(), self.add(Arc::new(Built::<K, Hashed<V>>::new(definition))))
    }

    /// Fills an index aside, then shows it. Returns its position.
    fn add(&mut self, index: Arc<dyn Maintained<K>>) -> usize {
        let root = self.store.root();
        let objects = &root.objects;
        objects.visit(|slot, object| index.fill(&[(slot, object)]));
        self.store.shared.root.store(Arc::new(root.with_index(index)));
        root.indexes.len()
    }

    /// Caches objects without having reached any version by that. What is of no part is left out: no list would ever end it.
    pub(crate) fn begin_with(&mut self, changes: impl IntoIterator<Item = Change<K>>) {
        let is_ours = |change: &Change<K>| self.parts.iter().any(|part| part.holds(&**change.object()));
        let changes: Vec<_> = changes.into_iter().filter(is_ours).collect();
        let root = self.store.root();
        let (mut applied, reached) = (Applied::default(), self.store.reached());
        let mut edit = Edit { root: &root, free: &mut self.free, batch: Some(Batch::begin(&root.objects)) };
        edit.change_all(changes, &mut applied);
        edit.end(reached);
    }

    /// Applies one batch of the only part.
    pub fn apply(&mut self, work: Work<K>, version: ResourceVersion) -> Applied<K> {
        self.apply_to(0, work, version)
    }

    /// Applies one batch of a part, by its number (those of [`StoreWriter::in_parts`] are counted from 0); when it returns, readers see all
    /// of it and that part has reached `version`. What is of another namespace than the part is passed over and counted.
    ///
    /// # Panics
    /// The store has no such part.
    pub fn apply_to(&mut self, part: usize, work: Work<K>, version: ResourceVersion) -> Applied<K> {
        self.retired.retain(is_in_use);
        let mut applied = Applied::default();
        let at = self.parts.iter().position(|own| own.number == part).expect("there is such a part");
        let part_of = &self.parts[at];
        match work {
            Work::Changes(mut changes) => {
                applied.unwanted = part_of.keep_own(&mut changes, |change| &**change.object());
                advance(&mut self.parts[at].reached, version);
                let reached = self.reached();
                let root = self.store.root();
                let mut edit = Edit { root: &root, free: &mut self.free, batch: Some(Batch::begin(&root.objects)) };
                edit.change_all(changes, &mut applied);
                edit.end(reached);
            }
            Work::Replace(mut replacement) => {
                applied.unwanted = part_of.keep_own(&mut replacement.items, |item| &**item.object());
                let reached = &mut self.parts[at].reached;
                let initial = reached.replacements == 0;
                reached.version = Some(version);
                reached.replacements += 1;
                let namespace = self.parts[at].namespace.clone();
                self.replace(namespace.as_deref(), replacement.items, initial, &mut applied);
            }
        }
        let reached = &self.parts[at].reached;
        self.store.shared.reached.send_modify(|parts| {
            let shown = parts.iter_mut().find(|(number, _)| *number == part);
            shown.into_iter().for_each(|(_, shown)| shown.clone_from(reached));
        });
        self.alarm.check(&self.store);
        applied
    }

    /// From now on it is filled by one part more, which [`ThreadSafeStore::expect_part`] has announced.
    pub(crate) fn add_part(&mut self, number: usize, namespace: Option<String>) {
        self.parts.push(Part { number, namespace, reached: Reached::default() });
        // Snapshots have no version until it has listed.
        Batch::begin(&self.store.root().objects).end(self.reached());
    }

    /// Drops a part, and in one step what is cached of it: nobody knows whether that was deleted, so each end is inferred.
    pub(crate) fn remove_part(&mut self, part: usize) -> Vec<Event<K>> {
        self.retired.retain(is_in_use);
        let mut applied = Applied::default();
        for Part { namespace, .. } in self.parts.extract_if(.., |own| own.number == part).collect::<Vec<_>>() {
            self.replace(namespace.as_deref(), Vec::new(), false, &mut applied);
        }
        self.store.forget_part(part);
        applied.events
    }

    /// What all parts have reached.
    fn reached(&self) -> Reached {
        lowest(self.parts.iter().map(|part| &part.reached))
    }

    /// Makes the store exactly this, of a namespace or of everything.
    fn replace(&mut self, namespace: Option<&str>, items: Vec<Relisted<K>>, initial: bool, applied: &mut Applied<K>) {
        let (before, reached) = (self.store.root(), self.reached());
        let is_empty_still = |namespace: &str| items.is_empty() && self.store.by_namespace().count(namespace) == 0;
        let is_as_before =
            self.parts.len() == 1 && is_as_before(&before.objects, &items) || namespace.is_some_and(is_empty_still);
        if is_as_before {
            return Batch::begin(&before.objects).end(reached);
        }
        let (after, mut free) = (Arc::new(before.emptied(items.len())), Free::default());
        if is_planted(Mutant::EmptyRoot) {
            self.store.shared.root.store(Arc::clone(&after));
        }
        let mut edit = Edit { root: &after, free: &mut free, batch: None };
        let elsewhere = namespace.map_or(0, |namespace| edit.keep_elsewhere(&before.objects, namespace));
        let taken = edit.take_over(items, &before.objects, applied);
        drop(edit);
        let stayed = taken.iter().filter(|taken| taken.old.is_some()).count();
        if stayed + elsewhere < before.objects.len() {
            applied.events.extend(gone(&before.objects, &after.objects));
        }
        for TakenOver { old, new, .. } in taken {
            match old {
                Some(old) if Arc::ptr_eq(&old, &new) => {}
                old => transition(old, new, initial, &mut applied.events),
            }
        }
        Batch::begin(&after.objects).end(reached);
        self.store.shared.root.store(after);
        self.free = free;
        self.retired.extend(Some(Guard::into_inner(before)).filter(is_in_use));
    }
}

/// Whether a reader may have a root that was replaced, or a snapshot its objects.
fn is_in_use<K>(root: &Arc<Root<K>>) -> bool {
    Arc::strong_count(root) > 1 || Arc::strong_count(&root.objects) > 1
}

/// What isn't there any more, in the order of the keys.
fn gone<K: Cached>(before: &Objects<K>, after: &Objects<K>) -> impl Iterator<Item = Event<K>> + use<K> {
    let mut gone = before.list();
    gone.retain(|last| after.get(last.namespace(), last.name()).is_none());
    gone.sort_unstable_by(|a, b| key::compare(key::parts_of(&**a), key::parts_of(&**b)));
    gone.into_iter().map(|last| Event::Deleted { last, finality: Finality::Inferred })
}

/// Whether a list says of everything that is cached that it is unchanged, and nothing else. Its items have to be in the order of
/// their keys, as servers send them; of others it isn't worked out.
fn is_as_before<K: Cached>(objects: &Objects<K>, items: &[Relisted<K>]) -> bool {
    let mut last: Option<&Arc<K>> = None;
    items.len() == objects.len()
        && items.iter().all(|item| {
            let Relisted::Unchanged(object) = item else { return false };
            let follows =
                |last: &Arc<K>| key::compare(key::parts_of(&**last), key::parts_of(&**object)) == Ordering::Less;
            last.replace(object).is_none_or(follows)
                && objects.get(object.namespace(), object.name()).is_some_and(|cached| Arc::ptr_eq(&cached, object))
        })
}

/// Only a replacement may lead back.
fn advance(reached: &mut Reached, version: ResourceVersion) {
    match &reached.version {
        Some(present) if version.compare(present) == Some(Ordering::Less) => {}
        _ => reached.version = Some(version),
    }
}
