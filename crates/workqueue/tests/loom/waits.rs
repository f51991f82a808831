//! Waits that are given up.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use loom::future::block_on;
use watchkeeper_workqueue::WorkItem;

use crate::{check, explore, join, scene, take, thread, wait_in_vain, work, work_once};

/// Goal: a wait that is given up, called or not, with a key or not, leaves the key to the other worker.
#[test]
fn a_wait_given_up_hands_its_call_on() {
    explore(|| {
        let (queue, witness) = scene(1);
        let worker = thread(&queue, &witness, work_once);
        let other = thread(&queue, &witness, |queue, _| wait_in_vain(queue));
        witness.add(0, || queue.add(0));
        join(other);
        assert_eq!(join(worker), Some(0));
        check(&queue, &witness);
    });
}

/// Goal: the same with two keys and two waits in one thread, so that both are called and given up one by one.
#[test]
fn two_waits_given_up_hand_their_calls_on() {
    explore(|| {
        let (queue, witness) = scene(2);
        let worker = thread(&queue, &witness, |queue, witness| (work_once(queue, witness), work_once(queue, witness)));
        let other = thread(&queue, &witness, |queue, _| {
            block_on(async {
                let (mut first, mut second) = (pin!(queue.next()), pin!(queue.next()));
                std::future::poll_fn(|context| {
                    let items = (first.as_mut().poll(context), second.as_mut().poll(context));
                    drop(items);
                    Poll::Ready(())
                })
                .await;
            });
        });
        witness.add(0, || queue.add(0));
        witness.add(1, || queue.add(1));
        join(other);
        let (first, second) = join(worker);
        assert!(first.is_some() && second.is_some());
        check(&queue, &witness);
    });
}

/// Goal: a wait given up during a shut down doesn't keep the other worker.
#[test]
fn a_wait_given_up_meets_a_shut_down() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.add(0);
        let worker = thread(&queue, &witness, work);
        let other = thread(&queue, &witness, |queue, _| wait_in_vain(queue));
        queue.shut_down();
        join(other);
        join(worker);
        check(&queue, &witness);
    });
}

/// Goal: a drain given up doesn't take the end away from another one.
#[test]
fn a_drain_given_up_leaves_the_others_alone() {
    explore(|| {
        let (queue, witness) = scene(1);
        queue.add(0);
        let held = take(&queue, &witness).expect("ready");
        let drain = thread(&queue, &witness, |queue, _| block_on(queue.drained()));
        let other = thread(&queue, &witness, |queue, _| {
            block_on(async {
                let mut drained = pin!(queue.drained());
                _ = std::future::poll_fn(|context| Poll::Ready(drained.as_mut().poll(context))).await;
            });
        });
        held.end(WorkItem::done);
        join(other);
        join(drain);
        check(&queue, &witness);
    });
}
