//! Each behaviour of the queue by name, under paused time. Where client-go tests the same, its test is named.
#![allow(clippy::disallowed_methods)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{Added, Config, Exponential, RateLimiter, Retried, WorkItem, WorkQueue};

const MS: Duration = Duration::from_millis(1);

type Queue = WorkQueue<&'static str>;
type Outcome = fn(WorkItem<&'static str>);

/// A queue with per-key backoff from 10 ms to 1 s and no overall limit.
fn queue() -> Queue {
    queue_with(Exponential { base: 10 * MS, max: 1000 * MS })
}

fn queue_with(rate_limiter: impl RateLimiter + 'static) -> Queue {
    WorkQueue::new(Config { name: "test".into(), rate_limiter: Box::new(rate_limiter), ..Config::default() })
}

/// What `next` returns without waiting: None where it would wait.
fn poll(queue: &Queue) -> Option<Option<WorkItem<&'static str>>> {
    queue.next().now_or_never()
}

fn take(queue: &Queue) -> WorkItem<&'static str> {
    poll(queue).expect("a key is ready").expect("the queue isn't over")
}

fn is_waiting(queue: &Queue) -> bool {
    poll(queue).is_none()
}

// Guarantees: dedup, single flight, re-run.

/// TestLen, TestCollapse.
#[tokio::test(start_paused = true)]
async fn a_key_added_often_is_handed_out_once() {
    let queue = queue();
    assert_eq!(queue.add("a"), Added::Queued);
    assert_eq!(queue.add("a"), Added::AlreadyQueued);
    assert_eq!(queue.add("a"), Added::AlreadyQueued);
    assert_eq!((queue.snapshot().ready, queue.snapshot().adds), (1, 1));
    take(&queue).done();
    assert!(is_waiting(&queue));
}

#[tokio::test(start_paused = true)]
async fn keys_are_handed_out_in_the_order_in_which_they_became_ready() {
    let queue = queue();
    for key in ["a", "b", "a", "c"] {
        queue.add(key);
    }
    assert_eq!([*take(&queue).key(), *take(&queue).key(), *take(&queue).key()], ["a", "b", "c"]);
}

/// TestReinsert, TestCollapseWhileProcessing: a second worker is not given the key, and there is one re-run.
#[tokio::test(start_paused = true)]
async fn a_key_added_while_in_flight_runs_exactly_once_more_afterwards() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue);
    assert_eq!(queue.add("a"), Added::WillRerun);
    assert_eq!(queue.add("a"), Added::WillRerun);
    assert!(is_waiting(&queue), "two workers on one key");
    item.done();
    take(&queue).done();
    assert!(is_waiting(&queue));
    assert_eq!(queue.snapshot().adds, 2);
}

/// Goal: the re-run doesn't wait for the delay that the finished worker asked for, and takes its place.
#[tokio::test(start_paused = true)]
async fn an_add_while_in_flight_beats_every_outcome() {
    let outcomes: [(&str, Outcome); 5] = [
        ("done", WorkItem::done),
        ("after", |item| item.after(1000 * MS)),
        ("retry", |item| {
            item.retry();
        }),
        ("give_up", WorkItem::give_up),
        ("drop", drop),
    ];
    for (name, outcome) in outcomes {
        let queue = queue();
        queue.add("a");
        let item = take(&queue);
        queue.add("a");
        outcome(item);
        let item = take(&queue);
        assert_eq!(queue.snapshot().waiting, 0, "{name}");
        item.done();
        advance(Duration::from_secs(3600)).await;
        assert!(is_waiting(&queue), "{name} ran a third time");
    }
}

// Outcomes.

/// TestGarbageCollection: nothing of a finished key stays.
#[tokio::test(start_paused = true)]
async fn a_finished_key_is_not_kept() {
    let queue = WorkQueue::new(Config::default());
    let key = std::sync::Arc::new("a");
    queue.add(key.clone());
    queue.next().await.expect("ready").done();
    assert_eq!(std::sync::Arc::strong_count(&key), 1);
}

#[tokio::test(start_paused = true)]
async fn done_forgets_failures() {
    let queue = queue();
    queue.add("a");
    assert_eq!(take(&queue).retry(), Retried::In(10 * MS));
    advance(10 * MS).await;
    let item = take(&queue);
    assert_eq!((item.attempt(), queue.snapshot().failing), (2, 1));
    item.done();
    assert_eq!(queue.snapshot().failing, 0);
    queue.add("a");
    assert_eq!(take(&queue).attempt(), 1);
}

/// TestRateLimitingQueue.
#[tokio::test(start_paused = true)]
async fn retry_counts_failures_and_backs_off() {
    let queue = queue();
    queue.add("a");
    for (attempt, delay) in [(1, 10), (2, 20), (3, 40), (4, 80)] {
        let item = take(&queue);
        assert_eq!(item.attempt(), attempt);
        assert_eq!(item.retry(), Retried::In(delay * MS));
        advance((delay - 1) * MS).await;
        assert!(is_waiting(&queue));
        advance(MS).await;
    }
    assert_eq!((queue.snapshot().retries, queue.snapshot().failing), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn an_add_brings_a_retry_forward_and_keeps_its_failures() {
    let queue = queue();
    queue.add("a");
    take(&queue).retry();
    assert_eq!(queue.add("a"), Added::Queued);
    let item = take(&queue);
    assert_eq!(item.attempt(), 2);
    item.done();
    advance(Duration::from_secs(10)).await;
    assert!(is_waiting(&queue), "the retry stood beside the add");
}

#[tokio::test(start_paused = true)]
async fn after_forgets_failures_and_delays() {
    let queue = queue();
    queue.add("a");
    take(&queue).retry();
    queue.add("a");
    take(&queue).after(500 * MS);
    assert_eq!((queue.snapshot().failing, queue.snapshot().waiting), (0, 1));
    advance(499 * MS).await;
    assert!(is_waiting(&queue));
    advance(MS).await;
    assert_eq!(take(&queue).attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_no_time_is_ready_at_once() {
    let queue = queue();
    queue.add("a");
    take(&queue).after(Duration::ZERO);
    take(&queue).done();
}

#[tokio::test(start_paused = true)]
async fn giving_up_forgets_failures_and_is_counted() {
    let queue = queue();
    queue.add("a");
    take(&queue).retry();
    queue.add("a");
    take(&queue).give_up();
    let seen = queue.snapshot();
    assert_eq!((seen.given_up, seen.failing, seen.waiting, seen.ready), (1, 0, 0, 0));
    queue.add("a");
    assert_eq!(take(&queue).attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_item_dropped_without_outcome_is_ready_at_once() {
    let queue = queue();
    queue.add("a");
    take(&queue).retry();
    queue.add("a");
    drop(take(&queue));
    assert_eq!(take(&queue).attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_item_dropped_by_a_panic_backs_off() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _item = item;
        std::panic::resume_unwind(Box::new("planted"));
    }));
    assert!(panicked.is_err());
    assert!(is_waiting(&queue));
    assert_eq!((queue.snapshot().waiting, queue.snapshot().retries), (1, 1));
    advance(10 * MS).await;
    assert_eq!(take(&queue).attempt(), 2);
}

/// Goal: a worker task that panics or is aborted doesn't take its key along. Method: real tasks.
#[tokio::test(start_paused = true)]
async fn a_key_survives_its_worker() {
    let queue = queue();
    queue.add("a");
    let worker = queue.clone();
    let panicking = tokio::spawn(async move {
        let _item = worker.next().await;
        std::panic::resume_unwind(Box::new("planted"));
    });
    assert!(panicking.await.expect_err("it panics").is_panic());

    let worker = queue.clone();
    let cancelled = tokio::spawn(async move {
        let _item = worker.next().await;
        std::future::pending::<()>().await;
    });
    advance(10 * MS).await;
    tokio::task::yield_now().await;
    assert_eq!(queue.snapshot().in_flight, 1);
    cancelled.abort();
    assert!(cancelled.await.expect_err("it was aborted").is_cancelled());
    assert_eq!(take(&queue).attempt(), 2);
}

// Delays.

/// TestSimpleQueue.
#[tokio::test(start_paused = true)]
async fn add_after_is_handed_out_when_due_and_once() {
    let queue = queue();
    let start = Instant::now();
    assert_eq!(queue.add_after("a", 50 * MS), Added::Queued);
    assert!(is_waiting(&queue));
    let item = queue.next().await.expect("due");
    assert_eq!(start.elapsed(), 50 * MS);
    item.done();
    advance(Duration::from_secs(60)).await;
    assert!(is_waiting(&queue));
}

/// TestDeduping: the earlier time wins whichever came first; delivered once.
#[tokio::test(start_paused = true)]
async fn the_earliest_delay_wins() {
    for [first, second] in [[30_u32, 50], [50, 30]] {
        let queue = queue();
        let start = Instant::now();
        queue.add_after("a", first * MS);
        let earlier = if second < first { Added::Queued } else { Added::AlreadyQueued };
        assert_eq!(queue.add_after("a", second * MS), earlier);
        queue.next().await.expect("due").done();
        assert_eq!(start.elapsed(), 30 * MS);
        advance(Duration::from_secs(60)).await;
        assert!(is_waiting(&queue));
    }
}

/// TestAddTwoFireEarly, TestCopyShifting: by deadline, equal ones in the order of the calls.
#[tokio::test(start_paused = true)]
async fn delayed_keys_come_in_the_order_of_their_deadlines() {
    let queue = queue();
    queue.add_after("c", 1000 * MS);
    queue.add_after("b", 500 * MS);
    queue.add_after("a", 250 * MS);
    queue.add_after("d", 1000 * MS);
    let mut order = Vec::new();
    for _ in 0..4 {
        let item = queue.next().await.expect("due");
        order.push(*item.key());
        item.done();
    }
    assert_eq!(order, ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn an_add_brings_a_delayed_key_forward() {
    let queue = queue();
    queue.add_after("a", Duration::from_secs(60));
    assert_eq!(queue.add("a"), Added::Queued);
    take(&queue).done();
    assert_eq!(queue.snapshot().waiting, 0);
    advance(Duration::from_secs(60)).await;
    assert!(is_waiting(&queue));
}

#[tokio::test(start_paused = true)]
async fn a_ready_key_absorbs_a_delay() {
    let queue = queue();
    queue.add("a");
    assert_eq!(queue.add_after("a", 10 * MS), Added::AlreadyQueued);
    take(&queue).done();
    advance(Duration::from_secs(60)).await;
    assert!(is_waiting(&queue));
}

/// Goal: a delay asked for while a worker has the key isn't lost, whatever that worker's outcome.
#[tokio::test(start_paused = true)]
async fn a_delay_set_while_in_flight_stands() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue);
    assert_eq!(queue.add_after("a", 100 * MS), Added::WillRerun);
    item.done();
    assert!(is_waiting(&queue));
    advance(100 * MS).await;

    let item = take(&queue);
    assert_eq!(queue.add_after("a", 100 * MS), Added::WillRerun);
    item.after(Duration::from_secs(60));
    advance(100 * MS).await;

    let item = take(&queue);
    queue.add_after("a", 100 * MS);
    advance(100 * MS).await;
    assert!(is_waiting(&queue), "due, but in flight");
    item.done();
    take(&queue).done();
    assert!(is_waiting(&queue));
}

#[tokio::test(start_paused = true)]
async fn absurd_delays_are_cut() {
    let queue = queue();
    queue.add_after("a", Duration::MAX);
    queue.add("b");
    take(&queue).after(Duration::MAX);
    let start = Instant::now();
    queue.next().await.expect("due").done();
    queue.next().await.expect("due").done();
    assert_eq!(start.elapsed().as_secs(), 365 * 24 * 3600);
}

// Rate limits.

/// C1 of the failure catalogue, in virtual time: a key that always fails is no hot loop.
#[tokio::test(start_paused = true)]
async fn a_key_that_always_fails_is_tried_a_bounded_number_of_times_a_day() {
    let queue = WorkQueue::new(Config::default());
    queue.add("a");
    let end = Instant::now() + Duration::from_secs(86_400);
    let mut attempts = 0;
    loop {
        let item = queue.next().await.expect("not over");
        if Instant::now() > end {
            break;
        }
        attempts += 1;
        item.retry();
    }
    assert!(attempts <= 19 + 86_400 / 1000, "{attempts} attempts");
}

struct Fixed(Duration);

impl RateLimiter for Fixed {
    fn delay(&self, _failures: u32, _now: Instant) -> Duration {
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_returns_nonsense_neither_loops_nor_overflows() {
    let queue = queue_with(Fixed(Duration::ZERO));
    queue.add("a");
    assert_eq!(take(&queue).retry(), Retried::In(MS));
    assert!(is_waiting(&queue));

    let queue = queue_with(Fixed(Duration::MAX));
    queue.add("a");
    assert_eq!(take(&queue).retry(), Retried::In(Duration::from_secs(365 * 24 * 3600)));
}

struct Panicking;

impl RateLimiter for Panicking {
    fn delay(&self, _failures: u32, _now: Instant) -> Duration {
        std::panic::resume_unwind(Box::new("planted"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_limiter_that_panics_loses_no_key() {
    let queue = queue_with(Panicking);
    queue.add("a");
    let item = take(&queue);
    assert!(catch_unwind(AssertUnwindSafe(|| item.retry())).is_err());
    advance(5 * MS).await;
    assert_eq!(take(&queue).attempt(), 2);
}
