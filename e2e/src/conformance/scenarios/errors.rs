//! What isn't served, and bodies that aren't what they should be.

use serde_json::Value;

use super::{MAPS, three};
use crate::conformance::step::Scenario;

pub(super) fn all() -> Vec<Scenario> {
    let post =
        |name: &str, headers: &[(&'static str, &str)], body: &str| Scenario::new(name).raw("POST", MAPS, headers, body);
    let path = |name: &str, method: &'static str, path: &str| Scenario::new(name).ask(method, path, Value::Null);
    vec![
        post("body-no-json", &[], "{nonsense"),
        post("body-empty", &[], ""),
        post("body-array", &[], "[]"),
        post("body-string", &[], r#""text""#),
        post("body-wrong-type-of-name", &[], r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":5}}"#),
        post(
            "body-wrong-type-of-labels",
            &[],
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":[]}}"#,
        ),
        post("body-unknown-media-type", &[("content-type", "text/plain")], "{}"),
        path("unknown-path", "GET", "/nothing/here"),
        path("unknown-group", "GET", "/apis/example.com/v1/things"),
        path("unknown-version", "GET", "/apis/coordination.k8s.io/v7/leases"),
        path("unknown-resource", "GET", "/api/v1/namespaces/{ns}/things"),
        path("unknown-sub-resource", "GET", "/api/v1/namespaces/{ns}/configmaps/a/status"),
        path("put-of-a-collection", "PUT", MAPS),
        path("post-of-an-object", "POST", "/api/v1/namespaces/{ns}/configmaps/a"),
        path("patch-of-a-collection", "PATCH", MAPS),
        path("post-of-all-namespaces", "POST", "/api/v1/configmaps"),
        path("slash-in-a-name", "GET", "/api/v1/namespaces/{ns}/configmaps/a%2Fb"),
        path("healthz", "GET", "/healthz"),
        path("readyz", "GET", "/readyz"),
        three("accept-nothing-known").raw("GET", MAPS, &[("accept", "text/html")], ""),
        three("accept-with-fallback").raw(
            "GET",
            format!("{MAPS}/a"),
            &[("accept", "text/html, application/json;q=0.5")],
            "",
        ),
        three("accept-anything").raw("GET", format!("{MAPS}/a"), &[("accept", "*/*")], ""),
    ]
}
