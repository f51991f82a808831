//! The guard of a key in flight: holding it is having the key.
//!
//! In: a key the queue has handed out. Out: exactly one outcome, whatever happens to the worker: the four methods that
//! end it consume the guard, and dropping it without one is an outcome, too.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::answer::Retried;
use crate::keys::Id;
use crate::ledger::{Finished, HandOut, Outcome};
use crate::moment::Moment;
use crate::mutant::{Mutant, is_planted};
use crate::policy::Reasons;
use crate::rate_limit::{Exponential, RateLimiter};
use crate::shared::Shared;

/// A key that one worker has. Upstream: what `Get` returns and `Done` must be called for.
///
/// Dropped without an outcome (the worker was cancelled) the key is ready again at once, its failures remembered;
/// dropped by a panic it is a failure, as by [`WorkItem::retry`]. After a shut down neither keeps the key, nor do
/// [`WorkItem::retry`] and [`WorkItem::after`]. Whatever the outcome, a key that was added meanwhile is ready at once.
#[must_use = "dropping an item queues its key again"]
pub struct WorkItem<K> {
    shared: Arc<Shared<K>>,
    key: K,
    reasons: Option<Box<Reasons>>,
    /// When it was handed out.
    started: Moment,
    id: Id,
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
    #[inline]
    pub(crate) fn new(shared: Arc<Shared<K>>, hand_out: HandOut<K>) -> Self {
        let HandOut { id, key, failures, reasons, now, .. } = hand_out;
        Self { shared, key, reasons, started: now, id, failures, stage: Stage::Held }
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

    /// Why the key was handed out, if the queue keeps reasons; those of failed attempts before this one included.
    #[must_use]
    pub fn reasons(&self) -> &Reasons {
        static NONE: Reasons = Reasons { kept: Vec::new(), dropped: 0 };
        self.reasons.as_deref().unwrap_or(&NONE)
    }

    /// Counts a failure and says how long the rate limiter wants the key to wait, at least 1 ms, at most 365 days,
    /// without ending the item: for a worker that waits itself. Upstream: `When`.
    pub fn back_off(&mut self) -> Duration {
        let failures = self.attempt();
        let delay = self.shared.back_off(failures);
        self.failures = failures;
        delay
    }

    /// Forgets the key's failures without ending the item: the next one is the first again. Upstream: `Forget`.
    pub fn forget(&mut self) {
        self.failures = 0;
    }

    /// Succeeded: the key's failures are forgotten. A deadline set meanwhile by an `add_after` stands. Upstream:
    /// `Forget` and `Done`.
    #[inline]
    pub fn done(mut self) {
        self.finish(Outcome::Done);
    }

    /// Succeeded, and again after `delay`, or earlier if something else asks for it: the key's failures are
    /// forgotten. At most 365 days; zero is at once. Upstream: `Forget`, `AddAfter` and `Done`.
    pub fn after(mut self, delay: Duration) {
        self.finish(Outcome::After(delay));
    }

    /// Failed: again after what the rate limiter says, at least 1 ms, at most 365 days. An add brings it forward. A
    /// key that has failed as often as it may rests instead. Upstream: `AddRateLimited` and `Done`.
    pub fn retry(mut self) -> Retried {
        self.stage = Stage::BackingOff;
        let delay = self.back_off();
        self.finish(Outcome::Retry(delay))
    }

    /// Failed, and not to be tried again until it is added: the key's failures are forgotten, and
    /// [`Snapshot::given_up`](crate::Snapshot::given_up) counts it.
    pub fn give_up(mut self) {
        self.finish(Outcome::GiveUp);
    }

    /// None: the limiter doesn't know how long.
    fn fail_by_panic(&mut self, delay: Option<Duration>) {
        self.failures = self.attempt();
        let default = || Exponential::default().delay(self.failures, crate::moment::instant());
        self.finish(Outcome::Retry(delay.unwrap_or_else(default)));
    }

    #[inline]
    fn finish(&mut self, outcome: Outcome) -> Retried {
        self.stage = Stage::Finished;
        let finished = Finished { outcome, failures: self.failures, reasons: self.reasons.take() };
        let (retried, now) =
            self.shared.change_timed(outcome.needs_time(), |ledger, now| (ledger.finish(self.id, finished, now), now));
        self.shared.tell(|metrics| metrics.work_duration(now.since(self.started)));
        retried
    }
}

impl<K> Drop for WorkItem<K> {
    fn drop(&mut self) {
        match self.stage {
            Stage::Finished => {}
            Stage::Held if std::thread::panicking() => {
                // The panic may be the limiter's own, and a second one would end the process.
                let asked = catch_unwind(AssertUnwindSafe(|| self.shared.back_off(self.attempt())));
                self.fail_by_panic(asked.ok());
            }
            Stage::BackingOff => self.fail_by_panic(None),
            Stage::Held if is_planted(Mutant::DropIsDone) => _ = self.finish(Outcome::Done),
            Stage::Held => _ = self.finish(Outcome::Dropped),
        }
    }
}

impl<K: fmt::Debug> fmt::Debug for WorkItem<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkItem").field("key", self.key()).field("attempt", &self.attempt()).finish()
    }
}
