//! Many deadlines, near and far: each key comes at its time, in order, whatever else is withdrawn or moved meanwhile.
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::Duration;

use fastrand::Rng;
use support::*;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{Added, Policy, WorkItem, WorkQueue};

fn plain() -> WorkQueue<u32> {
    queue(Policy::default())
}

/// What is expected: when, by which call, which key.
type Plan = Vec<(Duration, usize, u32)>;

fn expected(mut plan: Plan) -> Vec<(Duration, u32)> {
    plan.sort_unstable();
    plan.into_iter().map(|(due, _, key)| (due, key)).collect()
}

/// Takes so many keys with a worker that is always there; says when each came.
async fn watch(queue: &WorkQueue<u32>, start: Instant, count: usize) -> Vec<(Duration, u32)> {
    let mut came = Vec::new();
    while came.len() < count {
        let (item, _) = wait_for(queue).await;
        came.push((start.elapsed(), *item.key()));
        item.done();
    }
    came
}

/// Goal: among ten thousand deadlines each key comes at its own, equal ones in the order of the calls. Method: over
/// some milliseconds, seconds and days, so that they are near, far and very far.
#[tokio::test(start_paused = true)]
async fn every_key_comes_at_its_time() {
    for within in [50, 20_000, 500_000_000] {
        let mut random = Rng::with_seed(u64::from(within));
        let (queue, start) = (plain(), Instant::now());
        let plan: Plan = (0..10_000_u32).map(|key| (MS * random.u32(1..=within), key as usize, key)).collect();
        plan.iter().for_each(|(due, _, key)| assert_eq!(queue.add_after(*key, *due), Added::Queued));
        assert!(is_waiting(&queue));
        assert_eq!(watch(&queue, start, plan.len()).await, expected(plan), "within {within} ms");
        assert_eq!(queue.snapshot().waiting, 0);
    }
}

/// Goal: keys whose time came long ago come in the order of their deadlines, however many there are.
#[tokio::test(start_paused = true)]
async fn overdue_keys_come_in_order() {
    let mut random = Rng::with_seed(1);
    let (queue, start) = (plain(), Instant::now());
    let plan: Plan = (0..10_000_u32).map(|key| (MS * random.u32(5000..5300), key as usize, key)).collect();
    plan.iter().for_each(|(due, _, key)| _ = queue.add_after(*key, *due));
    advance(HOUR).await;
    let keys = watch(&queue, start, plan.len()).await.into_iter().map(|(_, key)| key);
    assert_eq!(keys.collect::<Vec<_>>(), expected(plan).into_iter().map(|(_, key)| key).collect::<Vec<_>>());
}

/// Goal: what is withdrawn never comes, what is brought forward comes then and once, and nothing is postponed, also
/// while others of the same second are coming. Method: random calls between hand-outs, against a plain list; with few
/// keys, so that often none is left of a second, and with many.
#[tokio::test(start_paused = true)]
async fn deadlines_can_be_changed_at_any_time() {
    for (seed, keys) in (0..30).map(|seed| (seed, [5, 50, 3000][seed as usize % 3])) {
        let mut random = Rng::with_seed(seed);
        let (queue, start) = (plain(), Instant::now());
        let mut due: Vec<Option<Duration>> = vec![None; keys as usize];
        let mut came = 0;
        for step in 0..10_000 {
            let key = random.u32(..keys);
            let planned = &mut due[key as usize];
            match random.u8(..20) {
                0..14 => {
                    let delay = MS * if random.bool() { random.u32(1..3000) } else { random.u32(1..100_000) };
                    let at = start.elapsed() + delay;
                    let sooner = planned.is_none_or(|before| at < before);
                    let answer = if sooner { Added::Queued } else { Added::AlreadyQueued };
                    assert_eq!(queue.add_after(key, delay), answer, "seed {seed}, step {step}");
                    *planned = planned.map_or(Some(at), |before| Some(at.min(before)));
                }
                14 | 15 => assert_eq!(queue.withdraw(&key), planned.take().is_some(), "seed {seed}, step {step}"),
                _ => {
                    advance(MS * random.u32(..400)).await;
                    let (mut last, now) = (Duration::ZERO, start.elapsed());
                    // As many calls as it takes: one call makes a bounded number of keys ready.
                    while due.iter().flatten().any(|at| *at <= now) {
                        let item = soon(queue.next()).await.expect("not over");
                        let at = due[*item.key() as usize].take().expect("it was to come");
                        assert!(last <= at && at <= now, "seed {seed}, step {step}: {at:?} at {now:?}");
                        last = at;
                        came += 1;
                        item.done();
                    }
                    assert!(is_waiting(&queue), "seed {seed}, step {step}: one too many");
                }
            }
            assert_eq!(queue.snapshot().waiting, due.iter().flatten().count(), "seed {seed}, step {step}");
        }
        assert!(came > 500, "seed {seed}: only {came} came");
        let seen = queue.sight(usize::MAX).waiting;
        let mut left: Vec<_> = due.iter().zip(0..).filter_map(|(at, key)| Some((start + (*at)?, key))).collect();
        left.sort_unstable();
        let mut seen: Vec<_> = seen.into_iter().map(|waiting| (waiting.due, waiting.key)).collect();
        assert!(seen.is_sorted_by_key(|(at, _)| *at));
        seen.sort_unstable();
        assert_eq!(seen, left, "seed {seed}");
    }
}

/// Goal: a queue that has slept for long, and one whose workers have, keep the time as exactly as a new one.
#[tokio::test(start_paused = true)]
async fn the_time_is_exact_after_a_long_rest() {
    let queue = plain();
    for (key, rest) in [(0, Duration::ZERO), (1, SECOND), (2, HOUR), (3, YEAR)] {
        advance(rest).await;
        for delay in [MS, 999 * MS, 1100 * MS, 2500 * MS, HOUR] {
            queue.add_after(key, delay);
            let (item, waited) = wait_for(&queue).await;
            assert_eq!((*item.key(), waited), (key, delay), "after {rest:?}");
            item.done();
        }
    }
}

/// Goal: a shut down drops all deadlines, near and far, and leaves nothing of them.
#[tokio::test(start_paused = true)]
async fn a_shut_down_drops_near_and_far() {
    let queue = plain();
    (0..5000).for_each(|key| _ = queue.add_after(key, MS * (key + 1)));
    queue.add(9999);
    let item: WorkItem<u32> = take(&queue);
    queue.add_after(9999, HOUR);
    advance(2 * SECOND).await;
    serve(&queue);
    queue.shut_down();
    assert_eq!(queue.snapshot().waiting, 0);
    let ready = serve_all(&queue);
    assert!(ready.iter().all(|key| *key < 2000), "dropped ones came");
    item.done();
    assert!(is_over(&queue) && is_drained(&queue));
    assert!((0..5000).all(|key| !queue.withdraw(&key)));
}
