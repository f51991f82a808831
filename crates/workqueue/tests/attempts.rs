//! Keys that fail too often: they rest, they are seen, and they come back when they are wanted.
#![allow(clippy::disallowed_methods)]

mod support;

use std::num::NonZeroU32;

use support::*;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{Added, Attempts, Exhausted, Policy, Retried, WorkQueue};

fn limited<K>(most: u32, resting: usize) -> WorkQueue<K> {
    let attempts = Attempts { most: NonZeroU32::new(most).expect("at least one"), resting };
    queue(Policy { attempts: Some(attempts), reasons: 5, ..Policy::default() })
}

/// Lets the key fail until it rests.
async fn exhaust(queue: &Queue, key: &'static str) {
    queue.add(key);
    while wait_for(queue).await.0.retry() != Retried::Exhausted {}
}

/// The exhausted keys as `sight` lists them.
fn exhausted<K: Clone>(queue: &WorkQueue<K>) -> Vec<K> {
    queue.sight(usize::MAX).exhausted.into_iter().map(|exhausted| exhausted.key).collect()
}

/// Goal: after so many failures in a row the key rests, for ever, and nothing of it is lost from sight.
#[tokio::test(start_paused = true)]
async fn a_key_that_fails_too_often_rests() {
    let queue = limited(3, 10);
    queue.add_with("a", because("changed"));
    assert_eq!(wait_for(&queue).await.0.retry(), Retried::In(10 * MS));
    assert_eq!(wait_for(&queue).await.0.retry(), Retried::In(20 * MS));
    let now = Instant::now();
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (3, 20 * MS));
    assert_eq!(item.retry(), Retried::Exhausted);

    advance(YEAR).await;
    assert!(is_waiting(&queue) && is_drained(&queue));
    let seen = queue.snapshot();
    assert_eq!((seen.exhausted, seen.waiting, seen.ready, seen.retries, seen.given_up), (1, 0, 0, 3, 0));
    let Exhausted { key, failures, since, reasons, .. } = queue.sight(1).exhausted.remove(0);
    assert_eq!((key, failures, since, texts(&reasons)), ("a", 3, now + 20 * MS, vec!["changed"]));
}

/// Goal: only failures in a row count.
#[tokio::test(start_paused = true)]
async fn a_success_starts_anew() {
    let queue = limited(3, 10);
    for _ in 0..5 {
        queue.add("a");
        assert_eq!(take(&queue).retry(), Retried::In(10 * MS));
        assert_eq!(wait_for(&queue).await.0.retry(), Retried::In(20 * MS));
        wait_for(&queue).await.0.done();
    }
    assert_eq!(queue.snapshot().exhausted, 0);
}

/// Goal: a worker that panics has failed; one that was cancelled hasn't.
#[tokio::test(start_paused = true)]
async fn panics_count_and_cancelled_workers_do_not() {
    let queue = limited(2, 10);
    queue.add("a");
    for _ in 0..10 {
        drop(take(&queue));
    }
    panic_with(take(&queue));
    drop(wait_for(&queue).await.0);
    assert_eq!(queue.snapshot().exhausted, 0);
    panic_with(take(&queue));
    assert_eq!(exhausted(&queue), ["a"]);
}

/// Goal: a failure that the worker counts itself counts, and one that it takes back doesn't.
#[tokio::test(start_paused = true)]
async fn a_worker_can_count_failures_and_take_them_back() {
    let queue = limited(3, 10);
    queue.add("a");
    let mut item = take(&queue);
    item.back_off();
    item.back_off();
    item.forget();
    assert_eq!(item.retry(), Retried::In(10 * MS));
    let (mut item, _) = wait_for(&queue).await;
    item.back_off();
    assert_eq!(item.retry(), Retried::Exhausted);
}

/// Goal: an exhausted key that is wanted again is handed out, with a fresh count, however it is asked for.
#[tokio::test(start_paused = true)]
async fn an_add_wakes_an_exhausted_key() {
    for delay in [0, 500] {
        for by_id in [false, true] {
            let queue = limited(2, 10);
            exhaust(&queue, "a").await;
            let id = queue.intern("a");
            let added = if by_id { id.add_after(delay * MS) } else { queue.add_after("a", delay * MS) };
            assert_eq!(added, Added::Queued);
            assert_eq!((queue.snapshot().exhausted, queue.failures(&"a")), (0, 0));
            let (item, waited) = wait_for(&queue).await;
            assert_eq!((item.attempt(), waited), (1, delay * MS));
            assert_eq!(item.retry(), Retried::In(10 * MS));
            assert_eq!(wait_for(&queue).await.0.retry(), Retried::Exhausted);
        }
    }
}

/// Goal: an add that comes while the last attempt runs is an add like any other: one more run, with a fresh count.
#[tokio::test(start_paused = true)]
async fn a_key_added_during_its_last_attempt_is_not_exhausted() {
    let queue = limited(1, 10);
    queue.add("a");
    let item = take(&queue);
    queue.add("a");
    assert_eq!(item.retry(), Retried::AtOnce);
    let item = take(&queue);
    assert_eq!(item.attempt(), 1);
    queue.add_after("a", SECOND);
    assert_eq!(item.retry(), Retried::In(SECOND));
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (1, SECOND));
    assert_eq!(item.retry(), Retried::Exhausted);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_sent_back_to_work() {
    let queue = limited(2, 10);
    exhaust(&queue, "a").await;
    assert!(!queue.retry_exhausted(&"unknown"));
    let mut worker = JoinSet::new();
    let other = queue.clone();
    worker.spawn(async move { other.next().await.map(|item| (*item.key(), item.attempt(), item.done())) });
    yield_now().await;
    assert!(queue.retry_exhausted(&"a") && !queue.retry_exhausted(&"a"));
    assert_eq!(soon(worker.join_next()).await.expect("one").expect("no panic"), Some(("a", 1, ())));
    assert_eq!((queue.retry_all_exhausted(), queue.snapshot().exhausted), (0, 0));
}

/// Goal: all are sent back, the longest at rest first.
#[tokio::test(start_paused = true)]
async fn all_keys_are_sent_back_to_work() {
    let queue = limited(2, 10);
    for key in ["b", "c", "a"] {
        exhaust(&queue, key).await;
    }
    assert_eq!(exhausted(&queue), ["b", "c", "a"]);
    assert_eq!(queue.retry_all_exhausted(), 3);
    assert_eq!((queue.snapshot().exhausted, queue.snapshot().failing), (0, 0));
    assert_eq!(serve_all(&queue), ["b", "c", "a"]);
}

/// Goal: no more than so many rest; the one that has rested longest is given up, counted and forgotten.
#[tokio::test(start_paused = true)]
async fn the_longest_at_rest_is_given_up() {
    let queue = limited(2, 2);
    for key in ["a", "b", "c"] {
        exhaust(&queue, key).await;
    }
    assert_eq!(exhausted(&queue), ["b", "c"]);
    assert_eq!((queue.snapshot().exhausted, queue.snapshot().given_up), (2, 1));
    queue.add("b"); // It rests no longer, so there is room for another one.
    serve(&queue);
    exhaust(&queue, "d").await;
    assert_eq!((exhausted(&queue), queue.snapshot().given_up), (vec!["c", "d"], 1));
    assert!(!queue.retry_exhausted(&"a"));
    queue.add_with("a", because("again"));
    let item = take(&queue);
    assert_eq!((item.attempt(), texts(item.reasons())), (1, vec!["again"]), "nothing is left of its failures");
    item.done();
}

/// Goal: ten thousand keys that fail are no more than may rest, and all but these are counted.
#[tokio::test(start_paused = true)]
async fn a_flood_of_failing_keys_is_bounded() {
    let queue: WorkQueue<u32> = limited(1, 100);
    for key in 0..10_000 {
        queue.add(key);
        assert_eq!(take(&queue).retry(), Retried::Exhausted);
        advance(MS).await;
    }
    assert_eq!((queue.snapshot().exhausted, queue.snapshot().given_up), (100, 9900));
    assert_eq!(exhausted(&queue), (9900..10_000).collect::<Vec<_>>());
    assert_eq!(queue.retry_all_exhausted(), 100);
    assert_eq!(serve_all(&queue), (9900..10_000).collect::<Vec<_>>());
}

/// Goal: an exhausted key is a key that has stopped: pausing it changes nothing until it is wanted.
#[tokio::test(start_paused = true)]
async fn an_exhausted_key_can_be_paused() {
    let queue = limited(1, 10);
    exhaust(&queue, "a").await;
    queue.pause_key("a");
    assert_eq!((queue.snapshot().exhausted, queue.snapshot().held), (1, 0));
    assert!(queue.retry_exhausted(&"a"));
    assert_eq!((queue.snapshot().exhausted, queue.snapshot().held), (0, 1));
    assert!(is_waiting(&queue));
    assert!(queue.resume_key(&"a"));
    assert_eq!(serve(&queue), "a");
}

/// Goal: after the end nothing is sent back, and nobody waits for what rests.
#[tokio::test(start_paused = true)]
async fn a_shut_down_leaves_exhausted_keys_at_rest() {
    let queue = limited(1, 10);
    exhaust(&queue, "a").await;
    queue.shut_down();
    assert!(is_over(&queue) && is_drained(&queue));
    assert!(!queue.retry_exhausted(&"a"));
    assert_eq!((queue.retry_all_exhausted(), queue.add("a")), (0, Added::Refused));
    assert_eq!(exhausted(&queue), ["a"]);
    assert!(is_over(&queue));
}

/// Goal: where no key may rest, a key that fails too often is given up, and leaves nothing behind that others could
/// stumble over. Method: many keys before and after it.
#[tokio::test(start_paused = true)]
async fn no_key_need_rest() {
    let queue: WorkQueue<u32> = limited(1, 0);
    for key in 0..10 {
        queue.add(key);
        assert_eq!(take(&queue).retry(), Retried::Exhausted);
        assert_eq!((queue.snapshot().exhausted, queue.snapshot().given_up), (0, u64::from(key) + 1));
    }
    (10..20).for_each(|key| assert_eq!(queue.add(key), Added::Queued));
    assert_eq!(serve_all(&queue), (10..20).collect::<Vec<_>>());
}

/// Goal: an exhausted key that is asked for starts anew, also where it is asked for by a failure: the first of a new
/// row.
#[tokio::test(start_paused = true)]
async fn a_rate_limited_add_wakes_an_exhausted_key() {
    let queue = limited(3, 10);
    exhaust(&queue, "a").await;
    assert_eq!(queue.add_rate_limited("a"), Added::Queued);
    assert_eq!(queue.failures(&"a"), 1);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (2, 10 * MS));
    assert_eq!(item.retry(), Retried::In(20 * MS));
    assert_eq!(wait_for(&queue).await.0.retry(), Retried::Exhausted);
}
