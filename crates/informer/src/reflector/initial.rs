//! What the initial events of a streaming list leave behind.
//!
//! In: items and deletions as they come: first each object once, in the order of the keys, then, among them, what changes in the
//! meantime. Out: each object's latest state, in the order of the keys. Nothing is looked up while they come.

use std::cmp::Ordering;

use crate::delta_fifo::Relisted;
use crate::key::ObjectKey;
use crate::object::Cached;
use crate::version;

/// Once so many have come, and each time there are twice as many as were left, they are settled, so that an object that keeps
/// changing takes no more room than a quiet one.
const SETTLED_AT_FIRST: usize = 1 << 16;

pub(super) struct InitialItems<K> {
    /// `None`: it was deleted.
    items: Vec<(ObjectKey, Option<Relisted<K>>)>,
    settle_at: usize,
}

impl<K> Default for InitialItems<K> {
    fn default() -> Self {
        Self { items: Vec::new(), settle_at: SETTLED_AT_FIRST }
    }
}

impl<K: Cached> InitialItems<K> {
    pub(super) fn push(&mut self, item: (ObjectKey, Option<Relisted<K>>)) {
        if self.items.len() == self.settle_at {
            self.settle();
            self.settle_at = SETTLED_AT_FIRST.max(2 * self.items.len());
        }
        self.items.push(item);
    }

    pub(super) fn settled(mut self) -> Vec<Relisted<K>> {
        self.settle();
        self.items.into_iter().filter_map(|(_, item)| item).collect()
    }

    /// One entry a key. What comes in order is not moved.
    fn settle(&mut self) {
        if !self.items.is_sorted_by(|(a, _), (b, _)| a < b) {
            self.items.sort_by(|(a, _), (b, _)| a.cmp(b));
            self.items.dedup_by(|(later_key, later), (key, earlier)| {
                let is_same = later_key == key;
                if is_same && !is_older(later.as_ref(), earlier.as_ref()) {
                    *earlier = later.take();
                }
                is_same
            });
        }
        self.items.retain(|(_, item)| item.is_some());
    }
}

/// Whether what came later is known to be the older state of the two.
fn is_older<K: Cached>(later: Option<&Relisted<K>>, earlier: Option<&Relisted<K>>) -> bool {
    match (later, earlier) {
        (Some(Relisted::New(later)), Some(Relisted::New(earlier))) => {
            later.uid() == earlier.uid() && version::compare(later.version(), earlier.version()) == Some(Ordering::Less)
        }
        _ => false,
    }
}
