//! Every order of small scenes at a gate, with at most three preemptions: checks against closings, renewals, openings, doubts and
//! time. Run by `crates/workqueue/check-models`.
//!
//! Method of all of them: two or three threads call one term at once, as its workers, its owner and its elector do; loom runs the scene
//! in every order of their steps in which no more than `LOOM_MAX_PREEMPTIONS` threads are interrupted. D is ten seconds and J two.
#![cfg(watchkeeper_loom)]
#![allow(missing_docs, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use loom::sync::Mutex;
use loom::thread::{JoinHandle, spawn};
use watchkeeper_leader::models::won;
use watchkeeper_leader::{GateClock, GateInstant, MetricsSink, Term};

mod closings;
#[cfg(watchkeeper_mutants)]
mod mutants;
mod renewals;

const HOLD: Duration = Duration::from_secs(10);
const STOP_BOUND: Duration = Duration::from_secs(2);

/// Runs a scene in every order; says in how many.
fn explore(scene: impl Fn() + Sync + Send + 'static) {
    let explored = Arc::new(AtomicUsize::new(0));
    let count = explored.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        scene();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    eprintln!("model {name}: {} orders", explored.load(Ordering::Relaxed));
}

/// The time of a scene, which its threads move on. All see the same one.
#[derive(Default)]
struct Clock(Mutex<Time>);

#[derive(Clone, Copy, Default)]
struct Time {
    seconds: u64,
    /// How far the wall was stepped.
    stepped: i64,
}

impl Clock {
    fn time(&self) -> Time {
        *self.0.lock().expect("nobody panics with it")
    }

    fn set(&self, seconds: u64) {
        self.0.lock().expect("nobody panics with it").seconds = seconds;
    }

    fn step_wall(&self, seconds: i64) {
        self.0.lock().expect("nobody panics with it").stepped += seconds;
    }
}

impl GateClock for Clock {
    fn now(&self) -> GateInstant {
        at(self.time().seconds)
    }

    fn wall(&self) -> Timestamp {
        let time = self.time();
        let seconds = i64::try_from(time.seconds).expect("a small number") + time.stepped;
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }
}

fn at(seconds: u64) -> GateInstant {
    GateInstant::from_nanos(seconds * 1_000_000_000)
}

/// A term won at zero, and its clock.
fn scene() -> (Term, Arc<Clock>) {
    scene_with(MetricsSink::default())
}

fn scene_with(metrics: MetricsSink) -> (Term, Arc<Clock>) {
    let clock = Arc::new(Clock::default());
    (won(clock.clone(), HOLD, STOP_BOUND, metrics), clock)
}

/// Starts another thread of the scene.
fn thread<R: 'static>(
    term: &Term,
    clock: &Arc<Clock>,
    act: impl FnOnce(&Term, &Clock) -> R + 'static,
) -> JoinHandle<R> {
    let (term, clock) = (term.clone(), clock.clone());
    spawn(move || act(&term, &clock))
}

fn join<R>(thread: JoinHandle<R>) -> R {
    thread.join().expect("the thread ends")
}
