//! Events, which two groups show under different names: what is written through one is read, watched, changed and deleted
//! through the other.

use serde_json::{Value, json};

use crate::conformance::step::Scenario;

const CORE: &str = "/api/v1/namespaces/{ns}/events";
const NEW: &str = "/apis/events.k8s.io/v1/namespaces/{ns}/events";
const PATCH: &[(&str, &str)] = &[("content-type", "application/merge-patch+json")];
const JSON_PATCH: &[(&str, &str)] = &[("content-type", "application/json-patch+json")];
const METADATA: &[(&str, &str)] = &[("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")];

/// As client-go's old recorder writes them.
fn core(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "labels": { "app": name } },
        "involvedObject": { "kind": "Pod", "namespace": "{ns}", "name": "p" }, "reason": "Started", "message": "told",
        "source": { "component": "kubelet", "host": "h" }, "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:06Z", "count": 3, "type": "Normal",
    })
}

/// As its new one does.
fn new(name: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": name, "labels": { "app": name } },
        "regarding": { "kind": "Pod", "namespace": "{ns}", "name": "q" }, "reason": "Stopped", "note": "noted",
        "reportingController": "example.com/c", "reportingInstance": "c-1", "action": "Stop", "type": "Warning",
        "eventTime": "2026-01-02T03:04:05.000006Z", "series": { "count": 2, "lastObservedTime": "2026-01-02T03:04:07.000000Z" },
    })
}

/// One of each: `old`, written through the core group, and `new`.
fn both(name: &str) -> Scenario {
    Scenario::new(name)
        .ask("POST", CORE, core("old"))
        .save("old", "/metadata/resourceVersion")
        .ask("POST", NEW, new("new"))
        .save("new", "/metadata/resourceVersion")
}

fn with(mut object: Value, member: &str, value: Value) -> Value {
    object[member] = value;
    object
}

/// The same in both groups.
fn crossed(scenario: Scenario, path: &str) -> Scenario {
    scenario.get(format!("{CORE}{path}")).get(format!("{NEW}{path}"))
}

fn reads() -> Vec<Scenario> {
    let selector =
        |name: &str, group: &str, selector: &str| both(name).get(format!("{group}?fieldSelector={selector}"));
    vec![
        crossed(crossed(both("event-get"), "/old"), "/new"),
        crossed(both("event-list"), ""),
        crossed(both("event-list-page"), "?limit=1"),
        crossed(both("event-list-labels"), "?labelSelector=app%3Dold"),
        crossed(both("event-list-at-version"), "?resourceVersion={old}&resourceVersionMatch=Exact"),
        crossed(both("event-missing"), "/nobody"),
        both("event-metadata").raw("GET", format!("{NEW}/old"), METADATA, ""),
        selector("event-fields-core", CORE, "involvedObject.name%3Dq"),
        selector("event-fields-new", NEW, "regarding.name%3Dp"),
        selector("event-fields-reporter", CORE, "reportingComponent%3Dexample.com/c"),
        selector("event-fields-controller", NEW, "reportingController%3Dexample.com/c"),
        selector("event-fields-source", CORE, "source%3Dkubelet"),
        selector("event-fields-of-the-other", NEW, "involvedObject.name%3Dq"),
        selector("event-fields-unknown-source", NEW, "source%3Dkubelet"),
    ]
}

fn writes() -> Vec<Scenario> {
    let patch = |name: &str, group: &str, one: &str, patch: Value| {
        let scenario = both(name).raw("PATCH", format!("{group}/{one}"), PATCH, patch.to_string());
        crossed(scenario, &format!("/{one}"))
    };
    let refused = |name: &str, group: &str, object: Value| Scenario::new(name).ask("POST", group, object);
    vec![
        both("event-twice").ask("POST", NEW, new("old")).ask("POST", CORE, core("new")),
        patch("event-patch-core", CORE, "new", json!({ "message": "changed", "count": 7 })),
        patch("event-patch-series", NEW, "new", json!({ "series": { "count": 5 } })),
        patch("event-patch-labels-of-old", NEW, "old", json!({ "metadata": { "labels": { "more": "x" } } })),
        patch("event-patch-note", NEW, "new", json!({ "note": "changed" })),
        patch("event-patch-note-of-old", NEW, "old", json!({ "note": "changed" })),
        patch("event-patch-nothing", NEW, "old", json!({ "note": "told" })),
        patch("event-patch-series-once", NEW, "new", json!({ "series": { "count": 1 } })),
        both("event-json-patch").raw(
            "PATCH",
            format!("{NEW}/old"),
            JSON_PATCH,
            json!([
                { "op": "test", "path": "/deprecatedCount", "value": 3 }, { "op": "add", "path": "/metadata/labels/x", "value": "y" },
            ])
            .to_string(),
        ),
        crossed(both("event-put-core").ask("PUT", format!("{CORE}/new"), with(core("new"), "count", json!(9))), "/new"),
        both("event-put-stale").ask("PUT", format!("{NEW}/old"), {
            let mut object = new("old");
            object["metadata"]["resourceVersion"] = json!("1");
            object
        }),
        crossed(Scenario::new("event-put-creates").ask("PUT", format!("{NEW}/made"), new("made")), "/made"),
        refused("event-core-elsewhere", CORE, with(core("a"), "involvedObject", json!({ "namespace": "elsewhere" }))),
        refused("event-new-elsewhere", NEW, with(new("a"), "regarding", json!({ "namespace": "elsewhere" }))),
        refused("event-new-nowhere", NEW, with(new("a"), "regarding", json!({}))),
        refused("event-new-without-time", NEW, with(new("a"), "eventTime", Value::Null)),
        refused("event-new-without-controller", NEW, with(new("a"), "reportingController", json!(""))),
        refused("event-core-without-component", CORE, {
            with(with(core("a"), "eventTime", json!("2026-01-02T03:04:05.000006Z")), "action", json!("A"))
        }),
        refused("event-new-of-other-type", NEW, with(new("a"), "type", json!("Odd"))),
        refused("event-new-counted", NEW, with(new("a"), "deprecatedCount", json!(3))),
        refused("event-new-long-note", NEW, with(new("a"), "note", json!("n".repeat(1025)))),
        refused("event-of-the-other-group", NEW, core("a")),
    ]
}

fn watches_and_deletes() -> Vec<Scenario> {
    vec![
        both("event-watch-both")
            .watch("core", format!("{CORE}?watch=1&resourceVersion={{old}}"))
            .watch("new", format!("{NEW}?watch=1&resourceVersion={{old}}"))
            .raw("PATCH", format!("{NEW}/new"), PATCH, json!({ "series": { "count": 9 } }).to_string())
            .raw("PATCH", format!("{CORE}/old"), PATCH, json!({ "count": 4 }).to_string())
            .ask("DELETE", format!("{NEW}/old"), Value::Null)
            .read("core", 4)
            .read("new", 4),
        both("event-watch-initial")
            .watch("w", format!("{NEW}?watch=1&timeoutSeconds=1&resourceVersion=0"))
            .read("w", 2),
        both("event-watch-selector")
            .watch("w", format!("{NEW}?watch=1&resourceVersion={{new}}&labelSelector=app%3Dold"))
            .raw("PATCH", format!("{CORE}/old"), PATCH, json!({ "metadata": { "labels": { "app": "x" } } }).to_string())
            .raw(
                "PATCH",
                format!("{CORE}/new"),
                PATCH,
                json!({ "metadata": { "labels": { "app": "old" } } }).to_string(),
            )
            .read("w", 2),
        both("event-watch-metadata")
            .watch_as("w", format!("{NEW}?watch=1&resourceVersion={{old}}"), METADATA)
            .read("w", 1),
        crossed(both("event-delete").ask("DELETE", format!("{CORE}/new"), Value::Null), "/new"),
        crossed(both("event-delete-old").ask("DELETE", format!("{NEW}/old"), Value::Null), "/old"),
        both("event-delete-missing").ask("DELETE", format!("{NEW}/nobody"), Value::Null),
        both("event-delete-collection").ask("DELETE", NEW, Value::Null).get(CORE),
    ]
}

pub(super) fn all() -> Vec<Scenario> {
    [reads(), writes(), watches_and_deletes()].concat()
}
