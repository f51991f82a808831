//! Goal: I16, no value of an object gets into logs, status or errors, at whatever level. Method: Secrets full of a word, some of
//! which can't be decoded; an informer that lists, watches, relists and meets faults; every line at trace level, of every crate.
#![allow(clippy::disallowed_methods)]

mod lines;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use k8s_openapi::api::core::v1::Secret;
use kube_client::Client;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing_subscriber::filter::LevelFilter;
use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Refusal, Rule};
use watchkeeper_apiserver::{ApiServer, Config};
use watchkeeper_informer::{Deadlines, InformerConfig, KubeListWatch, Scope, SharedInformer};

use lines::Lines;

const CANARY: &str = "tweety-7f3a";
/// The same in base64.
const ENCODED: &str = "dHdlZXR5LTdmM2E=";

async fn write(server: &ApiServer, method: Method, name: &str, data: serde_json::Value) {
    let collection = "/api/v1/namespaces/default/secrets";
    let path = if method == Method::POST { collection.to_owned() } else { format!("{collection}/{name}") };
    let object =
        json!({"metadata": {"name": name, "annotations": {"note": CANARY}, "labels": {"l": CANARY}}, "data": data});
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(object.to_string()))).expect("a request");
    let answer = server.service("author").oneshot(request).await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}

#[tokio::test(start_paused = true)]
async fn nothing_of_an_object_is_logged() {
    let (lines, _logging) = Lines::logged(LevelFilter::TRACE);

    let server = ApiServer::new(Config::default());
    // Not base64, and no map: neither is what a Secret's data are.
    write(&server, Method::POST, "good", json!({ "key": ENCODED })).await;
    write(&server, Method::POST, "bad", json!({ "key": format!("!{CANARY}") })).await;
    write(&server, Method::POST, "worse", json!(CANARY)).await;
    let client = Client::new(server.service("reader"), "default");
    let source = KubeListWatch::new(client, Scope::namespaced::<Secret>("default"), Deadlines::default());
    let informer = SharedInformer::<Secret>::new(Arc::new(source), InformerConfig::default());
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    handle.add_handler(|_| {});
    let running = tokio::spawn(informer.run(stop.clone()));
    handle.synced().await.expect("it runs");
    let faults = [
        Action::Garbage { after_events: 0 },
        Action::Truncate { after_bytes: 90 },
        Action::OtherKind { after_events: 0 },
        Action::UnknownEventType { after_events: 0 },
        Action::MissingVersion { after_events: 0 },
        Action::ErrorEvent { after_events: 0, status: Refusal::of(410) },
        Action::Answer(Refusal::of(403)),
        Action::Html { code: 502 },
    ];
    for (number, action) in faults.into_iter().enumerate() {
        let budget = Budget { count: Some(1), ..Budget::default() };
        let matcher = Matcher { identity: Some("reader".to_owned()), ..Matcher::default() };
        server.faults().add(Rule { matcher, budget, ..Rule::new(action.kind(), action) }).expect("sound");
        server.close_watches();
        let number = format!("n{number}");
        write(&server, Method::PUT, "good", json!({ "key": ENCODED, number.clone(): "" })).await;
        write(&server, Method::PUT, "bad", json!({ number.clone(): format!("!{CANARY}") })).await;
        write(&server, Method::PUT, "worse", json!(format!("{CANARY}-{number}"))).await;
        sleep(Duration::from_secs(90)).await;
    }
    assert_eq!(server.faults().never_fired(), Vec::<String>::new());
    let status = format!("{:?} {:?}", handle.sync_status(), handle.quarantine());
    assert_eq!(handle.quarantine().len(), 2);
    stop.cancel();
    running.await.expect("no panic");

    let logged = lines.text();
    assert!(logged.contains("can't be decoded") && logged.contains("TRACE"), "there is something to find");
    let tells = |line: &&str| line.contains("tweety") || line.contains("dHdlZXR5");
    let found: Vec<&str> = logged.lines().chain([status.as_str()]).filter(tells).collect();
    assert!(found.is_empty(), "{found:#?}");
}
