//! A pod's way to its node: what a scheduler posts to `/binding`.
//!
//! Comes in: a Binding, and the pod it is about. Goes out: the pod with a node, or the conflict that upstream answers. Never
//! looks whether the node exists: upstream doesn't either.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::kinds::{KindId, kind};
use crate::object::{Stored, metadata_mut, text};
use crate::status::{Cause, Failure};
use crate::transaction::{Outcome, Transaction, is_terminating};

/// Which node a pod is to run on.
#[derive(Debug)]
pub(crate) struct Binding {
    node: String,
    uid: Option<String>,
    annotations: Map<String, Value>,
}

impl Binding {
    /// Reads the body of a request about the pod `name`.
    pub(crate) fn parse(name: &str, body: &[u8]) -> Result<Self, Failure> {
        let mut object: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| Failure::bad_request(format!("couldn't get version/kind; json parse error: {error}")))?;
        for (member, expected) in [("apiVersion", "v1"), ("kind", "Binding")] {
            let sent = text(&object, &[member]).unwrap_or_default();
            if !sent.is_empty() && sent != expected {
                let message = format!("the {member} in the data ({sent}) does not match the expected one ({expected})");
                return Err(Failure::bad_request(message));
            }
        }
        let sent = text(&object, &["metadata", "name"]).unwrap_or_default();
        if !sent.is_empty() && sent != name {
            return Err(Failure::bad_request("name in URL does not match name in Binding object"));
        }
        let mut causes = Vec::new();
        let target = text(&object, &["target", "kind"]).unwrap_or_default();
        if !matches!(target, "" | "Node") {
            causes.push(Cause::not_supported("target.kind", target, &["Node", "<empty>"]));
        }
        let node = text(&object, &["target", "name"]).unwrap_or_default().to_owned();
        if node.is_empty() {
            causes.push(Cause::required("target.name", ""));
        }
        if !causes.is_empty() {
            return Err(Failure::invalid_of(("", "Binding"), name, causes));
        }
        let uid = text(&object, &["metadata", "uid"]).filter(|uid| !uid.is_empty()).map(str::to_owned);
        let annotations = match metadata_mut(&mut object).remove("annotations") {
            Some(Value::Object(annotations)) if annotations.values().all(Value::is_string) => annotations,
            _ => Map::new(),
        };
        Ok(Self { node, uid, annotations })
    }
}

impl Transaction<'_> {
    /// Assigns a pod that has no node yet.
    pub(crate) fn bind(&mut self, id: KindId, old: &Stored, binding: Binding) -> Result<Outcome, Failure> {
        let mut pod = old.value();
        let conflict = |why: String| {
            let mut failure = Failure::conflict(kind(id), old.name(), &why);
            failure.message = format!("Operation cannot be fulfilled on pods/binding {:?}: {why}", old.name());
            failure.details.get_or_insert_default().kind = "pods/binding".to_owned();
            failure
        };
        if let Some(uid) = binding.uid.filter(|uid| **uid != *old.uid) {
            return Err(conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old.uid
            )));
        }
        if is_terminating(&pod) {
            return Err(conflict(format!("pod {} is being deleted, cannot be assigned to a host", old.name())));
        }
        if let Some(node) = text(&pod, &["spec", "nodeName"]).filter(|node| !node.is_empty()) {
            return Err(conflict(format!("pod {} is already assigned to node {node:?}", old.name())));
        }
        member(&mut pod, "spec").insert("nodeName".to_owned(), binding.node.into());
        if !binding.annotations.is_empty() {
            member(metadata_mut(&mut pod), "annotations").extend(binding.annotations);
        }
        let scheduled = json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": format!("{:.0}", self.now) });
        let status = member(&mut pod, "status");
        match status.get_mut("conditions") {
            Some(Value::Array(conditions)) => {
                conditions.retain(|condition| condition["type"] != "PodScheduled");
                conditions.push(scheduled);
            }
            _ => {
                status.insert("conditions".to_owned(), json!([scheduled]));
            }
        }
        let outcome = self.put(id, old.key.clone(), pod, 201);
        let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
        Ok(Outcome { body: Bytes::from(success.to_string()), ..outcome })
    }
}

/// The object at `name`, made if nothing or something else is there.
fn member<'a>(object: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let slot = object.entry(name).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("just made sure")
}
