//! What every call means for a key: the queue's rules in one place, without locks, tasks or a clock.
//!
//! In: adds, takes and outcomes, with `now`. Out: keys to work on, and how many waiting workers have something to come
//! for. It joins the interned keys, their marks and their deadlines, and keeps three invariants: a key that will be
//! handed out anyway has no deadline; a key that is at rest without a deadline doesn't count against the capacity;
//! and it is forgotten unless something keeps it: a [`KeyId`](crate::KeyId), a pause, or the minimum interval.
//!
//! Where no rule and no sight needs the time, `now` is [`Moment::START`] except for takes while keys wait.

use std::collections::HashMap;

use crate::answer::Added;
use crate::delay::{Deadlines, Scheduled};
use crate::keys::{Hasher, Id, KEPT_SLOTS, Keys};
use crate::metrics::Snapshot;
use crate::moment::Moment;
use crate::mutant::{Mutant, is_planted};
use crate::order::{Order, Places};
use crate::policy::{Memos, Reason, Reasons, Rules};
use crate::state::{Mark, State};

mod inspect;
mod outcome;
mod pause;

pub(crate) use outcome::{Finished, Outcome};

/// How many overdue keys become ready in one call, so that the lock is held for a bounded time.
const DUE_AT_ONCE: usize = 1024;

/// How many expired keys are forgotten in one call; more than one call can bring, so they can't pile up.
const EXPIRED_AT_ONCE: usize = 2;

/// What is wanted of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) flow: u64,
    /// None: as soon as possible.
    pub(crate) due: Option<Moment>,
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
    /// Keys out of the queue that are remembered because of the minimum interval, by when that ends.
    cooling: Shelf,
    busy: usize,
    paused: bool,
    shut_down: bool,
    retries: u64,
    given_up: u64,
    until_trim: usize,
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
            cooling: Shelf::default(),
            busy: 0,
            paused: false,
            shut_down: false,
            retries: 0,
            given_up: 0,
            until_trim: KEPT_SLOTS,
        }
    }

    /// The key is to be worked on.
    pub(crate) fn add(&mut self, hash: u64, key: K, wanted: Wanted, now: Moment) -> Added
    where
        K: Eq,
    {
        if self.shut_down {
            return Added::Refused;
        }
        let id = self.intern(hash, key, now);
        self.add_id(id, wanted, now)
    }

    /// The same for a known key.
    pub(crate) fn add_id(&mut self, id: Id, wanted: Wanted, now: Moment) -> Added {
        if self.shut_down {
            return Added::Refused;
        }
        if !self.admit(id) {
            self.settle(id, now);
            return Added::Full;
        }
        let Wanted { flow, due, priority, reason } = wanted;
        self.note(id, reason);
        if let Some(memo) = self.memos.get_mut(id) {
            memo.flow = flow;
            if priority > memo.asked {
                memo.asked = priority;
                if self.rules.step > 0 && self.keys.record(id).mark == Mark::Ready {
                    self.state.reorder(id, self.memos.standing(id));
                }
            }
        }
        match due {
            None => self.want_soon(id, now),
            Some(due) => self.want_at(id, due),
        }
    }

    /// A failure from outside of any worker: counts, and the key is to be worked on when this is due.
    pub(crate) fn add_failed(&mut self, hash: u64, key: K, failures: u32, wanted: Wanted, now: Moment) -> Added
    where
        K: Eq,
    {
        if self.shut_down {
            return Added::Refused;
        }
        let id = self.intern(hash, key, now);
        let added = self.add_id(id, wanted, now);
        if added.is_accepted() {
            self.set_failures(id, failures);
            self.retries += 1;
        }
        added
    }

    /// Withdraws the key's deadline. False: it had none.
    pub(crate) fn withdraw(&mut self, id: Id, now: Moment) -> bool {
        let withdrawn = self.deadlines.cancel(id);
        if withdrawn {
            self.end_burst(id);
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

    pub(crate) fn find(&self, hash: u64, key: &K) -> Option<Id>
    where
        K: Eq,
    {
        self.keys.find(hash, key)
    }

    /// The key's number, which it keeps while it is in the queue or pinned.
    pub(crate) fn intern(&mut self, hash: u64, key: K, now: Moment) -> Id
    where
        K: Eq,
    {
        self.expire(now);
        let id = self.keys.intern(hash, key);
        if self.memos.lack(id) {
            self.memos.resize(self.keys.slots());
        }
        id
    }

    /// Keeps the key's number.
    pub(crate) fn pin(&mut self, id: Id) {
        let pins = &mut self.keys.record_mut(id).pins;
        *pins = pins.checked_add(1).expect("2^32 handles don't fit in memory");
        self.cooling.order.remove(&mut self.cooling.places, id);
    }

    pub(crate) fn unpin(&mut self, id: Id, now: Moment) {
        self.keys.record_mut(id).pins -= 1;
        self.settle(id, now);
    }

    pub(crate) fn key(&self, id: Id) -> &K {
        self.keys.key(id)
    }

    /// When the time is next of importance. None: `now` doesn't matter to [`Ledger::take`].
    pub(crate) fn earliest(&self) -> Option<Moment> {
        if self.paused { None } else { self.deadlines.earliest() }
    }

    /// Hands out the next key. Keys whose deadline has come become ready first.
    pub(crate) fn take(&mut self, now: Moment) -> Taken<K>
    where
        K: Clone,
    {
        if self.paused {
            return Taken::Nothing;
        }
        self.wake_due(now);
        let Some(id) = self.state.pop() else { return if self.is_over() { Taken::Over } else { Taken::Nothing } };
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
        Taken::Key(HandOut { id, key: self.keys.key(id).clone(), failures, reasons, since, now })
    }

    /// Refuses further adds and drops the keys that wait for a deadline or for the end of a pause; ready ones are
    /// still handed out, unless the queue is paused.
    pub(crate) fn shut_down(&mut self, now: Moment) {
        self.shut_down = true;
        while let Some(id) = self.deadlines.pop_any() {
            self.settle(id, now);
        }
        if self.state.held > 0 {
            self.unqueue(|mark| mark == Mark::Held, now);
        }
        while let Some(id) = self.cooling.order.pop(&mut self.cooling.places) {
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
        self.unqueue(|mark| matches!(mark, Mark::Ready | Mark::Dirty), now);
    }

    /// No key is ready and none is in flight.
    pub(crate) fn is_drained(&self) -> bool {
        self.state.ready() == 0 && self.state.in_flight == 0
    }

    /// How many calls of [`Ledger::take`] would not return [`Taken::Nothing`] now.
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
    fn is_over(&self) -> bool {
        self.shut_down && self.state.ready() == 0 && self.state.dirty == 0
    }

    /// Counts a key that isn't in the queue yet against the capacity. False: the queue is full.
    fn admit(&mut self, id: Id) -> bool {
        let record = self.keys.record_mut(id);
        if record.busy {
            return true;
        }
        if self.rules.capacity.is_some_and(|capacity| self.busy >= capacity.get()) {
            return false;
        }
        record.busy = true;
        self.busy += 1;
        if !self.cooling.order.is_empty() {
            self.cooling.order.remove(&mut self.cooling.places, id);
        }
        true
    }

    fn note(&mut self, id: Id, reason: Option<Reason>) {
        let Some(reason) = reason.filter(|_| self.rules.reasons > 0) else { return };
        self.keys.record_mut(id).noted = true;
        self.reasons.entry(id).or_default().note(reason, self.rules.reasons);
    }

    /// As soon as possible, or when a debounced burst of adds has ended.
    fn want_soon(&mut self, id: Id, now: Moment) -> Added {
        self.revive(id);
        let mark = self.keys.record(id).mark;
        if let (Some(debounce), Mark::Resting | Mark::Processing) = (self.rules.debounce, mark)
            && let Some(memo) = self.memos.get_mut(id)
        {
            let burst = *memo.burst.get_or_insert(now);
            let due = now.after(debounce.quiet).min(burst.after(debounce.longest)).min(memo.delayed);
            if due > now {
                let sooner = self.deadlines.due(id).is_none_or(|before| due < before);
                self.deadlines.move_to(id, due);
                return match mark {
                    Mark::Processing => Added::WillRerun,
                    _ if sooner => Added::Queued,
                    _ => Added::AlreadyQueued,
                };
            }
        }
        self.make_ready(id, now)
    }

    /// When this is due, or earlier if something else asks for it.
    fn want_at(&mut self, id: Id, due: Moment) -> Added {
        self.revive(id);
        match self.keys.record(id).mark {
            Mark::Ready | Mark::Held | Mark::Exhausted => Added::AlreadyQueued,
            Mark::Dirty => Added::WillRerun,
            Mark::Processing => {
                self.delay(id, due);
                Added::WillRerun
            }
            Mark::Resting => match self.delay(id, due) {
                Scheduled::New | Scheduled::Earlier => Added::Queued,
                Scheduled::Kept => Added::AlreadyQueued,
            },
        }
    }

    fn delay(&mut self, id: Id, due: Moment) -> Scheduled {
        if let Some(memo) = self.memos.get_mut(id) {
            memo.delayed = memo.delayed.min(due);
        }
        self.deadlines.schedule(id, due)
    }

    fn make_ready(&mut self, id: Id, now: Moment) -> Added {
        match self.keys.record(id).mark {
            Mark::Ready | Mark::Held | Mark::Exhausted => return Added::AlreadyQueued,
            Mark::Dirty => return Added::WillRerun,
            Mark::Resting | Mark::Processing => {}
        }
        if let Some(answer) = self.hold_back(id, now) {
            return answer;
        }
        self.deadlines.cancel(id);
        self.end_burst(id);
        self.state.adds += 1;
        if let Some(memo) = self.memos.get_mut(id) {
            memo.since = now;
        }
        let record = self.keys.record_mut(id);
        if record.mark == Mark::Processing {
            if !is_planted(Mutant::LostReAdd) {
                self.state.soil(record);
            }
            return Added::WillRerun;
        }
        self.state.enqueue(id, record, self.memos.standing(id));
        Added::Queued
    }

    /// A resting key that comes too early after its last hand-out waits until the minimum interval is over.
    fn hold_back(&mut self, id: Id, now: Moment) -> Option<Added> {
        if self.rules.min_interval.is_zero() || self.shut_down || self.keys.record(id).mark != Mark::Resting {
            return None;
        }
        let floor = self.memos.of(id).floor(&self.rules);
        if floor <= now {
            return None;
        }
        self.end_burst(id);
        Some(match self.delay(id, floor) {
            Scheduled::New | Scheduled::Earlier => Added::Queued,
            Scheduled::Kept => Added::AlreadyQueued,
        })
    }

    /// A key that was asked for while it couldn't be handed out can be now. No further add, so not counted as one.
    fn make_ready_again(&mut self, id: Id, now: Moment) {
        if self.hold_back(id, now).is_none() {
            self.state.enqueue(id, self.keys.record_mut(id), self.memos.standing(id));
        }
    }

    fn wake_due(&mut self, now: Moment) {
        for _ in 0..DUE_AT_ONCE {
            let Some(id) = self.deadlines.pop_due(now) else { break };
            self.end_burst(id);
            self.make_ready(id, now);
        }
    }

    /// The adds and delays so far are answered.
    fn end_burst(&mut self, id: Id) {
        if let Some(memo) = self.memos.get_mut(id) {
            memo.burst = None;
            memo.delayed = Moment::NEVER;
        }
    }

    /// Drops all keys with such a mark.
    fn unqueue(&mut self, which: impl Fn(Mark) -> bool, now: Moment) {
        let ids: Vec<Id> = self.keys.live().filter(|(_, _, record)| which(record.mark)).map(|(id, ..)| id).collect();
        for id in ids {
            self.state.unqueue(id, self.keys.record_mut(id), self.memos.standing(id));
            self.settle(id, now);
        }
    }

    /// After every change that may have brought a key to rest: takes it out of the count, and forgets it unless
    /// something keeps it.
    fn settle(&mut self, id: Id, now: Moment) {
        let record = self.keys.record_mut(id);
        if record.mark != Mark::Resting || self.deadlines.is_waiting(id) {
            return;
        }
        self.busy -= usize::from(std::mem::take(&mut record.busy));
        self.state.set_failures(record, 0);
        if std::mem::take(&mut record.noted) {
            self.reasons.remove(&id);
        }
        let kept = record.pins > 0 || record.paused;
        if let Some(memo) = self.memos.get_mut(id) {
            (memo.asked, memo.priority) = (i16::MIN, i16::MIN);
        }
        if kept {
            return;
        }
        let cool = self.memos.of(id).floor(&self.rules);
        if cool > now && !self.shut_down {
            self.cooling.order.set(&mut self.cooling.places, id, cool.nanos());
        } else {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: Id) {
        self.memos.forget(id);
        self.keys.release(id);
        self.until_trim -= 1;
        if self.until_trim == 0 || self.keys.len() == 0 {
            self.trim();
        }
    }

    /// Forgets keys that are remembered because of the minimum interval, when that has passed.
    fn expire(&mut self, now: Moment) {
        for _ in 0..EXPIRED_AT_ONCE {
            let Some((until, id)) = self.cooling.order.first() else { return };
            if until > now.nanos() {
                return;
            }
            self.cooling.order.pop(&mut self.cooling.places);
            self.forget(id);
        }
    }

    /// Gives back the memory that a flood of keys has left behind.
    fn trim(&mut self) {
        if self.keys.trim() {
            let slots = self.keys.slots();
            self.memos.resize(slots);
            self.deadlines.trim(slots);
            self.state.trim(slots);
            for shelf in [&mut self.exhausted, &mut self.cooling] {
                shelf.order.trim();
                shelf.places.trim(slots);
            }
            self.reasons.shrink_to_fit();
        }
        self.until_trim = KEPT_SLOTS.max(self.keys.slots() / 2);
    }
}
