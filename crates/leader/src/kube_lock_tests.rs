//! Tests of the lock over kube-client, against the embedded API server and against answers made by hand.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use watchkeeper_apiserver::{ApiServer, Config};

use super::*;
use crate::clock::{BootClock, VirtualClock};
use crate::config::ElectorConfig;
use crate::elector::Elector;
use crate::record::{Claim, Ended, NO_LABELS};
use crate::thread::{ElectorFailure, spawn_elector_thread};
use crate::{End, Identity, Stand};
use http::{Request, Response};
use kube_client::client::Body;
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);

fn lock(server: &ApiServer, identity: &str) -> KubeLeaseLock {
    KubeLeaseLock::new(Client::new(server.service(identity), "default"), "default", "the-lease")
}

/// Goal: reads, creates and replaces are what the API server understands, and its answers have their classes.
/// Method: the embedded server, and a Lease from its creation to its deletion's conflict.
#[tokio::test(start_paused = true)]
async fn against_an_api_server() {
    let server = ApiServer::new(Config::default());
    let lock = lock(&server, "a");
    assert_eq!(lock.read(SECOND).await, Err(LockError::Missing));
    let vacant = crate::record::vacant("default", "the-lease", 15 * SECOND);
    let created = lock.create(vacant.clone(), SECOND).await.unwrap();
    assert_eq!(lock.create(vacant, SECOND).await, Err(LockError::Conflict));
    let claim = Claim {
        identity: "me",
        duration: 15 * SECOND,
        wall: "2026-01-01T00:00:00Z".parse().unwrap(),
        labels: &NO_LABELS,
    };
    let taken = lock.update(created.taken_over(&claim), SECOND).await.unwrap();
    assert_eq!((taken.holder(), taken.uid()), ("me", created.uid()));
    assert!(taken.version() > created.version());
    assert_eq!(lock.read(SECOND).await, Ok(taken.clone()));
    assert_eq!(lock.update(created.taken_over(&claim), SECOND).await, Err(LockError::Conflict));
    let released = lock
        .update(taken.released(&Ended { identity: "me", epoch: taken.version() }, None, claim.wall), SECOND)
        .await
        .unwrap();
    assert_eq!(released.release().map(|marker| marker.epoch), Some(taken.version()));
    // What the server doesn't allow is refused, with its reason.
    let mut bad = released.taken_over(&claim);
    bad["spec"]["leaseDurationSeconds"] = json!(-1);
    let refused = lock.update(bad, SECOND).await.unwrap_err();
    assert!(matches!(refused, LockError::Refused { code: 422, .. }), "{refused:?}");
}

/// Goal: a namespace that isn't there, or is on its way out, is said, with what to do; the election waits, a holder goes on until its Lease
/// is gone, and nobody leads then. Method: the embedded server; a finalizer holds the namespace.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_missing_or_terminating() {
    let server = ApiServer::new(Config::default());
    let admin = Client::new(server.service("admin"), "gone");
    let lock = |user: &str| KubeLeaseLock::new(Client::new(server.service(user), "gone"), "gone", "the-lease");
    let elector = |user: &str| {
        let identity = Identity::from_parts(user, 1, 1).unwrap();
        let config = ElectorConfig { first_install: true, ..ElectorConfig::new("gone", "the-lease", identity) };
        Elector::new(Arc::new(lock(user)), config, Arc::new(VirtualClock::new())).unwrap()
    };
    let (running, mut candidacy) = elector("a");
    let stop = CancellationToken::new();
    tokio::spawn(running.run(stop.clone()));
    tokio::time::sleep(10 * SECOND).await;
    let trouble =
        |candidacy: &crate::Candidacy| candidacy.sight().status().trouble.map(|(text, _)| text).unwrap_or_default();
    assert!(trouble(&candidacy).contains("create the namespace gone"), "{}", trouble(&candidacy));
    let namespaces: kube_client::Api<k8s_openapi::api::core::v1::Namespace> = kube_client::Api::all(admin.clone());
    let namespace = json!({"metadata": {"name": "gone"}});
    namespaces.create(&Default::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
    let standing = candidacy.next_term().await.unwrap();
    standing.open().unwrap();
    let maps: kube_client::Api<k8s_openapi::api::core::v1::ConfigMap> = kube_client::Api::default_namespaced(admin);
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/held"]}});
    maps.create(&Default::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    namespaces.delete("gone", &Default::default()).await.unwrap();
    standing.term().cancelled().cancelled().await;
    assert_eq!(standing.term().closed(), Some(crate::CloseReason::Lost(crate::Loss::Deleted)));
    standing.end(End::Release).await;
    let next = tokio::time::timeout(120 * SECOND, candidacy.next_term()).await;
    assert!(next.is_err(), "nobody leads without a Lease");
    assert!(trouble(&candidacy).contains("gone is being deleted"), "{}", trouble(&candidacy));
    stop.cancel();
}

/// Goal: two electors over an API server: one leads, a release hands over. Method: paused time, both in one runtime.
#[tokio::test(start_paused = true)]
async fn election_on_an_api_server() {
    let server = ApiServer::new(Config::default());
    let shutdown = CancellationToken::new();
    let mut candidacies = Vec::new();
    for (number, name) in [(1, "a"), (2, "b")] {
        let config = ElectorConfig { identity: Identity::from_parts(name, number, 0).unwrap(), ..config() };
        let clock = Arc::new(VirtualClock::new());
        let (elector, candidacy) = Elector::new(Arc::new(lock(&server, name)), config, clock).unwrap();
        tokio::spawn(elector.run(shutdown.clone()));
        candidacies.push(candidacy);
    }
    let mut second = candidacies.pop().unwrap();
    let mut first = candidacies.pop().unwrap();
    let standing = first.next_term().await.unwrap();
    standing.open().unwrap();
    tokio::select! {
        () = tokio::time::sleep(60 * SECOND) => {}
        _ = second.next_term() => panic!("two terms at once"),
    }
    let epoch = standing.term().epoch();
    standing.end(End::Release).await;
    let next = tokio::time::timeout(4 * SECOND, second.next_term()).await.unwrap().unwrap();
    assert!(next.term().epoch() > epoch);
    next.end(End::Release).await;
    shutdown.cancel();
    assert!(second.next_term().await.is_none());
}

fn config() -> ElectorConfig {
    ElectorConfig {
        first_install: true,
        seed: 1,
        ..ElectorConfig::new("default", "the-lease", Identity::from_parts("me", 1, 1).unwrap())
    }
}

/// Goal: the elector's thread leads, and ends when asked. Method: a first install, the real clock, no waiting.
#[tokio::test]
async fn own_thread() {
    let server = ApiServer::new(Config::default());
    let shutdown = CancellationToken::new();
    let connect = move || Ok(Client::new(server.service("a"), "default"));
    let (mut candidacies, thread) =
        spawn_elector_thread(connect, vec![Stand::Alone(config())], Arc::new(BootClock), shutdown.clone()).unwrap();
    let standing = candidacies[0][0].next_term().await.unwrap();
    standing.open().unwrap();
    shutdown.cancel();
    standing.end(End::Release).await;
    assert!(candidacies[0][0].next_term().await.is_none());
    thread.join().await.unwrap();
}

/// Goal: a thread that can't connect, or that panics, says so, and nobody waits for it. Method: both.
#[tokio::test]
async fn a_thread_that_fails() {
    let failing = || Err("no such host".into());
    let (mut candidacies, thread) =
        spawn_elector_thread(failing, vec![Stand::Alone(config())], Arc::new(BootClock), CancellationToken::new())
            .unwrap();
    assert!(candidacies[0][0].next_term().await.is_none());
    let failure = thread.join().await.unwrap_err();
    assert!(matches!(failure, ElectorFailure::Connect(_)) && failure.to_string().contains("no such host"), "{failure}");
    let panicking = || panic!("a planted panic");
    let (mut candidacies, thread) =
        spawn_elector_thread(panicking, vec![Stand::Alone(config())], Arc::new(BootClock), CancellationToken::new())
            .unwrap();
    assert!(candidacies[0][0].next_term().await.is_none());
    let failure = thread.join().await.unwrap_err();
    assert!(matches!(&failure, ElectorFailure::Panicked(text) if text == "a planted panic"), "{failure}");
}

/// Goal: a look-up of a name that hangs keeps no thread from its end, also if it fails or panics. Method: a blocking call as a client's resolver makes it.
#[tokio::test]
async fn a_hanging_resolver_holds_up_no_end() {
    let (hang, until) = std::sync::mpsc::channel::<()>();
    let until = Arc::new(Mutex::new(until));
    for kind in 0..3 {
        let (server, until) = (ApiServer::new(Config::default()), until.clone());
        let connect = move || {
            tokio::task::spawn_blocking(move || until.lock().recv());
            match kind {
                0 => Ok(Client::new(server.service("a"), "default")),
                1 => Err("no such host".into()),
                _ => panic!("a planted panic"),
            }
        };
        let shutdown = CancellationToken::new();
        let (_candidacies, thread) =
            spawn_elector_thread(connect, vec![Stand::Alone(config())], Arc::new(BootClock), shutdown.clone()).unwrap();
        shutdown.cancel();
        let ended = tokio::time::timeout(5 * SECOND, thread.join()).await;
        assert_eq!(ended.expect("it ends").is_ok(), kind == 0);
    }
    drop(hang);
}

type Seen = Arc<Mutex<Vec<String>>>;

/// A lock whose server always answers the same, and the requests it has seen.
fn canned(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> (KubeLeaseLock, Seen) {
    let seen = Seen::default();
    let (log, headers, body) = (seen.clone(), headers.to_vec(), body.to_owned());
    let service = tower::service_fn(move |request: Request<Body>| {
        log.lock().push(format!("{} {}", request.method(), request.uri()));
        let mut answer = Response::builder().status(status);
        for (name, value) in &headers {
            answer = answer.header(*name, *value);
        }
        let answer = answer.body(Body::from(body.clone().into_bytes()));
        async move { answer }
    });
    (KubeLeaseLock::new(Client::new(service, "default"), "ns", "n"), seen)
}

/// Goal: every answer of a server has its class: what surely did not happen, and what may have. Method: a table.
#[tokio::test(start_paused = true)]
async fn classes_of_answers() {
    let unknown = |status, body: &'static str| (status, body, "unknown");
    for (status, body, class) in [
        (404, "", "missing"),
        (409, r#"{"reason":"Conflict"}"#, "conflict"),
        (401, "", "refused"),
        (403, r#"{"message":"leases is forbidden"}"#, "refused"),
        (422, "not json", "refused"),
        (429, "", "refused"),
        unknown(500, ""),
        unknown(503, "[]"),
        unknown(504, "{}"),
        unknown(302, ""),
        unknown(200, "not json"),
        unknown(200, "{}"),
        unknown(200, r#"{"metadata":{"uid":"u","resourceVersion":"abc"}}"#),
    ] {
        let (lock, _) = canned(status, &[], body);
        let error = lock.read(SECOND).await.unwrap_err();
        let found = match &error {
            LockError::Missing => "missing",
            LockError::Conflict => "conflict",
            LockError::Refused { .. } => "refused",
            LockError::Unknown { .. } => "unknown",
            LockError::OldLock { .. } => "old lock",
        };
        assert_eq!(found, class, "{status} {body}: {error}");
    }
    // The namespace is missing: creating the Lease again won't help, and isn't a loss.
    assert!(matches!(
        canned(404, &[], "").0.create(json!({}), SECOND).await,
        Err(LockError::Refused { code: 404, .. })
    ));
    let forbidden = canned(403, &[], r#"{"message":"leases is forbidden"}"#).0.read(SECOND).await.unwrap_err();
    assert!(forbidden.to_string().contains("verbs [get, create, update]"), "{forbidden}");
}

/// Goal: a server's wish for patience is heard from the header or the Status. Method: both, and nonsense.
#[tokio::test(start_paused = true)]
async fn wishes_of_the_server() {
    for (headers, body, asked) in [
        (vec![("retry-after", "7")], "", Some(7)),
        (vec![], r#"{"details":{"retryAfterSeconds":3}}"#, Some(3)),
        (vec![("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], "", None),
        (vec![("retry-after", "-1")], r#"{"details":{"retryAfterSeconds":0}}"#, None),
        (vec![], r#"{"details":"x"}"#, None),
    ] {
        let error = canned(429, &headers, body).0.read(SECOND).await.unwrap_err();
        assert_eq!(error.retry_after(), asked.map(Duration::from_secs), "{headers:?} {body}");
    }
}

/// Goal: each request has its deadline, in the query and here, and its verb. Method: a hung server and a log.
#[tokio::test(start_paused = true)]
async fn every_request_has_a_deadline() {
    let (lock, seen) = canned(404, &[], "");
    let _ = lock.read(3 * SECOND).await;
    let _ = lock.create(json!({}), Duration::from_millis(1_500)).await;
    let _ = lock.update(json!({}), Duration::ZERO).await;
    let base = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
    let expected = [format!("GET {base}/n?timeout=3000ms"), format!("POST {base}?timeout=1500ms")];
    // One without any time isn't sent, or is sent with the shortest: never with "0", which means the longest.
    assert_eq!(seen.lock()[..2], expected);
    assert!(seen.lock().iter().all(|line| !line.ends_with("timeout=0ms")));

    let hung = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, std::io::Error>>());
    let lock = KubeLeaseLock::new(Client::new(hung, "default"), "ns", "n");
    let begin = tokio::time::Instant::now();
    assert!(matches!(lock.read(3 * SECOND).await, Err(LockError::Unknown { .. })));
    assert_eq!(begin.elapsed(), 3 * SECOND);
}

/// Goal: a name can't point at another path. Method: odd names; nothing is sent.
#[tokio::test(start_paused = true)]
async fn names_stay_names() {
    for name in ["", "..", "a/b", "a?b", "a%2fb", "A"] {
        let server = ApiServer::new(Config::default());
        let lock = KubeLeaseLock::new(Client::new(server.service("a"), "default"), "default", name);
        assert!(matches!(lock.read(SECOND).await, Err(LockError::Refused { code: 0, .. })), "{name:?}");
    }
}
