//! What every call means for a key: the queue's rules in one place, without locks, tasks or a clock.
//!
//! In: adds, takes and outcomes, with `now`. Out: keys to work on, and how many waiting workers have something to come
//! for. It joins the interned keys, their marks and their deadlines, and keeps three invariants: a key that will be
//! handed out anyway has no deadline; a key that is at rest without a deadline doesn't count against the capacity;
//! and it is forgotten unless something keeps it: a [`KeyId`](crate::KeyId), a pause, or the minimum interval.
//!
//! Where no rule and no sight needs the time, no key waits for it and the call doesn't ask for a delay, `now` is
//! [`Moment::START`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use crate::answer::Added;
use crate::delay::Deadlines;
use crate::keys::{Hasher, Id, KEPT_SLOTS, Keys};
use crate::metrics::Snapshot;
use crate::moment::Moment;
use crate::mutant::{Mutant, is_planted};
use crate::order::{Order, Places};
use crate::policy::{Memos, Reason, Reasons, Rules};
use crate::state::{Mark, State};

mod inspect;
mod keep;
mod outcome;
mod pause;
mod ready;

pub(crate) use outcome::{Finished, Outcome};

/// What is wanted of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) flow: u64,
    /// Not before this much later; zero: as soon as possible.
    pub(crate) after: Duration,
    pub(crate) priority: i16,
    pub(crate) reason: Option<Reason>,
}

/// What a worker that asks for a key gets.
pub(crate) enum Taken<K> {
    Key(HandOut<K>),
    /// Nothing is ready.
    Nothing,
    /// Nothing is ready and nothing ever will be.
    Over,
}

/// A key in the hands of a worker.
pub(crate) struct HandOut<K> {
    pub(crate) id: Id,
    pub(crate) key: K,
    pub(crate) failures: u32,
    pub(crate) reasons: Option<Box<Reasons>>,
    /// When it became ready.
    pub(crate) since: Moment,
    /// When it was handed out.
    pub(crate) now: Moment,
}

/// Ids that are kept for a while without being in the queue, by when that ends, or since when.
#[derive(Default)]
struct Shelf {
    order: Order,
    places: Places,
}

impl Shelf {
    /// Takes everything; says what, in no order.
    fn clear(&mut self) -> Vec<Id> {
        let ids = self.order.ids().map(|(_, id)| id).collect();
        *self = Self::default();
        ids
    }
}

/// All keys of a queue.
pub(crate) struct Ledger<K> {
    rules: Rules,
    keys: Keys<K>,
    state: State,
    deadlines: Deadlines,
    memos: Memos,
    reasons: HashMap<Id, Box<Reasons>, Hasher>,
    /// Exhausted keys, by when they came to rest.
    exhausted: Shelf,
    last_exhausted: Moment,
    /// Keys out of the queue that are remembered because of the minimum interval, by when that ends.
    cooling: Shelf,
    /// Keys that count against the capacity, if there is one.
    admitted: usize,
    paused: bool,
    paused_keys: usize,
    shut_down: bool,
    retries: u64,
    given_up: u64,
    /// How many keys are forgotten before the next look for unused memory, and at how many live ones it comes anyway.
    until_trim: usize,
    trim_at: usize,
}

impl<K> Ledger<K> {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            keys: Keys::new(),
            state: State::new(rules.ranked),
            deadlines: Deadlines::default(),
            memos: Memos::new(rules),
            reasons: HashMap::default(),
            exhausted: Shelf::default(),
            last_exhausted: Moment::START,
            cooling: Shelf::default(),
            admitted: 0,
            paused: false,
            paused_keys: 0,
            shut_down: false,
            retries: 0,
            given_up: 0,
            until_trim: KEPT_SLOTS,
            trim_at: 0,
        }
    }

    /// What an add without a wish is answered where it changes nothing at all, which is the case for most of them. It
    /// doesn't matter here what time it is.
    #[inline]
    pub(crate) fn absorb(&self, id: Id) -> Option<Added> {
        if self.shut_down || self.rules.ranked {
            return None;
        }
        match self.keys.record(id).mark {
            Mark::Ready | Mark::Held => Some(Added::AlreadyQueued),
            Mark::Dirty => Some(Added::WillRerun),
            Mark::Idle | Mark::Processing | Mark::Exhausted => None,
        }
    }

    /// The key, which has been looked up, is to be worked on.
    #[inline]
    pub(crate) fn add(&mut self, known: Option<Id>, hash: u64, key: Cow<'_, K>, wanted: Wanted, now: Moment) -> Added
    where
        K: Clone,
    {
        if self.shut_down {
            return Added::Refused;
        }
        let id = known.unwrap_or_else(|| self.insert(hash, key));
        let added = self.add_id(id, wanted, now);
        self.expire(now);
        added
    }

    /// The same for a known key.
    #[inline]
    pub(crate) fn add_id(&mut self, id: Id, wanted: Wanted, now: Moment) -> Added {
        if self.shut_down {
            return Added::Refused;
        }
        if !self.admit(id) {
            self.settle(id, now);
            return Added::Full;
        }
        let Wanted { flow, after, priority, reason } = wanted;
        self.note(id, reason);
        if let Some(memo) = self.memos.get_mut(id) {
            // In a lane, the key stays where it is.
            if self.keys.record(id).mark != Mark::Ready {
                memo.flow = flow;
            }
            if priority > memo.asked {
                memo.asked = priority;
                if self.rules.step > 0 && self.keys.record(id).mark == Mark::Ready {
                    self.state.reorder(id, self.memos.standing(id));
                }
            }
        }
        if after.is_zero() { self.want_soon(id, now) } else { self.want_at(id, now.after(after)) }
    }

    /// How many failures in a row the key would have with one more.
    pub(crate) fn next_failure(&self, id: Id) -> u32 {
        let record = self.keys.record(id);
        if record.mark == Mark::Exhausted { 1 } else { record.failures.saturating_add(1) }
    }

    /// A failure from outside of any worker: the key is to be worked on when this is due. For a key in flight it isn't
    /// counted, since its worker's outcome decides.
    pub(crate) fn add_failed(&mut self, id: Id, wanted: Wanted, now: Moment) -> Added {
        let added = self.add_id(id, wanted, now);
        if added.is_accepted() {
            self.retries += 1;
            if !self.keys.record(id).mark.is_in_flight() {
                self.set_failures(id, self.failures(id).saturating_add(1));
            }
        }
        added
    }

    /// Withdraws the key's deadline. False: it had none.
    pub(crate) fn withdraw(&mut self, id: Id, now: Moment) -> bool {
        let withdrawn = self.deadlines.cancel(id);
        if withdrawn {
            self.end_burst(id);
            if let Some(memo) = self.memos.get_mut(id) {
                memo.owed = false;
            }
            self.settle(id, now);
        }
        withdrawn
    }

    pub(crate) fn failures(&self, id: Id) -> u32 {
        self.keys.record(id).failures
    }

    pub(crate) fn set_failures(&mut self, id: Id, failures: u32) {
        self.state.set_failures(self.keys.record_mut(id), failures);
    }

    /// Some key waits for its time.
    #[inline]
    pub(crate) fn has_deadlines(&self) -> bool {
        self.deadlines.len() > 0
    }

    /// When the time is next of importance.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<Moment> {
        if self.paused { None } else { self.deadlines.earliest() }
    }

    /// Hands out the next key.
    #[inline]
    pub(crate) fn take(&mut self, now: Moment) -> Taken<K>
    where
        K: Clone,
    {
        if self.paused {
            return Taken::Nothing;
        }
        let Some(id) = self.state.first() else { return if self.is_over() { Taken::Over } else { Taken::Nothing } };
        // First of all, since it is foreign code: should it panic, nothing has happened yet.
        let key = self.keys.key(id).clone();
        let record = self.keys.record_mut(id);
        self.state.start(record);
        let failures = record.failures;
        if is_planted(Mutant::DoubleHandOut) {
            self.state.put_back(id);
        }
        let reasons = if std::mem::take(&mut record.noted) { self.reasons.remove(&id) } else { None };
        let mut since = now;
        if let Some(memo) = self.memos.get_mut(id) {
            since = memo.since;
            memo.started = self.rules.timed.then_some(now);
            memo.priority = std::mem::replace(&mut memo.asked, i16::MIN);
        }
        Taken::Key(HandOut { id, key, failures, reasons, since, now })
    }

    /// Refuses further adds and drops the keys that wait for a deadline or for the end of a pause; ready ones are
    /// still handed out, unless the queue is paused, and so are those that only a rule has kept from being ready.
    pub(crate) fn shut_down(&mut self, now: Moment) {
        self.shut_down = true;
        let waiting = self.deadlines.iter().map(|(_, id)| id);
        let dropped: Vec<Id> = waiting.filter(|id| !self.memos.of(*id).owed).collect();
        for id in dropped {
            self.deadlines.cancel(id);
            self.settle(id, now);
        }
        while let Some((_, id)) = self.deadlines.pop_due(Moment::NEVER, &mut { usize::MAX }) {
            self.make_ready(id, now);
        }
        self.deadlines = Deadlines::default();
        if self.paused_keys > 0 {
            self.unpause_all(now);
        }
        for id in self.cooling.clear() {
            self.forget(id);
        }
        if self.paused {
            self.discard(now);
        }
    }

    /// Shuts down and drops the ready keys, too. What is in flight finishes, but isn't handed out again.
    pub(crate) fn discard(&mut self, now: Moment) {
        self.paused = false;
        self.shut_down(now);
        self.state.clear_lanes();
        self.unqueue(|mark| matches!(mark, Mark::Ready | Mark::Dirty), now);
    }

    /// No key is ready and none is in flight.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.state.ready() == 0 && self.state.in_flight == 0
    }

    /// How many calls of [`Ledger::take`] would not return [`Taken::Nothing`] now.
    #[inline]
    pub(crate) fn demand(&self) -> usize {
        if self.paused {
            0
        } else if self.is_over() {
            usize::MAX
        } else {
            self.state.ready()
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            ready: self.state.ready(),
            waiting: self.deadlines.len(),
            in_flight: self.state.in_flight,
            held: self.state.held,
            exhausted: self.exhausted.order.len(),
            failing: self.state.failing,
            paused: self.paused,
            shut_down: self.shut_down,
            adds: self.state.adds,
            retries: self.retries,
            given_up: self.given_up,
        }
    }

    /// A key in flight that was added again will be ready once more, so the end is only reached after it.
    #[inline]
    fn is_over(&self) -> bool {
        self.shut_down && self.state.ready() == 0 && self.state.dirty == 0
    }

    #[inline]
    fn note(&mut self, id: Id, reason: Option<Reason>) {
        let Some(reason) = reason.filter(|_| self.rules.reasons > 0) else { return };
        self.keys.record_mut(id).noted = true;
        self.reasons.entry(id).or_default().note(reason, self.rules.reasons);
    }

    /// Drops all keys with such a mark.
    fn unqueue(&mut self, which: impl Fn(Mark) -> bool, now: Moment) {
        let ids: Vec<Id> = self.keys.live().filter(|(_, _, record)| which(record.mark)).map(|(id, ..)| id).collect();
        for id in ids {
            self.state.unqueue(id, self.keys.record_mut(id), self.memos.standing(id));
            self.settle(id, now);
        }
    }
}
