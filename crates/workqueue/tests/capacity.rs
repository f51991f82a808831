//! How many keys a queue holds: beyond that, unknown ones are turned away, and known ones never are.
#![allow(clippy::disallowed_methods)]

mod support;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use support::*;
use tokio::time::advance;
use watchkeeper_workqueue::{Added, Attempts, Policy, Retried, WorkItem, WorkQueue};

fn bounded<K>(capacity: usize) -> WorkQueue<K> {
    queue(at_most(capacity))
}

fn at_most<K>(capacity: usize) -> Policy<K> {
    Policy { capacity: NonZeroUsize::new(capacity), ..Policy::default() }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_turned_away_and_leaves_nothing_behind() {
    let queue = bounded(2);
    assert_eq!((queue.add("a"), queue.add_after("b", SECOND)), (Added::Queued, Added::Queued));
    let answers = [queue.add("c"), queue.add_after("c", SECOND), queue.add_with("c", at(9))];
    assert_eq!(answers, [Added::Full; 3]);
    assert_eq!(queue.add_rate_limited("c"), Added::Full);
    assert!(!Added::Full.is_accepted());
    let seen = queue.snapshot();
    assert_eq!((seen.ready, seen.waiting, seen.adds, seen.retries), (1, 1, 1, 0));
    assert_eq!(queue.failures(&"c"), 0);
    assert_eq!(serve_all(&queue), ["a"]);
}

/// Goal: many keys that are turned away leave nothing behind. Method: counted references.
#[tokio::test(start_paused = true)]
async fn keys_turned_away_are_not_kept() {
    let queue: WorkQueue<Arc<u32>> = bounded(1);
    queue.add(Arc::new(0));
    let keys: Vec<Arc<u32>> = (1..100).map(Arc::new).collect();
    assert!(keys.iter().all(|key| queue.add(key.clone()) == Added::Full));
    assert!(keys.iter().all(|key| Arc::strong_count(key) == 1));
}

/// Goal: a key that is in the queue is always accepted, in each of its states, so that none of its adds is lost.
#[tokio::test(start_paused = true)]
async fn a_known_key_is_always_accepted() {
    let queue = bounded(1);
    queue.add("a");
    assert_eq!(queue.add("a"), Added::AlreadyQueued);
    let item = take(&queue);
    assert_eq!((queue.add_after("a", SECOND), queue.add("b")), (Added::WillRerun, Added::Full));
    assert_eq!(queue.add("a"), Added::WillRerun);
    item.done();
    take(&queue).retry();
    assert_eq!((queue.add("b"), queue.add("a")), (Added::Full, Added::Queued));
    let item = take(&queue);
    queue.pause_key("a");
    item.after(SECOND);
    advance(SECOND).await;
    assert!(is_waiting(&queue));
    assert_eq!(queue.snapshot().held, 1);
    assert_eq!((queue.add("b"), queue.add("a")), (Added::Full, Added::AlreadyQueued));
}

/// Goal: a key gives its place back when it leaves the queue, and only then.
#[tokio::test(start_paused = true)]
async fn a_place_is_free_when_its_key_leaves() {
    let outcomes: [(&str, Outcome, bool); 6] = [
        ("done", WorkItem::done, true),
        ("give up", WorkItem::give_up, true),
        ("after", |item| item.after(SECOND), false),
        ("retry", |item| _ = item.retry(), false),
        ("panic", panic_with, false),
        ("drop", drop, false),
    ];
    for (name, outcome, leaves) in outcomes {
        let queue = bounded(1);
        queue.add("a");
        let item = take(&queue);
        assert_eq!(queue.add("b"), Added::Full, "{name}: it is in flight");
        outcome(item);
        assert_eq!(queue.add("b"), if leaves { Added::Queued } else { Added::Full }, "{name}");
        if !leaves {
            assert_eq!(wait_for(&queue).await.0.retry(), queue_answer(name), "{name}");
            assert!(queue.withdraw(&"a"));
            assert_eq!(queue.add("b"), Added::Queued, "{name}: withdrawn");
        }
    }
}

/// What a retry after that outcome says.
fn queue_answer(outcome: &str) -> Retried {
    Retried::In(if outcome == "after" || outcome == "drop" { 10 * MS } else { 20 * MS })
}

/// Goal: exhausted keys count, since they are in the queue; one that is given up doesn't any more.
#[tokio::test(start_paused = true)]
async fn exhausted_keys_count() {
    let attempts = Attempts { most: NonZeroU32::MIN, resting: 2 };
    let queue = queue(Policy { attempts: Some(attempts), ..at_most(3) });
    for key in ["a", "b"] {
        queue.add(key);
        assert_eq!(take(&queue).retry(), Retried::Exhausted);
    }
    assert_eq!((queue.add("c"), queue.add("d")), (Added::Queued, Added::Full));
    assert_eq!(take(&queue).retry(), Retried::Exhausted); // A third one: the first is given up.
    assert_eq!((queue.add("d"), queue.add("e")), (Added::Queued, Added::Full));
    assert_eq!(queue.add("b"), Added::Queued, "a known key");
    assert_eq!(serve_all(&queue), ["d", "b"]);
    assert_eq!((queue.add("e"), queue.add("f"), queue.add("g")), (Added::Queued, Added::Queued, Added::Full));
}

/// Goal: a handle keeps its key known but takes no place; an add by it is answered as one by key.
#[tokio::test(start_paused = true)]
async fn handles_take_no_place() {
    let queue = bounded(1);
    let (a, b) = (queue.intern("a"), queue.intern("b"));
    assert_eq!((a.add(), b.add(), queue.add("b")), (Added::Queued, Added::Full, Added::Full));
    assert_eq!((a.add(), a.add_after(SECOND)), (Added::AlreadyQueued, Added::AlreadyQueued));
    assert_eq!(serve(&queue), "a");
    assert_eq!((b.add(), a.add(), queue.add("a")), (Added::Queued, Added::Full, Added::Full));
    drop(b);
    assert_eq!(a.add(), Added::Full, "a dropped handle takes no key with it");
    assert_eq!(serve(&queue), "b");
    assert_eq!(a.add(), Added::Queued);
}

/// Goal: a paused key that isn't in the queue takes no place.
#[tokio::test(start_paused = true)]
async fn paused_keys_take_a_place_when_they_are_added() {
    let queue = bounded(1);
    queue.pause_key("a");
    assert_eq!((queue.add("b"), queue.add("a")), (Added::Queued, Added::Full));
    assert_eq!(serve(&queue), "b");
    assert_eq!((queue.add("a"), queue.add("b")), (Added::Queued, Added::Full));
    assert_eq!(queue.snapshot().held, 1);
}

/// Goal: the count is never off, over any history. Method: random calls on many keys; at the end all leave, and
/// exactly as many are accepted as at the start.
#[tokio::test(start_paused = true)]
async fn no_place_is_lost() {
    const CAPACITY: usize = 20;
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let queue: WorkQueue<u32> = bounded(CAPACITY);
        let mut items = Vec::new();
        for _ in 0..1000 {
            let key = random.u32(..60);
            match random.u8(..8) {
                0 | 1 => _ = queue.add(key),
                2 => _ = queue.add_after(key, MS * random.u32(..50)),
                3 => _ = queue.withdraw(&key),
                4 => items.extend(poll(&queue).flatten()),
                5 => queue.pause_key(key),
                6 => _ = queue.resume_key(&key),
                _ if items.is_empty() => advance(MS * random.u32(..50)).await,
                _ => {
                    let item: WorkItem<u32> = items.swap_remove(random.usize(..items.len()));
                    match random.u8(..5) {
                        0 => _ = item.retry(),
                        1 => item.after(MS * random.u32(..50)),
                        2 => drop(item),
                        3 => item.give_up(),
                        _ => item.done(),
                    }
                }
            }
            let seen = queue.sight(usize::MAX);
            let waiting = seen.waiting.iter().filter(|waiting| !seen.in_flight.iter().any(|at| at.key == waiting.key));
            let held = seen.ready.len() + seen.held.len() + seen.in_flight.len() + waiting.count();
            assert!(held <= CAPACITY, "seed {seed}: {held} keys");
        }
        (0..60).for_each(|key| _ = queue.resume_key(&key));
        items.into_iter().for_each(WorkItem::done);
        (0..60).for_each(|key| _ = queue.withdraw(&key));
        serve_all(&queue);
        let accepted = (100..200).filter(|key| queue.add(*key).is_accepted()).count();
        assert_eq!(accepted, CAPACITY, "seed {seed}");
    }
}

/// Goal: a key that is turned away while it is still remembered for the sake of the minimum interval leaves nothing
/// behind that others could stumble over. Method: more such keys than one call forgets, long after their interval.
#[tokio::test(start_paused = true)]
async fn a_remembered_key_can_be_turned_away() {
    let queue: WorkQueue<u32> = queue(Policy { min_interval: SECOND, ..at_most(1) });
    let serve_each = |keys: std::ops::Range<u32>| {
        for key in keys {
            assert_eq!(queue.add(key), Added::Queued);
            assert_eq!(serve_all(&queue), [key]);
        }
    };
    serve_each(0..8);
    queue.add(100);
    advance(2 * SECOND).await;
    (0..8).rev().for_each(|key| assert_eq!(queue.add(key), Added::Full));
    assert_eq!(serve_all(&queue), [100]);
    serve_each(200..220);
    advance(2 * SECOND).await;
    serve_each(300..320);
}
