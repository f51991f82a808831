//! The operations that are counted, each alone on one thread.
//!
//! In: an operation and how often. Out: how often it allocated, as JSON on stdout; the instructions are counted from
//! outside. Keys, delays and counts are fixed. Only the hash's keys are random, which makes probes differ a little. The
//! rate limiter is the one per key: what the one for all keys does depends on the clock.

use std::convert::Infallible;
use std::future::Future;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use watchkeeper::BoxError;
use watchkeeper_workqueue::{WorkItem, WorkQueue};

use crate::ALLOCATOR;
use crate::queue::keys::{Key, delays, keys};
use crate::queue::ours::{OVER, exponential, filled, one_thread};

/// How many different keys there are, whatever the count of operations.
const KEYS: usize = 50_000;

/// The small and the large count of each operation; neither is close above a power of two, where tables grow.
pub(crate) const COUNTS: (usize, usize) = (10_000, KEYS);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// A key through an empty queue: add, next, done.
    Cycle,
    /// An add of a key that is queued.
    DuplicateAdd,
    /// An add of a key that is unknown.
    Add,
    /// Next and done, of a backlog.
    GetDone,
    /// A delayed add of a key that is unknown.
    AddAfter,
    /// The end of a worker that failed.
    Retry,
}

/// What a run says of itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    pub(crate) allocations: usize,
}

impl Operation {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Runs the operation so often. Returns only if that fails.
pub(crate) fn run(operation: Operation, count: usize) -> Result<Infallible, BoxError> {
    if count > KEYS {
        return Err(format!("there are {KEYS} keys only").into());
    }
    let keys = keys(KEYS);
    let some = &keys[..count];
    one_thread()?.block_on(async {
        match operation {
            Operation::Cycle => cycle(&WorkQueue::new(exponential()), some).await,
            Operation::DuplicateAdd => add(&filled(exponential(), &keys), some).await,
            Operation::Add => add(&WorkQueue::new(exponential()), some).await,
            Operation::GetDone => get_done(&filled(exponential(), &keys), count).await,
            Operation::AddAfter => add_after(&WorkQueue::new(exponential()), some).await,
            Operation::Retry => retry(&filled(exponential(), &keys), count).await,
        }
    })
}

async fn cycle(queue: &WorkQueue<Key>, keys: &[Key]) -> Result<Infallible, BoxError> {
    counted(async {
        for key in keys {
            queue.add_ref(key);
            queue.next().await.ok_or(OVER)?.done();
        }
        Ok(())
    })
    .await
}

async fn add(queue: &WorkQueue<Key>, keys: &[Key]) -> Result<Infallible, BoxError> {
    counted(async {
        for key in keys {
            queue.add_ref(key);
        }
        Ok(())
    })
    .await
}

async fn get_done(queue: &WorkQueue<Key>, count: usize) -> Result<Infallible, BoxError> {
    counted(async {
        for _ in 0..count {
            queue.next().await.ok_or(OVER)?.done();
        }
        Ok(())
    })
    .await
}

async fn add_after(queue: &WorkQueue<Key>, keys: &[Key]) -> Result<Infallible, BoxError> {
    counted(async {
        for (key, delay) in keys.iter().zip(delays()) {
            queue.add_after(key.clone(), delay);
        }
        Ok(())
    })
    .await
}

async fn retry(queue: &WorkQueue<Key>, count: usize) -> Result<Infallible, BoxError> {
    let mut items: Vec<WorkItem<Key>> = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        items.push(queue.next().await.ok_or(OVER)?);
    }
    let failed = items.split_off(KEYS - count);
    counted(async {
        for item in failed {
            item.retry();
        }
        Ok(())
    })
    .await
}

/// Runs what is counted, says how often it allocated, and ends the process: dropping the queue would count, too.
async fn counted(operation: impl Future<Output = Result<(), BoxError>>) -> Result<Infallible, BoxError> {
    let before = ALLOCATOR.stats();
    operation.await?;
    let made = ALLOCATOR.stats() - before;
    println!("{}", serde_json::to_string(&Said { allocations: made.allocations + made.reallocations })?);
    std::process::exit(0)
}
