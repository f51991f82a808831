//! A look at single keys, for people who want to know what a queue is doing.

use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::Snapshot;
use crate::policy::Reasons;

/// The keys of a queue at one moment; everything in it was read under one lock. See
/// [`WorkQueue::sight`](crate::WorkQueue::sight).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sight<K> {
    /// All counts, also of what the lists left out.
    pub snapshot: Snapshot,
    /// Keys that can be taken now, in no order.
    pub ready: Vec<K>,
    /// Keys that wait for a deadline, the earliest first; those in flight that have one included.
    pub waiting: Vec<Waiting<K>>,
    /// Keys in the hands of workers, in no order.
    pub in_flight: Vec<InFlight<K>>,
    /// Keys that are paused and would otherwise be ready, in no order.
    pub held: Vec<K>,
    /// Keys that have failed too often, the longest at rest first.
    pub exhausted: Vec<Exhausted<K>>,
}

impl<K> Default for Sight<K> {
    fn default() -> Self {
        Self {
            snapshot: Snapshot::default(),
            ready: Vec::new(),
            waiting: Vec::new(),
            in_flight: Vec::new(),
            held: Vec::new(),
            exhausted: Vec::new(),
        }
    }
}

/// A key that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting<K> {
    /// The key.
    pub key: K,
    /// When it becomes ready.
    pub due: Instant,
    /// How often it has failed in a row.
    pub failures: u32,
}

/// A key in the hands of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight<K> {
    /// The key.
    pub key: K,
    /// How long the worker has had it. None: the queue doesn't keep the time, see
    /// [`Config::ages`](crate::Config::ages).
    pub age: Option<Duration>,
    /// Which attempt this is, the first being 1.
    pub attempt: u32,
    /// It was added meanwhile, at once or with a delay, and is handed out again.
    pub will_rerun: bool,
}

/// A key that has failed too often.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exhausted<K> {
    /// The key.
    pub key: K,
    /// How often it failed in a row.
    pub failures: u32,
    /// Since when it rests.
    pub since: Instant,
    /// Why it was handed out in vain.
    pub reasons: Reasons,
}
