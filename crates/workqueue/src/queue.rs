//! The shell: one lock around the rules, and the futures that wait on it.
//!
//! In: calls from any thread. Out: [`WorkItem`]s. Every call computes under the lock and wakes after it; the lock is
//! never held over an await, and no task is spawned. One of the waiting [`WorkQueue::next`] calls holds a timer for
//! the earliest deadline; when it gets a key or is dropped, another waiting call takes the timer over.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock;
use crate::drain::{Drained, Drains};
use crate::item::WorkItem;
use crate::keys::{Hasher, KeyId};
use crate::ledger::{Ledger, Outcome, Taken};
use crate::metrics::Snapshot;
use crate::rate_limit::{MaxOf, RateLimiter};
use crate::waiters::{Ticket, Waiters};

/// What a queue is made with.
pub struct Config {
    /// Names the queue in metrics and traces; the controller's name as a rule.
    pub name: String,
    /// How long keys wait after a failure. client-go's default for controllers: per key 5 ms, doubling up to 1000 s,
    /// and for all keys together 10 a second after a burst of 100, whichever is longer.
    pub rate_limiter: Box<dyn RateLimiter>,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: String::new(), rate_limiter: Box::new(MaxOf::default()) }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What became of an added key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It waits for a worker, or for its deadline, and didn't before, or not for so early a time.
    Queued,
    /// It was waiting already, at least as early: it is handed out once for both.
    AlreadyQueued,
    /// A worker has it: it is handed out again after that worker has finished.
    WillRerun,
    /// The queue is shut down.
    Refused,
}

/// A handle to a queue; clones share it. Upstream: `workqueue.TypedRateLimitingInterface`.
///
/// Needs a tokio runtime with time enabled where delays or failures are used. Comparing and cloning keys happens
/// under the queue's lock, so these must not call the queue.
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K> fmt::Debug for WorkQueue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").field("name", &self.shared.name).field("snapshot", &self.snapshot()).finish()
    }
}

impl<K> WorkQueue<K> {
    /// An empty queue. Spawns nothing.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let inner = Inner { ledger: Ledger::new(), waiters: Waiters::new(), drains: Drains::default() };
        Self {
            shared: Arc::new(Shared {
                name: config.name,
                hasher: Hasher::new(),
                inner: Mutex::new(inner),
                rate_limiter: Mutex::new(config.rate_limiter),
            }),
        }
    }

    /// The name from the queue's config.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Asks for the key to be worked on as soon as a worker is free. Unless refused, some processing of it starts
    /// after this call. Brings a key forward that waits for a deadline.
    pub fn add(&self, key: K) -> Added
    where
        K: Eq + Hash,
    {
        let hash = self.shared.hasher.hash_one(&key);
        self.shared.change(|inner| inner.ledger.add(hash, key))
    }

    /// Asks for the key to be worked on after `delay` (zero: now; at most 365 days, longer ones are cut). The earliest
    /// wins: where the key is ready or has an earlier deadline, this changes nothing; and for a key in flight the
    /// time runs from this call, not from the worker's end.
    ///
    /// A key that still waits when the queue is shut down is dropped.
    pub fn add_after(&self, key: K, delay: Duration) -> Added
    where
        K: Eq + Hash,
    {
        let hash = self.shared.hasher.hash_one(&key);
        let due = due_after(delay);
        self.shared.change(|inner| inner.ledger.add_after(hash, key, due))
    }

    /// The next key, in the order in which keys became ready. None: the queue is shut down, nothing is ready, and no
    /// key in flight was added again. (client-go doesn't wait for the latter, so only the worker that has such a key
    /// would see it again.)
    ///
    /// Cancel safe: a call dropped while it waits has taken nothing, and hands over the time if it kept it. A call
    /// that is kept but no longer polled holds up the others; drop it instead.
    ///
    /// Panics outside of a tokio runtime with time enabled when it has to wait for a deadline.
    pub async fn next(&self) -> Option<WorkItem<K>>
    where
        K: Clone,
    {
        Next { shared: &self.shared, ticket: None, timer: None }.await
    }

    /// Accepts no further keys. Ready ones are still handed out, those in flight that were added again once more;
    /// keys that wait for a deadline are dropped, as are retries, delays and dropped items from now on, since the end
    /// of the queue's use has come. This is client-go's `ShutDown`; followed by [`WorkQueue::drained`] it is what
    /// `ShutDownWithDrain` means to be. May be called again.
    pub fn shut_down(&self) {
        self.shared.change(|inner| inner.ledger.shut_down());
    }

    /// Shuts down and drops the ready keys, too: [`WorkQueue::next`] returns None from now on. What is in flight
    /// finishes. For an immediate stop.
    pub fn discard(&self) {
        self.shared.change(|inner| inner.ledger.discard());
    }

    /// Waits until no key is ready or in flight; waiting ones don't count. Any number may wait. Before a shut down
    /// this is a moment that may be over when the caller runs; after it, it is the end.
    ///
    /// Cancel safe. Needs workers that go on taking keys until [`WorkQueue::next`] returns None, or
    /// [`WorkQueue::discard`].
    pub async fn drained(&self) {
        Drained::new(&self.shared).await;
    }

    /// What is in the queue now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.inner.lock().ledger.snapshot()
    }
}

/// The longest delay; longer ones are cut, so that no sum of times overflows.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// The shortest wait after a failure, whatever the rate limiter says: no limiter makes a key a hot loop.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(1);

/// The point in time `delay` from now. None: at once.
pub(crate) fn due_after(delay: Duration) -> Option<Instant> {
    (!delay.is_zero()).then(|| clock::now() + delay.min(LONGEST_DELAY))
}

/// What the handles and the items of a queue share.
pub(crate) struct Shared<K> {
    name: String,
    hasher: Hasher,
    inner: Mutex<Inner<K>>,
    /// Apart from the rest: it runs foreign code.
    rate_limiter: Mutex<Box<dyn RateLimiter>>,
}

struct Inner<K> {
    ledger: Ledger<K>,
    waiters: Waiters,
    drains: Drains,
}

impl<K> Shared<K> {
    /// The delay after the `failures`-th failure of a key.
    pub(crate) fn back_off(&self, failures: u32) -> Duration {
        let now = clock::now();
        self.rate_limiter.lock().delay(failures, now).clamp(SHORTEST_BACKOFF, LONGEST_DELAY)
    }

    pub(crate) fn finish(&self, id: KeyId, outcome: Outcome) {
        self.change(|inner| inner.ledger.finish(id, outcome));
    }

    /// Looks at the ledger together with the waiting drains, which wakes nobody.
    pub(crate) fn with_drains<R>(&self, look: impl FnOnce(&Ledger<K>, &mut Drains) -> R) -> R {
        let inner = &mut *self.inner.lock();
        look(&inner.ledger, &mut inner.drains)
    }

    /// Changes the queue under the lock, then wakes those who have something to come for.
    fn change<R>(&self, change: impl FnOnce(&mut Inner<K>) -> R) -> R {
        let mut inner = self.inner.lock();
        let result = change(&mut inner);
        self.wake(inner);
        result
    }

    fn wake<'a>(&'a self, mut inner: MutexGuard<'a, Inner<K>>) {
        let drained = if inner.ledger.is_drained() { inner.drains.release() } else { Vec::new() };
        loop {
            let Inner { ledger, waiters, .. } = &mut *inner;
            let called = waiters.call(ledger.demand(), ledger.earliest());
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
}

/// One call of [`WorkQueue::next`].
struct Next<'a, K> {
    shared: &'a Arc<Shared<K>>,
    /// Some: among the waiters.
    ticket: Option<Ticket>,
    /// Some: keeps the time.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<K: Clone> Future for Next<'_, K> {
    type Output = Option<WorkItem<K>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A worker whose keys never run out must still let other tasks run.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let this = self.get_mut();
        loop {
            match this.take(cx) {
                Ok(item) => {
                    budget.made_progress();
                    return Poll::Ready(item);
                }
                Err(None) => {
                    this.timer = None;
                    return Poll::Pending;
                }
                Err(Some(deadline)) => ready!(this.sleep(deadline, cx)),
            }
        }
    }
}

impl<K: Clone> Next<'_, K> {
    /// Takes a key, or stands in line; in the latter case says until when to keep the time.
    fn take(&mut self, cx: &Context<'_>) -> Result<Option<WorkItem<K>>, Option<Instant>> {
        let mut inner = self.shared.inner.lock();
        if let Some(ticket) = self.ticket.take() {
            inner.waiters.leave(ticket);
        }
        let now = inner.ledger.earliest().map(|_| clock::now());
        let result = match inner.ledger.take(now) {
            Taken::Key { id, key, failures } => Ok(Some((id, key, failures))),
            Taken::Over => Ok(None),
            Taken::Nothing => {
                let earliest = inner.ledger.earliest();
                let (ticket, keeps_time) = inner.waiters.enlist(cx.waker().clone(), earliest);
                self.ticket = Some(ticket);
                Err(earliest.filter(|_| keeps_time))
            }
        };
        self.shared.wake(inner);
        result.map(|taken| taken.map(|(id, key, failures)| WorkItem::new(self.shared.clone(), id, key, failures)))
    }

    fn sleep(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

impl<K> Drop for Next<'_, K> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.change(|inner| inner.waiters.leave(ticket));
        }
    }
}
