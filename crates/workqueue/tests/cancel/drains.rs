//! Calls of `drained` and `drain`, dropped at each point of their lives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use futures::FutureExt;
use tokio::time::advance;
use watchkeeper_workqueue::{Config, WorkItem};

use crate::{Count, Queue, SECOND, poll};

/// Goal: dropped drains leave nothing behind and don't disturb the others.
#[tokio::test(start_paused = true)]
async fn drained_can_be_dropped_at_every_point() {
    for polls in 0..3 {
        for finished_before_drop in [false, true] {
            let queue = Queue::new(Config::default());
            queue.add("key");
            let item = queue.next().await.expect("ready");
            let held = Arc::new(Count::default());
            let waker = Waker::from(held.clone());
            let mut first = Box::pin(queue.drained());
            let mut second = Box::pin(queue.drained());
            for _ in 0..polls {
                assert!(first.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            }
            drop(waker);
            let woken = Arc::new(Count::default());
            assert!(second.poll_unpin(&mut Context::from_waker(&Waker::from(woken.clone()))).is_pending());
            if finished_before_drop {
                item.done();
                drop(first);
            } else {
                drop(first);
                item.done();
            }
            assert_eq!(Arc::strong_count(&held), 1, "the queue keeps something of it");
            assert_eq!(woken.0.load(Ordering::Relaxed), 1, "woken, and once");
            second.now_or_never().expect("drained");
        }
    }
}

/// Goal: a dropped `drain` has shut the queue down if it was polled at all, and leaves nothing else behind: the workers
/// finish, and another drain ends with them. Method: it is dropped unpolled, waiting, when its time is nearly over, and
/// when the queue is drained but it hasn't run yet.
#[tokio::test(start_paused = true)]
async fn drain_can_be_dropped_at_every_point() {
    for polls in 0..3 {
        for waits in [false, true] {
            for finished_before_drop in [false, true] {
                let queue = Queue::new(Config::default());
                queue.add("in flight");
                queue.add("ready");
                queue.add_after("waiting", 3600 * SECOND);
                let item = queue.next().await.expect("ready");
                let mut dropped = Box::pin(queue.drain(10 * SECOND));
                for _ in 0..polls {
                    assert!(!poll(&mut dropped));
                }
                let mut other = Box::pin(queue.drained());
                let woken = Arc::new(Count::default());
                assert!(other.poll_unpin(&mut Context::from_waker(&Waker::from(woken.clone()))).is_pending());
                if waits {
                    advance(9 * SECOND).await;
                }
                assert_eq!(queue.snapshot().shut_down, polls > 0);
                let finish = async |item: WorkItem<&'static str>| {
                    item.done();
                    queue.next().await.expect("ready").done();
                };
                if finished_before_drop {
                    finish(item).await;
                    drop(dropped);
                } else {
                    drop(dropped);
                    finish(item).await;
                }
                assert_eq!(woken.0.load(Ordering::Relaxed), 1, "woken, and once");
                other.now_or_never().expect("drained");
                let seen = queue.snapshot();
                assert_eq!((seen.ready, seen.in_flight, seen.waiting), (0, 0, usize::from(polls == 0)));
                assert_eq!(queue.drain(SECOND).await, Ok(()));
            }
        }
    }
}
