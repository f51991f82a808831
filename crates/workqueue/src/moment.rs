//! The queue's time: nanoseconds since the queue was made, half the size of an [`Instant`] and free of its overflows.
//!
//! The one place where the queue reads a clock. It is tokio's, so tests can pause it; the cores take `now` as an
//! argument.

use std::time::Duration;

use tokio::time::Instant;

/// The longest delay, a year; longer ones are cut, so that no sum of times overflows.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 3600);

/// A point in time, as nanoseconds since the queue was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Moment(u64);

impl Moment {
    /// When the queue was made; also what stands for `now` where no rule looks at the time.
    pub(crate) const START: Self = Self(0);
    /// Later than any other.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// This much later; delays over [`LONGEST_DELAY`] are cut.
    #[inline]
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(nanos(delay)))
    }

    /// How long ago `earlier` was; zero if it wasn't.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds since the queue was made, as far as an `i64` goes: 292 years.
    #[inline]
    pub(crate) fn nanos(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The inverse of [`Moment::nanos`]; what is before the start is the start.
    #[inline]
    pub(crate) fn from_nanos(nanos: i64) -> Self {
        Self(u64::try_from(nanos).unwrap_or(0))
    }
}

fn nanos(delay: Duration) -> u64 {
    u64::try_from(delay.min(LONGEST_DELAY).as_nanos()).expect("a year has fewer than 2^64 nanoseconds")
}

/// Turns tokio's instants into moments and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: instant() }
    }

    #[inline]
    pub(crate) fn start(self) -> Instant {
        self.start
    }

    #[inline]
    pub(crate) fn now(self) -> Moment {
        let passed = instant().saturating_duration_since(self.start);
        Moment(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The instant of a moment; moments further than a century away are a century away.
    pub(crate) fn instant(self, moment: Moment) -> Instant {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        self.start + Duration::from_nanos(moment.0).min(CENTURY)
    }
}

/// Now, as tokio has it.
#[expect(clippy::disallowed_methods, reason = "the clock of the queue's shell")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
