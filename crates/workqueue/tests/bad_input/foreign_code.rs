//! Limiters, flow functions and sinks that panic, or call the queue.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::Instant;
use watchkeeper_workqueue::{Added, Config, Flow, Metrics, Policy, RateLimiter, WorkQueue};

use crate::support::*;

// Rate limiters.

/// A limiter that always panics.
struct Broken;

impl RateLimiter for Broken {
    fn delay(&self, _failures: u32, _now: Instant) -> Duration {
        planted()
    }
}

/// Goal: a limiter that panics harms its caller only: the key is there, with its failure counted, and backs off as by
/// default, so that it makes no hot loop either.
#[tokio::test(start_paused = true)]
async fn a_limiter_that_panics_in_a_retry_loses_no_key() {
    let queue: Queue = queue_with(Policy::default(), Broken);
    queue.add("a");
    for (attempt, delay) in [(1, 5), (2, 10), (3, 20)] {
        let item = take(&queue);
        assert_eq!(item.attempt(), attempt);
        assert!(panics(|| item.retry()));
        assert!(is_waiting(&queue));
        tokio::time::advance(delay * MS).await;
    }
    assert_eq!(queue.snapshot().retries, 3);
    assert_eq!(serve(&queue), "a");
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_panics_in_a_rate_limited_add_changes_nothing() {
    let queue: Queue = queue_with(Policy::default(), Broken);
    queue.add("a");
    let before = queue.snapshot();
    assert!(panics(|| queue.add_rate_limited("a")) && panics(|| queue.add_rate_limited("b")));
    assert_eq!((queue.snapshot(), queue.failures(&"a")), (before, 0));
    assert_eq!(serve_all(&queue), ["a"]);
}

/// Goal: a worker that asks a broken limiter and survives it still has its key.
#[tokio::test(start_paused = true)]
async fn a_limiter_that_panics_in_a_back_off_leaves_the_key() {
    let queue: Queue = queue_with(Policy::default(), Broken);
    queue.add("a");
    let mut item = take(&queue);
    assert!(panics(|| item.back_off()));
    assert_eq!((queue.snapshot().in_flight, queue.add("a")), (1, Added::WillRerun));
    item.done();
    assert_eq!(serve_all(&queue), ["a"]);
}

/// A limiter that adds another key to the queue each time it is asked.
struct Nosy(Arc<OnceLock<Queue>>);

impl RateLimiter for Nosy {
    fn delay(&self, failures: u32, _now: Instant) -> Duration {
        let queue = self.0.get().expect("set");
        assert_eq!(queue.failures(&"a"), failures - 1);
        queue.add("b");
        MS
    }
}

/// Goal: a limiter is asked without the queue's lock, so it may call the queue, also while a panic drops an item.
#[tokio::test(start_paused = true)]
async fn a_limiter_may_call_the_queue() {
    let cell = Arc::new(OnceLock::new());
    let queue: Queue = queue_with(Policy::default(), Nosy(cell.clone()));
    cell.set(queue.clone()).expect("once");
    queue.add("a");
    take(&queue).retry();
    assert_eq!(serve_all(&queue), ["b"]);
    let (item, _) = wait_for(&queue).await;
    panic_with(item);
    assert_eq!(serve_all(&queue), ["b"]);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((*item.key(), item.attempt(), waited), ("a", 3, MS));
    item.done();
}

// Flow functions.

/// Goal: a flow function that panics harms its caller only.
#[tokio::test(start_paused = true)]
async fn a_flow_function_that_panics_changes_nothing() {
    let works = Arc::new(AtomicBool::new(true));
    let asked = works.clone();
    let flow: Flow<&'static str> = Box::new(move |key| {
        if !asked.load(Ordering::Relaxed) {
            planted();
        }
        key.len() as u64
    });
    let queue: Queue = queue(Policy { flow: Some(flow), ..Policy::default() });
    queue.add("a");
    queue.add("bb");
    let before = queue.snapshot();
    works.store(false, Ordering::Relaxed);
    assert!(panics(|| queue.add("a")) && panics(|| queue.add("c")) && panics(|| queue.add_after("c", SECOND)));
    assert!(panics(|| queue.pause_key("a")) && panics(|| queue.intern("c")) && panics(|| queue.add_rate_limited("c")));
    assert_eq!(queue.snapshot(), before);
    works.store(true, Ordering::Relaxed);
    assert_eq!(queue.add("a"), Added::AlreadyQueued);
    assert_eq!(serve_all(&queue), ["a", "bb"]);
}

/// Goal: a flow function is asked without the queue's lock.
#[tokio::test(start_paused = true)]
async fn a_flow_function_may_look_at_the_queue() {
    let cell: Arc<OnceLock<Queue>> = Arc::default();
    let asked = cell.clone();
    let flow: Flow<&'static str> = Box::new(move |_| asked.get().map_or(0, |queue| queue.snapshot().ready as u64));
    let queue: Queue = queue(Policy { flow: Some(flow), ..Policy::default() });
    cell.set(queue.clone()).expect("once");
    queue.add("a");
    queue.add("b");
    assert_eq!(serve_all(&queue), ["a", "b"]);
}

// Metrics sinks.

/// A sink that always panics, and counts how often.
#[derive(Default)]
struct BrokenSink(AtomicU32);

impl BrokenSink {
    fn fail(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        planted()
    }
}

impl Metrics for BrokenSink {
    fn depth(&self, _: usize) {
        self.fail();
    }
    fn adds(&self, _: u64) {
        self.fail();
    }
    fn queue_duration(&self, _: Duration) {
        self.fail();
    }
    fn work_duration(&self, _: Duration) {
        self.fail();
    }
    fn retries(&self, _: u64) {
        self.fail();
    }
    fn unfinished_work(&self, _: Duration) {
        self.fail();
    }
    fn longest_running_processor(&self, _: Duration) {
        self.fail();
    }
}

/// Goal: a sink that panics is heard by nobody: no call panics, no worker sleeps on, no key is lost, not even when the
/// worker panics, too.
#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_changes_nothing() {
    let sink = Arc::new(BrokenSink::default());
    let queue: Queue = WorkQueue::new(Config { metrics: Some(sink.clone()), ..Config::default() });
    let mut worker = JoinSet::new();
    let other = queue.clone();
    worker.spawn(async move { other.next().await.map(panic_with) });
    yield_now().await;
    assert_eq!(queue.add("a"), Added::Queued);
    assert_eq!(soon(worker.join_next()).await.expect("one").expect("the panic was caught"), Some(()));
    queue.observe();
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (2, 5 * MS));
    queue.observe();
    drop(item);
    take(&queue).retry();
    queue.shut_down();
    assert!(is_over(&queue) && is_drained(&queue));
    assert!(sink.0.load(Ordering::Relaxed) >= 10, "it was never asked");
}

/// A limiter that counts a failure of the key itself while it is asked for the first time.
struct Meddling(Arc<OnceLock<Queue>>, AtomicBool);

impl RateLimiter for Meddling {
    fn delay(&self, _failures: u32, _now: Instant) -> Duration {
        if !self.1.swap(true, Ordering::Relaxed) {
            self.0.get().expect("set").add_rate_limited("a");
        }
        MS
    }
}

/// Goal: two failures are two, also if one is counted while the other's delay is computed, as by two threads at once.
#[tokio::test(start_paused = true)]
async fn no_failure_is_lost_beside_another_one() {
    let cell = Arc::new(OnceLock::new());
    let queue: Queue = queue_with(Policy::default(), Meddling(cell.clone(), AtomicBool::new(false)));
    cell.set(queue.clone()).expect("once");
    queue.add_rate_limited("a");
    assert_eq!((queue.snapshot().retries, queue.failures(&"a")), (2, 2));
}

/// Runs a test of this file in a process of its own, since it may end the process. True: it came to its end.
fn survives(test: &str) -> bool {
    let mut child = std::process::Command::new(std::env::current_exe().expect("a test binary"));
    child.args(["--exact", "--ignored", "--quiet", test]);
    let ended = child.output().expect("it starts");
    ended.status.success() && String::from_utf8_lossy(&ended.stdout).contains("1 passed")
}

/// Goal: a limiter that panics, while a worker's panic drops its item, doesn't end the process: the key backs off as by
/// default.
#[test]
fn a_limiter_that_panics_beside_a_worker_ends_no_process() {
    assert!(survives("foreign_code::in_a_process_of_its_own::a_worker_panics"));
}

/// Goal: the same where it is the limiter's own panic, in a worker that asks it, that drops the item.
#[test]
fn a_limiter_that_panics_in_a_worker_ends_no_process() {
    assert!(survives("foreign_code::in_a_process_of_its_own::a_worker_backs_off"));
}

mod in_a_process_of_its_own {
    use super::*;

    async fn assert_backs_off(queue: &Queue) {
        let (item, waited) = wait_for(queue).await;
        assert_eq!((item.attempt(), waited), (2, 5 * MS));
        item.done();
        assert!(is_drained(queue));
    }

    #[tokio::test(start_paused = true)]
    #[ignore = "may end the process"]
    async fn a_worker_panics() {
        let queue: Queue = queue_with(Policy::default(), Broken);
        queue.add("a");
        panic_with(take(&queue));
        assert_backs_off(&queue).await;
    }

    #[tokio::test(start_paused = true)]
    #[ignore = "may end the process"]
    async fn a_worker_backs_off() {
        let queue: Queue = queue_with(Policy::default(), Broken);
        queue.add("a");
        let item = take(&queue);
        assert!(panics(move || {
            let mut item = item;
            item.back_off()
        }));
        assert_backs_off(&queue).await;
    }
}
