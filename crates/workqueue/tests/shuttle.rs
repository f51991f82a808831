//! Random orders of a big scene: producers, workers that end in every way, drains, and time that passes. Run by
//! `check-models`.
//!
//! Method: shuttle runs the scene again and again, choosing at random who is next whenever a thread calls the queue.
//! `WATCHKEEPER_SCHEDULES` says how often, `WATCHKEEPER_SEED` where the choices start. A failure prints its schedule,
//! which `WATCHKEEPER_REPLAY` repeats.
#![cfg(watchkeeper_shuttle)]
#![allow(missing_docs, reason = "a test")]

use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::thread::{JoinHandle, spawn, yield_now};
use watchkeeper_workqueue::{
    Added, Ageing, Attempts, Config, Debounce, Exponential, Policy, Snapshot, WorkItem, WorkQueue,
};

use models::clock::Clock;
use models::witness::{Held, Witness};

mod models;

const KEYS: usize = 3;
const PRODUCERS: usize = 4;
const WORKERS: usize = 4;
const DRAINS: usize = 2;
const ADDS: usize = 3;
const TICK: Duration = Duration::from_millis(1);
/// Far more ticks than any fair order needs to get all the work done.
const PATIENCE: usize = 20_000;

type Queue = WorkQueue<usize>;

/// Goal: no accepted add is lost, no key is with two workers, delayed keys come at their time though workers give up
/// their waits, all workers and drains end, and nothing is left.
#[test]
fn random_orders() {
    let (seed, schedules) = (number("WATCHKEEPER_SEED", 1), number("WATCHKEEPER_SCHEDULES", 20_000));
    match std::env::var("WATCHKEEPER_REPLAY") {
        Ok(schedule) => explore(ReplayScheduler::new_from_encoded(&schedule)),
        Err(_) => explore(RandomScheduler::new_from_seed(seed, usize::try_from(schedules).expect("a number"))),
    }
}

/// Goal: the same. Method: orders in which a thread runs until it can't, but for two points, where another one does;
/// they reach what a fair choice hardly ever does.
#[test]
fn orders_with_few_changes() {
    let (seed, schedules) = (number("WATCHKEEPER_SEED", 1), number("WATCHKEEPER_SCHEDULES", 20_000) / 4);
    explore(PctScheduler::new_from_seed(seed, 3, usize::try_from(schedules).expect("a number")));
}

/// All but the lost time keeper: in so busy a scene some call always comes, and at every call what has come due is
/// ready. Loom's scenes and the dropped futures see that one.
#[cfg(watchkeeper_mutants)]
#[test]
fn every_fault_is_caught() {
    use watchkeeper_workqueue::mutant::Mutant;
    for mutant in Mutant::ALL.into_iter().filter(|mutant| *mutant != Mutant::LostTimeKeeper) {
        models::planted::must_be_caught(mutant, "random_orders");
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect("a number"))
}

fn explore(scheduler: impl Scheduler + 'static) {
    let mut config = shuttle::Config::new();
    config.stack_size = 0x2_0000;
    let schedules = shuttle::Runner::new(scheduler, config).run(scene);
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    eprintln!("{name}: {schedules} schedules from seed {}", number("WATCHKEEPER_SEED", 1));
}

fn scene() {
    let clock = Clock::new();
    let entered = clock.enter();
    let rate_limiter = Box::new(Exponential { base: TICK, max: 4 * TICK });
    // Half of the scenes are shut down in the midst of it all.
    let patient = thread_rng().gen_bool(0.5);
    let queue = Queue::new(Config { rate_limiter, policy: policy(patient), ..Config::default() });
    let witness = Witness::new(KEYS);

    let producing = Arc::new(AtomicUsize::new(PRODUCERS));
    let still = producing.clone();
    let producers = threads::<PRODUCERS>(&queue, &witness, move |queue, witness| {
        produce(queue, witness, patient);
        still.fetch_sub(1, SeqCst);
    });
    let workers = threads::<WORKERS>(&queue, &witness, work);
    let early = threads::<DRAINS>(&queue, &witness, |queue, _| drain(queue));
    let mut ticks = 0..if patient { PATIENCE } else { thread_rng().gen_range(0..20) };
    while !patient || producing.load(SeqCst) > 0 || !is_quiet(&queue.snapshot()) {
        if ticks.next().is_none() {
            assert!(!patient, "it never gets quiet: {:?}", queue.snapshot());
            break;
        }
        tick(&clock);
    }
    queue.shut_down();
    let late = threads::<DRAINS>(&queue, &witness, |queue, _| drain(queue));
    producers.into_iter().chain(workers).chain(early).chain(late).for_each(|thread| thread.join().expect("it ends"));

    let seen = queue.snapshot();
    assert_eq!((seen.ready, seen.in_flight, seen.held, seen.waiting), (0, 0, 0, 0), "{seen:?}");
    assert_eq!(seen.failing, seen.exhausted, "{seen:?}");
    witness.check();
    drop(entered);
}

/// No rules, or one of those that delay, refuse or reorder.
fn policy(patient: bool) -> Policy<usize> {
    let mut policy = Policy::default();
    match thread_rng().gen_range(0..10) {
        0 => policy.ageing = Some(Ageing { step: TICK }),
        1 => policy.flow = Some(Box::new(|key| u64::from(*key == 0))),
        2 => policy.capacity = NonZeroUsize::new(2),
        3 => policy.attempts = Some(Attempts { most: NonZeroU32::MIN, resting: 1 }),
        // A shut down drops what these two delay.
        4 if patient => policy.min_interval = 2 * TICK,
        5 if patient => policy.debounce = Some(Debounce { quiet: TICK, longest: 3 * TICK }),
        _ => {}
    }
    policy
}

fn threads<const N: usize>(
    queue: &Queue,
    witness: &Witness,
    act: impl Fn(&Queue, &Witness) + Clone + Send + 'static,
) -> [JoinHandle<()>; N] {
    [(); N].map(|()| {
        let (queue, witness, act) = (queue.clone(), witness.clone(), act.clone());
        spawn(move || act(&queue, &witness))
    })
}

fn is_quiet(seen: &Snapshot) -> bool {
    seen.ready + seen.waiting + seen.in_flight == 0
}

fn tick(clock: &Clock) {
    clock.pass(TICK);
    yield_now();
}

/// Adds of all kinds. Only those of no delay are sure to be worked on, so only their answers are noted.
fn produce(queue: &Queue, witness: &Witness, patient: bool) {
    for _ in 0..ADDS {
        let key = thread_rng().gen_range(0..KEYS);
        match thread_rng().gen_range(0..8) {
            0 => _ = queue.add_after(key, thread_rng().gen_range(1..4) * TICK),
            1 => _ = queue.add_rate_limited(key),
            2 => {
                let handle = queue.intern(key);
                witness.add(key, || handle.add());
            }
            // A shut down drops the adds of paused keys.
            3 if patient => {
                queue.pause_key(key);
                yield_now();
                queue.resume_key(&key);
            }
            _ => _ = witness.add(key, || queue.add(key)),
        }
    }
}

/// Works until the queue is over. Gives up a wait now and then.
fn work(queue: &Queue, witness: &Witness) {
    loop {
        let next =
            if thread_rng().gen_ratio(1, 4) { block_on(poll_once(queue)) } else { Poll::Ready(block_on(queue.next())) };
        let Poll::Ready(item) = next else { continue };
        let Some(item) = item else { return };
        let held = witness.start(item);
        yield_now();
        end(held, queue);
    }
}

/// One poll of a wait, by a waker that works.
async fn poll_once(queue: &Queue) -> Poll<Option<WorkItem<usize>>> {
    let mut next = pin!(queue.next());
    std::future::poll_fn(|context| Poll::Ready(next.poll_unpin(context))).await
}

/// Ends in one of the ways there are, in most cases one after which the key isn't worked on again.
fn end(held: Held, queue: &Queue) {
    let again = |outcome: fn(WorkItem<usize>)| {
        move |item| {
            outcome(item);
            // A queue that is open now was so when the item ended.
            if queue.snapshot().shut_down { Added::Refused } else { Added::Queued }
        }
    };
    match thread_rng().gen_range(0..10) {
        0 => _ = held.end_and_add(again(drop)),
        1 => _ = held.end_and_add(again(|item| item.after(Duration::ZERO))),
        2 => held.end(|item| item.after(2 * TICK)),
        3 => _ = held.end(WorkItem::retry),
        4 => held.end(WorkItem::give_up),
        _ => held.end(WorkItem::done),
    }
}

/// Gives up a drain, and then waits for one.
fn drain(queue: &Queue) {
    _ = queue.drained().now_or_never();
    let ended = queue.snapshot().shut_down;
    block_on(queue.drained());
    let seen = queue.snapshot();
    assert!(!ended || seen.ready + seen.in_flight == 0, "drained too early: {seen:?}");
}
