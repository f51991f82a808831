//! Goal: the judgement follows its rules, and doesn't depend on when somebody looks. Method: tables by hand, and a
//! naive model that knows the whole history of a Lease and derives states and edges from it anew.

use super::*;
use crate::class::Class;
use proptest::prelude::*;

const LATE: u64 = 2;
const STALE: u64 = 4;

fn record(holder: &str, renewal: i64) -> Record {
    Record {
        holder: Some(holder.to_owned()).filter(|holder| !holder.is_empty()),
        renewed: jiff::Timestamp::from_second(renewal).ok(),
        acquired: jiff::Timestamp::from_second(0).ok(),
        transitions: Some(0),
        seconds: Some(4),
        class: Class::Election,
    }
}

fn at(seconds: u64) -> Watch {
    Watch { now: Moment(Duration::from_secs(seconds)), unbroken_since: Moment::default() }
}

fn names(observation: &Observation) -> Vec<(State, State, String, u64)> {
    observation.edges().map(|edge| (edge.from, edge.to, edge.version.clone(), edge.at.0.as_secs())).collect()
}

fn held(version: &str, created: bool) -> Observation {
    Observation::first("u", version, record("a", 0), (Moment::default(), created))
}

#[test]
fn time_alone_makes_it_late_then_stale_and_a_renewal_brings_it_back() {
    let mut lease = held("7", false);
    assert_eq!(lease.state(at(0)), State::Watching);
    assert_eq!(lease.next_look(at(0)), Some(Duration::from_secs(LATE)));
    assert!(lease.seen("8", record("a", 1), at(1)));
    assert_eq!(lease.state(at(2)), State::Fresh);
    assert_eq!(names(&lease), [], "to be seen fresh for the first time is no edge");
    assert_eq!(lease.state(at(3)), State::Late);
    assert_eq!(lease.next_look(at(3)), Some(Duration::from_secs(2)));
    assert_eq!(lease.state(at(5)), State::Stale);
    assert_eq!(lease.next_look(at(5)), None);
    assert!(lease.seen("9", record("b", 9), at(9)));
    assert_eq!(
        names(&lease),
        [
            (State::Fresh, State::Late, "8".into(), 3),
            (State::Late, State::Stale, "8".into(), 5),
            (State::Stale, State::Fresh, "8".into(), 9)
        ]
    );
    let last = lease.edges().last().expect("an edge");
    assert_eq!(last.holders, (Some("a".into()), Some("b".into())));
}

#[test]
fn a_release_and_the_next_holder_are_two_edges_and_the_second_is_named_by_the_first() {
    let mut lease = held("7", true);
    lease.seen("8", record("", 1), at(1));
    lease.seen("9", record("b", 2), at(2));
    assert_eq!(
        names(&lease),
        [(State::Fresh, State::Vacant, "8".into(), 1), (State::Vacant, State::Fresh, "8".into(), 2)]
    );
}

#[test]
fn a_vacant_lease_is_an_edge_at_first_sight_and_never_gets_stale() {
    let lease = Observation::first("u", "7", record("", 0), (Moment::default(), false));
    assert_eq!(names(&lease), [(State::Watching, State::Vacant, "7".into(), 0)]);
    assert_eq!(lease.state(at(1000)), State::Vacant);
    assert_eq!(lease.next_look(at(0)), None);
}

#[test]
fn a_label_is_no_renewal() {
    let mut lease = held("7", true);
    assert!(!lease.seen("8", record("a", 0), at(1)));
    assert_eq!(lease.state(at(2)), State::Late);
    assert_eq!(lease.version, "7");
}

#[test]
fn what_was_not_watched_is_not_said_to_have_stood_still() {
    let mut lease = held("7", true);
    let after_a_pause = Watch { now: at(100).now, unbroken_since: at(99).now };
    assert_eq!(lease.state(after_a_pause), State::Fresh);
    lease.seen("8", record("a", 100), after_a_pause);
    assert_eq!(names(&lease), []);
    let mut stale = held("7", true);
    stale.look(at(50));
    assert_eq!(stale.state(after_a_pause), State::Stale, "what was noted before stays true until a change");
}

#[test]
fn bad_durations_are_never_judged_and_never_overflow() {
    for seconds in [None, Some(0), Some(-5), Some(i32::MIN)] {
        let bad = Record { seconds, ..record("a", 0) };
        let mut lease = Observation::first("u", "7", bad, (Moment::default(), true));
        lease.look(at(u64::MAX));
        assert_eq!((lease.state(at(u64::MAX)), lease.next_look(at(1))), (State::Watching, None), "{seconds:?}");
    }
    let endless = Record { seconds: Some(i32::MAX), class: Class::Heartbeat, ..record("a", 0) };
    let mut lease = Observation::first("u", "7", endless, (Moment::default(), true));
    lease.look(at(u64::MAX));
    assert_eq!(lease.state(at(u64::MAX)), State::Stale);
    assert!(lease.news() <= Duration::from_secs(600));
}

/// What happened to the Lease at a moment.
#[derive(Clone, Copy, Debug)]
enum Step {
    Renew,
    Take,
    Release,
    Label,
    Look,
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let kind =
        prop_oneof![Just(Step::Renew), Just(Step::Take), Just(Step::Release), Just(Step::Label), Just(Step::Look)];
    (0u64..7, kind)
}

/// The naive model: the changes of the record with their times; each interval is judged anew, from nothing else.
fn model(changes: &[(u64, String, Option<String>)], until: u64) -> (State, Vec<(State, State, String, u64)>) {
    let mut state = State::Watching;
    let mut edges = Vec::new();
    let mut stood = String::new();
    for (number, (begin, version, holder)) in changes.iter().enumerate() {
        let entered = match (holder, number) {
            (None, _) => State::Vacant,
            (Some(_), 0) => State::Watching,
            (Some(_), _) => State::Fresh,
        };
        if entered == State::Vacant && state != State::Vacant {
            edges.push((state, entered, version.clone(), *begin));
        }
        if entered == State::Fresh && state >= State::Vacant {
            edges.push((state, entered, stood.clone(), *begin));
        }
        state = entered;
        stood = version.clone();
        let end = changes.get(number + 1).map_or(until, |next| next.0);
        if holder.is_some() && end - begin >= LATE {
            edges.push((state, State::Late, version.clone(), begin + LATE));
            state = State::Late;
        }
        if holder.is_some() && end - begin >= STALE {
            edges.push((state, State::Stale, version.clone(), begin + STALE));
            state = State::Stale;
        }
    }
    (state, edges)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_judge_agrees_with_the_naive_model(steps in prop::collection::vec(step(), 0..40)) {
        let mut holder = Some("a".to_owned());
        let mut changes = vec![(0, "0".to_owned(), holder.clone())];
        let mut lease = held("0", false);
        let mut now = 0;
        let mut renewal = 0;
        for (number, (pause, step)) in steps.into_iter().enumerate() {
            now += pause;
            let version = (number + 1).to_string();
            match step {
                Step::Look => lease.look(at(now)),
                Step::Label => prop_assert!(!lease.seen(&version, lease.record.clone(), at(now))),
                change => {
                    renewal += 1;
                    holder = match change {
                        Step::Release => None,
                        Step::Take => Some(version.clone()),
                        _ => holder.clone(),
                    };
                    let record = record(holder.as_deref().unwrap_or_default(), renewal);
                    prop_assert!(lease.seen(&version, record, at(now)));
                    changes.push((now, version, holder.clone()));
                }
            }
            let (state, edges) = model(&changes, now);
            prop_assert_eq!(lease.state(at(now)), state);
            let mut looked = lease.clone();
            looked.look(at(now));
            let kept = edges.len().saturating_sub(EDGES_KEPT);
            prop_assert_eq!(names(&looked), &edges[kept..]);
            if let Some(wait) = lease.next_look(at(now)) {
                let then = now + wait.as_secs();
                prop_assert_eq!(lease.state(at(then.saturating_sub(1).max(now))), state);
                prop_assert_ne!(lease.state(at(then)), state);
            }
        }
    }
}
