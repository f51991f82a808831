//! What a metrics sink is told, and what it may do.
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use support::Measure::{Adds, Depth, Longest, Queued, Retries, Unfinished, Worked};
use support::*;
use tokio::time::advance;
use watchkeeper_workqueue::{Config, Exponential, Metrics, Policy, WorkItem, WorkQueue};

fn recorded(policy: Policy<&'static str>) -> (Queue, Recorder) {
    let recorder = Recorder::default();
    let metrics: Option<Arc<dyn Metrics>> = Some(Arc::new(recorder.clone()));
    let rate_limiter = Box::new(Exponential { base: 10 * MS, max: SECOND });
    (WorkQueue::new(Config { rate_limiter, policy, metrics, ..Config::default() }), recorder)
}

/// Goal: failures are retries, and nothing else is. Method: each outcome, with what is told of it.
#[tokio::test(start_paused = true)]
async fn only_failures_are_retries() {
    let outcomes: [(&str, Outcome, &[Measure]); 6] = [
        ("done", WorkItem::done, &[Worked(SECOND)]),
        ("give up", WorkItem::give_up, &[Worked(SECOND)]),
        ("after", |item| item.after(SECOND), &[Worked(SECOND)]),
        ("retry", |item| _ = item.retry(), &[Retries(1), Worked(SECOND)]),
        ("panic", panic_with, &[Retries(1), Worked(SECOND)]),
        ("drop", drop, &[Adds(1), Depth(1), Worked(SECOND)]),
    ];
    for (name, outcome, expected) in outcomes {
        let (queue, recorder) = recorded(Policy::default());
        queue.add("a");
        let item = take(&queue);
        advance(SECOND).await;
        recorder.take();
        outcome(item);
        assert_eq!(recorder.take(), expected, "{name}");
    }
}

/// Goal: a delay is no waiting for a worker: nothing is told of it before the key is due. Method: a worker that waits.
#[tokio::test(start_paused = true)]
async fn a_delayed_key_is_measured_from_when_it_is_due() {
    let (queue, recorder) = recorded(Policy::default());
    queue.add_after("a", SECOND);
    assert_eq!(recorder.take(), []);
    wait_for(&queue).await.0.done();
    let told = recorder.take();
    assert_eq!(told[told.len() - 2..], [Queued(Duration::ZERO), Worked(Duration::ZERO)]);
    assert_eq!(told.iter().filter(|measure| **measure == Adds(1)).count(), 1);
}

/// Goal: the work in progress is the sum of all ages, and the longest of them.
#[tokio::test(start_paused = true)]
async fn unfinished_work_is_of_all_workers() {
    let (queue, recorder) = recorded(Policy::default());
    queue.observe();
    assert_eq!(recorder.take(), [Depth(0), Unfinished(Duration::ZERO), Longest(Duration::ZERO)]);
    let mut items = Vec::new();
    for key in ["a", "b", "c"] {
        queue.add(key);
        items.push(take(&queue));
        advance(SECOND).await;
    }
    recorder.take();
    queue.observe();
    assert_eq!(recorder.take(), [Depth(0), Unfinished(6 * SECOND), Longest(3 * SECOND)]);
    queue.add("a");
    items.remove(0).done();
    recorder.take();
    queue.observe();
    assert_eq!(recorder.take(), [Depth(1), Unfinished(3 * SECOND), Longest(2 * SECOND)]);
    items.into_iter().for_each(WorkItem::done);
}

/// Goal: the depth is of keys that can be taken, and is told whenever it changes: by pauses and ends, too.
#[tokio::test(start_paused = true)]
async fn every_change_of_the_depth_is_told() {
    let (queue, recorder) = recorded(Policy::default());
    let depths = || recorder.take().into_iter().filter(|measure| matches!(measure, Depth(_))).collect::<Vec<_>>();
    queue.add("a");
    queue.add("b");
    queue.add("b");
    assert_eq!(depths(), [Depth(1), Depth(2)]);
    queue.pause_key("a");
    assert_eq!(depths(), [Depth(1)]);
    queue.resume_key(&"a");
    assert_eq!(depths(), [Depth(2)]);
    queue.discard();
    assert_eq!(depths(), [Depth(0)]);
}

/// Goal: what is told adds up to what a snapshot says. Method: random calls; counters are summed, the last gauge
/// counts.
#[tokio::test(start_paused = true)]
async fn measures_add_up_to_the_snapshot() {
    const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (queue, recorder) = recorded(Policy { min_interval: 5 * MS, ..Policy::default() });
        let (mut items, mut taken, mut ended) = (Vec::new(), 0, 0);
        for _ in 0..400 {
            let key = KEYS[random.usize(..KEYS.len())];
            match random.u8(..5) {
                0 => _ = queue.add(key),
                1 => _ = queue.add_after(key, MS * random.u32(..20)),
                2 => items.extend(poll(&queue).flatten().inspect(|_| taken += 1)),
                3 if !items.is_empty() => {
                    ended += 1;
                    let item: WorkItem<_> = items.remove(0);
                    if random.bool() { _ = item.retry() } else { item.done() }
                }
                _ => advance(MS).await,
            }
        }
        let (seen, told) = (queue.snapshot(), recorder.take());
        let sum = |count: fn(&Measure) -> u64| told.iter().map(count).sum::<u64>();
        assert_eq!(sum(|measure| if let Adds(more) = measure { *more } else { 0 }), seen.adds);
        assert_eq!(sum(|measure| if let Retries(more) = measure { *more } else { 0 }), seen.retries);
        assert_eq!(sum(|measure| u64::from(matches!(measure, Queued(_)))), taken);
        assert_eq!(sum(|measure| u64::from(matches!(measure, Worked(_)))), ended);
        let depth = told.iter().rev().find(|measure| matches!(measure, Depth(_)));
        assert_eq!(depth.copied().unwrap_or(Depth(0)), Depth(seen.ready));
        items.into_iter().for_each(WorkItem::done);
    }
}

/// A sink that asks the queue back, and adds to it.
#[derive(Default)]
struct Nosy(OnceLock<Queue>);

impl Metrics for Nosy {
    fn depth(&self, keys: usize) {
        let queue = self.0.get().expect("set");
        assert_eq!(queue.snapshot().ready, keys);
        queue.add_after("from the sink", SECOND);
    }
    fn adds(&self, _: u64) {}
    fn queue_duration(&self, _: Duration) {}
    fn work_duration(&self, _: Duration) {}
    fn retries(&self, _: u64) {}
    fn unfinished_work(&self, _: Duration) {}
    fn longest_running_processor(&self, _: Duration) {}
}

/// Goal: a sink is called without the queue's lock, so it may call the queue.
#[tokio::test(start_paused = true)]
async fn a_sink_may_call_the_queue() {
    let sink = Arc::new(Nosy::default());
    let queue = WorkQueue::new(Config { metrics: Some(sink.clone()), ..Config::default() });
    sink.0.set(queue.clone()).expect("once");
    queue.add("a");
    assert_eq!(serve(&queue), "a");
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((*item.key(), waited), ("from the sink", SECOND));
    item.done();
    queue.discard(); // The queue and its sink hold each other; the test is over anyway.
}

/// Goal: the time in the queue runs from when the key was due, also where all workers were busy then.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_due_has_waited_since() {
    let (queue, recorder) = recorded(Policy::default());
    queue.add_after("a", SECOND);
    advance(5 * SECOND).await;
    serve(&queue);
    assert!(recorder.take().contains(&Queued(4 * SECOND)));
}

/// Goal: an add is counted once, also if it came in flight and the key then has to wait for its minimum interval.
#[tokio::test(start_paused = true)]
async fn an_add_that_is_held_back_is_counted_once() {
    let (queue, _) = recorded(Policy { min_interval: SECOND, ..Policy::default() });
    queue.add("a");
    let item = take(&queue);
    queue.add("a");
    item.done();
    advance(SECOND).await;
    serve(&queue);
    assert_eq!(queue.snapshot().adds, 2);
}
