//! How long a key that failed has to wait.
//!
//! In: how often the key has failed in a row, and the time. Out: a delay. The limiters hold nothing per key: the count
//! lives in the queue beside the key, and only as long as the key is in the queue, so a limiter can't grow.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::Mutex;

/// Says how long a failed key waits. Upstream: `workqueue.TypedRateLimiter`, whose `Forget` and `NumRequeues` are the
/// queue's own business here.
pub trait RateLimiter: Send + Sync {
    /// The delay after the `failures`-th failure in a row of one key (1 for the first). `now` never goes backwards as
    /// seen by one caller.
    ///
    /// The queue keeps whatever comes back between 1 ms and 365 days. Called outside of the queue's lock.
    fn delay(&self, failures: u32, now: Instant) -> Duration;

    /// Whether `now` matters. Where it doesn't, the queue reads no clock and `now` is any time.
    fn looks_at_time(&self) -> bool {
        true
    }
}

/// No limit: a failed key is ready again after the 1 ms that the queue insists on. Upstream has none; its
/// `ItemExponentialFailureRateLimiter` with a base of zero comes near.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlimited;

impl RateLimiter for Unlimited {
    fn delay(&self, _failures: u32, _now: Instant) -> Duration {
        Duration::ZERO
    }

    fn looks_at_time(&self) -> bool {
        false
    }
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
    fn delay(&self, failures: u32, _now: Instant) -> Duration {
        let doublings = failures.saturating_sub(1);
        match u64::try_from(self.base.as_nanos()) {
            Ok(0) => Duration::ZERO,
            // Beyond 2^64 ns, 584 years, nothing is doubled.
            Ok(base) if doublings <= base.leading_zeros() => Duration::from_nanos(base << doublings).min(self.max),
            _ => self.max,
        }
    }

    fn looks_at_time(&self) -> bool {
        false
    }
}

/// Some short delays, then only long ones. Upstream: `workqueue.ItemFastSlowRateLimiter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastSlow {
    /// The delay after each of the first failures.
    pub fast: Duration,
    /// The delay after each further one.
    pub slow: Duration,
    /// How many failures in a row are followed by the fast delay.
    pub fast_attempts: u32,
}

impl RateLimiter for FastSlow {
    fn delay(&self, failures: u32, _now: Instant) -> Duration {
        if failures <= self.fast_attempts { self.fast } else { self.slow }
    }

    fn looks_at_time(&self) -> bool {
        false
    }
}

/// One bucket of tokens for all keys: a failure takes one, and waits for it when the bucket is empty. Upstream:
/// `workqueue.TypedBucketRateLimiter`, which reserves tokens without a bound.
#[derive(Debug)]
pub struct TokenBucket {
    interval: Duration,
    burst: u32,
    longest: Duration,
    /// When the bucket will be full again if nothing else is taken.
    full_at: Mutex<Option<Instant>>,
}

impl TokenBucket {
    /// A bucket of `burst` tokens that gets one more each `interval`. Nothing waits longer than `longest`: a key that
    /// would have to takes no token and waits exactly that long. An `interval` of zero limits nothing.
    #[must_use]
    pub fn new(interval: Duration, burst: u32, longest: Duration) -> Self {
        Self { interval, burst, longest, full_at: Mutex::new(None) }
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
    fn delay(&self, _failures: u32, now: Instant) -> Duration {
        let mut full_at = self.full_at.lock();
        let Some(then_full_at) = full_at.map_or(now, |at| at.max(now)).checked_add(self.interval) else {
            return self.longest;
        };
        let debt = then_full_at.saturating_duration_since(now);
        let delay = debt.saturating_sub(self.interval.saturating_mul(self.burst));
        if delay > self.longest {
            return self.longest;
        }
        *full_at = Some(then_full_at);
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
    fn delay(&self, failures: u32, now: Instant) -> Duration {
        self.0.iter().map(|limiter| limiter.delay(failures, now)).max().unwrap_or_default()
    }

    fn looks_at_time(&self) -> bool {
        self.0.iter().any(|limiter| limiter.looks_at_time())
    }
}

impl fmt::Debug for MaxOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaxOf({} limiters)", self.0.len())
    }
}

/// Another limiter's delays, but none above `longest`. Upstream: `workqueue.WithMaxWaitRateLimiter`.
#[derive(Clone, Debug)]
pub struct Capped<L> {
    /// Whose delays.
    pub limiter: L,
    /// The longest delay.
    pub longest: Duration,
}

impl<L: RateLimiter> RateLimiter for Capped<L> {
    fn delay(&self, failures: u32, now: Instant) -> Duration {
        self.limiter.delay(failures, now).min(self.longest)
    }

    fn looks_at_time(&self) -> bool {
        self.limiter.looks_at_time()
    }
}

/// Another limiter's delays, each longer by a random part of itself, so that what failed together isn't tried again
/// together. client-go's queue has none.
#[derive(Debug)]
pub struct Jitter<L> {
    limiter: L,
    most: f64,
    random: Mutex<fastrand::Rng>,
}

impl<L> Jitter<L> {
    /// Each delay becomes at most `1 + most` times as long, evenly spread; `most` is kept between 0 and 100, and what
    /// isn't a number counts as 0. The same seed gives the same delays.
    #[must_use]
    pub fn new(limiter: L, most: f64, seed: u64) -> Self {
        let most = if most.is_nan() { 0.0 } else { most.clamp(0.0, 100.0) };
        Self { limiter, most, random: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }
}

impl<L: RateLimiter> RateLimiter for Jitter<L> {
    fn delay(&self, failures: u32, now: Instant) -> Duration {
        let delay = self.limiter.delay(failures, now);
        let stretched = delay.as_secs_f64() * (1.0 + self.random.lock().f64() * self.most);
        // Rounding mustn't shorten it, and what is too long for a Duration is cut by the queue anyway.
        Duration::try_from_secs_f64(stretched).unwrap_or(Duration::MAX).max(delay)
    }

    fn looks_at_time(&self) -> bool {
        self.limiter.looks_at_time()
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
        let limiter = Exponential { base: MS, max: 20 * MS };
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
                let limiter = Exponential { base, max };
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
        let bucket = TokenBucket::new(100 * MS, 3, Duration::MAX);
        let take = |now| bucket.delay(1, now).as_millis();
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
        let bucket = TokenBucket::new(100 * MS, 100, longest);
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
        let endless = TokenBucket::new(Duration::MAX, u32::MAX, Duration::from_secs(5));
        assert_eq!(endless.delay(1, now), Duration::from_secs(5));
        let free = TokenBucket::new(Duration::ZERO, 0, Duration::MAX);
        assert_eq!(free.delay(1, now), Duration::ZERO);
        let empty = TokenBucket::new(MS, 0, Duration::ZERO);
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
        let limiter = MaxOf(members);
        let delays: Vec<u128> = (1..=4).map(|failures| limiter.delay(failures, now).as_millis()).collect();
        assert_eq!(delays, [5, 10, 100, 200]);
        assert_eq!(MaxOf(Vec::new()).delay(1, now), Duration::ZERO);
    }

    /// TestItemFastSlowRateLimiter: so many fast delays, then slow ones.
    #[test]
    fn fast_slow_changes_after_its_attempts() {
        let now = Instant::now();
        let limiter = FastSlow { fast: 5 * MS, slow: 10_000 * MS, fast_attempts: 3 };
        let delays: Vec<u128> = (1..=5).map(|failures| limiter.delay(failures, now).as_millis()).collect();
        assert_eq!(delays, [5, 5, 5, 10_000, 10_000]);
        assert_eq!(limiter.delay(u32::MAX, now), limiter.slow);
    }

    /// TestWithMaxWaitRateLimiter: the cap is kept.
    #[test]
    fn capped_keeps_its_cap() {
        let now = Instant::now();
        let limiter = Capped { limiter: Exponential::default(), longest: 12 * MS };
        let delays: Vec<u128> = (1..=4).map(|failures| limiter.delay(failures, now).as_millis()).collect();
        assert_eq!(delays, [5, 10, 12, 12]);
    }

    /// Goal: jitter only lengthens, by no more than its part, spreads, and is a function of its seed; nonsense is
    /// defined.
    #[test]
    fn jitter_spreads_within_its_part() {
        let now = Instant::now();
        let base = Exponential { base: 1000 * MS, max: 1000 * MS };
        let delays = |seed| {
            let limiter = Jitter::new(base.clone(), 0.5, seed);
            (0..1000).map(|_| limiter.delay(1, now)).collect::<Vec<Duration>>()
        };
        let drawn = delays(7);
        assert!(drawn.iter().all(|delay| (1000 * MS..=1500 * MS).contains(delay)));
        assert!(drawn.iter().any(|delay| *delay < 1100 * MS) && drawn.iter().any(|delay| *delay > 1400 * MS));
        assert_eq!(drawn, delays(7));
        assert_ne!(drawn, delays(8));
        for nonsense in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            assert_eq!(Jitter::new(base.clone(), nonsense, 1).delay(1, now), base.max);
        }
        let endless = Exponential { base: Duration::MAX, max: Duration::MAX };
        assert_eq!(Jitter::new(endless, f64::INFINITY, 1).delay(9, now), Duration::MAX);
    }

    /// Goal: who doesn't look at the time says so, also through those that ask others.
    #[test]
    fn only_the_bucket_looks_at_the_time() {
        assert!(MaxOf::default().looks_at_time() && TokenBucket::default().looks_at_time());
        assert!(!MaxOf(vec![Box::new(Exponential::default()), Box::new(Unlimited)]).looks_at_time());
        assert!(Jitter::new(Capped { limiter: TokenBucket::default(), longest: MS }, 0.1, 1).looks_at_time());
    }
}
