//! The gate clock: the only place of this crate that reads a clock.
//!
//! In: nothing. Out: [`GateInstant`]s, which order events of one process, and wall times for people to read.
//! Never: compares clocks of two processes, or lets the wall clock decide anything.
//!
//! A gate must close although the machine was suspended, so the real clock is `CLOCK_BOOTTIME`: it counts suspended
//! time, which `std::time::Instant` (`CLOCK_MONOTONIC`) doesn't. What it can't count is a stopped virtual machine: that shows only in
//! the wall clock, once somebody has set it right. So a gate also compares the two: when they have moved apart it asks the server before
//! it acts on (see `gate.rs`). A wall clock that is set by hand costs one renewal, nothing else.

use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A point on one process's gate clock, in nanoseconds since that clock's own zero.
///
/// Values of two machines are not comparable; on one machine [`BootClock`] shows every process the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateInstant(u64);

impl GateInstant {
    /// The point `nanos` nanoseconds after the clock's zero.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from this point to `later`; zero if `later` isn't later.
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

impl Add<Duration> for GateInstant {
    type Output = Self;

    /// Saturates at the end of the clock, about 584 years after its zero.
    fn add(self, step: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(step.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// What time it is, for a gate and for people.
///
/// Implementations must never go backwards, and their rate must stay within the configured clock rate error
/// ([`Timings::clock_rate_error`](crate::Timings::clock_rate_error)): safety rests on that.
pub trait GateClock: Send + Sync {
    /// The gate clock. Called at each gate check, so it must be cheap and must not block.
    fn now(&self) -> GateInstant;

    /// The wall clock, written into Leases for people. Its reading decides nothing; a jump against [`GateClock::now`] of more than a
    /// second makes a gate ask the server. So it must run at the same rate, and must be as cheap: it is called at each check too.
    fn wall(&self) -> Timestamp;
}

/// One reading of both clocks. What the wall clock is ahead of the gate clock says nothing by itself; a change of it says that one of
/// them has jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: GateInstant,
    /// The wall clock, less the gate clock, in nanoseconds.
    ahead: i128,
}

impl Moment {
    pub(crate) fn of(clock: &dyn GateClock) -> Self {
        let at = clock.now();
        Self { at, ahead: clock.wall().as_nanosecond() - i128::from(at.as_nanos()) }
    }

    /// A moment of a clock that has never jumped.
    #[cfg(test)]
    pub(crate) fn when(clock: &dyn GateClock, at: GateInstant) -> Self {
        Self { at, ..Self::of(clock) }
    }

    /// Whether one of the clocks has jumped between this moment and `other`.
    pub(crate) fn disagrees(self, other: Self) -> bool {
        self.ahead.abs_diff(other.ahead) > JUMP.as_nanos()
    }
}

/// A change of the wall clock against the gate clock that is taken for a jump. Both are slewed alike, so that without a jump there is
/// next to none.
const JUMP: Duration = Duration::from_secs(1);

/// How often the gate clock is looked at while something is waited for, at least.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Sleeps until the gate clock shows `until`, in short pieces: tokio's clock stands still while the machine is suspended,
/// and may run at another rate. Cancel safe.
pub(crate) async fn sleep_until(clock: &dyn GateClock, until: GateInstant) {
    loop {
        let left = clock.now().until(until);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(TICK)).await;
    }
}

/// `CLOCK_BOOTTIME` and the system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl GateClock for BootClock {
    fn now(&self) -> GateInstant {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        GateInstant(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    #[expect(clippy::disallowed_methods, reason = "this module is the border to the clocks")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that follows tokio's time, for tests and simulations under paused time.
///
/// It may start anywhere and run fast or slow, so that several simulated processes disagree as real ones do.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    started: tokio::time::Instant,
    offset: Duration,
    rate: f64,
    wall: Timestamp,
    /// How far the wall was stepped, in nanoseconds.
    stepped: Arc<AtomicI64>,
}

impl VirtualClock {
    /// A clock that stands at zero now, runs at the rate of tokio's time and shows 2026-01-01T00:00:00Z on the wall.
    #[expect(clippy::disallowed_methods, reason = "this module is the border to the clocks")]
    pub fn new() -> Self {
        let wall = Timestamp::from_second(1_767_225_600).expect("a date in range");
        Self { started: tokio::time::Instant::now(), offset: Duration::ZERO, rate: 1.0, wall, stepped: Arc::default() }
    }

    /// The same clock, but it stands at `offset` now.
    pub fn with_offset(self, offset: Duration) -> Self {
        Self { offset, ..self }
    }

    /// The same clock, but it passes `rate` seconds a second of tokio's time. Negative and unreal rates count as zero.
    pub fn with_rate(self, rate: f64) -> Self {
        let rate = if rate.is_finite() { rate.max(0.0) } else { 0.0 };
        Self { rate, ..self }
    }

    /// The same clock, but its wall shows `wall` now.
    pub fn with_wall(self, wall: Timestamp) -> Self {
        Self { wall, ..self }
    }

    /// Steps the wall of this clock and of its clones, forwards or back, as people and time daemons do. A step of more than 292 years is
    /// none.
    pub fn step_wall(&self, step: SignedDuration) {
        self.stepped.fetch_add(i64::try_from(step.as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Tokio time, since the clock was made, at which it reaches `instant`; the inverse of [`GateClock::now`].
    pub fn true_time(&self, instant: GateInstant) -> Duration {
        let local = (GateInstant(0) + self.offset).until(instant);
        Duration::try_from_secs_f64(local.as_secs_f64() / self.rate).unwrap_or(Duration::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this module is the border to the clocks")]
    fn passed(&self) -> Duration {
        tokio::time::Instant::now().saturating_duration_since(self.started)
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl GateClock for VirtualClock {
    fn now(&self) -> GateInstant {
        GateInstant(0) + self.offset + self.passed().mul_f64(self.rate)
    }

    fn wall(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.passed().mul_f64(self.rate)).unwrap_or(SignedDuration::ZERO);
        let stepped = SignedDuration::from_nanos(self.stepped.load(Ordering::Relaxed));
        self.wall.checked_add(passed.saturating_add(stepped)).unwrap_or(self.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the real clock moves forward and never back. Method: two readings.
    #[test]
    fn boot_clock_does_not_go_back() {
        let first = BootClock.now();
        let second = BootClock.now();
        assert!(first <= second);
        assert!(first.as_nanos() > 0);
    }

    /// Goal: a virtual clock has the stated offset and rate, and its inverse is exact enough. Method: paused time.
    #[tokio::test(start_paused = true)]
    async fn virtual_clock_runs_at_its_own_rate() {
        let clock = VirtualClock::new().with_offset(Duration::from_secs(100)).with_rate(0.9);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), GateInstant::from_nanos(109_000_000_000));
        let back = clock.true_time(clock.now());
        assert!(back.abs_diff(Duration::from_secs(10)) < Duration::from_micros(1));
        assert_eq!(clock.wall().to_string(), "2026-01-01T00:00:09Z");
    }

    /// Goal: clocks that run together never seem to jump, and a jump of one is seen, either way. Method: a fast clock, then a step of
    /// its wall.
    #[tokio::test(start_paused = true)]
    async fn a_jump_is_seen() {
        let clock = VirtualClock::new().with_rate(1.12);
        let before = Moment::of(&clock);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(!before.disagrees(Moment::of(&clock)));
        for seconds in [2, -2] {
            clock.step_wall(SignedDuration::from_secs(seconds));
            assert!(before.disagrees(Moment::of(&clock)), "{seconds}");
            clock.step_wall(SignedDuration::from_secs(-seconds));
        }
    }

    /// Goal: arithmetic at the ends of the clock neither wraps nor panics. Method: extreme values.
    #[test]
    fn instants_saturate() {
        let end = GateInstant::from_nanos(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(end.until(GateInstant::from_nanos(0)), Duration::ZERO);
    }
}
