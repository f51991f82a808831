//! `resourcelock`'s tests, by name, on the lock over HTTP.

use k8s_openapi::jiff::Timestamp;
use kube_client::Client;
use serde_json::{Value, json};
use std::sync::Arc;
use watchkeeper_apiserver::fault::{Action, Matcher, Refusal, Rule, Verb};
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};
use watchkeeper_leader::{End, KubeLeaseLock, Lease, LeaseLock, LockError};

use crate::config::PLACE;
use crate::rig::{AND_THEN, Rig, SECOND, lease, released};

fn server() -> (ApiServer, KubeLeaseLock) {
    let clock = Arc::new(TokioClock::starting_at(Timestamp::UNIX_EPOCH));
    let server = ApiServer::new(Config { clock, ..Config::default() });
    let client = Client::new(server.service("me"), PLACE.0);
    (server, KubeLeaseLock::new(client, PLACE.0, PLACE.1))
}

/// From now on requests of this verb get a 500.
fn fails(server: &ApiServer, verb: Verb) {
    let matcher = Matcher { verbs: vec![verb], ..Matcher::default() };
    let rule = Rule { matcher, ..Rule::new("500", Action::Answer(Refusal::of(500))) };
    server.faults().add(rule).unwrap();
}

fn vacant() -> Value {
    lease(json!({ "leaseDurationSeconds": 15 }))
}

/// What kind of error it is is kept: it decides what happens next.
#[tokio::test(start_paused = true)]
async fn get_error() {
    let (server, lock) = server();
    assert_eq!(lock.read(SECOND).await, Err(LockError::Missing));
    fails(&server, Verb::Get);
    let error = lock.read(SECOND).await.unwrap_err();
    assert!(matches!(error, LockError::Unknown { .. }) && error.to_string().contains("500"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn get() {
    let (_server, lock) = server();
    let created = lock.create(vacant(), SECOND).await.unwrap();
    assert_eq!(lock.read(SECOND).await, Ok(created.clone()));
    assert_eq!(created.object()["metadata"]["name"], json!(PLACE.1));
}

#[tokio::test(start_paused = true)]
async fn create_error() {
    let (server, lock) = server();
    lock.create(vacant(), SECOND).await.unwrap();
    assert_eq!(lock.create(vacant(), SECOND).await, Err(LockError::Conflict));
    fails(&server, Verb::Create);
    assert!(matches!(lock.create(vacant(), SECOND).await, Err(LockError::Unknown { .. })));
}

/// Upstream refuses an update before anything was read or created. Here the object says what it was made from.
#[tokio::test(start_paused = true)]
async fn update_error() {
    let (server, lock) = server();
    let created = lock.create(vacant(), SECOND).await.unwrap();
    let mut changed = created.object().clone();
    changed["spec"]["leaseDurationSeconds"] = json!(16);
    lock.update(changed, SECOND).await.unwrap();
    assert_eq!(lock.update(created.object().clone(), SECOND).await, Err(LockError::Conflict));
    fails(&server, Verb::Update);
    assert!(matches!(lock.update(created.object().clone(), SECOND).await, Err(LockError::Unknown { .. })));
}

#[test]
fn lease_conversion() {
    let mut object = lease(json!({
        "holderIdentity": "other", "leaseDurationSeconds": 15, "leaseTransitions": 4,
        "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:02.000000Z",
    }));
    object["metadata"]["uid"] = json!("u");
    object["metadata"]["resourceVersion"] = json!("7");
    let read = Lease::parse(object.clone()).unwrap();
    assert_eq!((read.holder(), read.duration(), read.transitions()), ("other", Some(15 * SECOND), 4));
    assert_eq!((read.uid(), read.version().number()), ("u", 7));
    assert_eq!(read.acquire_time(), "2026-01-01T00:00:00.000000Z");
    assert_eq!(*read.object(), object);
    object["spec"] = json!(null);
    let empty = Lease::parse(object).unwrap();
    assert_eq!((empty.holder(), empty.duration(), empty.transitions()), ("", None, 0));
}

/// A Lease whose labels are null or missing is written as it is.
#[tokio::test(start_paused = true)]
async fn update_with_nil_labels_on_lease() {
    let mut object = released();
    object["metadata"]["labels"] = json!(null);
    let mut rig = Rig::new(Some(object));
    let standing = rig.term().await;
    tokio::time::sleep(4 * SECOND + AND_THEN).await;
    assert!(standing.term().is_open());
    assert_eq!(rig.server.object().unwrap()["metadata"]["labels"], json!(null));
}

/// Upstream's lock has labels of its own, or none. Here it never has any, and those of the Lease stay.
#[tokio::test(start_paused = true)]
async fn update_with_nil_labels_on_lease_lock() {
    let mut object = released();
    object["metadata"]["labels"] = json!({ "theirs": "1" });
    let mut rig = Rig::new(Some(object));
    let standing = rig.term().await;
    tokio::time::sleep(4 * SECOND + AND_THEN).await;
    standing.end(End::Release).await;
    assert_eq!(rig.server.object().unwrap()["metadata"]["labels"], json!({ "theirs": "1" }));
}

/// Upstream puts its own labels over those that somebody else has changed. Here the last to change them is right.
#[tokio::test(start_paused = true)]
async fn label_update() {
    let mut rig = Rig::new(Some(released()));
    let standing = rig.term().await;
    for value in ["1", "2"] {
        let mut object = rig.server.object().unwrap();
        object["metadata"]["labels"] = json!({ "theirs": value });
        rig.server.put(Some(object));
        tokio::time::sleep(4 * SECOND + AND_THEN).await;
        assert_eq!(rig.server.object().unwrap()["metadata"]["labels"], json!({ "theirs": value }));
        assert!(standing.term().is_open());
    }
}
