//! util/workqueue, queue_test.go: adding, taking, finishing, and the two ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;
use watchkeeper_workqueue::{Added, Ageing, Config, Policy, WorkItem, WorkQueue};

use crate::support::*;

const PRODUCERS: u32 = 50;
const CONSUMERS: usize = 10;
const LATE: u32 = u32::MAX;

/// Upstream's two ends.
#[derive(Clone, Copy)]
enum End {
    ShutDown,
    ShutDownWithDrain,
}

const ENDS: [End; 2] = [End::ShutDown, End::ShutDownWithDrain];

impl End {
    async fn come(self, queue: &WorkQueue<u32>) {
        match self {
            Self::ShutDown => queue.shut_down(),
            Self::ShutDownWithDrain => queue.drain(HOUR).await.expect("the workers go on"),
        }
    }
}

/// What the consumers saw: how often each key was handed out, and how often it was added meanwhile.
#[derive(Default)]
struct Seen {
    runs: HashMap<u32, usize>,
    added_again: HashMap<u32, usize>,
}

fn assert_is_empty<K>(queue: &WorkQueue<K>) {
    let seen = queue.snapshot();
    assert_eq!((seen.ready, seen.waiting, seen.in_flight, seen.held), (0, 0, 0, 0));
}

/// TestBasic: fifty producers and ten consumers; every key is seen, nothing that comes after the end is, and the queue
/// is empty.
#[tokio::test(start_paused = true)]
async fn basic() {
    for end in ENDS {
        let queue: WorkQueue<u32> = WorkQueue::new(Config::default());
        let (mut producers, mut consumers) = (JoinSet::new(), JoinSet::new());
        for key in 0..PRODUCERS {
            let queue = queue.clone();
            producers.spawn(async move {
                for _ in 0..50 {
                    assert!(queue.add(key).is_accepted());
                    sleep(MS).await;
                }
            });
        }
        for _ in 0..CONSUMERS {
            let queue = queue.clone();
            consumers.spawn(async move {
                let mut seen = Vec::new();
                while let Some(item) = queue.next().await {
                    seen.push(*item.key());
                    sleep(3 * MS).await;
                    item.done();
                }
                seen
            });
        }
        soon(producers.join_all()).await;
        end.come(&queue).await;
        assert_eq!(queue.add(LATE), Added::Refused);
        let seen = soon(consumers.join_all()).await.concat();
        assert!((0..PRODUCERS).all(|key| seen.contains(&key)) && !seen.contains(&LATE));
        assert_is_empty(&queue);
    }
}

/// TestAddWhileProcessing: each worker adds each key once more while it has it; every accepted add is one more run.
#[tokio::test(start_paused = true)]
async fn add_while_processing() {
    for end in ENDS {
        let queue: WorkQueue<u32> = WorkQueue::new(Config::default());
        let (mut producers, mut consumers) = (JoinSet::new(), JoinSet::new());
        let seen = Arc::new(Mutex::new(Seen::default()));
        for key in 0..PRODUCERS {
            let queue = queue.clone();
            producers.spawn(async move {
                sleep(key % 10 * MS).await;
                assert!(queue.add(key).is_accepted());
            });
        }
        for _ in 0..CONSUMERS {
            let (queue, seen) = (queue.clone(), seen.clone());
            consumers.spawn(async move {
                let mut mine: HashMap<u32, usize> = HashMap::new();
                while let Some(item) = queue.next().await {
                    let key = *item.key();
                    let runs = mine.entry(key).or_default();
                    *runs += 1;
                    *seen.lock().expect("no panic").runs.entry(key).or_default() += 1;
                    yield_now().await;
                    if *runs < 2 && queue.add(key).is_accepted() {
                        *seen.lock().expect("no panic").added_again.entry(key).or_default() += 1;
                    }
                    item.done();
                }
            });
        }
        soon(producers.join_all()).await;
        end.come(&queue).await;
        soon(consumers.join_all()).await;
        let Seen { runs, added_again } = std::mem::take(&mut *seen.lock().expect("no panic"));
        for key in 0..PRODUCERS {
            assert_eq!(runs.get(&key).copied(), Some(1 + added_again.get(&key).copied().unwrap_or(0)), "{key}");
        }
        assert!(!added_again.is_empty(), "nothing was added while in flight");
        assert_is_empty(&queue);
    }
}

/// TestLen: a second add of a key makes the queue no longer.
#[tokio::test(start_paused = true)]
async fn len() {
    let queue: Queue = queue(Policy::default());
    queue.add("foo");
    assert_eq!(queue.snapshot().ready, 1);
    queue.add("bar");
    assert_eq!(queue.snapshot().ready, 2);
    queue.add("foo");
    assert_eq!(queue.snapshot().ready, 2);
}

/// TestReinsert: a key that is added while in flight is queued again when it is finished.
#[tokio::test(start_paused = true)]
async fn reinsert() {
    let queue: Queue = queue(Policy::default());
    queue.add("foo");
    let item = take(&queue);
    queue.add(*item.key());
    item.done();
    assert_eq!(serve(&queue), "foo");
    assert_is_empty(&queue);
}

/// TestCollapse: two adds are one key; the second one may change its place in line.
#[tokio::test(start_paused = true)]
async fn collapse() {
    let queue: Queue = queue(Policy { ageing: Some(Ageing::default()), ..Policy::default() });
    queue.add("foo");
    queue.add("bar");
    queue.add_with("bar", at(1));
    assert_eq!(serve_all(&queue), ["bar", "foo"]);
    assert_is_empty(&queue);
}

/// TestCollapseWhileProcessing: adds of a key in flight are one, and a second worker waits for the first one's end.
#[tokio::test(start_paused = true)]
async fn collapse_while_processing() {
    let queue: Queue = queue(Policy::default());
    queue.add("foo");
    let item = take(&queue);
    queue.add("foo");
    queue.add("foo");
    let other = queue.clone();
    let mut worker = JoinSet::new();
    worker.spawn(async move { other.next().await.map(|item| (*item.key(), item.done()).0) });
    yield_now().await;
    assert!(worker.try_join_next().is_none(), "two workers on one key");
    item.done();
    assert_eq!(soon(worker.join_next()).await.expect("one").expect("no panic"), Some("foo"));
    assert!(is_waiting(&queue));
    assert_is_empty(&queue);
}

/// Two keys in flight.
fn two_in_flight() -> (Queue, [WorkItem<&'static str>; 2]) {
    let queue = queue(Policy::default());
    queue.add("foo");
    queue.add("bar");
    let items = [take(&queue), take(&queue)];
    (queue, items)
}

/// TestQueueDrainageUsingShutDownWithDrain: the drain waits for what is in flight; who asks meanwhile hears of the end.
#[tokio::test(start_paused = true)]
async fn queue_drainage_using_shut_down_with_drain() {
    let (queue, [foo, bar]) = two_in_flight();
    let mut drain = Box::pin(queue.drain(HOUR));
    assert!((&mut drain).now_or_never().is_none());
    assert!(is_over(&queue));
    foo.done();
    assert!((&mut drain).now_or_never().is_none());
    bar.done();
    assert_eq!(soon(drain).await, Ok(()));
}

/// TestNoQueueDrainageUsingShutDown: a shut down waits for nothing.
#[tokio::test(start_paused = true)]
async fn no_queue_drainage_using_shut_down() {
    let (queue, items) = two_in_flight();
    queue.shut_down();
    assert_eq!(queue.snapshot().in_flight, 2);
    assert!(is_over(&queue) && !is_drained(&queue));
    items.into_iter().for_each(WorkItem::done);
    assert!(is_drained(&queue));
}

/// TestForceQueueShutdownUsingShutDown: a drain that nobody ends needn't be waited for. Upstream's second `ShutDown`
/// ends it; here it is a future, which is dropped, and has a bound anyway.
#[tokio::test(start_paused = true)]
async fn force_queue_shutdown_using_shut_down() {
    let (queue, items) = two_in_flight();
    let mut dropped = Box::pin(queue.drain(HOUR));
    assert!((&mut dropped).now_or_never().is_none());
    drop(dropped);
    queue.shut_down();
    assert!(is_over(&queue), "shut down, though the drain was dropped");
    let left = queue.drain(SECOND).await.expect_err("two are in flight");
    assert_eq!((left.ready, left.in_flight), (0, 2));
    items.into_iter().for_each(WorkItem::done);
    assert_eq!(queue.drain(SECOND).await, Ok(()));
}

/// TestQueueDrainageUsingShutDownWithDrainWithDirtyItem: a key that was added again comes back during the drain, which
/// waits for it. Upstream says "over" before it comes back; here `next` waits for it.
#[tokio::test(start_paused = true)]
async fn queue_drainage_using_shut_down_with_drain_with_dirty_item() {
    let queue: Queue = queue(Policy::default());
    queue.add("foo");
    let item = take(&queue);
    queue.add("foo");
    let mut drain = Box::pin(queue.drain(HOUR));
    assert!((&mut drain).now_or_never().is_none());
    assert!(is_waiting(&queue), "not over: foo will be ready again");
    item.done();
    assert!((&mut drain).now_or_never().is_none());
    let again = take(&queue);
    assert!((&mut drain).now_or_never().is_none());
    again.done();
    assert!(is_over(&queue));
    assert_eq!(soon(drain).await, Ok(()));
}

/// TestGarbageCollection: the queue holds no reference to a key that is finished.
#[tokio::test(start_paused = true)]
async fn garbage_collection() {
    let queue: WorkQueue<Arc<str>> = queue(Policy::default());
    let key: Arc<str> = "big".into();
    queue.add(key.clone());
    take(&queue).done();
    assert_eq!(Arc::strong_count(&key), 1);
    assert_is_empty(&queue);
}
