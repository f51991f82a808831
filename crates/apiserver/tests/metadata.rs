//! Goal: whoever asks for metadata alone gets that and nothing else, in gets, lists, pages, watches and writes, and 406 where
//! it asks for the wrong one. Method: requests by hand, beside the same requests for whole objects; paused time.
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use common::{ALL_LEASES, LEASES, Watch, accepting, answer, call, create, get, names, send, server, version};
use serde_json::{Value, json};
use watchkeeper_apiserver::ApiServer;

const OBJECT: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

async fn ask(server: &ApiServer, method: &str, uri: &str, body: Value, accept: &'static str) -> (u16, Value) {
    answer(call(server, accepting(method, uri, body, accept)).await).await
}

fn partial(whole: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": whole["metadata"] })
}

#[tokio::test(start_paused = true)]
async fn gets_and_lists_are_metadata_alone() {
    let server = server();
    for name in ["a", "b", "c"] {
        let body = json!({ "metadata": { "name": name, "annotations": { "x": "}{\",\"metadata\":" } },
            "spec": { "holderIdentity": "me" } });
        assert_eq!(send(&server, "POST", LEASES, body).await.0, 201);
    }
    let (_, whole) = get(&server, &format!("{LEASES}/a")).await;
    assert_eq!(ask(&server, "GET", &format!("{LEASES}/a"), Value::Null, OBJECT).await, (200, partial(&whole)));
    let (_, all) = get(&server, ALL_LEASES).await;
    let (code, list) = ask(&server, "GET", ALL_LEASES, Value::Null, LIST).await;
    let items: Vec<Value> = all["items"].as_array().expect("items").iter().map(partial).collect();
    let expected = json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": all["metadata"], "items": items });
    assert_eq!((code, list), (200, expected));
    let (_, page) = ask(&server, "GET", &format!("{LEASES}?limit=2"), Value::Null, LIST).await;
    assert_eq!((names(&page), &page["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(1)));
    let rest = format!("{LEASES}?limit=2&continue={}", page["metadata"]["continue"].as_str().expect("a token"));
    assert_eq!(names(&ask(&server, "GET", &rest, Value::Null, LIST).await.1), ["c"]);
    let (code, status) = ask(&server, "GET", &format!("{LEASES}/none"), Value::Null, OBJECT).await;
    assert_eq!((code, &status["kind"]), (404, &json!("Status")));
}

#[tokio::test(start_paused = true)]
async fn a_long_list_of_metadata_is_complete() {
    let server = server();
    for number in 0..1000 {
        create(&server, &format!("lease-{number:04}"), json!({ "padding": "x".repeat(60) })).await;
    }
    let (code, list) = ask(&server, "GET", LEASES, Value::Null, LIST).await;
    assert_eq!((code, names(&list).len(), names(&list)[999]), (200, 1000, "lease-0999"));
}

#[tokio::test(start_paused = true)]
async fn watches_show_metadata_alone() {
    let server = server();
    let at = create(&server, "a", json!({ "app": "x" })).await;
    let uri = format!(
        "{LEASES}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=90"
    );
    let mut watch = Watch::start_as(&server, &uri, OBJECT).await;
    let mut selective = Watch::start_as(&server, &format!("{uri}&labelSelector=app%3Dx"), OBJECT).await;
    let (_, whole) = get(&server, &format!("{LEASES}/a")).await;
    for watch in [&mut watch, &mut selective] {
        assert_eq!(watch.next().await, Some(json!({ "type": "ADDED", "object": partial(&whole) })));
        let mark = watch.next().await.expect("the mark");
        let expected = json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {
            "resourceVersion": at.to_string(), "annotations": { "k8s.io/initial-events-end": "true" } } });
        assert_eq!(mark, json!({ "type": "BOOKMARK", "object": expected }));
    }
    let patch = json!({ "metadata": { "labels": { "app": "y" } }, "spec": { "holderIdentity": "me" } });
    let (_, changed) = send(&server, "PATCH", &format!("{LEASES}/a"), patch).await;
    send(&server, "DELETE", &format!("{LEASES}/a"), Value::Null).await;
    let modified = watch.next().await.expect("an event");
    assert_eq!(modified, json!({ "type": "MODIFIED", "object": partial(&changed) }));
    // Who leaves a selector is shown as it was, under the version of the change.
    let left = selective.next().await.expect("an event");
    assert_eq!((&left["type"], version(&left["object"])), (&json!("DELETED"), at + 1));
    assert_eq!(
        (&left["object"]["kind"], &left["object"]["metadata"]["labels"]["app"]),
        (&json!("PartialObjectMetadata"), &json!("x"))
    );
    let gone = watch.next().await.expect("an event");
    assert_eq!(
        (&gone["type"], version(&gone["object"]), gone["object"].get("spec")),
        (&json!("DELETED"), at + 2, None)
    );
    tokio::time::advance(Duration::from_secs(60)).await;
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("PartialObjectMetadata")));
    // Errors are what they always are.
    server.compact(server.version());
    let mut late = Watch::start_as(&server, &format!("{LEASES}?watch=1&resourceVersion={at}"), OBJECT).await;
    assert_eq!(late.short().await, "ERROR 410");
}

#[tokio::test(start_paused = true)]
async fn writes_answer_in_the_same_form() {
    let server = server();
    let body = json!({ "metadata": { "name": "a", "finalizers": ["a.dev/x"] }, "spec": { "holderIdentity": "me" } });
    let (code, created) = ask(&server, "POST", LEASES, body, OBJECT).await;
    assert_eq!((code, &created["kind"], created.get("spec")), (201, &json!("PartialObjectMetadata"), None));
    let uri = format!("{LEASES}/a");
    let (_, patched) = ask(&server, "PATCH", &uri, json!({ "metadata": { "labels": { "x": "y" } } }), OBJECT).await;
    assert_eq!(
        (&patched, get(&server, &uri).await.1["spec"]["holderIdentity"].as_str()),
        (&partial(&patched), Some("me"))
    );
    let (_, list) = ask(&server, "DELETE", LEASES, Value::Null, LIST).await;
    assert_eq!((&list["kind"], &list["items"][0]), (&json!("PartialObjectMetadataList"), &partial(&patched)));
    ask(&server, "PATCH", &uri, json!({ "metadata": { "finalizers": null } }), OBJECT).await;
    create(&server, "b", Value::Null).await;
    assert_eq!(ask(&server, "DELETE", &format!("{LEASES}/b"), Value::Null, OBJECT).await.1["kind"], "Status");
}

#[tokio::test(start_paused = true)]
async fn the_form_that_is_liked_best_decides() {
    let server = server();
    create(&server, "a", Value::Null).await;
    let one = format!("{LEASES}/a");
    let watch = format!("{LEASES}?watch=1&timeoutSeconds=1");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let rows: [(&str, &'static str, u16, &str); 20] = [
        (LEASES, OBJECT, 406, "you requested PartialObjectMetadata, but the requested object is a list"),
        (&one, LIST, 406, "you requested PartialObjectMetadataList, but the requested object is not a list"),
        (&watch, LIST, 406, "is not a list"),
        (&one, table, 406, "only the following media types are accepted"),
        (LEASES, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 200, "LeaseList"),
        (
            LEASES,
            "application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            200,
            "PartialObjectMetadataList",
        ),
        (&one, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v2", 406, "only the following media types"),
        (
            &one,
            "application/json;q=0.1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            200,
            "PartialObjectMetadata",
        ),
        (&one, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1;q=0.1,application/json", 200, "Lease"),
        (&one, "*/*,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", 200, "PartialObjectMetadata"),
        (&one, "application/*", 406, "Available representations"),
        (&one, "APPLICATION/JSON", 406, "Available representations"),
        (&one, "application/json;as=PartialObjectMetadata;g=other.k8s.io;v=v1,*/*", 200, "Lease"),
        (
            &one,
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
            200,
            "PartialObjectMetadata",
        ),
        (&one, "application/json; v=v1; as=PartialObjectMetadata; g=meta.k8s.io", 200, "PartialObjectMetadata"),
        (&one, "application/json, application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", 200, "Lease"),
        (&one, "application/json;q=0.5", 200, "Lease"),
        (&one, "*/*", 200, "Lease"),
        (&one, "", 200, "Lease"),
        (&one, "application/yaml", 406, "Available representations"),
    ];
    for (uri, accept, code, shown) in rows {
        let (answered, body) = ask(&server, "GET", uri, Value::Null, accept).await;
        let text = if code == 200 { &body["kind"] } else { &body["message"] };
        assert_eq!((answered, text.as_str().expect("text").contains(shown)), (code, true), "{uri} {accept}: {body}");
    }
}
