//! util/workqueue, delaying_queue_test.go and rate_limiting_queue_test.go: keys that wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{Added, Exponential, Policy, RateLimiter};

use crate::support::*;

/// TestSimpleQueue: not before its time, and once.
#[tokio::test(start_paused = true)]
async fn simple_queue() {
    let queue: Queue = queue(Policy::default());
    queue.add_after("foo", 50 * MS);
    assert_eq!(queue.snapshot().ready, 0);
    advance(49 * MS).await;
    assert!(is_waiting(&queue));
    advance(MS).await;
    assert_eq!(serve(&queue), "foo");
    advance(10 * SECOND).await;
    assert!(is_waiting(&queue));
}

/// TestDeduping: of two delays the shorter one counts, whichever was asked for first, and the key comes once.
#[tokio::test(start_paused = true)]
async fn deduping() {
    let queue: Queue = queue(Policy::default());
    for (first, second, due) in [(50, 70, 50), (50, 30, 30)] {
        queue.add_after("foo", first * MS);
        queue.add_after("foo", second * MS);
        advance((due - 1) * MS).await;
        assert!(is_waiting(&queue));
        advance(MS).await;
        assert_eq!(serve(&queue), "foo");
        advance(SECOND).await;
        assert!(is_waiting(&queue), "it came for both");
    }
}

/// TestAddTwoFireEarly: by time, not by call, also when one is added between two that come.
#[tokio::test(start_paused = true)]
async fn add_two_fire_early() {
    let queue: Queue = queue(Policy::default());
    queue.add_after("foo", SECOND);
    queue.add_after("bar", 50 * MS);
    assert!(is_waiting(&queue));
    advance(60 * MS).await;
    assert_eq!(serve_all(&queue), ["bar"]);
    queue.add_after("baz", 2 * SECOND);
    advance(SECOND).await;
    assert_eq!(serve_all(&queue), ["foo"]);
    advance(2 * SECOND).await;
    assert_eq!(serve_all(&queue), ["baz"]);
}

/// TestCopyShifting: three that are due at once come in the order of their times.
#[tokio::test(start_paused = true)]
async fn copy_shifting() {
    let queue: Queue = queue(Policy::default());
    queue.add_after("foo", SECOND);
    queue.add_after("bar", 500 * MS);
    queue.add_after("baz", 250 * MS);
    assert!(is_waiting(&queue));
    advance(2 * SECOND).await;
    assert_eq!(serve_all(&queue), ["baz", "bar", "foo"]);
}

/// A limiter that remembers what it said.
struct Heard(Exponential, Arc<Mutex<Vec<Duration>>>);

impl RateLimiter for Heard {
    fn delay(&self, failures: u32, now: Instant) -> Duration {
        let delay = self.0.delay(failures, now);
        self.1.lock().expect("no panic").push(delay);
        delay
    }
}

/// TestRateLimitingQueue: a rate limited add asks the limiter, counts, and the count can be forgotten.
#[tokio::test(start_paused = true)]
async fn rate_limiting_queue() {
    let said = Arc::default();
    let queue: Queue = queue_with(Policy::default(), Heard(Exponential { base: MS, max: SECOND }, Arc::clone(&said)));
    let heard = || std::mem::take(&mut *said.lock().expect("no panic"));
    assert_eq!(queue.add_rate_limited("one"), Added::Queued);
    assert_eq!(queue.add_rate_limited("one"), Added::AlreadyQueued);
    assert_eq!((heard(), queue.failures(&"one")), (vec![MS, 2 * MS], 2));
    queue.add_rate_limited("two");
    queue.add_rate_limited("two");
    assert_eq!((heard(), queue.failures(&"two")), (vec![MS, 2 * MS], 2));
    queue.forget(&"one");
    assert_eq!((queue.failures(&"one"), queue.failures(&"two")), (0, 2));
    queue.add_rate_limited("one");
    assert_eq!((heard(), queue.failures(&"one")), (vec![MS], 1));
    advance(MS).await;
    assert_eq!(serve_all(&queue), ["one", "two"]);
}
