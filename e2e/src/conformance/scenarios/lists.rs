//! Gets and lists: every row of the version rules, and pages.

use serde_json::{Value, json};

use super::{MAPS, map, three};
use crate::conformance::step::Scenario;

/// Name of the scenario, query of a list after three creates.
const LISTS: &[(&str, &str)] = &[
    ("list-newest", ""),
    ("list-any", "?resourceVersion=0"),
    ("list-any-not-older", "?resourceVersion=0&resourceVersionMatch=NotOlderThan"),
    ("list-at-least", "?resourceVersion={vb}"),
    ("list-at-least-match", "?resourceVersion={vb}&resourceVersionMatch=NotOlderThan"),
    ("list-exact", "?resourceVersion={vb}&resourceVersionMatch=Exact"),
    ("list-exact-by-limit", "?resourceVersion={vb}&limit=10"),
    ("list-at-least-limit", "?resourceVersion={vb}&limit=1&resourceVersionMatch=NotOlderThan"),
    ("list-limit-of-one-name-at-a-version", "?resourceVersion={va}&limit=1&fieldSelector=metadata.name%3Db"),
    (
        "list-exact-of-one-name",
        "?resourceVersion={va}&limit=1&fieldSelector=metadata.name%3Db&resourceVersionMatch=Exact",
    ),
    ("list-limit", "?limit=2"),
    ("list-limit-of-all", "?limit=3"),
    ("list-any-limit", "?resourceVersion=0&limit=2"),
    ("list-match-without-version", "?resourceVersionMatch=Exact"),
    ("list-exact-0", "?resourceVersion=0&resourceVersionMatch=Exact"),
    ("list-match-unknown", "?resourceVersion={vb}&resourceVersionMatch=Sometimes"),
    ("list-match-unknown-alone", "?resourceVersionMatch=Sometimes"),
    ("list-version-no-number", "?resourceVersion=abc"),
    ("list-version-negative", "?resourceVersion=-1"),
    ("list-version-beyond-u64", "?resourceVersion=99999999999999999999"),
    ("list-future", "?resourceVersion=999999999999"),
    ("list-future-exact", "?resourceVersion=999999999999&resourceVersionMatch=Exact"),
    ("list-initial-events", "?sendInitialEvents=true"),
    ("list-limit-no-number", "?limit=abc"),
    ("list-limit-negative", "?limit=-1"),
    ("list-limit-empty", "?limit="),
    ("list-limit-out-of-range", "?limit=9223372036854775808"),
    ("list-limit-before-selectors", "?labelSelector=,&limit=abc"),
    ("list-limit-no-escape", "?limit=%25zz&limit=1"),
    ("list-limit-semicolon", "?limit=1;b=2"),
    ("list-timeout-seconds-no-number", "?timeoutSeconds=abc"),
    ("list-timeout-without-unit", "?timeout=1"),
    ("list-timeout-unknown-unit", "?timeout=1d"),
    ("list-timeout-too-long", "?timeout=99999999h"),
    ("list-version-with-sign", "?resourceVersion=%2B1"),
    ("list-any-in-other-words-limit", "?resourceVersion=00&limit=1"),
    ("list-continue-garbage", "?continue=garbage"),
    ("list-continue-no-json", "?continue=Z2FyYmFnZQ"),
    ("list-timeout-no-duration", "?timeout=soon"),
    ("list-timeout-negative", "?timeout=-1s"),
    ("list-unknown-parameter", "?nonsense=1"),
    ("list-selector-and-limit", "?labelSelector=app&limit=1"),
    ("list-of-one-name-limit", "?fieldSelector=metadata.name%3Db&limit=1"),
];

/// Name of the scenario, query of a get.
const GETS: &[(&str, &str)] = &[
    ("get-newest", ""),
    ("get-any", "?resourceVersion=0"),
    ("get-at-least", "?resourceVersion={vb}"),
    ("get-future", "?resourceVersion=999999999999"),
    ("get-version-no-number", "?resourceVersion=abc"),
];

pub(super) fn all() -> Vec<Scenario> {
    let lists = LISTS.iter().map(|(name, query)| three(*name).get(format!("{MAPS}{query}")));
    let gets = GETS.iter().map(|(name, query)| three(*name).get(format!("{MAPS}/b{query}")));
    let mut all: Vec<Scenario> = lists.chain(gets).collect();
    all.extend([
        Scenario::new("list-empty").get(MAPS),
        Scenario::new("get-missing").get(format!("{MAPS}/nobody")),
        three("pages")
            .get(format!("{MAPS}?limit=1"))
            .save("token", "/metadata/continue")
            .get(format!("{MAPS}?limit=1&continue={{token}}"))
            .save("token", "/metadata/continue")
            .get(format!("{MAPS}?limit=1&continue={{token}}")),
        three("pages-are-of-one-state")
            .get(format!("{MAPS}?limit=1"))
            .save("token", "/metadata/continue")
            .ask("POST", MAPS, map("aa", json!({}), json!({})))
            .ask("DELETE", format!("{MAPS}/b"), Value::Null)
            .get(format!("{MAPS}?limit=5&continue={{token}}")),
        three("page-with-version")
            .get(format!("{MAPS}?limit=1"))
            .save("token", "/metadata/continue")
            .get(format!("{MAPS}?limit=1&continue={{token}}&resourceVersion={{vb}}")),
        three("page-with-version-0")
            .get(format!("{MAPS}?limit=1"))
            .save("token", "/metadata/continue")
            .get(format!("{MAPS}?limit=1&continue={{token}}&resourceVersion=0")),
        three("page-with-match")
            .get(format!("{MAPS}?limit=1"))
            .save("token", "/metadata/continue")
            .get(format!("{MAPS}?limit=1&continue={{token}}&resourceVersion={{vb}}&resourceVersionMatch=Exact")),
        three("page-with-selector")
            .get(format!("{MAPS}?limit=1&labelSelector=app"))
            .save("token", "/metadata/continue")
            .get(format!("{MAPS}?limit=1&labelSelector=app&continue={{token}}")),
    ]);
    all
}
