//! What the server itself writes into new objects of some kinds, and how it reads a few.
//!
//! Comes in: an object on its way into the store. Goes out: the same object, filled in or wiped as upstream's strategies do.
//! Never refuses anything: that is validation.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::namespace::OWN_FINALIZER;
use crate::object::metadata_mut;
use crate::validate::nulls_are_empty;

/// For kinds that need no such thing.
pub(super) fn nothing(_: &mut Map<String, Value>) {}

/// A new namespace is active, and kept until its content is gone.
pub(super) fn namespace(object: &mut Map<String, Value>) {
    let spec = object.entry("spec").or_insert_with(|| json!({}));
    let mut finalizers = match spec.get_mut("finalizers").map(Value::take) {
        Some(Value::Array(finalizers)) => finalizers,
        _ => Vec::new(),
    };
    if finalizers.iter().all(|finalizer| finalizer != OWN_FINALIZER) {
        finalizers.push(json!(OWN_FINALIZER));
    }
    object.insert("spec".to_owned(), json!({ "finalizers": finalizers }));
    object.insert("status".to_owned(), json!({ "phase": "Active" }));
    name_label(object);
}

/// A namespace always carries its name as a label.
pub(super) fn name_label(object: &mut Map<String, Value>) {
    let metadata = metadata_mut(object);
    let name = metadata.get("name").cloned().unwrap_or_default();
    let labels = metadata.entry("labels").or_insert(Value::Null);
    if labels.is_null() {
        *labels = json!({});
    }
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

/// What upstream reads into a map of texts is a text: a null is an empty one.
pub(super) fn config_map(object: &mut Map<String, Value>) {
    nulls_are_empty(object.get_mut("data"));
}

/// A new pod has run nowhere yet, whatever its creator says.
pub(super) fn pod(object: &mut Map<String, Value>) {
    object.insert("status".to_owned(), json!({ "phase": "Pending" }));
}

/// A new service is balanced by nothing yet.
pub(super) fn service(object: &mut Map<String, Value>) {
    object.insert("status".to_owned(), json!({ "loadBalancer": {} }));
}

/// Nobody has observed a new object yet.
pub(super) fn wipe_status(object: &mut Map<String, Value>) {
    object.insert("status".to_owned(), json!({}));
}

/// Counts that upstream always writes, also when they are zero.
pub(super) fn daemon_set(object: &mut Map<String, Value>) {
    let status = json!({
        "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
    });
    object.insert("status".to_owned(), status);
}

/// As for daemon sets.
pub(super) fn replica_set(object: &mut Map<String, Value>) {
    object.insert("status".to_owned(), json!({ "replicas": 0 }));
}

/// As for daemon sets.
pub(super) fn stateful_set(object: &mut Map<String, Value>) {
    object.insert("status".to_owned(), json!({ "availableReplicas": 0, "replicas": 0 }));
}

/// `stringData` is a way to write `data`, and is never read back; a secret without a type is opaque.
pub(super) fn secret(object: &mut Map<String, Value>) {
    if let Some(Value::Object(plain)) = object.remove("stringData") {
        let data = object.entry("data").or_insert_with(|| json!({}));
        if data.is_null() {
            *data = json!({});
        }
        for (key, value) in plain {
            if let (Some(data), Some(text)) = (data.as_object_mut(), value.as_str()) {
                data.insert(key, STANDARD.encode(text).into());
            }
        }
    }
    let kind = object.entry("type").or_insert(Value::Null);
    if kind.as_str().is_none_or(str::is_empty) {
        *kind = json!("Opaque");
    }
}

/// A lease always has a spec, and no nulls in it.
pub(super) fn lease(object: &mut Map<String, Value>) {
    let spec = object.entry("spec").or_insert(Value::Null);
    if spec.is_null() {
        *spec = json!({});
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
}

/// Events have members that are always written, and others that are never written when they are empty.
pub(super) fn core_event(object: &mut Map<String, Value>) {
    let times = ["firstTimestamp", "lastTimestamp", "eventTime"];
    written(object, &["involvedObject", "source"], &times, &["reportingComponent", "reportingInstance"]);
}

/// The same of the other group.
pub(super) fn event(object: &mut Map<String, Value>) {
    let times = ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"];
    written(object, &["regarding", "deprecatedSource"], &times, &[]);
}

fn written(object: &mut Map<String, Value>, structs: &[&str], times: &[&str], texts: &[&str]) {
    object.retain(|_, value| !(value.is_null() || *value == "" || *value == 0));
    let empty = [(structs, json!({})), (times, Value::Null), (texts, json!(""))];
    for (members, empty) in empty {
        for member in members {
            object.entry(*member).or_insert_with(|| empty.clone());
        }
    }
}
