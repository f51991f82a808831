//! CPU time: what a measure of one thread costs, whatever else the machine does.
//!
//! In: the moment at which the measured part starts. Out: a [`Figure`] of one operation.

use std::time::Duration;

use super::measures::Figure;
use crate::cpu_time::{each, process_time, thread_time};

/// The CPU time that was used up when the measured part started.
pub(crate) struct Cpu {
    process: Duration,
    thread: Duration,
}

impl Cpu {
    pub(crate) fn start() -> Self {
        let process = process_time();
        Self { process, thread: thread_time() }
    }

    /// What one of `n` operations on this thread took of it.
    pub(crate) fn figure(&self, n: usize) -> Figure {
        let thread = thread_time() - self.thread;
        let process = process_time() - self.process;
        Figure { nanos: Some(each(thread, n)), process_nanos: Some(each(process, n)), ..Figure::default() }
    }

    /// What one of `n` operations took of all threads.
    pub(crate) fn process_figure(&self, n: usize) -> Figure {
        let process = process_time() - self.process;
        Figure { nanos: Some(each(process, n)), ..Figure::default() }
    }
}
