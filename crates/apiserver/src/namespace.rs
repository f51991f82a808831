//! The life of namespaces: what is there at the start, who may be created in one, and how one ends.
//!
//! Upstream has a controller that empties a terminating namespace step by step; here its content goes in the same request,
//! object by object, each with its own version and event. What finalizers hold keeps the namespace terminating; the last of
//! it to go takes the namespace along.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::kinds::{self, Kind, KindId, NAMESPACES};
use crate::object::{Stored, at};
use crate::options::Propagation;
use crate::status::{Cause, Failure};
use crate::transaction::{Outcome, Transaction, has_finalizers, is_terminating};

const INITIAL: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// In a namespace's spec: what upstream's namespace controller takes away when the content is gone.
pub(crate) const OWN_FINALIZER: &str = "kubernetes";
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// The namespaces every cluster begins with.
pub(crate) fn create_initial(transaction: &mut Transaction<'_>) {
    for name in INITIAL {
        let mut object = Map::new();
        object.insert("metadata".to_owned(), json!({ "name": name }));
        transaction.create(NAMESPACES, "", object).expect("these names are valid, and nothing exists yet");
    }
}

/// Refuses what is to be created in a namespace that doesn't exist or is going.
pub(crate) fn check_open(
    transaction: &Transaction<'_>,
    row: &Kind,
    namespace: &str,
    name: &str,
) -> Result<(), Failure> {
    let Some(found) = transaction.get(NAMESPACES, namespace) else {
        return Err(Failure::not_found(kinds::kind(NAMESPACES), namespace));
    };
    if !is_terminating(&found.value()) {
        return Ok(());
    }
    let cause = Cause {
        reason: "NamespaceTerminating",
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    Err(Failure::forbidden(row, name, &why, vec![cause]))
}

/// Deletes a namespace: terminating first, then its content, then, if nothing holds it, itself.
pub(crate) fn delete(transaction: &mut Transaction<'_>, old: &Stored) -> Result<Outcome, Failure> {
    let name = old.name();
    if IMMORTAL.contains(&name) {
        let why = "this namespace may not be deleted";
        return Err(Failure::forbidden(kinds::kind(NAMESPACES), name, why, Vec::new()));
    }
    let mut object = old.value();
    let mut outcome = Outcome {
        code: 200,
        body: old.bytes(),
        name: name.to_owned(),
        version: (!transaction.is_dry_run()).then_some(old.version),
        epoch: None,
    };
    if !is_terminating(&object) {
        transaction.mark_terminating(&mut object);
        set_phase(&mut object);
        outcome = transaction.put(NAMESPACES, Arc::from(name), object, 200);
    }
    let prefix = format!("{name}/");
    for (id, _) in kinds::all().filter(|(_, row)| row.namespaced) {
        for key in transaction.keys_with_prefix(id, &prefix) {
            // The last content may have taken the namespace along already; the rest of the loop then finds nothing.
            if let Some(content) = transaction.get(id, &key) {
                transaction.delete(id, &content, Some(Propagation::Background));
            }
        }
    }
    finish(transaction, name);
    Ok(outcome)
}

/// Removes a terminating namespace that nothing is left in and nothing holds; as far as others' finalizers hold it, the
/// server's own goes.
pub(crate) fn finish(transaction: &mut Transaction<'_>, name: &str) {
    let Some(found) = transaction.get(NAMESPACES, name) else { return };
    let prefix = format!("{name}/");
    let empty = |(id, row): (KindId, &'static Kind)| !row.namespaced || transaction.is_empty(id, &prefix);
    let mut object = found.value();
    if !is_terminating(&object) || !kinds::all().all(empty) {
        return;
    }
    let held = at(&object, &["spec", "finalizers"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let foreign: Vec<Value> = held.iter().filter(|finalizer| *finalizer != OWN_FINALIZER).cloned().collect();
    if foreign.is_empty() && !has_finalizers(&object) {
        transaction.remove(NAMESPACES, &found);
    } else if foreign.len() < held.len() {
        object.insert("spec".to_owned(), json!({ "finalizers": foreign }));
        transaction.put(NAMESPACES, found.key.clone(), object, 200);
    }
}

fn set_phase(object: &mut Map<String, Value>) {
    match object.get_mut("status").and_then(Value::as_object_mut) {
        Some(status) => {
            status.insert("phase".to_owned(), json!("Terminating"));
        }
        None => {
            object.insert("status".to_owned(), json!({ "phase": "Terminating" }));
        }
    }
}
