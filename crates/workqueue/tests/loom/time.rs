//! Who keeps the time: a delayed key becomes ready at its time, whatever becomes of the worker that waited for it.
//!
//! Time stands still in these scenes but where one lets it pass; see `models/clock.rs`.

use std::num::NonZeroU32;
use std::time::Duration;

use watchkeeper_workqueue::{Attempts, Config, Exponential, Policy, WorkItem};

use crate::models::clock::Clock;
use crate::models::witness::Witness;
use crate::{Queue, check, explore, join, look, scene, take, thread, wait_in_vain, work_once};

const SECOND: Duration = Duration::from_secs(1);

/// Explores a scene that has a clock.
fn explore_time(scene: impl Fn(&Clock) + Sync + Send + 'static) {
    explore(move || {
        let clock = Clock::new();
        let entered = clock.enter();
        scene(&clock);
        drop(entered);
    });
}

/// Lets time pass at any moment: loom doesn't see the clock, so a look at the queue stands for it.
fn pass(clock: &Clock, queue: &Queue, time: Duration) {
    look(queue);
    clock.pass(time);
    look(queue);
}

/// Goal: the time keeper that gives up its wait, before or after its time has come, is replaced.
#[test]
fn a_keeper_that_gives_up_is_replaced() {
    explore_time(|clock| {
        let (queue, witness) = scene(1);
        witness.add(0, || queue.add_after(0, SECOND));
        let other = thread(&queue, &witness, |queue, _| wait_in_vain(queue));
        let worker = thread(&queue, &witness, work_once);
        pass(clock, &queue, 2 * SECOND);
        join(other);
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: the same where time passes only after one of the two has given up: the other one must have set its timer.
#[test]
fn a_keeper_that_has_given_up_is_replaced() {
    explore_time(|clock| {
        let (queue, witness) = scene(1);
        witness.add(0, || queue.add_after(0, SECOND));
        let worker = thread(&queue, &witness, work_once);
        wait_in_vain(&queue);
        pass(clock, &queue, 2 * SECOND);
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: a time keeper that gets another key is replaced.
#[test]
fn a_keeper_that_gets_a_key_is_replaced() {
    explore_time(|clock| {
        let (queue, witness) = scene(2);
        witness.add(0, || queue.add_after(0, SECOND));
        let workers = [(); 2].map(|()| thread(&queue, &witness, work_once));
        witness.add(1, || queue.add(1));
        pass(clock, &queue, 2 * SECOND);
        let keys = workers.map(join);
        assert!(keys.contains(&Some(0)) && keys.contains(&Some(1)), "{keys:?}");
        check(&queue, &witness);
    });
}

/// Goal: the time keeper learns of an earlier deadline.
#[test]
fn a_keeper_learns_of_an_earlier_deadline() {
    explore_time(|clock| {
        let (queue, witness) = scene(2);
        queue.add_after(1, 3600 * SECOND);
        let worker = thread(&queue, &witness, work_once);
        witness.add(0, || queue.add_after(0, SECOND));
        pass(clock, &queue, 2 * SECOND);
        assert_eq!(join(worker), Some(0));
        assert!(queue.withdraw(&1));
        check(&queue, &witness);
    });
}

/// Goal: a withdrawn deadline leaves a time keeper that wakes for nothing, and still knows of the next one.
#[test]
fn a_keeper_survives_a_withdrawal() {
    explore_time(|clock| {
        let (queue, witness) = scene(2);
        queue.add_after(0, SECOND);
        witness.add(1, || queue.add_after(1, 2 * SECOND));
        let worker = thread(&queue, &witness, work_once);
        assert!(queue.withdraw(&0));
        pass(clock, &queue, 3 * SECOND);
        assert_eq!(join(worker), Some(1));
        check(&queue, &witness);
    });
}

/// Goal: a failed key comes again after its backoff, though all workers sleep and one of them gives up.
#[test]
fn a_failed_key_comes_again() {
    explore_time(|clock| {
        let rate_limiter = Box::new(Exponential { base: SECOND, max: SECOND });
        let (queue, witness) = (Queue::new(Config { rate_limiter, ..Config::default() }), Witness::new(1));
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        let worker = thread(&queue, &witness, work_once);
        let other = thread(&queue, &witness, |queue, _| wait_in_vain(queue));
        held.end(WorkItem::retry);
        pass(clock, &queue, 2 * SECOND);
        join(other);
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: a shut down ends a worker that keeps the time, and drops what it waited for.
#[test]
fn a_shut_down_ends_the_keeper() {
    explore_time(|_| {
        let (queue, witness) = scene(1);
        queue.add_after(0, SECOND);
        let workers = [(); 2].map(|()| thread(&queue, &witness, work_once));
        queue.shut_down();
        assert_eq!(workers.map(join), [None, None]);
        check(&queue, &witness);
    });
}

/// Goal: a pause stops the time keeping, and its end starts it again, also if the time has come meanwhile.
#[test]
fn a_pause_meets_a_deadline() {
    explore_time(|clock| {
        let (queue, witness) = scene(1);
        witness.add(0, || queue.add_after(0, SECOND));
        let worker = thread(&queue, &witness, work_once);
        queue.pause();
        pass(clock, &queue, 2 * SECOND);
        queue.resume();
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: the time of an outcome is read before the lock is taken, so outcomes may come in another order than their
/// times; where there is room for one exhausted key, one of the two rests and the other is given up, and no more.
#[test]
fn two_keys_are_exhausted_in_any_order() {
    explore_time(|clock| {
        let attempts = Some(Attempts { most: NonZeroU32::MIN, resting: 1 });
        let policy = Policy { attempts, ..Policy::default() };
        let (queue, witness) = (Queue::new(Config { policy, ..Config::default() }), Witness::new(4));
        queue.add(0);
        queue.add(1);
        let [first, second] = [(); 2].map(|()| take(&queue, &witness).expect("ready"));
        let other = thread(&queue, &witness, |_, _| first.end(WorkItem::retry));
        pass(clock, &queue, SECOND);
        second.end(WorkItem::retry);
        join(other);
        let seen = queue.snapshot();
        assert_eq!((seen.exhausted, seen.given_up, seen.failing), (1, 1, 1), "{seen:?}");
        for key in 0..4 {
            witness.add(key, || queue.add(key));
        }
        for _ in 0..4 {
            take(&queue, &witness).expect("ready").end(WorkItem::done);
        }
        check(&queue, &witness);
    });
}
