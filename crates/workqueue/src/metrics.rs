//! What can be seen of a queue from outside.

/// A queue at one moment: everything in it was read under one lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Keys that can be taken now. Upstream: `workqueue_depth`.
    pub ready: usize,
    /// Keys that wait for a deadline, those among them that are in flight included.
    pub waiting: usize,
    /// Keys in the hands of workers.
    pub in_flight: usize,
    /// Keys in the queue that have failed since they last succeeded.
    pub failing: usize,
    /// No further keys are accepted.
    pub shut_down: bool,
    /// Adds that weren't absorbed by an earlier one, deadlines that came due included. Upstream:
    /// `workqueue_adds_total`.
    pub adds: u64,
    /// Outcomes that were failures, panics included. Upstream: `workqueue_retries_total`.
    pub retries: u64,
    /// Keys given up.
    pub given_up: u64,
}
