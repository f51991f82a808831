//! The clocks a server reads.
//!
//! Comes in: nothing. Goes out: wall time for what objects say (`creationTimestamp`), tokio's instant for timers, boot
//! time for the audit log. This is the only file of the crate that reads a clock; everything else is handed the time.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where a server's time comes from.
///
/// Timers themselves are tokio's, so a paused runtime moves them; [`Clock::now`] must be an instant of that runtime.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall time that objects are stamped with.
    fn wall(&self) -> Timestamp;

    /// The instant that timeouts are counted from.
    fn now(&self) -> Instant;

    /// Nanoseconds since boot, suspended time included, for the audit log. On one machine these compare between processes.
    fn boot_nanos(&self) -> u64;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the clock module is the border")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the clock module is the border")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn boot_nanos(&self) -> u64 {
        boot_nanos()
    }
}

/// A wall clock derived from tokio's: it stands still where tokio's time is paused and jumps with it.
///
/// The start is an argument, so that a test under paused time sees the same timestamps in each run. Boot time counts from
/// the construction.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Timestamp,
    origin: Instant,
}

impl TokioClock {
    /// A clock that shows `start` now. Call it inside the runtime whose time it follows.
    #[expect(clippy::disallowed_methods, reason = "the clock module is the border")]
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, origin: Instant::now() }
    }

    fn elapsed(&self) -> Duration {
        self.now().saturating_duration_since(self.origin)
    }
}

impl Clock for TokioClock {
    fn wall(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX);
        self.start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "the clock module is the border")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn boot_nanos(&self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(target_os = "linux")]
fn boot_nanos() -> u64 {
    nanos(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

/// Where there is no boot clock the monotonic one stands in: it stops while the machine is suspended.
#[cfg(not(target_os = "linux"))]
fn boot_nanos() -> u64 {
    nanos(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

fn nanos(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
