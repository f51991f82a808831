//! Every public future dropped at every point where it can be: nothing is lost, and somebody else takes over.
#![allow(clippy::disallowed_methods)]

use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::advance;
use watchkeeper_workqueue::{Added, Config, WorkQueue};

const SECOND: Duration = Duration::from_secs(1);

type Queue = WorkQueue<&'static str>;
/// Something that gives a waiting call a reason to run, and its name.
type Event = (&'static str, fn(&Queue));

/// Polls a future once with a waker of no use.
fn poll(future: &mut (impl Future + Unpin)) -> bool {
    future.poll_unpin(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Fails where waiting would never end: paused time runs ahead when nobody else has anything to do.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(3600 * SECOND, future).await.expect("it sleeps for ever")
}

/// Goal: whatever a dropped `next` was doing, a second one still gets the key, in time. Method: at each of the points
/// in its life, with and without being the keeper of the time, the first call is polled some times and dropped.
#[tokio::test(start_paused = true)]
async fn next_can_be_dropped_at_every_point() {
    let events: [Event; 3] = [
        ("a key is added", |queue| assert_eq!(queue.add("key"), Added::Queued)),
        ("a delayed key is added", |queue| assert_eq!(queue.add_after("key", SECOND), Added::Queued)),
        ("an earlier deadline is set", |queue| {
            queue.add_after("later", 60 * SECOND);
            queue.add_after("key", SECOND);
        }),
    ];
    for (name, event) in events {
        for polls_before in 0..3 {
            for polls_after in 0..3 {
                for time_has_come in [false, true] {
                    let queue = Queue::new(Config::default());
                    queue.add_after("keeps the time", 3600 * SECOND);
                    let mut first = Box::pin(queue.next());
                    let mut ended = (0..polls_before).any(|_| poll(&mut first));
                    let mut second = Box::pin(queue.next());
                    assert!(!poll(&mut second));
                    event(&queue);
                    if time_has_come {
                        advance(SECOND).await;
                    }
                    for _ in 0..polls_after {
                        ended = ended || poll(&mut first);
                    }
                    drop(first); // With the item in it, where it had ended.
                    let item = tokio::time::timeout(2 * SECOND, second).await;
                    let key = item.ok().flatten().map(|item| *item.key());
                    assert_eq!(key, Some("key"), "{name}, {polls_before}, {polls_after}, {time_has_come}, {ended}");
                }
            }
        }
    }
}

/// Goal: a call that has been woken and is dropped before it runs passes the wake-up on, so that no key lies there
/// beside a sleeping worker. Method: three waiting tasks, the first two of which are aborted after they were woken.
#[tokio::test(start_paused = true)]
async fn a_woken_call_that_is_dropped_wakes_another() {
    let queue = Queue::new(Config::default());
    let worker = |queue: Queue| tokio::spawn(async move { queue.next().await.map(|item| *item.key()) });
    let (first, second, third) = (worker(queue.clone()), worker(queue.clone()), worker(queue.clone()));
    tokio::task::yield_now().await;
    queue.add("key");
    first.abort();
    second.abort();
    assert_eq!(soon(third).await.expect("no panic"), Some("key"));
}

/// Goal: the keeper of the time is replaced when it is dropped, when it gets another key, and when it ends.
#[tokio::test(start_paused = true)]
async fn the_time_is_handed_over() {
    let queue = Queue::new(Config::default());
    queue.add_after("delayed", 10 * SECOND);
    let mut dropped = Box::pin(queue.next());
    assert!(!poll(&mut dropped));
    let worker = |queue: Queue| {
        tokio::spawn(async move {
            let item = queue.next().await.expect("not over");
            let key = *item.key();
            item.done();
            key
        })
    };
    let (first, second) = (worker(queue.clone()), worker(queue.clone()));
    tokio::task::yield_now().await;
    drop(dropped);
    tokio::task::yield_now().await;
    queue.add("now");
    let mut keys = [soon(first).await.expect("no panic"), soon(second).await.expect("no panic")];
    keys.sort_unstable();
    assert_eq!(keys, ["delayed", "now"]);
}

/// Goal: dropped drains leave nothing behind and don't disturb the others.
#[tokio::test(start_paused = true)]
async fn drained_can_be_dropped_at_every_point() {
    for polls in 0..3 {
        for finished_before_drop in [false, true] {
            let queue = Queue::new(Config::default());
            queue.add("key");
            let item = queue.next().await.expect("ready");
            let mut first = Box::pin(queue.drained());
            let mut second = Box::pin(queue.drained());
            for _ in 0..polls {
                assert!(!poll(&mut first));
            }
            assert!(!poll(&mut second));
            if finished_before_drop {
                item.done();
                drop(first);
            } else {
                drop(first);
                item.done();
            }
            second.now_or_never().expect("drained");
        }
    }
}

/// Goal: a worker whose keys never run out lets other tasks run. Method: on one thread, a worker that queues its only
/// key again and again is stopped by another task.
#[tokio::test(start_paused = true)]
async fn a_busy_worker_yields() {
    let queue = Queue::new(Config::default());
    queue.add("key");
    let stopper = queue.clone();
    let stop = tokio::spawn(async move { stopper.shut_down() });
    while let Some(item) = queue.next().await {
        drop(item);
    }
    stop.await.expect("no panic");
}
