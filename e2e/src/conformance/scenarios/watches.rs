//! Watches in all their forms: what a stream begins with, how it goes on, how it ends.

use serde_json::{Value, json};

use super::{MAPS, map, three};
use crate::conformance::step::Scenario;

/// Name of the scenario, query of a watch that ends after a second; its whole stream is compared.
const STREAMS: &[(&str, &str)] = &[
    ("watch-from-version", "resourceVersion={va}"),
    ("watch-from-any", "resourceVersion=0"),
    ("watch-without-version", ""),
    ("watch-selector", "labelSelector=app&resourceVersion=0"),
    ("watch-field", "fieldSelector=metadata.name%3Db&resourceVersion=0"),
    ("watch-future", "resourceVersion=999999999999"),
    ("watch-list", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"),
    (
        "watch-list-any",
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=0",
    ),
    (
        "watch-list-at-least",
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion={vb}",
    ),
    ("watch-list-without-bookmarks", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
    (
        "watch-list-selector-of-nothing",
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=app%3Dz",
    ),
    (
        "watch-no-initial-events",
        "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion={vb}",
    ),
    ("watch-no-match", "sendInitialEvents=true&allowWatchBookmarks=true"),
    ("watch-match-exact", "sendInitialEvents=true&resourceVersionMatch=Exact"),
    ("watch-match-alone", "resourceVersion={va}&resourceVersionMatch=NotOlderThan"),
    ("watch-version-no-number", "resourceVersion=abc"),
    ("watch-bad-selector", "labelSelector=,"),
    ("watch-bad-timeout", "timeoutSeconds=soon"),
];

pub(super) fn all() -> Vec<Scenario> {
    let stream = |(name, query): &(&str, &str)| {
        let timeout = if query.contains("timeoutSeconds") { "" } else { "&timeoutSeconds=1" };
        three(*name).watch("w", format!("{MAPS}?watch=1{timeout}&{query}"))
    };
    // What is refused has no stream to read.
    let refused = [
        "watch-no-match",
        "watch-match-exact",
        "watch-match-alone",
        "watch-version-no-number",
        "watch-bad-selector",
        "watch-bad-timeout",
    ];
    let read = |scenario: Scenario| {
        if refused.contains(&scenario.name.as_str()) { scenario } else { scenario.read_all("w") }
    };
    let mut all: Vec<Scenario> = STREAMS.iter().map(stream).map(read).collect();
    let live = format!("{MAPS}?watch=1&resourceVersion={{vc}}");
    all.extend([
        Scenario::new("watch-list-empty")
            .watch(
                "w",
                format!(
                    "{MAPS}?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                ),
            )
            .read_all("w"),
        three("watch-changes")
            .watch("w", live.clone())
            .ask("PUT", format!("{MAPS}/a"), map("a", json!({}), json!({ "k": "changed" })))
            .ask("DELETE", format!("{MAPS}/b"), Value::Null)
            .ask("POST", MAPS, map("b", json!({}), json!({})))
            .read("w", 3),
        three("watch-no-op-writes-nothing")
            .watch("w", live.clone())
            .ask("PUT", format!("{MAPS}/c"), map("c", json!({}), json!({ "k": "c" })))
            .ask("PATCH", format!("{MAPS}/c"), json!({ "data": { "k": "c" } }))
            .ask("PATCH", format!("{MAPS}/c"), json!({ "data": { "k": "d" } }))
            .read("w", 1),
        three("watch-selector-crossings")
            .watch("w", format!("{live}&labelSelector=app%3Dx"))
            .ask("PATCH", format!("{MAPS}/b"), json!({ "metadata": { "labels": { "app": "x" } } }))
            .ask("PATCH", format!("{MAPS}/a"), json!({ "metadata": { "labels": { "app": "y" } } }))
            .ask("PATCH", format!("{MAPS}/c"), json!({ "data": { "k": "x" } }))
            .ask("DELETE", format!("{MAPS}/b"), Value::Null)
            .read("w", 3),
        three("watch-field-of-one")
            .watch("w", format!("{live}&fieldSelector=metadata.name%3Da"))
            .ask("DELETE", format!("{MAPS}/b"), Value::Null)
            .ask("DELETE", format!("{MAPS}/a"), Value::Null)
            .read("w", 1),
        three("watch-dry-run-is-silent")
            .watch("w", live.clone())
            .ask("DELETE", format!("{MAPS}/a?dryRun=All"), Value::Null)
            .ask("PATCH", format!("{MAPS}/b?dryRun=All"), json!({ "data": { "k": "z" } }))
            .ask("DELETE", format!("{MAPS}/c"), Value::Null)
            .read("w", 1),
    ]);
    all
}
