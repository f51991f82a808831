//! What the queue answers.

use std::time::Duration;

/// What became of an added key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It waits for a worker, or for its deadline, and didn't before, or not for so early a time.
    Queued,
    /// It was waiting already, at least as early: it is handed out once for both.
    AlreadyQueued,
    /// A worker has it: it is handed out again after that worker has finished.
    WillRerun,
    /// The queue holds as many keys as it may, and this isn't one of them. Nothing was kept: come again.
    Full,
    /// The queue is shut down. Nothing was kept.
    Refused,
}

impl Added {
    /// Some processing of the key starts after the add, unless somebody stops it; see
    /// [`WorkQueue::add`](crate::WorkQueue::add).
    #[must_use]
    pub fn is_accepted(self) -> bool {
        !matches!(self, Self::Full | Self::Refused)
    }
}

/// What became of a key that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is tried again in this time: after the limiter's delay, or an earlier one that was asked for meanwhile, but
    /// not before the minimum interval is over. Earlier if it is added.
    In(Duration),
    /// It was added meanwhile, and is ready again.
    AtOnce,
    /// It has failed as often as it may, and is set aside; see [`Attempts`](crate::Attempts).
    Exhausted,
    /// The queue is shut down: it isn't tried again.
    Dropped,
}

/// The end of the queue didn't come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotDrained {
    /// Keys that no worker has taken.
    pub ready: usize,
    /// Keys that workers still have.
    pub in_flight: usize,
}

impl std::fmt::Display for NotDrained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ready, in_flight } = self;
        write!(f, "the queue isn't drained: {ready} keys are ready and {in_flight} in the hands of workers")
    }
}

impl std::error::Error for NotDrained {}
