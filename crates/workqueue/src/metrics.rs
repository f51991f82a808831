//! How many keys do what, and for how long: upstream's seven `workqueue_*` metrics, without a metrics library.

use std::time::Duration;

/// Where a queue's measures go: one method for each of upstream's metrics, under its name without the prefix.
///
/// All but two are told as they change; [`WorkQueue::observe`](crate::WorkQueue::observe) tells those that change by
/// themselves. Called outside of the queue's lock, by whatever task or thread has changed the queue, so calls may
/// overtake each other: each carries a value that was true. A panic of a sink is caught and ignored, since it
/// mustn't lose a key. Upstream: `workqueue.MetricsProvider`, which makes a metric a queue's name.
pub trait Metrics: Send + Sync {
    /// `workqueue_depth`, a gauge: keys that are ready.
    fn depth(&self, keys: usize);
    /// `workqueue_adds_total`, a counter: adds that weren't absorbed by an earlier one.
    fn adds(&self, more: u64);
    /// `workqueue_queue_duration_seconds`, a histogram: from when a key became ready, or was added in flight, to its
    /// hand-out.
    fn queue_duration(&self, waited: Duration);
    /// `workqueue_work_duration_seconds`, a histogram: from the hand-out to the outcome.
    fn work_duration(&self, worked: Duration);
    /// `workqueue_retries_total`, a counter. Upstream counts every `AddAfter`; here only failures count.
    fn retries(&self, more: u64);
    /// `workqueue_unfinished_work_seconds`, a gauge: the ages of all keys in flight together.
    fn unfinished_work(&self, ages: Duration);
    /// `workqueue_longest_running_processor_seconds`, a gauge: the age of the oldest key in flight.
    fn longest_running_processor(&self, age: Duration);
}

/// A queue at one moment: everything in it was read under one lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Keys that can be taken now, or as soon as the queue is resumed. Upstream: `workqueue_depth`.
    pub ready: usize,
    /// Keys that wait for a deadline, those among them that are in flight included.
    pub waiting: usize,
    /// Keys in the hands of workers.
    pub in_flight: usize,
    /// Keys that are paused and would otherwise be ready.
    pub held: usize,
    /// Keys that have failed too often and rest.
    pub exhausted: usize,
    /// Keys in the queue that have failed since they last succeeded.
    pub failing: usize,
    /// Nothing is handed out.
    pub paused: bool,
    /// No further keys are accepted.
    pub shut_down: bool,
    /// Adds that weren't absorbed by an earlier one, deadlines that came due included. Upstream:
    /// `workqueue_adds_total`.
    pub adds: u64,
    /// Outcomes that were failures, panics included. Upstream: `workqueue_retries_total`.
    pub retries: u64,
    /// Keys given up, by an outcome or because too many were exhausted.
    pub given_up: u64,
}

/// How long the keys in flight have been so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) unfinished: Duration,
    pub(crate) longest: Duration,
}
