//! How many adds a second go through the queue, by the clock on the wall, with many producers and consumers.
//!
//! In: keys, adds, and how many tasks there are of each kind. Out: adds a second, from the start until all are made and
//! drained. The producers add, each its own part of the keys, and the consumers do nothing but `done`; all are tasks of
//! a runtime with its default threads, as the peer's are goroutines.
//!
//! Adds are made in passes: each pass adds each key once to a fresh queue and ends when that is drained, so that no add
//! is absorbed by an earlier one. With keys that cycle, the side whose consumers fall behind would absorb a third of
//! its adds, and a duplicate is cheaper than a key that is handed out.
//!
//! A task that never waits keeps its thread, so producers yield every [`BATCH`] adds, as often as tokio makes a
//! consumer yield that finds a key each time. The peer's goroutines are preempted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use watchkeeper::BoxError;
use watchkeeper_workqueue::{Config, WorkQueue};

use super::Size;
use super::keys::{Key, keys};
use super::measures::Figure;

/// Producers let others run after this many adds.
const BATCH: usize = 128;

#[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
pub(crate) fn adds(size: Size, producers: usize, consumers: usize) -> Result<Figure, BoxError> {
    let keys: Arc<[Key]> = keys(size.keys).into();
    let runtime = Builder::new_multi_thread().enable_time().build()?;
    let (mut made, mut served, mut took) = (0, 0, Duration::ZERO);
    while made < size.n {
        let count = size.keys.min(size.n - made);
        // As a task, since the thread that blocks on the runtime isn't one of its workers.
        let (pass_took, pass_served) =
            runtime.block_on(runtime.spawn(pass(keys.clone(), count, producers, consumers)))?;
        made += count;
        served += pass_served;
        took += pass_took;
    }
    let per_second = made as f64 / took.as_secs_f64();
    Ok(Figure { per_second: Some(per_second), absorbed: Some(made - served), ..Figure::default() })
}

/// Sends the first `count` keys through a queue, and says how many the consumers got.
async fn pass(keys: Arc<[Key]>, count: usize, producers: usize, consumers: usize) -> (Duration, usize) {
    let queue = WorkQueue::new(Config::default());
    let (mut producing, mut consuming) = (JoinSet::new(), JoinSet::new());
    let start = Instant::now();
    for _ in 0..consumers {
        consuming.spawn(consume(queue.clone()));
    }
    for first in 0..producers {
        producing.spawn(produce(queue.clone(), keys.clone(), count, first, producers));
    }
    producing.join_all().await;
    queue.shut_down();
    let served = consuming.join_all().await.into_iter().sum();
    (start.elapsed(), served)
}

async fn produce(queue: WorkQueue<Key>, keys: Arc<[Key]>, count: usize, first: usize, producers: usize) {
    for (index, key) in keys[..count].iter().skip(first).step_by(producers).enumerate() {
        queue.add_ref(key);
        if index % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
}

async fn consume(queue: WorkQueue<Key>) -> usize {
    let mut count = 0;
    while let Some(item) = queue.next().await {
        item.done();
        count += 1;
    }
    count
}
