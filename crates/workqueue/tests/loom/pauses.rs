//! Pauses, of the queue and of a key, against adds, workers and the end.

use watchkeeper_workqueue::Added;

use crate::{check, explore, join, scene, thread, work, work_once};

/// Goal: a paused queue hands nothing out, and a resumed one what was added meanwhile.
#[test]
fn a_resumed_queue_hands_out() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.pause();
        let worker = thread(&queue, &witness, work_once);
        let adder = thread(&queue, &witness, |queue, witness| witness.add(0, || queue.add(0)));
        assert_eq!(queue.snapshot().in_flight, 0);
        assert_eq!(witness.runs(0), 0);
        queue.resume();
        assert_eq!(join(adder), Added::Queued);
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: a paused key isn't handed out, and is when it is resumed.
#[test]
fn a_resumed_key_is_handed_out() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.pause_key(0);
        let worker = thread(&queue, &witness, work_once);
        let adder = thread(&queue, &witness, |queue, witness| witness.add(0, || queue.add(0)));
        assert_eq!(queue.snapshot().in_flight, 0);
        assert_eq!(witness.runs(0), 0);
        assert!(queue.resume_key(&0));
        assert!(join(adder).is_accepted());
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: a short pause of a key loses neither an add nor the worker that was called for it.
#[test]
fn a_pause_of_a_key_meets_an_add() {
    explore(|| {
        let (queue, witness) = scene(1);
        let worker = thread(&queue, &witness, work_once);
        let adder = thread(&queue, &witness, |queue, witness| witness.add(0, || queue.add(0)));
        queue.pause_key(0);
        queue.resume_key(&0);
        assert!(join(adder).is_accepted());
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: a pause can't hold up the end, whichever comes first; what is paused may be dropped by it.
#[test]
fn a_pause_meets_a_shut_down() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.add(0);
        let worker = thread(&queue, &witness, work);
        let pauser = thread(&queue, &witness, |queue, _| queue.pause());
        queue.shut_down();
        join(pauser);
        join(worker);
        check(&queue, &witness);
    });
}
