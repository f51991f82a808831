//! Every public future dropped at every point where it can be: nothing is lost, and somebody else takes over.
#![allow(clippy::disallowed_methods)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures::FutureExt;
use watchkeeper_workqueue::{Config, WorkQueue};

mod drains;
#[cfg(watchkeeper_mutants)]
#[path = "../models/mod.rs"]
mod models;
#[cfg(watchkeeper_mutants)]
mod mutants;
mod next;

const SECOND: Duration = Duration::from_secs(1);

type Queue = WorkQueue<&'static str>;

/// A waker that counts its calls, and those who keep it by the way.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls a future once with a waker of no use.
fn poll(future: &mut (impl Future + Unpin)) -> bool {
    future.poll_unpin(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Fails where waiting would never end: paused time runs ahead when nobody else has anything to do.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(3600 * SECOND, future).await.expect("it sleeps for ever")
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

/// Goal: a wait that moves to another task is called there, and the waker of the former one is given back.
#[tokio::test(start_paused = true)]
async fn a_wait_may_change_its_task() {
    let queue = Queue::new(Config::default());
    let wakers = [Arc::new(Count::default()), Arc::new(Count::default())];
    let (mut next, mut drained) = (Box::pin(queue.next()), Box::pin(queue.drained()));
    let other = queue.clone();
    other.add("in flight");
    let item = other.next().await.expect("ready");
    for waker in &wakers {
        let waker = Waker::from(waker.clone());
        let mut context = Context::from_waker(&waker);
        assert!(next.poll_unpin(&mut context).is_pending() && drained.poll_unpin(&mut context).is_pending());
    }
    item.done();
    queue.add("key");
    let woken = wakers.each_ref().map(|waker| waker.0.load(Ordering::Relaxed));
    assert_eq!((woken, Arc::strong_count(&wakers[0])), ([0, 2], 1));
    assert_eq!(next.await.map(|item| *item.key()), Some("key"));
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
