//! The guard of a key in flight: holding it is having the key.
//!
//! In: a key the queue has handed out. Out: exactly one outcome, whatever happens to the worker: the four methods
//! consume the guard, and dropping it without one is an outcome, too.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::keys::KeyId;
use crate::ledger::Outcome;
use crate::queue::{Shared, due_after};
use crate::rate_limit::{Exponential, RateLimiter};

/// A key that one worker has. Upstream: what `Get` returns and `Done` must be called for.
///
/// Dropped without an outcome (the worker was cancelled) the key is ready again at once, its failures remembered;
/// dropped by a panic it is a failure, as by [`WorkItem::retry`]. After a shut down neither keeps the key, nor do
/// [`WorkItem::retry`] and [`WorkItem::after`]. Whatever the outcome, a key that was added meanwhile is ready at once.
#[must_use = "dropping an item queues its key again"]
pub struct WorkItem<K> {
    shared: Arc<Shared<K>>,
    id: KeyId,
    key: K,
    failures: u32,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Held,
    /// The rate limiter, foreign code, has been asked: a panic now may be its own.
    BackingOff,
    Finished,
}

impl<K> WorkItem<K> {
    pub(crate) fn new(shared: Arc<Shared<K>>, id: KeyId, key: K, failures: u32) -> Self {
        Self { shared, id, key, failures, stage: Stage::Held }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Which attempt this is: 1, and one more for each failure since the key last succeeded.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.failures.saturating_add(1)
    }

    /// Succeeded: the key's failures are forgotten. A deadline set meanwhile by an `add_after` stands. Upstream:
    /// `Forget` and `Done`.
    pub fn done(mut self) {
        self.finish(Outcome::Done);
    }

    /// Succeeded, and again after `delay`, or earlier if something else asks for it: the key's failures are
    /// forgotten. At most 365 days; zero is at once. Upstream: `Forget`, `AddAfter` and `Done`.
    pub fn after(mut self, delay: Duration) {
        self.finish(Outcome::After(due_after(delay)));
    }

    /// Failed: again after what the rate limiter says, at least 1 ms, at most 365 days, which is returned. An add
    /// brings it forward. Upstream: `AddRateLimited` and `Done`.
    pub fn retry(mut self) -> Duration {
        let delay = self.back_off();
        self.finish(Outcome::Retry(due_after(delay)));
        delay
    }

    /// Failed, and not to be tried again until it is added: the key's failures are forgotten, and
    /// [`Snapshot::given_up`](crate::Snapshot::given_up) counts it.
    pub fn give_up(mut self) {
        self.finish(Outcome::GiveUp);
    }

    fn back_off(&mut self) -> Duration {
        self.stage = Stage::BackingOff;
        self.shared.back_off(self.attempt())
    }

    fn finish(&mut self, outcome: Outcome) {
        self.stage = Stage::Finished;
        self.shared.finish(self.id, outcome);
    }
}

impl<K> Drop for WorkItem<K> {
    fn drop(&mut self) {
        let outcome = match self.stage {
            Stage::Finished => return,
            Stage::Held if !std::thread::panicking() => Outcome::Dropped,
            Stage::Held => Outcome::Retry(due_after(self.back_off())),
            // Asking a limiter that has just panicked again would abort the process.
            Stage::BackingOff => {
                let delay = Exponential::default().delay(self.attempt(), clock::now());
                Outcome::Retry(due_after(delay))
            }
        };
        self.finish(outcome);
    }
}

impl<K: fmt::Debug> fmt::Debug for WorkItem<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkItem").field("key", &self.key).field("attempt", &self.attempt()).finish_non_exhaustive()
    }
}
