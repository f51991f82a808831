//! The end of a queue: shut down, discard, drain. Under paused time; where client-go tests the same, its test is named.
#![allow(clippy::disallowed_methods)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures::FutureExt;
use tokio::task::{JoinSet, yield_now};
use tokio::time::advance;
use watchkeeper_workqueue::{Added, Config, WorkItem, WorkQueue};

type Queue = WorkQueue<&'static str>;

fn queue() -> Queue {
    WorkQueue::new(Config::default())
}

fn take(queue: &Queue) -> WorkItem<&'static str> {
    queue.next().now_or_never().expect("a key is ready").expect("the queue isn't over")
}

fn is_over(queue: &Queue) -> bool {
    matches!(queue.next().now_or_never(), Some(None))
}

fn is_drained(queue: &Queue) -> bool {
    queue.drained().now_or_never().is_some()
}

/// Fails where waiting would never end: paused time runs ahead when nobody else has anything to do.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(3600), future).await.expect("it sleeps for ever")
}

/// TestBasic, its second half: nothing that is added after the shut down is seen.
#[tokio::test(start_paused = true)]
async fn late_adds_are_refused() {
    let queue = queue();
    queue.shut_down();
    queue.shut_down();
    assert_eq!(queue.add("a"), Added::Refused);
    assert_eq!(queue.add_after("a", Duration::from_secs(1)), Added::Refused);
    assert!(is_over(&queue) && queue.snapshot().shut_down);
}

#[tokio::test(start_paused = true)]
async fn ready_keys_are_still_handed_out_after_a_shut_down() {
    let queue = queue();
    queue.add("a");
    queue.add("b");
    queue.shut_down();
    take(&queue).done();
    take(&queue).done();
    assert!(is_over(&queue));
}

#[tokio::test(start_paused = true)]
async fn waiting_keys_are_dropped_by_a_shut_down() {
    let queue = queue();
    queue.add_after("a", Duration::from_secs(1));
    queue.add("b");
    take(&queue).retry();
    queue.shut_down();
    assert!(is_over(&queue));
    let seen = queue.snapshot();
    assert_eq!((seen.waiting, seen.failing), (0, 0));
}

/// TestAddWhileProcessing, TestQueueDrainageUsingShutDownWithDrainWithDirtyItem: the accepted add is kept, the end
/// and the drain wait for it.
#[tokio::test(start_paused = true)]
async fn a_key_in_flight_that_was_added_again_runs_once_more_after_a_shut_down() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue);
    assert_eq!(queue.add("a"), Added::WillRerun);
    queue.shut_down();
    let other = queue.clone();
    let mut workers = JoinSet::new();
    workers.spawn(async move { other.next().await.map(WorkItem::done) });
    yield_now().await;
    assert!(workers.try_join_next().is_none(), "it must wait for the re-run");
    item.retry();
    assert!(!is_drained(&queue));
    assert_eq!(soon(workers.join_next()).await.expect("one").expect("no panic"), Some(()));
    assert!(is_over(&queue) && is_drained(&queue));
}

#[tokio::test(start_paused = true)]
async fn outcomes_after_a_shut_down_keep_no_key() {
    let outcomes: [fn(WorkItem<&'static str>); 5] = [
        WorkItem::done,
        |item| item.after(Duration::ZERO),
        |item| {
            item.retry();
        },
        WorkItem::give_up,
        drop,
    ];
    for outcome in outcomes {
        let queue = queue();
        queue.add("a");
        let item = take(&queue);
        queue.shut_down();
        outcome(item);
        assert!(is_over(&queue) && is_drained(&queue));
        let seen = queue.snapshot();
        assert_eq!((seen.ready, seen.waiting, seen.in_flight, seen.failing), (0, 0, 0, 0));
    }
}

/// Goal: a shut down reaches every waiting worker, the one that keeps the time, too.
#[tokio::test(start_paused = true)]
async fn a_shut_down_ends_every_waiting_worker() {
    let queue = queue();
    queue.add_after("a", Duration::from_secs(3600));
    let mut workers = JoinSet::new();
    for _ in 0..10 {
        let queue = queue.clone();
        workers.spawn(async move { queue.next().await.is_none() });
    }
    yield_now().await;
    queue.shut_down();
    assert!(soon(workers.join_all()).await.into_iter().all(|over| over));
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Goal: workers are woken side by side, not each by the one before it, which may be slow to run. Method: waiting
/// calls that are never polled again.
#[tokio::test(start_paused = true)]
async fn a_shut_down_wakes_all_workers_at_once() {
    let queue = queue();
    let woken = Arc::new(Count::default());
    let waker = Waker::from(woken.clone());
    let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(queue.next())).collect();
    for next in &mut waiting {
        assert!(next.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    }
    queue.add("a");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    take(&queue).done();
    queue.shut_down();
    assert_eq!(woken.0.load(Ordering::Relaxed), 10);
}

/// TestForceQueueShutdownUsingShutDown: what an immediate stop is for.
#[tokio::test(start_paused = true)]
async fn discard_drops_ready_keys_and_lets_those_in_flight_finish() {
    let queue = queue();
    queue.add("a");
    let item = take(&queue);
    queue.add("a");
    queue.add("b");
    queue.add_after("c", Duration::from_secs(1));
    queue.discard();
    assert!(is_over(&queue));
    assert_eq!(queue.add("d"), Added::Refused);
    assert!(!is_drained(&queue), "one is in flight");
    item.retry();
    assert!(is_drained(&queue) && is_over(&queue));
    queue.discard();
}

/// TestQueueDrainageUsingShutDownWithDrain, and what it misses: ready keys count, and every one of several waiters is
/// woken (client-go wakes one of them, and returns with keys still queued).
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_ready_keys_and_those_in_flight_and_wakes_every_waiter() {
    let queue = queue();
    queue.add("a");
    queue.add("b");
    let item = take(&queue);
    queue.shut_down();
    let mut drains = JoinSet::new();
    for _ in 0..5 {
        let queue = queue.clone();
        drains.spawn(async move { queue.drained().await });
    }
    yield_now().await;
    item.done();
    yield_now().await;
    assert!(drains.try_join_next().is_none(), "one is ready");
    let item = take(&queue);
    yield_now().await;
    assert!(drains.try_join_next().is_none(), "one is in flight");
    item.done();
    soon(drains.join_all()).await;
}

/// Goal: a waiter whose moment came isn't cheated of it by an add before it ran.
#[tokio::test(start_paused = true)]
async fn a_drain_before_the_shut_down_sees_its_moment() {
    let queue = queue();
    assert!(is_drained(&queue));
    queue.add("a");
    let mut drain = Box::pin(queue.drained());
    assert!((&mut drain).now_or_never().is_none());
    take(&queue).done();
    queue.add("b");
    assert!(drain.now_or_never().is_some());
    assert!(!is_drained(&queue));
}

/// Goal: keys that wait don't hold up a drain.
#[tokio::test(start_paused = true)]
async fn waiting_keys_do_not_hold_up_a_drain() {
    let queue = queue();
    queue.add_after("a", Duration::from_secs(1));
    assert!(is_drained(&queue));
    advance(Duration::from_secs(1)).await;
    take(&queue).done();
}
