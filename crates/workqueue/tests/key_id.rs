//! Handles to keys: adding by a handle is adding by key, and a handle keeps its key known.
#![allow(clippy::disallowed_methods)]

mod support;

use std::sync::Arc;

use support::*;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{Added, Ageing, Ask, Debounce, KeyId, Policy, WorkItem, WorkQueue};

fn plain<K>() -> WorkQueue<K> {
    queue(Policy::default())
}

/// Goal: each call by handle answers and does what the call by key does, in every state of the key. Method: the same
/// history in two queues, one of them asked by key, the other by handle.
#[tokio::test(start_paused = true)]
async fn a_call_by_handle_is_a_call_by_key() {
    type Prepare = fn(&Queue) -> Option<WorkItem<&'static str>>;
    let states: [(&str, Prepare); 6] = [
        ("unknown", |_| None),
        ("ready", |queue| (_ = queue.add("a"), None).1),
        ("waiting", |queue| (_ = queue.add_after("a", HOUR), None).1),
        ("failed", |queue| (_ = queue.add("a"), take(queue).retry(), None).2),
        ("in flight", |queue| (_ = queue.add("a"), Some(take(queue))).1),
        ("paused", |queue| (queue.pause_key("a"), _ = queue.add("a"), None).2),
    ];
    type Call = (&'static str, fn(&Queue) -> String, fn(&KeyId<&'static str>) -> String);
    let calls: [Call; 5] = [
        ("add", |queue| format!("{:?}", queue.add("a")), |id| format!("{:?}", id.add())),
        ("after", |queue| format!("{:?}", queue.add_after("a", SECOND)), |id| format!("{:?}", id.add_after(SECOND))),
        ("with", |queue| format!("{:?}", queue.add_with("a", at(1))), |id| format!("{:?}", id.add_with(at(1)))),
        ("withdraw", |queue| format!("{:?}", queue.withdraw(&"a")), |id| format!("{:?}", id.withdraw())),
        ("failures", |queue| format!("{:?}", queue.failures(&"a")), |id| format!("{:?}", id.failures())),
    ];
    for (state, prepare) in states {
        for (call, by_key, by_id) in calls {
            let (one, other): (Queue, Queue) = (plain(), plain());
            let id = other.intern("a");
            let items = (prepare(&one), prepare(&other));
            assert_eq!(by_key(&one), by_id(&id), "{call} of a key {state}");
            assert_eq!(one.snapshot(), other.snapshot(), "{call} of a key {state}");
            drop(items);
            advance(2 * SECOND).await;
            assert_eq!(serve_all(&one), serve_all(&other), "{call} of a key {state}");
            assert_eq!(one.snapshot(), other.snapshot(), "{call} of a key {state}");
        }
    }
}

/// Goal: a handle stands for its key for as long as it lives, not for a number that others get. Method: the key comes
/// and goes, and ten thousand others with it.
#[tokio::test(start_paused = true)]
async fn a_handle_outlives_the_use_of_its_key() {
    let queue: WorkQueue<u32> = plain();
    let id = queue.intern(7);
    assert!(is_waiting(&queue), "a handle is no add");
    for round in 0..10 {
        assert_eq!(id.add(), Added::Queued);
        assert_eq!(serve(&queue), 7);
        (1000 * round + 1000..1000 * round + 2000).for_each(|key| _ = queue.add(key));
        assert_eq!(serve_all(&queue).len(), 1000);
        assert_eq!(id.key(), 7);
    }
    (0..5).for_each(|key| _ = queue.add(key + 100));
    assert_eq!((id.add(), queue.add(7)), (Added::Queued, Added::AlreadyQueued));
    assert_eq!(serve_all(&queue), [100, 101, 102, 103, 104, 7]);
}

/// Goal: handles to one key are one key, however they were made, and the last one lets it go.
#[tokio::test(start_paused = true)]
async fn the_last_handle_lets_its_key_go() {
    let queue: WorkQueue<Arc<str>> = plain();
    let key: Arc<str> = "a".into();
    let first = queue.intern(key.clone());
    let second = first.clone();
    let third = queue.intern("a".into());
    assert_eq!((first.add(), second.add(), third.add()), (Added::Queued, Added::AlreadyQueued, Added::AlreadyQueued));
    serve(&queue);
    for id in [first, second] {
        drop(id);
        assert_eq!(Arc::strong_count(&key), 2, "a handle is left");
        assert_eq!(third.add(), Added::Queued);
        serve(&queue);
    }
    drop(third);
    assert_eq!(Arc::strong_count(&key), 1);
}

/// Goal: dropping a handle takes no work away: a key that is in the queue stays in it. Method: in each state.
#[tokio::test(start_paused = true)]
async fn a_dropped_handle_takes_nothing_along() {
    let queue: Queue = plain();
    for key in ["ready", "in flight", "waiting"] {
        let id = queue.intern(key);
        if key == "waiting" {
            _ = id.add_after(SECOND)
        } else {
            _ = id.add()
        }
        if key == "in flight" {
            let items = [take(&queue), take(&queue)];
            drop(id);
            items.into_iter().for_each(drop);
        }
    }
    assert_eq!(serve_all(&queue), ["ready", "in flight"]);
    advance(SECOND).await;
    assert_eq!(serve_all(&queue), ["waiting"]);
}

/// Goal: a handle outlives the queue's use and every handle to the queue, and says no then.
#[tokio::test(start_paused = true)]
async fn a_handle_is_refused_after_the_end() {
    let queue: Queue = plain();
    let id = queue.intern("a");
    queue.shut_down();
    assert_eq!((id.add(), id.add_after(SECOND), id.add_with(at(3))), (Added::Refused, Added::Refused, Added::Refused));
    let late = queue.intern("b");
    assert_eq!(late.add(), Added::Refused);
    assert!(is_over(&queue) && is_drained(&queue));
    drop(queue);
    assert_eq!((id.key(), id.withdraw(), id.failures()), ("a", false, 0));
    assert_eq!(late.clone().key(), "b");
}

/// Goal: failures of a key with a handle are forgotten when it rests, as those of any other.
#[tokio::test(start_paused = true)]
async fn a_handle_keeps_no_failures() {
    let queue: Queue = plain();
    let id = queue.intern("a");
    id.add();
    take(&queue).retry();
    assert_eq!((id.failures(), queue.snapshot().failing), (1, 1));
    assert!(id.withdraw());
    assert_eq!((id.failures(), queue.snapshot().failing), (0, 0));
    id.add();
    assert_eq!(take(&queue).attempt(), 1);
}

/// Goal: the rules hold for adds by handle: flow, priority, pace, reasons.
#[tokio::test(start_paused = true)]
async fn the_rules_hold_for_handles() {
    let flow: watchkeeper_workqueue::Flow<&'static str> = Box::new(|key| key.len() as u64);
    let queue: Queue = queue(Policy {
        flow: Some(flow),
        ageing: Some(Ageing::default()),
        min_interval: SECOND,
        reasons: 3,
        ..Policy::default()
    });
    let [a, b, cc] = ["a", "b", "cc"].map(|key| queue.intern(key));
    assert_eq!((a.add(), cc.add()), (Added::Queued, Added::Queued));
    b.add_with(at(5));
    b.add_with(because("handle"));
    let item = take(&queue);
    assert_eq!((*item.key(), texts(item.reasons())), ("b", vec!["handle"]));
    item.done();
    assert_eq!(serve_all(&queue), ["cc", "a"]);
    assert_eq!(b.add(), Added::Queued);
    let (item, waited) = wait_for(&queue).await;
    assert_eq!((*item.key(), waited), ("b", SECOND));
    item.done();
}

#[tokio::test(start_paused = true)]
async fn adds_by_handle_and_by_key_are_one_burst() {
    let debounce = Some(Debounce { quiet: 100 * MS, longest: HOUR });
    let queue: Queue = queue(Policy { debounce, ..Policy::default() });
    let id = queue.intern("a");
    let start = Instant::now();
    id.add();
    advance(60 * MS).await;
    queue.add("a");
    advance(60 * MS).await;
    id.add();
    wait_for(&queue).await.0.done();
    assert_eq!(start.elapsed(), 220 * MS);
    advance(HOUR).await;
    assert!(is_waiting(&queue));
}

/// Goal: a key that leaves the queue takes its priority along, also where something keeps it known: a handle, a pause,
/// the minimum interval.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_priority_is_forgotten() {
    type Keep = fn(&Queue) -> Option<KeyId<&'static str>>;
    let keeps: [(&str, Keep); 3] = [
        ("a handle", |queue| Some(queue.intern("a"))),
        ("a pause", |queue| (queue.pause_key("a"), None).1),
        ("the interval", |queue| (_ = queue.add("a"), serve(queue), None).2),
    ];
    for (name, keep) in keeps {
        let queue: Queue =
            queue(Policy { ageing: Some(Ageing::default()), min_interval: 10 * MS, ..Policy::default() });
        let _kept = keep(&queue);
        queue.add_with("a", Ask { priority: 100, after: SECOND, ..Ask::default() });
        assert!(queue.withdraw(&"a"));
        advance(20 * MS).await;
        queue.resume_key(&"a");
        queue.add("b");
        queue.add("a");
        assert_eq!(serve_all(&queue), ["b", "a"], "{name}");
    }
}

/// A key that counts how often it is cloned.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Counted(&'static str);

thread_local! {
    static CLONES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        CLONES.set(CLONES.get() + 1);
        Self(self.0)
    }
}

/// Goal: an add by reference is an add, and clones only keys that the queue doesn't know: not ready ones, nor those in
/// flight, waiting or held by a handle.
#[tokio::test(start_paused = true)]
async fn an_add_by_reference_clones_unknown_keys_only() {
    let queue = queue::<Counted>(Policy::default());
    let key = Counted("a");
    assert_eq!((queue.add_ref(&key), CLONES.take()), (Added::Queued, 1));
    assert_eq!((queue.add_ref(&key), CLONES.take()), (Added::AlreadyQueued, 0));
    let item = take(&queue);
    CLONES.take();
    assert_eq!((queue.add_ref(&key), queue.add_ref(&key), CLONES.take()), (Added::WillRerun, Added::WillRerun, 0));
    item.done();
    take(&queue).after(SECOND);
    CLONES.take();
    assert_eq!((queue.add_ref(&key), CLONES.take()), (Added::Queued, 0), "brought forward");
    let handle = queue.intern(Counted("b"));
    assert_eq!((queue.add_ref(&Counted("b")), CLONES.take()), (Added::Queued, 0));
    assert_eq!(serve_all(&queue).len(), 2);
    queue.shut_down();
    assert_eq!((queue.add_ref(&key), handle.add()), (Added::Refused, Added::Refused));
}
