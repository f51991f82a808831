//! Snapshot: the whole store as it stood between two batches, whatever happens to it afterwards.
//!
//! In: nothing but the wish. Out: one moment of the store, and the version it stood at. Making one copies nothing: as long
//! as it is held, the writer sets aside of each slot what it overwrites first. So it costs as much as changes meanwhile,
//! at most what the store held. A replacement leaves it alone: it fills other slots.
//!
//! One that is asked for while a batch is being applied stands at the end of that batch and waits for it; so it is never
//! older than what was read before. It never makes the writer wait.
//!
//! Why a reader is never fooled: the writer sets aside before it overwrites, and a reader looks into the slot first and at
//! what was set aside afterwards.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use ahash::RandomState;

use super::Reached;
use super::fingerprint::seeded;
use super::objects::Objects;
use super::sync::{self, AtomicBool, Mutex, OnceLock, Ordering, ThreadId};
use crate::key::ObjectKey;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;
use crate::version::ResourceVersion;

/// One moment of a store. Hold it no longer than you need it: it keeps alive what has been overwritten since.
pub struct Snapshot<K> {
    objects: Arc<Objects<K>>,
    aside: Arc<Aside<K>>,
    moment: Moment,
}

/// Between two batches.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    len: usize,
    /// Slots from here on weren't in use.
    end: u32,
    reached: Reached,
}

/// What the writer has set aside for one snapshot.
pub(super) struct Aside<K> {
    moment: OnceLock<Moment>,
    /// Something has been.
    any: AtomicBool,
    overwritten: Mutex<Overwritten<K>>,
}

struct Overwritten<K> {
    /// `None`: the slot was empty.
    slots: HashMap<u32, Option<Arc<K>>, RandomState>,
    /// The same by key, since a key may be in another slot now.
    keys: HashMap<ObjectKey, Arc<K>, RandomState>,
}

/// Who has a snapshot, and whether a batch is under way.
pub(super) struct Journal<K>(Mutex<State<K>>);

struct State<K> {
    /// The thread that applies a batch at the moment.
    batch: Option<ThreadId>,
    reached: Reached,
    snapshots: Vec<Weak<Aside<K>>>,
    /// Asked for during the batch.
    waiting: Vec<Arc<Aside<K>>>,
}

impl<K> Default for Journal<K> {
    fn default() -> Self {
        let (snapshots, waiting) = (Vec::new(), Vec::new());
        Self(Mutex::new(State { batch: None, reached: Reached::default(), snapshots, waiting }))
    }
}

/// A batch being applied: ends when it is dropped.
pub(super) struct Batch<'a, K: Cached> {
    objects: &'a Objects<K>,
    snapshots: Vec<Arc<Aside<K>>>,
    reached: Option<Reached>,
}

impl<'a, K: Cached> Batch<'a, K> {
    pub(super) fn begin(objects: &'a Objects<K>) -> Self {
        let mut state = objects.journal.0.lock();
        state.batch = Some(sync::current().id());
        state.snapshots.retain(|snapshot| snapshot.strong_count() > 0);
        let snapshots = state.snapshots.iter().filter_map(Weak::upgrade).collect();
        Self { objects, snapshots, reached: None }
    }

    /// The batch is in the store, which stands there now.
    pub(super) fn end(mut self, reached: Reached) {
        self.reached = Some(reached);
    }

    /// What is in this slot is about to be overwritten.
    pub(super) fn overwrites(&self, slot: u32, old: Option<&Arc<K>>) {
        if !is_planted(Mutant::NothingAside) {
            self.snapshots.iter().for_each(|snapshot| snapshot.set(slot, old));
        }
    }
}

/// Also when applying panics: nobody waits for ever.
impl<K: Cached> Drop for Batch<'_, K> {
    fn drop(&mut self) {
        let objects = self.objects;
        let mut state = objects.journal.0.lock();
        state.batch = None;
        if let Some(reached) = self.reached.take() {
            state.reached = reached;
        }
        let moment = Moment { len: objects.len(), end: objects.end(), reached: state.reached.clone() };
        for snapshot in std::mem::take(&mut state.waiting) {
            // Set once, here: it was waiting.
            let _ = snapshot.moment.set(moment.clone());
            state.snapshots.push(Arc::downgrade(&snapshot));
        }
    }
}

impl<K> Aside<K> {
    fn new() -> Self {
        let (slots, keys) = (HashMap::with_hasher(seeded()), HashMap::with_hasher(seeded()));
        let overwritten = Mutex::new(Overwritten { slots, keys });
        Self { moment: OnceLock::new(), any: AtomicBool::new(false), overwritten }
    }
}

impl<K: Cached> Aside<K> {
    fn set(&self, slot: u32, old: Option<&Arc<K>>) {
        if self.moment.get().is_some_and(|moment| slot >= moment.end) {
            return;
        }
        let key = old.map(|old| ObjectKey::of(&**old));
        let mut overwritten = self.overwritten.lock();
        let Overwritten { slots, keys } = &mut *overwritten;
        slots.entry(slot).or_insert_with(|| {
            keys.extend(key.zip(old.cloned()));
            old.cloned()
        });
        // Under the lock of the slot's group, which the writer takes next, readers see this before what is overwritten.
        self.any.store(true, Ordering::Release);
    }

    fn is_untouched(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }
}

impl<K: Cached> Snapshot<K> {
    pub(super) fn new(objects: Arc<Objects<K>>) -> Self {
        let aside = Arc::new(Aside::new());
        let mut state = objects.journal.0.lock();
        match state.batch.filter(|_| !is_planted(Mutant::HalfABatch)) {
            None => {
                let moment = Moment { len: objects.len(), end: objects.end(), reached: state.reached.clone() };
                let _ = aside.moment.set(moment);
                // Batches forget those that are gone; where none comes, room that is used up does.
                if state.snapshots.len() == state.snapshots.capacity() {
                    state.snapshots.retain(|snapshot| snapshot.strong_count() > 0);
                }
                state.snapshots.push(Arc::downgrade(&aside));
            }
            Some(writer) if writer == sync::current().id() => {
                // From code that the writer calls, which can't wait for itself: the present, copied.
                let reached = state.reached.clone();
                drop(state);
                objects.visit(|slot, object| aside.set(slot, Some(object)));
                let len = aside.overwritten.lock().slots.len();
                let moment = Moment { len, end: objects.end(), reached };
                (0..moment.end).for_each(|slot| aside.set(slot, None));
                return Self { objects, aside, moment };
            }
            Some(_) => state.waiting.push(Arc::clone(&aside)),
        }
        drop(state);
        let moment = aside.moment.wait().clone();
        Self { objects, aside, moment }
    }

    /// The version the store stood at; `None` before the first list, and of several namespaces while one has none.
    pub fn version(&self) -> Option<&ResourceVersion> {
        self.moment.reached.version.as_ref()
    }

    /// How far the store had come.
    pub fn reached(&self) -> &Reached {
        &self.moment.reached
    }

    /// How many objects there were.
    pub fn len(&self) -> usize {
        self.moment.len
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state of one object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        let (namespace, name) = key.parts();
        let found = self.objects.find(self.objects.key(namespace, name)).map(|(slot, held)| (slot, held.object));
        if self.aside.is_untouched() {
            return found.filter(|(slot, _)| *slot < self.moment.end).map(|(_, object)| object);
        }
        // Nobody else may have what was found by now: it is dropped after the lock.
        let overwritten = self.aside.overwritten.lock();
        match (overwritten.keys.get(key), &found) {
            (Some(object), _) => Some(Arc::clone(object)),
            (None, Some((slot, object))) => {
                let was_there = *slot < self.moment.end && !overwritten.slots.contains_key(slot);
                was_there.then(|| Arc::clone(object))
            }
            (None, None) => None,
        }
    }

    /// Calls `visit` with every object, under no lock.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<K>)) {
        for taken in self.objects.take_all(self.moment.end) {
            if self.aside.is_untouched() {
                taken.objects().for_each(|(_, object)| visit(object));
                continue;
            }
            let was: Vec<_> = {
                let overwritten = &self.aside.overwritten.lock().slots;
                taken
                    .slots()
                    .filter_map(|(slot, object)| overwritten.get(&slot).map_or(object, Option::as_ref).cloned())
                    .collect()
            };
            was.iter().for_each(&mut visit);
        }
    }

    /// Every object.
    pub fn list(&self) -> Vec<Arc<K>> {
        let mut objects = Vec::with_capacity(self.len());
        self.for_each(|object| objects.push(Arc::clone(object)));
        objects
    }
}

impl<K> fmt::Debug for Snapshot<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("moment", &self.moment).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::StoreWriter;

    /// Goal: snapshots that are gone take no room, also where no batch comes.
    #[test]
    fn snapshots_are_forgotten() {
        let store = StoreWriter::<k8s_openapi::api::core::v1::ConfigMap>::default().store();
        (0..10_000).for_each(|_| drop(store.snapshot()));
        let kept = store.root().objects.journal.0.lock().snapshots.len();
        assert!(kept < 100, "{kept}");
    }
}
