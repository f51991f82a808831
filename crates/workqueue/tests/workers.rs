//! Workers that wait for keys, under all rules.
//!
//! Goal: whatever the rules and the calls, no worker sleeps while there is a key that it could take, or one whose time
//! has come. Method: real tasks in virtual time; after each call, when everybody has run as far as possible, either
//! nothing is to be had or all workers are busy.
#![allow(clippy::disallowed_methods)]

mod support;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use fastrand::Rng;
use support::*;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, advance, sleep};
use watchkeeper_workqueue::{
    Ageing, Ask, Attempts, Config, Debounce, Exponential, Flow, KeyId, Policy, WorkItem, WorkQueue,
};

const KEYS: u32 = 12;
const WORKERS: usize = 3;

fn random_queue(random: &mut Rng) -> WorkQueue<u32> {
    let flow: Flow<u32> = Box::new(|key| u64::from(*key % 3));
    let debounce = Debounce { quiet: MS * random.u32(0..30), longest: MS * random.u32(0..60) };
    let attempts = Attempts { most: NonZeroU32::MIN.saturating_add(random.u32(..3)), resting: random.usize(..4) };
    let policy = Policy {
        ageing: random.bool().then(|| Ageing { step: MS * random.u32(..100) }),
        flow: random.bool().then_some(flow),
        min_interval: if random.bool() { MS * random.u32(1..80) } else { Duration::ZERO },
        debounce: random.bool().then_some(debounce),
        attempts: random.bool().then_some(attempts),
        reasons: 0,
        capacity: NonZeroUsize::new(random.usize(..8)),
    };
    let rate_limiter = Box::new(Exponential { base: 5 * MS, max: 40 * MS });
    WorkQueue::new(Config { rate_limiter, policy, ages: random.bool(), ..Config::default() })
}

/// Works until the end: for a while, and ends in some way. Now and then a call is given up and another one made.
async fn work(queue: WorkQueue<u32>, seed: u64) {
    let mut random = Rng::with_seed(seed);
    loop {
        let patience = if random.u8(..4) == 0 { MS * random.u32(..20) } else { YEAR };
        let Ok(item) = tokio::time::timeout(patience, queue.next()).await else { continue };
        let Some(item) = item else { return };
        if random.bool() {
            sleep(MS * random.u32(..15)).await;
        }
        end(item, &mut random);
    }
}

fn end(item: WorkItem<u32>, random: &mut Rng) {
    match random.u8(..10) {
        0..3 => _ = item.retry(),
        3 => item.after(MS * random.u32(..30)),
        4 => drop(item),
        5 => item.give_up(),
        _ => item.done(),
    }
}

/// One random call from outside of the workers.
async fn call(queue: &WorkQueue<u32>, handles: &mut Vec<KeyId<u32>>, random: &mut Rng) {
    let key = random.u32(..KEYS);
    match random.u8(..16) {
        0..4 => _ = queue.add(key),
        4 | 5 => _ = queue.add_after(key, MS * random.u32(..50)),
        6 => _ = queue.add_with(key, Ask { priority: random.i16(-5..5), ..Ask::default() }),
        7 => _ = queue.add_rate_limited(key),
        8 if handles.len() < 4 => handles.push(queue.intern(key)),
        8 => _ = handles.swap_remove(random.usize(..4)).add(),
        9 => _ = queue.withdraw(&key),
        10 => queue.pause_key(key),
        11 => _ = queue.resume_key(&key),
        12 if random.bool() => queue.pause(),
        12 => queue.resume(),
        13 => _ = queue.retry_exhausted(&key),
        _ => advance(MS * random.u32(..20)).await,
    }
}

#[tokio::test(start_paused = true)]
async fn no_worker_sleeps_beside_a_key() {
    for seed in 0..300 {
        let mut random = Rng::with_seed(seed);
        let queue = random_queue(&mut random);
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS as u64 {
            workers.spawn(work(queue.clone(), seed * 10 + worker));
        }
        let mut handles = Vec::new();
        for step in 0..300 {
            call(&queue, &mut handles, &mut random).await;
            // Who is woken may take a key, end it and wake another one.
            for _ in 0..20 {
                yield_now().await;
            }
            let sight = queue.sight(usize::MAX);
            let is_in_flight = |key| sight.in_flight.iter().any(|at| at.key == key);
            let due = sight.waiting.iter().any(|at| at.due <= Instant::now() && !is_in_flight(at.key));
            let idle = sight.in_flight.len() < WORKERS;
            let could = sight.snapshot.ready > 0 || due;
            assert!(sight.snapshot.paused || !idle || !could, "seed {seed}, step {step}: {:?}", sight.snapshot);
        }
        queue.resume();
        queue.shut_down();
        soon(workers.join_all()).await;
        assert!(is_over(&queue) && is_drained(&queue), "seed {seed}");
    }
}
