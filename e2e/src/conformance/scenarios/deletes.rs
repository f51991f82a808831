//! Deletes: at once, held by finalizers, under preconditions, of a collection.

use serde_json::{Value, json};

use super::{MAPS, map, three};
use crate::conformance::step::Scenario;

/// A map with a finalizer, `held`, its version saved as `vh`, and a watch `w` from there.
fn held(name: &str) -> Scenario {
    let mut object = map("held", json!({}), json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    Scenario::new(name)
        .ask("POST", MAPS, object)
        .save("vh", "/metadata/resourceVersion")
        .watch("w", format!("{MAPS}?watch=1&resourceVersion={{vh}}"))
}

pub(super) fn all() -> Vec<Scenario> {
    let a = format!("{MAPS}/a");
    let one = format!("{MAPS}/held");
    let options = |name: &str, options: Value| three(name).ask("DELETE", a.clone(), options).get(a.clone());
    vec![
        options("delete", Value::Null),
        options("delete-background", json!({ "propagationPolicy": "Background" })),
        options("delete-unknown-policy", json!({ "propagationPolicy": "Sideways" })),
        options("delete-policy-and-orphan", json!({ "propagationPolicy": "Background", "orphanDependents": true })),
        options("delete-at-version", json!({ "preconditions": { "resourceVersion": "{va}" } })),
        options("delete-stale", json!({ "preconditions": { "resourceVersion": "1" } })),
        options("delete-wrong-uid", json!({ "preconditions": { "uid": "11111111-1111-1111-1111-111111111111" } })),
        options("delete-dry-run", json!({ "dryRun": ["All"] })),
        options("delete-grace", json!({ "gracePeriodSeconds": 30 })),
        options("delete-grace-negative", json!({ "gracePeriodSeconds": -5 })),
        three("delete-dry-run-in-the-query").ask("DELETE", format!("{a}?dryRun=All"), Value::Null).get(a.clone()),
        three("delete-dry-run-beside-a-body")
            .ask("DELETE", format!("{a}?dryRun=All"), json!({ "propagationPolicy": "Background" }))
            .get(a.clone()),
        three("delete-collection-dry-run-beside-a-body")
            .ask("DELETE", format!("{MAPS}?dryRun=All"), json!({ "propagationPolicy": "Background" }))
            .get(MAPS),
        three("delete-missing").ask("DELETE", format!("{MAPS}/nobody"), Value::Null),
        three("delete-twice").ask("DELETE", a.clone(), Value::Null).ask("DELETE", a.clone(), Value::Null),
        three("delete-and-create")
            .ask("DELETE", a.clone(), Value::Null)
            .ask("POST", MAPS, map("a", json!({}), json!({})))
            .get(a.clone()),
        held("finalizer-holds")
            .ask("DELETE", one.clone(), Value::Null)
            .ask("DELETE", one.clone(), Value::Null)
            .get(one.clone())
            .read("w", 1),
        held("finalizer-removed-by-patch")
            .ask("DELETE", one.clone(), Value::Null)
            .ask("PATCH", one.clone(), json!({ "metadata": { "finalizers": null } }))
            .get(one.clone())
            .read("w", 2),
        held("finalizer-removed-by-put")
            .ask("DELETE", one.clone(), Value::Null)
            .ask("PUT", one.clone(), map("held", json!({}), json!({ "k": "last" })))
            .get(one.clone())
            .read("w", 2),
        held("finalizer-added-while-deleting").ask("DELETE", one.clone(), Value::Null).ask(
            "PATCH",
            one.clone(),
            json!({ "metadata": { "finalizers": ["example.com/hold", "example.com/more"] } }),
        ),
        held("create-while-deleting").ask("DELETE", one.clone(), Value::Null).ask(
            "POST",
            MAPS,
            map("held", json!({}), json!({})),
        ),
        held("update-while-deleting")
            .ask("DELETE", one.clone(), Value::Null)
            .ask("PATCH", one.clone(), json!({ "data": { "k": "still" } }))
            .read("w", 2),
        three("delete-collection")
            .watch("w", format!("{MAPS}?watch=1&resourceVersion={{vc}}"))
            .ask("DELETE", format!("{MAPS}?labelSelector=app"), Value::Null)
            .read("w", 2)
            .get(MAPS),
        three("delete-collection-field")
            .ask("DELETE", format!("{MAPS}?fieldSelector=metadata.name%3Db"), Value::Null)
            .get(MAPS),
        three("delete-collection-dry-run").ask("DELETE", format!("{MAPS}?dryRun=All"), Value::Null).get(MAPS),
        Scenario::new("delete-collection-empty").ask("DELETE", MAPS, Value::Null),
        Scenario::new("delete-immortal-namespace").ask("DELETE", "/api/v1/namespaces/default", Value::Null),
    ]
}
