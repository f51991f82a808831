//! util/workqueue, default_rate_limiters_test.go: how long a failed key waits, seen through a queue.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use watchkeeper_workqueue::{Capped, Exponential, FastSlow, MaxOf, Policy, RateLimiter};

use crate::support::*;

/// Lets the key fail so often in a row, and says what it had to wait each time. An add brings it forward, which leaves
/// the count alone.
fn fail(queue: &Queue, key: &'static str, times: usize) -> Vec<Duration> {
    let fail_once = |_| {
        queue.add(key);
        delay_of(take(queue).retry())
    };
    (0..times).map(fail_once).collect()
}

/// TestItemExponentialFailureRateLimiter: doubling, each key by itself, and from the start again once forgotten.
#[tokio::test(start_paused = true)]
async fn item_exponential_failure_rate_limiter() {
    let queue: Queue = queue_with(Policy::default(), Exponential { base: MS, max: SECOND });
    assert_eq!(fail(&queue, "one", 5), [1, 2, 4, 8, 16].map(|ms| ms * MS));
    assert_eq!(queue.failures(&"one"), 5);
    assert_eq!(fail(&queue, "two", 2), [MS, 2 * MS]);
    assert_eq!(queue.failures(&"two"), 2);
    queue.forget(&"one");
    assert_eq!(queue.failures(&"one"), 0);
    assert_eq!(fail(&queue, "one", 1), [MS]);
}

/// TestItemExponentialFailureRateLimiterOverFlow: after a thousand failures the longest delay, not an overflow.
#[tokio::test(start_paused = true)]
async fn item_exponential_failure_rate_limiter_over_flow() {
    let minute = 60 * SECOND;
    for (base, max, sixth) in [(MS, 1000 * SECOND, 32 * MS), (minute, 1000 * HOUR, 32 * minute)] {
        let queue: Queue = queue_with(Policy::default(), Exponential { base, max });
        assert_eq!(fail(&queue, "one", 6).last(), Some(&sixth));
        let delays = fail(&queue, "overflow", 1001);
        assert!(delays.is_sorted());
        assert_eq!(delays.last(), Some(&max));
    }
}

/// TestItemFastSlowRateLimiter: some short delays, then long ones, each key by itself.
#[tokio::test(start_paused = true)]
async fn item_fast_slow_rate_limiter() {
    let (fast, slow) = (5 * MS, 10 * SECOND);
    let queue: Queue = queue_with(Policy::default(), FastSlow { fast, slow, fast_attempts: 3 });
    assert_eq!(fail(&queue, "one", 5), [fast, fast, fast, slow, slow]);
    assert_eq!(fail(&queue, "two", 2), [fast, fast]);
    assert_eq!((queue.failures(&"one"), queue.failures(&"two")), (5, 2));
    queue.forget(&"one");
    assert_eq!(fail(&queue, "one", 1), [fast]);
}

/// TestMaxOfRateLimiter: the longest of the members' delays; upstream's longest count is the one count here.
#[tokio::test(start_paused = true)]
async fn max_of_rate_limiter() {
    let (fast, slow) = (5 * MS, 3 * SECOND);
    let limiter = MaxOf(vec![
        Box::new(FastSlow { fast, slow, fast_attempts: 3 }),
        Box::new(Exponential { base: MS, max: SECOND }),
    ]);
    let queue: Queue = queue_with(Policy::default(), limiter);
    assert_eq!(fail(&queue, "one", 5), [fast, fast, fast, slow, slow]);
    assert_eq!(fail(&queue, "two", 2), [fast, fast]);
    assert_eq!((queue.failures(&"one"), queue.failures(&"two")), (5, 2));
    queue.forget(&"one");
    assert_eq!(fail(&queue, "one", 1), [fast]);
}

/// Short delays for the first failures of whatever keys, then long ones.
struct Step {
    seen: AtomicU32,
    short_ones: u32,
}

impl RateLimiter for Step {
    fn delay(&self, _failures: u32, _now: Instant) -> Duration {
        if self.seen.fetch_add(1, Ordering::Relaxed) < self.short_ones { 5 * MS } else { 1000 * SECOND }
    }
}

/// TestWithMaxWaitRateLimiter: a cap shortens what is above it and nothing else.
#[tokio::test(start_paused = true)]
async fn with_max_wait_rate_limiter() {
    let limiter = Step { seen: AtomicU32::new(0), short_ones: 100 };
    let queue: Queue = queue_with(Policy::default(), Capped { limiter, longest: 500 * SECOND });
    assert_eq!(fail(&queue, "one", 100), [5 * MS; 100]);
    assert_eq!(fail(&queue, "two", 100), [500 * SECOND; 100]);
}
