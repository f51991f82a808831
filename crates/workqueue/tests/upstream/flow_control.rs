//! util/flowcontrol, backoff_test.go and throttle_test.go: backoff of an id, and the token bucket, as far as a queue
//! has them. Upstream's `Get` and `Next` are the delay of a retry; `Accept` is waiting for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{
    Capped, Exponential, Jitter, Policy, RateLimiter, Retried, TokenBucket, Unlimited, WorkItem, WorkQueue,
};

use crate::support::*;

/// Backoff from a second up to `longest` seconds.
fn backing_off<K>(longest: u32) -> WorkQueue<K> {
    queue_with(Policy::default(), Exponential { base: SECOND, max: longest * SECOND })
}

/// Waits for the next key and lets it fail.
async fn fail_next(queue: &Queue) -> Retried {
    wait_for(queue).await.0.retry()
}

/// TestSlowBackoff: doubling up to the longest, and no backoff once reset.
#[tokio::test(start_paused = true)]
async fn slow_backoff() {
    let queue: Queue = backing_off(50);
    queue.add("id");
    for seconds in [1, 2, 4, 8, 16, 32, 50, 50, 50] {
        assert_eq!(fail_next(&queue).await, Retried::In(seconds * SECOND));
    }
    queue.forget(&"id");
    assert_eq!(fail_next(&queue).await, Retried::In(SECOND));
}

/// TestBackoffReset: upstream forgets an id after a long time without failure, here a success does, at once.
#[tokio::test(start_paused = true)]
async fn backoff_reset() {
    let successes: [Outcome; 2] = [WorkItem::done, |item| item.after(SECOND)];
    for succeed in successes {
        let queue: Queue = backing_off(5);
        queue.add("id");
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(fail_next(&queue).await, Retried::In(seconds * SECOND));
        }
        succeed(wait_for(&queue).await.0);
        queue.add("id");
        assert_eq!(fail_next(&queue).await, Retried::In(SECOND));
    }
}

/// TestBackoffHighWaterMark: a key that fails again a while after its backoff was over waits as long once more.
#[tokio::test(start_paused = true)]
async fn backoff_high_water_mark() {
    let queue: Queue = backing_off(5);
    queue.add("id");
    for _ in 0..6 {
        fail_next(&queue).await;
    }
    advance(6 * SECOND).await;
    assert_eq!(take(&queue).retry(), Retried::In(5 * SECOND));
}

/// TestBackoffGC: a count is kept as long as its key is in the queue, and no longer; nobody has to collect it.
#[tokio::test(start_paused = true)]
async fn backoff_gc() {
    let queue: WorkQueue<Arc<str>> = backing_off(5);
    let key: Arc<str> = "id".into();
    for withdrawn in [false, true] {
        queue.add(key.clone());
        take(&queue).retry();
        advance(SECOND).await;
        take(&queue).retry();
        assert_eq!((queue.failures(&key), queue.snapshot().failing), (2, 1));
        if withdrawn {
            assert!(queue.withdraw(&key));
        } else {
            advance(2 * SECOND).await;
            take(&queue).done();
        }
        assert_eq!((queue.failures(&key), queue.snapshot().failing), (0, 0));
        assert_eq!(Arc::strong_count(&key), 1);
    }
}

/// TestIsInBackOffSinceUpdate: within each window the key isn't there, at its end it is.
#[tokio::test(start_paused = true)]
async fn is_in_back_off_since_update() {
    let queue: Queue = backing_off(10);
    queue.add("id");
    for window in [1, 2, 4, 8, 10, 10] {
        take(&queue).retry();
        for _ in 0..window {
            assert!(is_waiting(&queue), "within {window} s");
            advance(SECOND).await;
        }
    }
    assert_eq!(serve(&queue), "id");
}

/// TestBackoffWithJitter: each delay is longer by no more than its part, and none is above the longest. Upstream
/// lengthens what was lengthened before; here each delay is lengthened by itself.
#[tokio::test(start_paused = true)]
async fn backoff_with_jitter() {
    let (base, longest) = (100 * MS, 60 * SECOND);
    let limiter = Jitter::new(Exponential { base, max: longest }, 0.1, 1);
    let queue: Queue = queue_with(Policy::default(), Capped { limiter, longest });
    queue.add("id");
    let mut stretched = 0;
    for attempt in 0..11 {
        let delay = delay_of(fail_next(&queue).await);
        let plain = (base * 2_u32.pow(attempt)).min(longest);
        assert!(plain <= delay && delay <= (plain * 11 / 10).min(longest), "{attempt}: {delay:?}");
        stretched += usize::from(delay > plain);
    }
    assert!(stretched >= 8, "hardly any jitter");
}

/// A queue whose failures share a bucket of so many tokens, one more each interval.
fn throttled<K>(interval: Duration, burst: u32) -> WorkQueue<K> {
    queue_with(Policy::default(), TokenBucket::new(interval, burst, YEAR))
}

/// What so many keys that fail now have to wait. At once is 1 ms, which the queue insists on.
fn fail_all(queue: &WorkQueue<u32>, keys: u32) -> Vec<Duration> {
    let fail_once = |key| {
        queue.add(key);
        delay_of(take(queue).retry())
    };
    (0..keys).map(fail_once).collect()
}

/// TestMultithreadedThrottling: a hundred tokens take a second, however many workers want them.
#[tokio::test(start_paused = true)]
async fn multithreaded_throttling() {
    let queue: WorkQueue<u32> = throttled(10 * MS, 1);
    let start = Instant::now();
    (0..101).for_each(|key| _ = queue.add(key));
    let mut workers = JoinSet::new();
    for _ in 0..10 {
        let queue = queue.clone();
        workers.spawn(async move {
            let mut tokens = 0;
            while let Some(item) = queue.next().await {
                if item.attempt() == 1 {
                    item.retry();
                } else {
                    tokens += 1;
                    item.done();
                }
                if queue.snapshot().failing == 0 {
                    queue.shut_down();
                }
            }
            tokens
        });
    }
    assert_eq!(soon(workers.join_all()).await.into_iter().sum::<u32>(), 101);
    assert_eq!(start.elapsed(), SECOND);
}

/// TestBasicThrottle: a burst passes, the next one doesn't.
#[tokio::test(start_paused = true)]
async fn basic_throttle() {
    assert_eq!(fail_all(&throttled(SECOND, 3), 4), [MS, MS, MS, SECOND]);
}

/// TestIncrementThrottle: the bucket fills up again.
#[tokio::test(start_paused = true)]
async fn increment_throttle() {
    let queue = throttled(SECOND, 1);
    assert_eq!(fail_all(&queue, 2), [MS, SECOND]);
    advance(2 * SECOND).await;
    assert_eq!(serve_all(&queue), [0, 1]);
    assert_eq!(fail_all(&queue, 1), [MS]);
}

/// TestThrottle: five at once, the other eleven a tenth of a second each.
#[tokio::test(start_paused = true)]
async fn throttle() {
    let delays = fail_all(&throttled(100 * MS, 5), 16);
    assert_eq!(delays[..5], [MS; 5]);
    assert_eq!(delays[5..], (1..=11).map(|turn| turn * 100 * MS).collect::<Vec<_>>());
}

/// TestWait: who would have to wait longer than it may gets no token, and takes none away.
#[tokio::test(start_paused = true)]
async fn wait() {
    let bucket = TokenBucket::new(10_000 * SECOND, 1, SECOND);
    let queue = queue_with(Policy::default(), bucket);
    assert_eq!(fail_all(&queue, 3), [MS, SECOND, SECOND]);
    advance(10_000 * SECOND).await;
    assert_eq!(serve_all(&queue), [0, 1, 2]);
    assert_eq!(fail_all(&queue, 1), [MS], "the token that came since is there");
}

/// TestRatePrecisionBug: a rate that is no round number lets one pass every two seconds for ever.
#[tokio::test(start_paused = true)]
async fn rate_precision_bug() {
    let queue = throttled(Duration::from_micros(1_031_425), 1);
    for turn in 0..60 {
        assert_eq!(fail_all(&queue, 1), [MS], "turn {turn}");
        advance(2 * SECOND).await;
    }
}

/// TestAlwaysFake: no limit lets everybody pass.
#[tokio::test(start_paused = true)]
async fn always_fake() {
    let queue = queue_with(Policy::default(), Unlimited);
    assert_eq!(fail_all(&queue, 1000), [MS; 1000]);
}

/// Lets nobody pass.
struct Never;

impl RateLimiter for Never {
    fn delay(&self, _failures: u32, _now: Instant) -> Duration {
        Duration::MAX
    }
}

/// TestNeverFake: who waits for a limiter that lets nobody pass waits until the end, which ends the wait.
#[tokio::test(start_paused = true)]
async fn never_fake() {
    let queue: Queue = queue_with(Policy::default(), Never);
    queue.add("id");
    take(&queue).retry();
    let mut worker = JoinSet::new();
    let other = queue.clone();
    worker.spawn(async move { other.next().await.is_none() });
    advance(YEAR - SECOND).await;
    assert!(worker.try_join_next().is_none());
    queue.shut_down();
    assert!(soon(worker.join_next()).await.expect("one").expect("no panic"));
}
