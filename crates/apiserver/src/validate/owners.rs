//! Owner references and finalizers: what other objects, and other programs, hold on to.
//!
//! Comes in: an object about to be written. Goes out: the causes of a 422. Whether an owner exists is nobody's business here,
//! as upstream: a garbage collector would find out.

use serde_json::{Map, Value};

use super::names::label_key_problems;
use crate::object::at;
use crate::status::Cause;

const OWNERS: &str = "metadata.ownerReferences";
const FINALIZERS: &str = "metadata.finalizers";
/// Finalizers that need no domain.
const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

pub(super) fn owner_references(object: &Map<String, Value>, causes: &mut Vec<Cause>) {
    let Some(Value::Array(references)) = at(object, &["metadata", "ownerReferences"]) else { return };
    let mut controller: Option<String> = None;
    for reference in references {
        let member = |name: &str| reference.get(name).and_then(Value::as_str).unwrap_or_default();
        let version = member("apiVersion").rsplit('/').next().unwrap_or_default();
        if version.is_empty() || member("apiVersion").split('/').count() > 2 {
            let field = format!("{OWNERS}.apiVersion");
            causes.push(Cause::invalid(&field, member("apiVersion"), "version must not be empty"));
        }
        for name in ["kind", "name", "uid"] {
            if member(name).is_empty() {
                causes.push(Cause::invalid(&format!("{OWNERS}.{name}"), "", "must not be empty"));
            }
        }
        if (member("apiVersion"), member("kind")) == ("v1", "Event") {
            causes.push(Cause::invalid(OWNERS, reference, "/v1, Kind=Event is disallowed from being an owner"));
        }
        if reference.get("controller").and_then(Value::as_bool).unwrap_or(false) {
            let this = format!("{}/{}", member("kind"), member("name"));
            match &controller {
                None => controller = Some(this),
                Some(first) => {
                    let problem = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    );
                    causes.push(Cause::invalid(OWNERS, references, &problem));
                }
            }
        }
    }
}

pub(super) fn finalizers(object: &Map<String, Value>, causes: &mut Vec<Cause>) {
    let Some(Value::Array(finalizers)) = at(object, &["metadata", "finalizers"]) else { return };
    for finalizer in finalizers {
        for problem in finalizer.as_str().map(label_key_problems).unwrap_or_default() {
            causes.push(Cause::invalid(FINALIZERS, finalizer, problem));
        }
    }
    for (place, finalizer) in finalizers.iter().enumerate() {
        qualified(&format!("{FINALIZERS}[{place}]"), finalizer, causes);
    }
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        let problem = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(Cause::invalid(FINALIZERS, finalizers, problem));
    }
}

/// A finalizer has a domain, unless it is one of the standard ones.
pub(super) fn qualified(field: &str, finalizer: &Value, causes: &mut Vec<Cause>) {
    if finalizer.as_str().is_some_and(|name| !name.contains('/') && !STANDARD.contains(&name)) {
        let problem = "name is neither a standard finalizer name nor is it fully qualified";
        causes.push(Cause::invalid(field, finalizer, problem));
    }
}
