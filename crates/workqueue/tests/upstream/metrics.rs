//! util/workqueue, metrics_test.go: what a metrics sink is told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::advance;
use watchkeeper_workqueue::{Config, WorkQueue};

use crate::support::Measure::{Adds, Depth, Longest, Queued, Unfinished, Worked};
use crate::support::*;

fn recorded_queue() -> (Queue, Recorder) {
    let recorder = Recorder::default();
    let queue = WorkQueue::new(Config { metrics: Some(Arc::new(recorder.clone())), ..Config::default() });
    (queue, recorder)
}

/// TestMetrics: every value on the way of a key that is added again while in flight. Upstream counts such a key in the
/// depth at once; here the depth is of keys that can be taken, so it counts when its worker is finished.
#[tokio::test(start_paused = true)]
async fn metrics() {
    let (queue, recorder) = recorded_queue();
    let micros = Duration::from_micros;
    queue.add("foo");
    assert_eq!(recorder.take(), [Adds(1), Depth(1)]);

    advance(micros(50)).await;
    let item = take(&queue);
    assert_eq!(recorder.take(), [Depth(0), Queued(micros(50))]);

    (0..5).for_each(|_| _ = queue.add("foo"));
    assert_eq!(recorder.take(), [Adds(1)], "five adds are one");

    advance(micros(25)).await;
    item.done();
    assert_eq!(recorder.take(), [Depth(1), Worked(micros(25))]);

    let item = take(&queue);
    assert_eq!(recorder.take(), [Depth(0), Queued(micros(25))], "from the add, not from the end of the other run");

    advance(MS).await;
    queue.observe();
    assert_eq!(recorder.take(), [Depth(0), Unfinished(MS), Longest(MS)]);

    item.done();
    assert_eq!(recorder.take(), [Worked(MS)]);
}

/// TestMetricShutdown: nothing is measured after the end. Upstream stops a goroutine; here nothing runs by itself, so
/// nothing is told that nobody causes, before the end or after.
#[tokio::test(start_paused = true)]
async fn metric_shutdown() {
    let (queue, recorder) = recorded_queue();
    queue.add("foo");
    let item = take(&queue);
    queue.observe();
    assert!(!recorder.take().is_empty());
    queue.shut_down();
    advance(HOUR).await;
    assert_eq!(recorder.take(), []);
    item.done();
    assert_eq!(recorder.take(), [Worked(HOUR)]);
    queue.add("foo");
    advance(HOUR).await;
    assert_eq!(recorder.take(), []);
}
