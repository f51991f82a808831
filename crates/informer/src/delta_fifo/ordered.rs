//! Ordered: every delta, as it came.
//!
//! In: deltas in order of arrival. Out: the same. It leaves nothing out, so it grows with what happens, not with what there
//! is: its length is what the limits bound, and what makes the reading wait.
//!
//! Upstream counterpart: `RealFIFO` in client-go's tools/cache.

use super::{Change, Delta, DeltaQueue};

/// Keeps all deltas of all keys in one order.
#[derive(Debug)]
pub struct Ordered<K> {
    changes: Vec<Change<K>>,
    bytes: usize,
}

impl<K> Default for Ordered<K> {
    fn default() -> Self {
        Self { changes: Vec::new(), bytes: 0 }
    }
}

impl<K: Send + Sync + 'static> DeltaQueue<K> for Ordered<K> {
    fn push(&mut self, delta: Delta<K>, bytes: usize) {
        self.bytes += bytes;
        self.changes.push(Change::of(delta, bytes));
    }

    fn drain(&mut self) -> Vec<Change<K>> {
        self.bytes = 0;
        std::mem::take(&mut self.changes)
    }

    fn len(&self) -> usize {
        self.changes.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
