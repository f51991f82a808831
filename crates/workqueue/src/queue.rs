//! The handle to a queue: what can be asked of it.
//!
//! Every call computes under the queue's one lock and wakes after it; see `shared.rs`.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::{Added, NotDrained};
use crate::drain::Drained;
use crate::key_id::KeyId;
use crate::keys::Id;
use crate::ledger::{Ledger, Wanted};
use crate::metrics::{Metrics, Snapshot};
use crate::moment::{LONGEST_DELAY, Moment};
use crate::next::Next;
use crate::policy::{Ask, Policy};
use crate::rate_limit::{MaxOf, RateLimiter};
use crate::shared::Shared;
use crate::sight::Sight;

/// What a queue is made with. Upstream: `workqueue.TypedRateLimitingQueueConfig`.
pub struct Config<K> {
    /// Names the queue where it is shown ([`WorkQueue::name`], `Debug`); the controller's name as a rule. A
    /// [`Metrics`] sink is made for one queue and knows its name.
    pub name: String,
    /// How long keys wait after a failure. client-go's default for controllers: per key 5 ms, doubling up to 1000 s,
    /// and for all keys together 10 a second after a burst of 100, whichever is longer.
    pub rate_limiter: Box<dyn RateLimiter>,
    /// The rules beyond the three guarantees. None by default.
    pub policy: Policy<K>,
    /// Where the queue's measures go. None by default.
    pub metrics: Option<Arc<dyn Metrics>>,
    /// Whether [`WorkQueue::sight`] can tell how long keys have been in flight, which costs reading a clock with each
    /// hand-out. Off by default, and always on with metrics and with rules that look at the time.
    pub ages: bool,
}

impl<K> Default for Config<K> {
    fn default() -> Self {
        let rate_limiter = Box::new(MaxOf::default());
        Self { name: String::new(), rate_limiter, policy: Policy::default(), metrics: None, ages: false }
    }
}

impl<K> fmt::Debug for Config<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("name", &self.name).field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// A handle to a queue; clones share it. Upstream: `workqueue.TypedRateLimitingInterface`.
///
/// Comparing, cloning and dropping keys happens under the queue's lock, so these must not call the queue. Dropping all
/// handles doesn't end the queue, since its workers hold some: [`WorkQueue::shut_down`] does, or [`WorkQueue::drain`].
///
/// # Panics
///
/// [`WorkQueue::next`] does where it has to wait for a deadline outside of a tokio runtime with time enabled, and
/// [`WorkQueue::drain`] outside of such a runtime. Nothing else panics but what the caller brings along: a key's
/// `Clone`, `Eq` or `Hash`, a flow, a limiter. None of them, panicking, loses a key.
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

/// Making a queue, and its end.
impl<K> WorkQueue<K> {
    /// An empty queue. Spawns nothing.
    #[must_use]
    pub fn new(config: Config<K>) -> Self {
        Self { shared: Arc::new(Shared::new(config)) }
    }

    /// The name from the queue's config.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Accepts no further keys. Ready ones are still handed out, those in flight that were added again once more;
    /// keys that wait for a deadline are dropped, as are retries, delays and dropped items from now on, since the end
    /// of the queue's use has come. Not so keys that only the minimum interval or a debounce has kept waiting: these
    /// rules end, and such keys are ready. Keys that are paused are dropped, and in a paused queue the ready ones, too:
    /// what somebody has stopped isn't started by an end.
    ///
    /// This is client-go's `ShutDown`; followed by [`WorkQueue::drained`] it is what `ShutDownWithDrain` means to be.
    /// May be called again.
    pub fn shut_down(&self) {
        self.shared.change(|ledger, now| ledger.shut_down(now));
    }

    /// Shuts down and drops the ready keys, too: [`WorkQueue::next`] returns None from now on. What is in flight
    /// finishes. For an immediate stop.
    pub fn discard(&self) {
        self.shared.change(|ledger, now| ledger.discard(now));
    }

    /// Waits until no key is ready or in flight; waiting, paused and exhausted ones don't count. Any number may wait.
    /// Before a shut down this is a moment that may be over when the caller runs; after it, it is the end. While the
    /// queue is paused its ready keys are waited for, so somebody has to resume it.
    ///
    /// Cancel safe. Needs workers that go on taking keys until [`WorkQueue::next`] returns None, or
    /// [`WorkQueue::discard`].
    pub async fn drained(&self) {
        Drained::new(&self.shared).await;
    }

    /// Shuts down and waits for the end, but no longer than `within`, at most 365 days. client-go's
    /// `ShutDownWithDrain` has no bound, and returns while keys are ready that no worker has taken.
    ///
    /// Cancel safe: dropped, the queue is shut down.
    ///
    /// # Errors
    ///
    /// What is left when the time is over. The workers may still finish it; [`WorkQueue::discard`] makes them stop.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub async fn drain(&self, within: Duration) -> Result<(), NotDrained> {
        self.shut_down();
        let drained = tokio::time::timeout(within.min(LONGEST_DELAY), self.drained()).await;
        let Snapshot { ready, in_flight, .. } = self.snapshot();
        match drained {
            Err(_) if ready + in_flight > 0 => Err(NotDrained { ready, in_flight }),
            _ => Ok(()),
        }
    }
}

/// Taking keys.
impl<K: Clone> WorkQueue<K> {
    /// The next key, in the order in which keys became ready, unless the queue's policy has another one. None: the
    /// queue is shut down, nothing is ready, and no key in flight was added again. (client-go doesn't wait for the
    /// latter, so only the worker that has such a key would see it again.) Upstream: `Get`.
    ///
    /// Cancel safe: a call dropped while it waits has taken nothing, and hands over the time if it kept it. A call
    /// that is kept but no longer polled holds up the others; drop it instead.
    ///
    /// # Panics
    ///
    /// When it has to wait for a deadline outside of a tokio runtime with time enabled.
    pub fn next(&self) -> Next<'_, K> {
        Next::new(&self.shared)
    }

    /// At most `most` keys of each kind. Looks at every key under the lock, so it isn't for a hot path; counts alone
    /// are cheap by [`WorkQueue::snapshot`].
    #[must_use]
    pub fn sight(&self, most: usize) -> Sight<K> {
        let clock = self.shared.clock;
        self.shared.change(|ledger, _| ledger.sight(most, clock, clock.now()))
    }
}

/// Asking for keys to be worked on.
impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// Asks for the key to be worked on as soon as a worker is free. Once accepted, some processing of it starts
    /// after this call, unless somebody stops it: by [`WorkQueue::discard`], a pause that lasts, or
    /// [`WorkQueue::withdraw`] while a rule has it wait. Brings a key forward that waits for a deadline, and wakes one
    /// that is exhausted. Upstream: `Add`.
    #[inline]
    pub fn add(&self, key: K) -> Added {
        self.shared.add(Cow::Owned(key))
    }

    /// The same by reference: the key is cloned only if the queue doesn't know it yet. For sources that keep their keys.
    #[inline]
    pub fn add_ref(&self, key: &K) -> Added {
        self.shared.add(Cow::Borrowed(key))
    }

    /// Asks for the key to be worked on after `delay` (zero: now; at most 365 days, longer ones are cut). The earliest
    /// wins: where the key is ready or has an earlier deadline, this changes nothing; and for a key in flight the
    /// time runs from this call, not from the worker's end.
    ///
    /// A key that still waits when the queue is shut down is dropped. Upstream: `AddAfter`.
    pub fn add_after(&self, key: K, delay: Duration) -> Added {
        self.ask(key, Wanted { after: delay, ..Wanted::default() })
    }

    /// Asks for the key to be worked on, with a delay, a priority and a reason. Upstream: controller-runtime's
    /// `AddWithOpts`.
    pub fn add_with(&self, key: K, ask: Ask) -> Added {
        self.ask(key, Shared::<K>::wanted(ask))
    }

    /// Asks for the key to be worked on after what the rate limiter says, and counts as a failure of the key. Upstream:
    /// `AddRateLimited`. A worker says [`WorkItem::retry`](crate::WorkItem::retry) instead; for a key in flight this is
    /// no more than a delay, since its worker's outcome decides about its failures.
    pub fn add_rate_limited(&self, key: K) -> Added {
        self.intern(key).add_rate_limited()
    }

    /// A handle to the key, for those who add it often: adding by it hashes nothing. Doesn't add the key.
    #[must_use]
    pub fn intern(&self, key: K) -> KeyId<K> {
        KeyId::new(self.shared.clone(), key)
    }

    fn ask(&self, key: K, mut wanted: Wanted) -> Added {
        wanted.flow = self.shared.flow(&key);
        let hash = self.shared.hash(&key);
        let needs_time = !wanted.after.is_zero();
        self.shared.change_timed(needs_time, |ledger, now| {
            ledger.add(ledger.find(hash, &key), hash, Cow::Owned(key), wanted, now)
        })
    }
}

/// What the queue remembers of a key.
impl<K: Eq + Hash> WorkQueue<K> {
    /// Withdraws what the key waits for: a delay, a backoff or a debounced add. A key that was only waiting is
    /// forgotten, and so are its failures. A key in flight keeps the reason and the priority that came with it, for
    /// the next time it is asked for before it is done. False: it waits for nothing, or is ready, which stays so.
    pub fn withdraw(&self, key: &K) -> bool {
        self.with_id(key, |ledger, id, now| ledger.withdraw(id, now)).unwrap_or(false)
    }

    /// How often the key has failed in a row, as of its last outcome; zero if it isn't in the queue. Upstream:
    /// `NumRequeues`.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        let hash = self.shared.hash(key);
        self.shared.look(|ledger| ledger.find(hash, key).map_or(0, |id| ledger.failures(id)))
    }

    /// Forgets the key's failures; a delay that they have led to stands. Upstream: `Forget`, which nobody has to call
    /// here, since outcomes do. For a key in flight, see [`WorkItem::forget`](crate::WorkItem::forget).
    pub fn forget(&self, key: &K) {
        self.with_id(key, |ledger, id, _| ledger.set_failures(id, 0));
    }

    fn with_id<R>(&self, key: &K, change: impl FnOnce(&mut Ledger<K>, Id, Moment) -> R) -> Option<R> {
        let hash = self.shared.hash(key);
        self.shared.change(|ledger, now| ledger.find(hash, key).map(|id| change(ledger, id, now)))
    }
}

/// Pausing, resuming, and sending keys back to work.
impl<K> WorkQueue<K> {
    /// Hands out nothing until [`WorkQueue::resume`]. Adds are accepted, what is in flight finishes, time goes on. A
    /// queue that is shut down can't be paused.
    pub fn pause(&self) {
        self.shared.change(|ledger, _| ledger.pause());
    }

    /// Ends a pause of the queue.
    pub fn resume(&self) {
        self.shared.change(|ledger, _| ledger.resume());
    }

    /// Doesn't hand out the key until [`WorkQueue::resume_key`]. Adds of it are accepted, and a worker that has it
    /// finishes. The key needn't be in the queue. If it is ready, this takes time in proportion to the ready keys where
    /// the queue has neither priorities nor flows, and to the flows where it has some.
    ///
    /// The queue remembers a paused key until it is resumed, or the queue shut down; after that, a key that is ready is
    /// dropped by this.
    pub fn pause_key(&self, key: K)
    where
        K: Clone + Eq + Hash,
    {
        let (hash, flow) = (self.shared.hash(&key), self.shared.flow(&key));
        self.shared.change(|ledger, now| ledger.pause_key(hash, key, flow, now));
    }

    /// Ends a pause of the key. False: it wasn't paused.
    pub fn resume_key(&self, key: &K) -> bool
    where
        K: Eq + Hash,
    {
        self.with_id(key, |ledger, id, now| ledger.resume_key(id, now)).unwrap_or(false)
    }

    /// Sends a key that has failed too often back to work, with no failures. False: it isn't exhausted, or the queue
    /// is shut down. The exhausted keys are listed by [`WorkQueue::sight`].
    pub fn retry_exhausted(&self, key: &K) -> bool
    where
        K: Eq + Hash,
    {
        self.with_id(key, |ledger, id, now| ledger.retry_exhausted(id, now)).unwrap_or(false)
    }

    /// The same for all exhausted keys, the longest at rest first. Returns how many these were.
    pub fn retry_all_exhausted(&self) -> usize {
        let exhausted = self.snapshot().exhausted;
        (0..exhausted).take_while(|_| self.shared.change(|ledger, now| ledger.retry_first_exhausted(now))).count()
    }
}

/// Looking at the queue.
impl<K> WorkQueue<K> {
    /// How many keys do what, all read under one lock; a few field accesses. Upstream: `Len` and `ShuttingDown`.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.change(|ledger, _| ledger.snapshot())
    }

    /// Tells the queue's metrics what changes by itself: how long the keys in flight have been so. And the depth once
    /// more, since calls that tell it from several threads may have overtaken each other. Upstream does this every
    /// 500 ms; call it as often, or before each scrape. Looks at every key under the lock.
    pub fn observe(&self) {
        self.shared.observe();
    }
}
