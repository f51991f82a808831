//! Fair share: flows take turns, however many keys each has.
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::HashMap;

use support::*;
use tokio::time::advance;
use watchkeeper_workqueue::{Added, Ageing, Policy, WorkQueue};

/// A flow and a number within it.
type Key = (u8, u32);

fn by_flow() -> Policy<Key> {
    Policy { flow: Some(Box::new(|key| u64::from(key.0))), ..Policy::default() }
}

fn fair() -> WorkQueue<Key> {
    queue(by_flow())
}

/// Goal: each flow that has ready keys gets every n-th hand-out, and within a flow the order is that of the adds.
#[tokio::test(start_paused = true)]
async fn flows_take_turns() {
    let queue = fair();
    for key in [(1, 0), (1, 1), (1, 2), (2, 0), (1, 3), (3, 0), (2, 1)] {
        assert_eq!(queue.add(key), Added::Queued);
    }
    assert_eq!(queue.add((1, 1)), Added::AlreadyQueued);
    assert_eq!(serve_all(&queue), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2), (1, 3)]);
}

/// Goal: a flow with ten thousand keys costs another one a single turn.
#[tokio::test(start_paused = true)]
async fn a_flood_costs_the_others_one_turn() {
    const FLOOD: u32 = 10_000;
    let queue = fair();
    (0..FLOOD).for_each(|number| _ = queue.add((1, number)));
    (0..10).for_each(|number| _ = queue.add((2, number)));
    let order = serve_all(&queue);
    let places: Vec<usize> = (0..order.len()).filter(|place| order[*place].0 == 2).collect();
    assert_eq!(places, (0..10).map(|turn| 2 * turn + 1).collect::<Vec<_>>());
    let flood: Vec<u32> = order.into_iter().filter(|key| key.0 == 1).map(|key| key.1).collect();
    assert_eq!(flood, (0..FLOOD).collect::<Vec<_>>(), "nothing of the flood is lost");
}

/// Goal: a flow that runs empty and comes back gets its turns again, no more and no fewer. Method: beside a flood, a
/// flow whose only key is added each time it was served.
#[tokio::test(start_paused = true)]
async fn a_flow_that_comes_back_has_its_turns() {
    let queue = fair();
    (0..1000).for_each(|number| _ = queue.add((1, number)));
    queue.add((2, 0));
    let mut flows = Vec::new();
    for _ in 0..200 {
        let (flow, _) = serve(&queue);
        if flow == 2 {
            queue.add((2, 0));
        }
        flows.push(flow);
    }
    assert_eq!(flows, [1, 2].repeat(100));
}

/// Goal: the bound holds over any mix of floods, trickles and flows that come and go. Method: random adds to eight
/// flows of very different size; for each flow with ready keys it is counted how often others were served since it
/// last was, or since it has had ready keys.
#[tokio::test(start_paused = true)]
async fn a_flow_gets_every_nth_hand_out_at_least() {
    const FLOWS: u8 = 8;
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let queue = fair();
        let mut ready: HashMap<u8, usize> = HashMap::new();
        let mut passed: HashMap<u8, u8> = HashMap::new();
        for number in 0..2000 {
            let flow = random.u8(..FLOWS).min(random.u8(..FLOWS));
            if random.u8(..100) < 55 {
                queue.add((flow, number));
                *ready.entry(flow).or_default() += 1;
                passed.entry(flow).or_default();
            } else if !ready.is_empty() {
                let (served, _) = serve(&queue);
                for (flow, turns) in &mut passed {
                    *turns = if *flow == served { 0 } else { *turns + 1 };
                    assert!(*turns < FLOWS, "seed {seed}: flow {flow} was passed over {turns} times");
                }
                let left = ready.get_mut(&served).expect("it had ready keys");
                *left -= 1;
                if *left == 0 {
                    ready.remove(&served);
                    passed.remove(&served);
                }
            }
        }
        assert_eq!(serve_all(&queue).len(), ready.values().sum::<usize>());
    }
}

/// Goal: priority orders the keys of a flow, and buys no turn of another flow.
#[tokio::test(start_paused = true)]
async fn priority_counts_within_a_flow_only() {
    let queue = queue(Policy { ageing: Some(Ageing::default()), ..by_flow() });
    for (key, priority) in [((1, 0), 50), ((1, 1), 90), ((1, 2), 70), ((2, 0), -50), ((2, 1), -10)] {
        queue.add_with(key, at(priority));
    }
    assert_eq!(queue.add_with((1, 0), at(80)), Added::AlreadyQueued);
    assert_eq!(serve_all(&queue), [(1, 1), (2, 1), (1, 0), (2, 0), (1, 2)]);
}

/// Goal: no flow and no key of a flow starves where both rules meet. Method: a key of low priority in a small flow,
/// against a flood of its own flow and one of another flow, both of high priority.
#[tokio::test(start_paused = true)]
async fn a_low_priority_within_a_flow_is_served_in_time() {
    let queue = queue(Policy { ageing: Some(Ageing { step: SECOND }), ..by_flow() });
    queue.add_with((2, 0), at(-5));
    let mut before = [0, 0];
    for number in 1..1000 {
        queue.add_with((1, number), at(100));
        queue.add_with((2, number), at(5));
        match serve(&queue) {
            (2, 0) => break,
            (flow, _) => before[usize::from(flow) - 1] += 1,
        }
        advance(100 * MS).await;
    }
    // Ten levels at ten keys a second of its own flow, each of which waits for one of the other flow.
    assert_eq!(before, [100, 100]);
}

/// Goal: a key that comes back (after a failure, a delay, a pause) is in its own flow, and a flow whose keys are
/// paused costs nobody a turn.
#[tokio::test(start_paused = true)]
async fn keys_come_back_into_their_flow() {
    let queue = fair();
    queue.add((1, 0));
    take(&queue).retry();
    queue.add_after((1, 1), 10 * MS);
    queue.add((3, 0));
    queue.pause_key((3, 0));
    (0..3).for_each(|number| _ = queue.add((2, number)));
    advance(10 * MS).await;
    assert_eq!([serve(&queue), serve(&queue), serve(&queue)], [(2, 0), (1, 0), (2, 1)]);
    assert!(queue.resume_key(&(3, 0)));
    assert_eq!(serve_all(&queue), [(1, 1), (2, 2), (3, 0)]);
}

/// Goal: where priorities are ignored, an add with one changes no order.
#[tokio::test(start_paused = true)]
async fn a_priority_without_ageing_changes_no_order() {
    let queue = fair();
    queue.add((1, 0));
    queue.add((1, 1));
    queue.add_with((1, 0), at(5));
    assert_eq!(serve_all(&queue), [(1, 0), (1, 1)]);
}
