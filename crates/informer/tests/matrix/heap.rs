//! How much memory is held: at this moment, and at most since a mark.
//!
//! Comes in: nothing. Goes out: bytes. The most is that of the moments at which [`Heap::look`] was called, which is at each
//! piece of a body, each call of a handler and each tick: what is held between two of them is never seen.

use std::sync::atomic::{AtomicUsize, Ordering};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

static MOST: AtomicUsize = AtomicUsize::new(0);

/// The heap since a mark. Cells run one after another, so there is one mark at a time.
pub(crate) struct Heap {
    before: usize,
}

impl Heap {
    /// What is held now doesn't count.
    pub(crate) fn mark() -> Self {
        let before = held();
        MOST.store(before, Ordering::Relaxed);
        Self { before }
    }

    /// One of the moments of which the most is taken.
    pub(crate) fn look() {
        MOST.fetch_max(held(), Ordering::Relaxed);
    }

    /// Bytes held now.
    pub(crate) fn now(&self) -> usize {
        held().saturating_sub(self.before)
    }

    /// Bytes held at most.
    pub(crate) fn most(&self) -> usize {
        MOST.load(Ordering::Relaxed).saturating_sub(self.before)
    }
}

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}
