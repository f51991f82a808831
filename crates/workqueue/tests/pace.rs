//! How often a key is handed out at most: the minimum interval.
#![allow(clippy::disallowed_methods)]

mod support;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use support::*;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{Added, Attempts, Policy, Retried, WorkItem, WorkQueue};

fn spaced<K>(min_interval: Duration) -> WorkQueue<K> {
    queue(Policy { min_interval, ..Policy::default() })
}

/// Goal: the interval runs from one hand-out to the next, whatever the worker took; other keys aren't held up.
#[tokio::test(start_paused = true)]
async fn an_add_right_after_done_waits() {
    let queue = spaced(SECOND);
    queue.add("a");
    let item = take(&queue);
    advance(300 * MS).await;
    item.done();
    assert_eq!((queue.add("a"), queue.add("a")), (Added::Queued, Added::AlreadyQueued));
    assert_eq!((queue.snapshot().ready, queue.snapshot().waiting), (0, 1));
    queue.add("b");
    assert_eq!(serve_all(&queue), ["b"]);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((*item.key(), waited), ("a", 700 * MS));
    item.done();
    advance(HOUR).await;
    assert!(is_waiting(&queue), "once for both");
}

#[tokio::test(start_paused = true)]
async fn an_add_after_the_interval_is_ready_at_once() {
    let queue = spaced(SECOND);
    for _ in 0..3 {
        queue.add("a");
        assert_eq!(serve(&queue), "a");
        advance(SECOND).await;
    }
}

/// Goal: whatever asks for a key, the longer of the interval and what was asked for counts. Method: each outcome, with
/// what the next hand-out has to wait, 100 ms after the last one, where the interval is a second.
#[tokio::test(start_paused = true)]
async fn every_outcome_keeps_the_interval() {
    type End = fn(&Queue, WorkItem<&'static str>);
    let outcomes: [(&str, End, u32); 9] = [
        ("retry", |_, item| _ = item.retry(), 900),
        ("panic", |_, item| panic_with(item), 900),
        ("drop", |_, item| drop(item), 900),
        ("after, none", |_, item| item.after(Duration::ZERO), 900),
        ("after, short", |_, item| item.after(100 * MS), 900),
        ("after, long", |_, item| item.after(3 * SECOND), 3000),
        ("add in flight", |queue, item| (_ = queue.add("a"), item.done()).1, 900),
        ("delay in flight", |queue, item| (_ = queue.add_after("a", 50 * MS), item.done()).1, 900),
        ("add rate limited", |queue, item| (item.done(), _ = queue.add_rate_limited("a")).1, 900),
    ];
    for (name, outcome, expected) in outcomes {
        let queue = spaced(SECOND);
        queue.add("a");
        let item = take(&queue);
        advance(100 * MS).await;
        outcome(&queue, item);
        let (item, waited) = wait_for(&queue).await;
        assert_eq!(waited, expected * MS, "{name}");
        item.done();
    }
}

/// Goal: a long backoff isn't shortened, and an add brings it forward to the end of the interval, not further.
#[tokio::test(start_paused = true)]
async fn an_add_brings_a_backoff_forward_to_the_end_of_the_interval() {
    let queue = queue_with(
        Policy { min_interval: SECOND, ..Policy::default() },
        watchkeeper_workqueue::FastSlow { fast: 5 * SECOND, slow: 5 * SECOND, fast_attempts: 0 },
    );
    queue.add("a");
    assert_eq!(take(&queue).retry(), Retried::In(5 * SECOND));
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (2, 5 * SECOND));
    item.retry();
    assert_eq!(queue.add("a"), Added::Queued);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (3, SECOND));
    item.done();
}

/// Goal: no stream of adds makes a hot loop. Method: a key added each millisecond for ten seconds, with a worker that
/// is always there.
#[tokio::test(start_paused = true)]
async fn a_key_that_changes_all_the_time_is_handed_out_once_an_interval() {
    let queue = spaced(SECOND);
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..10_000 {
        queue.add("a");
        if let Some(Some(item)) = poll(&queue) {
            times.push(start.elapsed());
            item.done();
        }
        advance(MS).await;
    }
    assert_eq!(times, (0..10).map(|second| second * SECOND).collect::<Vec<_>>());
}

/// Goal: a key that is sent back to work or whose pause ends waits, too.
#[tokio::test(start_paused = true)]
async fn neither_a_pause_nor_exhaustion_shortens_the_interval() {
    let attempts = Some(Attempts { most: NonZeroU32::MIN, resting: 9 });
    let queue: Queue = queue(Policy { min_interval: SECOND, attempts, ..Policy::default() });
    queue.add("a");
    assert_eq!(take(&queue).retry(), Retried::Exhausted);
    assert!(queue.retry_exhausted(&"a"));
    let (item, waited) = wait_for(&queue).await;
    assert_eq!(waited, SECOND);

    queue.add("a");
    queue.pause_key("a");
    item.done();
    assert_eq!(queue.snapshot().held, 0, "not even held: it has to wait first");
    assert!(queue.resume_key(&"a"));
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((*item.key(), waited), ("a", SECOND));
    item.done();
}

/// Goal: the rule ends with the queue: a key in flight that was added again runs at once after a shut down.
#[tokio::test(start_paused = true)]
async fn a_shut_down_ends_the_interval() {
    let queue = spaced(HOUR);
    queue.add("a");
    let item = take(&queue);
    queue.add("a");
    queue.shut_down();
    item.done();
    assert_eq!(serve(&queue), "a");
    assert!(is_over(&queue) && is_drained(&queue));
}

/// Goal: the memory of the last interval's keys is given back, at a shut down or bit by bit. Method: keys that are
/// counted references; each add may forget as many as it needs to keep up.
#[tokio::test(start_paused = true)]
async fn keys_are_forgotten_after_the_interval() {
    let queue: WorkQueue<Arc<u32>> = spaced(SECOND);
    let run = |number: u32| {
        let key = Arc::new(number);
        queue.add(key.clone());
        take(&queue).done();
        key
    };
    let old: Vec<Arc<u32>> = (0..1000).map(run).collect();
    let kept = |keys: &[Arc<u32>]| keys.iter().filter(|key| Arc::strong_count(key) > 1).count();
    assert_eq!(kept(&old), 1000, "remembered for the interval");
    advance(SECOND).await;
    let new: Vec<Arc<u32>> = (1000..1500).map(run).collect();
    assert_eq!((kept(&old), kept(&new)), (0, 500));
    queue.shut_down();
    assert_eq!(kept(&new), 0);
}

/// Goal: a key that is only remembered takes no place in a queue of bounded size, and is counted once when it is back.
#[tokio::test(start_paused = true)]
async fn a_remembered_key_takes_no_place() {
    let queue = queue(Policy { min_interval: SECOND, capacity: NonZeroUsize::new(1), ..Policy::default() });
    for key in ["a", "b", "c"] {
        assert_eq!(queue.add(key), Added::Queued);
        assert_eq!(serve(&queue), key);
    }
    assert_eq!(queue.add("a"), Added::Queued);
    assert_eq!((queue.add("b"), queue.add("a")), (Added::Full, Added::AlreadyQueued));
    advance(SECOND).await;
    assert_eq!(serve(&queue), "a");
    assert_eq!(queue.add("b"), Added::Queued);
}

/// Goal: what a key waits for because of the interval can be withdrawn, and the interval stands.
#[tokio::test(start_paused = true)]
async fn a_key_held_back_can_be_withdrawn() {
    let queue = spaced(SECOND);
    queue.add("a");
    assert_eq!(serve(&queue), "a");
    queue.add("a");
    assert!(queue.withdraw(&"a") && !queue.withdraw(&"a"));
    advance(400 * MS).await;
    queue.add("a");
    let (item, waited) = wait_for(&queue).await;
    assert_eq!(waited, 600 * MS);
    item.done();
}

/// Goal: what a retry says is true: when the key is tried again if nothing else asks for it, and whether it is ready.
#[tokio::test(start_paused = true)]
async fn a_retry_knows_of_the_interval() {
    let queue = spaced(SECOND);
    queue.add("a");
    let item = take(&queue);
    advance(100 * MS).await;
    assert_eq!(item.retry(), Retried::In(900 * MS));
    let (item, _) = wait_for(&queue).await;
    queue.add("a");
    assert_eq!(item.retry(), Retried::In(SECOND), "added meanwhile, but not ready");
}

/// Goal: an add without a delay is kept through a shut down, whatever rule held it back; a delay and a backoff aren't.
#[tokio::test(start_paused = true)]
async fn a_shut_down_keeps_the_adds_that_wait_for_the_interval() {
    let queue = spaced(HOUR);
    for key in ["later", "retried", "b", "a"] {
        queue.add(key);
    }
    take(&queue).after(2 * HOUR);
    _ = take(&queue).retry();
    take(&queue).done();
    take(&queue).done();
    advance(MS).await;
    assert_eq!([queue.add("b"), queue.add("a"), queue.add_after("c", SECOND)], [Added::Queued; 3]);
    queue.shut_down();
    assert_eq!(serve_all(&queue), ["b", "a"], "in the order in which the interval would have ended");
    assert!(is_over(&queue) && is_drained(&queue));
}
