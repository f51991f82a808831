//! Coalescing: how the deltas of one key are put together while the store is busy.
//!
//! In: deltas in order of arrival. Out: the same, while few wait; beyond that, of each key at most the end of one life and the
//! present state of the next. It never
//! keeps a state that is known to be older than what it has, and never forgets the end of a life the store may hold.
//!
//! Upstream counterpart: `DeltaFIFO` in client-go's tools/cache, which keeps all deltas of a key together.

use std::cmp::Ordering;
use std::sync::Arc;

use hashbrown::HashTable;

use super::{Change, Delta, DeltaQueue};
use crate::event::Finality;
use crate::explain::{Explainer, What};
use crate::object::Cached;
use crate::version;

/// Room for so many keys is kept for the next; what a flood needed is given back after it.
const KEPT: usize = 4_096;

/// Deltas that wait as they came: a consumer that is so little behind has taken them before they were put together.
const BEYOND: usize = 1_024;

/// Keeps of each key what the store needs to know, once more than 1,024 deltas wait ([`Coalescing::beyond`]). Its length is
/// bounded by how many objects there are and by how many deltas wait as they came, not by how often objects change.
pub struct Coalescing<K> {
    /// As they came, until these are too many; then they are put together, and so is what comes after them.
    first: Vec<(Delta<K>, usize)>,
    beyond: usize,
    /// In order of arrival of the keys.
    pending: Vec<Pending<K>>,
    /// Places in `pending`, by key: the key itself is in the object there.
    places: HashTable<u32>,
    hasher: ahash::RandomState,
    bytes: usize,
    coalesced: u64,
    explain: Explainer,
}

impl<K> Default for Coalescing<K> {
    fn default() -> Self {
        Self::beyond(BEYOND)
    }
}

impl<K> Coalescing<K> {
    /// Puts deltas together once more than so many wait.
    pub fn beyond(deltas: usize) -> Self {
        let (first, pending) = (Vec::new(), Vec::new());
        let (places, hasher) = (HashTable::new(), ahash::RandomState::default());
        Self { first, beyond: deltas, pending, places, hasher, bytes: 0, coalesced: 0, explain: Explainer::default() }
    }

    /// Notes there what it puts together.
    pub(crate) fn explained(self, explain: Explainer) -> Self {
        Self { explain, ..self }
    }
}

impl<K: Cached> Coalescing<K> {
    fn merge_first(&mut self) {
        for (delta, bytes) in std::mem::take(&mut self.first) {
            self.bytes -= bytes;
            self.merge(delta, bytes);
        }
    }

    fn merge(&mut self, delta: Delta<K>, bytes: usize) {
        let (Delta::Applied(object) | Delta::Deleted(object)) = &delta;
        let (namespace, name) = (object.namespace(), object.name());
        let hash = self.hasher.hash_one((namespace, name));
        let is_it = |place: &u32| {
            let there = &self.pending[*place as usize];
            // Objects are cold: they are looked at last.
            there.hash == hash && there.object().name() == name && there.object().namespace() == namespace
        };
        match self.places.find(hash, is_it) {
            Some(place) => {
                let pending = &mut self.pending[*place as usize];
                let before = (pending.len(), pending.bytes());
                pending.merge(delta, bytes);
                let left_out = (before.0 + 1 - pending.len()) as u64;
                self.coalesced += left_out;
                if left_out > 0 {
                    self.explain.note_object(pending.object(), || What::Coalesced(left_out));
                }
                self.bytes = self.bytes - before.1 + pending.bytes();
            }
            None => {
                let place = u32::try_from(self.pending.len()).expect("the limits end long before four billion keys");
                self.pending.push(Pending { hash, ..Pending::new(delta, bytes) });
                self.places.insert_unique(hash, place, |place| self.pending[*place as usize].hash);
                self.bytes += bytes;
            }
        }
    }
}

impl<K: Cached> DeltaQueue<K> for Coalescing<K> {
    fn push(&mut self, delta: Delta<K>, bytes: usize) {
        if self.pending.is_empty() && self.first.len() < self.beyond {
            self.bytes += bytes;
            self.first.push((delta, bytes));
            return;
        }
        self.merge_first();
        // At once: now its object is still in the processor's cache.
        self.merge(delta, bytes);
    }

    fn drain(&mut self) -> Vec<Change<K>> {
        if self.pending.is_empty() {
            self.bytes = 0;
            let changes = self.first.drain(..).map(|(delta, bytes)| Change::of(delta, bytes)).collect();
            self.first.shrink_to(KEPT);
            return changes;
        }
        self.bytes = 0;
        let mut changes = Vec::with_capacity(self.pending.len());
        for Pending { gone, here, .. } in self.pending.drain(..) {
            changes.extend(gone.map(|(last, finality)| Change::Deleted { last: last.object, finality }));
            changes.extend(here.map(|here| Change::of(Delta::Applied(here.object), here.bytes)));
        }
        self.places.clear();
        if self.pending.capacity() > KEPT {
            (self.pending, self.places) = (Vec::new(), HashTable::new());
        }
        changes
    }

    fn len(&self) -> usize {
        self.pending.len() + self.first.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn coalesced(&self) -> u64 {
        self.coalesced
    }
}

/// A state and its size as it arrived.
struct Held<K> {
    object: Arc<K>,
    bytes: usize,
}

/// What is pending for one key: at most the end of an earlier life, then a present state.
struct Pending<K> {
    hash: u64,
    gone: Option<(Held<K>, Finality)>,
    here: Option<Held<K>>,
}

impl<K> Pending<K> {
    /// Any of its states: all are of one key.
    fn object(&self) -> &K {
        let gone = self.gone.as_ref().map(|(gone, _)| gone);
        &self.here.as_ref().or(gone).expect("at least one of them is there").object
    }

    fn len(&self) -> usize {
        usize::from(self.gone.is_some()) + usize::from(self.here.is_some())
    }

    fn bytes(&self) -> usize {
        let gone = self.gone.as_ref().map(|(gone, _)| gone);
        gone.into_iter().chain(&self.here).map(|held| held.bytes).sum()
    }
}

impl<K: Cached> Pending<K> {
    fn new(delta: Delta<K>, bytes: usize) -> Self {
        match delta {
            Delta::Applied(object) => Self { hash: 0, gone: None, here: Some(Held { object, bytes }) },
            Delta::Deleted(object) => {
                Self { hash: 0, gone: Some((Held { object, bytes }, Finality::Observed)), here: None }
            }
        }
    }

    fn merge(&mut self, delta: Delta<K>, bytes: usize) {
        match delta {
            Delta::Applied(object) => self.apply(Held { object, bytes }),
            Delta::Deleted(object) => self.delete(Held { object, bytes }),
        }
    }

    /// Of an older life and a newer one, the end of the first and the newest state of the second are kept. A life
    /// that began and ended in here vanishes where an earlier end is already pending: the store never held it.
    fn apply(&mut self, held: Held<K>) {
        if self.newest().is_some_and(|newest| is_older(&*held.object, newest)) {
            return;
        }
        match self.here.replace(held) {
            Some(before) => {
                if self.here.as_ref().is_some_and(|now| now.object.uid() != before.object.uid()) {
                    self.gone.get_or_insert((before, Finality::Inferred));
                }
            }
            // It left the selectors and came back: one life, compressed to its first state.
            None => {
                let now = self.here.as_ref().map(|now| now.object.uid());
                if self.gone.as_ref().is_some_and(|(last, _)| Some(last.object.uid()) == now) {
                    self.gone = None;
                }
            }
        }
    }

    fn delete(&mut self, held: Held<K>) {
        if self.newest().is_some_and(|newest| is_older(&*held.object, newest)) {
            return;
        }
        match self.here.take() {
            Some(before) if before.object.uid() == held.object.uid() => {
                self.gone.get_or_insert((held, Finality::Observed));
            }
            Some(before) => {
                self.gone.get_or_insert((before, Finality::Inferred));
            }
            None => match &mut self.gone {
                Some((last, _)) if last.object.uid() == held.object.uid() => *last = held,
                Some(_) => {}
                none => *none = Some((held, Finality::Observed)),
            },
        }
    }

    fn newest(&self) -> Option<&K> {
        self.here.as_ref().or(self.gone.as_ref().map(|(last, _)| last)).map(|held| &*held.object)
    }
}

/// Whether `a` is known to be an older state than `b`; false where the versions can't be compared, since what comes
/// later in a stream is newer.
pub(crate) fn is_older<K: Cached>(a: &K, b: &K) -> bool {
    version::compare(a.version(), b.version()) == Some(Ordering::Less)
}
