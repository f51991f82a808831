//! How long a key that failed has to wait.
//!
//! In: how often the key has failed in a row, and the time. Out: a delay. The limiters hold nothing per key: the count
//! lives in the queue beside the key, and only as long as the key is in the queue, so a limiter can't grow.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Says how long a failed key waits. Upstream: `workqueue.TypedRateLimiter`, whose `Forget` and `NumRequeues` are the
/// queue's own business here.
pub trait RateLimiter: Send {
    /// The delay after the `failures`-th failure in a row of one key (1 for the first). `now` never goes backwards.
    ///
    /// The queue keeps whatever comes back between 1 ms and 365 days.
    fn delay(&mut self, failures: u32, now: Instant) -> Duration;
}

/// `base`, then twice as long after each further failure, up to `max`. Upstream:
/// `workqueue.ItemExponentialFailureRateLimiter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exponential {
    /// The delay after the first failure.
    pub base: Duration,
    /// The longest delay.
    pub max: Duration,
}

impl Default for Exponential {
    /// 5 ms to 1000 s, as client-go: the cap is reached at the 19th failure.
    fn default() -> Self {
        Self { base: Duration::from_millis(5), max: Duration::from_secs(1000) }
    }
}

impl RateLimiter for Exponential {
    fn delay(&mut self, failures: u32, _now: Instant) -> Duration {
        // 2^31 times a base of a nanosecond is 2 s, so the power must be able to go further than Duration's u32.
        let doublings = failures.saturating_sub(1).min(63);
        let nanos = self.base.as_nanos().saturating_mul(1 << doublings);
        if nanos >= self.max.as_nanos() {
            return self.max;
        }
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        match (u64::try_from(seconds), u32::try_from(rest)) {
            (Ok(seconds), Ok(rest)) => Duration::new(seconds, rest),
            _ => self.max,
        }
    }
}

/// One bucket of tokens for all keys: a failure takes one, and waits for it when the bucket is empty. Upstream:
/// `workqueue.TypedBucketRateLimiter`, which reserves tokens without a bound.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    interval: Duration,
    burst: u32,
    longest: Duration,
    /// When the bucket will be full again if nothing else is taken.
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// A bucket of `burst` tokens that gets one more each `interval`. Nothing waits longer than `longest`: a key that
    /// would have to takes no token and waits exactly that long. An `interval` of zero limits nothing.
    #[must_use]
    pub fn new(interval: Duration, burst: u32, longest: Duration) -> Self {
        Self { interval, burst, longest, full_at: None }
    }
}

impl Default for TokenBucket {
    /// 10 tokens a second and a burst of 100, as client-go. Reserves at most 1000 s ahead, the longest backoff of a
    /// single key: beyond that the bucket would make a key wait longer than its own failures can.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), 100, Duration::from_secs(1000))
    }
}

impl RateLimiter for TokenBucket {
    fn delay(&mut self, _failures: u32, now: Instant) -> Duration {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        let Some(then_full_at) = full_at.checked_add(self.interval) else { return self.longest };
        let debt = then_full_at.saturating_duration_since(now);
        let delay = debt.saturating_sub(self.interval.saturating_mul(self.burst));
        if delay > self.longest {
            return self.longest;
        }
        self.full_at = Some(then_full_at);
        delay
    }
}

/// The longest of several delays. Upstream: `workqueue.MaxOfRateLimiter`.
pub struct MaxOf(
    /// Each is asked each time.
    pub Vec<Box<dyn RateLimiter>>,
);

impl Default for MaxOf {
    /// client-go's default for controllers: [`Exponential`] per key and one [`TokenBucket`] for all.
    fn default() -> Self {
        Self(vec![Box::new(Exponential::default()), Box::new(TokenBucket::default())])
    }
}

impl RateLimiter for MaxOf {
    fn delay(&mut self, failures: u32, now: Instant) -> Duration {
        self.0.iter_mut().map(|limiter| limiter.delay(failures, now)).max().unwrap_or_default()
    }
}

impl fmt::Debug for MaxOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaxOf({} limiters)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// TestItemExponentialFailureRateLimiter: 1, 2, 4, 8, 16 ms, then the cap.
    #[test]
    fn exponential_doubles_up_to_its_cap() {
        let now = Instant::now();
        let mut limiter = Exponential { base: MS, max: 20 * MS };
        let delays: Vec<u128> = (1..=6).map(|failures| limiter.delay(failures, now).as_millis()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 20]);
    }

    /// TestItemExponentialFailureRateLimiterOverFlow, and further: no count and no base overflows.
    #[test]
    fn exponential_never_overflows() {
        let now = Instant::now();
        let extremes = [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1), Duration::MAX];
        for base in extremes {
            for max in extremes {
                let mut limiter = Exponential { base, max };
                let mut last = Duration::ZERO;
                for failures in [0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 1000, u32::MAX] {
                    let delay = limiter.delay(failures, now);
                    assert!(last <= delay && delay <= max, "{base:?} {max:?} {failures}");
                    last = delay;
                }
            }
        }
        assert_eq!(Exponential::default().delay(18, now), Duration::from_micros(655_360_000));
        assert_eq!(Exponential::default().delay(19, now), Duration::from_secs(1000));
    }

    /// Goal: a burst passes, then one token an interval; a rest refills the bucket, but not above its size.
    #[test]
    fn token_bucket_passes_a_burst_then_its_rate() {
        let mut now = Instant::now();
        let mut bucket = TokenBucket::new(100 * MS, 3, Duration::MAX);
        let mut take = |now| bucket.delay(1, now).as_millis();
        assert_eq!([take(now), take(now), take(now), take(now), take(now)], [0, 0, 0, 100, 200]);
        now += 200 * MS;
        assert_eq!(take(now), 100);
        now += Duration::from_secs(3600);
        assert_eq!([take(now), take(now), take(now), take(now)], [0, 0, 0, 100]);
    }

    /// Goal: client-go's bucket sends a key hours away after a storm (its issue 104554); this one has a bound.
    /// Method: a hundred thousand failures at once, then one more.
    #[test]
    fn token_bucket_reserves_no_further_than_its_bound() {
        let now = Instant::now();
        let longest = Duration::from_secs(60);
        let mut bucket = TokenBucket::new(100 * MS, 100, longest);
        for _ in 0..100_000 {
            assert!(bucket.delay(1, now) <= longest);
        }
        assert_eq!(bucket.delay(1, now), longest);
        assert_eq!(bucket.delay(1, now + longest + 10 * Duration::from_secs(1)), Duration::ZERO);
    }

    /// Goal: extreme parameters are defined.
    #[test]
    fn token_bucket_survives_extremes() {
        let now = Instant::now();
        let mut endless = TokenBucket::new(Duration::MAX, u32::MAX, Duration::from_secs(5));
        assert_eq!(endless.delay(1, now), Duration::from_secs(5));
        let mut free = TokenBucket::new(Duration::ZERO, 0, Duration::MAX);
        assert_eq!(free.delay(1, now), Duration::ZERO);
        let mut empty = TokenBucket::new(MS, 0, Duration::ZERO);
        assert_eq!(empty.delay(1, now), Duration::ZERO);
    }

    /// TestMaxOfRateLimiter: the longest delay counts, and every member is asked.
    #[test]
    fn max_of_takes_the_longest() {
        let now = Instant::now();
        let members: Vec<Box<dyn RateLimiter>> = vec![
            Box::new(Exponential { base: 5 * MS, max: 1000 * MS }),
            Box::new(TokenBucket::new(100 * MS, 2, Duration::MAX)),
        ];
        let mut limiter = MaxOf(members);
        let delays: Vec<u128> = (1..=4).map(|failures| limiter.delay(failures, now).as_millis()).collect();
        assert_eq!(delays, [5, 10, 100, 200]);
        assert_eq!(MaxOf(Vec::new()).delay(1, now), Duration::ZERO);
    }
}
