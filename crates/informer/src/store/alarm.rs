//! Alarm: says once that the store holds more than it was meant to, and which objects are the largest.
//!
//! In: how much is held after each batch. Out: a line in the log when the budget is exceeded, and one when it is kept again.
//! It never lets go of an object: a cache without some of its objects would lie. What can be done about it is to keep less of each
//! object ([`shape`](crate::shape)) or fewer of them ([`Scope`](crate::Scope)).

use super::ThreadSafeStore;
use crate::object::Cached;

/// So many objects are named.
const NAMED: usize = 3;

/// The budget is kept again when no more of it is used than this: between the two it would speak at each batch otherwise.
const QUIET_AT_PERCENT: u64 = 95;

#[derive(Debug, Default)]
pub(super) struct Alarm {
    rung: bool,
}

impl Alarm {
    pub(super) fn check<K: Cached>(&mut self, store: &ThreadSafeStore<K>) {
        let (bytes, Some(budget)) = (store.bytes(), store.bytes_budget()) else { return };
        if !self.turns(bytes, budget) {
            return;
        }
        if self.rung {
            let largest: Vec<String> =
                store.largest(NAMED).iter().map(|(key, bytes)| format!("{key} ({bytes} bytes)")).collect();
            tracing::warn!(
                bytes,
                budget,
                ?largest,
                "the cache is larger than its budget; nothing is dropped: keep less of each object, by a shape, or fewer, by a scope"
            );
        } else {
            tracing::info!(bytes, budget, "the cache is within its budget again");
        }
    }

    /// Whether there is something to be said that wasn't.
    fn turns(&mut self, bytes: u64, budget: u64) -> bool {
        let quiet = u128::from(budget) * u128::from(QUIET_AT_PERCENT) / 100;
        let rings = if self.rung { u128::from(bytes) > quiet } else { bytes > budget };
        std::mem::replace(&mut self.rung, rings) != rings
    }
}

#[cfg(test)]
mod tests {
    use super::Alarm;

    /// Goal: a cache that grows and shrinks around its budget is spoken of once, and once more when it is well within.
    #[test]
    fn around_the_budget_it_speaks_once() {
        let mut alarm = Alarm::default();
        let turns = [0, 100, 101, 100, 101, 96, 200, 95, 100, 96, 101, 0].map(|bytes| alarm.turns(bytes, 100));
        let expected = [0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 1].map(|turn| turn == 1);
        assert_eq!(turns, expected);
        assert_eq!([1, 0].map(|bytes| alarm.turns(bytes, 0)), [true, true], "none at all");
        assert!(!alarm.turns(u64::MAX, u64::MAX));
    }
}
