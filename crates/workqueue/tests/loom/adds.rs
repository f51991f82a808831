//! Adds against hand-outs and outcomes.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use watchkeeper_workqueue::{Added, Attempts, Config, Policy, Retried, WorkItem};

use crate::models::witness::Witness;
use crate::{Queue, check, explore, join, scene, take, thread, work, work_once, work_up};

const HOUR: Duration = Duration::from_secs(3600);

/// Goal: a worker that waits, is about to, or was woken for nothing gets the key that is added.
#[test]
fn an_add_reaches_a_worker() {
    explore(|| {
        let (queue, witness) = scene(1);
        let worker = thread(&queue, &witness, work_once);
        assert_eq!(witness.add(0, || queue.add(0)), Added::Queued);
        assert_eq!(join(worker), Some(0));
        assert_eq!(witness.runs(0), 1);
        check(&queue, &witness);
    });
}

/// Goal: each of two keys reaches one of two workers.
#[test]
fn two_adds_reach_two_workers() {
    explore(|| {
        let (queue, witness) = scene(2);
        let workers = [(); 2].map(|()| thread(&queue, &witness, work_once));
        witness.add(0, || queue.add(0));
        witness.add(1, || queue.add(1));
        let keys = workers.map(join);
        assert!(keys.contains(&Some(0)) && keys.contains(&Some(1)), "{keys:?}");
        check(&queue, &witness);
    });
}

/// Goal: two adds of one key at once are one hand-out, or two one after the other, and none is lost.
#[test]
fn two_adds_of_one_key_are_merged() {
    explore(|| {
        let (queue, witness) = scene(1);
        let worker = thread(&queue, &witness, work);
        let other = thread(&queue, &witness, |queue, witness| witness.add(0, || queue.add(0)));
        witness.add(0, || queue.add(0));
        assert!(join(other).is_accepted());
        queue.shut_down();
        join(worker);
        assert!((1..=2).contains(&witness.runs(0)));
        check(&queue, &witness);
    });
}

/// Goal: two workers never have one key, however often it is added.
#[test]
fn two_workers_never_have_one_key() {
    explore(|| {
        let (queue, witness) = scene(1);
        let workers = [(); 2].map(|()| thread(&queue, &witness, work));
        for _ in 0..2 {
            witness.add(0, || queue.add(0));
        }
        queue.shut_down();
        _ = workers.map(join);
        check(&queue, &witness);
    });
}

/// A worker ends with a key while it is added: exactly one more run comes of it.
fn an_add_meets_an_outcome(outcome: fn(WorkItem<usize>)) {
    explore(move || {
        let (queue, witness) = scene(1);
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        let adder = thread(&queue, &witness, |queue, witness| witness.add(0, || queue.add(0)));
        held.end(outcome);
        assert!(join(adder).is_accepted());
        work_up(&queue, &witness);
        assert_eq!(witness.runs(0), 2);
        check(&queue, &witness);
    });
}

#[test]
fn an_add_while_a_worker_succeeds_is_one_more_run() {
    an_add_meets_an_outcome(WorkItem::done);
}

#[test]
fn an_add_while_a_worker_gives_up_is_one_more_run() {
    an_add_meets_an_outcome(WorkItem::give_up);
}

/// Goal: here the outcome asks for another run, too; the two are merged.
#[test]
fn an_add_while_a_worker_asks_for_more_is_one_more_run() {
    an_add_meets_an_outcome(|item| item.after(Duration::ZERO));
}

#[test]
fn an_add_while_an_item_is_dropped_is_one_more_run() {
    an_add_meets_an_outcome(drop);
}

/// Goal: the same for a failed item, whose backoff must not outlive the add that brings it forward.
#[test]
fn an_add_while_a_worker_fails_is_one_more_run() {
    an_add_meets_an_outcome(|item| {
        item.retry();
    });
}

/// Goal: a delayed add and one that isn't are one hand-out, and no deadline is left.
#[test]
fn an_add_brings_a_delayed_one_forward() {
    explore(|| {
        let (queue, witness) = scene(1);
        let delayed = thread(&queue, &witness, |queue, _| queue.add_after(0, HOUR));
        witness.add(0, || queue.add(0));
        assert!(join(delayed).is_accepted());
        work_up(&queue, &witness);
        assert_eq!(witness.runs(0), 1);
        check(&queue, &witness);
    });
}

/// Goal: a withdrawal takes a deadline away and never an add.
#[test]
fn a_withdrawal_spares_an_add() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.add_after(0, HOUR);
        let other = thread(&queue, &witness, |queue, _| queue.withdraw(&0));
        let added = witness.add(0, || queue.add(0));
        join(other);
        assert_eq!(added, Added::Queued);
        work_up(&queue, &witness);
        assert_eq!(witness.runs(0), 1);
        check(&queue, &witness);
    });
}

/// Goal: a key isn't forgotten under an add by its name when the last handle to it goes, and its number, which may
/// then be another key's, isn't mixed up.
#[test]
fn a_handle_goes_while_its_key_is_added() {
    explore(|| {
        let (queue, witness) = scene(2);
        let handle = queue.intern(0);
        let dropper = thread(&queue, &witness, move |queue, witness| {
            drop(handle);
            witness.add(1, || queue.add(1));
        });
        witness.add(0, || queue.add(0));
        join(dropper);
        work_up(&queue, &witness);
        assert_eq!((witness.runs(0), witness.runs(1)), (1, 1));
        check(&queue, &witness);
    });
}

/// Goal: an add by a handle reaches a worker, while another handle to the same key goes.
#[test]
fn a_handle_adds_while_its_clone_goes() {
    explore(|| {
        let (queue, witness) = scene(1);
        let handle = queue.intern(0);
        let clone = handle.clone();
        let dropper = thread(&queue, &witness, move |_, _| drop(clone));
        let worker = thread(&queue, &witness, work_once);
        witness.add(0, || handle.add());
        drop(handle);
        join(dropper);
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: of two adds at once to a queue with room for one key, one is accepted; when that key is done there is room.
#[test]
fn a_full_queue_has_room_again() {
    explore(|| {
        let policy = Policy { capacity: NonZeroUsize::new(1), ..Policy::default() };
        let (queue, witness) = (Queue::new(Config { policy, ..Config::default() }), Witness::new(2));
        let other = thread(&queue, &witness, |queue, witness| witness.add(1, || queue.add(1)));
        let added = witness.add(0, || queue.add(0));
        let both = [added, join(other)];
        assert!(both.contains(&Added::Queued) && both.contains(&Added::Full), "{both:?}");
        work_up(&queue, &witness);
        assert_eq!(witness.add(0, || queue.add(0)), Added::Queued);
        work_up(&queue, &witness);
        check(&queue, &witness);
    });
}

/// Goal: an exhausted key that is added and sent back at once runs once, with no failures.
#[test]
fn an_exhausted_key_is_sent_back_once() {
    explore(|| {
        let attempts = Some(Attempts { most: NonZeroU32::MIN, resting: 1 });
        let policy = Policy { attempts, ..Policy::default() };
        let (queue, witness) = (Queue::new(Config { policy, ..Config::default() }), Witness::new(1));
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        assert_eq!(held.end(WorkItem::retry), Retried::Exhausted);
        let other = thread(&queue, &witness, |queue, _| queue.retry_all_exhausted());
        witness.add(0, || queue.add(0));
        join(other);
        work_up(&queue, &witness);
        assert_eq!(witness.runs(0), 2);
        check(&queue, &witness);
    });
}
