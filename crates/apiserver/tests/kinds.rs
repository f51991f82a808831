//! Goal: every kind that discovery names can be created, read, listed, watched, updated and deleted as its row says.
//! Method: a walk over discovery, and a table of what upstream's strategies say of each kind.
#![allow(clippy::disallowed_methods)]

mod common;

use common::{Watch, get, names, send, server, version};
use serde_json::{Value, json};
use watchkeeper_apiserver::ApiServer;

/// What discovery says of one kind.
struct Row {
    kind: String,
    /// Where objects are created and listed.
    uri: String,
    status: bool,
    collection: bool,
}

async fn rows(server: &ApiServer) -> Vec<Row> {
    let mut bases = vec![("/api/v1".to_owned(), "v1".to_owned())];
    for group in get(server, "/apis").await.1["groups"].as_array().expect("groups") {
        for version in group["versions"].as_array().expect("versions") {
            let group_version = version["groupVersion"].as_str().expect("text");
            bases.push((format!("/apis/{group_version}"), group_version.to_owned()));
        }
    }
    let mut rows = Vec::new();
    for (base, group_version) in bases {
        let (_, document) = get(server, &base).await;
        assert_eq!(document["groupVersion"], group_version.as_str());
        let resources = document["resources"].as_array().expect("resources");
        let has = |name: &str| resources.iter().any(|resource| resource["name"] == name);
        for resource in resources {
            let name = resource["name"].as_str().expect("text");
            if name.contains('/') {
                continue;
            }
            let place = if resource["namespaced"] == true { "/namespaces/default" } else { "" };
            let verbs = resource["verbs"].as_array().expect("verbs");
            rows.push(Row {
                kind: format!("{group_version} {}", resource["kind"].as_str().expect("text")),
                uri: format!("{base}{place}/{name}"),
                status: has(&format!("{name}/status")),
                collection: verbs.contains(&json!("deletecollection")),
            });
        }
    }
    rows
}

/// The least that is valid.
fn body(kind: &str, name: &str) -> Value {
    let mut body = json!({ "metadata": { "name": name } });
    let more = match kind {
        "v1 Event" => json!({ "involvedObject": { "namespace": "default", "name": "p" } }),
        "events.k8s.io/v1 Event" => json!({
            "regarding": { "namespace": "default" }, "reportingController": "a.dev/c", "reportingInstance": "c-1",
            "action": "Test", "reason": "Tested", "type": "Normal", "eventTime": "2026-01-02T03:04:05.000000Z",
        }),
        "coordination.k8s.io/v1beta1 LeaseCandidate" => json!({ "spec": {
            "leaseName": "l", "binaryVersion": "1.2.3", "emulationVersion": "1.2.0", "strategy": "OldestEmulationVersion",
        } }),
        _ => json!({}),
    };
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

#[tokio::test(start_paused = true)]
async fn every_kind_lives_its_life() {
    let server = server();
    let rows = rows(&server).await;
    assert_eq!(rows.len(), 19);
    for Row { kind, uri, status, collection } in rows {
        let (api_version, name_of_kind) = kind.split_once(' ').expect("two words");
        let object = format!("{uri}/one");
        let (code, created) = send(&server, "POST", &uri, body(&kind, "one")).await;
        assert_eq!(code, 201, "{kind}: {created}");
        assert_eq!((&created["apiVersion"], &created["kind"]), (&json!(api_version), &json!(name_of_kind)));
        assert_eq!(get(&server, &object).await, (200, created.clone()), "{kind}");
        let (code, list) = get(&server, &format!("{uri}?fieldSelector=metadata.name%3Done")).await;
        assert_eq!((code, names(&list)), (200, vec!["one"]), "{kind}");
        assert_eq!(list["kind"], format!("{name_of_kind}List"));
        let mut watch = Watch::start(&server, &format!("{uri}?watch=1&resourceVersion={}", version(&created))).await;
        let mut changed = created.clone();
        changed["metadata"]["labels"] = json!({ "seen": "yes" });
        let (code, updated) = send(&server, "PUT", &object, changed).await;
        assert_eq!((code, version(&updated)), (200, version(&created) + 1), "{kind}: {updated}");
        assert_eq!(watch.short().await, format!("MODIFIED one {}", version(&updated)), "{kind}");
        assert_eq!(updated["metadata"].get("generation"), created["metadata"].get("generation"), "{kind}: a label");
        if status {
            let conditions = json!({ "status": { "conditions": [{ "type": "Seen" }] } });
            let (code, said) = send(&server, "PATCH", &format!("{object}/status"), conditions).await;
            assert_eq!((code, &said["status"]["conditions"][0]["type"]), (200, &json!("Seen")), "{kind}");
            let (_, kept) = send(&server, "PATCH", &object, json!({ "status": null })).await;
            assert_eq!(version(&kept), version(&said), "{kind}: the main path leaves the status alone");
            assert_eq!(watch.short().await, format!("MODIFIED one {}", version(&said)), "{kind}");
        } else {
            assert_eq!(get(&server, &format!("{object}/status")).await.0, 404, "{kind}");
        }
        let (code, gone) = send(&server, "DELETE", &object, Value::Null).await;
        assert_eq!(code, 200, "{kind}: {gone}");
        let returned = matches!(name_of_kind, "Namespace" | "Pod" | "Service" | "ServiceAccount");
        assert_eq!(gone["kind"] == "Status", !returned, "{kind}: {gone}");
        if name_of_kind == "Namespace" {
            assert_eq!(watch.short().await, format!("MODIFIED one {}", server.version() - 1));
        }
        assert_eq!(watch.short().await, format!("DELETED one {}", server.version()), "{kind}");
        assert_eq!(get(&server, &object).await.0, 404, "{kind}");
        assert_eq!(collection, name_of_kind != "Namespace", "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn strategies_differ_as_upstreams_do() {
    let server = server();
    // Kind: generation of a new object; PUT of a missing one; PUT without a version.
    let all = [
        ("v1 Namespace", None, 404, 200),
        ("v1 ConfigMap", None, 404, 200),
        ("v1 Endpoints", None, 201, 200),
        ("v1 Event", None, 201, 200),
        ("v1 Node", None, 404, 200),
        ("v1 Pod", Some(1), 404, 200),
        ("v1 Secret", None, 404, 200),
        ("v1 ServiceAccount", None, 404, 200),
        ("v1 Service", None, 201, 200),
        ("apps/v1 DaemonSet", Some(1), 404, 200),
        ("apps/v1 Deployment", Some(1), 404, 200),
        ("apps/v1 ReplicaSet", Some(1), 404, 200),
        ("apps/v1 StatefulSet", Some(1), 404, 200),
        ("events.k8s.io/v1 Event", None, 201, 200),
        ("batch/v1 CronJob", Some(1), 404, 200),
        ("batch/v1 Job", Some(1), 404, 200),
        ("coordination.k8s.io/v1 Lease", None, 201, 422),
        ("coordination.k8s.io/v1beta1 LeaseCandidate", None, 201, 422),
        ("discovery.k8s.io/v1 EndpointSlice", Some(1), 404, 200),
    ];
    let rows = rows(&server).await;
    assert_eq!(rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>(), all.map(|(kind, ..)| kind));
    for (Row { kind, uri, .. }, (_, generation, missing, blind)) in rows.iter().zip(all) {
        let (_, created) = send(&server, "POST", uri, body(kind, "one")).await;
        assert_eq!(created["metadata"].get("generation").and_then(Value::as_u64), generation, "{kind}");
        let (code, answer) = send(&server, "PUT", &format!("{uri}/two"), body(kind, "two")).await;
        assert_eq!(code, missing, "{kind}: {answer}");
        let (code, answer) = send(&server, "PUT", &format!("{uri}/one"), body(kind, "one")).await;
        assert_eq!(code, blind, "{kind}: {answer}");
        // Events are the same in both groups: the next kind shall find nothing.
        for name in ["one", "two"].iter().filter(|_| kind.ends_with(" Event")) {
            send(&server, "DELETE", &format!("{uri}/{name}"), Value::Null).await;
        }
    }
    let deployment = "/apis/apps/v1/namespaces/default/deployments/one";
    let (_, scaled) = send(&server, "PATCH", deployment, json!({ "spec": { "replicas": 3 } })).await;
    assert_eq!(scaled["metadata"]["generation"], 2);
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/one";
    let (_, filled) = send(&server, "PATCH", slice, json!({ "endpoints": [{ "addresses": ["10.0.0.1"] }] })).await;
    assert_eq!(filled["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn field_selectors_know_the_fields_of_their_kind() {
    let server = server();
    let spaced = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    let objects = [
        (spaced("secrets"), json!({ "metadata": { "name": "plain" } })),
        (spaced("secrets"), json!({ "metadata": { "name": "tls" }, "type": "kubernetes.io/tls" })),
        (
            spaced("events"),
            json!({ "metadata": { "name": "e" }, "involvedObject": { "namespace": "default", "kind": "Pod", "name": "p" },
                "source": { "component": "kubelet" }, "reason": "Started", "type": "Normal" }),
        ),
        (spaced("services"), json!({ "metadata": { "name": "s" }, "spec": { "type": "NodePort" } })),
    ];
    for (uri, object) in objects {
        let (code, answer) = send(&server, "POST", &uri, object).await;
        assert_eq!(code, 201, "{answer}");
    }
    let work = "/apis/batch/v1/namespaces/default/jobs";
    for (name, succeeded) in [("done", 1), ("running", 0)] {
        send(&server, "POST", work, json!({ "metadata": { "name": name } })).await;
        let status = json!({ "status": { "succeeded": succeeded } });
        assert_eq!(send(&server, "PATCH", &format!("{work}/{name}/status"), status).await.0, 200);
    }
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    send(&server, "POST", sets, json!({ "metadata": { "name": "r" } })).await;
    let rows = [
        (spaced("secrets"), "type%3DOpaque", vec!["plain"]),
        (spaced("secrets"), "type!%3DOpaque", vec!["tls"]),
        (spaced("events"), "involvedObject.name%3Dp,involvedObject.kind%3DPod,reason%3DStarted", vec!["e"]),
        (spaced("events"), "source%3Dkubelet,type%3DNormal,reportingComponent%3D", vec!["e"]),
        (spaced("services"), "spec.type%3DClusterIP", vec![]),
        (work.to_owned(), "status.successful%3D1", vec!["done"]),
        (work.to_owned(), "status.successful%3D0", vec!["running"]),
        (sets.to_owned(), "status.replicas%3D0", vec!["r"]),
        ("/api/v1/namespaces".to_owned(), "status.phase%3DTerminating", vec![]),
    ];
    for (uri, selector, expected) in rows {
        let (code, list) = get(&server, &format!("{uri}?fieldSelector={selector}")).await;
        assert_eq!((code, names(&list)), (200, expected), "{uri} {selector}");
    }
    let (code, status) = get(&server, &format!("{}?fieldSelector=spec.x%3D1", spaced("configmaps"))).await;
    let text = r#""spec.x" is not a known field selector: only "metadata.name", "metadata.namespace""#;
    assert_eq!((code, status["message"].as_str()), (400, Some(text)));
}

#[tokio::test(start_paused = true)]
async fn some_fields_are_the_servers_or_never_change() {
    let server = server();
    let secrets = "/api/v1/namespaces/default/secrets";
    let body = json!({ "metadata": { "name": "s" }, "stringData": { "user": "me" }, "data": { "pass": "eA==" } });
    let (_, secret) = send(&server, "POST", secrets, body).await;
    assert_eq!(secret["data"], json!({ "user": "bWU=", "pass": "eA==" }));
    assert_eq!((secret.get("stringData"), &secret["type"]), (None, &json!("Opaque")));
    let (code, status) = send(&server, "PATCH", &format!("{secrets}/s"), json!({ "type": "other" })).await;
    assert_eq!((code, status["details"]["causes"][0]["field"].as_str()), (422, Some("type")));
    assert!(status["message"].as_str().expect("text").ends_with("field is immutable"), "{status}");
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let set = json!({ "metadata": { "name": "r" }, "spec": { "selector": { "matchLabels": { "a": "b" } } },
        "status": { "replicas": 7 } });
    let (_, set) = send(&server, "POST", sets, set).await;
    assert_eq!(set["status"], json!({ "replicas": 0 }), "nobody has observed it yet");
    let other = json!({ "spec": { "selector": { "matchLabels": { "a": "c" } } } });
    assert_eq!(send(&server, "PATCH", &format!("{sets}/r"), other).await.0, 422);
    let (code, status) =
        send(&server, "POST", "/api/v1/namespaces/default/services", json!({ "metadata": { "name": "1a" } })).await;
    assert_eq!(code, 422);
    assert!(status["message"].as_str().expect("text").contains("a DNS-1035 label must consist"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn candidates_for_a_lease_are_checked() {
    let server = server();
    let uri = "/apis/coordination.k8s.io/v1beta1/namespaces/default/leasecandidates";
    let good = || body("coordination.k8s.io/v1beta1 LeaseCandidate", "a");
    let rows = [
        ("leaseName", json!(""), "spec.leaseName: Required value"),
        ("binaryVersion", json!(""), "spec.binaryVersion: Required value"),
        ("binaryVersion", json!("1.2"), "must be a valid semantic version"),
        ("binaryVersion", json!("1.1.9"), "must be greater than or equal to `emulationVersion`"),
        ("emulationVersion", json!("01.2.3"), "must be a valid semantic version"),
        ("emulationVersion", json!(""), "must be specified when `strategy` is 'OldestEmulationVersion'"),
        ("strategy", json!(""), "spec.strategy: Required value"),
        ("strategy", json!("Newest"), "spec.strategy.strategy: Unsupported value"),
    ];
    for (field, value, text) in rows {
        let mut body = good();
        body["spec"][field] = value;
        let (code, status) = send(&server, "POST", uri, body).await;
        assert_eq!((code, status["message"].as_str().expect("text").contains(text)), (422, true), "{status}");
    }
    assert_eq!(send(&server, "POST", uri, good()).await.0, 201);
    let mut other = good();
    other["metadata"]["resourceVersion"] = json!(server.version().to_string());
    other["spec"]["leaseName"] = json!("another");
    assert_eq!(send(&server, "PUT", &format!("{uri}/a"), other).await.0, 422);
    // Candidates may have names that most objects may not.
    assert_eq!(
        send(&server, "PUT", &format!("{uri}/A_b"), body("coordination.k8s.io/v1beta1 LeaseCandidate", "A_b")).await.0,
        201
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_finalized_on_a_path_of_its_own() {
    let server = server();
    let spaces = "/api/v1/namespaces";
    let body = json!({ "metadata": { "name": "x" }, "spec": { "finalizers": ["a.dev/hold"] } });
    let (_, created) = send(&server, "POST", spaces, body).await;
    assert_eq!(created["spec"]["finalizers"], json!(["a.dev/hold", "kubernetes"]));
    let (_, kept) = send(&server, "PATCH", &format!("{spaces}/x"), json!({ "spec": { "finalizers": [] } })).await;
    assert_eq!(kept["spec"], created["spec"], "not on the main path");
    assert_eq!(send(&server, "PATCH", &format!("{spaces}/x/finalize"), json!({})).await.0, 405);
    assert_eq!(get(&server, &format!("{spaces}/x/finalize")).await.0, 405);
    send(&server, "DELETE", &format!("{spaces}/x"), Value::Null).await;
    let (_, mut held) = get(&server, &format!("{spaces}/x")).await;
    assert_eq!(
        (&held["spec"]["finalizers"], &held["status"]["phase"]),
        (&json!(["a.dev/hold"]), &json!("Terminating"))
    );
    held["spec"] = json!({});
    assert_eq!(send(&server, "PUT", &format!("{spaces}/x/finalize"), held).await.0, 200);
    assert_eq!(get(&server, &format!("{spaces}/x")).await.0, 404);
}
