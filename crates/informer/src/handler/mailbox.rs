//! Mailbox: the difference between what one handler was told and what is there.
//!
//! In: events in order, and the time. Out: the next event to tell. Pure: no lock, no task, no clock, and nothing of an
//! object is dropped in here. It never holds more keys than the handler was told of plus those that are there.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use crate::event::{Event, Finality};
use crate::key::ObjectKey;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;
use crate::store::fingerprint::seeded;

use super::resync::Schedule;

/// While there is always something to tell, every so many events a resync has its turn. So it neither starves nor takes
/// more than a share of a handler that can't keep up.
const EVENTS_BETWEEN_RESYNCS: u32 = 8;

pub(super) struct Mailbox<K> {
    /// The state of each object the handler last heard of.
    told: HashMap<ObjectKey, Arc<K>, RandomState>,
    /// Keys whose present isn't what was told.
    waiting: HashMap<ObjectKey, Waiting<K>, RandomState>,
    /// `waiting` in order of arrival: a key keeps its place while it waits.
    order: BTreeMap<u64, ObjectKey>,
    next_place: u64,
    /// The first complete snapshot lies before this place.
    snapshot_end: Option<u64>,
    synced: bool,
    /// When what is `told` is told again.
    resyncs: Option<Schedule>,
    events_since_resync: u32,
    calls: u64,
    calling_since: Option<Instant>,
    retired: bool,
    /// Objects that are nobody's business any more, to be dropped outside the lock.
    freed: Vec<Arc<K>>,
}

struct Waiting<K> {
    place: u64,
    since: Instant,
    present: Option<Arc<K>>,
    /// How the life that was told has ended.
    end: Option<(Arc<K>, Finality)>,
    initial: bool,
}

impl<K: Cached> Mailbox<K> {
    /// `resync`: everything is told again once in such a period, which is not zero.
    pub(super) fn new(resync: Option<Duration>) -> Self {
        Self {
            told: HashMap::with_hasher(seeded()),
            waiting: HashMap::with_hasher(seeded()),
            order: BTreeMap::new(),
            next_place: 0,
            snapshot_end: None,
            synced: false,
            resyncs: resync.map(Schedule::new),
            events_since_resync: 0,
            calls: 0,
            calling_since: None,
            retired: false,
            freed: Vec::new(),
        }
    }

    /// Takes up what the store says of `key`.
    pub(super) fn offer(&mut self, key: &ObjectKey, event: &Event<K>, now: Instant) {
        if self.retired {
            return;
        }
        match event {
            Event::Added { object, initial } => {
                self.wait(key, Some(object), now).initial = *initial;
            }
            Event::Updated { new, .. } => {
                self.wait(key, Some(new), now);
            }
            Event::Deleted { last, finality } => match self.told.get(key).map(|told| told.uid() == last.uid()) {
                Some(is_told) => {
                    let waiting = self.wait(key, None, now);
                    let end = is_told.then(|| waiting.end.replace((Arc::clone(last), *finality))).flatten();
                    self.freed.extend(end.map(|(last, _)| last));
                }
                // Never told of this life, nor of any before it.
                None => {
                    if let Some(waiting) = self.waiting.remove(key) {
                        self.order.remove(&waiting.place);
                        self.freed.extend(waiting.present);
                    }
                }
            },
            // No store says so: it is between a mailbox and its handler.
            Event::Resync { .. } => {}
        }
    }

    /// Everything offered so far completes the first snapshot.
    pub(super) fn end_snapshot(&mut self) {
        self.snapshot_end.get_or_insert(self.next_place);
    }

    /// Nothing of the first complete snapshot is waiting or being told.
    pub(super) fn has_finished_snapshot(&self) -> bool {
        let first = self.order.first_key_value().map_or(self.next_place, |(place, _)| *place);
        let is_told = self.snapshot_end.is_some_and(|end| first >= end);
        is_told && !self.retired && (self.calling_since.is_none() || is_planted(Mutant::EarlySync))
    }

    /// Whether [`Mailbox::has_finished_snapshot`] holds for the first time.
    pub(super) fn newly_synced(&mut self) -> bool {
        let newly = !self.synced && self.has_finished_snapshot();
        self.synced |= newly;
        newly
    }

    /// The next event to tell, from now on counted as told; the call must be followed by [`Mailbox::returned`].
    pub(super) fn next(&mut self, now: Instant) -> Option<Event<K>> {
        let event = if self.events_since_resync < EVENTS_BETWEEN_RESYNCS {
            self.difference().or_else(|| self.resync(now))
        } else {
            self.resync(now).or_else(|| self.difference())
        }?;
        self.events_since_resync = match event {
            Event::Resync { .. } => 0,
            _ => self.events_since_resync.saturating_add(1),
        };
        self.calls += 1;
        self.calling_since = Some(now);
        Some(event)
    }

    /// When a resync is due, if nothing is now.
    pub(super) fn next_resync(&self) -> Option<Instant> {
        self.resyncs.as_ref()?.next_at()
    }

    pub(super) fn returned(&mut self) {
        self.calling_since = None;
    }

    pub(super) fn calling_since(&self) -> Option<Instant> {
        self.calling_since
    }

    /// How many events were told.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn pending(&self) -> usize {
        self.order.len()
    }

    /// Since when the first of them has been waiting.
    pub(super) fn pending_since(&self) -> Option<Instant> {
        let (_, key) = self.order.first_key_value()?;
        self.waiting.get(key).map(|waiting| waiting.since)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Takes nothing any more; returns what it held, to be dropped outside the lock.
    pub(super) fn retire(&mut self) -> impl Sized + use<K> {
        self.retired = true;
        self.order.clear();
        if let Some(resyncs) = &mut self.resyncs {
            resyncs.clear();
        }
        (mem::take(&mut self.told), mem::take(&mut self.waiting), self.freed())
    }

    /// What was let go since the last time, to be dropped outside the lock.
    pub(super) fn freed(&mut self) -> Vec<Arc<K>> {
        mem::take(&mut self.freed)
    }

    /// The key waits, in the place it has or the last one; `present` is what there is of it now.
    fn wait(&mut self, key: &ObjectKey, present: Option<&Arc<K>>, now: Instant) -> &mut Waiting<K> {
        let Self { told, waiting, order, next_place, freed, .. } = self;
        if !waiting.contains_key(key) {
            // One text a key, however often it comes and goes.
            let key = told.get_key_value(key).map_or(key, |(key, _)| key);
            order.insert(*next_place, key.clone());
            let new = Waiting { place: *next_place, since: now, present: None, end: None, initial: false };
            waiting.insert(key.clone(), new);
            *next_place += 1;
        }
        let waiting = waiting.get_mut(key).expect("it waits");
        freed.extend(mem::replace(&mut waiting.present, present.map(Arc::clone)));
        waiting
    }

    /// What is first in order; what turns out to be no difference is passed over.
    fn difference(&mut self) -> Option<Event<K>> {
        while let Some((place, key)) = self.order.pop_first() {
            let waiting = self.waiting.remove(&key).expect("every key in `order` is waiting");
            let event = self.tell(place, key, waiting);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn tell(&mut self, place: u64, key: ObjectKey, mut waiting: Waiting<K>) -> Option<Event<K>> {
        match self.told.entry(key) {
            Entry::Vacant(vacant) => {
                let object = waiting.present?;
                if let Some(resyncs) = &mut self.resyncs {
                    resyncs.insert(vacant.key().clone());
                }
                vacant.insert(Arc::clone(&object));
                Some(Event::Added { object, initial: waiting.initial })
            }
            Entry::Occupied(mut told) => match &waiting.present {
                Some(new) if new.uid() == told.get().uid() => {
                    let new = Arc::clone(new);
                    let old = told.insert(Arc::clone(&new));
                    self.freed.extend(waiting.end.map(|(last, _)| last));
                    (!Arc::ptr_eq(&old, &new)).then_some(Event::Updated { old, new })
                }
                present => {
                    let (key, told) = told.remove_entry();
                    if let Some(resyncs) = &mut self.resyncs {
                        resyncs.remove(&key);
                    }
                    let (last, finality) = match waiting.end.take() {
                        Some(end) => {
                            self.freed.push(told);
                            end
                        }
                        // A state that the next life took the place of, unseen, is the last one known of this life.
                        None => (told, Finality::Inferred),
                    };
                    if present.is_some() {
                        self.order.insert(place, key.clone());
                        self.waiting.insert(key, waiting);
                    }
                    Some(Event::Deleted { last, finality })
                }
            },
        }
    }

    /// What the handler knows already and what is still so. Not before it has finished the first snapshot.
    fn resync(&mut self, now: Instant) -> Option<Event<K>> {
        if self.resyncs.is_none() || !self.has_finished_snapshot() {
            return None;
        }
        let (resyncs, waiting) = (self.resyncs.as_mut()?, &self.waiting);
        resyncs.begin(now);
        // Of what has something pending, that is told.
        let key = resyncs.next(now, |key| waiting.contains_key(key))?;
        self.told.get(&key).map(|object| Event::Resync { object: Arc::clone(object) })
    }
}

#[cfg(test)]
mod tests;
