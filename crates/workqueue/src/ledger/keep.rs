//! Which keys are remembered, and which count: a key is known from its first add until it is at rest and nothing keeps
//! it any more.

use std::borrow::Cow;

use super::Ledger;
use crate::keys::{Id, KEPT_SLOTS};
use crate::moment::Moment;
use crate::state::Mark;

/// How many expired keys are forgotten in one call; more than one call can bring, so they can't pile up.
const EXPIRED_AT_ONCE: usize = 2;

impl<K> Ledger<K> {
    /// The key's number, which it keeps while it is in the queue or pinned.
    #[inline]
    pub(crate) fn intern(&mut self, hash: u64, key: Cow<'_, K>, now: Moment) -> Id
    where
        K: Clone + Eq,
    {
        self.expire(now);
        self.find(hash, &key).unwrap_or_else(|| self.insert(hash, key))
    }

    /// A number for a key that isn't known.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, key: Cow<'_, K>) -> Id
    where
        K: Clone,
    {
        let id = self.keys.insert(hash, key.into_owned());
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

    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &K) -> Option<Id>
    where
        K: Eq,
    {
        self.keys.find(hash, key)
    }

    pub(crate) fn key(&self, id: Id) -> &K {
        self.keys.key(id)
    }

    /// Counts a key that isn't in the queue yet against the capacity. False: the queue is full.
    #[inline]
    pub(super) fn admit(&mut self, id: Id) -> bool {
        if self.rules.paced {
            self.cooling.order.remove(&mut self.cooling.places, id);
        }
        let Some(capacity) = self.rules.capacity else { return true };
        let record = self.keys.record_mut(id);
        if !record.admitted && self.admitted >= capacity.get() {
            return false;
        }
        self.admitted += usize::from(!std::mem::replace(&mut record.admitted, true));
        true
    }

    /// After every change that may have brought a key to rest: takes it out of the count, and forgets it unless
    /// something keeps it.
    #[inline]
    pub(super) fn settle(&mut self, id: Id, now: Moment) {
        let record = self.keys.record_mut(id);
        if record.mark != Mark::Idle || self.deadlines.is_waiting(id) {
            return;
        }
        self.admitted -= usize::from(std::mem::take(&mut record.admitted));
        if record.failures > 0 {
            self.state.set_failures(record, 0);
        }
        if std::mem::take(&mut record.noted) {
            self.reasons.remove(&id);
        }
        let kept = record.pins > 0 || record.paused;
        if let Some(memo) = self.memos.get_mut(id) {
            (memo.asked, memo.priority, memo.counted, memo.owed) = (i16::MIN, i16::MIN, false, false);
        }
        if !kept && !self.cool(id, now) {
            self.forget(id);
        }
    }

    /// Remembers a key until its minimum interval is over. False: there is nothing to remember.
    #[inline]
    fn cool(&mut self, id: Id, now: Moment) -> bool {
        if !self.rules.paced || self.shut_down {
            return false;
        }
        let until = self.memos.of(id).floor(&self.rules);
        if until > now {
            self.cooling.order.set(&mut self.cooling.places, id, until.nanos());
        }
        until > now
    }

    #[inline]
    pub(super) fn forget(&mut self, id: Id) {
        self.memos.forget(id);
        self.keys.release(id);
        self.until_trim -= 1;
        if self.until_trim == 0 || (self.keys.len() <= self.trim_at && self.keys.slots() > KEPT_SLOTS) {
            self.trim();
        }
    }

    /// Forgets keys that are remembered because of the minimum interval, when that has passed.
    #[inline]
    pub(super) fn expire(&mut self, now: Moment) {
        let most = if self.rules.paced { EXPIRED_AT_ONCE } else { 0 };
        for _ in 0..most {
            let Some((until, id)) = self.cooling.order.first() else { return };
            if until > now.nanos() {
                return;
            }
            self.cooling.order.pop(&mut self.cooling.places);
            self.forget(id);
        }
    }

    /// Gives back the memory that a flood of keys has left behind; a look at the slots for each half of the keys that
    /// goes, or for as many keys as there are half the slots.
    pub(super) fn trim(&mut self) {
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
        self.trim_at = self.keys.len() / 2;
    }
}
