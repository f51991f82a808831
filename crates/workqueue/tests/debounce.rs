//! Debounce: adds wait until no more of them come.
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::Duration;

use support::*;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{Added, Debounce, Policy, Retried, WorkQueue};

/// Quiet for 100 ms, but no longer than so many in all.
fn debounced<K>(longest: u32) -> WorkQueue<K> {
    queue(debounce(100, longest))
}

fn debounce<K>(quiet: u32, longest: u32) -> Policy<K> {
    Policy { debounce: Some(Debounce { quiet: quiet * MS, longest: longest * MS }), ..Policy::default() }
}

/// Adds the key now and then each 60 ms, so often in all.
async fn burst(queue: &Queue, adds: usize) {
    queue.add("a");
    for _ in 1..adds {
        advance(60 * MS).await;
        queue.add("a");
    }
}

/// Goal: the hand-out comes when no add has come for the quiet time, once for all of them.
#[tokio::test(start_paused = true)]
async fn a_burst_is_one_hand_out_after_its_end() {
    let queue = debounced(10_000);
    let start = Instant::now();
    assert_eq!(queue.add("a"), Added::Queued);
    assert!(is_waiting(&queue));
    burst(&queue, 5).await;
    let (item, _) = wait_for(&queue).await;
    assert_eq!(start.elapsed(), 340 * MS);
    item.done();
    assert_eq!(queue.snapshot().adds, 1);
    advance(HOUR).await;
    assert!(is_waiting(&queue));
}

/// Goal: adds that never end postpone no further than the longest wait, which each burst has for itself.
#[tokio::test(start_paused = true)]
async fn endless_adds_wait_no_longer_than_the_longest() {
    let queue = debounced(500);
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..100 {
        queue.add("a");
        while let Some(Some(item)) = poll(&queue) {
            times.push(start.elapsed().as_millis());
            item.done();
        }
        advance(20 * MS).await;
    }
    // An add at the very end of a burst belongs to it.
    assert_eq!(times, [500, 1020, 1540]);
}

/// Goal: what is below the quiet time cuts it; no time at all is no debounce.
#[tokio::test(start_paused = true)]
async fn a_longest_wait_below_the_quiet_time_cuts_it() {
    for (quiet, longest, expected) in [(100, 30, 30), (100, 0, 0), (0, 100, 0), (100, 100, 100)] {
        let queue: Queue = queue(debounce(quiet, longest));
        queue.add("a");
        let (item, waited) = wait_for(&queue).await;
        assert_eq!(waited, expected * MS, "{quiet}, {longest}");
        item.done();
    }
}

/// Goal: a delay asked for stands beside a burst: the earlier counts, and no add postpones it.
#[tokio::test(start_paused = true)]
async fn no_add_postpones_a_delay() {
    for delay_first in [true, false] {
        for (delay, expected) in [(50, 50), (130, 130), (1000, 160)] {
            let queue = debounced(10_000);
            let start = Instant::now();
            if delay_first {
                queue.add_after("a", delay * MS);
            }
            queue.add("a");
            if !delay_first {
                queue.add_after("a", delay * MS);
            }
            if delay > 60 {
                advance(60 * MS).await;
                queue.add("a");
            }
            let (item, _) = wait_for(&queue).await;
            assert_eq!(start.elapsed(), expected * MS, "{delay}, {delay_first}");
            item.done();
            advance(HOUR).await;
            assert!(is_waiting(&queue), "the later of the two is no second one");
        }
    }
}

/// Goal: a backoff isn't postponed by adds, and an add brings a long one forward to the end of its burst.
#[tokio::test(start_paused = true)]
async fn no_add_postpones_a_retry() {
    let queue = debounced(10_000);
    queue.add("a");
    let (item, _) = wait_for(&queue).await;
    assert_eq!(item.retry(), Retried::In(10 * MS));
    burst(&queue, 1).await;
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((item.attempt(), waited), (2, 10 * MS));

    item.after(10 * SECOND);
    let start = Instant::now();
    burst(&queue, 3).await;
    let (item, _) = wait_for(&queue).await;
    assert_eq!(start.elapsed(), 220 * MS);
    item.done();
}

/// Goal: adds of a key in flight wait for their end, too, and are one more run: not before the quiet time is over, and
/// not before the worker is.
#[tokio::test(start_paused = true)]
async fn a_burst_while_in_flight_is_one_more_run() {
    for (works, expected) in [(30, 160), (130, 160), (500, 500)] {
        let queue = debounced(10_000);
        queue.add("a");
        let (item, _) = wait_for(&queue).await;
        let start = Instant::now();
        assert_eq!(queue.add("a"), Added::WillRerun);
        advance(30 * MS).await;
        let mut item = Some(item);
        if works == 30 {
            item.take().expect("one").done();
        }
        advance(30 * MS).await;
        queue.add("a");
        if let Some(item) = item {
            advance((works - 60) * MS).await;
            assert!(is_waiting(&queue), "two workers on one key");
            item.done();
        }
        let (item, _) = wait_for(&queue).await;
        assert_eq!(start.elapsed(), expected * MS, "{works}");
        item.done();
        advance(HOUR).await;
        assert!(is_waiting(&queue), "{works}");
    }
}

/// Goal: a burst that is over, or withdrawn, is gone with all that it knew: the next one has its own longest wait.
/// Method: a key that stays known in between, because of a handle.
#[tokio::test(start_paused = true)]
async fn a_burst_can_be_withdrawn() {
    let queue = debounced(150);
    let _known = queue.intern("a");
    burst(&queue, 2).await;
    wait_for(&queue).await.0.done();
    advance(HOUR).await;
    burst(&queue, 3).await;
    assert!(queue.withdraw(&"a") && !queue.withdraw(&"a"));
    advance(HOUR).await;
    assert!(is_waiting(&queue));
    let start = Instant::now();
    burst(&queue, 2).await;
    let (item, _) = wait_for(&queue).await;
    assert_eq!(start.elapsed(), 150 * MS);
    item.done();
}

/// Goal: a burst ends in the minimum interval: both are kept.
#[tokio::test(start_paused = true)]
async fn both_paces_are_kept() {
    let queue = queue(Policy { min_interval: SECOND, ..debounce(100, 10_000) });
    queue.add("a");
    let (item, waited) = wait_for(&queue).await;
    assert_eq!(waited, 100 * MS);
    item.done();
    let start = Instant::now();
    burst(&queue, 3).await;
    let (item, _) = wait_for(&queue).await;
    assert_eq!(start.elapsed(), SECOND);
    advance(950 * MS).await;
    item.done();
    queue.add("a");
    let (item, waited) = wait_for(&queue).await;
    assert_eq!(waited, 100 * MS);
    item.done();
}

/// Goal: keys have their bursts for themselves.
#[tokio::test(start_paused = true)]
async fn keys_do_not_postpone_each_other() {
    let queue = debounced(10_000);
    queue.add("b");
    burst(&queue, 2).await;
    advance(Duration::from_millis(40)).await;
    assert_eq!(serve_all(&queue), ["b"]);
    advance(60 * MS).await;
    assert_eq!(serve_all(&queue), ["a"]);
}

/// Goal: an add that waits for the end of its burst is kept through a shut down, also for a key in flight; what was
/// withdrawn isn't.
#[tokio::test(start_paused = true)]
async fn a_shut_down_ends_the_burst() {
    let queue = debounced(40);
    queue.add("in flight");
    advance(SECOND).await;
    let item = take(&queue);
    assert_eq!(queue.add("in flight"), Added::WillRerun);
    for key in ["a", "withdrawn", "b"] {
        assert_eq!(queue.add(key), Added::Queued);
    }
    assert!(queue.withdraw(&"withdrawn"));
    queue.shut_down();
    item.done();
    assert_eq!(serve_all(&queue), ["a", "b", "in flight"]);
    assert!(is_over(&queue) && is_drained(&queue));
}
