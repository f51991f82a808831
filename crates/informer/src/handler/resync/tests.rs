#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const PERIOD: Duration = Duration::from_secs(100);

fn key(number: usize) -> ObjectKey {
    ObjectKey::new("ns", &format!("n{number}"))
}

fn schedule(keys: usize) -> (Schedule, Instant) {
    let (mut schedule, begun) = (Schedule::new(PERIOD), Instant::now());
    (0..keys).for_each(|number| schedule.insert(key(number)));
    schedule.begin(begun);
    (schedule, begun)
}

fn due(schedule: &mut Schedule, now: Instant) -> Vec<ObjectKey> {
    std::iter::from_fn(|| schedule.next(now, |_| false)).collect()
}

/// Goal: every key once a period, the same distance apart, in no burst. Method: 10,000 keys over five periods, looked at
/// a hundred times a period; a hundredth of the keys is due each time, give or take what hashing does.
#[test]
fn once_a_period_and_spread() {
    let (mut schedule, begun) = schedule(10_000);
    let mut turns: BTreeMap<ObjectKey, Vec<u64>> = BTreeMap::new();
    for second in 1..=500 {
        let due = due(&mut schedule, begun + Duration::from_secs(second));
        assert!((50..150).contains(&due.len()), "{} in second {second}", due.len());
        due.into_iter().for_each(|key| turns.entry(key).or_default().push(second));
    }
    assert_eq!(turns.len(), 10_000);
    for (key, turns) in turns {
        let apart: Vec<_> = turns.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(apart, [100; 4], "{key}");
    }
}

/// Goal: whoever stays away for many periods has one of them to make up for, not all.
#[test]
fn a_period_is_made_up_for_at_most() {
    let (mut schedule, begun) = schedule(1_000);
    assert_eq!(due(&mut schedule, begun + PERIOD * 50).len(), 1_000);
    assert_eq!(due(&mut schedule, begun + PERIOD * 50).len(), 0);
    assert_eq!(due(&mut schedule, begun + PERIOD * 51).len(), 1_000);
}

/// Goal: a key that comes when its place has passed waits for the next round; one that is passed over does too; one that has
/// gone has no turn; before the beginning nothing is due.
#[test]
fn late_gone_and_passed_over() {
    let mut early = Schedule::new(PERIOD);
    early.insert(key(1));
    assert_eq!((early.next(Instant::now(), |_| false), early.next_at()), (None, None));

    let (mut schedule, begun) = schedule(100);
    assert_eq!(due(&mut schedule, begun + PERIOD).len(), 100);
    let late = (100..).map(key).find(|key| place(key) < u32::MAX / 4).expect("a quarter of all keys");
    due(&mut schedule, begun + PERIOD * 3 / 2);
    schedule.insert(late.clone());
    assert!(!due(&mut schedule, begun + PERIOD * 2).contains(&late));
    assert!(due(&mut schedule, begun + PERIOD * 5 / 2).contains(&late));
    schedule.remove(&late);
    assert!(!due(&mut schedule, begun + PERIOD * 7 / 2).contains(&late));
    assert_eq!(schedule.next(begun + PERIOD * 4, |_| true), None);
    assert_eq!(due(&mut schedule, begun + PERIOD * 4).len(), 0);
}

/// Goal: no arithmetic gives way: a period of centuries, a clock that stands still or goes back.
#[test]
fn extremes() {
    let now = Instant::now();
    let mut schedule = Schedule::new(Duration::MAX);
    schedule.insert(key(1));
    schedule.begin(now);
    assert_eq!((schedule.next(now + PERIOD, |_| false), schedule.next_at()), (None, None));
    let (mut schedule, begun) = self::schedule(10);
    due(&mut schedule, begun + PERIOD);
    assert_eq!(due(&mut schedule, begun).len(), 0);
}

proptest! {
    /// Goal: waking up when told to is enough: each such moment has a key due, and sleeping from one to the next misses
    /// none. Method: any number of keys and any period.
    #[test]
    fn sleeping_till_the_next_misses_none(keys in 1usize..50, period in 1_000_000_000u64..1_000_000_000_000) {
        let (mut schedule, begun) = (Schedule::new(Duration::from_nanos(period)), Instant::now());
        (0..keys).for_each(|number| schedule.insert(key(number)));
        schedule.begin(begun);
        prop_assert!(due(&mut schedule, begun).is_empty());
        let (mut told, mut now) = (0, begun);
        while told < 3 * keys {
            let next = schedule.next_at().expect("there are keys");
            prop_assert!(next > now);
            now = next;
            let due = due(&mut schedule, now);
            // Position 0 alone is forgone; no key of these is there.
            prop_assert!(!due.is_empty());
            told += due.len();
        }
        let periods = u32::try_from(told.div_ceil(keys)).expect("few");
        prop_assert!(now <= begun + Duration::from_nanos(period) * periods);
    }
}
