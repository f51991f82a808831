//! Edit: one change after the other to the objects of a root, and what each of them is called.
//!
//! In: a delta, or an item of a list. Out: the slots and indexes changed around each other, and the transition by name. It is the
//! writer's hand: it neither publishes a root nor knows of parts and versions reached.

use std::sync::Arc;

use super::Reached;
use super::fingerprint::Fingerprint;
use super::objects::{Free, Objects};
use super::root::Root;
use super::slots::Held;
use super::snapshot::Batch;
use super::writer::Applied;
use crate::delta_fifo::{Change, Relisted, is_older};
use crate::event::{Event, Finality};
use crate::index::Maintained;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;

/// What the writer holds while it changes a root.
pub(super) struct Edit<'a, K: Cached> {
    pub(super) root: &'a Root<K>,
    pub(super) free: &'a mut Free,
    /// `None`: no reader has this root yet.
    pub(super) batch: Option<Batch<'a, K>>,
}

impl<K: Cached> Edit<'_, K> {
    pub(super) fn end(self, reached: Reached) {
        if let Some(batch) = self.batch {
            batch.end(reached);
        }
    }

    pub(super) fn change(&mut self, change: Change<K>, applied: &mut Applied<K>) {
        let (Change::Applied(object, _) | Change::Deleted { last: object, .. }) = &change;
        let key = self.root.objects.key_of(object);
        let old = self.root.objects.find(key);
        if old.as_ref().is_some_and(|(_, old)| is_older(&**object, &**old)) {
            applied.stale += 1;
            return;
        }
        match change {
            Change::Applied(object, bytes) => {
                if old.as_ref().is_some_and(|(_, old)| is_same_state(&**old, &*object)) {
                    return;
                }
                self.put(key, old.as_ref(), Held::new(Arc::clone(&object), bytes));
                transition(old.map(|(_, old)| old), object, false, &mut applied.events);
            }
            Change::Deleted { last, finality } => {
                // A life that began and ended while nobody looked: nobody was told of it either.
                let Some((slot, old)) = old else { return };
                self.remove(key, slot, &old);
                applied.events.push(if old.uid() == last.uid() {
                    Event::Deleted { last, finality }
                } else {
                    // Another life has ended under this name since, so this one had ended before, unseen.
                    Event::Deleted { last: old, finality: Finality::Inferred }
                });
            }
        }
    }

    /// Takes over what is in other namespaces; returns how much that is.
    pub(super) fn keep_elsewhere(&mut self, before: &Objects<K>, namespace: &str) -> usize {
        let mut kept = 0;
        before.visit_slots(0..before.end(), |slot, object| {
            if object.namespace() != namespace
                && let Some(held) = before.held(slot)
            {
                self.put(self.root.objects.key_of(&object), None, held);
                kept += 1;
            }
        });
        kept
    }

    /// Takes over one item of a list, and notes what was there and where it is now.
    pub(super) fn relisted(
        &mut self,
        item: Relisted<K>,
        before: &Objects<K>,
        transitions: &mut Vec<(Option<Arc<K>>, u32)>,
        applied: &mut Applied<K>,
    ) {
        let (Relisted::New(object, _) | Relisted::Unchanged(object)) = &item;
        let key = self.root.objects.key_of(object);
        let old = before.find(key).and_then(|(slot, _)| before.held(slot));
        let earlier = self.root.objects.find(key);
        let held = match item {
            // What hasn't changed stays the same allocation.
            Relisted::New(object, bytes) => match &old {
                Some(old) if is_same_state(&*old.object, &*object) => Held::new(Arc::clone(&old.object), bytes),
                _ => Held::new(object, bytes),
            },
            // What is cached may be newer by now.
            Relisted::Unchanged(object) => match &old {
                Some(old) if old.object.uid() == object.uid() && !is_older(&*old.object, &*object) => old.clone(),
                _ => Held::new(object, 0),
            },
        };
        match &earlier {
            // Pages of one list may show an object twice, if a continuation had to be restarted.
            Some((_, earlier)) if is_older(&*held.object, &**earlier) => applied.stale += 1,
            Some(_) => _ = self.put(key, earlier.as_ref(), held),
            None => transitions.push((old.map(|old| old.object), self.put(key, None, held))),
        }
    }

    /// Puts an object in the place of `old`, or into a vacant one, in the slots and in every index; returns the slot.
    fn put(&mut self, key: Fingerprint, old: Option<&(u32, Arc<K>)>, held: Held<K>) -> u32 {
        let Self { root, free, batch } = self;
        let slot = old.map_or_else(|| root.objects.vacant(free), |(slot, _)| *slot);
        let old = old.map(|(_, object)| object);
        let set_aside = || batch.iter().for_each(|batch| batch.overwrites(slot, old));
        if !is_planted(Mutant::LateAside) {
            set_aside();
        }
        let (new, mut held) = (Arc::clone(&held.object), Some(held));
        around(&root.indexes, slot, old.map(|old| &**old), Some(&*new), &mut || {
            drop(held.take().and_then(|held| root.objects.put(key, slot, held)));
        });
        if is_planted(Mutant::LateAside) {
            set_aside();
        }
        slot
    }

    fn remove(&mut self, key: Fingerprint, slot: u32, old: &Arc<K>) {
        let Self { root, free, batch } = self;
        if let Some(batch) = batch {
            batch.overwrites(slot, Some(old));
        }
        around(&root.indexes, slot, Some(&**old), None, &mut || drop(root.objects.remove(key, slot, free)));
    }
}

/// Every index around the change of the object, one inside the other.
fn around<K>(indexes: &[Arc<dyn Maintained<K>>], slot: u32, old: Option<&K>, new: Option<&K>, swap: &mut dyn FnMut()) {
    match indexes.split_first() {
        None => swap(),
        Some((index, others)) => index.around(slot, old, new, &mut || around(others, slot, old, new, swap)),
    }
}

/// From what was cached to what is: names the transition.
pub(super) fn transition<K: Cached>(old: Option<Arc<K>>, new: Arc<K>, initial: bool, events: &mut Vec<Event<K>>) {
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
