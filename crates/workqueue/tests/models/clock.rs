//! Time for models: it stands still until a model lets it pass.
//!
//! All threads of a model run on one thread of the system, so they share the runtime that one of them has entered. It
//! runs no tasks, it only keeps the timers.

use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Runtime};

pub(crate) struct Clock(Runtime);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"))
    }

    /// The clock is that of all threads of the model while the guard lives.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.0.enter()
    }

    /// Lets time pass, and wakes those whose timers end in it. To be called by the thread that has entered.
    pub(crate) fn pass(&self, time: Duration) {
        self.0.block_on(tokio::time::sleep(time));
    }
}
