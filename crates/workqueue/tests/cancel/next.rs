//! Calls of `next`, dropped in each scene and at each point of their lives.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::advance;
use watchkeeper_workqueue::{Config, WorkItem};

use crate::{Count, Queue, SECOND};

/// What a waiting call may be dropped in.
struct Scene {
    name: &'static str,
    before: fn(&Queue),
    /// While the calls wait.
    event: fn(&Queue),
    /// What the call that isn't dropped gets within two seconds. None: the queue is over.
    outcome: Option<&'static str>,
}

const NOTHING: fn(&Queue) = |_| {};

const SCENES: [Scene; 9] = [
    Scene { name: "idle", before: NOTHING, event: |queue| _ = queue.add("key"), outcome: Some("key") },
    Scene { name: "a key is ready", before: |queue| _ = queue.add("key"), event: NOTHING, outcome: Some("key") },
    Scene {
        name: "a key waits for its deadline",
        before: |queue| _ = queue.add_after("key", SECOND),
        event: NOTHING,
        outcome: Some("key"),
    },
    Scene {
        name: "an earlier deadline is set",
        before: |queue| _ = queue.add_after("later", 60 * SECOND),
        event: |queue| _ = queue.add_after("key", SECOND),
        outcome: Some("key"),
    },
    Scene {
        name: "the first deadline is withdrawn",
        before: |queue| {
            queue.add_after("gone", SECOND / 2);
            queue.add_after("key", SECOND);
        },
        event: |queue| assert!(queue.withdraw(&"gone")),
        outcome: Some("key"),
    },
    Scene {
        name: "the queue is paused",
        before: |queue| {
            queue.pause();
            queue.add("key");
        },
        event: Queue::resume,
        outcome: Some("key"),
    },
    Scene {
        name: "the queue is paused, and the key's deadline passes",
        before: |queue| {
            queue.add_after("key", Duration::from_millis(1));
            queue.pause();
        },
        event: Queue::resume,
        outcome: Some("key"),
    },
    Scene {
        name: "the key is paused",
        before: |queue| {
            queue.pause_key("key");
            queue.add("key");
        },
        event: |queue| assert!(queue.resume_key(&"key")),
        outcome: Some("key"),
    },
    Scene {
        name: "the queue is shut down",
        before: |queue| _ = queue.add_after("dropped", SECOND),
        event: Queue::shut_down,
        outcome: None,
    },
];

/// Where in its life a call is dropped.
#[derive(Clone, Copy, Debug)]
struct Point {
    polls_before_event: usize,
    polls_after_event: usize,
    /// The first call, which is dropped, comes after the other one.
    comes_second: bool,
    /// Passes between the event and the drop, and a quarter of it before.
    waits: Duration,
}

fn points() -> impl Iterator<Item = Point> {
    let polls = (0..3).flat_map(|before| (0..3).map(move |after| (before, after)));
    polls.flat_map(|(polls_before_event, polls_after_event)| {
        let flags = [(false, Duration::ZERO), (false, SECOND), (true, Duration::ZERO), (true, SECOND)];
        flags.map(|(comes_second, waits)| Point { polls_before_event, polls_after_event, comes_second, waits })
    })
}

/// Goal: whatever a dropped `next` was doing, idle, called, keeping the time, holding a key: nothing is left of it,
/// no key is lost, and another call gets the key, in time. Method: in each scene and at each point of its life, the
/// one call is polled some times and dropped; it may have ended then, with the item in it.
#[tokio::test(start_paused = true)]
async fn next_can_be_dropped_at_every_point() {
    for scene in SCENES {
        for point in points() {
            for keeps_time_anyway in [false, true] {
                let case = format!("{}, {point:?}, {keeps_time_anyway}", scene.name);
                drop_next(&scene, point, keeps_time_anyway, &case).await;
            }
        }
    }
}

/// Lets time pass; if there is none to pass, nobody else runs either.
async fn pass(time: Duration) {
    if !time.is_zero() {
        advance(time).await;
    }
}

async fn drop_next(scene: &Scene, point: Point, keeps_time_anyway: bool, case: &str) {
    let queue = Queue::new(Config::default());
    if keeps_time_anyway {
        queue.add_after("keeps the time", 3600 * SECOND);
    }
    (scene.before)(&queue);
    let kept = Arc::new(Count::default());
    let waker = Waker::from(kept.clone());
    let mut dropped = Box::pin(queue.next());
    let mut ended = None;
    let mut poll_dropped = |times: usize| {
        for _ in 0..times {
            if ended.is_none()
                && let Poll::Ready(item) = dropped.poll_unpin(&mut Context::from_waker(&waker))
            {
                ended = Some(item);
            }
        }
    };
    if !point.comes_second {
        poll_dropped(point.polls_before_event);
    }
    // A task, so that it goes on when it is woken, and not before.
    let worker = queue.clone();
    let other = tokio::spawn(async move { worker.next().await });
    tokio::task::yield_now().await;
    if point.comes_second {
        poll_dropped(point.polls_before_event);
    }
    pass(point.waits / 4).await;
    (scene.event)(&queue);
    poll_dropped(point.polls_after_event);
    pass(point.waits).await;
    drop((dropped, ended, waker));
    assert_eq!(Arc::strong_count(&kept), 1, "the queue keeps something of it: {case}");

    let got = tokio::time::timeout(2 * SECOND, other).await;
    assert!(got.is_ok(), "forgotten: {case}");
    let got = got.expect("just checked").expect("no panic");
    assert_eq!(got.as_ref().map(|item| *item.key()), scene.outcome, "{case}");
    let seen = queue.snapshot();
    assert_eq!((seen.ready, seen.held, seen.in_flight), (0, 0, usize::from(got.is_some())), "{case}");
    got.into_iter().for_each(WorkItem::done);
    // What is left is what the scene has put there beside the key.
    queue.withdraw(&"keeps the time");
    queue.withdraw(&"later");
    let seen = queue.snapshot();
    assert_eq!((seen.ready, seen.waiting, seen.in_flight), (0, 0, 0), "{case}");
}
