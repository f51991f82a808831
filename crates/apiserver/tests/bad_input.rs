//! Goal: nothing that can be sent brings the server down or changes it, and each is answered as clearly as upstream does.
//! Method: tables of requests that are wrong in one way; the version before and after.
#![allow(clippy::disallowed_methods)]

mod common;

use bytes::Bytes;
use common::{ALL_LEASES, LEASES, answer, call, create, get, names, request, send, server};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn patch(media: &str, uri: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method("PATCH")
        .uri(uri)
        .header("content-type", media)
        .body(Full::new(body.into()))
        .expect("a request")
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_no_object_of_the_kind_are_refused() {
    let server = server();
    create(&server, "a", Value::Null).await;
    let before = server.version();
    let one = format!("{LEASES}/a");
    let bodies = [
        "",
        "{",
        "nonsense",
        "[]",
        "null",
        "7",
        "\"text\"",
        "{\"metadata\":{\"name\":\"a\"}} {}",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"leaseDurationSeconds\":1e999}}",
        "{\"metadata\":[]}",
        "{\"metadata\":\"a\"}",
        "{\"metadata\":{\"name\":7}}",
        "{\"metadata\":{\"name\":\"a\",\"finalizers\":\"x\"}}",
        "{\"metadata\":{\"name\":\"a\",\"finalizers\":[1]}}",
        "{\"metadata\":{\"name\":\"a\",\"ownerReferences\":[1]}}",
        "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":5}}",
        "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}",
        "{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}}",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"renewTime\":7}}",
    ];
    for body in bodies {
        for (method, uri) in [("POST", LEASES), ("PUT", one.as_str())] {
            let (code, status) = answer(call(&server, request(method, uri, body)).await).await;
            assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{method} {body:?}: {status}");
        }
    }
    let invalid_utf8 = Bytes::from_static(b"{\"metadata\":{\"name\":\"\xff\"}}");
    assert_eq!(call(&server, request("POST", LEASES, invalid_utf8)).await.status(), 400);
    assert_eq!(server.version(), before);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_big_or_too_deep_is_refused() {
    let server = server();
    let (_, map) = send(&server, "POST", MAPS, json!({ "metadata": { "name": "m" }, "data": { "a": "b" } })).await;
    let before = server.version();
    let uri = format!("{MAPS}/m");
    let big = json!({ "metadata": { "name": "big" }, "data": { "x": "y".repeat(3 * 1024 * 1024) } }).to_string();
    for method in ["POST", "PUT", "DELETE"] {
        let uri = if method == "POST" { MAPS } else { &uri };
        let (code, status) = answer(call(&server, request(method, uri, big.clone())).await).await;
        assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")), "{method}");
    }
    assert_eq!(call(&server, patch("application/merge-patch+json", &uri, big)).await.status(), 413);
    for levels in [200, 10_000, 1_000_000] {
        let body = |open: &str, close: &str| {
            format!(r#"{{"metadata":{{"name":"deep"}},"data":{}1{}}}"#, open.repeat(levels), close.repeat(levels))
        };
        for body in [body("[", "]"), body("{\"a\":", "}"), body("[", "")] {
            if body.len() > 3 * 1024 * 1024 {
                continue;
            }
            let (code, status) = answer(call(&server, request("POST", MAPS, body.clone())).await).await;
            let text = status["message"].as_str().expect("text");
            assert_eq!((code, text.contains("recursion limit exceeded")), (400, true), "{text}");
            for media in ["application/merge-patch+json", "application/json-patch+json"] {
                assert_eq!(call(&server, patch(media, &uri, body.clone())).await.status(), 400);
            }
            assert_eq!(call(&server, request("DELETE", &uri, body)).await.status(), 400);
        }
    }
    assert_eq!((server.version(), get(&server, &uri).await), (before, (200, map)));
}

#[tokio::test(start_paused = true)]
async fn patches_can_not_grow_an_object_beyond_what_can_be_read_again() {
    let server = server();
    send(&server, "POST", MAPS, json!({ "metadata": { "name": "m" }, "data": { "a": "b" } })).await;
    let before = server.version();
    let uri = format!("{MAPS}/m");
    let media = "application/json-patch+json";
    // Each copies the whole into itself: thirty would be a billion times as much.
    let double: Vec<Value> =
        (0..40).map(|step| json!({ "op": "copy", "from": "", "path": format!("/x{step}") })).collect();
    let (code, status) = answer(call(&server, patch(media, &uri, json!(double).to_string())).await).await;
    assert_eq!(code, 422);
    assert_eq!(status["message"], "the server rejected our request due to an error in our request");
    // Each alone is shallow enough, all together aren't.
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    let deep: Value = serde_json::from_str(&deep).expect("a hundred levels are readable");
    let inner = format!("/x{}", "/a".repeat(100));
    let nest = json!([{ "op": "add", "path": "/x", "value": deep }, { "op": "add", "path": inner, "value": deep }]);
    let (code, status) = answer(call(&server, patch(media, &uri, nest.to_string())).await).await;
    assert_eq!(code, 400, "{status}");
    assert!(status["message"].as_str().expect("text").contains("levels deep"), "{status}");
    // A chain of moves would be deep enough for any stack.
    let mut nest = vec![json!({ "op": "add", "path": "/x", "value": deep })];
    for _ in 0..3000 {
        nest.push(json!({ "op": "add", "path": "/y", "value": deep }));
        nest.push(json!({ "op": "move", "from": "/x", "path": format!("/y{}", "/a".repeat(100)) }));
        nest.push(json!({ "op": "move", "from": "/y", "path": "/x" }));
    }
    let (code, status) = answer(call(&server, patch(media, &uri, json!(nest).to_string())).await).await;
    assert_eq!((code, status["message"].as_str().expect("text").contains("levels deep")), (400, true), "{status}");
    assert_eq!(server.version(), before);
    // What is as deep as may be can still be read, changed and deleted.
    let body = format!(r#"{{"metadata":{{"name":"deep"}},"data":{}1{}}}"#, "[".repeat(124), "]".repeat(124));
    assert_eq!(call(&server, request("POST", MAPS, body)).await.status(), 201);
    let deep = format!("{MAPS}/deep");
    assert_eq!(send(&server, "PATCH", &deep, json!({ "metadata": { "labels": { "a": "b" } } })).await.0, 200);
    assert_eq!(send(&server, "DELETE", &deep, Value::Null).await.0, 200);
    for operations in
        [json!([{ "op": "add" }]), json!([7]), json!([{ "op": "replace", "path": "", "value": 7 }]), json!([null])]
    {
        let status = call(&server, patch(media, &uri, operations.to_string())).await.status().as_u16();
        assert!(matches!(status, 400 | 422), "{operations}: {status}");
    }
    let too_many = json!(vec![json!({ "op": "test", "path": "/kind", "value": "ConfigMap" }); 10_001]);
    assert_eq!(call(&server, patch(media, &uri, too_many.to_string())).await.status(), 413);
}

#[tokio::test(start_paused = true)]
async fn parameters_and_paths_that_mean_nothing_are_refused() {
    let server = server();
    create(&server, "a", Value::Null).await;
    create(&server, "b", Value::Null).await;
    let before = server.version();
    let bad = [
        "labelSelector=a%20b",
        "labelSelector=a%20in%20(b",
        "labelSelector=%3Db",
        "fieldSelector=spec.x%3D1",
        "fieldSelector=a",
        "resourceVersion=x",
        "resourceVersion=-1",
        "limit=x",
        "limit=",
        "limit=99999999999999999999",
        "timeoutSeconds=x",
        "resourceVersion=%2B1",
        "continue=x",
        "continue=e30",
        "continue=%25",
        "labelSelector=%ff",
    ];
    for query in bad {
        let (code, status) = get(&server, &format!("{LEASES}?{query}")).await;
        assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{query}: {status}");
        let (code, _) = get(&server, &format!("{LEASES}?watch=1&{query}&timeoutSeconds=1")).await;
        // A watch has no pages, and a malformed version is an internal error there.
        assert!(matches!(code, 200 | 400 | 500), "{query}: {code}");
    }
    let paths = [
        "/apis/coordination.k8s.io/v1/namespaces/default/lease",
        "/apis/coordination.k8s.io/v2/leases",
        "/api/v1/x/y/z",
        "/apis//v1/leases",
        "/api/v1/namespaces/default/leases",
        "/%2e%2e/api/v1/pods",
        "/api/v1/nodes/%ff",
        "//",
        "/apis/apps",
        "/api/v1/namespaces/default/pods/a/exec",
    ];
    for path in paths {
        for method in ["GET", "POST", "DELETE", "BREW"] {
            let (code, body) = send(&server, method, path, Value::Null).await;
            let known = path == "/apis/apps";
            match (known, method) {
                (true, "GET") => assert_eq!(code, 200),
                (true, _) => assert_eq!(code, 405),
                // Below a group that is served, what isn't there is answered in its terms.
                (false, _) if path.starts_with("/api/v1/") || path.contains("coordination") => {
                    assert_eq!((code, &body["reason"]), (404, &json!("NotFound")), "{method} {path}");
                }
                (false, _) => assert_eq!((code, body), (404, json!("404 page not found\n")), "{method} {path}"),
            }
        }
    }
    for method in ["BREW", "HEAD", "OPTIONS", "TRACE", "PROPFIND"] {
        for uri in [LEASES, ALL_LEASES, &format!("{LEASES}/a")] {
            let (code, status) = send(&server, method, uri, Value::Null).await;
            assert_eq!((code, &status["reason"]), (405, &json!("MethodNotAllowed")), "{method} {uri}");
        }
    }
    // A name has no slash in it, so nothing is there.
    assert_eq!(send(&server, "PUT", &format!("{LEASES}/x%2Fy"), json!({ "metadata": { "name": "x/y" } })).await.0, 404);
    assert_eq!(server.version(), before);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_list_is_a_place_and_no_more() {
    let server = server();
    for name in ["a", "b", "c"] {
        create(&server, name, Value::Null).await;
        send(&server, "POST", MAPS, json!({ "metadata": { "name": name } })).await;
    }
    let token = |list: &Value| list["metadata"]["continue"].as_str().expect("a token").to_owned();
    let (_, page) = get(&server, &format!("{LEASES}?limit=1")).await;
    // As upstream: a token names a version and where to go on, not of which list.
    let (code, rest) = get(&server, &format!("{MAPS}?continue={}", token(&page))).await;
    assert_eq!((code, names(&rest)), (200, vec!["b", "c"]));
    let (_, everywhere) = get(&server, &format!("{ALL_LEASES}?limit=1")).await;
    let (code, rest) = get(&server, &format!("{LEASES}?continue={}", token(&everywhere))).await;
    assert_eq!((code, names(&rest).len()), (200, 0), "default/a comes after a, b and c");
    let (code, rest) = get(&server, &format!("/api/v1/nodes?continue={}", token(&page))).await;
    assert_eq!((code, names(&rest).len()), (200, 0));
    let mut broken = token(&page);
    broken.insert(3, '!');
    let (code, status) = get(&server, &format!("{LEASES}?continue={broken}")).await;
    assert_eq!((code, status["message"].as_str().expect("text").contains("continue key is not valid")), (400, true));
}

#[tokio::test(start_paused = true)]
async fn metadata_is_checked_with_upstreams_texts() {
    let server = server();
    let before = server.version();
    let owner = |more: Value| {
        let mut owner = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u" });
        owner.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        owner
    };
    let owners = |owners: Value| json!({ "ownerReferences": owners });
    let rows = [
        (json!({ "labels": { "a b": "c" } }), "metadata.labels", "name part must consist of alphanumeric characters"),
        (json!({ "labels": { "": "c" } }), "metadata.labels", "name part must be non-empty"),
        (json!({ "labels": { "/a": "c" } }), "metadata.labels", "prefix part must be non-empty"),
        (
            json!({ "labels": { "A.b/c": "d" } }),
            "metadata.labels",
            "prefix part a lowercase RFC 1123 subdomain must consist",
        ),
        (json!({ "labels": { "a": "b c" } }), "metadata.labels", "a valid label must be an empty string or consist of"),
        (json!({ "labels": { "a": "x".repeat(64) } }), "metadata.labels", "must be no more than 63"),
        (json!({ "annotations": { "a b": "c" } }), "metadata.annotations", "name part must consist"),
        (
            json!({ "annotations": { "a": "x".repeat(256 * 1024) } }),
            "metadata.annotations",
            "may not be more than 262144 bytes",
        ),
        (json!({ "finalizers": ["a b"] }), "metadata.finalizers", "name part must consist"),
        (json!({ "finalizers": ["orphan", "foregroundDeletion"] }), "metadata.finalizers", "cannot be both set"),
        (
            owners(json!([owner(json!({ "apiVersion": "" }))])),
            "metadata.ownerReferences.apiVersion",
            "version must not be empty",
        ),
        (
            owners(json!([owner(json!({ "apiVersion": "apps/" }))])),
            "metadata.ownerReferences.apiVersion",
            "version must not be",
        ),
        (owners(json!([owner(json!({ "kind": "" }))])), "metadata.ownerReferences.kind", "must not be empty"),
        (owners(json!([owner(json!({ "name": null }))])), "metadata.ownerReferences.name", "must not be empty"),
        (owners(json!([owner(json!({ "uid": "" }))])), "metadata.ownerReferences.uid", "must not be empty"),
        (
            owners(json!([owner(json!({ "apiVersion": "v1", "kind": "Event" }))])),
            "metadata.ownerReferences",
            "/v1, Kind=Event is disallowed from being an owner",
        ),
        (
            owners(json!([owner(json!({ "controller": true })), owner(json!({ "name": "e", "controller": true }))])),
            "metadata.ownerReferences",
            "Found \"true\" in references for Deployment/d and Deployment/e",
        ),
    ];
    for (mut metadata, field, text) in rows {
        metadata["name"] = json!("m");
        let (code, status) = send(&server, "POST", MAPS, json!({ "metadata": metadata })).await;
        assert_eq!((code, &status["details"]["causes"][0]["field"]), (422, &json!(field)), "{status}");
        assert!(status["message"].as_str().expect("text").contains(text), "{text}: {status}");
    }
    let names = [
        ("/api/v1/namespaces", "a.b", "must not contain dots"),
        ("/api/v1/namespaces", "a_b", "a lowercase RFC 1123 label must consist"),
        ("/api/v1/namespaces/default/services", "a.b", "a DNS-1035 label must consist"),
        ("/api/v1/namespaces/default/services", "1a", "a DNS-1035 label must consist"),
        (MAPS, "A", "a lowercase RFC 1123 subdomain must consist"),
        (MAPS, "a/b", "a lowercase RFC 1123 subdomain must consist"),
    ];
    for (uri, name, text) in names {
        let (code, status) = send(&server, "POST", uri, json!({ "metadata": { "name": name } })).await;
        assert_eq!((code, &status["details"]["causes"][0]["field"]), (422, &json!("metadata.name")), "{status}");
        assert!(status["message"].as_str().expect("text").contains(text), "{status}");
    }
    assert_eq!(server.version(), before);
    let fine = json!({ "name": "m", "annotations": { "UPPER/x": "" }, "finalizers": ["orphan"],
        "ownerReferences": [owner(json!({ "controller": true })), owner(json!({ "name": "e" }))],
        "labels": { "a.b/C_d": "E.f" } });
    let (code, answer) = send(&server, "POST", MAPS, json!({ "metadata": fine })).await;
    assert_eq!(code, 201, "{answer}");
}
