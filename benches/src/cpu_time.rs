//! CPU time, as the kernel counts it in nanoseconds: what this thread, or this process, has used.
//!
//! In: nothing. Out: durations since the start of the thread or process.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// The CPU time of all threads of this process.
pub(crate) fn process_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let at = clock_gettime(clock);
    Duration::new(at.tv_sec.try_into().unwrap_or(0), at.tv_nsec.try_into().unwrap_or(0))
}

/// What one of `n` took, in nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
pub(crate) fn each(took: Duration, n: usize) -> f64 {
    took.as_nanos() as f64 / n as f64
}
