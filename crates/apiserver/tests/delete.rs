//! Goal: deletions do what their options say, of one object and of a collection; a pod is bound once. Method: requests by
//! hand against the service, watches beside them, paused time.
#![allow(clippy::disallowed_methods)]

mod common;

use common::{LEASES, Watch, create, get, names, send, server, version};
use serde_json::{Value, json};
use watchkeeper_apiserver::ApiServer;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn five(server: &ApiServer) -> u64 {
    for (name, half) in [("a", "first"), ("b", "first"), ("c", "second"), ("d", "second"), ("e", "second")] {
        create(server, name, json!({ "half": half })).await;
    }
    server.version()
}

#[tokio::test(start_paused = true)]
async fn a_collection_goes_object_by_object() {
    let server = server();
    let at = five(&server).await;
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=1&resourceVersion={at}")).await;
    let (code, list) = send(&server, "DELETE", &format!("{LEASES}?labelSelector=half%3Dsecond"), Value::Null).await;
    assert_eq!((code, &list["kind"], version(&list)), (200, &json!("LeaseList"), at));
    assert_eq!(names(&list), ["c", "d", "e"]);
    assert_eq!(list["items"][0]["metadata"]["labels"]["half"], "second", "as they were");
    let gone: Vec<String> =
        ["c", "d", "e"].iter().zip(at + 1..).map(|(name, at)| format!("DELETED {name} {at}")).collect();
    assert_eq!(watch.take(3).await, gone);
    assert_eq!(names(&get(&server, LEASES).await.1), ["a", "b"]);
    let writes = server.writes();
    let record = writes.last().expect("recorded");
    assert_eq!((record.verb, record.name.as_str(), record.version), ("deletecollection", "", Some(at + 3)));
    // Fields choose too, and an empty collection is no error.
    send(&server, "DELETE", &format!("{LEASES}?fieldSelector=metadata.name%3Da"), Value::Null).await;
    assert_eq!(names(&get(&server, LEASES).await.1), ["b"]);
    assert_eq!(names(&send(&server, "DELETE", LEASES, json!({ "kind": "DeleteOptions" })).await.1), ["b"]);
    let (code, none) = send(&server, "DELETE", LEASES, Value::Null).await;
    assert_eq!((code, names(&none).len()), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn a_collection_goes_page_by_page_if_asked() {
    let server = server();
    five(&server).await;
    let (_, page) = send(&server, "DELETE", &format!("{LEASES}?limit=2"), Value::Null).await;
    assert_eq!((names(&page), &page["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    create(&server, "aa", Value::Null).await;
    let token = page["metadata"]["continue"].as_str().expect("a token");
    let (code, rest) = send(&server, "DELETE", &format!("{LEASES}?limit=5&continue={token}"), Value::Null).await;
    assert_eq!((code, names(&rest)), (200, vec!["c", "d", "e"]));
    assert_eq!(names(&get(&server, LEASES).await.1), ["aa"], "what came after the first page stays");
}

#[tokio::test(start_paused = true)]
async fn a_collection_keeps_preconditions_finalizers_and_dry_runs() {
    let server = server();
    let at = five(&server).await;
    for dry in [format!("{LEASES}?dryRun=All"), LEASES.to_owned()] {
        let body = if dry.contains('?') { Value::Null } else { json!({ "dryRun": ["All"] }) };
        assert_eq!(names(&send(&server, "DELETE", &dry, body).await.1).len(), 5);
        assert_eq!((server.version(), names(&get(&server, LEASES).await.1).len()), (at, 5));
    }
    let uid = get(&server, &format!("{LEASES}/a")).await.1["metadata"]["uid"].clone();
    let (code, status) = send(&server, "DELETE", LEASES, json!({ "preconditions": { "uid": uid } })).await;
    assert_eq!((code, &status["details"]["name"]), (409, &json!("b")), "the second isn't the first");
    assert_eq!(names(&get(&server, LEASES).await.1), ["b", "c", "d", "e"], "what was deleted stays deleted");
    let hold = json!({ "metadata": { "finalizers": ["a.dev/x"] } });
    send(&server, "PATCH", &format!("{LEASES}/c"), hold).await;
    send(&server, "DELETE", LEASES, Value::Null).await;
    let (_, left) = get(&server, LEASES).await;
    assert_eq!(names(&left), ["c"]);
    assert!(left["items"][0]["metadata"]["deletionTimestamp"].is_string());
    for (query, code) in
        [("labelSelector=%3D", 400), ("fieldSelector=spec.x%3D1", 400), ("limit=x", 400), ("dryRun=x", 422)]
    {
        assert_eq!(send(&server, "DELETE", &format!("{LEASES}?{query}"), Value::Null).await.0, code, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn options_of_a_deletion_are_checked() {
    let server = server();
    create(&server, "a", Value::Null).await;
    let before = server.version();
    let both = json!({ "propagationPolicy": "Background", "orphanDependents": false });
    let rows = [
        (both, 422, "propagationPolicy: Invalid value: \"Background\": orphanDependents and deletionPropagation"),
        (json!({ "propagationPolicy": "Sideways" }), 422, "Unsupported value: \"Sideways\""),
        (json!({ "dryRun": ["Some"] }), 422, "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""),
        (json!({ "gracePeriodSeconds": "long" }), 400, "gracePeriodSeconds"),
        (json!({ "orphanDependents": "no" }), 400, "orphanDependents"),
        (json!({ "preconditions": [] }), 400, "preconditions"),
        (json!({ "preconditions": { "uid": 7 } }), 400, "preconditions.uid"),
        (json!({ "kind": "Lease" }), 400, "no kind \"Lease\" is registered for version \"v1\""),
        (json!([]), 400, "json parse error"),
    ];
    for (options, code, text) in rows {
        let (answered, status) = send(&server, "DELETE", &format!("{LEASES}/a"), options.clone()).await;
        assert_eq!(answered, code, "{options}: {status}");
        assert!(status["message"].as_str().expect("text").contains(text), "{status}");
        if code == 422 {
            assert_eq!((&status["details"]["kind"], &status["reason"]), (&json!("DeleteOptions"), &json!("Invalid")));
        }
    }
    for query in ["gracePeriodSeconds=x", "propagationPolicy=Background&orphanDependents=true"] {
        let (code, _) = send(&server, "DELETE", &format!("{LEASES}/a?{query}"), Value::Null).await;
        assert!(matches!(code, 400 | 422), "{query}: {code}");
    }
    assert_eq!(server.version(), before);
    // A negative grace counts as a short one; here everything goes at once anyway.
    let (code, _) = send(&server, "DELETE", &format!("{LEASES}/a"), json!({ "gracePeriodSeconds": -5 })).await;
    assert_eq!((code, get(&server, &format!("{LEASES}/a")).await.0), (200, 404));
}

#[tokio::test(start_paused = true)]
async fn what_a_garbage_collector_would_hold_is_marked_and_let_go() {
    let server = server();
    let (mut at, finalizers) = (0, |event: &Value| event["object"]["metadata"]["finalizers"].clone());
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        for own in [json!([]), json!(["a.dev/x"])] {
            let name = format!("m-{at}");
            at += 1;
            let uri = format!("{MAPS}/{name}");
            let body = json!({ "metadata": { "name": name, "finalizers": own } });
            let (_, map) = send(&server, "POST", MAPS, body).await;
            let mut watch = Watch::start(&server, &format!("{MAPS}?watch=1&resourceVersion={}", version(&map))).await;
            let (code, marked) = send(&server, "DELETE", &uri, json!({ "propagationPolicy": policy })).await;
            let mut expected = own.as_array().expect("a list").clone();
            expected.push(json!(finalizer));
            assert_eq!((code, &marked["metadata"]["finalizers"]), (200, &json!(expected)));
            let first = watch.next().await.expect("an event");
            assert_eq!((&first["type"], finalizers(&first)), (&json!("MODIFIED"), json!(expected)));
            let second = watch.next().await.expect("an event");
            if own == json!([]) {
                assert_eq!((second["type"].as_str(), get(&server, &uri).await.0), (Some("DELETED"), 404));
            } else {
                assert_eq!((second["type"].as_str(), finalizers(&second)), (Some("MODIFIED"), own));
                // Asked again, nothing happens.
                let before = server.version();
                send(&server, "DELETE", &uri, json!({ "propagationPolicy": policy })).await;
                assert_eq!(server.version(), before);
            }
        }
    }
    // In the background nothing waits, not even where the object says so; by default what the object says counts.
    for (name, options, events) in [("x", json!({ "propagationPolicy": "Background" }), 1), ("y", json!({}), 2)] {
        let body = json!({ "metadata": { "name": name, "finalizers": ["orphan"] } });
        let (_, map) = send(&server, "POST", MAPS, body).await;
        assert_eq!(send(&server, "DELETE", &format!("{MAPS}/{name}"), options).await.0, 200);
        assert_eq!((server.version(), get(&server, &format!("{MAPS}/{name}")).await.0), (version(&map) + events, 404));
    }
}

#[tokio::test(start_paused = true)]
async fn every_verb_can_be_run_dry() {
    let server = server();
    create(&server, "a", Value::Null).await;
    send(&server, "POST", MAPS, json!({ "metadata": { "name": "held", "finalizers": ["a.dev/x"] } })).await;
    send(&server, "POST", PODS, json!({ "metadata": { "name": "p" } })).await;
    send(&server, "POST", "/api/v1/namespaces", json!({ "metadata": { "name": "x" } })).await;
    let at = server.version();
    let (lease, pod) = (format!("{LEASES}/a"), format!("{PODS}/p"));
    let node = json!({ "target": { "name": "n" } });
    let rows = [
        ("POST", LEASES, json!({ "metadata": { "name": "b" } }), 201),
        ("POST", LEASES, json!({ "metadata": { "name": "a" } }), 409),
        ("POST", LEASES, json!({ "metadata": { "name": "B" } }), 422),
        ("PUT", &lease, json!({ "metadata": { "name": "a", "resourceVersion": "1" } }), 409),
        ("PUT", &format!("{LEASES}/new"), json!({ "metadata": { "name": "new" } }), 201),
        ("PATCH", &lease, json!({ "spec": { "leaseTransitions": 1 } }), 200),
        ("PATCH", &format!("{pod}/status"), json!({ "status": { "phase": "Running" } }), 200),
        ("POST", &format!("{pod}/binding"), node, 201),
        ("DELETE", &lease, json!({ "preconditions": { "uid": "other" } }), 409),
        // With a body the query counts for nothing, so the body says it, too.
        ("DELETE", &lease, json!({ "propagationPolicy": "Foreground", "dryRun": ["All"] }), 200),
        ("DELETE", &format!("{MAPS}/held"), Value::Null, 200),
        ("DELETE", MAPS, Value::Null, 200),
        ("DELETE", "/api/v1/namespaces/x", Value::Null, 200),
    ];
    for (method, uri, body, code) in rows {
        let (answered, answer) = send(&server, method, &format!("{uri}?dryRun=All"), body).await;
        assert_eq!((answered, server.version()), (code, at), "{method} {uri}: {answer}");
    }
    // In the body of a deletion it is a list.
    assert_eq!(send(&server, "DELETE", &lease, json!({ "dryRun": ["All"] })).await.0, 200);
    assert_eq!((server.version(), get(&server, &lease).await.0), (at, 200));
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    let server = server();
    let (_, pod) = send(&server, "POST", PODS, json!({ "metadata": { "name": "p" } })).await;
    let uri = format!("{PODS}/p/binding");
    let mut watch = Watch::start(
        &server,
        &format!("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1&resourceVersion={}", version(&pod)),
    )
    .await;
    let refused = [
        (json!({ "target": {} }), 422, "target.name: Required value"),
        (json!({ "target": { "kind": "Pod", "name": "n1" } }), 422, "target.kind: Unsupported value"),
        (json!({ "metadata": { "name": "q" }, "target": { "name": "n1" } }), 400, "does not match name in Binding"),
        (json!({ "kind": "Pod", "target": { "name": "n1" } }), 400, "does not match the expected"),
        (json!({ "metadata": { "uid": "other" }, "target": { "name": "n1" } }), 409, "Precondition failed"),
    ];
    for (body, code, text) in refused {
        let (answered, status) = send(&server, "POST", &uri, body).await;
        assert_eq!((answered, status["message"].as_str().expect("text").contains(text)), (code, true), "{status}");
    }
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "target": { "kind": "Node", "name": "n1" },
        "metadata": { "name": "p", "uid": pod["metadata"]["uid"], "annotations": { "by": "me" } } });
    let (code, status) = send(&server, "POST", &uri, binding.clone()).await;
    assert_eq!((code, &status["kind"], &status["status"]), (201, &json!("Status"), &json!("Success")));
    let (_, bound) = get(&server, &format!("{PODS}/p")).await;
    assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["annotations"]["by"]), (&json!("n1"), &json!("me")));
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(watch.short().await, format!("ADDED p {}", version(&bound)));
    let (code, status) = send(&server, "POST", &uri, binding).await;
    let text = r#"Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1""#;
    assert_eq!((code, status["message"].as_str(), status["reason"].as_str()), (409, Some(text), Some("Conflict")));
    assert_eq!(send(&server, "POST", &format!("{PODS}/q/binding"), json!({ "target": { "name": "n" } })).await.0, 404);
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        assert_eq!(send(&server, method, &uri, Value::Null).await.0, 405, "{method}");
    }
}
