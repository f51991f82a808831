//! Goal: writes keep their promises: preconditions, the fields that are the server's, validation, finalizers,
//! namespaces, dry runs. Method: requests by hand against the service, paused time.
#![allow(clippy::disallowed_methods)]

mod common;

use bytes::Bytes;
use common::{LEASES, Watch, call, create, get, send, server, version};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test(start_paused = true)]
async fn the_server_decides_what_is_the_servers() {
    let server = server();
    let body = json!({ "metadata": {
        "name": "a", "uid": "mine", "creationTimestamp": null, "deletionTimestamp": "2020-01-01T00:00:00Z", "generation": 9,
    }, "spec": { "renewTime": "2026-01-02T04:04:05.000000+01:00" } });
    let (code, lease) = send(&server, "POST", LEASES, body).await;
    assert_eq!(code, 201);
    assert_eq!((lease["kind"].as_str(), lease["metadata"]["namespace"].as_str()), (Some("Lease"), Some("default")));
    assert_eq!(lease["metadata"]["creationTimestamp"], "2026-01-02T03:04:05Z");
    assert_eq!(lease["metadata"].get("deletionTimestamp"), None);
    // Kinds that don't count generations keep what they are given.
    assert_eq!(lease["metadata"]["generation"], 9);
    assert_ne!(lease["metadata"]["uid"], "mine");
    // Times are stored in UTC.
    assert_eq!(lease["spec"]["renewTime"], "2026-01-02T03:04:05.000000Z");
    let mut changed = lease.clone();
    changed["metadata"]["creationTimestamp"] = json!("2000-01-01T00:00:00Z");
    changed["metadata"]["annotations"] = json!({ "x": "y" });
    let (code, updated) = send(&server, "PUT", &format!("{LEASES}/a"), changed).await;
    assert_eq!((code, &updated["metadata"]["creationTimestamp"]), (200, &lease["metadata"]["creationTimestamp"]));
    assert_eq!(version(&updated), version(&lease) + 1);
    assert_eq!(get(&server, &format!("{LEASES}/a")).await, (200, updated));
}

#[tokio::test(start_paused = true)]
async fn creations_are_refused_with_upstreams_answers() {
    let server = server();
    create(&server, "taken", Value::Null).await;
    let named = |name: &str| json!({ "metadata": { "name": name } });
    let spec = |spec: Value| json!({ "metadata": { "name": "x" }, "spec": spec });
    let elsewhere = "/apis/coordination.k8s.io/v1/namespaces/nowhere/leases";
    let rows = [
        (LEASES, named("taken"), 409, "AlreadyExists", r#"leases.coordination.k8s.io "taken" already exists"#),
        (LEASES, named("Bad_Name"), 422, "Invalid", "a lowercase RFC 1123 subdomain must consist"),
        (LEASES, json!({}), 422, "Invalid", "name or generateName is required"),
        (elsewhere, named("x"), 404, "NotFound", r#"namespaces "nowhere" not found"#),
        (
            LEASES,
            json!({ "metadata": { "name": "x", "namespace": "other" } }),
            400,
            "BadRequest",
            "does not match the namespace",
        ),
        (
            LEASES,
            json!({ "apiVersion": "v1", "metadata": { "name": "x" } }),
            400,
            "BadRequest",
            "no kind \"Lease\" is registered for version",
        ),
        (
            LEASES,
            json!({ "kind": "Pod", "metadata": { "name": "x" } }),
            400,
            "BadRequest",
            "cannot be handled as a Lease",
        ),
        (
            LEASES,
            spec(json!({ "leaseDurationSeconds": 0 })),
            422,
            "Invalid",
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (LEASES, spec(json!({ "leaseDurationSeconds": -3 })), 422, "Invalid", "must be greater than 0"),
        (LEASES, spec(json!({ "leaseTransitions": -1 })), 422, "Invalid", "must be greater than or equal to 0"),
        (LEASES, spec(json!({ "leaseDurationSeconds": "long" })), 400, "BadRequest", "cannot be handled as a Lease"),
        (
            LEASES,
            spec(json!({ "renewTime": "2026-01-02T03:04:05Z" })),
            400,
            "BadRequest",
            "cannot parse \"Z\" as \".000000\"",
        ),
        (LEASES, spec(json!({ "renewTime": "yesterday" })), 400, "BadRequest", "cannot be handled as a Lease"),
        (LEASES, json!({ "metadata": { "name": "x", "labels": { "a b": "c" } } }), 422, "Invalid", "metadata.labels"),
        (
            LEASES,
            json!({ "metadata": { "name": "x", "labels": { "a": 1 } } }),
            400,
            "BadRequest",
            "must be a map of strings",
        ),
        ("/api/v1/namespaces", named("with.dot"), 422, "Invalid", "must not contain dots"),
    ];
    let before = server.version();
    for (uri, body, code, reason, text) in rows {
        let (answered, status) = send(&server, "POST", uri, body).await;
        assert_eq!((answered, status["reason"].as_str()), (code, Some(reason)), "{status}");
        assert!(status["message"].as_str().expect("a message").contains(text), "{status}");
    }
    let (code, status) =
        send(&server, "POST", LEASES, json!({ "metadata": { "name": "x", "resourceVersion": "5" } })).await;
    assert_eq!(
        (code, status["message"].as_str()),
        (500, Some("resourceVersion should not be set on objects to be created"))
    );
    assert_eq!(server.version(), before, "what is refused takes no version");
    // An empty holder is how a release looks.
    let released = spec(json!({ "holderIdentity": "", "leaseDurationSeconds": 1 }));
    assert_eq!(send(&server, "POST", LEASES, released).await.0, 201);
}

#[tokio::test(start_paused = true)]
async fn generated_names_differ() {
    let server = server();
    let body = json!({ "metadata": { "generateName": "map-" } });
    let (_, one) = send(&server, "POST", MAPS, body.clone()).await;
    let (_, two) = send(&server, "POST", MAPS, body).await;
    let name = one["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("map-") && name.len() == 9, "{name}");
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
    let long = json!({ "metadata": { "generateName": "x".repeat(100) } });
    let (_, long) = send(&server, "POST", MAPS, long).await;
    assert_eq!(long["metadata"]["name"].as_str().map(str::len), Some(63));
}

#[tokio::test(start_paused = true)]
async fn updates_need_the_version_and_uid_they_were_made_from() {
    let server = server();
    let at = create(&server, "a", Value::Null).await;
    let uri = format!("{LEASES}/a");
    let put = |metadata: Value| {
        send(&server, "PUT", &uri, json!({ "metadata": metadata, "spec": { "holderIdentity": "me" } }))
    };
    let (code, status) = put(json!({ "name": "a", "resourceVersion": (at + 1).to_string() })).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(status["details"], json!({ "name": "a", "group": "coordination.k8s.io", "kind": "leases" }));
    let (code, status) = put(json!({ "name": "a", "resourceVersion": at.to_string(), "uid": "other" })).await;
    assert_eq!(code, 409);
    assert!(status["message"].as_str().expect("text").contains("Precondition failed: UID in precondition: other"));
    // A Lease can't be overwritten blindly, a ConfigMap can.
    for none in [json!({ "name": "a" }), json!({ "name": "a", "resourceVersion": "0" })] {
        let (code, status) = put(none).await;
        assert_eq!(code, 422, "{status}");
        assert!(
            status["message"].as_str().expect("text").contains("metadata.resourceVersion: Invalid value: 0: must be")
        );
    }
    assert_eq!(put(json!({ "name": "b", "resourceVersion": at.to_string() })).await.0, 400);
    assert_eq!(put(json!({ "name": "a", "resourceVersion": at.to_string() })).await.0, 200);
    send(&server, "POST", MAPS, json!({ "metadata": { "name": "m" } })).await;
    let body = json!({ "metadata": { "name": "m" }, "data": { "x": "y" } });
    assert_eq!(send(&server, "PUT", &format!("{MAPS}/m"), body.clone()).await.0, 200);
    // A PUT of what doesn't exist creates a Lease, but no ConfigMap; never if a certain object was meant.
    let missing = format!("{LEASES}/new");
    let with_uid = json!({ "metadata": { "name": "new", "uid": "gone" } });
    assert_eq!(send(&server, "PUT", &missing, with_uid).await.0, 409);
    assert_eq!(send(&server, "PUT", &missing, json!({ "metadata": { "name": "new" } })).await.0, 201);
    assert_eq!(send(&server, "PUT", &format!("{MAPS}/none"), json!({ "metadata": { "name": "none" } })).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn patches_apply_to_the_present_state_unless_they_name_another() {
    let server = server();
    let at = create(&server, "a", json!({ "x": "1", "y": "2" })).await;
    let uri = format!("{LEASES}/a");
    let (code, lease) = send(
        &server,
        "PATCH",
        &uri,
        json!({ "metadata": { "labels": { "x": null } }, "spec": { "leaseTransitions": 1 } }),
    )
    .await;
    assert_eq!((code, &lease["metadata"]["labels"]), (200, &json!({ "y": "2" })));
    let stale = json!({ "metadata": { "resourceVersion": at.to_string(), "labels": { "z": "3" } } });
    assert_eq!(send(&server, "PATCH", &uri, stale).await.0, 409);
    let (code, status) = send(&server, "PATCH", &uri, json!({ "metadata": { "uid": "other" } })).await;
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")));
    assert_eq!(send(&server, "PATCH", &uri, json!({ "spec": { "leaseDurationSeconds": 0 } })).await.0, 422);
    assert_eq!(send(&server, "PATCH", &format!("{LEASES}/none"), json!({})).await.0, 404);
    let media = |media: &str, body: Value| {
        let request = Request::builder().method("PATCH").uri(&uri).header("content-type", media);
        request.body(Full::new(Bytes::from(body.to_string()))).expect("a request")
    };
    let test = |value: &str| {
        json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": value },
            { "op": "add", "path": "/metadata/labels/z", "value": "3" },
        ])
    };
    let json_patch = "application/json-patch+json";
    assert_eq!(call(&server, media(json_patch, test("1"))).await.status(), 422);
    assert_eq!(call(&server, media(json_patch, test(&version(&lease).to_string()))).await.status(), 200);
    for other in ["application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/json"] {
        let refused = call(&server, media(other, json!({}))).await;
        assert_eq!(refused.status(), 415, "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn status_and_spec_have_their_own_paths() {
    let server = server();
    let body = json!({ "metadata": { "name": "p" }, "spec": { "nodeName": "n" }, "status": { "phase": "Running" } });
    let (_, pod) = send(&server, "POST", PODS, body).await;
    assert_eq!((pod["status"]["phase"].as_str(), pod["metadata"]["generation"].as_u64()), (Some("Pending"), Some(1)));
    let both = json!({ "spec": { "nodeName": "m" }, "status": { "phase": "Running" } });
    let (code, pod) = send(&server, "PATCH", &format!("{PODS}/p/status"), both.clone()).await;
    assert_eq!(code, 200);
    assert_eq!((pod["status"]["phase"].as_str(), pod["spec"]["nodeName"].as_str()), (Some("Running"), Some("n")));
    assert_eq!(pod["metadata"]["generation"], 1);
    let (_, pod) =
        send(&server, "PATCH", &format!("{PODS}/p"), json!({ "spec": { "nodeName": "m" }, "status": null })).await;
    assert_eq!((pod["status"]["phase"].as_str(), pod["spec"]["nodeName"].as_str()), (Some("Running"), Some("m")));
    assert_eq!(pod["metadata"]["generation"], 2);
    assert_eq!(get(&server, &format!("{PODS}/p/status")).await.0, 200);
    assert_eq!(get(&server, &format!("{LEASES}/a/status")).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = server();
    let body = json!({ "metadata": { "name": "m", "finalizers": ["a.dev/x"] } });
    let (_, created) = send(&server, "POST", MAPS, body).await;
    let uri = format!("{MAPS}/m");
    let mut watch = Watch::start(&server, &format!("{MAPS}?watch=true&resourceVersion={}", version(&created))).await;
    let (code, marked) = send(&server, "DELETE", &uri, Value::Null).await;
    assert_eq!((code, marked["kind"].as_str()), (200, Some("ConfigMap")));
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-02T03:04:05Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    // Asked again it is the same, and no event.
    assert_eq!(send(&server, "DELETE", &uri, Value::Null).await, (200, marked.clone()));
    let (code, status) =
        send(&server, "PATCH", &uri, json!({ "metadata": { "finalizers": ["a.dev/x", "b.dev/y"] } })).await;
    assert_eq!(code, 422);
    assert!(status["message"].as_str().expect("text").contains("no new finalizers can be added"));
    let (_, taken) = send(&server, "POST", MAPS, json!({ "metadata": { "name": "m" } })).await;
    assert!(taken["message"].as_str().expect("text").starts_with("object is being deleted: "));
    let (code, _) = send(&server, "PATCH", &uri, json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!((code, get(&server, &uri).await.0), (200, 404));
    assert_eq!(watch.short().await, format!("MODIFIED m {}", version(&marked)));
    let last = watch.next().await.expect("an event");
    assert_eq!((last["type"].as_str(), version(&last["object"])), (Some("DELETED"), version(&marked) + 1));
    assert_eq!(last["object"]["metadata"]["finalizers"], json!(["a.dev/x"]), "the last stored state");
}

#[tokio::test(start_paused = true)]
async fn deletions_keep_their_preconditions() {
    let server = server();
    let at = create(&server, "a", Value::Null).await;
    let uri = format!("{LEASES}/a");
    let delete = |preconditions: Value| send(&server, "DELETE", &uri, json!({ "preconditions": preconditions }));
    let (code, status) = delete(json!({ "uid": "other" })).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    assert!(status["message"].as_str().expect("text").contains("the UID in the precondition (other) does not match"));
    let (code, status) = delete(json!({ "resourceVersion": "1" })).await;
    assert_eq!(code, 409);
    assert!(
        status["message"]
            .as_str()
            .expect("text")
            .contains("the ResourceVersion in the precondition (1) does not match")
    );
    let (code, status) = delete(json!({ "resourceVersion": at.to_string() })).await;
    assert_eq!((code, status["status"].as_str()), (200, Some("Success")));
    assert_eq!((&status["details"]["kind"], &status["details"]["name"]), (&json!("leases"), &json!("a")));
    let (code, status) = delete(json!({})).await;
    assert_eq!((code, status["message"].as_str()), (404, Some(r#"leases.coordination.k8s.io "a" not found"#)));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_when_nothing_holds_its_content() {
    let server = server();
    let spaces = "/api/v1/namespaces";
    let (code, status) = send(&server, "DELETE", "/api/v1/namespaces/default", Value::Null).await;
    assert_eq!((code, status["reason"].as_str()), (403, Some("Forbidden")));
    send(&server, "POST", spaces, json!({ "metadata": { "name": "x" } })).await;
    let maps = "/api/v1/namespaces/x/configmaps";
    send(&server, "POST", maps, json!({ "metadata": { "name": "free" } })).await;
    send(&server, "POST", maps, json!({ "metadata": { "name": "held", "finalizers": ["a.dev/x"] } })).await;
    let (code, gone) = send(&server, "DELETE", "/api/v1/namespaces/x", Value::Null).await;
    assert_eq!((code, gone["status"]["phase"].as_str()), (200, Some("Terminating")));
    assert_eq!(common::names(&get(&server, maps).await.1), ["held"]);
    let (code, status) = send(&server, "POST", maps, json!({ "metadata": { "name": "late" } })).await;
    assert_eq!((code, status["details"]["causes"][0]["reason"].as_str()), (403, Some("NamespaceTerminating")));
    send(&server, "PATCH", &format!("{maps}/held"), json!({ "metadata": { "finalizers": [] } })).await;
    assert_eq!(get(&server, "/api/v1/namespaces/x").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_checks_everything_and_writes_nothing() {
    let server = server();
    create(&server, "a", Value::Null).await;
    let before = server.version();
    assert_eq!(
        send(&server, "POST", &format!("{LEASES}?dryRun=All"), json!({ "metadata": { "name": "b" } })).await.0,
        201
    );
    assert_eq!(
        send(&server, "POST", &format!("{LEASES}?dryRun=All"), json!({ "metadata": { "name": "a" } })).await.0,
        409
    );
    assert_eq!(
        send(&server, "PATCH", &format!("{LEASES}/a?dryRun=All"), json!({ "spec": { "leaseTransitions": 1 } })).await.0,
        200
    );
    assert_eq!(send(&server, "DELETE", &format!("{LEASES}/a?dryRun=All"), Value::Null).await.0, 200);
    assert_eq!(send(&server, "POST", &format!("{LEASES}?dryRun=Some"), json!({})).await.0, 422);
    assert_eq!((server.version(), get(&server, &format!("{LEASES}/a")).await.0), (before, 200));
}
