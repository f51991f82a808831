//! `leaderelection_test.go`, by name.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use watchkeeper_leader::{End, Identity, IdentityError, LockError, RELEASED_ANNOTATION, Timings, TimingsError};

use crate::config::config;
use crate::rig::{AND_THEN, Rig, SECOND, foreign, lease, released};
use crate::scripted::Spoil;

/// Upstream creates a missing Lease, held, at once. Here that is for a first install only: one that may have been deleted
/// under its holder is put down vacant, and waited out.
#[tokio::test(start_paused = true)]
async fn acquire_from_no_object() {
    let mut rig = Rig::first_install();
    assert!(rig.wins_after().await < SECOND);
    assert_eq!(rig.verbs(), ["get", "create"]);
    assert_eq!(rig.spec("leaseTransitions"), json!(0));
    let mut rig = Rig::new(None);
    assert!(rig.wins_after().await >= 15 * SECOND);
    assert_eq!(rig.verbs(), ["get", "create", "get", "update"]);
    assert_eq!(rig.spec("leaseTransitions"), json!(1));
}

/// An empty record counts a transition. It is waited out: it doesn't say who had it.
#[tokio::test(start_paused = true)]
async fn acquire_from_object_without_annotations() {
    let mut rig = Rig::new(Some(lease(json!(null))));
    let after = rig.wins_after().await;
    assert!((15 * SECOND..18 * SECOND).contains(&after), "{after:?}");
    assert_eq!(rig.verbs(), ["get", "update"]);
    assert_eq!(rig.spec("leaseTransitions"), json!(1));
}

#[tokio::test(start_paused = true)]
async fn acquire_from_led_object_with_the_lease_duration_seconds() {
    let mut rig = Rig::new(Some(foreign(3)));
    let after = rig.wins_after().await;
    assert!((3 * SECOND..6 * SECOND).contains(&after), "{after:?}");
    assert_eq!(rig.verbs(), ["get", "update"]);
    assert_eq!(rig.spec("leaseDurationSeconds"), json!(15));
    assert_eq!(rig.spec("leaseTransitions"), json!(5));
}

/// At once only after a proper release. A blank holder alone (client-go's release, an edit) is waited out.
#[tokio::test(start_paused = true)]
async fn acquire_from_unled_object() {
    let mut rig = Rig::new(Some(released()));
    assert!(rig.wins_after().await < SECOND);
    assert_eq!(rig.verbs(), ["get", "update"]);
    assert_eq!(rig.spec("leaseTransitions"), json!(5));
    let mut rig = Rig::new(Some(lease(json!({ "holderIdentity": "", "leaseTransitions": 4 }))));
    assert!(rig.wins_after().await >= 15 * SECOND);
    assert_eq!(rig.spec("leaseTransitions"), json!(5));
}

#[tokio::test(start_paused = true)]
async fn acquire_from_led_unacked_object() {
    let mut rig = Rig::new(Some(foreign(15)));
    let after = rig.wins_after().await;
    assert!((15 * SECOND..18 * SECOND).contains(&after), "{after:?}");
    assert_eq!(rig.verbs(), ["get", "update"]);
}

/// Times that others wrote are never read, so that one in the future changes nothing.
#[tokio::test(start_paused = true)]
async fn acquire_from_empty_led_acked_object() {
    let mut object = released();
    object["spec"]["renewTime"] = json!("2099-01-01T00:00:00.000000Z");
    object["spec"]["acquireTime"] = json!("2099-01-01T00:00:00.000000Z");
    let mut rig = Rig::new(Some(object));
    assert!(rig.wins_after().await < SECOND);
}

#[tokio::test(start_paused = true)]
async fn dont_acquire_from_led_acked_object() {
    let rig = Rig::new(Some(foreign(15)));
    for renewal in 0..60 {
        sleep(14 * SECOND).await;
        let mut object = foreign(15);
        object["spec"]["renewTime"] = json!(format!("1999-01-01T00:{renewal:02}:00.000000Z"));
        rig.server.put(Some(object));
    }
    assert_eq!(rig.verbs(), ["get"]);
}

#[tokio::test(start_paused = true)]
async fn renew_already_acquired_object() {
    let mut rig = Rig::new(Some(released()));
    let standing = rig.term().await;
    let won = rig.server.object().unwrap();
    sleep(20 * SECOND + AND_THEN).await;
    assert_eq!(rig.verbs().len(), 2 + 10);
    for same in ["holderIdentity", "acquireTime", "leaseTransitions", "leaseDurationSeconds"] {
        assert_eq!(rig.spec(same), won["spec"][same], "{same}");
    }
    assert_ne!(rig.spec("renewTime"), won["spec"]["renewTime"]);
    assert!(standing.term().is_open());
}

/// Upstream turns a Lease into a record and back. Here there is one form, and what isn't the election's stays as it is.
#[tokio::test(start_paused = true)]
async fn lease_spec_to_leader_election_record_round_trip() {
    let mut object = released();
    object["spec"]["strategy"] = json!("OldestEmulationVersion");
    object["spec"]["preferredHolder"] = json!("somebody");
    object["spec"]["fieldOfTomorrow"] = json!({ "deep": [1, null, 2.5, "x"] });
    object["metadata"]["labels"] = json!({ "l": "1" });
    object["metadata"]["annotations"]["theirs"] = json!("1");
    object["metadata"]["finalizers"] = json!(["f"]);
    let mut rig = Rig::new(Some(object.clone()));
    let standing = rig.term().await;
    sleep(5 * SECOND).await;
    standing.end(End::Release).await;
    let last = rig.server.object().unwrap();
    assert_eq!(last["spec"]["holderIdentity"], json!(""));
    for kept in ["strategy", "preferredHolder", "fieldOfTomorrow"] {
        assert_eq!(last["spec"][kept], object["spec"][kept], "{kept}");
    }
    for kept in ["labels", "finalizers", "name", "namespace"] {
        assert_eq!(last["metadata"][kept], object["metadata"][kept], "{kept}");
    }
    assert_eq!(last["metadata"]["annotations"]["theirs"], json!("1"));
}

/// With a marker, by which others know that the work has stopped.
#[tokio::test(start_paused = true)]
async fn release_lease_leases() {
    let mut rig = Rig::new(Some(foreign(3)));
    let standing = rig.term().await;
    let epoch = standing.term().epoch();
    standing.end(End::Release).await;
    assert_eq!(rig.spec("holderIdentity"), json!(""));
    assert_eq!(rig.spec("leaseDurationSeconds"), json!(1));
    assert_eq!(rig.spec("leaseTransitions"), json!(5));
    let marker = rig.server.object().unwrap()["metadata"]["annotations"][RELEASED_ANNOTATION].clone();
    assert_eq!(marker, json!(format!("{} {epoch}", rig.me)));
}

/// Upstream ends its term by a cancelled context, and releases whatever was under way. Here the owner ends it, after its
/// work: while a renewal is under way, while a look is, and while the claim is that wins it.
#[tokio::test(start_paused = true)]
async fn release_on_cancellation_leases() {
    let conflict = || Some(Spoil::Before(LockError::Conflict));
    let scripts = [vec![Some(Spoil::Hang { commits: false })], vec![conflict(), Some(Spoil::Hang { commits: false })]];
    for script in scripts {
        let mut rig = Rig::new(Some(released()));
        let standing = rig.term().await;
        let token = standing.term().cancelled();
        rig.server.0.lock().script = script.into();
        sleep(2 * SECOND + AND_THEN).await;
        rig.stop.cancel();
        assert!(!token.is_cancelled());
        standing.end(End::Release).await;
        assert!(token.is_cancelled());
        assert_eq!(rig.spec("holderIdentity"), json!(""));
        assert!(rig.ends().await);
    }
    // Won for nobody: nothing has begun, so it is given back.
    let rig = Rig::new(Some(released()));
    rig.server.0.lock().script = vec![None, Some(Spoil::Late(SECOND))].into();
    sleep(AND_THEN).await;
    assert_eq!(rig.verbs(), ["get", "update"]);
    let server = rig.server.clone();
    assert!(rig.ends().await);
    assert_eq!(server.object().unwrap()["spec"]["holderIdentity"], json!(""));
}

#[test]
fn leader_election_config_validation() {
    let identity = Identity::from_parts("me", 1, 1).unwrap();
    config(identity.clone(), Timings::default(), false, 1).check().unwrap();
    assert_eq!(Identity::from_parts("", 1, 1), Err(IdentityError::Empty));
    let timings = Timings { renew_deadline: 15 * SECOND, ..Timings::default() };
    assert!(matches!(timings.check(), Err(TimingsError::Overlap(_))));
    assert!(config(identity, timings, false, 1).check().is_err());
}

/// A holder writes without reading, until somebody else has written: then it reads once.
#[tokio::test(start_paused = true)]
async fn fast_path_leader_election() {
    let mut rig = Rig::first_install();
    let standing = rig.term().await;
    sleep(4 * SECOND + AND_THEN).await;
    assert_eq!(rig.verbs(), ["get", "create", "update", "update"]);
    rig.server.0.lock().calls.clear();
    let mut object = rig.server.object().unwrap();
    object["metadata"]["labels"] = json!({ "theirs": "1" });
    rig.server.put(Some(object));
    let edited = Instant::now();
    sleep(4 * SECOND).await;
    assert_eq!(rig.verbs(), ["update", "get", "update", "update"], "{:?}", edited.elapsed());
    assert!(standing.term().is_open());
}

/// A conflict may be an edit of labels: the Lease is read, and given back if it is still this term's.
#[tokio::test(start_paused = true)]
async fn release_retries_on_conflict() {
    let mut rig = Rig::first_install();
    let standing = rig.term().await;
    let mut object = rig.server.object().unwrap();
    object["metadata"]["labels"] = json!({ "theirs": "1" });
    rig.server.put(Some(object));
    rig.server.0.lock().calls.clear();
    standing.end(End::Release).await;
    assert_eq!(rig.verbs()[..3], ["update", "get", "update"]);
    assert_eq!(rig.spec("holderIdentity"), json!(""));
    assert_eq!(rig.server.object().unwrap()["metadata"]["labels"]["theirs"], json!("1"));
}

/// Well is who leads and renews, and who doesn't lead; not who goes on working after a term's last moment. Upstream asks how long
/// ago the Lease was renewed; a holder whose gate is closed and whose work has stopped is well here.
#[tokio::test(start_paused = true)]
async fn leader_election_health_checker() {
    let other = Rig::new(Some(foreign(3_600)));
    sleep(10 * SECOND).await;
    assert_eq!(other.sight().check(Duration::ZERO), Ok(()));
    let mut rig = Rig::first_install();
    let standing = rig.term().await;
    sleep(60 * SECOND).await;
    assert_eq!(rig.sight().check(Duration::ZERO), Ok(()));
    rig.server.0.lock().cut = Some("me");
    let (cut, timings) = (Instant::now(), Timings::default());
    let ends = timings.renew_deadline + timings.stop_bound;
    while rig.sight().check(5 * SECOND).is_ok() {
        assert!(cut.elapsed() < 60 * SECOND);
        sleep(SECOND / 10).await;
    }
    // Its last renewal was sent up to a retry period before.
    let seen = cut.elapsed();
    assert!(seen <= ends + 6 * SECOND && seen >= ends + 5 * SECOND - timings.retry_period, "{seen:?}");
    standing.end(End::Keep).await;
    assert_eq!(rig.sight().check(Duration::ZERO), Ok(()));
}

/// Asked from other threads while terms begin and end.
#[tokio::test(start_paused = true)]
async fn check_method_race() {
    let mut rig = Rig::first_install();
    let (sight, done) = (rig.sight(), CancellationToken::new());
    let askers: Vec<_> = (0..2)
        .map(|_| {
            let (sight, done) = (sight.clone(), done.clone());
            std::thread::spawn(move || {
                let mut asked = 0;
                while !done.is_cancelled() {
                    assert_eq!(sight.check(3_600 * SECOND), Ok(()));
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for _ in 0..100 {
        let standing = rig.term().await;
        standing.end(End::Release).await;
    }
    done.cancel();
    assert!(askers.into_iter().map(|asker| asker.join().unwrap()).sum::<u32>() > 0);
    assert!(rig.ends().await);
}
