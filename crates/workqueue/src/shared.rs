//! The shell: one lock around the rules.
//!
//! In: calls from any thread. Out: keys, wake-ups and measures. Every call computes under the lock and wakes after it;
//! the lock is never held over an await, and no task is spawned. The only foreign code under it is that of the keys
//! (comparing, cloning, dropping), and wakers are cloned and dropped there, which for tokio's is a counter.

use std::borrow::Cow;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::answer::Added;
use crate::drain::Drains;
use crate::keys::Hasher;
use crate::ledger::{Ledger, Wanted};
use crate::metrics::{Metrics, Snapshot};
use crate::moment::{self, Clock, LONGEST_DELAY, Moment};
use crate::mutant::{Mutant, is_planted};
use crate::policy::{Ask, Flow, Rules};
use crate::queue::Config;
use crate::rate_limit::RateLimiter;
use crate::sync::{Mutex, MutexGuard};
use crate::waiters::Waiters;

/// The shortest wait after a failure, whatever the rate limiter says: no limiter makes a key a hot loop.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(1);

/// What the handles and the items of a queue share.
pub(crate) struct Shared<K> {
    pub(crate) name: String,
    pub(crate) clock: Clock,
    /// Whether anything needs to know when things happen.
    timed: bool,
    hasher: Hasher,
    flow: Option<Flow<K>>,
    metrics: Option<Arc<dyn Metrics>>,
    inner: Mutex<Inner<K>>,
    rate_limiter: Box<dyn RateLimiter>,
    limiter_looks_at_time: bool,
}

pub(crate) struct Inner<K> {
    pub(crate) ledger: Ledger<K>,
    pub(crate) waiters: Waiters,
    drains: Drains,
}

impl<K> Shared<K> {
    pub(crate) fn new(config: Config<K>) -> Self {
        let Config { name, rate_limiter, policy, metrics, ages } = config;
        let rules = Rules::new(&policy, ages || metrics.is_some());
        let inner = Inner { ledger: Ledger::new(rules), waiters: Waiters::new(), drains: Drains::default() };
        Self {
            name,
            clock: Clock::new(),
            timed: rules.timed,
            hasher: Hasher::new(),
            flow: policy.flow,
            metrics,
            inner: Mutex::new(inner),
            limiter_looks_at_time: rate_limiter.looks_at_time(),
            rate_limiter,
        }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &K) -> u64
    where
        K: Hash,
    {
        self.hasher.hash_one(key)
    }

    #[inline]
    pub(crate) fn flow(&self, key: &K) -> u64 {
        self.flow.as_ref().map_or(0, |flow| flow(key))
    }

    /// What is wanted, but for the flow.
    pub(crate) fn wanted(ask: Ask) -> Wanted {
        let Ask { after, priority, reason } = ask;
        Wanted { flow: 0, after, priority, reason }
    }

    /// The delay after the `failures`-th failure of a key.
    pub(crate) fn back_off(&self, failures: u32) -> Duration {
        let now = if self.limiter_looks_at_time { moment::instant() } else { self.clock.start() };
        self.rate_limiter.delay(failures, now).clamp(SHORTEST_BACKOFF, LONGEST_DELAY)
    }

    /// Looks at the keys, which wakes nobody.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Ledger<K>) -> R) -> R {
        look(&self.inner.lock().ledger)
    }

    /// Looks at the keys together with the waiting drains, which wakes nobody.
    pub(crate) fn with_drains<R>(&self, look: impl FnOnce(&Ledger<K>, &mut Drains) -> R) -> R {
        let inner = &mut *self.inner.lock();
        look(&inner.ledger, &mut inner.drains)
    }

    /// Changes the keys; is told what time it is, if anything needs to know.
    #[inline]
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Ledger<K>, Moment) -> R) -> R {
        self.change_all(false, |inner, now| change(&mut inner.ledger, now))
    }

    /// The same, and it is this call that `needs_time`.
    #[inline]
    pub(crate) fn change_timed<R>(&self, needs_time: bool, change: impl FnOnce(&mut Ledger<K>, Moment) -> R) -> R {
        self.change_all(needs_time, |inner, now| change(&mut inner.ledger, now))
    }

    /// Changes the keys and those who wait for them under the lock, then wakes those who have something to come for,
    /// and tells the metrics.
    #[inline]
    pub(crate) fn change_all<R>(&self, needs_time: bool, change: impl FnOnce(&mut Inner<K>, Moment) -> R) -> R {
        self.change_locked(self.inner.lock(), needs_time, change)
    }

    /// An add without a wish, which as a rule changes nothing. Says so at once where that is so.
    #[inline]
    pub(crate) fn add(&self, key: Cow<'_, K>) -> Added
    where
        K: Clone + Eq + Hash,
    {
        let (hash, flow) = (self.hash(&key), self.flow(&key));
        let inner = self.inner.lock();
        let known = inner.ledger.find(hash, &key);
        if let Some(added) = known.and_then(|id| inner.ledger.absorb(id)) {
            return added;
        }
        let wanted = Wanted { flow, ..Wanted::default() };
        self.change_locked(inner, false, |inner, now| inner.ledger.add(known, hash, key, wanted, now))
    }

    #[inline]
    fn change_locked<'a, R>(
        &'a self,
        mut inner: MutexGuard<'a, Inner<K>>,
        needs_time: bool,
        change: impl FnOnce(&mut Inner<K>, Moment) -> R,
    ) -> R {
        if self.metrics.is_none() {
            let now = self.catch_up(needs_time, &mut inner.ledger);
            let result = change(&mut inner, now);
            self.wake(inner);
            return result;
        }
        let before = inner.ledger.snapshot();
        let now = self.catch_up(needs_time, &mut inner.ledger);
        let result = change(&mut inner, now);
        let after = inner.ledger.snapshot();
        self.wake(inner);
        self.tell(|metrics| tell_changes(metrics, &before, &after));
        result
    }

    /// What has come due until now is ready from here on, whatever the call is. Where no rule looks at the time, no
    /// key waits for it and the call doesn't either, no clock is read, and it is the start.
    #[inline]
    fn catch_up(&self, needs_time: bool, ledger: &mut Ledger<K>) -> Moment {
        let waits = ledger.has_deadlines();
        let now = if self.timed || waits || needs_time { self.clock.now() } else { Moment::START };
        if waits {
            ledger.wake_due(now);
        }
        now
    }

    #[inline]
    fn wake<'a>(&'a self, inner: MutexGuard<'a, Inner<K>>) {
        if inner.waiters.is_idle() && inner.drains.is_idle() {
            return;
        }
        self.wake_some(inner);
    }

    fn wake_some<'a>(&'a self, mut inner: MutexGuard<'a, Inner<K>>) {
        let drained = if inner.ledger.is_drained() { inner.drains.release() } else { Vec::new() };
        loop {
            let Inner { ledger, waiters, .. } = &mut *inner;
            let called = if is_planted(Mutant::LostNotification) {
                None
            } else {
                waiters.call(ledger.demand(), ledger.earliest())
            };
            drop(inner);
            let Some((waker, more)) = called else { break };
            waker.wake();
            if !more {
                break;
            }
            inner = self.inner.lock();
        }
        drained.into_iter().for_each(Waker::wake);
    }

    /// Measures a duration; nothing is computed for nobody.
    #[inline]
    pub(crate) fn tell(&self, measure: impl FnOnce(&dyn Metrics)) {
        if let Some(metrics) = &self.metrics {
            // A panic of the sink mustn't lose a key; the panic hook has reported it.
            _ = catch_unwind(AssertUnwindSafe(|| measure(&**metrics)));
        }
    }

    pub(crate) fn observe(&self) {
        self.tell(|metrics| {
            let now = self.clock.now();
            let (ready, running) = self.look(|ledger| (ledger.snapshot().ready, ledger.running(now)));
            metrics.depth(ready);
            metrics.unfinished_work(running.unfinished);
            metrics.longest_running_processor(running.longest);
        });
    }
}

fn tell_changes(metrics: &dyn Metrics, before: &Snapshot, after: &Snapshot) {
    if after.adds > before.adds {
        metrics.adds(after.adds - before.adds);
    }
    if after.retries > before.retries {
        metrics.retries(after.retries - before.retries);
    }
    if after.ready != before.ready {
        metrics.depth(after.ready);
    }
}
