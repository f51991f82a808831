//! Schedule: which key is told again, and when, so that each has its turn once a period and no two need share one.
//!
//! In: the keys a handler was told of, and the time. Out: the next key whose place has come. A key's place in the period
//! is its hash, so n keys are spread evenly: of them, n·dt/period come in dt. There is one place to look at, not a
//! timer a key, and what is held is a key for each that was told.
//!
//! Turns that a slow handler misses are made up for once: it is never more than a period behind. Pure: no lock, no
//! clock.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use crate::key::ObjectKey;

/// A period has so many places; a position is a place and, above it, the number of the round.
const PLACES: u64 = 1 << 32;

pub(super) struct Schedule {
    period: Duration,
    places: BTreeSet<(u32, ObjectKey)>,
    begun: Option<Instant>,
    round: u64,
    /// The last one whose turn it was in this round.
    last: Option<(u32, ObjectKey)>,
    /// Every turn up to this position has been taken or is forgone.
    done: u64,
}

impl Schedule {
    /// `period` is not zero.
    pub(super) fn new(period: Duration) -> Self {
        Self { period, places: BTreeSet::new(), begun: None, round: 0, last: None, done: 0 }
    }

    pub(super) fn insert(&mut self, key: ObjectKey) {
        self.places.insert((place(&key), key));
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        self.places.remove(&(place(key), key.clone()));
    }

    pub(super) fn clear(&mut self) {
        (self.places, self.last) = (BTreeSet::new(), None);
    }

    /// The first period begins, if it has not.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// The next key whose turn has come and that needn't be passed over.
    pub(super) fn next(&mut self, now: Instant, passes: impl Fn(&ObjectKey) -> bool) -> Option<ObjectKey> {
        let present = self.position(now)?;
        self.done = self.done.max(present.saturating_sub(PLACES));
        if self.done / PLACES > self.round {
            (self.round, self.last) = (self.done / PLACES, None);
        }
        loop {
            match self.following() {
                Some(turn) => {
                    let position = self.round * PLACES + u64::from(turn.0);
                    if position > present {
                        break;
                    }
                    let key = turn.1.clone();
                    self.last = Some(turn);
                    if position > self.done && !passes(&key) {
                        return Some(key);
                    }
                }
                None if self.round < present / PLACES => (self.round, self.last) = (self.round + 1, None),
                None => break,
            }
        }
        self.done = present;
        None
    }

    /// When the next turn comes. Only right when [`Schedule::next`] has just said that none has.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let (round, place) = match self.following() {
            Some((place, _)) => (self.round, place),
            None => (self.round + 1, self.places.first()?.0),
        };
        let position = u128::from(round * PLACES + u64::from(place));
        let nanos = position.checked_mul(self.period.as_nanos())?.div_ceil(u128::from(PLACES));
        self.begun?.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }

    fn following(&self) -> Option<(u32, ObjectKey)> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        self.places.range((after, Bound::Unbounded)).next().cloned()
    }

    fn position(&self, now: Instant) -> Option<u64> {
        let nanos = now.saturating_duration_since(self.begun?).as_nanos();
        u64::try_from(nanos.checked_mul(u128::from(PLACES))? / self.period.as_nanos()).ok()
    }
}

/// The same in every run, so that the order of resyncs is a function of what happened.
fn place(key: &ObjectKey) -> u32 {
    (RandomState::with_seed(0x7265_7379).hash_one(key) >> 32) as u32
}

#[cfg(test)]
mod tests;
