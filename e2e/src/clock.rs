//! The one clock of the harness: boot time, the clock of every activity trace.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, time asleep included (`CLOCK_BOOTTIME`): comparable between processes of one machine.
pub fn boot_nanos() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
