//! Durations, counts and priorities at their limits.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{
    Added, Ageing, Ask, Attempts, Capped, Debounce, Exponential, FastSlow, Flow, Jitter, MaxOf, Policy, RateLimiter,
    Retried, TokenBucket, Unlimited, WorkItem, WorkQueue,
};

use crate::support::*;

const EXTREMES: [Duration; 4] = [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX];

/// Every choice of four extremes.
fn choices() -> impl Iterator<Item = [Duration; 4]> {
    (0..256).map(|choice| [0, 2, 4, 6].map(|shift| EXTREMES[(choice >> shift) % 4]))
}

/// Goal: no duration in a policy or a call panics, loses a key or holds it back for more than the year that the queue
/// cuts it to. Method: every combination; two keys go through every way of waiting, and both are seen each time.
#[tokio::test(start_paused = true)]
async fn durations_at_their_limits_are_defined() {
    let ends: [fn(WorkItem<&'static str>, Duration); 4] =
        [|item, delay| item.after(delay), |item, _| _ = item.retry(), |item, _| drop(item), |item, _| item.done()];
    for [pace, quiet, longest, delay] in choices() {
        let case = format!("{pace:?} {quiet:?} {longest:?} {delay:?}");
        let queue: Queue = queue(Policy {
            ageing: Some(Ageing { step: pace }),
            min_interval: pace,
            debounce: Some(Debounce { quiet, longest }),
            ..Policy::default()
        });
        assert_eq!((queue.add("a"), queue.add_after("b", delay)), (Added::Queued, Added::Queued), "{case}");
        queue.add_with("a", Ask { after: delay, priority: i16::MIN, reason: None });
        for end in ends {
            let (one, first) = wait_for(&queue).await;
            let (other, second) = wait_for(&queue).await;
            assert!(first <= YEAR + MS && second <= YEAR + MS, "{case}");
            let keys = [*one.key(), *other.key()];
            assert!(keys == ["a", "b"] || keys == ["b", "a"], "{case}: {keys:?}");
            end(one, delay);
            end(other, delay);
        }
        assert_eq!(queue.drain(delay).await, Ok(()), "{case}");
    }
}

/// Goal: a drain ends after its bound, whatever that is, as long as a worker stays away.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_after_any_bound() {
    for (within, expected) in [(Duration::ZERO, Duration::ZERO), (SECOND, SECOND), (Duration::MAX, YEAR)] {
        let queue: Queue = queue(Policy::default());
        queue.add("a");
        let item = take(&queue);
        let start = Instant::now();
        let left = soon(queue.drain(within)).await.expect_err("a worker has it");
        assert_eq!((left.in_flight, left.ready), (1, 0));
        assert!(start.elapsed() >= expected && start.elapsed() <= expected + MS, "{within:?}");
        item.done();
        assert_eq!(queue.drain(within).await, Ok(()));
    }
}

/// Limiters with nonsense in them, or none.
fn limiters() -> Vec<Box<dyn RateLimiter>> {
    let mut limiters: Vec<Box<dyn RateLimiter>> = vec![
        Box::new(Unlimited),
        Box::new(MaxOf(Vec::new())),
        Box::new(Jitter::new(Exponential { base: Duration::MAX, max: Duration::MAX }, f64::INFINITY, 0)),
        Box::new(Jitter::new(Unlimited, f64::NAN, 0)),
    ];
    for one in EXTREMES {
        limiters.push(Box::new(Capped { limiter: Exponential::default(), longest: one }));
        for other in EXTREMES {
            limiters.push(Box::new(Exponential { base: one, max: other }));
            for count in [0, 1, u32::MAX] {
                limiters.push(Box::new(FastSlow { fast: one, slow: other, fast_attempts: count }));
                limiters.push(Box::new(TokenBucket::new(one, count, other)));
            }
        }
    }
    limiters
}

/// Goal: no limiter makes a hot loop, and none loses its key: it comes again within a year, a thousand times a second
/// at most. Method: in each way of failing, for a virtual second or for ten failures, whichever is longer.
#[tokio::test(start_paused = true)]
async fn no_limiter_makes_a_hot_loop() {
    let fails: [Outcome; 3] = [
        |item| assert!((MS..=YEAR).contains(&delay_of(item.retry()))),
        panic_with,
        |mut item| {
            assert!((MS..=YEAR).contains(&item.back_off()));
            item.retry();
        },
    ];
    for fail in fails {
        for rate_limiter in limiters() {
            let queue: Queue = queue_with(Policy::default(), Boxed(rate_limiter));
            queue.add_rate_limited("a");
            assert!(is_waiting(&queue));
            let (item, mut waited) = wait_for(&queue).await;
            assert!((MS..=YEAR).contains(&waited));
            fail(item);
            for failures in 1.. {
                let (item, more) = wait_for(&queue).await;
                assert!(more >= MS, "a hot loop");
                assert!(more <= YEAR + MS, "lost for {more:?}");
                waited += more;
                fail(item);
                if failures >= 10 && waited > SECOND {
                    break;
                }
            }
        }
    }
}

/// A limiter of any kind.
struct Boxed(Box<dyn RateLimiter>);

impl RateLimiter for Boxed {
    fn delay(&self, failures: u32, now: Instant) -> Duration {
        self.0.delay(failures, now)
    }
}

/// Goal: a key may fail for ever: nothing overflows, nothing is added up that grows. Method: two million failures, each
/// brought forward by an add.
#[tokio::test(start_paused = true)]
async fn a_key_can_fail_millions_of_times() {
    const FAILURES: u32 = 2_000_000;
    let queue: Queue = queue(Policy::default());
    for failures in 0..FAILURES {
        queue.add("a");
        let item = take(&queue);
        assert_eq!(item.attempt(), failures + 1);
        assert!(delay_of(item.retry()) <= SECOND);
    }
    let seen = queue.snapshot();
    assert_eq!((seen.waiting, seen.failing, seen.retries), (1, 1, u64::from(FAILURES)));
    assert_eq!(queue.failures(&"a"), FAILURES);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!(waited, SECOND);
    item.done();
    assert_eq!((queue.failures(&"a"), queue.snapshot().failing), (0, 0));
}

/// Goal: the ends of the range of priorities are priorities like others: they order keys, and the lowest waits as long
/// as the bound says, no longer.
#[tokio::test(start_paused = true)]
async fn priorities_at_their_limits_are_ordered() {
    for step in [MS, SECOND, Duration::MAX] {
        let queue: Queue = queue(Policy { ageing: Some(Ageing { step }), ..Policy::default() });
        for (key, priority) in [("min", i16::MIN), ("low", i16::MIN + 1), ("max", i16::MAX), ("none", 0)] {
            queue.add_with(key, at(priority));
        }
        assert_eq!(serve_all(&queue), ["max", "none", "low", "min"], "{step:?}");
        queue.add_with("min", at(i16::MIN));
        queue.add_with("low", at(i16::MIN + 1));
        queue.add_with("min", at(i16::MAX));
        queue.add_with("min", at(i16::MIN));
        assert_eq!(serve_all(&queue), ["min", "low"], "{step:?}");
    }
    let queue: Queue = queue(Policy { ageing: Some(Ageing { step: MS }), ..Policy::default() });
    queue.add_with("min", at(i16::MIN));
    advance(u32::from(u16::MAX) * MS).await;
    queue.add_with("max", at(i16::MAX));
    assert_eq!(serve_all(&queue), ["min", "max"]);
}

/// Goal: no time a level is no priority: first in, first out.
#[tokio::test(start_paused = true)]
async fn a_step_of_no_time_makes_all_priorities_equal() {
    let queue: Queue = queue(Policy { ageing: Some(Ageing { step: Duration::ZERO }), ..Policy::default() });
    for (key, priority) in [("a", 0), ("b", i16::MAX), ("c", i16::MIN)] {
        queue.add_with(key, at(priority));
        advance(MS).await;
    }
    queue.add_with("c", at(i16::MAX));
    assert_eq!(serve_all(&queue), ["a", "b", "c"]);
}

/// Goal: limits that nobody reaches cost nothing and break nothing.
#[tokio::test(start_paused = true)]
async fn limits_may_be_huge() {
    let queue: WorkQueue<u32> = queue(Policy {
        attempts: Some(Attempts { most: NonZeroU32::MAX, resting: usize::MAX }),
        reasons: usize::MAX,
        capacity: NonZeroUsize::new(usize::MAX),
        ..Policy::default()
    });
    for reason in 0..3000_u32 {
        queue.add_with(1, Ask { reason: Some(reason.to_string().into()), ..Ask::default() });
    }
    let item = take(&queue);
    let expected: Vec<String> = (0..3000_u32).map(|reason| reason.to_string()).collect();
    assert_eq!((texts(item.reasons()), item.reasons().dropped), (expected.iter().map(String::as_str).collect(), 0));
    assert_eq!(item.retry(), Retried::In(10 * MS));
    (0..5000).for_each(|key| assert!(queue.add(key).is_accepted()));
    assert_eq!(serve_all(&queue).len(), 5000);
}

/// Goal: a queue of one key is a queue: that key comes and goes, is accepted while it is there, and nothing else is.
#[tokio::test(start_paused = true)]
async fn a_queue_may_hold_a_single_key() {
    let queue: WorkQueue<u32> = queue(Policy { capacity: NonZeroUsize::new(1), ..Policy::default() });
    for key in 0..5000 {
        assert_eq!((queue.add(key), queue.add(key + 1)), (Added::Queued, Added::Full));
        let item = take(&queue);
        assert_eq!((queue.add(key), queue.add(key + 1)), (Added::WillRerun, Added::Full));
        item.done();
        assert_eq!(serve_all(&queue), [key]);
    }
}

/// Goal: the same where all keys became ready at the same moment: a priority that counts for nothing moves nobody.
#[tokio::test(start_paused = true)]
async fn a_step_of_no_time_moves_nobody() {
    let queue: Queue = queue(Policy { ageing: Some(Ageing { step: Duration::ZERO }), ..Policy::default() });
    queue.add("a");
    queue.add("b");
    queue.add_with("a", at(i16::MAX));
    assert_eq!(serve_all(&queue), ["a", "b"]);
}

/// Goal: dropping all keys takes time in proportion to their number, since the queue is locked meanwhile. Method: far
/// more time than that needs, and far less than a search for each of them: in the worst order, and with many flows.
#[tokio::test(start_paused = true)]
async fn a_discard_of_many_keys_is_quick() {
    const KEYS: u32 = 100_000;
    for flows in [false, true] {
        let flow: Flow<u32> = Box::new(|key| u64::from(*key));
        let queue: WorkQueue<u32> = queue(Policy { flow: flows.then_some(flow), ..Policy::default() });
        (0..KEYS).for_each(|key| _ = queue.add(key));
        let mut items: Vec<_> = (0..KEYS).map(|_| take(&queue)).collect();
        let last = items.pop();
        items.into_iter().for_each(WorkItem::done);
        (0..KEYS).for_each(|key| _ = queue.add(key));
        let start = std::time::Instant::now();
        queue.discard();
        assert!(start.elapsed() < 3 * SECOND, "{:?}, flows: {flows}", start.elapsed());
        drop(last);
        assert!(is_drained(&queue));
    }
}
