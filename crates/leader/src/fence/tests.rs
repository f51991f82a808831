//! Tests of the fence, over a mock service and through a kube client.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use kube_client::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::clock::{GateClock, Moment, VirtualClock};
use crate::gate::{Holder, Loss};

/// Of the terms of [`Holder::example`].
pub(super) const EPOCH_ANNOTATION: &str = "epoch.watchkeeper.dev/default.the-lease";

const SECOND: Duration = Duration::from_secs(1);
const POD: &str = "/api/v1/namespaces/ns/pods/p";
const PODS: &str = "/api/v1/namespaces/ns/pods";

type Seen = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// A term of epoch 50 whose gate is open for ten seconds.
fn open_term(clock: &VirtualClock) -> Term {
    open_term_of(50, clock)
}

/// The same of another epoch.
pub(super) fn open_term_of(epoch: u128, clock: &VirtualClock) -> Term {
    let term = Term::won(&Holder::example(clock.clone()), Epoch::new(epoch), Moment::of(clock));
    term.open().unwrap();
    term
}

/// A service that answers after a while, and what it has seen.
fn mock(
    delay: Duration,
) -> (impl Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send> + Clone, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let log = log.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            log.lock().push((parts.method, parts.uri.to_string(), body));
            tokio::time::sleep(delay).await;
            Ok::<_, BoxError>(Response::new(Body::from(b"{}".to_vec())))
        }
    });
    (service, seen)
}

fn request(method: Method, path: &str, kind: &str, body: &Value) -> Request<Body> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
}

fn put(body: &Value) -> Request<Body> {
    request(Method::PUT, POD, "application/json", body)
}

fn versioned() -> Value {
    json!({"metadata": {"name": "p", "resourceVersion": "7"}, "spec": {"x": 1}})
}

async fn outcome(term: &Term, request: Request<Body>) -> Result<(Method, String, Value), Refusal> {
    let (service, seen) = mock(Duration::ZERO);
    let answer = FenceLayer::new(term.clone(), FenceConfig::default()).layer(service).oneshot(request).await;
    match answer {
        Ok(_) => Ok(seen.lock().remove(0)),
        Err(error) => {
            assert!(seen.lock().is_empty(), "refused, and sent all the same");
            Err(FenceRefused::find(error.as_ref()).expect("a refusal").reason.clone())
        }
    }
}

/// Goal: reads pass at any time; connections never; writes only while the gate is open. Method: before, during, after.
#[tokio::test(start_paused = true)]
async fn the_gate_decides_on_writes() {
    let clock = VirtualClock::new();
    let term = Term::won(&Holder::example(clock.clone()), Epoch::new(50), Moment::of(&clock));
    let get = || request(Method::GET, POD, "", &Value::Null);
    assert!(outcome(&term, get()).await.is_ok());
    assert_eq!(
        outcome(&term, put(&versioned())).await,
        Err(Refusal::GateClosed(GateClosed::NotOpenYet(Epoch::new(50))))
    );
    term.open().unwrap();
    assert!(outcome(&term, put(&versioned())).await.is_ok());
    let exec = request(Method::GET, "/api/v1/namespaces/ns/pods/p/exec", "", &Value::Null);
    assert_eq!(outcome(&term, exec).await, Err(Refusal::Connect("exec".to_owned())));
    term.close(CloseReason::Lost(Loss::Deleted));
    assert!(matches!(outcome(&term, put(&versioned())).await, Err(Refusal::GateClosed(GateClosed::Closed { .. }))));
    assert!(outcome(&term, get()).await.is_ok());
}

/// Goal: each kind of write must say what it means. Method: a table of requests, and their refusals.
#[tokio::test(start_paused = true)]
async fn rules_of_writes() {
    let (merge, patch) = ("application/merge-patch+json", "application/json-patch+json");
    let test =
        json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "7"}, {"op": "remove", "path": "/spec/x"}]);
    let named = json!({"metadata": {"name": "p"}});
    let cases: Vec<(Request<Body>, Option<Refusal>)> = vec![
        (put(&versioned()), None),
        (put(&named), Some(Refusal::NoVersion)),
        (put(&json!({"metadata": {"resourceVersion": ""}})), Some(Refusal::NoVersion)),
        (put(&json!({"metadata": {"resourceVersion": "0"}})), Some(Refusal::NoVersion)),
        (put(&json!([1])), Some(Refusal::Unreadable)),
        (put(&Value::Null), Some(Refusal::Unreadable)),
        (request(Method::POST, PODS, "", &named), None),
        (request(Method::POST, PODS, "", &json!({"metadata": {"generateName": "p-"}})), Some(Refusal::NoName)),
        (request(Method::POST, "/api/v1/namespaces/ns/pods/p/binding", "", &json!({})), None),
        (request(Method::PATCH, POD, merge, &json!({"metadata": {"resourceVersion": "7"}})), None),
        (request(Method::PATCH, POD, "application/merge-patch+json; charset=utf-8", &named), Some(Refusal::NoVersion)),
        (request(Method::PATCH, POD, "application/strategic-merge-patch+json", &named), Some(Refusal::NoVersion)),
        (request(Method::PATCH, POD, patch, &test), None),
        (request(Method::PATCH, POD, patch, &json!([{"op": "remove", "path": "/spec/x"}])), Some(Refusal::NoVersion)),
        (request(Method::PATCH, POD, patch, &json!({})), Some(Refusal::Unreadable)),
        (request(Method::PATCH, POD, "application/apply-patch+yaml", &named), None),
        (request(Method::PATCH, POD, "text/plain", &named), Some(Refusal::UnknownPatch("text/plain".to_owned()))),
        (request(Method::DELETE, POD, "", &Value::Null), Some(Refusal::NoPrecondition)),
        (request(Method::DELETE, POD, "", &json!({"preconditions": {}})), Some(Refusal::NoPrecondition)),
        (request(Method::DELETE, POD, "", &json!({"preconditions": {"uid": "u"}})), None),
        (request(Method::DELETE, POD, "", &json!({"preconditions": {"resourceVersion": "7"}})), None),
        (request(Method::DELETE, PODS, "", &json!({"preconditions": {"uid": "u"}})), Some(Refusal::Collection)),
    ];
    let clock = VirtualClock::new();
    let term = open_term(&clock);
    for (request, expected) in cases {
        let what = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        assert_eq!(outcome(&term, request).await.err(), expected, "{what}");
    }
    assert!(term.is_open());
}

/// Goal: creates, updates and merge patches carry the epoch, and nothing else of them is changed. Method: look at bodies.
#[tokio::test(start_paused = true)]
async fn writes_are_stamped() {
    let term = open_term(&VirtualClock::new());
    let annotations = json!({"a": "b", EPOCH_ANNOTATION: "49"});
    let body = json!({"metadata": {"name": "p", "resourceVersion": "7", "annotations": annotations}, "spec": {"x": [1.5, null]}});
    let mut expected = body.clone();
    expected["metadata"]["annotations"][EPOCH_ANNOTATION] = json!("50");
    for request in [
        put(&body),
        request(Method::POST, PODS, "", &body),
        request(Method::PATCH, POD, "application/merge-patch+json", &body),
    ] {
        let (_, uri, sent) = outcome(&term, request).await.unwrap();
        assert_eq!(sent, expected);
        assert!(uri.ends_with("?timeout=2000ms"), "{uri}");
    }
    let (_, _, sent) = outcome(&term, put(&versioned())).await.unwrap();
    assert_eq!(sent["metadata"]["annotations"], json!({EPOCH_ANNOTATION: "50"}));
}

/// Goal: an update of an object that a later term has written is refused and closes the gate. Method: epochs around ours.
#[tokio::test(start_paused = true)]
async fn a_later_epoch_ends_the_term() {
    let with = |epoch: &str| {
        let mut body = versioned();
        body["metadata"]["annotations"] = json!({EPOCH_ANNOTATION: epoch});
        body
    };
    let term = open_term(&VirtualClock::new());
    for harmless in ["50", "49", "", "x", "-1"] {
        assert!(outcome(&term, put(&with(harmless))).await.is_ok(), "{harmless}");
    }
    // A new object made from a copy of another one isn't that object.
    let mut copy = with("99");
    copy["metadata"]["name"] = json!("copy");
    assert!(outcome(&term, request(Method::POST, PODS, "", &copy)).await.is_ok());
    assert!(term.is_open());
    assert_eq!(outcome(&term, put(&with("51"))).await, Err(Refusal::LaterTerm(Epoch::new(51))));
    assert_eq!(term.closed(), Some(CloseReason::LaterTerm(Epoch::new(51))));
}

/// Goal: a write's time is what is left of the term, the write timeout and the stop bound, whichever is shortest; with
/// too little of it nothing is sent. Method: look at `timeout=` over the term.
#[tokio::test(start_paused = true)]
async fn time_is_cut_to_what_is_left() {
    let clock = VirtualClock::new();
    let term = open_term(&clock);
    let timeout = async |config: FenceConfig| {
        let (service, seen) = mock(Duration::ZERO);
        FenceLayer::new(term.clone(), config).layer(service).oneshot(put(&versioned())).await?;
        let uri = seen.lock()[0].1.clone();
        Ok::<_, BoxError>(uri.split("timeout=").nth(1).unwrap().to_owned())
    };
    let long = FenceConfig { write_timeout: 60 * SECOND, ..FenceConfig::default() };
    let short = FenceConfig { write_timeout: Duration::from_millis(100), ..FenceConfig::default() };
    assert_eq!(timeout(long.clone()).await.unwrap(), "2000ms");
    assert_eq!(timeout(short.clone()).await.unwrap(), "100ms");
    tokio::time::advance(Duration::from_millis(8_500)).await;
    assert_eq!(timeout(long.clone()).await.unwrap(), "1500ms");
    tokio::time::advance(Duration::from_millis(1_300)).await;
    let error = timeout(long).await.unwrap_err();
    let expected = Refusal::TooLittleTime { left: Duration::from_millis(200), needed: Duration::from_millis(250) };
    assert_eq!(FenceRefused::find(error.as_ref()).unwrap().reason, expected);
    // Whoever asks for less time needs less.
    assert_eq!(timeout(short).await.unwrap(), "100ms");
}

/// Goal: a write without an answer is given up at its deadline, and says that its outcome is unknown. Method: a hung server.
#[tokio::test(start_paused = true)]
async fn a_hung_write_is_given_up() {
    let clock = VirtualClock::new();
    let term = open_term(&clock);
    let (service, seen) = mock(3600 * SECOND);
    let begin = clock.now();
    let error =
        FenceLayer::new(term, FenceConfig::default()).layer(service).oneshot(put(&versioned())).await.unwrap_err();
    assert_eq!(begin.until(clock.now()), 2 * SECOND);
    assert_eq!(OutcomeUnknown::find(error.as_ref()).unwrap().limit, 2 * SECOND);
    assert_eq!(FenceRefused::find(error.as_ref()), None);
    assert_eq!(seen.lock().len(), 1);
}

/// Goal: the check is made when the write is sent, not only when it was asked for. Method: a future that is first polled
/// after the gate has closed, or after its own time has run out.
#[tokio::test(start_paused = true)]
async fn a_write_that_was_kept_waiting_is_checked_again() {
    let clock = VirtualClock::new();
    let term = open_term(&clock);
    let (service, seen) = mock(Duration::ZERO);
    let mut fence = FenceLayer::new(term.clone(), FenceConfig::default()).layer(service);
    let late = fence.ready().await.unwrap().call(put(&versioned()));
    tokio::time::advance(3 * SECOND).await;
    let error = late.await.unwrap_err();
    assert!(matches!(FenceRefused::find(error.as_ref()).unwrap().reason, Refusal::TooLittleTime { .. }));
    let late = fence.ready().await.unwrap().call(put(&versioned()));
    term.close(CloseReason::Stopping);
    let error = late.await.unwrap_err();
    assert!(matches!(FenceRefused::find(error.as_ref()).unwrap().reason, Refusal::GateClosed(_)));
    assert!(seen.lock().is_empty());
}

/// Goal: bodies that can't be looked at are refused, not read. Method: a large one, and one from a stream.
#[tokio::test(start_paused = true)]
async fn bodies_must_be_in_memory() {
    let term = open_term(&VirtualClock::new());
    let large = Request::builder().method(Method::PUT).uri(POD).body(Body::from(vec![b' '; 5 * 1024 * 1024])).unwrap();
    assert_eq!(outcome(&term, large).await, Err(Refusal::TooLarge));
}

/// Goal: through a kube client a refusal can be found in its error. Method: a typed client over the fence.
#[tokio::test(start_paused = true)]
async fn refusals_are_found_through_a_client() {
    let term = open_term(&VirtualClock::new());
    let (service, _) = mock(Duration::ZERO);
    let client = Client::new(FenceLayer::new(term, FenceConfig::default()).layer(service), "default");
    let error = client.send(put(&json!({"metadata": {"name": "p"}}))).await.unwrap_err();
    assert!(matches!(error, kube_client::Error::Service(_)));
    assert_eq!(FenceRefused::find(&error).unwrap().reason, Refusal::NoVersion);
    assert!(error.to_string().contains("metadata.resourceVersion"), "{error}");
    assert!(client.send(put(&versioned())).await.is_ok());
}

/// Goal: an apply passes; a forced one in JSON is stamped. Method: three applies.
#[tokio::test(start_paused = true)]
async fn applies_pass_and_forced_ones_are_stamped() {
    let term = open_term(&VirtualClock::new());
    let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    for (query, stamped) in [("?fieldManager=me", false), ("?fieldManager=me&force=true", true)] {
        let apply = request(Method::PATCH, &format!("{POD}{query}"), "application/apply-patch+yaml", &body);
        let (_, _, sent) = outcome(&term, apply).await.unwrap();
        assert_eq!(sent["metadata"]["annotations"].get(EPOCH_ANNOTATION).is_some(), stamped, "{query}");
    }
    let mut yaml = request(Method::PATCH, &format!("{POD}?force=true"), "application/apply-patch+yaml", &body);
    *yaml.body_mut() = Body::from(b"metadata:\n  name: p\n".to_vec());
    assert!(outcome(&term, yaml).await.is_ok());
}

/// Goal: where the epoch is kept in the status, status writes are stamped and refused like others; the object's own writes leave the
/// status alone. Method: epochs around ours, with and without the field.
#[tokio::test(start_paused = true)]
async fn status_writes_can_keep_the_epoch() {
    let config = FenceConfig { status_epoch: Some("termEpoch".to_owned()), ..FenceConfig::default() };
    let term = open_term(&VirtualClock::new());
    let send = async |path: &str, status: Value, config: &FenceConfig| {
        let (service, seen) = mock(Duration::ZERO);
        let body = json!({"metadata": {"name": "p", "resourceVersion": "7"}, "status": status});
        let put = request(Method::PUT, path, "", &body);
        FenceLayer::new(term.clone(), config.clone()).layer(service).oneshot(put).await?;
        let sent = seen.lock()[0].2["status"].clone();
        Ok::<_, BoxError>(sent)
    };
    let status = format!("{POD}/status");
    assert_eq!(send(&status, json!({"a": 1}), &config).await.unwrap(), json!({"a": 1, "termEpoch": "50"}));
    assert_eq!(send(POD, json!({"a": 1}), &config).await.unwrap(), json!({"a": 1}));
    assert_eq!(
        send(&status, json!({"termEpoch": "51"}), &FenceConfig::default()).await.unwrap(),
        json!({"termEpoch": "51"})
    );
    let error = send(&status, json!({"termEpoch": "51"}), &config).await.unwrap_err();
    assert_eq!(FenceRefused::find(error.as_ref()).unwrap().reason, Refusal::LaterTerm(Epoch::new(51)));
    assert_eq!(term.closed(), Some(CloseReason::LaterTerm(Epoch::new(51))));
}

/// Goal: the writes of work that needs no election are neither judged nor stamped, but end with it. Method: what an elected term may
/// not send, before and after the close.
#[tokio::test(start_paused = true)]
async fn writes_without_an_election_pass() {
    let clock = Arc::new(VirtualClock::new());
    let term = Term::always(clock, crate::Identity::from_parts("me", 1, 1).unwrap(), 2 * SECOND);
    let (_, uri, sent) = outcome(&term, put(&json!({"metadata": {"name": "p"}}))).await.unwrap();
    assert_eq!(sent, json!({"metadata": {"name": "p"}}));
    assert!(uri.ends_with("?timeout=2000ms"), "{uri}");
    let exec = || request(Method::GET, "/api/v1/namespaces/ns/pods/p/exec", "", &Value::Null);
    assert!(outcome(&term, exec()).await.is_ok());
    term.close(CloseReason::Stopping);
    assert!(matches!(outcome(&term, put(&versioned())).await, Err(Refusal::GateClosed(_))));
}

/// Goal: what a server decodes or reads otherwise than it is written is judged as the server reads it. Method: spellings of one thing.
#[tokio::test(start_paused = true)]
async fn spellings_are_judged_as_a_server_reads_them() {
    let (term, patch) = (open_term(&VirtualClock::new()), "application/json-patch+json");
    let proxy = request(Method::GET, "/api/v1/namespaces/ns/pods/p/%70roxy/x", "", &Value::Null);
    assert_eq!(outcome(&term, proxy).await.err(), Some(Refusal::Connect("proxy".to_owned())));
    let zero = put(&json!({"metadata": {"name": "p", "resourceVersion": "00"}}));
    assert_eq!(outcome(&term, zero).await.err(), Some(Refusal::NoVersion));
    let tests_what_it_wrote = json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "0"},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "0"}]);
    let tests_what_it_wrote = request(Method::PATCH, POD, patch, &tests_what_it_wrote);
    assert_eq!(outcome(&term, tests_what_it_wrote).await.err(), Some(Refusal::NoVersion));
    let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    for force in ["force=1", "force", "force=True", "%66orce=true"] {
        let apply = request(Method::PATCH, &format!("{POD}?{force}"), "application/apply-patch+yaml", &body);
        let (_, _, sent) = outcome(&term, apply).await.unwrap();
        assert!(sent["metadata"]["annotations"].get(EPOCH_ANNOTATION).is_some(), "{force}");
    }
    let slow = request(Method::PUT, &format!("{POD}?%74imeout=60s"), "", &versioned());
    let (_, uri, _) = outcome(&term, slow).await.unwrap();
    assert!(!uri.contains("60s"), "{uri}");
}

/// Goal: an eviction is a delete, and says which life it means as one. Method: without preconditions, and with.
#[tokio::test(start_paused = true)]
async fn evictions_need_preconditions() {
    let term = open_term(&VirtualClock::new());
    let evict = |body: &Value| request(Method::POST, &format!("{POD}/eviction"), "", body);
    for blind in [json!({}), json!({"metadata": {"name": "p"}}), json!({"deleteOptions": {"preconditions": {}}})] {
        assert_eq!(outcome(&term, evict(&blind)).await.err(), Some(Refusal::NoPrecondition), "{blind}");
    }
    let meant = json!({"metadata": {"name": "p"}, "deleteOptions": {"preconditions": {"uid": "u"}}});
    assert!(outcome(&term, evict(&meant)).await.is_ok());
}

/// Goal: no request panics, whatever its path. Method: odd forms of a URI, with a term that needs no election.
#[tokio::test(start_paused = true)]
async fn odd_paths_do_not_panic() {
    let always =
        Term::always(Arc::new(VirtualClock::new()), crate::Identity::from_parts("me", 1, 1).unwrap(), 2 * SECOND);
    let long = format!("/{}", "x".repeat(65_520));
    for term in [always, open_term(&VirtualClock::new())] {
        for (method, uri) in
            [(Method::DELETE, "*"), (Method::CONNECT, "host:80"), (Method::PUT, "host:80"), (Method::PUT, &long)]
        {
            _ = outcome(&term, request(method, uri, "", &versioned())).await;
        }
    }
}

/// Goal: terms of different Leases don't end each other, whose epochs can't be compared. Method: objects that another one has stamped.
#[tokio::test(start_paused = true)]
async fn each_lease_has_a_stamp_of_its_own() {
    let other = crate::record::epoch_annotation("default", "another");
    let term = open_term(&VirtualClock::new());
    let mut body = versioned();
    body["metadata"]["annotations"] = json!({&other: "99"});
    let (_, _, sent) = outcome(&term, put(&body)).await.unwrap();
    assert_eq!(sent["metadata"]["annotations"], json!({&other: "99", EPOCH_ANNOTATION: "50"}));
    assert!(term.is_open());
    let long = |last: &str| crate::record::epoch_annotation(&"n".repeat(63), &format!("{}{last}", "l".repeat(200)));
    assert_ne!(long("a"), long("b"));
    assert_eq!(long("a").len(), "epoch.watchkeeper.dev/".len() + 63);
}
