//! Tests of `tenure.rs`: what each answer means for a term.

use super::*;
use crate::identity::Identity;
use serde_json::json;

fn at(seconds: f64) -> GateInstant {
    GateInstant::from_nanos(1_000) + Duration::from_secs_f64(seconds)
}

fn me() -> Identity {
    Identity::from_parts("me", 1, 1).unwrap()
}

fn lease(uid: &str, version: u64, holder: &str) -> Lease {
    let object = json!({"metadata": {"uid": uid, "resourceVersion": version.to_string(), "labels": {"v": version.to_string()}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3}});
    Lease::parse(object).unwrap()
}

fn mine(version: u64) -> Lease {
    lease("u", version, me().as_str())
}

fn tenure() -> Tenure {
    Tenure::new(Standpoint::example(), mine(10), at(0.0))
}

fn renews(tenure: &Tenure, now: f64) -> Value {
    match tenure.decide(at(now), Timestamp::UNIX_EPOCH) {
        Duty::Renew(object) => object,
        other => panic!("{other:?}"),
    }
}

/// Goal: H1, a success counts from its sending, and the next renewal is due one period after it. Method: a slow answer.
#[test]
fn renewals_count_from_their_sending() {
    let mut tenure = tenure();
    assert_eq!(tenure.epoch(), Epoch::new(10));
    assert_eq!(tenure.decide(at(1.0), Timestamp::UNIX_EPOCH), Duty::Wait(at(2.0)));
    assert_eq!(renews(&tenure, 2.0)["metadata"]["resourceVersion"], "10");
    assert_eq!(tenure.on_renewed(Ok(mine(11)), at(2.0), at(3.5)), Verdict::Renewed(at(2.0)));
    assert_eq!(tenure.decide(at(3.5), Timestamp::UNIX_EPOCH), Duty::Wait(at(4.0)));
    // Slower than a period: at once, but not before the answer.
    assert_eq!(tenure.on_renewed(Ok(mine(12)), at(4.0), at(6.9)), Verdict::Renewed(at(4.0)));
    assert_eq!(renews(&tenure, 6.9)["metadata"]["resourceVersion"], "12");
    assert_eq!(tenure.epoch(), Epoch::new(10));
}

/// Goal: H2 and H1 for every other answer. Method: a table of answers to a renewal and to a re-read.
#[test]
fn what_ends_a_term() {
    let cases: [(Result<Lease, LockError>, Verdict); 8] = [
        (Ok(lease("u", 11, "other")), Verdict::Lost(Loss::Overwritten("other".to_owned()))),
        (Ok(lease("u", 11, "")), Verdict::Lost(Loss::Overwritten(String::new()))),
        (Ok(lease("w", 11, me().as_str())), Verdict::Lost(Loss::Recreated)),
        (Err(LockError::Missing), Verdict::Lost(Loss::Deleted)),
        (Err(LockError::unknown("?")), Verdict::Open),
        (Err(LockError::Refused { code: 403, message: String::new(), retry_after: None }), Verdict::Open),
        (Err(LockError::Refused { code: 429, message: String::new(), retry_after: None }), Verdict::Open),
        (Err(LockError::Conflict), Verdict::Open),
    ];
    for (answer, verdict) in cases {
        assert_eq!(tenure().on_renewed(answer.clone(), at(2.0), at(2.1)), verdict, "renewal: {answer:?}");
        assert_eq!(tenure().on_read(answer.clone(), at(2.1)), verdict, "read: {answer:?}");
    }
    // A success without a new version has shown others nothing.
    assert_eq!(tenure().on_renewed(Ok(mine(10)), at(2.0), at(2.1)), Verdict::Open);
}

/// Goal: a conflict is looked at once at once, its edit is preserved, and a storm of edits isn't answered by a storm.
/// Method: conflicts in a row.
#[test]
fn a_conflict_is_read_and_renewed_on_top() {
    let mut tenure = tenure();
    tenure.on_renewed(Err(LockError::Conflict), at(2.0), at(2.1));
    assert_eq!(tenure.decide(at(2.1), Timestamp::UNIX_EPOCH), Duty::Read);
    assert_eq!(tenure.on_read(Ok(mine(15)), at(2.2)), Verdict::Open);
    let body = renews(&tenure, 2.2);
    assert_eq!(body["metadata"]["resourceVersion"], "15");
    assert_eq!(body["metadata"]["labels"]["v"], "15");
    tenure.on_renewed(Err(LockError::Conflict), at(2.2), at(2.3));
    assert_eq!(tenure.decide(at(2.3), Timestamp::UNIX_EPOCH), Duty::Wait(at(2.8)));
    assert_eq!(tenure.decide(at(2.8), Timestamp::UNIX_EPOCH), Duty::Read);
    // A failed read is repeated as a read.
    assert_eq!(tenure.on_read(Err(LockError::unknown("?")), at(3.0)), Verdict::Open);
    assert_eq!(tenure.decide(at(3.5), Timestamp::UNIX_EPOCH), Duty::Read);
}

/// Goal: errors are retried soon but not at once, and a server's wish is bounded by the retry period. Method: a table.
#[test]
fn errors_leave_time_for_another_try() {
    let wish = |seconds| LockError::Unknown { message: String::new(), retry_after: Some(Duration::from_secs(seconds)) };
    for (error, pause) in [(LockError::unknown("?"), 0.5), (wish(0), 0.5), (wish(1), 1.0), (wish(9_999), 2.0)] {
        let mut tenure = tenure();
        tenure.on_renewed(Err(error.clone()), at(2.0), at(5.0));
        assert_eq!(tenure.decide(at(5.0), Timestamp::UNIX_EPOCH), Duty::Wait(at(5.0 + pause)), "{error:?}");
        // Of the same version: if the lost one was committed, this is a conflict, and nothing is overwritten.
        assert_eq!(renews(&tenure, 5.0 + pause)["metadata"]["resourceVersion"], "10");
    }
}

/// Goal: a release is a compare-and-swap on the own last version, with the marker of this term. Method: look at the body.
#[test]
fn release_is_of_the_own_last_version() {
    let mut tenure = tenure();
    tenure.on_renewed(Ok(mine(11)), at(2.0), at(2.1));
    let body = tenure.release(None, Timestamp::UNIX_EPOCH);
    assert_eq!(body["metadata"]["resourceVersion"], "11");
    assert_eq!(body["metadata"]["uid"], "u");
    assert_eq!(body["spec"]["holderIdentity"], "");
    assert_eq!(body["spec"]["leaseTransitions"], 3);
    assert_eq!(body["metadata"]["annotations"]["watchkeeper.dev/released"], format!("{} 10", me()));
}

/// A server's Lease: a renewal of the version that is there is stored, any other conflicts.
struct Stored(Lease);

impl Stored {
    fn renew(&mut self, object: &Value) -> Result<Lease, LockError> {
        if object["metadata"]["resourceVersion"] != self.0.object()["metadata"]["resourceVersion"] {
            return Err(LockError::Conflict);
        }
        self.edit(|stored| *stored = object.clone());
        Ok(self.0.clone())
    }

    fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let next = self.0.version().number() + 1;
        let mut object = self.0.object().clone();
        change(&mut object);
        object["metadata"]["resourceVersion"] = json!(next.to_string());
        self.0 = Lease::parse(object).unwrap();
    }
}

/// One turn of a holder at `now`: renews, and looks after a conflict; then renews on top.
fn turn(tenure: &mut Tenure, stored: &mut Stored, now: f64) -> Verdict {
    let wall = Timestamp::from_millisecond((now * 1e3) as i64).unwrap();
    loop {
        let verdict = match tenure.decide(at(now), wall) {
            Duty::Renew(object) => tenure.on_renewed(stored.renew(&object), at(now), at(now)),
            Duty::Read => tenure.on_read(Ok(stored.0.clone()), at(now)),
            Duty::Wait(_) => return Verdict::Open,
        };
        if verdict != Verdict::Open {
            return verdict;
        }
    }
}

/// Goal: of two copies of one holder, as of a virtual machine, one goes on. Method: both renew in turns.
#[test]
fn twins_part() {
    let (mut one, mut other, mut stored) = (tenure(), tenure(), Stored(mine(10)));
    let mut lost = Vec::new();
    for round in 0_u32..10 {
        let now = 2.0 + f64::from(round) * 2.0;
        if turn(&mut one, &mut stored, now) == Verdict::Lost(Loss::Twin) {
            lost.push(("one", round));
        }
        if lost.is_empty() && turn(&mut other, &mut stored, now + 0.7) == Verdict::Lost(Loss::Twin) {
            lost.push(("other", round));
        }
    }
    assert_eq!(lost, [("other", 1)]);
}

/// Goal: edits of the time, and renewals of the own whose answer was lost, are no twin. Method: each of them, time after time.
#[test]
fn no_twin() {
    let (mut tenure, mut stored) = (tenure(), Stored(mine(10)));
    for round in 0_u32..10 {
        stored.edit(|object| object["spec"]["renewTime"] = json!("2099-01-01T00:00:00.000000Z"));
        let now = 2.0 + f64::from(round) * 2.0;
        assert_eq!(turn(&mut tenure, &mut stored, now), Verdict::Renewed(at(now)));
    }
    for round in 0_u32..10 {
        let now = 22.0 + f64::from(round) * 3.0;
        let object = renews(&tenure, now);
        stored.renew(&object).unwrap();
        assert_eq!(tenure.on_renewed(Err(LockError::unknown("lost")), at(now), at(now)), Verdict::Open);
        let again = now + 0.6;
        assert_eq!(turn(&mut tenure, &mut stored, again), Verdict::Renewed(at(again)));
    }
}
