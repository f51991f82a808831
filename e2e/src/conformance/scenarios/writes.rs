//! Creates, updates and patches, with what they are refused for.

use serde_json::{Value, json};

use super::{LEASES, MAPS, map, three};
use crate::conformance::step::Scenario;

const JSON_PATCH: &[(&str, &str)] = &[("content-type", "application/json-patch+json")];

fn creates() -> Vec<Scenario> {
    let odd = |name: &str, object: Value| Scenario::new(name).ask("POST", MAPS, object);
    let with = |member: &str, value: Value| {
        let mut object = map("odd", json!({}), json!({}));
        object["metadata"][member] = value;
        object
    };
    vec![
        odd("create", map("a", json!({ "app": "x" }), json!({ "k": "v" }))),
        odd("create-twice", map("a", json!({}), json!({}))).ask("POST", MAPS, map("a", json!({}), json!({}))),
        odd("create-generated", json!({ "metadata": { "generateName": "made-" } })),
        odd("create-without-kind", json!({ "metadata": { "name": "a" } })),
        odd("create-without-name", json!({ "metadata": {} })),
        odd("create-without-metadata", json!({})),
        odd("create-with-version", with("resourceVersion", json!("5"))),
        odd("create-with-foreign-fields", {
            let mut object = with("uid", json!("11111111-1111-1111-1111-111111111111"));
            object["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
            object["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
            object["metadata"]["generation"] = json!(7);
            object
        }),
        odd("create-with-nulls", with("creationTimestamp", Value::Null)),
        odd("create-with-null-label", with("labels", json!({ "a": null }))),
        odd("create-with-version-no-number", with("resourceVersion", json!("abc"))),
        odd("create-negative-generation", with("generation", json!(-1))),
        odd("create-empty-finalizer", with("finalizers", json!([""]))),
        odd("create-label-key-of-three", with("labels", json!({ "a/b/c": "x" }))),
        odd("create-label-key-empty", with("labels", json!({ "": "y" }))),
        odd("create-bad-base-of-a-name", with("generateName", json!("BAD_"))),
        odd("create-in-other-namespace", with("namespace", json!("elsewhere"))),
        odd("create-of-other-kind", json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" } })),
        odd("create-of-other-version", json!({ "apiVersion": "v2", "kind": "ConfigMap", "metadata": { "name": "a" } })),
        odd("create-bad-name", map("Not_A_Name", json!({}), json!({}))),
        odd("create-long-name", map(&"n".repeat(254), json!({}), json!({}))),
        odd("create-bad-label-key", map("a", json!({ "no spaces": "x" }), json!({}))),
        odd("create-bad-label-value", map("a", json!({ "app": "no spaces" }), json!({}))),
        odd("create-bad-annotation-key", with("annotations", json!({ "no spaces": "x" }))),
        odd("create-bad-finalizer", with("finalizers", json!(["no spaces"]))),
        odd(
            "create-owner-without-uid",
            with("ownerReferences", json!([{ "apiVersion": "v1", "kind": "Pod", "name": "p" }])),
        ),
        odd("create-dry-run", map("a", json!({}), json!({}))).get(format!("{MAPS}/a")),
        Scenario::new("create-dry-run-all")
            .ask("POST", format!("{MAPS}?dryRun=All"), map("a", json!({}), json!({})))
            .get(format!("{MAPS}/a")),
        Scenario::new("create-dry-run-some").ask("POST", format!("{MAPS}?dryRun=Some"), map("a", json!({}), json!({}))),
        Scenario::new("create-dry-run-of-nothing").ask(
            "POST",
            format!("{MAPS}?dryRun="),
            map("a", json!({}), json!({})),
        ),
        Scenario::new("create-dry-run-twice").ask(
            "POST",
            format!("{MAPS}?dryRun=All&dryRun=Bad"),
            map("a", json!({}), json!({})),
        ),
        Scenario::new("create-long-manager").ask(
            "POST",
            format!("{MAPS}?fieldManager={}", "m".repeat(129)),
            map("a", json!({}), json!({})),
        ),
        Scenario::new("create-field-validation").ask(
            "POST",
            format!("{MAPS}?fieldValidation=Bad"),
            map("a", json!({}), json!({})),
        ),
        three("patch-with-force").ask("PATCH", format!("{MAPS}/a?force=true"), json!({ "data": { "k": "z" } })),
        Scenario::new("create-in-no-namespace").ask(
            "POST",
            "/api/v1/namespaces/there-is-none/configmaps",
            map("a", json!({}), json!({})),
        ),
    ]
}

fn updates() -> Vec<Scenario> {
    let put = |name: &str, change: fn(&mut Value)| {
        let mut object = map("a", json!({ "app": "z" }), json!({ "k": "new" }));
        change(&mut object);
        three(name).ask("PUT", format!("{MAPS}/a"), object).get(format!("{MAPS}/a"))
    };
    vec![
        put("put", |_| {}),
        put("put-at-version", |object| object["metadata"]["resourceVersion"] = json!("{va}")),
        put("put-stale", |object| object["metadata"]["resourceVersion"] = json!("1")),
        put("put-version-0", |object| object["metadata"]["resourceVersion"] = json!("0")),
        put("put-version-no-number", |object| object["metadata"]["resourceVersion"] = json!("abc")),
        put("put-version-00", |object| object["metadata"]["resourceVersion"] = json!("00")),
        put("put-self-link", |object| object["metadata"]["selfLink"] = json!("x")),
        put("put-deletion", |object| {
            object["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
            object["metadata"]["deletionGracePeriodSeconds"] = json!(3);
        }),
        put("put-wrong-uid", |object| object["metadata"]["uid"] = json!("11111111-1111-1111-1111-111111111111")),
        put("put-other-name", |object| object["metadata"]["name"] = json!("b")),
        put("put-no-name", |object| object["metadata"] = json!({})),
        put("put-foreign-time", |object| object["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z")),
        three("put-missing").ask("PUT", format!("{MAPS}/nobody"), map("nobody", json!({}), json!({}))),
        three("put-dry-run")
            .ask("PUT", format!("{MAPS}/a?dryRun=All"), map("a", json!({}), json!({ "k": "dry" })))
            .get(format!("{MAPS}/a")),
        Scenario::new("put-creates-lease").ask(
            "PUT",
            format!("{LEASES}/l"),
            json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "l" }, "spec": {} }),
        ),
    ]
}

fn patches() -> Vec<Scenario> {
    let json_patch =
        |name: &str, patch: Value| three(name).raw("PATCH", format!("{MAPS}/a"), JSON_PATCH, patch.to_string());
    let held = |name: &str, patch: Value| {
        let mut object = map("held", json!({}), json!({ "k": "v" }));
        object["metadata"]["finalizers"] = json!(["x.io/a", "x.io/b", "x.io/c"]);
        let scenario = Scenario::new(name).ask("POST", MAPS, object);
        scenario.raw("PATCH", format!("{MAPS}/held"), JSON_PATCH, patch.to_string())
    };
    let merge = |name: &str, patch: Value| three(name).ask("PATCH", format!("{MAPS}/a"), patch);
    vec![
        merge("merge-patch", json!({ "data": { "k": "merged", "new": "one" } })),
        merge("merge-patch-removes", json!({ "data": { "k": null }, "metadata": { "labels": null } })),
        merge("merge-patch-stale", json!({ "metadata": { "resourceVersion": "1" } })),
        merge("merge-patch-wrong-uid", json!({ "metadata": { "uid": "11111111-1111-1111-1111-111111111111" } })),
        merge("merge-patch-name", json!({ "metadata": { "name": "b" } })),
        merge("merge-patch-no-op", json!({ "data": { "k": "a" } })),
        merge("merge-patch-no-object", json!([1, 2])),
        json_patch("json-patch", json!([{ "op": "replace", "path": "/data/k", "value": "patched" }])),
        json_patch("json-patch-test-passes", json!([{ "op": "test", "path": "/data/k", "value": "a" }])),
        json_patch("json-patch-test-fails", json!([{ "op": "test", "path": "/data/k", "value": "z" }])),
        json_patch("json-patch-replaces-nothing", json!([{ "op": "replace", "path": "/data/new", "value": "z" }])),
        json_patch("json-patch-replaces-in-nothing", json!([{ "op": "replace", "path": "/no/k", "value": "z" }])),
        json_patch("json-patch-no-path", json!([{ "op": "remove", "path": "/data/nothing" }])),
        held("json-patch-last-item", json!([{ "op": "remove", "path": "/metadata/finalizers/-1" }])),
        held(
            "json-patch-add-at-the-end",
            json!([{ "op": "add", "path": "/metadata/finalizers/-1", "value": "x.io/z" }]),
        ),
        held("json-patch-add-too-far", json!([{ "op": "add", "path": "/metadata/finalizers/4", "value": "x.io/z" }])),
        held("json-patch-add-in-front", json!([{ "op": "add", "path": "/metadata/finalizers/-4", "value": "x.io/z" }])),
        held(
            "json-patch-odd-index",
            json!([{ "op": "replace", "path": "/metadata/finalizers/+01", "value": "x.io/z" }]),
        ),
        held(
            "json-patch-test-from-the-end",
            json!([{ "op": "test", "path": "/metadata/finalizers/-1", "value": "x.io/c" }]),
        ),
        held("json-patch-test-no-item", json!([{ "op": "test", "path": "/metadata/finalizers/9", "value": null }])),
        held(
            "json-patch-copies-item",
            json!([{ "op": "copy", "from": "/metadata/finalizers/-1", "path": "/metadata/finalizers/-" }]),
        ),
        json_patch("json-patch-test-nothing", json!([{ "op": "test", "path": "/data/no", "value": null }])),
        json_patch("json-patch-test-in-nothing", json!([{ "op": "test", "path": "/no/no/no", "value": null }])),
        json_patch("json-patch-adds-no-value", json!([{ "op": "add", "path": "/data/n" }])),
        json_patch("json-patch-adds-null", json!([{ "op": "add", "path": "/data/n", "value": null }])),
        json_patch("json-patch-copies-nothing", json!([{ "op": "copy", "from": "/data/no", "path": "/data/n" }])),
        json_patch("json-patch-moves-without-from", json!([{ "op": "move", "path": "/data/n" }])),
        json_patch("json-patch-unknown-operation", json!([{ "op": "fly", "path": "/data/n" }])),
        json_patch("json-patch-no-operation", json!([{}, null])),
        json_patch(
            "json-patch-adds-the-whole",
            json!([{ "op": "add", "path": "", "value": { "metadata": { "name": "a" } } }]),
        ),
        json_patch("json-patch-no-slash", json!([{ "op": "remove", "path": "data" }])),
        merge("merge-patch-other-namespace", json!({ "metadata": { "namespace": "other" } })),
        merge("merge-patch-deletion-time", json!({ "metadata": { "deletionTimestamp": "2001-01-01T00:00:00Z" } })),
        merge("merge-patch-version-no-number", json!({ "metadata": { "resourceVersion": "abc" } })),
        json_patch("json-patch-no-array", json!({ "op": "remove" })),
        three("patch-missing").ask("PATCH", format!("{MAPS}/nobody"), json!({})),
        three("patch-unknown-type").raw("PATCH", format!("{MAPS}/a"), &[("content-type", "text/plain")], "{}"),
        three("patch-dry-run")
            .ask("PATCH", format!("{MAPS}/a?dryRun=All"), json!({ "data": { "k": "dry" } }))
            .get(format!("{MAPS}/a")),
    ]
}

pub(super) fn all() -> Vec<Scenario> {
    [creates(), updates(), patches()].into_iter().flatten().collect()
}
