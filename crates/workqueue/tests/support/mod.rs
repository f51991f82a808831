//! What the tests of the rules share: small queues, and looking at them without waiting.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;
use watchkeeper_workqueue::{
    Ask, Config, Exponential, Metrics, Policy, RateLimiter, Reasons, Retried, WorkItem, WorkQueue,
};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// What the queue cuts delays to.
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) type Queue = WorkQueue<&'static str>;
/// What a worker says of its key.
pub(crate) type Outcome = fn(WorkItem<&'static str>);

/// A queue with these rules, per-key backoff from 10 ms doubling to 1 s, and no overall limit.
pub(crate) fn queue<K>(policy: Policy<K>) -> WorkQueue<K> {
    queue_with(policy, Exponential { base: 10 * MS, max: SECOND })
}

pub(crate) fn queue_with<K>(policy: Policy<K>, rate_limiter: impl RateLimiter + 'static) -> WorkQueue<K> {
    let rate_limiter = Box::new(rate_limiter);
    WorkQueue::new(Config { name: "test".into(), rate_limiter, policy, ..Config::default() })
}

/// What `next` returns without waiting: None where it would wait. A test is one poll of tokio, so it must not count
/// against the number of keys that a task may take in a row.
pub(crate) fn poll<K: Clone>(queue: &WorkQueue<K>) -> Option<Option<WorkItem<K>>> {
    tokio::task::unconstrained(queue.next()).now_or_never()
}

pub(crate) fn take<K: Clone>(queue: &WorkQueue<K>) -> WorkItem<K> {
    poll(queue).expect("a key is ready").expect("the queue isn't over")
}

/// Takes a key, ends it well, and says which it was.
pub(crate) fn serve<K: Clone>(queue: &WorkQueue<K>) -> K {
    let item = take(queue);
    let key = item.key().clone();
    item.done();
    key
}

/// All keys that can be taken now, in their order; each is done.
pub(crate) fn serve_all<K: Clone>(queue: &WorkQueue<K>) -> Vec<K> {
    let items: Vec<WorkItem<K>> = std::iter::from_fn(|| poll(queue).flatten()).collect();
    items.into_iter().map(|item| (item.key().clone(), item.done()).0).collect()
}

/// Nothing can be taken now, and the end isn't reached.
pub(crate) fn is_waiting<K: Clone>(queue: &WorkQueue<K>) -> bool {
    poll(queue).is_none()
}

pub(crate) fn is_over<K: Clone>(queue: &WorkQueue<K>) -> bool {
    matches!(poll(queue), Some(None))
}

pub(crate) fn is_drained<K>(queue: &WorkQueue<K>) -> bool {
    queue.drained().now_or_never().is_some()
}

/// Waits for the next key and says how long that took.
pub(crate) async fn wait_for<K: Clone>(queue: &WorkQueue<K>) -> (WorkItem<K>, Duration) {
    let start = Instant::now();
    let item = soon(queue.next()).await.expect("the queue isn't over");
    (item, start.elapsed())
}

/// Fails where waiting would never end: paused time runs ahead when nobody else has anything to do.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(2 * YEAR, future).await.expect("it sleeps for ever")
}

/// How long a failed key is to wait.
pub(crate) fn delay_of(retried: Retried) -> Duration {
    match retried {
        Retried::In(delay) => delay,
        other => unreachable!("it is to be retried: {other:?}"),
    }
}

/// Whether it panics.
pub(crate) fn panics<R>(call: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

/// Panics without a message on the terminal.
pub(crate) fn planted() -> ! {
    std::panic::resume_unwind(Box::new("planted"))
}

/// Ends the item as a worker does that panics.
pub(crate) fn panic_with<K>(item: WorkItem<K>) {
    assert!(panics(|| {
        let _item = item;
        planted()
    }));
}

/// An add at this priority.
pub(crate) fn at(priority: i16) -> Ask {
    Ask { priority, ..Ask::default() }
}

/// An add for this reason.
pub(crate) fn because(reason: &'static str) -> Ask {
    Ask { reason: Some(reason.into()), ..Ask::default() }
}

/// The kept reasons as text.
pub(crate) fn texts(reasons: &Reasons) -> Vec<&str> {
    reasons.kept.iter().map(AsRef::as_ref).collect()
}

/// One call of a metrics sink.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Measure {
    Depth(usize),
    Adds(u64),
    Queued(Duration),
    Worked(Duration),
    Retries(u64),
    Unfinished(Duration),
    Longest(Duration),
}

/// A metrics sink that remembers all calls.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Measure>>>);

impl Recorder {
    /// The calls since the last time this was asked.
    pub(crate) fn take(&self) -> Vec<Measure> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }

    fn note(&self, measure: Measure) {
        self.0.lock().expect("no panic").push(measure);
    }
}

impl Metrics for Recorder {
    fn depth(&self, keys: usize) {
        self.note(Measure::Depth(keys));
    }
    fn adds(&self, more: u64) {
        self.note(Measure::Adds(more));
    }
    fn queue_duration(&self, waited: Duration) {
        self.note(Measure::Queued(waited));
    }
    fn work_duration(&self, worked: Duration) {
        self.note(Measure::Worked(worked));
    }
    fn retries(&self, more: u64) {
        self.note(Measure::Retries(more));
    }
    fn unfinished_work(&self, ages: Duration) {
        self.note(Measure::Unfinished(ages));
    }
    fn longest_running_processor(&self, age: Duration) {
        self.note(Measure::Longest(age));
    }
}
