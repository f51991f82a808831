//! Goal: replicas behave as those of a real cluster: stale reads at `0`, consistent ones at none, time travel between two of
//! them, watches that see a write when their replica does. Method: requests by hand against chosen replicas, paused time.
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use common::{LEASES, create, names, version};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;
use watchkeeper_apiserver::replica::{Lag, Replica, Routing};
use watchkeeper_apiserver::service::{Body, Service};
use watchkeeper_apiserver::{ApiServer, Config};

const SECOND: Duration = Duration::from_secs(1);

fn two() -> ApiServer {
    ApiServer::new(Config { replicas: 2, ..Config::default() })
}

async fn ask(service: Service, path: &str) -> http::Response<Body> {
    let request = Request::builder().method(Method::GET).uri(path).body(Full::new(bytes::Bytes::new()));
    service.oneshot(request.expect("a request")).await.expect("never an error")
}

async fn read(replica: &Replica, path: &str) -> (u16, Value) {
    let (parts, body) = ask(replica.service("reader"), path).await.into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    (parts.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// The next events of a watch, until nothing has come for a tenth of a second: their type and the object's name.
async fn events(body: &mut Body) -> Vec<String> {
    let mut events = Vec::new();
    while let Ok(Some(frame)) = tokio::time::timeout(SECOND / 10, body.frame()).await {
        let data = frame.expect("no error").into_data().expect("data");
        for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).expect("JSON");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            events.push(format!("{} {}", text(&event["type"]), text(&event["object"]["metadata"]["name"])));
        }
    }
    events
}

#[tokio::test(start_paused = true)]
async fn a_lagging_replica_is_stale_at_0_and_consistent_otherwise() {
    let server = two();
    let (fresh, stale) = (server.replica(0), server.replica(1));
    let first = create(&server, "a", json!({})).await;
    assert_eq!((fresh.version(), stale.version()), (first, first));
    stale.set_lag(Lag::Time(2 * SECOND));
    let second = create(&server, "b", json!({})).await;

    let (_, list) = read(&stale, &format!("{LEASES}?resourceVersion=0")).await;
    assert_eq!((names(&list).as_slice(), version(&list)), (["a"].as_slice(), first));
    let (_, list) = read(&fresh, &format!("{LEASES}?resourceVersion=0")).await;
    assert_eq!((names(&list).as_slice(), version(&list)), (["a", "b"].as_slice(), second));
    assert_eq!(read(&stale, &format!("{LEASES}/b?resourceVersion=0")).await.0, 404);
    assert_eq!(read(&stale, &format!("{LEASES}/b")).await.0, 200, "a get of no version is of the log");

    // A consistent list waits until the replica has caught up, and so does one that is at least at a version.
    for query in [String::new(), format!("?resourceVersion={second}")] {
        let server = two();
        let stale = server.replica(1);
        create(&server, "a", json!({})).await;
        stale.set_lag(Lag::Time(2 * SECOND));
        create(&server, "b", json!({})).await;
        let start = Instant::now();
        let (_, list) = read(&stale, &format!("{LEASES}{query}")).await;
        assert_eq!((names(&list).len(), start.elapsed()), (2, 2 * SECOND), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_stays_behind_is_passed_over_or_says_so() {
    let server = two();
    let stale = server.replica(1);
    let first = create(&server, "a", json!({})).await;
    stale.pause();
    let second = create(&server, "b", json!({})).await;
    let start = Instant::now();
    let (_, list) = read(&stale, LEASES).await;
    assert_eq!((names(&list).len(), version(&list), start.elapsed()), (2, second, 3 * SECOND));
    let (code, status) = read(&stale, &format!("{LEASES}?resourceVersion={second}")).await;
    let text = format!("Timeout: Too large resource version: {second}, current: {first}");
    assert_eq!((code, status["message"].as_str()), (504, Some(text.as_str())));
    let mut body = ask(stale.service("w"), &format!("{LEASES}?watch=1&resourceVersion={first}")).await.into_body();
    assert!(events(&mut body).await.is_empty(), "a watch sees what its replica sees");
    stale.resume();
    assert_eq!(events(&mut body).await, ["ADDED b"]);
}

/// Goal: each event comes when the replica sees it, and none is lost on the way.
#[tokio::test(start_paused = true)]
async fn a_watch_is_as_late_as_its_replica() {
    let server = two();
    let late = server.replica(1);
    let path = format!("{LEASES}?watch=1&resourceVersion=0");
    late.set_lag(Lag::Time(5 * SECOND));
    let mut body = ask(late.service("w"), &path).await.into_body();
    create(&server, "a", json!({})).await;
    tokio::time::sleep(SECOND).await;
    create(&server, "b", json!({})).await;
    assert!(events(&mut body).await.is_empty());
    tokio::time::sleep(SECOND * 39 / 10).await;
    assert_eq!(events(&mut body).await, ["ADDED a"]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(events(&mut body).await, ["ADDED b"]);

    // By writes: one becomes visible with the next one, to whatever resource.
    late.set_lag(Lag::Writes(1));
    create(&server, "c", json!({})).await;
    assert!(events(&mut body).await.is_empty());
    let node = json!({ "metadata": { "name": "n" } });
    assert_eq!(common::send(&server, "POST", "/api/v1/nodes", node).await.0, 201);
    assert_eq!(events(&mut body).await, ["ADDED c"]);
}

/// Goal: a watcher that reads is never cut, however much its replica shows at once and however old that is; one that doesn't
/// read is, counted from when its replica showed what it should have read.
#[tokio::test(start_paused = true)]
async fn a_watcher_is_as_slow_as_it_reads_and_not_as_its_replica() {
    let lines = |data: &[u8]| data.iter().filter(|byte| **byte == b'\n').count();
    for lag in [Lag::None, Lag::Time(5 * SECOND), Lag::Writes(10)] {
        let server = two();
        let replica = server.replica(1);
        replica.set_lag(lag);
        let watch = format!("{LEASES}?watch=1&timeoutSeconds=100&resourceVersion={}", server.version());
        let mut sleeps = Some(ask(replica.service("w"), &watch).await.into_body());
        let reads = tokio::spawn(ask(replica.service("w"), &watch).await.into_body().collect());
        for number in 0..90 {
            match number {
                30 => tokio::time::sleep(10 * SECOND).await,
                60 => {
                    tokio::time::sleep(10 * SECOND).await;
                    let late = sleeps.take().expect("only once").collect().await.expect("a clean end").to_bytes();
                    assert_eq!(lines(&late), 20, "{lag:?}");
                    replica.pause();
                }
                _ => {}
            }
            create(&server, &format!("lease-{number}"), json!({})).await;
        }
        tokio::time::sleep(60 * SECOND).await;
        replica.resume();
        let reads = reads.await.expect("no panic").expect("a clean end").to_bytes();
        assert_eq!(lines(&reads), if lag == Lag::Writes(10) { 80 } else { 90 }, "{lag:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_replica_refuses_what_is_older_than_itself() {
    let server = two();
    let replica = server.replica(1);
    let first = create(&server, "a", json!({})).await;
    let path = format!("{LEASES}?watch=1&resourceVersion={first}");
    let mut old = ask(replica.service("w"), &path).await.into_body();
    let mut other = ask(server.replica(0).service("w"), &path).await.into_body();
    create(&server, "b", json!({})).await;
    assert_eq!(events(&mut old).await, ["ADDED b"]);
    replica.restart();
    assert!(old.frame().await.is_none(), "a clean end");
    let error = ask(replica.service("w"), &path).await.into_body().collect().await.expect("an event").to_bytes();
    let error: Value = serde_json::from_slice(&error).expect("JSON");
    assert_eq!((error["type"].as_str(), error["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    assert_eq!(events(&mut other).await, ["ADDED b"], "the other replica has been there all the time");
}

#[tokio::test(start_paused = true)]
async fn an_uninitialised_cache_is_429_but_for_what_storage_can_answer() {
    let server = two();
    let replica = server.replica(1);
    create(&server, "a", json!({})).await;
    replica.set_ready(false);
    let code = async |query: &str| read(&replica, &format!("{LEASES}{query}")).await.0;
    assert_eq!((code("").await, code("?resourceVersion=0").await, code("?watch=1").await), (429, 429, 429));
    assert_eq!((code("?limit=5&labelSelector=a").await, code("?limit=5").await, code("/a").await), (429, 200, 200));
    tokio::time::sleep(20 * SECOND).await;
    let refused = ask(replica.service("w"), LEASES).await;
    assert_eq!(refused.headers()["retry-after"], "3", "e^(0.06 * 20)");
    replica.set_ready(true);
    assert_eq!(code("").await, 200);
}

/// Goal: each replica stamps what it answers by its own clock, and only that.
#[tokio::test(start_paused = true)]
async fn clocks_differ() {
    let server = common::server_with(|config| config.replicas = 3);
    let hour = SignedDuration::from_hours(1);
    server.replica(1).set_skew(hour);
    server.replica(2).set_skew(-hour);
    let path = "/api/v1/namespaces/default/configmaps";
    for (replica, time) in [(0, "03:04:05"), (1, "04:04:05"), (2, "02:04:05")] {
        let name = format!("map-{replica}");
        let object = json!({ "metadata": { "name": name, "finalizers": ["example.com/stay"] } });
        server.set_routing(Routing::To(replica));
        let (_, created) = common::send(&server, "POST", path, object).await;
        let (_, deleted) = common::send(&server, "DELETE", &format!("{path}/{name}"), Value::Null).await;
        let stamps = [&created["metadata"]["creationTimestamp"], &deleted["metadata"]["deletionTimestamp"]];
        assert_eq!(stamps, [&format!("2026-01-02T{time}Z"); 2], "{replica}");
    }
    // No clock goes past the end of time, and it can be set right again.
    server.set_routing(Routing::To(1));
    for (skew, time) in [(SignedDuration::MAX, "9999-12-30T22:00:00Z"), (SignedDuration::ZERO, "2026-01-02T03:04:05Z")]
    {
        server.replica(1).set_skew(skew);
        let object = json!({ "metadata": { "name": time[..4] } });
        let (_, created) = common::send(&server, "POST", path, object).await;
        assert_eq!(created["metadata"]["creationTimestamp"], time);
    }
}

/// Goal: clients go back in time where the routes let them, and only there.
#[tokio::test(start_paused = true)]
async fn routes_decide_who_goes_back_in_time() {
    let seen = async |routing: Routing| {
        let server = two();
        create(&server, "a", json!({})).await;
        server.replica(1).pause();
        create(&server, "b", json!({})).await;
        server.set_routing(routing);
        let service = server.service("alice");
        let mut seen = Vec::new();
        for _ in 0..8 {
            let body = ask(service.clone(), &format!("{LEASES}?resourceVersion=0")).await.into_body();
            let list: Value = serde_json::from_slice(&body.collect().await.expect("a body").to_bytes()).expect("JSON");
            seen.push(names(&list).len());
        }
        seen
    };
    assert_eq!(seen(Routing::To(0)).await, [2; 8]);
    assert_eq!(seen(Routing::To(1)).await, [1; 8]);
    assert_eq!(seen(Routing::RoundRobin).await, [1, 2, 1, 2, 1, 2, 1, 2]);
    let by_identity = seen(Routing::ByIdentity).await;
    assert!(by_identity.iter().all(|count| *count == by_identity[0]));
    let random = seen(Routing::Random).await;
    assert!(random.contains(&1) && random.contains(&2));
    assert_eq!(random, seen(Routing::Random).await, "the seed decides");
}
