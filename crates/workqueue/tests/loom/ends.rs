//! The end of a queue against everything else.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use loom::future::block_on;
use watchkeeper_workqueue::{Added, WorkItem};

use crate::{check, explore, join, look, scene, take, thread, work, work_once};

/// Goal: a shut down ends every worker that waits or is about to.
#[test]
fn a_shut_down_ends_all_workers() {
    explore(|| {
        let (queue, witness) = scene(0);
        let workers = [(); 2].map(|()| thread(&queue, &witness, work_once));
        queue.shut_down();
        assert_eq!(workers.map(join), [None, None]);
        check(&queue, &witness);
    });
}

/// Goal: an add during a shut down is refused, or worked on before the workers end.
#[test]
fn an_add_meets_a_shut_down() {
    explore(|| {
        let (queue, witness) = scene(1);
        let worker = thread(&queue, &witness, work);
        let adder = thread(&queue, &witness, |queue, witness| witness.add(0, || queue.add(0)));
        queue.shut_down();
        let added = join(adder);
        join(worker);
        assert_eq!(witness.runs(0), u64::from(added.is_accepted()));
        check(&queue, &witness);
    });
}

/// Goal: a key that was added in flight runs once more after a shut down, by a worker that waits for it.
#[test]
fn an_add_in_flight_meets_a_shut_down() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        let worker = thread(&queue, &witness, work);
        let adder = thread(&queue, &witness, |queue, witness| witness.add(0, || queue.add(0)));
        queue.shut_down();
        held.end(WorkItem::done);
        let added = join(adder);
        join(worker);
        assert_eq!(witness.runs(0), 1 + u64::from(added.is_accepted()));
        check(&queue, &witness);
    });
}

/// Goal: an item dropped during a shut down is worked on again, or dropped with all other delays; the workers end.
#[test]
fn a_dropped_item_meets_a_shut_down() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        let worker = thread(&queue, &witness, work);
        let ender = thread(&queue, &witness, |queue, _| queue.shut_down());
        let open = queue.clone();
        held.end_and_add(|item| {
            drop(item);
            if open.snapshot().shut_down { Added::Refused } else { Added::Queued }
        });
        join(ender);
        join(worker);
        check(&queue, &witness);
    });
}

/// Goal: an item dropped without an outcome reaches a worker that waits.
#[test]
fn a_dropped_item_reaches_a_worker() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        let worker = thread(&queue, &witness, work_once);
        held.end(drop);
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: the end of the work ends every drain that waits or is about to.
#[test]
fn the_last_outcome_ends_all_drains() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        let drains = [(); 2].map(|()| thread(&queue, &witness, |queue, _| block_on(queue.drained())));
        held.end(WorkItem::done);
        _ = drains.map(join);
        check(&queue, &witness);
    });
}

/// Goal: a drain that waits when the work ends is told of this moment, also if a key is added right after it, and
/// nobody takes that.
#[test]
fn a_drain_is_told_of_its_moment() {
    explore(|| {
        let (queue, witness) = scene(2);
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        let waits = Arc::new(AtomicBool::new(false));
        let noted = waits.clone();
        let drain = thread(&queue, &witness, move |queue, _| {
            let mut drained = pin!(queue.drained());
            block_on(poll_fn(|context| {
                let poll = drained.as_mut().poll(context);
                noted.store(true, Ordering::SeqCst);
                poll
            }));
        });
        let in_time = waits.load(Ordering::SeqCst);
        held.end(WorkItem::done);
        queue.add(1);
        if in_time {
            join(drain);
            assert!(take(&queue, &witness).is_some());
        } else {
            take(&queue, &witness).expect("ready").end(WorkItem::done);
            join(drain);
        }
    });
}

/// Goal: a drain during adds and a shut down returns; after it and the end of the adds nothing is left.
#[test]
fn a_drain_meets_an_add_and_a_shut_down() {
    explore(|| {
        let (queue, witness) = scene(1);
        let worker = thread(&queue, &witness, work);
        let drain = thread(&queue, &witness, |queue, _| {
            block_on(queue.drained());
            queue.shut_down();
            block_on(queue.drained());
            let seen = queue.snapshot();
            assert_eq!((seen.ready, seen.in_flight), (0, 0));
        });
        witness.add(0, || queue.add(0));
        join(drain);
        join(worker);
        check(&queue, &witness);
    });
}

/// Goal: an immediate stop lets what is in flight finish, and then ends drains and workers.
#[test]
fn a_discard_meets_an_outcome_and_a_drain() {
    explore(|| {
        let (queue, witness) = scene(2);
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        queue.add(0);
        queue.add(1);
        let drain = thread(&queue, &witness, |queue, _| block_on(queue.drained()));
        let ender = thread(&queue, &witness, |queue, _| queue.discard());
        look(&queue);
        held.end(drop);
        join(ender);
        join(drain);
        assert_eq!(work_once(&queue, &witness), None);
        check(&queue, &witness);
    });
}
