//! Priorities with ageing: who is first, and that nobody waits for ever.
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::Duration;

use support::*;
use tokio::time::advance;
use watchkeeper_workqueue::{Added, Ageing, Ask, Policy, WorkItem, WorkQueue};

/// A queue in which a second of waiting is worth a level of priority.
fn ageing<K>() -> WorkQueue<K> {
    queue(Policy { ageing: Some(Ageing { step: SECOND }), ..Policy::default() })
}

#[tokio::test(start_paused = true)]
async fn higher_priorities_come_first_and_equal_ones_in_their_order() {
    let queue = ageing();
    for (key, priority) in [("a", 0), ("b", -1), ("c", 7), ("d", 0), ("e", 7)] {
        assert_eq!(queue.add_with(key, at(priority)), Added::Queued);
    }
    assert_eq!(serve_all(&queue), ["c", "e", "a", "d", "b"]);
}

/// Goal: without the rule a priority changes nothing.
#[tokio::test(start_paused = true)]
async fn priorities_are_ignored_where_nothing_ages() {
    let queue: Queue = queue(Policy::default());
    for (key, priority) in [("a", 0), ("b", -1), ("c", 7)] {
        queue.add_with(key, at(priority));
    }
    queue.add_with("b", at(100));
    assert_eq!(serve_all(&queue), ["a", "b", "c"]);
}

/// Goal: a steady flood of higher priority overtakes a key for exactly as long as promised: `d` levels are worth
/// `d * step`. Method: every 100 ms some keys of a priority ten levels higher come, and as many or fewer are served,
/// so the flood never ends; the ones served before the low key must be exactly those of the first ten seconds.
#[tokio::test(start_paused = true)]
async fn a_steady_flood_overtakes_only_within_the_bound() {
    for (added, served) in [(1, 1), (3, 2), (5, 1)] {
        let queue: WorkQueue<u32> = ageing();
        queue.add_with(0, at(-5));
        let (mut next, mut before) = (1, Vec::new());
        'flood: loop {
            for _ in 0..added {
                queue.add_with(next, at(5));
                next += 1;
            }
            for _ in 0..served {
                match serve(&queue) {
                    0 => break 'flood,
                    key => before.push(key),
                }
            }
            assert!(next < 10_000, "the key starves");
            advance(100 * MS).await;
        }
        assert_eq!(before, (1..=100 * added).collect::<Vec<u32>>(), "{added} in, {served} out");
    }
}

/// What a random run remembers of a ready key: its number, when it became ready, its priority.
type Ready = (u64, Duration, i16);

/// Goal: the bound holds for any mix of priorities, times and speeds of the workers. Method: over random runs, each
/// key that is handed out is held against all that are still ready and became so before it.
#[tokio::test(start_paused = true)]
async fn nobody_is_overtaken_beyond_the_bound() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let queue: WorkQueue<u64> = ageing();
        let (mut now, mut ready): (Duration, Vec<Ready>) = (Duration::ZERO, Vec::new());
        for number in 0..300 {
            if random.u8(..10) < 6 {
                let priority = random.i16(-20..20);
                queue.add_with(number, at(priority));
                ready.push((number, now, priority));
            } else if !ready.is_empty() {
                let key = serve(&queue);
                let index = ready.iter().position(|other| other.0 == key).expect("it was ready");
                let (_, since, priority) = ready.remove(index);
                for (waiting, earlier, lower) in &ready {
                    let levels = u32::try_from(priority - lower).unwrap_or(0);
                    let is_fair = *earlier >= since || since - *earlier < levels * SECOND;
                    assert!(is_fair, "seed {seed}: {key} was ahead of {waiting}");
                }
            }
            if random.bool() {
                let gap = MS * random.u32(..2000);
                advance(gap).await;
                now += gap;
            }
        }
    }
}

/// Goal: the highest of all adds counts, a lower one changes nothing, and the time already waited stays.
#[tokio::test(start_paused = true)]
async fn a_further_add_raises_and_never_lowers() {
    let queue = ageing();
    queue.add_with("a", at(0));
    advance(3 * SECOND).await;
    queue.add_with("b", at(4));
    queue.add_with("c", at(6));
    assert_eq!(queue.add_with("a", at(2)), Added::AlreadyQueued); // 3 s and 2 levels: before b, behind c.
    queue.add_with("c", at(-100));
    assert_eq!(serve_all(&queue), ["c", "a", "b"]);
}

/// Goal: a key that isn't done keeps its priority, whatever lies between two attempts. Method: such an outcome of a
/// key of priority 5, then a key of priority 3 that becomes ready at the same time.
#[tokio::test(start_paused = true)]
async fn a_priority_stays_until_the_key_is_done() {
    let outcomes: [(&str, Outcome); 4] = [
        ("retry", |item| _ = item.retry()),
        ("panic", panic_with),
        ("after", |item| item.after(10 * MS)),
        ("drop", drop),
    ];
    for (name, outcome) in outcomes {
        let queue = ageing();
        queue.add_with("a", at(5));
        outcome(take(&queue));
        advance(10 * MS).await;
        queue.add_with("b", at(3));
        queue.add_with("c", at(6));
        assert_eq!(serve_all(&queue), ["c", "a", "b"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_priority_goes_when_the_key_is_done() {
    let outcomes: [Outcome; 2] = [WorkItem::done, WorkItem::give_up];
    for outcome in outcomes {
        let queue = ageing();
        queue.add_with("a", at(5));
        outcome(take(&queue));
        queue.add_with("b", at(3));
        queue.add("a");
        assert_eq!(serve_all(&queue), ["b", "a"]);
    }
}

/// Goal: an add of a key in flight has its own priority in the next run; where that run is a further attempt of the
/// first one, the higher of the two counts.
#[tokio::test(start_paused = true)]
async fn a_priority_asked_for_in_flight_is_the_next_runs() {
    for (first, later, outcome, expected) in [
        (5, 1, WorkItem::done as Outcome, ["b", "a"]),
        (1, 5, WorkItem::done, ["a", "b"]),
        (5, 1, |item| _ = item.retry(), ["a", "b"]),
        (1, 5, |item| _ = item.retry(), ["a", "b"]),
    ] {
        let queue = ageing();
        queue.add_with("a", at(first));
        let item = take(&queue);
        queue.add_with("a", at(later));
        outcome(item);
        queue.add_with("b", at(3));
        assert_eq!(serve_all(&queue), expected, "{first}, then {later}");
    }
}

/// Goal: a priority waits with its key, an add that brings it forward adds its own, and time counts from when it is
/// ready.
#[tokio::test(start_paused = true)]
async fn a_delayed_key_has_its_priority_when_it_is_due() {
    let queue = ageing();
    let delayed = |priority| Ask { after: SECOND, priority, ..Ask::default() };
    queue.add_with("a", delayed(2));
    queue.add_with("b", delayed(9));
    queue.add_with("b", at(-9));
    queue.add_with("c", delayed(4));
    queue.add_with("d", at(3));
    assert_eq!(serve(&queue), "b", "brought forward, with the higher of its two");
    queue.add_with("e", at(3));
    advance(SECOND).await; // Worth a level: d and e are at 4, a and c are ready since now.
    assert_eq!(serve_all(&queue), ["d", "e", "c", "a"]);
}

/// Goal: a key added at rest after its last run starts to age anew. Method: one that ran an hour ago.
#[tokio::test(start_paused = true)]
async fn age_is_not_carried_over() {
    let queue = ageing();
    queue.add("a");
    assert_eq!(serve(&queue), "a");
    advance(HOUR).await;
    queue.add_with("b", at(1));
    queue.add("a");
    assert_eq!(serve_all(&queue), ["b", "a"]);
}
