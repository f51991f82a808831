//! Real threads: producers, workers that end in every way, and drainers.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use watchkeeper_workqueue::{Added, Config, Exponential, WorkItem, WorkQueue};

const KEYS: usize = 40;
const PRODUCERS: u64 = 4;
const WORKERS: u64 = 4;
const ADDS: u64 = 20_000;

/// What is known of each key.
#[derive(Default)]
struct Key {
    /// Counted up before each add.
    asked: AtomicU64,
    /// What `asked` was when the last processing started.
    served: AtomicU64,
    busy: AtomicBool,
    runs: AtomicU64,
}

type Keys = Arc<Vec<Key>>;

async fn produce(queue: WorkQueue<usize>, keys: Keys, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..ADDS {
        let key = random.usize(..KEYS);
        if random.u8(..20) == 0 {
            queue.add_after(key, Duration::from_micros(random.u64(..3000)));
        } else {
            keys[key].asked.fetch_add(1, SeqCst);
            assert_ne!(queue.add(key), Added::Refused);
        }
        if random.u8(..4) == 0 {
            yield_now().await;
        }
    }
}

/// Marks the key as busy for as long as it lives.
struct Busy(Keys, usize);

impl Busy {
    fn new(keys: &Keys, key: usize) -> Self {
        assert!(!keys[key].busy.swap(true, SeqCst), "two workers on key {key}");
        let asked = keys[key].asked.load(SeqCst);
        keys[key].runs.fetch_add(1, SeqCst);
        keys[key].served.fetch_max(asked, SeqCst);
        Self(keys.clone(), key)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0[self.1].busy.store(false, SeqCst);
    }
}

/// What a worker holds. Dropped in this order: the key is marked as free before it can be handed out again.
struct Held {
    busy: Busy,
    item: WorkItem<usize>,
}

async fn process(held: Held, dice: u8) {
    if dice.is_multiple_of(4) {
        yield_now().await;
    }
    if dice == 0 {
        std::panic::resume_unwind(Box::new("planted"));
    }
    if dice == 1 {
        std::future::pending::<()>().await;
    }
    let Held { busy, item } = held;
    drop(busy);
    match dice {
        2..6 => drop(item),
        6..14 => {
            item.retry();
        }
        14..20 => item.after(Duration::from_micros(500)),
        20..22 => item.give_up(),
        _ => item.done(),
    }
}

async fn work(queue: WorkQueue<usize>, keys: Keys, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        // Now and then a call of `next` is given up after it was polled.
        let dice = random.u8(..64);
        let item = tokio::select! {
            biased;
            item = queue.next() => item,
            () = yield_now(), if dice % 8 == 7 => continue,
        };
        let Some(item) = item else { return };
        let mut task = JoinSet::new();
        let held = Held { busy: Busy::new(&keys, *item.key()), item };
        task.spawn(process(held, dice));
        if dice == 1 {
            yield_now().await;
            task.abort_all();
        }
        let ended = task.join_next().await.expect("one task");
        if let Err(error) = ended {
            let planted = error.is_cancelled()
                || error.into_panic().downcast_ref::<&str>().is_some_and(|message| *message == "planted");
            assert!(planted, "a worker failed");
        }
    }
}

/// Goal: no accepted add is lost (some processing starts after it) and no key is with two workers at once, also when
/// workers panic or are cancelled; both drains end. Method: per key, producers count up before they add and workers
/// note the count when they start; at the end the two are equal.
#[test]
fn no_add_is_lost_and_no_key_is_with_two_workers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().expect("runtime");
    runtime.block_on(async {
        let rate_limiter = Exponential { base: Duration::from_millis(1), max: Duration::from_millis(4) };
        let queue =
            WorkQueue::new(Config { name: "stress".into(), rate_limiter: Box::new(rate_limiter), ..Config::default() });
        let keys: Keys = Arc::new((0..KEYS).map(|_| Key::default()).collect());
        let mut producers = JoinSet::new();
        let mut rest = JoinSet::new();
        for seed in 0..PRODUCERS {
            producers.spawn(produce(queue.clone(), keys.clone(), seed));
        }
        for seed in 0..WORKERS {
            rest.spawn(work(queue.clone(), keys.clone(), 100 + seed));
        }
        producers.join_all().await;
        for _ in 0..2 {
            let queue = queue.clone();
            rest.spawn(async move { queue.drained().await });
        }
        queue.shut_down();
        rest.join_all().await;

        let seen = queue.snapshot();
        assert_eq!((seen.ready, seen.waiting, seen.in_flight, seen.failing), (0, 0, 0, 0));
        for (name, key) in keys.iter().enumerate() {
            assert_eq!(key.served.load(SeqCst), key.asked.load(SeqCst), "key {name}");
            assert!(key.runs.load(SeqCst) >= 10, "too quiet to show anything: {:?}", key.runs);
        }
    });
}
