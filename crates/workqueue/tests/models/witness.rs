//! Watches keys: whether accepted adds are answered by a later processing, and whether two workers have one key.
//!
//! The counter of adds is the checker's, since an add begins before the call of the queue, and others may act in
//! between. The rest is std's, which no checker sees: it is touched right after a call of the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

#[cfg(watchkeeper_loom)]
use loom::sync::atomic::AtomicU64 as SeenU64;
#[cfg(watchkeeper_shuttle)]
use shuttle::sync::atomic::AtomicU64 as SeenU64;
use watchkeeper_workqueue::{Added, WorkItem};

#[derive(Default)]
struct Key {
    /// Counted up before each add.
    asked: SeenU64,
    /// What `asked` was for the last accepted add.
    accepted: AtomicU64,
    /// What `asked` was when the last processing started.
    served: AtomicU64,
    busy: AtomicBool,
    runs: AtomicU64,
}

/// What is known of the keys `0..n`. Clones share it.
#[derive(Clone)]
pub(crate) struct Witness(Arc<Vec<Key>>);

impl Witness {
    pub(crate) fn new(keys: usize) -> Self {
        Self(Arc::new((0..keys).map(|_| Key::default()).collect()))
    }

    /// An add of the key, of which some processing must start if it is accepted.
    pub(crate) fn add(&self, key: usize, add: impl FnOnce() -> Added) -> Added {
        let asked = self.0[key].asked.fetch_add(1, SeqCst) + 1;
        let added = add();
        if added.is_accepted() {
            self.0[key].accepted.fetch_max(asked, SeqCst);
        }
        added
    }

    /// A worker has got the item.
    pub(crate) fn start(&self, item: WorkItem<usize>) -> Held {
        let key = *item.key();
        assert!(!self.0[key].busy.swap(true, SeqCst), "two workers have key {key}");
        self.0[key].runs.fetch_add(1, SeqCst);
        self.0[key].served.fetch_max(self.0[key].asked.load(SeqCst), SeqCst);
        Held { witness: self.clone(), item }
    }

    /// How often the key was worked on.
    pub(crate) fn runs(&self, key: usize) -> u64 {
        self.0[key].runs.load(SeqCst)
    }

    /// All is over: nothing that was accepted is left.
    pub(crate) fn check(&self) {
        for (name, key) in self.0.iter().enumerate() {
            assert!(!key.busy.load(SeqCst), "a worker still has key {name}");
            let (served, accepted) = (key.served.load(SeqCst), key.accepted.load(SeqCst));
            assert!(served >= accepted, "key {name} was added and not worked on after it: {accepted}, {served}");
        }
    }
}

/// A key that a worker has.
pub(crate) struct Held {
    witness: Witness,
    item: WorkItem<usize>,
}

impl Held {
    pub(crate) fn key(&self) -> usize {
        *self.item.key()
    }

    /// The worker ends with the key; it may be handed out again before this returns.
    pub(crate) fn end<R>(self, outcome: impl FnOnce(WorkItem<usize>) -> R) -> R {
        self.witness.0[self.key()].busy.store(false, SeqCst);
        outcome(self.item)
    }

    /// The same with an outcome that is an add, too: the key must be worked on again if `outcome` says so.
    pub(crate) fn end_and_add(self, outcome: impl FnOnce(WorkItem<usize>) -> Added) -> Added {
        let (witness, key) = (self.witness.clone(), self.key());
        witness.add(key, || self.end(outcome))
    }
}
