//! Namespaces: a phase that only a deletion changes, and finalizers with proper names.

use serde_json::{Value, json};

use crate::conformance::step::Scenario;

const OWN: &str = "/api/v1/namespaces/{ns}";

pub(super) fn all() -> Vec<Scenario> {
    let status = |name: &str, phase: &str| {
        let body = json!({ "status": { "phase": phase } });
        Scenario::new(name).ask("PATCH", format!("{OWN}/status"), body)
    };
    let finalize = |name: &str, finalizers: Value| {
        let body = json!({ "metadata": { "name": "{ns}" }, "spec": { "finalizers": finalizers } });
        Scenario::new(name).ask("PUT", format!("{OWN}/finalize"), body)
    };
    vec![
        status("namespace-unknown-phase", "Foo"),
        status("namespace-phase-without-deletion", "Terminating"),
        finalize("namespace-bad-finalizers", json!(["kubernetes", "bad one", "plain", "a/b/c"])),
        finalize("namespace-own-finalizers", json!(["kubernetes", "example.com/mine"])),
    ]
}
