//! How long an idle consumer takes to get a key that is added.
//!
//! In: how many adds. Out: percentiles of the time from before an add to the return of `next`, in microseconds.
//! [`CONSUMERS`] tasks wait; a producer task adds one key each millisecond.
//!
//! The producer has a ticker of its runtime, as the peer's goroutine has: it is woken in a runtime that is otherwise
//! idle, as an event from a watch would wake it. Both tickers drop the ticks they are too late for. Go's ticker runs by
//! itself, while tokio's has to be set again by who waits for it, which takes longer than everything that is measured
//! here; so the producer yields once after each add, and the ticker is set when the consumer has been let run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep};
use watchkeeper::BoxError;
use watchkeeper_workqueue::{Config, WorkQueue};

use super::Size;
use super::keys::{Key, keys, number_of};
use super::measures::Figure;

/// How many tasks wait for keys; also given to the peer.
pub(crate) const CONSUMERS: usize = 4;

pub(crate) fn wake(size: Size) -> Result<Figure, BoxError> {
    let keys = keys(size.n);
    let runtime = Builder::new_multi_thread().enable_time().build()?;
    let mut took = runtime.block_on(runtime.spawn(latencies(keys)))?;
    if took.len() != size.n {
        return Err(format!("{} of {} keys were handed out", took.len(), size.n).into());
    }
    took.sort_unstable();
    Ok(Figure { p50: Some(percentile(&took, 50)), p99: Some(percentile(&took, 99)), ..Figure::default() })
}

async fn latencies(keys: Vec<Key>) -> Vec<Duration> {
    let queue = WorkQueue::new(Config::default());
    let times = Arc::new(Times::new(keys.len()));
    let mut consuming = JoinSet::new();
    for _ in 0..CONSUMERS {
        consuming.spawn(consume(queue.clone(), times.clone()));
    }
    sleep(Duration::from_millis(100)).await; // The consumers are idle.
    let mut ticker = interval(Duration::from_millis(1));
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for (number, key) in keys.into_iter().enumerate() {
        ticker.tick().await;
        times.note(number);
        queue.add(key);
        yield_now().await;
    }
    queue.shut_down();
    consuming.join_all().await.concat()
}

async fn consume(queue: WorkQueue<Key>, times: Arc<Times>) -> Vec<Duration> {
    let mut took = Vec::with_capacity(times.added.len());
    while let Some(item) = queue.next().await {
        took.extend(times.since(item.key()));
        item.done();
    }
    took
}

/// When each key was added, by its number.
struct Times {
    start: Instant,
    added: Vec<AtomicU64>,
}

impl Times {
    fn new(count: usize) -> Self {
        Self { start: Instant::now(), added: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The key with this number is added now. The queue's own lock makes the note visible to who gets the key.
    fn note(&self, number: usize) {
        self.added[number].store(self.now(), Ordering::Relaxed);
    }

    fn since(&self, key: &Key) -> Option<Duration> {
        let now = self.now();
        let added = self.added.get(number_of(key)?)?.load(Ordering::Relaxed);
        Some(Duration::from_nanos(now.saturating_sub(added)))
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e6
}
