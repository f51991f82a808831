//! ThreadSafeStore: what the cluster looks like, and the one place that says Added, Updated, Deleted.
//!
//! In: work from the DeltaFIFO, applied by the one [`StoreWriter`]. Out: events for the handlers, and for any number
//! of readers the present objects, by key, by namespace and by [`Index`], and the version reached.
//!
//! What readers see: an object never goes back to an older state of the same uid, except through a replacement, which
//! the server presents as newest. A replacement is built aside and published as one pointer: a look-up sees all of it
//! or nothing. `version` is published last, so it is a lower bound of what a later look-up shows.
//!
//! The tables are hash maps sharded by key behind short read-write locks under an arc-swap root: the plain design. No
//! guard leaves this module, and no user code runs under a lock. Slots with u32 postings (less memory, no hashing on
//! an index look-up) can take the place of the maps without a change outside this folder.
//!
//! It never tells anyone anything: what the events are for is the informer's business.
//!
//! Upstream counterpart: `ThreadSafeStore` and `processDeltas` in client-go's tools/cache.

use std::cmp::Ordering;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::delta_fifo::{Change, Known, Relisted, Work, is_older};
use crate::event::{Event, Finality};
use crate::index::{Index, IndexValue, Values};
use crate::key::{ObjectKey, with_text};
use crate::object::Cached;
use crate::version::{self, ResourceVersion};

pub(crate) mod root;

use root::Root;

/// How far the store has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// The resource version of the last work applied; `None` before the first.
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
    /// Of each part, see [`StoreWriter::in_parts`].
    reached: watch::Sender<Vec<Reached>>,
}

/// The one writer. It is not `Clone`: every piece of state has one writer.
pub struct StoreWriter<K> {
    store: ThreadSafeStore<K>,
    parts: Vec<Option<String>>,
}

/// What applying a batch amounted to.
#[derive(Debug)]
pub struct Applied<K> {
    /// In the order in which handlers shall hear of them.
    pub events: Vec<Event<K>>,
    /// Changes that were older than what is cached, and dropped.
    pub stale: usize,
    /// Items of a list that were called unchanged but aren't cached. Anything but zero asks for another list.
    pub missing: usize,
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
        let (reached, _) = watch::channel(vec![Reached::default(); parts.len()]);
        let shared = Shared { root: ArcSwap::from_pointee(Root::new()), reached };
        Self { store: ThreadSafeStore { shared: Arc::new(shared) }, parts }
    }

    /// A handle for readers.
    pub fn store(&self) -> ThreadSafeStore<K> {
        self.store.clone()
    }

    /// Adds an index over what is and will be cached.
    pub fn add_index<V: IndexValue>(&mut self, values: impl Fn(&K) -> Vec<V> + Send + Sync + 'static) -> Index<K, V> {
        let values: Values<K, V> = Arc::new(values);
        let before = self.store.root();
        let mut after = before.emptied();
        let position = after.add_index(Arc::clone(&values));
        for object in before.list() {
            after.set(&ObjectKey::of(&*object), None, Some(&object));
        }
        self.store.shared.root.store(Arc::new(after));
        Index::new(self.store(), position, values)
    }

    /// Applies one batch of the only part.
    pub fn apply(&mut self, work: Work<K>, version: ResourceVersion) -> Applied<K> {
        self.apply_to(0, work, version)
    }

    /// Applies one batch of a part, counted from 0; when it returns, readers see all of it and that part has reached `version`.
    ///
    /// # Panics
    /// There is no such part.
    pub fn apply_to(&mut self, part: usize, work: Work<K>, version: ResourceVersion) -> Applied<K> {
        let mut applied = Applied { events: Vec::new(), stale: 0, missing: 0 };
        match work {
            Work::Changes(changes) => {
                let root = self.store.root();
                for change in changes {
                    match change {
                        Change::Applied(object) => put(&root, object, &mut applied),
                        Change::Deleted { last, finality } => remove(&root, last, finality, &mut applied),
                    }
                }
                self.store.shared.reached.send_modify(|reached| advance(&mut reached[part], version));
            }
            Work::Replace(replacement) => {
                self.replace(part, replacement.items, &mut applied);
                self.store.shared.reached.send_modify(|reached| {
                    reached[part].version = Some(version);
                    reached[part].replacements += 1;
                });
            }
        }
        applied
    }

    fn replace(&mut self, part: usize, items: Vec<Relisted<K>>, applied: &mut Applied<K>) {
        let initial = self.store.reached_in(part).replacements == 0;
        let before = self.store.root();
        if self.parts.len() == 1 && is_as_before(&before, &items) {
            return;
        }
        let after = before.emptied();
        let namespace = self.parts[part].as_deref();
        let is_elsewhere = |object: &K| namespace.is_some_and(|namespace| object.namespace() != namespace);
        for object in before.list().into_iter().filter(|object| is_elsewhere(object)) {
            after.set(&ObjectKey::of(&*object), None, Some(&object));
        }
        let mut order = Vec::with_capacity(items.len());
        for item in items {
            let (key, object) = match item {
                Relisted::New(object) => (ObjectKey::of(&*object), object),
                Relisted::Unchanged(key) => match before.get(key.as_str()) {
                    Some(object) => (key, object),
                    None => {
                        applied.missing += 1;
                        continue;
                    }
                },
            };
            // What hasn't changed stays the same allocation.
            let object = before.get(key.as_str()).filter(|old| is_same_state(&**old, &*object)).unwrap_or(object);
            match after.get(key.as_str()) {
                // Pages of one list may show an object twice, if a continuation had to be restarted.
                Some(earlier) if is_older(&*object, &*earlier) => applied.stale += 1,
                Some(earlier) => after.set(&key, Some(&earlier), Some(&object)),
                None => {
                    after.set(&key, None, Some(&object));
                    order.push(key);
                }
            }
        }
        let mut gone: Vec<_> = before.list().into_iter().map(|last| (ObjectKey::of(&*last), last)).collect();
        gone.retain(|(key, _)| after.get(key.as_str()).is_none());
        gone.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let inferred = |(_, last)| Event::Deleted { last, finality: Finality::Inferred };
        applied.events.extend(gone.into_iter().map(inferred));
        for key in order {
            let object = after.get(key.as_str()).expect("what is in `order` was put into `after`");
            match before.get(key.as_str()) {
                Some(old) if Arc::ptr_eq(&old, &object) => {}
                old => transition(old, object, initial, &mut applied.events),
            }
        }
        self.store.shared.root.store(Arc::new(after));
    }
}

/// Whether a list says of everything that is cached that it is unchanged, and nothing else. Its items have to be in the order of
/// their keys, as servers send them; of others it isn't worked out.
fn is_as_before<K: Cached>(root: &Root<K>, items: &[Relisted<K>]) -> bool {
    let mut last: Option<&ObjectKey> = None;
    items.len() == root.len()
        && items.iter().all(|item| {
            let Relisted::Unchanged(key) = item else { return false };
            last.replace(key).is_none_or(|last| last < key) && root.get(key.as_str()).is_some()
        })
}

fn put<K: Cached>(root: &Root<K>, object: Arc<K>, applied: &mut Applied<K>) {
    let key = ObjectKey::of(&*object);
    let old = root.get(key.as_str());
    if let Some(old) = &old {
        if is_older(&*object, &**old) {
            applied.stale += 1;
            return;
        }
        if is_same_state(&**old, &*object) {
            return;
        }
    }
    root.set(&key, old.as_deref(), Some(&object));
    transition(old, object, false, &mut applied.events);
}

fn remove<K: Cached>(root: &Root<K>, last: Arc<K>, finality: Finality, applied: &mut Applied<K>) {
    let key = ObjectKey::of(&*last);
    // A life that began and ended while nobody looked: nobody was told of it either.
    let Some(old) = root.get(key.as_str()) else { return };
    if is_older(&*last, &*old) {
        applied.stale += 1;
        return;
    }
    root.set(&key, Some(&old), None);
    applied.events.push(if old.uid() == last.uid() {
        Event::Deleted { last, finality }
    } else {
        // Another life has ended under this name since, so this one had ended before, unseen.
        Event::Deleted { last: old, finality: Finality::Inferred }
    });
}

/// From what was cached to what is: names the transition.
fn transition<K: Cached>(old: Option<Arc<K>>, new: Arc<K>, initial: bool, events: &mut Vec<Event<K>>) {
    match old {
        Some(old) if old.uid() == new.uid() => events.push(Event::Updated { old, new }),
        old => {
            events.extend(old.map(|last| Event::Deleted { last, finality: Finality::Inferred }));
            events.push(Event::Added { object: new, initial });
        }
    }
}

/// Same life, same version: a repetition, not news. Objects without a version are never the same.
fn is_same_state<K: Cached>(a: &K, b: &K) -> bool {
    a.uid() == b.uid() && a.version() == b.version() && !a.version().is_empty()
}

/// What all parts have reached: of versions that can't be compared, none.
fn lowest(parts: &[Reached]) -> Reached {
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
    parts.split_first().map(|(first, others)| others.iter().fold(first.clone(), lower)).unwrap_or_default()
}

/// Only a replacement may lead back.
fn advance(reached: &mut Reached, version: ResourceVersion) {
    match &reached.version {
        Some(present) if version.compare(present) == Some(Ordering::Less) => {}
        _ => reached.version = Some(version),
    }
}

impl<K> Clone for ThreadSafeStore<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Cached> ThreadSafeStore<K> {
    /// The present state of one object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.root().get(key.as_str())
    }

    /// All objects. Not one moment of the whole store: objects may change while the list is made.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.root().list()
    }

    /// The objects of one namespace; the empty one holds what is cluster-scoped.
    pub fn namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.root().namespace(namespace)
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.root().keys()
    }

    /// How many objects are cached.
    pub fn len(&self) -> usize {
        self.root().len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How far the store has come.
    pub fn reached(&self) -> Reached {
        lowest(&self.shared.reached.borrow())
    }

    /// How far one part has come, counted from 0.
    pub(crate) fn reached_in(&self, part: usize) -> Reached {
        self.shared.reached.borrow()[part].clone()
    }

    /// Waits until `enough` says so of what was reached; looks at the present first. Cancel-safe.
    pub async fn wait_until(&self, mut enough: impl FnMut(&Reached) -> bool) {
        // The sender lives in `self`, so the channel can't close while this waits.
        let _ = self.shared.reached.subscribe().wait_for(|parts| enough(&lowest(parts))).await;
    }

    /// The same for one part, counted from 0.
    pub(crate) async fn wait_until_in(&self, part: usize, mut enough: impl FnMut(&Reached) -> bool) {
        let _ = self.shared.reached.subscribe().wait_for(|parts| enough(&parts[part])).await;
    }

    pub(crate) fn root(&self) -> Arc<Root<K>> {
        self.shared.root.load_full()
    }
}

/// One part of a store, as the reflector that fills it may know it: everything, or a namespace.
pub(crate) struct Part<K> {
    pub(crate) store: ThreadSafeStore<K>,
    pub(crate) namespace: Option<String>,
}

impl<K: Cached> Known for Part<K> {
    fn current(&self, namespace: &str, name: &str, uid: &str, version: &str) -> Option<ObjectKey> {
        self.store.current(namespace, name, uid, version)
    }

    fn held(&self, namespace: &str, name: &str, uid: &str) -> Option<ResourceVersion> {
        self.store.held(namespace, name, uid)
    }

    fn count(&self) -> usize {
        match &self.namespace {
            Some(namespace) => self.store.namespace(namespace).len(),
            None => self.store.len(),
        }
    }
}

impl<K: Cached> Known for ThreadSafeStore<K> {
    fn current(&self, namespace: &str, name: &str, uid: &str, version: &str) -> Option<ObjectKey> {
        let (key, cached) = with_text(namespace, name, |key| self.root().get_entry(key))?;
        let is_same = cached.uid() == uid && version::compare(cached.version(), version) == Some(Ordering::Equal);
        is_same.then_some(key)
    }

    fn held(&self, namespace: &str, name: &str, uid: &str) -> Option<ResourceVersion> {
        let cached = with_text(namespace, name, |key| self.root().get(key))?;
        (cached.uid() == uid).then(|| ResourceVersion::new(cached.version()))
    }

    fn count(&self) -> usize {
        self.len()
    }
}
