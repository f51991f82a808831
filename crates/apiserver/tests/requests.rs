//! Goal: requests are bounded in time and size, refused with upstream's codes, and all mutating ones recorded; discovery
//! names what is served. Method: requests by hand against the service, paused time.
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{LEASES, call, get, request, send, server, server_with};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

#[tokio::test(start_paused = true)]
async fn a_request_whose_time_is_up_is_not_applied() {
    let server = server();
    let before = server.version();
    // A body that takes five seconds to arrive.
    let slow = futures::stream::once(async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let body = json!({ "metadata": { "name": "a" } }).to_string();
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(body)))
    });
    let body = http_body_util::StreamBody::new(Box::pin(slow));
    let slow = Request::post(format!("{LEASES}?timeout=1500ms")).body(body).expect("a request");
    let begin = tokio::time::Instant::now();
    let response = server.service("tester").oneshot(slow).await.expect("the service never fails");
    assert_eq!((response.status().as_u16(), begin.elapsed().as_millis()), (504, 1500));
    let status: Value =
        serde_json::from_slice(&response.into_body().collect().await.expect("a body").to_bytes()).expect("a Status");
    assert_eq!(status["reason"], "Timeout");
    // A request that was already too old when it was looked at: time passes between call and poll.
    let request = request("POST", &format!("{LEASES}?timeout=1s"), json!({ "metadata": { "name": "b" } }).to_string());
    let answer = tower::Service::call(&mut server.service("tester"), request);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(answer.await.expect("the service never fails").status(), 504);
    assert_eq!(server.version(), before);
    for garbage in ["soon", "5"] {
        assert_eq!(send(&server, "POST", &format!("{LEASES}?timeout={garbage}"), json!({})).await.0, 400, "{garbage}");
    }
    assert_eq!(
        send(&server, "POST", &format!("{LEASES}?timeout=0s"), json!({ "metadata": { "name": "c" } })).await.0,
        201
    );
}

#[tokio::test(start_paused = true)]
async fn bad_requests_get_upstreams_codes() {
    let server = server_with(|config| config.body_limit = 1000);
    let with = |method: &str, uri: &str, name: &str, value: &str, body: String| {
        Request::builder()
            .method(method)
            .uri(uri)
            .header(name, value)
            .body(Full::new(Bytes::from(body)))
            .expect("a request")
    };
    let deep = format!("{}{}", r#"{"a":"#.repeat(300), "}".repeat(300));
    let rows = [
        (request("POST", LEASES, "{not json"), 400),
        (request("POST", LEASES, "[]"), 400),
        (request("POST", LEASES, deep.clone()), 413),
        (request("POST", LEASES, deep[..990].to_owned()), 400),
        (with("POST", LEASES, "content-type", "application/yaml", "a: b".into()), 415),
        (with("POST", LEASES, "content-type", "application/vnd.kubernetes.protobuf", String::new()), 415),
        (with("GET", LEASES, "accept", "application/yaml", String::new()), 406),
        (
            with(
                "GET",
                LEASES,
                "accept",
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=1",
                String::new(),
            ),
            406,
        ),
        (
            with(
                "GET",
                LEASES,
                "accept",
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                String::new(),
            ),
            200,
        ),
        (with("GET", LEASES, "accept", "application/vnd.kubernetes.protobuf,application/json", String::new()), 200),
        (request("PUT", LEASES, "{}"), 405),
        (request("DELETE", common::ALL_LEASES, ""), 405),
        (request("DELETE", "/api/v1/namespaces", ""), 405),
        (request("POST", common::ALL_LEASES, "{}"), 405),
        (request("OPTIONS", LEASES, ""), 405),
        (request("GET", &format!("{LEASES}?limit=%zz"), ""), 200),
        (request("GET", &format!("{LEASES}?limit=x"), ""), 400),
        (request("GET", "/apis/coordination.k8s.io/v1/nothings", ""), 404),
        (request("GET", "/apis/none.dev/v1/leases", ""), 404),
        (request("GET", "/apis/coordination.k8s.io/v1/leases/a", ""), 404),
    ];
    for (request, code) in rows {
        let shown = format!("{} {}", request.method(), request.uri());
        let response = call(&server, request).await;
        assert_eq!(response.status().as_u16(), code, "{shown}");
        let json = response.headers()["content-type"] == "application/json";
        // Below a group that is served, also what isn't there is answered in its terms.
        assert_eq!(json, !shown.contains("none.dev"), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn discovery_names_what_is_served() {
    let server = server();
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(get(&server, path).await, (200, json!("ok")));
    }
    let (_, core) = get(&server, "/api/v1").await;
    let names: Vec<&str> =
        core["resources"].as_array().expect("a list").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(
        names[..6],
        ["namespaces", "namespaces/finalize", "namespaces/status", "configmaps", "endpoints", "events"]
    );
    let (_, groups) = get(&server, "/apis").await;
    let named: Vec<&str> =
        groups["groups"].as_array().expect("a list").iter().filter_map(|group| group["name"].as_str()).collect();
    assert_eq!(named, ["apps", "events.k8s.io", "batch", "coordination.k8s.io", "discovery.k8s.io"]);
    assert_eq!(groups["groups"][3]["preferredVersion"]["groupVersion"], "coordination.k8s.io/v1");
    assert_eq!(groups["groups"][3]["versions"][1]["version"], "v1beta1");
    assert_eq!(get(&server, "/apis/events.k8s.io/v1").await.1["resources"][0]["kind"], "Event");
    assert_eq!(get(&server, "/version").await.1["minor"], "36");
    assert_eq!(get(&server, "/nowhere").await, (404, json!("404 page not found\n")));
}

#[tokio::test(start_paused = true)]
async fn every_mutating_request_is_recorded() {
    use std::sync::{Arc, Mutex};
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Shared::default();
    let server = server_with(|config| {
        config.audit_records = 4;
        config.audit_log = Some(Box::new(log.clone()));
    });
    let epoch = json!({ "metadata": { "name": "a", "annotations": { "epoch.watchkeeper.dev/default.a": "45" } } });
    send(&server, "POST", LEASES, epoch.clone()).await;
    send(&server, "POST", LEASES, epoch).await;
    send(&server, "PATCH", &format!("{LEASES}/a"), json!({ "metadata": { "annotations": null } })).await;
    send(&server, "DELETE", &format!("{LEASES}/a"), Value::Null).await;
    send(&server, "PUT", &format!("{LEASES}/b"), json!([])).await;
    get(&server, LEASES).await;
    let text = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let short: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {} {} {} {}", line["verb"], line["name"], line["code"], line["version"], line["epoch"]))
        .collect();
    let first = server.version() - 2;
    assert_eq!(
        short,
        [
            format!(r#""create" "a" 201 {first} "45""#),
            r#""create" "a" 409 null null"#.to_owned(),
            format!(r#""patch" "a" 200 {} null"#, first + 1),
            format!(r#""delete" "a" 200 {} null"#, first + 2),
            r#""update" "b" 400 null null"#.to_owned(),
        ]
    );
    assert_eq!(lines[0]["resource"], "coordination.k8s.io/leases");
    assert_eq!((&lines[0]["namespace"], &lines[0]["identity"]), (&json!("default"), &json!("tester")));
    assert!(lines[0]["bootNanos"].is_u64());
    let writes = server.writes();
    assert_eq!((writes.len(), writes[0].code, writes[3].verb), (4, 409, "update"), "the newest four");
}
