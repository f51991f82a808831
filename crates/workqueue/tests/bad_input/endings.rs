//! Workers that never end, and everything that is called after the end.

use std::time::Duration;

use futures::FutureExt;
use tokio::task::{JoinSet, yield_now};
use tokio::time::advance;
use watchkeeper_workqueue::{Added, Config, Policy, Retried, WorkItem, WorkQueue};

use crate::support::*;

fn plain() -> Queue {
    queue(Policy::default())
}

const OUTCOMES: [(&str, Outcome); 7] = [
    ("done", WorkItem::done),
    ("after", |item| item.after(SECOND)),
    ("after none", |item| item.after(Duration::ZERO)),
    ("retry", |item| assert!(matches!(item.retry(), Retried::Dropped | Retried::AtOnce))),
    ("give up", WorkItem::give_up),
    ("drop", drop),
    ("panic", panic_with),
];

/// Goal: a worker that never ends keeps its key and nothing else: the others go on, its own key is given to nobody
/// else, it is seen, and the drain is bounded and says what is left.
#[tokio::test(start_paused = true)]
async fn a_worker_that_never_ends_holds_up_its_key_only() {
    let queue: Queue = WorkQueue::new(Config { ages: true, ..Config::default() });
    queue.add("stuck");
    let stuck = take(&queue);
    for _ in 0..100 {
        queue.add("stuck");
        queue.add("fine");
        assert_eq!(serve_all(&queue), ["fine"]);
        advance(60 * SECOND).await;
    }
    let at = queue.sight(9).in_flight.remove(0);
    assert_eq!((at.key, at.age, at.will_rerun), ("stuck", Some(6000 * SECOND), true));
    queue.add("left");
    let left = queue.drain(60 * SECOND).await.expect_err("one is stuck");
    assert_eq!((left.ready, left.in_flight), (1, 1));
    assert!(left.to_string().contains("1 keys are ready and 1 in the hands"), "{left}");
    assert_eq!(serve(&queue), "left");
    assert!(is_waiting(&queue), "stuck was added again, so it isn't over");
    queue.discard();
    assert!(is_over(&queue) && !is_drained(&queue));
    assert_eq!(queue.drain(SECOND).await.map_err(|left| left.in_flight), Err(1));
    stuck.done();
    assert_eq!(queue.drain(SECOND).await, Ok(()));
}

/// Goal: whatever a worker says after the end, its key leaves; only one that was added before a plain shut down runs
/// once more. Method: three ends, with and without an add in flight, and every outcome.
#[tokio::test(start_paused = true)]
async fn outcomes_after_the_end() {
    type End = (&'static str, fn(&Queue), bool);
    let ends: [End; 3] = [
        ("shut down", WorkQueue::shut_down, true),
        ("discard", WorkQueue::discard, false),
        ("shut down while paused", |queue| (queue.pause(), queue.shut_down()).1, false),
    ];
    for (end, come, keeps_adds) in ends {
        for (name, outcome) in OUTCOMES {
            for added in [false, true] {
                let case = format!("{name} after {end}, added: {added}");
                let queue = plain();
                queue.add("a");
                let item = take(&queue);
                if added {
                    queue.add("a");
                }
                come(&queue);
                assert!(!is_drained(&queue), "{case}");
                outcome(item);
                let runs_again = added && keeps_adds;
                assert_eq!(serve_all(&queue).len(), usize::from(runs_again), "{case}");
                assert!(is_over(&queue) && is_drained(&queue), "{case}");
                advance(HOUR).await;
                let seen = queue.snapshot();
                let left = (seen.ready, seen.waiting, seen.in_flight, seen.held, seen.failing);
                assert_eq!(left, (0, 0, 0, 0, 0), "{case}");
            }
        }
    }
}

/// Goal: no call after the end brings a key in, changes a count or panics.
#[tokio::test(start_paused = true)]
async fn calls_after_the_end_do_nothing() {
    let ends: [fn(&Queue); 2] = [WorkQueue::shut_down, WorkQueue::discard];
    for come in ends {
        let queue = queue(Policy { reasons: 3, min_interval: SECOND, ..Policy::default() });
        let id = queue.intern("a");
        queue.add("a");
        serve(&queue);
        queue.pause_key("paused");
        come(&queue);
        let before = queue.snapshot();
        let answers = [
            queue.add("a"),
            queue.add("new"),
            queue.add_after("new", SECOND),
            queue.add_after("new", Duration::ZERO),
            queue.add_with("new", because("late")),
            queue.add_rate_limited("new"),
            id.add(),
            id.add_after(SECOND),
            id.add_with(at(3)),
            queue.intern("new").add(),
        ];
        assert_eq!(answers, [Added::Refused; 10]);
        assert!(!queue.withdraw(&"a") && !queue.retry_exhausted(&"a"));
        assert_eq!((queue.failures(&"new"), queue.retry_all_exhausted()), (0, 0));
        queue.forget(&"a");
        queue.pause();
        queue.resume();
        queue.pause_key("new");
        assert!(!queue.resume_key(&"new") && !queue.resume_key(&"paused"), "the pauses are over");
        queue.observe();
        assert_eq!(queue.snapshot(), before);
        advance(HOUR).await;
        assert!(is_over(&queue) && is_drained(&queue));
    }
}

/// Goal: an end may come again, in any order and from many sides at once; the stronger one counts.
#[tokio::test(start_paused = true)]
async fn ends_may_come_again() {
    let queue = plain();
    queue.add("a");
    queue.add("b");
    let item = take(&queue);
    queue.add("a");
    queue.shut_down();
    queue.shut_down();
    assert_eq!(queue.snapshot().ready, 1, "a second shut down drops nothing");
    let mut drains = JoinSet::new();
    for _ in 0..5 {
        let queue = queue.clone();
        drains.spawn(async move { queue.drain(HOUR).await });
    }
    yield_now().await;
    queue.discard();
    queue.discard();
    queue.shut_down();
    assert_eq!(queue.snapshot().ready, 0);
    assert!(drains.try_join_next().is_none(), "one is in flight");
    item.done();
    assert!(soon(drains.join_all()).await.into_iter().all(|drained| drained == Ok(())));
    assert!(is_over(&queue));
}

/// Goal: items, handles and waiting calls outlive every handle to their queue.
#[tokio::test(start_paused = true)]
async fn what_came_from_a_queue_outlives_it() {
    for (name, outcome) in OUTCOMES {
        if name == "retry" {
            continue;
        }
        let queue = plain();
        let id = queue.intern("a");
        id.add();
        let item = take(&queue);
        drop(queue);
        assert_eq!((id.add(), *item.key()), (Added::WillRerun, "a"), "{name}");
        outcome(item);
        assert_eq!(id.add(), Added::AlreadyQueued, "{name}");
    }
    let queue = plain();
    queue.add("a");
    let item = take(&queue);
    drop(queue);
    assert_eq!(item.retry(), Retried::In(10 * MS));
}

/// Goal: calls that nobody ends don't pile up in the queue's way. Method: ten thousand calls that wait and are
/// dropped, then a key.
#[tokio::test(start_paused = true)]
async fn waiting_calls_that_go_away_are_forgotten() {
    let queue = plain();
    queue.add_after("a", SECOND);
    let mut calls: Vec<_> = (0..10_000).map(|_| Box::pin(tokio::task::unconstrained(queue.next()))).collect();
    let mut drains: Vec<_> = (0..10_000).map(|_| Box::pin(queue.drained())).collect();
    assert!(calls.iter_mut().all(|call| call.now_or_never().is_none()));
    assert!(drains.iter_mut().all(|drain| drain.now_or_never().is_some()));
    drop(calls);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!(waited, SECOND);
    let mut drains: Vec<_> = (0..10_000).map(|_| Box::pin(queue.drained())).collect();
    assert!(drains.iter_mut().all(|drain| drain.now_or_never().is_none()));
    drop(drains);
    item.done();
    assert!(is_drained(&queue));
}

/// Goal: a call that can't keep the time, for want of a runtime, panics, and takes neither the key nor the time along.
#[test]
fn a_call_without_a_runtime_takes_nothing_along() {
    let queue = plain();
    queue.add("ready");
    assert_eq!(serve(&queue), "ready", "no time is needed");
    queue.add_after("later", 10 * MS);
    assert!(panics(|| poll(&queue).is_none()), "the queue has no time of its own");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    let key = runtime.block_on(async { queue.next().await.map(|item| (*item.key(), item.done()).0) });
    assert_eq!(key, Some("later"));
}
