//! What the initial events of a streaming list leave behind.
//!
//! In: items and deletions as they come: first each object once, in the order of the keys, then, among them, what changes in the
//! meantime. Out: each object's latest state, in the order of the keys. Nothing is looked up while they come.

use std::cmp::Ordering;

use crate::delta_fifo::Relisted;
use crate::key::{self, ObjectKey};
use crate::object::Cached;
use crate::version;

/// Once so many have come, and each time there are twice as many as were left, they are settled, so that an object that keeps
/// changing takes no more room than a quiet one.
const SETTLED_AT_FIRST: usize = 1 << 16;

pub(super) enum InitialItem<K> {
    There(Relisted<K>),
    /// It was deleted.
    Gone(ObjectKey),
}

pub(super) struct InitialItems<K> {
    items: Vec<InitialItem<K>>,
    settle_at: usize,
}

impl<K> Default for InitialItems<K> {
    fn default() -> Self {
        Self { items: Vec::new(), settle_at: SETTLED_AT_FIRST }
    }
}

impl<K: Cached> InitialItem<K> {
    fn key(&self) -> (&str, &str) {
        match self {
            Self::There(item) => key::parts_of(&**item.object()),
            Self::Gone(key) => key.parts(),
        }
    }

    fn there(self) -> Option<Relisted<K>> {
        match self {
            Self::There(item) => Some(item),
            Self::Gone(_) => None,
        }
    }
}

impl<K: Cached> InitialItems<K> {
    pub(super) fn push(&mut self, item: InitialItem<K>) {
        if self.items.len() == self.settle_at {
            self.settle();
            self.settle_at = SETTLED_AT_FIRST.max(2 * self.items.len());
        }
        self.items.push(item);
    }

    pub(super) fn settled(mut self) -> Vec<Relisted<K>> {
        self.settle();
        self.items.into_iter().filter_map(InitialItem::there).collect()
    }

    /// One entry a key. What comes in order is not moved.
    fn settle(&mut self) {
        if !self.items.is_sorted_by(|a, b| key::compare(a.key(), b.key()) == Ordering::Less) {
            self.items.sort_by(|a, b| key::compare(a.key(), b.key()));
            self.items.dedup_by(|later, earlier| {
                let is_same = later.key() == earlier.key();
                if is_same && !is_older(later, earlier) {
                    std::mem::swap(earlier, later);
                }
                is_same
            });
        }
        self.items.retain(|item| matches!(item, InitialItem::There(_)));
    }
}

/// Whether what came later is known to be the older state of the two.
fn is_older<K: Cached>(later: &InitialItem<K>, earlier: &InitialItem<K>) -> bool {
    match (later, earlier) {
        (InitialItem::There(Relisted::New(later, _)), InitialItem::There(Relisted::New(earlier, _))) => {
            later.uid() == earlier.uid() && version::compare(later.version(), earlier.version()) == Some(Ordering::Less)
        }
        _ => false,
    }
}
