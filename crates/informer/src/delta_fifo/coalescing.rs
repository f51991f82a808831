//! Coalescing: how the deltas of one key are put together while the store is busy.
//!
//! In: deltas in order of arrival. Out: of each key at most the end of one life and the present state of the next. It never
//! keeps a state that is known to be older than what it has, and never forgets the end of a life the store may hold.
//!
//! Upstream counterpart: `DeltaFIFO` in client-go's tools/cache, which keeps all deltas of a key together.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{Change, Delta, DeltaQueue};
use crate::event::Finality;
use crate::key::ObjectKey;
use crate::object::Cached;
use crate::version;

/// Keeps of each key what the store needs to know. Its length is bounded by how many objects there are, not by how often they
/// change.
pub struct Coalescing<K> {
    /// In order of arrival of the keys.
    pending: Vec<Pending<K>>,
    places: HashMap<ObjectKey, usize, ahash::RandomState>,
    bytes: usize,
    coalesced: u64,
}

impl<K> Default for Coalescing<K> {
    fn default() -> Self {
        Self { pending: Vec::new(), places: HashMap::default(), bytes: 0, coalesced: 0 }
    }
}

impl<K: Cached> DeltaQueue<K> for Coalescing<K> {
    fn push(&mut self, delta: Delta<K>, bytes: usize) {
        let (Delta::Applied(object) | Delta::Deleted(object)) = &delta;
        match self.places.entry(ObjectKey::of(&**object)) {
            Entry::Occupied(place) => {
                let pending = &mut self.pending[*place.get()];
                let before = (pending.len(), pending.bytes());
                pending.merge(delta, bytes);
                self.coalesced += (before.0 + 1 - pending.len()) as u64;
                self.bytes = self.bytes - before.1 + pending.bytes();
            }
            Entry::Vacant(place) => {
                place.insert(self.pending.len());
                self.pending.push(Pending::new(delta, bytes));
                self.bytes += bytes;
            }
        }
    }

    fn drain(&mut self) -> Vec<Change<K>> {
        self.places.clear();
        self.bytes = 0;
        let pending = std::mem::take(&mut self.pending);
        let mut changes = Vec::with_capacity(pending.len());
        for Pending { gone, here } in pending {
            changes.extend(gone.map(|(last, finality)| Change::Deleted { last: last.object, finality }));
            changes.extend(here.map(|here| Change::Applied(here.object)));
        }
        changes
    }

    fn len(&self) -> usize {
        self.pending.len()
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
    gone: Option<(Held<K>, Finality)>,
    here: Option<Held<K>>,
}

impl<K> Pending<K> {
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
            Delta::Applied(object) => Self { gone: None, here: Some(Held { object, bytes }) },
            Delta::Deleted(object) => Self { gone: Some((Held { object, bytes }, Finality::Observed)), here: None },
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
            // It left the selectors and came back: one life, compressed to its latest state.
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
