//! Backoff: how long to wait after a failure.
//!
//! In: the present instant. Out: a delay: 0.8 s doubling to 30 s, each longer by up to half of itself, so 45 s at
//! most. Two minutes without a failure start it again from 0.8 s. It never sleeps, gives up or reads a clock.
//!
//! The arithmetic is the `backoff` crate's, behind this one file (unmaintained; see deny.toml), with its own
//! randomness and its elapsed limit off. Unlike client-go's, the window of two minutes slides: it is counted from the
//! end of the last delay, not from the last reset, so a long outage stays at the cap (client-go 1.36 falls back to one
//! second every two and a half minutes, for ever).

use std::time::{Duration, Instant};

use backoff::backoff::Backoff as _;
use backoff::exponential::ExponentialBackoff;

/// Delays between attempts; upstream counterpart: the reflector's backoff manager.
#[derive(Debug, Clone, PartialEq)]
pub struct BackoffConfig {
    /// First delay. Default 800 ms.
    pub initial: Duration,
    /// Largest delay before jitter. Default 30 s.
    pub max: Duration,
    /// Each delay is longer by a random part of up to this fraction of itself. Default 0.5.
    pub jitter: f64,
    /// Time without a failure after which the next delay is the first again. Default 2 min.
    pub reset_after: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(800),
            max: Duration::from_secs(30),
            jitter: 0.5,
            reset_after: Duration::from_secs(120),
        }
    }
}

/// The instant that the caller gave last.
#[derive(Debug)]
struct GivenClock(Instant);

impl backoff::Clock for GivenClock {
    fn now(&self) -> Instant {
        self.0
    }
}

/// The state between failures.
#[derive(Debug)]
pub struct Backoff {
    delays: ExponentialBackoff<GivenClock>,
    jitter: f64,
    reset_after: Duration,
    random: fastrand::Rng,
    quiet_since: Option<Instant>,
}

impl Backoff {
    /// A fresh backoff whose jitter is a function of `seed`.
    pub fn new(config: &BackoffConfig, seed: u64, now: Instant) -> Self {
        let mut delays = ExponentialBackoff {
            current_interval: config.initial,
            initial_interval: config.initial,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: config.max,
            start_time: now,
            max_elapsed_time: None,
            clock: GivenClock(now),
        };
        delays.reset();
        Self {
            delays,
            jitter: if config.jitter.is_nan() { 0.0 } else { config.jitter.clamp(0.0, 1.0) },
            reset_after: config.reset_after,
            random: fastrand::Rng::with_seed(seed),
            quiet_since: None,
        }
    }

    /// This, and up to the jitter's part of it more.
    pub(crate) fn longer(&mut self, delay: Duration) -> Duration {
        scaled(delay, 1.0 + self.jitter * self.random.f64())
    }

    /// A failure at `now`: how long to wait before the next attempt.
    pub fn failed(&mut self, now: Instant) -> Duration {
        self.delays.clock.0 = now;
        if self.quiet_since.is_some_and(|since| now.saturating_duration_since(since) >= self.reset_after) {
            self.delays.reset();
        }
        let delay = self.delays.next_backoff().expect("no elapsed limit is set, so there is always a next delay");
        let delay = self.longer(delay);
        self.quiet_since = now.checked_add(delay);
        delay
    }
}

/// A duration times a factor; the longest there is where that is longer.
pub(crate) fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    /// Goal: the delays double to the cap, with jitter upwards only, and the same seed gives the same delays.
    #[test]
    fn climbs_to_the_cap() {
        let start = Instant::now();
        let delays = |seed| {
            let mut backoff = Backoff::new(&BackoffConfig::default(), seed, start);
            let mut now = start;
            let mut next = move || {
                let delay = backoff.failed(now);
                now += delay;
                delay
            };
            (0..10).map(|_| next()).collect::<Vec<_>>()
        };
        for (delay, base) in delays(7).iter().zip([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0, 30.0]) {
            assert!((base..base * 1.5).contains(&delay.as_secs_f64()), "{delay:?} for {base}");
        }
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    }

    /// Goal: an hour of outage stays at the cap, which a fixed window would not.
    /// Method: attempts that fail at once; the naive count is 3600 s over at least 30 s a delay, plus the climb.
    #[test]
    fn a_long_outage_stays_at_the_cap() {
        let start = Instant::now();
        let mut backoff = Backoff::new(&BackoffConfig::default(), 1, start);
        let (mut now, mut attempts) = (start, 0);
        while now < start + Duration::from_secs(3600) {
            now += backoff.failed(now);
            attempts += 1;
        }
        assert!((80..=126).contains(&attempts), "{attempts}");
    }

    /// Goal: two quiet minutes after the last delay start again from the first delay; a little less doesn't.
    #[test]
    fn quiet_time_resets() {
        let start = Instant::now();
        let mut backoff = Backoff::new(&BackoffConfig { jitter: 0.0, ..BackoffConfig::default() }, 1, start);
        assert_eq!(backoff.failed(start), Duration::from_millis(800));
        let now = start + Duration::from_millis(800) + Duration::from_secs(119);
        assert_eq!(backoff.failed(now), Duration::from_millis(1600));
        let now = now + Duration::from_millis(1600) + Duration::from_secs(120);
        assert_eq!(backoff.failed(now), Duration::from_millis(800));
    }
}
