//! Leases: what electors send, and what is refused.

use serde_json::{Value, json};

use super::LEASES;
use crate::conformance::step::Scenario;

fn lease(spec: Value) -> Value {
    json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "l" }, "spec": spec })
}

fn full(holder: &str, renewed: &str, transitions: i32) -> Value {
    let acquired = "2026-01-02T03:04:05.000006Z";
    json!({
        "holderIdentity": holder, "leaseDurationSeconds": 15, "acquireTime": acquired, "renewTime": renewed,
        "leaseTransitions": transitions
    })
}

pub(super) fn all() -> Vec<Scenario> {
    let create = |name: &str, spec: Value| Scenario::new(name).ask("POST", LEASES, lease(spec));
    let one = format!("{LEASES}/l");
    let started =
        |name: &str| create(name, full("a", "2026-01-02T03:04:05.000006Z", 0)).save("v", "/metadata/resourceVersion");
    let update = |spec: Value| {
        let mut object = lease(spec);
        object["metadata"]["resourceVersion"] = json!("{v}");
        object
    };
    vec![
        create("lease-without-spec", json!({})),
        Scenario::new("lease-of-a-name-only").ask("POST", LEASES, json!({ "metadata": { "name": "l" } })),
        create("lease-null-spec", Value::Null),
        create("lease-null-holder", json!({ "holderIdentity": null, "leaseTransitions": 1 })),
        started("lease-spec-removed").ask("PATCH", one.clone(), json!({ "spec": null })),
        create("lease-bookmark", json!({}))
            .watch(
                "w",
                format!(
                    "{LEASES}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                ),
            )
            .read("w", 2),
        create("lease-full", full("a", "2026-01-02T03:04:05.100000Z", 1)),
        create("lease-short-fraction", full("a", "2026-01-02T03:04:05.1Z", 1)),
        create("lease-no-fraction", full("a", "2026-01-02T03:04:05Z", 1)),
        create("lease-long-fraction", full("a", "2026-01-02T03:04:05.123456789Z", 1)),
        create("lease-other-zone", full("a", "2026-01-02T04:04:05.100000+01:00", 1)),
        create("lease-no-time", full("a", "yesterday", 1)),
        create("lease-duration-0", json!({ "leaseDurationSeconds": 0 })),
        create("lease-duration-negative", json!({ "leaseDurationSeconds": -1 })),
        create("lease-transitions-negative", json!({ "leaseTransitions": -1 })),
        create("lease-empty-holder", json!({ "holderIdentity": "" })),
        create("lease-duration-text", json!({ "leaseDurationSeconds": "15" })),
        started("lease-renew").ask("PUT", one.clone(), update(full("a", "2026-01-02T03:04:07.000000Z", 0))),
        started("lease-race").ask("PUT", one.clone(), update(full("b", "2026-01-02T03:04:30.000000Z", 1))).ask(
            "PUT",
            one.clone(),
            update(full("c", "2026-01-02T03:04:30.000001Z", 1)),
        ),
        started("lease-update-without-version").ask(
            "PUT",
            one.clone(),
            lease(full("b", "2026-01-02T03:04:30.000000Z", 1)),
        ),
        started("lease-release").ask(
            "PATCH",
            one.clone(),
            json!({ "spec": { "holderIdentity": "", "leaseDurationSeconds": 1 } }),
        ),
        started("lease-label-only").ask("PATCH", one, json!({ "metadata": { "labels": { "app": "x" } } })),
    ]
}
