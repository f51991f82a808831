//! Failures and delays by themselves: what counts as a failure, what brings a key forward, what takes it back.
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::*;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{Added, Jitter, Policy, RateLimiter, Retried, Unlimited, WorkQueue};

fn plain() -> Queue {
    queue(Policy::default())
}

// Failures from outside of a worker.

/// Goal: a rate limited add waits, counts, and the worker sees the count.
#[tokio::test(start_paused = true)]
async fn a_rate_limited_add_is_a_failure() {
    let queue = plain();
    assert_eq!(queue.add_rate_limited("a"), Added::Queued);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (2, 10 * MS));
    assert_eq!(item.retry(), Retried::In(20 * MS));
    assert_eq!(queue.add_rate_limited("a"), Added::AlreadyQueued, "40 ms is later than 20");
    assert_eq!((queue.failures(&"a"), queue.snapshot().retries), (3, 3));
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (4, 20 * MS));
    item.done();
    assert_eq!((queue.failures(&"a"), queue.snapshot().failing), (0, 0));
}

/// Goal: for a key in flight it is a delay, and what the worker says decides about its failures.
#[tokio::test(start_paused = true)]
async fn a_rate_limited_add_of_a_key_in_flight_is_a_delay() {
    let queue = plain();
    queue.add("a");
    let item = take(&queue);
    assert_eq!(queue.add_rate_limited("a"), Added::WillRerun);
    item.done();
    assert_eq!(queue.failures(&"a"), 0);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (1, 10 * MS));
    assert_eq!(queue.add_rate_limited("a"), Added::WillRerun);
    assert_eq!(item.retry(), Retried::In(10 * MS));
    assert_eq!(queue.failures(&"a"), 1);
}

/// Goal: for a ready key it only counts.
#[tokio::test(start_paused = true)]
async fn a_rate_limited_add_of_a_ready_key_does_not_delay_it() {
    let queue = plain();
    queue.add("a");
    assert_eq!(queue.add_rate_limited("a"), Added::AlreadyQueued);
    let item = take(&queue);
    assert_eq!(item.attempt(), 2);
    item.done();
    assert!(is_waiting(&queue) && queue.snapshot().waiting == 0);
}

/// Goal: forgetting a key's failures leaves its delay alone, and touches no other key.
#[tokio::test(start_paused = true)]
async fn forgotten_failures_leave_the_delay() {
    let queue = plain();
    queue.add_rate_limited("a");
    queue.add_rate_limited("b");
    queue.forget(&"a");
    queue.forget(&"unknown");
    assert_eq!((queue.failures(&"a"), queue.failures(&"b"), queue.snapshot().failing), (0, 1, 1));
    advance(9 * MS).await;
    assert!(is_waiting(&queue));
    advance(MS).await;
    assert_eq!([take(&queue), take(&queue)].map(|item| item.attempt()), [1, 2]);
}

// A worker that waits itself.

/// Goal: a worker that keeps its key while it waits counts as the queue would, and its last word is the queue's.
#[tokio::test(start_paused = true)]
async fn a_worker_can_back_off_with_the_key() {
    let queue = plain();
    queue.add("a");
    let mut item = take(&queue);
    assert_eq!((item.back_off(), item.back_off(), item.attempt()), (10 * MS, 20 * MS, 3));
    assert_eq!(item.retry(), Retried::In(40 * MS));
    let (mut item, _) = wait_for(&queue).await;
    assert_eq!(item.attempt(), 4);
    item.forget();
    assert_eq!((item.attempt(), item.back_off()), (1, 10 * MS));
    assert_eq!(queue.failures(&"a"), 3, "as of the last outcome");
    drop(item);
    let item = take(&queue);
    assert_eq!(item.attempt(), 2, "a cancelled worker's count stays");
    item.done();
    assert_eq!(queue.failures(&"a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_backoff_of_no_time_is_still_a_millisecond() {
    let queue: Queue = queue_with(Policy::default(), Unlimited);
    queue.add("a");
    let mut item = take(&queue);
    assert_eq!(item.back_off(), MS);
    assert_eq!(item.retry(), Retried::In(MS));
    queue.add_rate_limited("b");
    assert!(is_waiting(&queue));
    advance(MS).await;
    assert_eq!(serve_all(&queue), ["a", "b"]);
}

/// Goal: keys that failed together aren't tried again together. Method: a thousand keys, half a second of jitter.
#[tokio::test(start_paused = true)]
async fn jitter_spreads_what_failed_together() {
    let base = watchkeeper_workqueue::Exponential { base: SECOND, max: SECOND };
    let queue: WorkQueue<u32> = queue_with(Policy::default(), Jitter::new(base, 0.5, 3));
    (0..1000).for_each(|key| _ = queue.add(key));
    (0..1000).for_each(|_| _ = take(&queue).retry());
    let start = Instant::now();
    let mut by_tenth = [0; 5];
    for _ in 0..1000 {
        wait_for(&queue).await.0.done();
        by_tenth[((start.elapsed() - SECOND).as_millis() as usize / 100).min(4)] += 1;
    }
    assert!(by_tenth.iter().all(|keys| (150..250).contains(keys)), "{by_tenth:?}");
}

// Taking back and bringing forward.

/// Goal: what a key waits for is taken back, whatever it was; what is ready stays.
#[tokio::test(start_paused = true)]
async fn what_a_key_waits_for_can_be_withdrawn() {
    let queue = plain();
    queue.add_after("delayed", SECOND);
    queue.add("failed");
    take(&queue).retry();
    queue.add("ready");
    queue.add("in flight");
    assert_eq!(serve(&queue), "ready");
    let item = take(&queue);
    queue.add_after("in flight", SECOND);
    queue.add("ready");
    for (key, expected) in [("delayed", true), ("failed", true), ("in flight", true), ("ready", false), ("none", false)]
    {
        assert_eq!(queue.withdraw(&key), expected, "{key}");
        assert!(!queue.withdraw(&key), "{key}: nothing is left");
    }
    let seen = queue.snapshot();
    assert_eq!((seen.waiting, seen.failing, seen.ready, seen.in_flight), (0, 0, 1, 1));
    item.done();
    assert_eq!(serve_all(&queue), ["ready"]);
    advance(HOUR).await;
    assert!(is_waiting(&queue));
    queue.add("failed");
    assert_eq!(take(&queue).attempt(), 1);
}

/// Goal: a worker that sleeps until a deadline that is withdrawn goes on sleeping, for the next one.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_deadline_wakes_nobody_for_nothing() {
    let queue = plain();
    queue.add_after("first", SECOND);
    queue.add_after("second", 2 * SECOND);
    let sleeper = queue.clone();
    let mut worker = tokio::task::JoinSet::new();
    worker.spawn(async move { wait_for(&sleeper).await });
    tokio::task::yield_now().await;
    assert!(queue.withdraw(&"first"));
    let (item, waited) = soon(worker.join_next()).await.expect("one").expect("no panic");
    assert_eq!((*item.key(), waited), ("second", 2 * SECOND));
    item.done();
}

/// Goal: whatever a key waits for, an earlier wish brings it forward and a later one doesn't postpone it; it is handed
/// out once, with its failures.
#[tokio::test(start_paused = true)]
async fn an_earlier_wish_brings_a_key_forward() {
    for (delay, added, expected) in
        [(0, Added::Queued, 0), (3, Added::Queued, 3), (10, Added::AlreadyQueued, 10), (50, Added::AlreadyQueued, 10)]
    {
        let queue = plain();
        queue.add("a");
        take(&queue).retry();
        assert_eq!(queue.add_after("a", delay * MS), added);
        let (item, waited) = wait_for(&queue).await;
        assert_eq!((item.attempt(), waited), (2, expected * MS));
        item.done();
        advance(HOUR).await;
        assert!(is_waiting(&queue));
    }
}

/// A limiter whose delays can be switched, which wants to know the time.
struct Switched(Arc<AtomicBool>, Instant);

impl RateLimiter for Switched {
    fn delay(&self, _failures: u32, now: Instant) -> Duration {
        assert!(now >= self.1, "a time before the queue was made");
        if self.0.load(Ordering::Relaxed) { now - self.1 } else { SECOND }
    }
}

/// Goal: a limiter of one's own is asked with the failures and the time, each time anew.
#[tokio::test(start_paused = true)]
async fn a_limiter_is_asked_each_time() {
    let switch = Arc::new(AtomicBool::new(false));
    let queue: Queue = queue_with(Policy::default(), Switched(switch.clone(), Instant::now()));
    advance(7 * SECOND).await;
    queue.add("a");
    assert_eq!(take(&queue).retry(), Retried::In(SECOND));
    switch.store(true, Ordering::Relaxed);
    advance(SECOND).await;
    assert_eq!(take(&queue).retry(), Retried::In(8 * SECOND));
}

/// Goal: a rate limited add of a key in flight leaves alone what is known of the key's failures, which is as of its
/// last outcome.
#[tokio::test(start_paused = true)]
async fn a_rate_limited_add_does_not_count_while_the_key_is_in_flight() {
    let queue = plain();
    queue.add("a");
    let item = take(&queue);
    queue.add_rate_limited("a");
    queue.add_rate_limited("a");
    assert_eq!((queue.failures(&"a"), queue.snapshot().failing), (0, 0));
    assert_eq!(queue.sight(1).in_flight[0].attempt, item.attempt());
    item.done();
}

// A time that has come while no worker was there.

/// Goal: keys are handed out in the order in which they became ready, and one became so when its time came, not when a
/// worker next looked.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_due_comes_before_one_added_later() {
    let aged = Policy { ageing: Some(watchkeeper_workqueue::Ageing::default()), ..Policy::default() };
    for queue in [plain(), queue(aged)] {
        queue.add("busy");
        let item = take(&queue);
        queue.add_after("due", SECOND);
        advance(5 * SECOND).await;
        queue.add("later");
        advance(5 * SECOND).await;
        item.done();
        assert_eq!(serve_all(&queue), ["due", "later"]);
    }
}

/// Goal: a shut down drops keys that wait for a deadline, not those whose deadline has come.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_due_survives_a_shut_down() {
    let queue = plain();
    queue.add_after("due", SECOND);
    queue.add_after("early", 3 * SECOND);
    advance(2 * SECOND).await;
    queue.shut_down();
    assert_eq!(serve_all(&queue), ["due"]);
    assert!(is_over(&queue));
}

/// Goal: a key whose time has come is seen as one that can be taken, since it can.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_due_is_seen_as_ready() {
    let queue = plain();
    queue.add_after("due", SECOND);
    queue.add_after("early", 3 * SECOND);
    advance(2 * SECOND).await;
    assert_eq!((queue.snapshot().ready, queue.snapshot().waiting), (1, 1));
    assert_eq!(queue.sight(9).ready, ["due"]);
    assert!(!queue.withdraw(&"due"), "ready keys stay");
    assert_eq!(serve_all(&queue), ["due"]);
}
