//! Mailbox: the difference between what one handler was told and what is there.
//!
//! In: events in order. Out: the next event to tell. Pure: no lock, no task, no clock.
//! It never holds more keys than the handler was told of plus those that are there.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Arc;

use ahash::RandomState;

use crate::event::{Event, Finality};
use crate::key::ObjectKey;
use crate::object::Cached;
use crate::store::objects::fixed_hasher;

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
    calling: bool,
    retired: bool,
}

struct Waiting<K> {
    place: u64,
    present: Option<Arc<K>>,
    /// How the life that was told has ended.
    end: Option<(Arc<K>, Finality)>,
    initial: bool,
}

impl<K: Cached> Mailbox<K> {
    pub(super) fn new() -> Self {
        Self {
            told: HashMap::with_hasher(fixed_hasher()),
            waiting: HashMap::with_hasher(fixed_hasher()),
            order: BTreeMap::new(),
            next_place: 0,
            snapshot_end: None,
            calling: false,
            retired: false,
        }
    }

    pub(super) fn offer(&mut self, event: Event<K>) {
        if self.retired {
            return;
        }
        let key = ObjectKey::of(&**event.object());
        match event {
            Event::Added { object, initial } => {
                let waiting = self.waiting(&key);
                waiting.present = Some(object);
                waiting.initial = initial;
            }
            Event::Updated { new, .. } => self.waiting(&key).present = Some(new),
            Event::Deleted { last, finality } => match self.told.get(&key) {
                Some(told) => {
                    let is_told = told.uid() == last.uid();
                    let waiting = self.waiting(&key);
                    waiting.present = None;
                    if is_told {
                        waiting.end = Some((last, finality));
                    }
                }
                // Never told of this life, nor of any before it.
                None => {
                    if let Some(waiting) = self.waiting.remove(&key) {
                        self.order.remove(&waiting.place);
                    }
                }
            },
        }
    }

    /// Everything offered so far completes the first snapshot.
    pub(super) fn end_snapshot(&mut self) {
        self.snapshot_end.get_or_insert(self.next_place);
    }

    /// Nothing of the first complete snapshot is waiting or being told.
    pub(super) fn has_finished_snapshot(&self) -> bool {
        let first = self.order.first_key_value().map_or(self.next_place, |(place, _)| *place);
        !self.retired && !self.calling && self.snapshot_end.is_some_and(|end| first >= end)
    }

    /// The next event to tell, from now on counted as told; the call must be followed by [`Mailbox::returned`].
    pub(super) fn next(&mut self) -> Option<Event<K>> {
        while let Some((place, key)) = self.order.pop_first() {
            let waiting = self.waiting.remove(&key).expect("every key in `order` is waiting");
            let event = self.tell(place, key, waiting);
            if event.is_some() {
                self.calling = true;
                return event;
            }
        }
        None
    }

    pub(super) fn returned(&mut self) {
        self.calling = false;
    }

    pub(super) fn is_calling(&self) -> bool {
        self.calling
    }

    pub(super) fn pending(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Takes nothing any more; returns what it held, to be dropped outside the lock.
    pub(super) fn retire(&mut self) -> impl Sized + use<K> {
        self.retired = true;
        self.order.clear();
        (mem::take(&mut self.told), mem::take(&mut self.waiting))
    }

    fn waiting(&mut self, key: &ObjectKey) -> &mut Waiting<K> {
        let place = self.next_place;
        let Self { told, waiting, order, next_place, .. } = self;
        waiting.entry(key.clone()).or_insert_with(|| {
            order.insert(place, key.clone());
            *next_place += 1;
            // What was told is the present, until the event at hand says otherwise.
            Waiting { place, present: told.get(key).cloned(), end: None, initial: false }
        })
    }

    fn tell(&mut self, place: u64, key: ObjectKey, mut waiting: Waiting<K>) -> Option<Event<K>> {
        let Some(told) = self.told.remove(&key) else {
            let object = waiting.present?;
            self.told.insert(key, Arc::clone(&object));
            return Some(Event::Added { object, initial: waiting.initial });
        };
        match &waiting.present {
            Some(new) if new.uid() == told.uid() => {
                let new = Arc::clone(new);
                self.told.insert(key, Arc::clone(&new));
                (!Arc::ptr_eq(&told, &new)).then_some(Event::Updated { old: told, new })
            }
            present => {
                // A state that the next life took the place of, unseen, is the last one known of this life.
                let (last, finality) = waiting.end.take().unwrap_or((told, Finality::Inferred));
                if present.is_some() {
                    self.order.insert(place, key.clone());
                    self.waiting.insert(key, waiting);
                }
                Some(Event::Deleted { last, finality })
            }
        }
    }
}

#[cfg(test)]
mod tests;
