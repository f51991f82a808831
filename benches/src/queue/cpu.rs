//! CPU time: what a measure of one thread costs, whatever else the machine does.
//!
//! In: the moment at which the measured part starts. Out: a [`Figure`] of one operation.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::measures::Figure;

/// The CPU time that was used up when the measured part started.
pub(crate) struct Cpu {
    process: Duration,
    thread: Duration,
}

impl Cpu {
    pub(crate) fn start() -> Self {
        let process = read(ClockId::ProcessCPUTime);
        Self { process, thread: thread_time() }
    }

    /// What one of `n` operations on this thread took of it.
    pub(crate) fn figure(&self, n: usize) -> Figure {
        let thread = thread_time() - self.thread;
        let process = read(ClockId::ProcessCPUTime) - self.process;
        Figure { nanos: Some(each(thread, n)), process_nanos: Some(each(process, n)), ..Figure::default() }
    }

    /// What one of `n` operations took of all threads.
    pub(crate) fn process_figure(&self, n: usize) -> Figure {
        let process = read(ClockId::ProcessCPUTime) - self.process;
        Figure { nanos: Some(each(process, n)), ..Figure::default() }
    }
}

/// The CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    read(ClockId::ThreadCPUTime)
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
