//! What the service-level tests share: requests by hand, bodies as JSON, watches as event lists.
#![allow(dead_code, clippy::disallowed_methods, reason = "each test program uses a part")]

pub(crate) mod socket;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use watchkeeper_apiserver::{ApiServer, Body, Config, TokioClock};

pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
pub(crate) const ALL_LEASES: &str = "/apis/coordination.k8s.io/v1/leases";

/// A server whose wall clock follows tokio's, with changes to the rest of the configuration.
pub(crate) fn server_with(change: impl FnOnce(&mut Config)) -> ApiServer {
    let start = "2026-01-02T03:04:05Z".parse().expect("a time");
    let mut config = Config { clock: Arc::new(TokioClock::starting_at(start)), ..Config::default() };
    change(&mut config);
    ApiServer::new(config)
}

pub(crate) fn server() -> ApiServer {
    server_with(|_| {})
}

pub(crate) fn request(method: &str, uri: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", media)
        .body(Full::new(body.into()))
        .expect("a request")
}

/// A request whose client accepts this.
pub(crate) fn accepting(method: &str, uri: &str, body: Value, accept: &'static str) -> Request<Full<Bytes>> {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let mut request = request(method, uri, body);
    request.headers_mut().insert("accept", http::HeaderValue::from_static(accept));
    request
}

pub(crate) async fn call(server: &ApiServer, request: Request<Full<Bytes>>) -> Response<Body> {
    server.service("tester").oneshot(request).await.expect("the service never fails")
}

/// Status code and body.
pub(crate) async fn send(server: &ApiServer, method: &str, uri: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    answer(call(server, request(method, uri, body)).await).await
}

/// Status code and body of a response.
pub(crate) async fn answer(response: Response<Body>) -> (u16, Value) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("bodies never fail").to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
}

pub(crate) async fn get(server: &ApiServer, uri: &str) -> (u16, Value) {
    send(server, "GET", uri, Value::Null).await
}

/// Creates a Lease in the default namespace and tells its version.
pub(crate) async fn create(server: &ApiServer, name: &str, labels: Value) -> u64 {
    let (code, lease) = send(server, "POST", LEASES, json!({ "metadata": { "name": name, "labels": labels } })).await;
    assert_eq!(code, 201, "{lease}");
    version(&lease)
}

pub(crate) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().expect("a version").parse().expect("a number")
}

/// The names of a list's items, in their order.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items are never null");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name")).collect()
}

/// A running watch, read event by event.
pub(crate) struct Watch {
    body: Body,
    rest: BytesMut,
}

impl Watch {
    pub(crate) async fn start(server: &ApiServer, uri: &str) -> Self {
        Self::start_as(server, uri, "application/json").await
    }

    /// A watch whose client accepts this.
    pub(crate) async fn start_as(server: &ApiServer, uri: &str, accept: &'static str) -> Self {
        let response = call(server, accepting("GET", uri, Value::Null, accept)).await;
        assert_eq!(response.status(), 200, "{uri}");
        Self { body: response.into_body(), rest: BytesMut::new() }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return Some(serde_json::from_slice(&line).expect("one JSON document a line"));
            }
            match self.body.frame().await {
                Some(frame) => {
                    let frame = frame.expect("bodies never fail").into_data().expect("no trailers");
                    self.rest.extend_from_slice(&frame);
                }
                None => {
                    assert!(self.rest.is_empty(), "a stream ends between events");
                    return None;
                }
            }
        }
    }

    /// The next event in short: type, name (or code), version.
    pub(crate) async fn short(&mut self) -> String {
        let Some(event) = self.next().await else { return "end".to_owned() };
        let object = &event["object"];
        let kind = event["type"].as_str().expect("a type");
        match kind {
            "ERROR" => format!("ERROR {}", object["code"]),
            "BOOKMARK" => {
                let end = object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true";
                format!("BOOKMARK {}{}", version(object), if end { " end" } else { "" })
            }
            _ => format!("{kind} {} {}", object["metadata"]["name"].as_str().expect("a name"), version(object)),
        }
    }

    /// So many events in short.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.short().await);
        }
        all
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            match self.short().await {
                end if end == "end" => return all,
                event => all.push(event),
            }
        }
    }
}
