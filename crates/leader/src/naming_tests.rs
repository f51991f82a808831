//! Tests of `naming.rs`: what a candidate does with a Lease that names it, on a clock that is just a number.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::standpoint::Standpoint;

const ME: &str = "me_1_00000000000000000000000000000001";

fn at(seconds: f64) -> GateInstant {
    GateInstant::from_nanos(1_000) + Duration::from_secs_f64(seconds)
}

fn wall(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn candidate(first_install: bool) -> Candidate {
    let fixed = Standpoint { first_install, coordinated: true, ..Standpoint::example() };
    Candidate::new(fixed, 1)
}

/// A Lease as the server leaves it when it names somebody, or as a holder has it.
fn lease(version: u64, holder: &str, duration: u64, transitions: i32, acquired: Option<&str>) -> Lease {
    Lease::parse(json!({
        "metadata": {"uid": "u", "resourceVersion": version.to_string()},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": duration, "leaseTransitions": transitions, "acquireTime": acquired},
    }))
    .unwrap()
}

fn named(version: u64, transitions: i32) -> Lease {
    lease(version, ME, 5, transitions, None)
}

/// What the last holder leaves at a release, with this holder in it now.
fn marked(version: u64, holder: &str, marker: &str) -> Lease {
    let mut object = lease(version, holder, 5, 3, None).object().clone();
    object["metadata"]["annotations"] =
        json!({"watchkeeper.dev/released": marker, "watchkeeper.dev/released-transitions": "3"});
    Lease::parse(object).unwrap()
}

fn sees(candidate: &mut Candidate, lease: Lease, seconds: f64) {
    candidate.reading(at(seconds));
    candidate.on_read(Ok(lease), at(seconds));
}

/// What the server would answer to this write.
fn stored(object: &Value, version: u64) -> Lease {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    Lease::parse(object).unwrap()
}

/// When it would claim: its wait, whatever it does meanwhile.
fn until(candidate: &Candidate) -> GateInstant {
    candidate.naming.as_ref().expect("named").until
}

/// Goal: only a naming lets a candidate claim; neither a vacant, a missing, nor another's Lease does, however old. Method: each of them.
#[test]
fn nothing_is_taken_unnamed() {
    for seen in [Some(lease(1, "", 1, 3, None)), Some(lease(1, "a", 15, 3, None)), Some(marked(3, "", "a 2")), None] {
        let mut candidate = candidate(true);
        candidate.on_read(seen.ok_or(LockError::Missing), at(1.0));
        candidate.look_at = at(1e6);
        for seconds in [1.0, 20.0, 1e5] {
            assert!(matches!(candidate.decide(at(seconds), wall(0)), Step::Wait(_)));
        }
    }
}

/// Goal: who is named keeps the Lease at once and every period, under one mark, waits for L of its own, and then claims what it has seen
/// last, counting a transition. Method: a whole wait, with one answer that is lost.
#[test]
fn a_named_candidate_keeps_the_lease_while_it_waits() {
    let mut candidate = candidate(false);
    sees(&mut candidate, named(10, 3), 1.0);
    assert_eq!(until(&candidate), at(16.0));
    let mut version = 10;
    let mut mark = None;
    let mut now = 1.0;
    while now < 16.0 {
        match candidate.decide(at(now), wall(100)) {
            Step::Keep(object) => {
                assert_eq!(object["spec"]["holderIdentity"], json!(ME));
                assert_eq!(object["spec"]["leaseDurationSeconds"], json!(15));
                assert_eq!(object["spec"]["leaseTransitions"], json!(3));
                let carried = object["spec"]["acquireTime"].clone();
                assert_eq!(*mark.get_or_insert_with(|| carried.clone()), carried);
                candidate.keeping(&object);
                version += 1;
                let answer = if version == 12 { Err(LockError::unknown("lost")) } else { Ok(stored(&object, version)) };
                candidate.on_kept(answer, at(now));
                if version == 12 {
                    sees(&mut candidate, stored(&object, version), now + 0.1);
                }
            }
            Step::Wait(_) => {}
            Step::Read => {
                let shown = candidate.lease().unwrap().clone();
                sees(&mut candidate, shown, now);
            }
            other => panic!("{other:?} at {now}"),
        }
        now += 0.25;
    }
    assert_eq!(until(&candidate), at(16.0), "the wait has begun anew");
    assert!(version >= 17, "kept {} times", version - 10);
    candidate.look_at = at(1e6);
    let Step::TakeOver(object) = candidate.decide(at(16.0), wall(116)) else { panic!("must claim") };
    assert_eq!(object["metadata"]["resourceVersion"], json!(version.to_string()));
    assert_eq!(object["spec"]["leaseTransitions"], json!(4));
    candidate.sending(&object, at(16.0));
    assert!(candidate.on_claimed(Ok(stored(&object, version + 1)), at(16.1)).is_some());
}

/// Goal: the last holder is waited for as long as it had asked for, not as the naming says. Method: a holder of 40 s, named over.
#[test]
fn the_last_holder_is_waited_for() {
    let mut candidate = candidate(false);
    sees(&mut candidate, lease(9, "a", 40, 3, Some("then")), 1.0);
    sees(&mut candidate, named(10, 3), 3.0);
    assert_eq!(until(&candidate), at(43.0));
}

/// Goal: no wait after a release of the very term that was seen; any doubt about that costs the wait. Method: the marker, with a holder
/// that was seen, one that wasn't, one that came later, and another count.
#[test]
fn a_release_is_believed_only_of_a_term_that_was_seen() {
    let holder = |version| lease(version, "a", 15, 3, Some("then"));
    let cases = [
        ("seen", Some(holder(8)), marked(12, ME, "a 7"), true),
        ("not seen", None, marked(12, ME, "a 7"), false),
        ("another's", Some(lease(8, "b", 15, 3, None)), marked(12, ME, "a 7"), false),
        ("a later one's", Some(holder(8)), marked(12, ME, "a 9"), false),
        ("no marker", Some(holder(8)), named(12, 3), false),
        ("a term since", Some(holder(8)), lease(12, ME, 5, 4, None), false),
    ];
    for (what, before, now, believed) in cases {
        let mut candidate = candidate(false);
        if let Some(before) = before {
            sees(&mut candidate, before, 1.0);
        }
        sees(&mut candidate, now, 2.0);
        assert_eq!(until(&candidate) == at(2.0), believed, "{what}");
    }
}

/// Goal: what was waited out before the naming isn't waited out again, unless a term was begun meanwhile or the last look was too early.
/// Method: a silent holder, looked at again after so long.
#[test]
fn a_wait_before_the_naming_counts() {
    for (looked_again, transitions, at_once) in [(16.5, 3, true), (15.5, 3, false), (16.5, 4, false)] {
        let mut candidate = candidate(false);
        sees(&mut candidate, lease(9, "a", 15, 3, Some("then")), 1.0);
        sees(&mut candidate, lease(9, "a", 15, 3, Some("then")), looked_again);
        sees(&mut candidate, named(10, transitions), 18.0);
        assert_eq!(until(&candidate) == at(18.0), at_once, "{looked_again} {transitions}");
    }
    // Another candidate that was named for five seconds hides whoever came before.
    let mut candidate = candidate(false);
    sees(&mut candidate, lease(9, "b", 5, 3, None), 1.0);
    sees(&mut candidate, lease(9, "b", 5, 3, None), 8.0);
    sees(&mut candidate, named(10, 3), 9.0);
    assert_eq!(until(&candidate), at(24.0));
}

/// Goal: a naming that isn't the one that was kept begins the wait anew, and so does a term of one's own that has ended. Method: both.
#[test]
fn another_naming_is_another_wait() {
    let mut candidate = candidate(false);
    sees(&mut candidate, named(10, 3), 1.0);
    let Step::Keep(object) = candidate.decide(at(1.0), wall(100)) else { panic!("must keep") };
    candidate.keeping(&object);
    candidate.on_kept(Ok(stored(&object, 11)), at(1.1));
    sees(&mut candidate, named(15, 3), 9.0);
    assert_eq!(until(&candidate), at(24.0));
    candidate.rest(at(30.0), at(31.0));
    sees(&mut candidate, named(15, 3), 30.5);
    assert_eq!(until(&candidate), at(45.5));
    sees(&mut candidate, lease(16, "b", 5, 3, None), 31.0);
    assert!(candidate.naming.is_none());
}

/// Goal: a first install begins at once if it was declared and nobody has begun before. Method: the first sights of a new Lease.
#[test]
fn a_first_install_begins_at_once() {
    for (declared, missing, transitions, at_once) in
        [(true, true, 0, true), (false, true, 0, false), (true, false, 0, false), (true, true, 1, false)]
    {
        let mut candidate = candidate(declared);
        if missing {
            candidate.on_read(Err(LockError::Missing), at(0.5));
        }
        sees(&mut candidate, named(10, transitions), 1.0);
        assert_eq!(until(&candidate) == at(1.0), at_once, "{declared} {missing} {transitions}");
    }
}
