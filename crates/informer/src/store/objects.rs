//! Objects: everything that is cached between two replacements, by key.
//!
//! In: one change at a time from the one writer. Out: what readers see. Keys are not stored, their fingerprints are: a hash
//! leads to a slot, and the fingerprint there says whether it is the one. A replacement never edits these: it fills new ones that no reader has yet.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use super::AHEAD;
use super::fingerprint::{Fingerprint, Fingerprints, seeded};
use super::slots::{self, Held, Slots, Taken};
use super::snapshot::Journal;
use super::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use super::table::{Candidates, Table};
use crate::key::ObjectKey;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;

pub(crate) struct Objects<K> {
    fingerprints: Fingerprints,
    table: Table,
    slots: Slots<K>,
    len: AtomicUsize,
    bytes: AtomicU64,
    /// Slots below this have been used.
    end: AtomicU32,
    /// How many objects have gone, see [`Objects::list`].
    removals: AtomicU64,
    pub(super) journal: Journal<K>,
}

/// What is cached for a key, and in which slot.
pub(super) type Found<K> = (u32, Held<K>);

/// As many as are looked at together.
pub(super) type Several<T> = SmallVec<[T; AHEAD]>;

/// Places that are free, known to the writer alone.
#[derive(Debug, Default)]
pub(super) struct Free(Vec<u32>);

impl<K: Cached> Objects<K> {
    pub(crate) fn new() -> Self {
        Self::of(Fingerprints::new())
    }

    /// None, where the same keys have the same fingerprints; with room for so many.
    pub(super) fn emptied(&self, keys: usize) -> Self {
        let emptied = Self::of(self.fingerprints.clone());
        emptied.table.reserve(keys);
        emptied
    }

    fn of(fingerprints: Fingerprints) -> Self {
        Self {
            fingerprints,
            table: Table::new(),
            slots: Slots::new(),
            len: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            end: AtomicU32::new(0),
            removals: AtomicU64::new(0),
            journal: Journal::default(),
        }
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        Some(self.find(self.key(namespace, name))?.1.object)
    }

    /// The slot of a key, and its object. A key that goes and comes back meanwhile may be missed: it was gone for a moment.
    pub(super) fn find(&self, key: Fingerprint) -> Option<Found<K>> {
        self.pick(&self.table.candidates(key.hash), key)
    }

    /// Looks up several keys, step by step, so that none waits for the memory of the others; [`Objects::pick`] finds the objects.
    pub(super) fn look_up(&self, keys: &[Fingerprint]) -> Several<Candidates> {
        let candidates: Several<_> = keys.iter().map(|key| self.table.candidates(key.hash)).collect();
        if candidates.len() > 1 {
            self.slots.fetch(candidates.iter().flatten().copied());
        }
        candidates
    }

    pub(super) fn pick(&self, candidates: &[u32], key: Fingerprint) -> Option<Found<K>> {
        candidates.iter().find_map(|slot| Some((*slot, self.slots.get(*slot, key)?)))
    }

    pub(crate) fn key(&self, namespace: &str, name: &str) -> Fingerprint {
        self.fingerprints.of(namespace, name)
    }

    pub(super) fn key_of(&self, object: &K) -> Fingerprint {
        self.key(object.namespace(), object.name())
    }

    pub(super) fn held(&self, slot: u32) -> Option<Held<K>> {
        self.slots.held(slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) -> u32 {
        self.end.load(Ordering::Acquire)
    }

    /// Every object, slot by slot: each group is one moment of its own. What goes and comes back meanwhile may be shown twice,
    /// the older state first.
    pub(crate) fn visit(&self, mut visit: impl FnMut(u32, &Arc<K>)) {
        self.take_all(self.end()).for_each(|taken| taken.objects().for_each(|(slot, object)| visit(slot, object)));
    }

    /// What is in the slots below `end`, group by group.
    pub(super) fn take_all(&self, end: u32) -> impl Iterator<Item = Taken<K>> {
        self.slots.take_all(end)
    }

    /// What is in these slots, group by group.
    pub(crate) fn take<'a>(&'a self, slots: impl Iterator<Item = &'a [u32]>) -> impl Iterator<Item = Taken<K>> {
        self.slots.take(slots)
    }

    /// Appends what is in these slots.
    pub(crate) fn list_slots<'a>(&'a self, slots: impl Iterator<Item = &'a [u32]>, objects: &mut Vec<Arc<K>>) {
        slots::list(self.take(slots), objects);
    }

    /// Changes when an object has gone. While it doesn't, no walk shows a key twice.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// Every object, each key once.
    pub(crate) fn list(&self) -> Vec<Arc<K>> {
        let removals = self.removals();
        let mut objects = Vec::with_capacity(self.len());
        slots::list(self.take_all(self.end()), &mut objects);
        if self.removals() != removals {
            self.keep_newest(&mut objects);
        }
        objects
    }

    /// The largest, each key once.
    pub(super) fn largest(&self, count: usize) -> Vec<(ObjectKey, u32)> {
        let removals = self.removals();
        let mut all = Vec::with_capacity(self.len());
        all.extend((0..self.end()).filter_map(|slot| self.slots.held(slot)));
        if self.removals() != removals {
            self.keep_newest_by(&mut all, |held| &held.object);
        }
        all.sort_unstable_by_key(|held| std::cmp::Reverse(held.bytes));
        all.truncate(count);
        all.into_iter().map(|held| (ObjectKey::of(&*held.object), held.bytes)).collect()
    }

    /// Leaves of each key what was seen last: a key that moves to another slot while a walk is under way may be seen in both.
    pub(crate) fn keep_newest(&self, objects: &mut Vec<Arc<K>>) {
        self.keep_newest_by(objects, |object| object);
    }

    fn keep_newest_by<T>(&self, all: &mut Vec<T>, object: impl Fn(&T) -> &Arc<K>) {
        if is_planted(Mutant::SeenTwice) {
            return;
        }
        let mut seen = HashSet::with_capacity_and_hasher(all.len(), seeded());
        all.reverse();
        all.retain(|one| seen.insert(self.key_of(object(one))));
        all.reverse();
    }

    /// The slot for an object whose key isn't here yet; taken with the next [`Objects::put`].
    pub(super) fn vacant(&self, free: &mut Free) -> u32 {
        free.0.pop().unwrap_or_else(|| self.end())
    }

    /// Puts an object into the slot of its key, or into a vacant one; returns what was there.
    pub(super) fn put(&self, key: Fingerprint, slot: u32, held: Held<K>) -> Option<Held<K>> {
        let bytes = held.bytes;
        let old = self.slots.set(slot, key, Some(held));
        self.weigh(bytes, old.as_ref());
        if old.is_none() {
            self.len.fetch_add(1, Ordering::Relaxed);
            self.end.fetch_max(slot + 1, Ordering::Release);
            self.table.insert(key.hash, slot, |slot| self.slots.key(slot).hash);
        }
        old
    }

    /// Takes an object out of the slot of its key.
    pub(super) fn remove(&self, key: Fingerprint, slot: u32, free: &mut Free) -> Option<Held<K>> {
        self.table.remove(key.hash, slot);
        let old = self.slots.set(slot, key, None);
        // Now, before the key can be in another slot: who has still seen it here has asked for the number before.
        self.removals.fetch_add(1, Ordering::AcqRel);
        self.weigh(0, old.as_ref());
        self.len.fetch_sub(1, Ordering::Relaxed);
        free.0.push(slot);
        old
    }

    fn weigh(&self, bytes: u32, old: Option<&Held<K>>) {
        let old = old.map_or(0, |old| u64::from(old.bytes));
        // Only the writer writes.
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + u64::from(bytes) - old, Ordering::Relaxed);
    }
}
