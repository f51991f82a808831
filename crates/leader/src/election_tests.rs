//! Tests of `election.rs`: one table a rule, on a clock that is just a number.

use super::*;
use crate::timings::Timings;
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> GateInstant {
    GateInstant::from_nanos(1_000) + Duration::from_secs_f64(seconds)
}

fn wall() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn candidate(first_install: bool) -> Candidate {
    let fixed = Standpoint { first_install, ..Standpoint::example() };
    Candidate::new(fixed, 1)
}

fn lease(uid: &str, version: u64, spec: Value) -> Lease {
    let object = json!({"metadata": {"uid": uid, "resourceVersion": version.to_string(), "name": "n", "namespace": "ns"}, "spec": spec});
    Lease::parse(object).unwrap()
}

fn by(holder: &str) -> Value {
    json!({"holderIdentity": holder, "leaseDurationSeconds": 20, "leaseTransitions": 3})
}

fn marked(uid: &str, version: u64, marker: &str) -> Lease {
    let mut object = lease(uid, version, by("")).object().clone();
    object["metadata"]["annotations"] =
        json!({"watchkeeper.dev/released": marker, "watchkeeper.dev/released-transitions": "3"});
    Lease::parse(object).unwrap()
}

/// The first time at which the candidate would claim, judged by steps of a millisecond around `expected`.
fn claims_at(candidate: &mut Candidate, expected: f64) {
    // Looks are held off, so that only the wait shows.
    candidate.look_at = at(1e6);
    let before = candidate.decide(at(expected - 0.001), wall());
    assert!(matches!(before, Step::Wait(_)), "too early: {before:?}");
    let then = candidate.decide(at(expected), wall());
    assert!(matches!(then, Step::TakeOver(_)), "too late: {then:?}");
}

/// Goal: C1, the wait counts from the receipt of the read that first showed the present uid and version.
/// Method: reads of the same, of another version, and of another uid.
#[test]
fn any_change_restarts_the_wait() {
    let mut candidate = candidate(false);
    assert_eq!(candidate.decide(at(0.0), wall()), Step::Read);
    candidate.on_read(Ok(lease("u", 5, by("a"))), at(1.0));
    claims_at(&mut candidate, 21.0);
    candidate.on_read(Ok(lease("u", 5, by("a"))), at(9.0));
    claims_at(&mut candidate, 21.0);
    candidate.on_read(Ok(lease("u", 6, by("a"))), at(12.0));
    claims_at(&mut candidate, 32.0);
    candidate.on_read(Ok(lease("w", 6, by("a"))), at(14.0));
    claims_at(&mut candidate, 34.0);
    // A read that goes back (from a lagging replica) restarts it as well.
    candidate.on_read(Ok(lease("w", 5, by("a"))), at(16.0));
    claims_at(&mut candidate, 36.0);
    // An error is no observation.
    candidate.on_read(Err(LockError::unknown("?")), at(30.0));
    claims_at(&mut candidate, 36.0);
}

/// Goal: a takeover is for exactly what was waited for. Method: look at the body.
#[test]
fn takeover_carries_uid_and_version() {
    let mut candidate = candidate(false);
    candidate.on_read(Ok(lease("u", 5, by("a"))), at(1.0));
    candidate.look_at = at(1e6);
    let Step::TakeOver(object) = candidate.decide(at(100.0), wall()) else { panic!("no takeover") };
    assert_eq!(object["metadata"]["uid"], "u");
    assert_eq!(object["metadata"]["resourceVersion"], "5");
    assert_eq!(object["spec"]["holderIdentity"], candidate.fixed.identity.as_str());
    assert_eq!(object["spec"]["leaseTransitions"], 4);
    assert_eq!(object["spec"]["leaseDurationSeconds"], 15);
}

/// Goal: C2, an edit can't cut short the wait for a holder whose duration was seen. Method: shorten it in every way.
#[test]
fn the_longest_duration_of_a_term_counts() {
    for shortened in [json!(1), json!(0), json!(-1), json!(null)] {
        let mut candidate = candidate(false);
        candidate.on_read(Ok(lease("u", 5, by("a"))), at(0.0));
        let mut spec = by("a");
        spec["leaseDurationSeconds"] = shortened;
        candidate.on_read(Ok(lease("u", 6, spec)), at(2.0));
        claims_at(&mut candidate, 22.0);
    }
    // In another holder's term its own counts.
    let mut candidate = candidate(false);
    candidate.on_read(Ok(lease("u", 5, marked_then("a"))), at(0.0));
    claims_at(&mut candidate, 4.0);
}

fn marked_then(holder: &str) -> Value {
    json!({"holderIdentity": holder, "leaseDurationSeconds": 4, "leaseTransitions": 3})
}

/// Goal: whatever hides a holder without a proper release, that holder is waited out from when it was hidden.
/// Method: a holder of 20 s, seen at 0 and hidden at 5 in each way; the candidate's own duration is 15 s.
#[test]
fn a_hidden_holder_is_waited_out() {
    let short = json!({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 3});
    for hidden in [
        // Blanked, or released as client-go does.
        lease("u", 6, by("")),
        lease("u", 6, short),
        // Another holder with a short duration, and the same holder in another Lease.
        lease("u", 6, json!({"holderIdentity": "b", "leaseDurationSeconds": 1})),
        lease("w", 6, json!({"holderIdentity": "a", "leaseDurationSeconds": 1})),
        // Recreated from a backup of a released Lease; a marker of an older term; one that lies about its time.
        marked("w", 6, "a 5"),
        marked("u", 6, "b 4"),
        marked("u", 6, "a 6"),
    ] {
        let mut candidate = candidate(false);
        candidate.on_read(Ok(lease("u", 5, by("a"))), at(0.0));
        candidate.on_read(Ok(hidden), at(5.0));
        claims_at(&mut candidate, 25.0);
    }
}

/// Goal: C3, a proper release is taken at once. Method: markers of the term seen, of a later one, and of one never seen.
#[test]
fn a_proper_release_is_not_waited_out() {
    for (seen, released) in [
        (Some(lease("u", 5, by("a"))), marked("u", 7, "a 4")),
        (Some(lease("u", 5, by("a"))), marked("u", 7, "a 5")),
        (Some(lease("u", 5, by("a"))), marked("u", 9, "b 7")),
        (None, marked("u", 7, "a 4")),
    ] {
        let mut candidate = candidate(false);
        if let Some(seen) = seen {
            candidate.on_read(Ok(seen), at(0.0));
        }
        candidate.on_read(Ok(released), at(5.0));
        claims_at(&mut candidate, 5.0);
    }
}

/// Goal: a missing Lease is put down vacant, for as long as the last holder could act, and then waited out.
/// Method: delete under a holder of 20 s.
#[test]
fn a_missing_lease_is_put_down_and_waited_out() {
    let mut candidate = candidate(false);
    candidate.on_read(Ok(lease("u", 5, by("a"))), at(0.0));
    candidate.on_read(Err(LockError::Missing), at(5.0));
    candidate.look_at = at(1e6);
    let Step::PutDown(object) = candidate.decide(at(5.0), wall()) else { panic!("not put down") };
    assert_eq!(object["spec"], json!({"leaseDurationSeconds": 20}));
    candidate.on_put_down(Ok(lease("w", 9, object["spec"].clone())), at(6.0));
    claims_at(&mut candidate, 26.0);
}

/// Goal: a first install is believed only while no Lease was ever seen. Method: with and without one before.
#[test]
fn first_install_is_only_first() {
    let mut fresh = candidate(true);
    fresh.on_read(Err(LockError::Missing), at(0.0));
    assert!(matches!(fresh.decide(at(0.0), wall()), Step::Create(_)));
    let mut experienced = candidate(true);
    experienced.on_read(Ok(lease("u", 5, by("a"))), at(0.0));
    experienced.on_read(Err(LockError::Missing), at(1.0));
    assert!(matches!(experienced.decide(at(1.0), wall()), Step::PutDown(_)));
    // A first install that lost the race looks at who has won.
    fresh.sending(&json!({"spec": {"acquireTime": "x"}}), at(0.0));
    assert_eq!(fresh.on_claimed(Err(LockError::Conflict), at(1.0)), None);
    assert_eq!(fresh.decide(at(1.0), wall()), Step::Read);
}

/// What the server stores of a claim.
fn stored(claim: &Value, uid: &str, version: u64) -> Lease {
    lease(uid, version, claim["spec"].clone())
}

/// Goal: a claim whose answer was lost is recognised when it is read, and claimed again at once. Method: lose the answer.
#[test]
fn a_lost_answer_is_recognised() {
    let mut candidate = candidate(false);
    candidate.on_read(Ok(lease("u", 5, by("a"))), at(0.0));
    candidate.look_at = at(1e6);
    let Step::TakeOver(claim) = candidate.decide(at(20.0), wall()) else { panic!("no takeover") };
    candidate.sending(&claim, at(20.0));
    assert_eq!(candidate.on_claimed(Err(LockError::unknown("lost")), at(23.0)), None);
    // Not again before it has looked.
    assert!(matches!(candidate.decide(at(23.0), wall()), Step::Wait(_)));
    assert_eq!(candidate.decide(at(24.0), wall()), Step::Read);
    candidate.on_read(Ok(stored(&claim, "u", 6)), at(24.0));
    claims_at(&mut candidate, 24.0);
}

/// Goal: a candidate whose claims are committed and never answered doesn't keep the others off for ever, nor trusts a record of
/// its own for longer than nobody else can have held the Lease. Method: lose every answer; count from the first claim.
#[test]
fn an_own_claim_is_trusted_for_a_renew_deadline() {
    let mut candidate = candidate(false);
    let Timings { renew_deadline, lease_duration, .. } = candidate.fixed.timings;
    candidate.on_read(Ok(lease("u", 5, by("a"))), at(0.0));
    let (first, mut now, mut version) = (at(20.0), at(20.0), 6);
    candidate.look_at = at(1e6);
    while let Step::TakeOver(claim) = candidate.decide(now, wall()) {
        candidate.sending(&claim, now);
        candidate.on_claimed(Err(LockError::unknown("lost")), now + SECOND);
        now = now + SECOND;
        candidate.on_read(Ok(stored(&claim, "u", version)), now);
        candidate.look_at = at(1e6);
        version += 1;
    }
    assert_eq!(first.until(now), renew_deadline);
    assert_eq!(candidate.decide(now, wall()), Step::Wait(now + lease_duration));
}

/// Goal: the own name in a record that this candidate hasn't written is somebody else's. Method: another incarnation's
/// record, before any claim, after a refused claim, and after a lost claim.
#[test]
fn the_own_name_proves_nothing() {
    let theirs = |version| {
        let mut spec = by(candidate(false).fixed.identity.as_str());
        spec["acquireTime"] = json!("2026-01-01T00:00:00.000000Z");
        lease("u", version, spec)
    };
    let mut fresh = candidate(false);
    fresh.on_read(Ok(theirs(5)), at(0.0));
    claims_at(&mut fresh, 20.0);
    for answer in [LockError::Conflict, LockError::unknown("lost")] {
        let mut other = candidate(false);
        other.on_read(Ok(lease("u", 5, by("a"))), at(0.0));
        other.look_at = at(1e6);
        let Step::TakeOver(claim) = other.decide(at(20.0), wall()) else { panic!("no takeover") };
        other.sending(&claim, at(20.0));
        other.on_claimed(Err(answer), at(21.0));
        other.on_read(Ok(theirs(6)), at(22.0));
        // Twenty seconds are the longer one of theirs and the hidden holder's.
        claims_at(&mut other, 42.0);
    }
}

/// Goal: an answer wins only if it shows a new version of the same Lease with the own name. Method: a table of answers.
#[test]
fn what_wins() {
    let me = candidate(false).fixed.identity.to_string();
    for (answer, won) in [
        (lease("u", 6, by(&me)), true),
        (lease("u", 6, by("webhook")), false),
        (lease("w", 6, by(&me)), false),
        (lease("u", 5, by(&me)), false),
    ] {
        let mut candidate = candidate(false);
        candidate.on_read(Ok(lease("u", 5, by("a"))), at(0.0));
        candidate.sending(&json!({"metadata": {"uid": "u"}, "spec": {"acquireTime": "x"}}), at(20.0));
        assert_eq!(candidate.on_claimed(Ok(answer.clone()), at(21.0)).is_some(), won, "{answer:?}");
    }
}

/// Goal: after an own term others come first, and the last effect is over. Method: rest, and look when it claims.
#[test]
fn a_rest_after_a_term() {
    let mut candidate = candidate(false);
    candidate.on_read(Ok(marked("u", 7, "a 4")), at(0.0));
    candidate.rest(at(10.0), at(11.0));
    assert_eq!(candidate.decide(at(10.0), wall()), Step::Read);
    candidate.on_read(Ok(marked("u", 7, "a 4")), at(10.0));
    claims_at(&mut candidate, 14.0);
    candidate.rest(at(10.0), at(17.0));
    candidate.on_read(Ok(marked("u", 7, "a 4")), at(10.0));
    claims_at(&mut candidate, 17.0);
}

/// Goal: errors never make a hot loop, and a server's wish is heard but bounded. Method: each error, and the next step.
#[test]
fn errors_are_patient() {
    let throttled = |seconds| LockError::Refused {
        code: 429,
        message: String::new(),
        retry_after: Some(Duration::from_secs(seconds)),
    };
    for (error, pause) in [
        (LockError::unknown("?"), 2.0),
        (throttled(0), 0.5),
        (throttled(1), 1.0),
        (throttled(86_400), 2.0),
        (LockError::Refused { code: 403, message: String::new(), retry_after: None }, 2.0),
    ] {
        let mut candidate = candidate(false);
        candidate.on_read(Err(error.clone()), at(0.0));
        assert_eq!(candidate.decide(at(0.0), wall()), Step::Wait(at(0.0) + SECOND.mul_f64(pause)), "{error:?}");
        candidate.on_put_down(Err(error.clone()), at(0.0));
        assert_eq!(candidate.decide(at(0.0), wall()), Step::Wait(at(0.0) + SECOND.mul_f64(pause)), "{error:?}");
    }
}

/// Goal: a wish to hand over that is refused again and again, by edits of others or a lagging replica, is no storm. Method: answers as fast as they can be.
#[test]
fn refused_wishes_are_no_storm() {
    for edited in [false, true] {
        let mut candidate = candidate(false);
        candidate.set_stance(Some(Stance::Prefer));
        let (mut now, mut requests) = (0.0, 0);
        while now < 10.0 {
            match candidate.decide(at(now), wall()) {
                Step::Read => {
                    let version = if edited { 5 + requests } else { 5 + now as u64 / 2 };
                    candidate.on_read(Ok(lease("u", version, by("a"))), at(now + 0.002));
                    requests += 1;
                }
                Step::Ask(_) => {
                    candidate.on_asked(Err(LockError::Conflict), at(now + 0.002));
                    requests += 1;
                }
                Step::Wait(_) => {}
                other => panic!("{other:?}"),
            }
            now += 0.002;
        }
        assert!(requests < 40, "edited {edited}: {requests} requests in ten seconds");
    }
}
