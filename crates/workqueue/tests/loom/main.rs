//! Every interleaving of small scenes, with at most three preemptions: adds, hand-outs, outcomes, ends, pauses, cancelled
//! waits, and the keeping of time. Run by `check-models`.
//!
//! Method of all of them: a few threads call the queue at once; loom runs the scene in every order of their steps in
//! which no more than `LOOM_MAX_PREEMPTIONS` threads are interrupted, and fails where all threads sleep. So that
//! nobody is forgotten needs no check: a thread that waits in vain is a deadlock.
#![cfg(watchkeeper_loom)]
#![allow(missing_docs, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use loom::future::block_on;
use loom::thread::{JoinHandle, spawn};
use watchkeeper_workqueue::{Config, WorkItem, WorkQueue};

use models::witness::{Held, Witness};

mod adds;
mod ends;
#[path = "../models/mod.rs"]
mod models;
#[cfg(watchkeeper_mutants)]
mod mutants;
mod pauses;
mod time;
mod waits;

type Queue = WorkQueue<usize>;

/// Runs a scene in every order; says in how many.
fn explore(scene: impl Fn() + Sync + Send + 'static) {
    let explored = Arc::new(AtomicUsize::new(0));
    let count = explored.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        scene();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    eprintln!("model {name}: {} orders", explored.load(Ordering::Relaxed));
}

/// A queue and the witness of its keys.
fn scene(keys: usize) -> (Queue, Witness) {
    (Queue::new(Config::default()), Witness::new(keys))
}

/// Starts another thread of the scene.
fn thread<R: 'static>(
    queue: &Queue,
    witness: &Witness,
    act: impl FnOnce(&Queue, &Witness) -> R + 'static,
) -> JoinHandle<R> {
    let (queue, witness) = (queue.clone(), witness.clone());
    spawn(move || act(&queue, &witness))
}

fn join<R>(thread: JoinHandle<R>) -> R {
    thread.join().expect("the thread ends")
}

/// Waits for a key and works on it. None: the queue is over.
fn work_once(queue: &Queue, witness: &Witness) -> Option<usize> {
    let held = witness.start(block_on(queue.next())?);
    look(queue);
    let key = held.key();
    held.end(WorkItem::done);
    Some(key)
}

/// Works until the queue is over.
fn work(queue: &Queue, witness: &Witness) {
    while work_once(queue, witness).is_some() {}
}

/// Takes a key that is ready.
fn take(queue: &Queue, witness: &Witness) -> Option<Held> {
    queue.next().now_or_never().flatten().map(|item| witness.start(item))
}

/// Works on what is ready.
fn work_up(queue: &Queue, witness: &Witness) {
    while let Some(held) = take(queue, witness) {
        held.end(WorkItem::done);
    }
}

/// Polls a wait for a key once and gives it up, with the key if there was one.
fn wait_in_vain(queue: &Queue) {
    block_on(async {
        let mut next = std::pin::pin!(queue.next());
        _ = std::future::poll_fn(|context| std::task::Poll::Ready(next.poll_unpin(context))).await;
    });
}

/// A moment at which another thread may go on.
fn look(queue: &Queue) {
    _ = queue.failures(&usize::MAX);
}

/// No key is left, and all that was accepted was worked on.
fn check(queue: &Queue, witness: &Witness) {
    let seen = queue.snapshot();
    assert_eq!((seen.ready, seen.in_flight, seen.held, seen.waiting, seen.failing), (0, 0, 0, 0, 0), "{seen:?}");
    witness.check();
}
