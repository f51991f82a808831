//! Edit: one change after the other to the objects of a root, and what each of them is called.
//!
//! In: a delta, or an item of a list. Out: the slots and indexes changed around each other, and the transition by name. It is the
//! writer's hand: it neither publishes a root nor knows of parts and versions reached.

use std::sync::Arc;

use super::fingerprint::Fingerprint;
use super::objects::{Found, Free, Objects, Several};
use super::root::{IndexMoves, Root};
use super::slots::Held;
use super::snapshot::Batch;
use super::writer::Applied;
use super::{AHEAD, Reached};
use crate::delta_fifo::{Change, Relisted, is_older};
use crate::event::{Event, Finality};
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;

/// What the writer holds while it changes a root.
pub(super) struct Edit<'a, K: Cached> {
    pub(super) root: &'a Root<K>,
    pub(super) free: &'a mut Free,
    /// `None`: no reader has this root yet.
    pub(super) batch: Option<Batch<'a, K>>,
}

/// A change that was looked at and has yet to be made.
struct Ahead<'a, K> {
    key: Fingerprint,
    /// What is cached, and in which slot.
    old: Option<Found<K>>,
    verdict: Verdict,
    moves: IndexMoves<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    News,
    /// A repetition.
    Known,
    /// Older than what is cached.
    Stale,
}

/// What came of one key of a list.
pub(super) struct TakenOver<K> {
    slot: u32,
    pub(super) old: Option<Arc<K>>,
    pub(super) new: Arc<K>,
}

impl<'a, K: Cached> Edit<'a, K> {
    pub(super) fn end(self, reached: Reached) {
        if let Some(batch) = self.batch {
            batch.end(reached);
        }
    }

    /// Makes changes, one after the other; what they need to know is looked up for several at a time.
    pub(super) fn change_all(&mut self, changes: Vec<Change<K>>, applied: &mut Applied<K>) {
        let mut changes = changes.into_iter();
        while changes.len() > 0 {
            for (ahead, change) in self.look_ahead(changes.as_slice()).into_iter().zip(&mut changes) {
                self.change(ahead, change, applied);
            }
        }
    }

    /// Step by step for all of them, so that a core waits for the memory of several at once. A second change of one object
    /// is looked at when the first has been made.
    fn look_ahead(&self, changes: &[Change<K>]) -> Vec<Ahead<'a, K>> {
        let Self { root, .. } = *self;
        let mut keys = Several::new();
        for change in changes.iter().take(AHEAD) {
            let key = root.objects.key_of(change.object());
            if keys.contains(&key) {
                break;
            }
            keys.push(key);
        }
        let candidates = root.objects.look_up(&keys);
        let mut ahead = Vec::with_capacity(keys.len());
        for (key, candidates) in keys.iter().zip(&candidates) {
            let old = root.objects.pick(candidates, *key);
            ahead.push(Ahead { key: *key, old, verdict: Verdict::News, moves: IndexMoves::new() });
        }
        for (ahead, change) in ahead.iter_mut().zip(changes) {
            ahead.verdict = ahead.old.as_ref().map_or(Verdict::News, |(_, old)| Verdict::of(change, &old.object));
        }
        for (ahead, change) in ahead.iter_mut().zip(changes).filter(|(ahead, _)| ahead.verdict == Verdict::News) {
            let old = ahead.old.as_ref().map(|(_, old)| &*old.object);
            let new = matches!(change, Change::Applied(..)).then(|| &**change.object());
            ahead.moves = root.moves(old, new);
        }
        ahead
    }

    fn change(&mut self, ahead: Ahead<'_, K>, change: Change<K>, applied: &mut Applied<K>) {
        let Ahead { key, old, verdict, moves } = ahead;
        match (verdict, change) {
            (Verdict::Stale, _) => applied.stale += 1,
            (Verdict::Known, _) => {}
            (Verdict::News, Change::Applied(object, bytes)) => {
                self.put(key, old.as_ref(), Held::new(Arc::clone(&object), bytes), &moves);
                transition(old.map(|(_, old)| old.object), object, false, &mut applied.events);
            }
            (Verdict::News, Change::Deleted { last, finality }) => {
                // A life that began and ended while nobody looked: nobody was told of it either.
                let Some((slot, Held { object: old, .. })) = old else { return };
                self.remove(key, slot, &old, &moves);
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
        before.visit(|slot, object| {
            if object.namespace() != namespace
                && let Some(held) = before.held(slot)
            {
                let slot = self.put(self.root.objects.key_of(object), None, held, &IndexMoves::new());
                self.root.indexes.iter().for_each(|index| index.fill(&[(slot, object)]));
                kept += 1;
            }
        });
        kept
    }

    /// Takes over the items of a list, several at a time, into a root that no reader has yet. Says of each key what there was before
    /// and what there is now, in the order of the list.
    pub(super) fn take_over(
        &mut self,
        items: Vec<Relisted<K>>,
        before: &Objects<K>,
        applied: &mut Applied<K>,
    ) -> Vec<TakenOver<K>> {
        let mut taken = Vec::with_capacity(items.len());
        let mut items = items.into_iter();
        while items.len() > 0 {
            let ahead = items.as_slice().iter().take(AHEAD);
            let keys: Several<_> = ahead.map(|item| self.root.objects.key_of(item.object())).collect();
            let candidates = before.look_up(&keys);
            let old: Several<_> = keys.iter().zip(&candidates).map(|(key, slots)| before.pick(slots, *key)).collect();
            let held = keys.iter().zip(old).zip(&mut items).map(|((key, old), item)| {
                let old = old.map(|(_, old)| old);
                (*key, held_of(item, old.as_ref()), old)
            });
            let first = taken.len();
            for (key, held, old) in held.collect::<Several<_>>() {
                self.take(key, held, old, &mut taken, applied);
            }
            let new: Several<_> = taken[first..].iter().map(|taken| (taken.slot, &*taken.new)).collect();
            self.root.indexes.iter().for_each(|index| index.fill(&new));
        }
        taken
    }

    fn take(
        &mut self,
        key: Fingerprint,
        held: Held<K>,
        old: Option<Held<K>>,
        taken: &mut Vec<TakenOver<K>>,
        applied: &mut Applied<K>,
    ) {
        let new = Arc::clone(&held.object);
        match self.root.objects.find(key) {
            None => {
                let slot = self.put(key, None, held, &IndexMoves::new());
                taken.push(TakenOver { slot, old: old.map(|old| old.object), new });
            }
            // Pages of one list may show an object twice, if a continuation had to be restarted.
            Some((_, earlier)) if is_older(&*held.object, &*earlier.object) => applied.stale += 1,
            Some(earlier) => {
                let moves = self.root.moves(Some(&earlier.1.object), Some(&new));
                self.put(key, Some(&earlier), held, &moves);
                // Vacant slots of a new root follow each other.
                if let Ok(at) = taken.binary_search_by_key(&earlier.0, |taken| taken.slot) {
                    taken[at].new = new;
                }
            }
        }
    }

    /// Puts an object in the place of `old`, or into a vacant one, in the slots and in every index; returns the slot.
    fn put(&mut self, key: Fingerprint, old: Option<&Found<K>>, held: Held<K>, moves: &IndexMoves<'_>) -> u32 {
        let Self { root, free, batch } = self;
        let slot = old.map_or_else(|| root.objects.vacant(free), |(slot, _)| *slot);
        let set_aside = || batch.iter().for_each(|batch| batch.overwrites(slot, old.map(|(_, old)| &old.object)));
        if !is_planted(Mutant::LateAside) {
            set_aside();
        }
        around(moves, slot, || drop(root.objects.put(key, slot, held)));
        if is_planted(Mutant::LateAside) {
            set_aside();
        }
        slot
    }

    fn remove(&mut self, key: Fingerprint, slot: u32, old: &Arc<K>, moves: &IndexMoves<'_>) {
        let Self { root, free, batch } = self;
        if let Some(batch) = batch {
            batch.overwrites(slot, Some(old));
        }
        around(moves, slot, || drop(root.objects.remove(key, slot, free)));
    }
}

/// The indexes' moves around the change of the object.
fn around(moves: &IndexMoves<'_>, slot: u32, swap: impl FnOnce()) {
    moves.iter().for_each(|change| change.enter(slot));
    swap();
    moves.iter().for_each(|change| change.leave(slot));
}

impl Verdict {
    fn of<K: Cached>(change: &Change<K>, old: &K) -> Self {
        let object = &**change.object();
        match change {
            _ if is_older(object, old) => Self::Stale,
            Change::Applied(..) if is_same_state(old, object) => Self::Known,
            _ => Self::News,
        }
    }
}

/// What is cached for an item of a list, of which `old` was cached before.
fn held_of<K: Cached>(item: Relisted<K>, old: Option<&Held<K>>) -> Held<K> {
    match item {
        // What hasn't changed stays the same allocation.
        Relisted::New(object, bytes) => match old {
            Some(old) if is_same_state(&*old.object, &*object) => Held::new(Arc::clone(&old.object), bytes),
            _ => Held::new(object, bytes),
        },
        // What is cached may be newer by now.
        Relisted::Unchanged(object) => match old {
            Some(old) if old.object.uid() == object.uid() && !is_older(&*old.object, &*object) => old.clone(),
            _ => Held::new(object, 0),
        },
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
