//! Pauses, of the queue and of single keys, in every state of a key.
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::Arc;

use support::*;
use tokio::task::{JoinSet, yield_now};
use tokio::time::advance;
use watchkeeper_workqueue::{Added, Policy, Retried, WorkItem, WorkQueue};

fn plain() -> Queue {
    queue(Policy::default())
}

// The queue.

/// Goal: a paused queue hands out nothing and forgets nothing; a resume reaches those who wait.
#[tokio::test(start_paused = true)]
async fn a_paused_queue_keeps_everything() {
    let queue = plain();
    queue.add("ready");
    queue.add_after("waiting", SECOND);
    queue.pause();
    assert!(queue.snapshot().paused && is_waiting(&queue));
    assert_eq!((queue.add("new"), queue.add("ready")), (Added::Queued, Added::AlreadyQueued));
    let mut workers = JoinSet::new();
    for _ in 0..3 {
        let queue = queue.clone();
        workers.spawn(async move { queue.next().await.map(|item| (*item.key(), item.done()).0) });
    }
    advance(HOUR).await;
    assert!(workers.try_join_next().is_none(), "handed out in spite of the pause");
    queue.resume();
    let mut keys: Vec<_> = soon(workers.join_all()).await.into_iter().flatten().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["new", "ready", "waiting"]);
    assert!(!queue.snapshot().paused);
}

/// Goal: time goes on in a paused queue: what is due at the resume is there at once, the rest in its time.
#[tokio::test(start_paused = true)]
async fn deadlines_go_on_in_a_paused_queue() {
    let queue = plain();
    queue.add_after("due", SECOND);
    queue.add_after("later", 3 * SECOND);
    queue.pause();
    advance(2 * SECOND).await;
    queue.resume();
    assert_eq!(serve_all(&queue), ["due"]);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((*item.key(), waited), ("later", SECOND));
    item.done();
}

/// Goal: a pause doesn't touch what workers have; each of their outcomes counts.
#[tokio::test(start_paused = true)]
async fn workers_finish_in_a_paused_queue() {
    let queue = plain();
    for key in ["done", "retried", "again", "dropped"] {
        queue.add(key);
    }
    let [done, retried, again, dropped] = [take(&queue), take(&queue), take(&queue), take(&queue)];
    queue.pause();
    done.done();
    assert_eq!(retried.retry(), Retried::In(10 * MS));
    assert_eq!(queue.add("again"), Added::WillRerun);
    again.done();
    drop(dropped);
    assert!(is_waiting(&queue));
    let seen = queue.snapshot();
    assert_eq!((seen.ready, seen.waiting, seen.in_flight), (2, 1, 0));
    queue.resume();
    assert_eq!(serve_all(&queue), ["again", "dropped"]);
    assert_eq!(wait_for(&queue).await.0.attempt(), 2);
}

/// Goal: pausing or resuming twice is as once, and a resume without a pause is nothing.
#[tokio::test(start_paused = true)]
async fn pauses_do_not_add_up() {
    let queue = plain();
    queue.resume();
    queue.add("a");
    queue.pause();
    queue.pause();
    queue.resume();
    assert_eq!(serve(&queue), "a");
}

/// Goal: the end of a paused queue starts nothing: ready keys and those added again are dropped, what is in flight
/// finishes, and a pause after the end changes nothing.
#[tokio::test(start_paused = true)]
async fn a_shut_down_of_a_paused_queue_drops_its_keys() {
    let queue = plain();
    queue.add("in flight");
    queue.add("ready");
    let item = take(&queue);
    queue.add("in flight");
    queue.pause();
    let mut worker = JoinSet::new();
    let other = queue.clone();
    worker.spawn(async move { other.next().await.is_none() });
    yield_now().await;
    queue.shut_down();
    assert!(soon(worker.join_next()).await.expect("one").expect("no panic"), "it sleeps beyond the end");
    assert!(!is_drained(&queue));
    item.done();
    assert!(is_drained(&queue) && is_over(&queue));
    queue.pause();
    assert!(!queue.snapshot().paused && is_over(&queue));
}

// One key.

/// Goal: a paused key isn't handed out, whatever it was doing when it was paused, and is when it is resumed. Method:
/// each state, reached by some calls before the pause or after it, with how long it takes to be held.
#[tokio::test(start_paused = true)]
async fn a_key_can_be_paused_in_every_state() {
    type Reach = fn(&Queue) -> Option<WorkItem<&'static str>>;
    let states: [(&str, Reach); 5] = [
        ("unknown", |_| None),
        ("ready", |queue| (_ = queue.add("a"), None).1),
        ("waiting", |queue| (_ = queue.add_after("a", SECOND), None).1),
        ("in flight", |queue| (_ = queue.add("a"), Some(take(queue))).1),
        ("added again", |queue| {
            queue.add("a");
            let item = take(queue);
            queue.add("a");
            Some(item)
        }),
    ];
    for (name, reach) in states {
        let queue = plain();
        let item = reach(&queue);
        queue.pause_key("a");
        queue.pause_key("a");
        queue.add("b");
        assert_eq!(serve_all(&queue), ["b"], "{name}: only the one key is paused");
        assert_eq!(queue.snapshot().in_flight, usize::from(item.is_some()), "{name}");
        if let Some(item) = item {
            item.retry();
        }
        assert!(queue.add("a").is_accepted(), "{name}");
        advance(SECOND).await;
        assert!(is_waiting(&queue), "{name}: handed out in spite of the pause");
        assert_eq!((queue.snapshot().held, queue.snapshot().ready), (1, 0), "{name}");
        assert_eq!((queue.add("a"), queue.add_after("a", SECOND)), (Added::AlreadyQueued, Added::AlreadyQueued));
        assert!(queue.resume_key(&"a") && !queue.resume_key(&"a"), "{name}");
        assert_eq!(serve_all(&queue), ["a"], "{name}");
        assert_eq!((queue.snapshot().held, queue.snapshot().waiting), (0, 0), "{name}");
    }
}

/// Goal: a worker that has a paused key finishes as it would otherwise; only its next run is held.
#[tokio::test(start_paused = true)]
async fn a_paused_key_in_flight_finishes() {
    let outcomes: [(&str, Outcome, bool); 6] = [
        ("done", WorkItem::done, false),
        ("give_up", WorkItem::give_up, false),
        ("after", |item| item.after(SECOND), true),
        ("retry", |item| _ = item.retry(), true),
        ("panic", panic_with, true),
        ("drop", drop, true),
    ];
    for (name, outcome, comes_back) in outcomes {
        let queue = plain();
        queue.add("a");
        let item = take(&queue);
        queue.pause_key("a");
        outcome(item);
        advance(SECOND).await;
        assert!(is_waiting(&queue), "{name}");
        assert_eq!(queue.snapshot().held, usize::from(comes_back), "{name}");
        queue.resume_key(&"a");
        assert_eq!(serve_all(&queue).len(), usize::from(comes_back), "{name}");
    }
}

/// Goal: a pause ends only by a resume: it outlives runs and time, and a key that needs nothing stays so.
#[tokio::test(start_paused = true)]
async fn a_pause_of_an_unknown_key_is_remembered() {
    let queue = plain();
    queue.pause_key("a");
    assert_eq!(queue.snapshot().held, 0);
    advance(YEAR).await;
    queue.add_after("a", SECOND);
    advance(SECOND).await;
    assert!(is_waiting(&queue));
    assert!(queue.resume_key(&"a"));
    assert_eq!(serve_all(&queue), ["a"]);
    queue.pause_key("a");
    assert!(queue.resume_key(&"a") && is_waiting(&queue));
    assert!(!queue.resume_key(&"never paused"));
}

/// Goal: the queue remembers a paused key until it is resumed, and no longer.
#[tokio::test(start_paused = true)]
async fn a_resumed_key_is_forgotten() {
    let queue: WorkQueue<Arc<str>> = queue(Policy::default());
    let key: Arc<str> = "a".into();
    queue.pause_key(key.clone());
    assert_eq!(Arc::strong_count(&key), 2);
    assert!(queue.resume_key(&key));
    assert_eq!(Arc::strong_count(&key), 1);
    queue.pause_key(key.clone());
    queue.add(key.clone());
    assert!(queue.resume_key(&key));
    assert_eq!(serve(&queue), key);
    assert_eq!(Arc::strong_count(&key), 1);
}

/// Goal: a resumed key wakes a worker that sleeps.
#[tokio::test(start_paused = true)]
async fn a_resumed_key_wakes_a_worker() {
    let queue = plain();
    queue.pause_key("a");
    queue.add("a");
    let mut worker = JoinSet::new();
    let other = queue.clone();
    worker.spawn(async move { other.next().await.map(|item| (*item.key(), item.done()).0) });
    yield_now().await;
    assert!(queue.resume_key(&"a"));
    assert_eq!(soon(worker.join_next()).await.expect("one").expect("no panic"), Some("a"));
}

/// Goal: nobody waits for a paused key at the end: `drained` comes, before a shut down and after, which drops it.
#[tokio::test(start_paused = true)]
async fn a_paused_key_holds_up_no_drain() {
    let queue = plain();
    queue.add("a");
    let drained = queue.clone();
    let mut drain = JoinSet::new();
    drain.spawn(async move { drained.drained().await });
    yield_now().await;
    assert!(drain.try_join_next().is_none());
    queue.pause_key("a");
    soon(drain.join_next()).await.expect("one").expect("no panic");
    assert_eq!(queue.drain(SECOND).await, Ok(()));
    assert!(is_over(&queue));
    assert_eq!(queue.snapshot().held, 0);
    assert!(!queue.resume_key(&"a"), "its pause is over");
    assert!(is_over(&queue) && is_drained(&queue));
}

/// Goal: a paused queue and a paused key are two locks: both have to be opened.
#[tokio::test(start_paused = true)]
async fn both_pauses_have_to_end() {
    for key_first in [true, false] {
        let queue = plain();
        queue.add("a");
        queue.pause();
        queue.pause_key("a");
        if key_first {
            assert!(queue.resume_key(&"a"))
        } else {
            queue.resume()
        }
        assert!(is_waiting(&queue));
        if key_first {
            queue.resume()
        } else {
            assert!(queue.resume_key(&"a"))
        }
        assert_eq!(serve_all(&queue), ["a"]);
    }
}

/// Goal: what somebody has stopped isn't started by an end: a key that was paused in flight and added again is dropped,
/// too, when its worker is finished.
#[tokio::test(start_paused = true)]
async fn a_shut_down_drops_a_paused_key_that_was_added_in_flight() {
    let queue = plain();
    queue.add("a");
    let item = take(&queue);
    queue.add("a");
    queue.pause_key("a");
    queue.shut_down();
    item.done();
    assert!(is_over(&queue) && is_drained(&queue));
    assert_eq!(queue.snapshot().held, 0);
}

/// Goal: the end is the end: no resume makes a key ready that `next` has said nothing of.
#[tokio::test(start_paused = true)]
async fn nothing_becomes_ready_after_the_end() {
    let queue = plain();
    queue.add("a");
    queue.shut_down();
    queue.pause_key("a");
    assert!(is_over(&queue) && is_drained(&queue));
    queue.resume_key(&"a");
    assert_eq!((queue.snapshot().held, queue.snapshot().ready), (0, 0));
    assert!(is_over(&queue) && is_drained(&queue));
}
