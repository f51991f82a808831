//! Alarm: says once that the store holds more than it was meant to, and which objects are the largest.
//!
//! In: how much is held after each batch. Out: a line in the log when the budget is exceeded, and one when it is kept again.
//! It never lets go of an object: a cache without some of its objects would lie. What can be done about it is to keep less of each
//! object ([`shape`](crate::shape)) or fewer of them ([`Scope`](crate::Scope)).

use super::ThreadSafeStore;
use crate::object::Cached;

/// So many objects are named.
const NAMED: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Alarm {
    rung: bool,
}

impl Alarm {
    pub(super) fn check<K: Cached>(&mut self, store: &ThreadSafeStore<K>) {
        let is_over = store.is_over_budget();
        if is_over == self.rung {
            return;
        }
        self.rung = is_over;
        let (bytes, budget) = (store.bytes(), store.bytes_budget());
        if is_over {
            let largest: Vec<String> =
                store.largest(NAMED).iter().map(|(key, bytes)| format!("{key} ({bytes} bytes)")).collect();
            tracing::warn!(bytes, budget, ?largest, "the cache is larger than its budget; nothing is dropped");
        } else {
            tracing::info!(bytes, budget, "the cache is within its budget again");
        }
    }
}
