//! What people see of a queue: every key in its state, with its times, and no more of them than were asked for.
#![allow(clippy::disallowed_methods)]

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use support::*;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{
    Added, Attempts, Config, Debounce, InFlight, Policy, Sight, Snapshot, WorkItem, WorkQueue,
};

/// A queue that keeps the time and in which keys are exhausted by a second failure.
fn seen() -> Queue {
    let attempts = Some(Attempts { most: NonZeroU32::new(2).expect("two"), resting: 10 });
    WorkQueue::new(Config { policy: Policy { attempts, ..Policy::default() }, ages: true, ..Config::default() })
}

fn sorted<K: Ord>(mut keys: Vec<K>) -> Vec<K> {
    keys.sort();
    keys
}

/// The counts of a snapshot that the lists of a sight are about.
fn counts(seen: &Snapshot) -> [usize; 5] {
    [seen.ready, seen.waiting, seen.in_flight, seen.held, seen.exhausted]
}

fn lengths<K>(sight: &Sight<K>) -> [usize; 5] {
    [sight.ready.len(), sight.waiting.len(), sight.in_flight.len(), sight.held.len(), sight.exhausted.len()]
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_shows_nothing() {
    let sight = seen().sight(usize::MAX);
    assert_eq!((lengths(&sight), sight.snapshot), ([0; 5], Snapshot::default()));
}

/// Goal: each key is in the list of its state, and the counts are those of the lists. Method: one key or two in each.
#[tokio::test(start_paused = true)]
async fn every_state_has_its_list() {
    let queue = seen();
    for key in ["exhausted", "in flight"] {
        queue.add(key);
    }
    take(&queue).retry();
    let item = take(&queue);
    queue.add("exhausted");
    take(&queue).retry();
    queue.pause_key("held");
    for key in ["held", "ready 1", "ready 2"] {
        queue.add(key);
    }
    queue.add_after("waiting", SECOND);
    let sight = queue.sight(usize::MAX);
    assert_eq!(sorted(sight.ready.clone()), ["ready 1", "ready 2"]);
    assert_eq!(sight.held, ["held"]);
    assert_eq!(sight.waiting.iter().map(|waiting| waiting.key).collect::<Vec<_>>(), ["waiting"]);
    assert_eq!(sight.in_flight.iter().map(|at| at.key).collect::<Vec<_>>(), ["in flight"]);
    assert_eq!(sight.exhausted.iter().map(|at| (at.key, at.failures)).collect::<Vec<_>>(), [("exhausted", 2)]);
    assert_eq!(counts(&sight.snapshot), lengths(&sight));
    assert_eq!(sight.snapshot, queue.snapshot());
    item.done();
}

/// Goal: waiting keys come in the order of their deadlines, with those, and with their failures; a key in flight that
/// has a deadline is among them.
#[tokio::test(start_paused = true)]
async fn waiting_keys_are_listed_by_deadline() {
    let queue: Queue = queue(Policy::default());
    let start = Instant::now();
    for (key, seconds) in [("c", 30), ("a", 10), ("d", 40), ("b", 20)] {
        queue.add_after(key, seconds * SECOND);
    }
    queue.add("failed");
    take(&queue).retry();
    queue.add("in flight");
    let item = take(&queue);
    queue.add_after("in flight", 25 * SECOND);
    let expected = [
        ("failed", 10 * MS, 1),
        ("a", 10 * SECOND, 0),
        ("b", 20 * SECOND, 0),
        ("in flight", 25 * SECOND, 0),
        ("c", 30 * SECOND, 0),
        ("d", 40 * SECOND, 0),
    ];
    for most in [usize::MAX, 6, 3, 1, 0] {
        let waiting = queue.sight(most).waiting;
        let waiting: Vec<_> = waiting.into_iter().map(|at| (at.key, at.due - start, at.failures)).collect();
        assert_eq!(waiting, expected[..most.min(6)], "at most {most}");
    }
    item.done();
}

/// Goal: a key in flight shows how long it has been so, which attempt it is, and whether it runs again.
#[tokio::test(start_paused = true)]
async fn keys_in_flight_show_their_age() {
    let queue = seen();
    queue.add("a");
    take(&queue).retry();
    advance(SECOND).await;
    let first = take(&queue);
    advance(2 * SECOND).await;
    queue.add("b");
    let second = take(&queue);
    queue.add("b");
    advance(3 * SECOND).await;
    let show = |at: InFlight<_>| (at.key, at.age, at.attempt, at.will_rerun);
    let sight = queue.sight(usize::MAX);
    assert_eq!(
        sorted(sight.in_flight.into_iter().map(show).collect()),
        [("a", Some(5 * SECOND), 2, false), ("b", Some(3 * SECOND), 1, true)]
    );
    second.done();
    first.done();
    let again = take(&queue);
    advance(SECOND).await;
    let sight = queue.sight(usize::MAX);
    assert_eq!(
        sight.in_flight.into_iter().map(show).collect::<Vec<_>>(),
        [("b", Some(SECOND), 1, false)],
        "from this hand-out, not from the last one"
    );
    again.done();
}

/// Goal: a queue that wasn't asked to keep the time doesn't invent one.
#[tokio::test(start_paused = true)]
async fn ages_are_unknown_unless_asked_for() {
    let queue: Queue = queue(Policy::default());
    advance(HOUR).await;
    queue.add("a");
    let item = take(&queue);
    advance(SECOND).await;
    assert_eq!(queue.sight(1).in_flight[0].age, None);
    item.done();
}

/// Goal: exhausted keys come longest at rest first, cut from the other end.
#[tokio::test(start_paused = true)]
async fn exhausted_keys_are_listed_by_how_long_they_rest() {
    let queue = seen();
    let start = Instant::now();
    for key in ["b", "c", "a"] {
        queue.add(key);
        take(&queue).retry();
        queue.add(key);
        take(&queue).retry();
        advance(SECOND).await;
    }
    let expected = [("b", Duration::ZERO), ("c", SECOND), ("a", 2 * SECOND)];
    for most in [usize::MAX, 2, 0] {
        let exhausted = queue.sight(most).exhausted;
        let exhausted: Vec<_> = exhausted.into_iter().map(|at| (at.key, at.since - start)).collect();
        assert_eq!(exhausted, expected[..most.min(3)]);
    }
}

/// Goal: each list is bounded by itself, and the counts tell of what was left out.
#[tokio::test(start_paused = true)]
async fn every_list_is_bounded() {
    let queue: WorkQueue<u32> =
        queue(Policy { attempts: Some(Attempts { most: NonZeroU32::MIN, resting: 1000 }), ..Policy::default() });
    for key in 0..10 {
        queue.add(key);
        take(&queue).retry();
    }
    (10..20).for_each(|key| _ = queue.add(key));
    let items: Vec<_> = (10..20).map(|_| take(&queue)).collect();
    (20..30).for_each(|key| queue.pause_key(key));
    (20..40).for_each(|key| _ = queue.add(key));
    (40..50).for_each(|key| _ = queue.add_after(key, SECOND));
    for most in [0, 1, 7, 10, usize::MAX] {
        let sight = queue.sight(most);
        assert_eq!((lengths(&sight), counts(&sight.snapshot)), ([most.min(10); 5], [10; 5]), "at most {most}");
    }
    items.into_iter().for_each(WorkItem::done);
}

/// Goal: looking changes nothing and wakes nobody. Method: the same sight twice, around a poll that finds nothing.
#[tokio::test(start_paused = true)]
async fn looking_changes_nothing() {
    let queue = seen();
    queue.add_after("a", SECOND);
    queue.pause_key("b");
    queue.add("b");
    let before = queue.sight(9);
    assert!(is_waiting(&queue));
    let after = queue.sight(9);
    assert_eq!(before.snapshot, after.snapshot);
    assert_eq!((before.waiting, before.held), (after.waiting, after.held));
}

/// Goal: a queue that keeps the time for no one has no ages, also if it has flows.
#[tokio::test(start_paused = true)]
async fn flows_know_no_ages() {
    let queue: Queue = queue(Policy { flow: Some(Box::new(|_| 0)), ..Policy::default() });
    advance(HOUR).await;
    queue.add("a");
    let item = take(&queue);
    advance(SECOND).await;
    assert_eq!(queue.sight(1).in_flight[0].age, None);
    item.done();
}

/// Goal: a key that was added while in flight is shown as such, also if the add waits for a burst to end, or is a
/// delay: the add was answered by `WillRerun`.
#[tokio::test(start_paused = true)]
async fn keys_in_flight_show_that_they_run_again() {
    let debounce = Some(Debounce { quiet: SECOND, longest: SECOND });
    let adds: [fn(&Queue) -> Added; 2] = [|queue| queue.add("a"), |queue| queue.add_after("a", SECOND)];
    for add in adds {
        let queue: Queue = queue(Policy { debounce, ..Policy::default() });
        queue.add("a");
        let (item, _) = wait_for(&queue).await;
        assert!(!queue.sight(1).in_flight[0].will_rerun);
        assert_eq!(add(&queue), Added::WillRerun);
        assert!(queue.sight(1).in_flight[0].will_rerun);
        item.done();
    }
}
