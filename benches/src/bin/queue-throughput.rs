//! How fast the work queue is, as a ratio to a floor measured in the same run: a plain `Mutex<VecDeque>` that neither
//! drops duplicates nor keeps a key from two workers.
//!
//! Three measures: one key at a time through an empty queue (add, next, done); filling a queue with all keys and
//! emptying it again; two producers and two workers as tasks on two threads, until everything is handed out. Sides
//! alternate, the median of the rounds counts.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches --bin queue-throughput
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts its own load")]

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use watchkeeper_workqueue::{Config, WorkQueue};

type Key = Arc<str>;

/// Producers, and workers.
const TASKS: usize = 2;
/// Producers let others run after this many adds, as a source does that reads from a connection.
const BATCH: usize = 64;

/// Measures the work queue against a plain list behind a lock.
#[derive(Parser)]
struct Size {
    /// How many different keys there are.
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one)]
    keys: usize,
    /// How many adds there are in a measure.
    #[arg(long, default_value_t = 1_000_000, value_parser = at_least_one)]
    adds: usize,
    /// How often each measure is taken.
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    rounds: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

/// What both sides can do.
trait Side: Clone + Send + 'static {
    fn new() -> Self;
    fn add(&self, key: Key);
    /// Takes a key and is done with it. False: over.
    fn serve(&self) -> impl Future<Output = bool> + Send;
    fn close(&self);
}

impl Side for WorkQueue<Key> {
    fn new() -> Self {
        Self::new(Config::default())
    }

    fn add(&self, key: Key) {
        self.add(key);
    }

    async fn serve(&self) -> bool {
        let Some(item) = self.next().await else { return false };
        item.done();
        true
    }

    fn close(&self) {
        self.shut_down();
    }
}

/// The floor: what waiting for anything at all costs.
#[derive(Clone, Default)]
struct Floor(Arc<List>);

#[derive(Default)]
struct List {
    keys: Mutex<VecDeque<Key>>,
    added: Notify,
    closed: AtomicBool,
}

impl Side for Floor {
    fn new() -> Self {
        Self::default()
    }

    fn add(&self, key: Key) {
        self.0.keys.lock().push_back(key);
        self.0.added.notify_one();
    }

    async fn serve(&self) -> bool {
        loop {
            // The order matters: what was added before it was closed is still taken.
            let closed = self.0.closed.load(Ordering::SeqCst);
            if self.0.keys.lock().pop_front().is_some() {
                return true;
            }
            if closed {
                self.0.added.notify_one();
                return false;
            }
            self.0.added.notified().await;
        }
    }

    fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.added.notify_one();
    }
}

fn keys(count: usize) -> Arc<Vec<Key>> {
    let key = |number| format!("namespace-{:04}/deployment-7d4b9c6f5d-{number:012}", number % 100).into();
    Arc::new((0..count).map(key).collect())
}

/// One key at a time through an empty queue.
async fn cycle<S: Side>(keys: Arc<Vec<Key>>, adds: usize) -> f64 {
    let side = S::new();
    let start = Instant::now();
    for key in keys.iter().cycle().take(adds) {
        side.add(key.clone());
        side.serve().await;
    }
    rate(adds, start.elapsed())
}

/// All keys in, then all keys out, as often as it takes.
async fn backlog<S: Side>(keys: Arc<Vec<Key>>, adds: usize) -> f64 {
    let side = S::new();
    let turns = adds.div_ceil(keys.len());
    let start = Instant::now();
    for _ in 0..turns {
        for key in keys.iter() {
            side.add(key.clone());
        }
        for _ in 0..keys.len() {
            side.serve().await;
        }
    }
    rate(turns * keys.len(), start.elapsed())
}

/// Two producers and two workers; each producer has its own part of the keys, so that hardly an add is absorbed.
async fn side_by_side<S: Side>(keys: Arc<Vec<Key>>, adds: usize) -> f64 {
    let side = S::new();
    let served = Arc::new(AtomicU64::new(0));
    let (mut producers, mut workers) = (JoinSet::new(), JoinSet::new());
    let start = Instant::now();
    for _ in 0..TASKS {
        let (side, served) = (side.clone(), served.clone());
        workers.spawn(async move {
            let mut count = 0;
            while side.serve().await {
                count += 1;
            }
            served.fetch_add(count, Ordering::Relaxed);
        });
    }
    for first in 0..TASKS {
        let (side, keys) = (side.clone(), keys.clone());
        producers.spawn(async move {
            let own = keys.iter().cycle().skip(first).step_by(TASKS);
            for (index, key) in own.take(adds / TASKS).enumerate() {
                side.add(key.clone());
                if index % BATCH == BATCH - 1 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    producers.join_all().await;
    side.close();
    workers.join_all().await;
    let elapsed = start.elapsed();
    // An absorbed add costs less than a served one: only what was handed out counts.
    rate(usize::try_from(served.load(Ordering::Relaxed)).unwrap_or(usize::MAX), elapsed)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

struct Bench {
    rounds: usize,
    runtime: Runtime,
}

impl Bench {
    /// Takes a measure of both sides in turn and prints the medians.
    fn compare<A, B>(&self, name: &str, ours: impl Fn() -> A, floor: impl Fn() -> B)
    where
        A: Future<Output = f64> + Send + 'static,
        B: Future<Output = f64> + Send + 'static,
    {
        let (mut our_rates, mut floor_rates) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            our_rates.push(self.run(ours()));
            floor_rates.push(self.run(floor()));
        }
        let (ours, floor) = (median(our_rates), median(floor_rates));
        println!("{name:<40} {:>8.2} {:>8.2} {:>8.2}", ours / 1e6, floor / 1e6, ours / floor);
    }

    /// As a task, since the thread that blocks on the runtime isn't one of its workers.
    fn run(&self, measure: impl Future<Output = f64> + Send + 'static) -> f64 {
        self.runtime.block_on(async { tokio::spawn(measure).await.expect("a measure doesn't panic") })
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn main() -> std::io::Result<()> {
    let Size { keys: count, adds, rounds } = Size::parse();
    let keys = keys(count);
    let runtime = Builder::new_multi_thread().worker_threads(TASKS).build()?;
    println!("{count} keys, {adds} adds, median of {rounds} rounds; million keys a second\n");
    println!("{:<40} {:>8} {:>8} {:>8}", "", "queue", "floor", "ratio");
    let bench = Bench { rounds, runtime };
    let copy = || keys.clone();
    bench.compare(
        "cycle: one key through an empty queue",
        || cycle::<WorkQueue<Key>>(copy(), adds),
        || cycle::<Floor>(copy(), adds),
    );
    bench.compare(
        "backlog: all keys in, all keys out",
        || backlog::<WorkQueue<Key>>(copy(), adds),
        || backlog::<Floor>(copy(), adds),
    );
    bench.compare(
        "side by side: 2 producers, 2 workers",
        || side_by_side::<WorkQueue<Key>>(copy(), adds),
        || side_by_side::<Floor>(copy(), adds),
    );
    println!("\nThe floor is a list behind a lock: it drops no duplicates and keeps no key from a second worker.");
    Ok(())
}
