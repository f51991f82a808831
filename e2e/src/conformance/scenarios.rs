//! The scenarios, a group a file. Every rule of profile P0 is in at least one.

use serde_json::{Value, json};

use super::step::Scenario;

mod deletes;
mod errors;
mod events;
mod leases;
mod lists;
mod metadata;
mod namespaces;
mod selectors;
mod watches;
mod writes;

/// ConfigMaps in the scenario's namespace: a kind without defaults, status or validation of its own.
const MAPS: &str = "/api/v1/namespaces/{ns}/configmaps";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases";

/// All of them.
pub fn all() -> Vec<Scenario> {
    let groups = [
        lists::all(),
        selectors::all(),
        watches::all(),
        writes::all(),
        deletes::all(),
        errors::all(),
        events::all(),
        metadata::all(),
        leases::all(),
        namespaces::all(),
    ];
    groups.into_iter().flatten().collect()
}

fn map(name: &str, labels: Value, data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": labels }, "data": data })
}

/// Three maps, a, b and c, whose versions are saved as `va`, `vb` and `vc`. The list at the end is consistent: after it, a
/// real server's cache has seen them too.
fn three(name: impl Into<String>) -> Scenario {
    let version = "/metadata/resourceVersion";
    let labels = |app: &str, tier: &str| json!({ "app": app, "tier": tier });
    Scenario::new(name)
        .ask("POST", MAPS, map("a", labels("x", "1"), json!({ "k": "a" })))
        .save("va", version)
        .ask("POST", MAPS, map("b", labels("y", "5"), json!({ "k": "b" })))
        .save("vb", version)
        .ask("POST", MAPS, map("c", json!({}), json!({ "k": "c" })))
        .save("vc", version)
        .ask("GET", MAPS, Value::Null)
}
