//! Replacing an object, as PUT and PATCH do: what a client may not change is put back, what it may is checked.
//!
//! Comes in: an object that has been read, and the state it replaces. Goes out: the new state in the store, or the deletion
//! that it became. An update that changes nothing writes nothing.

use serde_json::{Map, Value, json};

use crate::kinds::{Generation, Kind, KindId, NAMESPACES, Subresource, kind};
use crate::namespace;
use crate::object::{Stored, at, encode_plain, metadata_mut, text};
use crate::route::go_uint;
use crate::status::{Cause, Failure};
use crate::transaction::{Outcome, Transaction, drop_empty, epoch, finalizers, has_finalizers, is_terminating};
use crate::validate;

impl Transaction<'_> {
    /// Puts `object` in the place of `old`; of a sub-resource, only that part.
    pub(crate) fn replace(
        &mut self,
        id: KindId,
        old: &Stored,
        mut object: Map<String, Value>,
        part: Option<Subresource>,
    ) -> Result<Outcome, Failure> {
        let row = kind(id);
        let before = old.value();
        check_version(row, old, &object)?;
        check_deletion(row, old.name(), &before, &object)?;
        restore(id, &before, &mut object, part);
        check_finalizers(row, old.name(), &before, &object)?;
        count_generation(row, &before, &mut object, part);
        check_immutable(row, old.name(), &before, &object)?;
        validate::object(row, old.name(), &object, Some(&before))?;
        crate::object::set_version(&mut object, old.version);
        if same(&before, &object) {
            return Ok(Outcome {
                code: 200,
                body: old.bytes(),
                name: old.name().to_owned(),
                version: (!self.is_dry_run()).then_some(old.version),
                epoch: epoch(&object),
            });
        }
        if is_terminating(&object) && !has_finalizers(&object) && id != NAMESPACES {
            // The update is never stored: it becomes the deletion.
            let body = encode_plain(row, &mut object);
            let version = self.remove(id, old);
            return Ok(Outcome { code: 200, body, name: old.name().to_owned(), version, epoch: None });
        }
        let outcome = self.put(id, old.key.clone(), object, 200);
        if id == NAMESPACES {
            namespace::finish(self, old.name());
        }
        Ok(outcome)
    }
}

/// The resourceVersion a client sent is a precondition; some kinds demand one.
fn check_version(row: &Kind, old: &Stored, object: &Map<String, Value>) -> Result<(), Failure> {
    let sent = text(object, &["metadata", "resourceVersion"]).unwrap_or_default();
    let sent = if sent.is_empty() { Ok(0) } else { go_uint(sent) };
    match sent.map_err(Failure::unknown)? {
        0 if row.unconditional_update => Ok(()),
        0 => {
            let cause = Cause {
                reason: "FieldValueInvalid",
                message: "Invalid value: 0: must be specified for an update".to_owned(),
                field: "metadata.resourceVersion".to_owned(),
            };
            Err(Failure::invalid_resource(row, old.name(), vec![cause]))
        }
        sent if sent == old.version => Ok(()),
        _ => Err(Failure::modified(row, old.name())),
    }
}

/// Only a deletion says when it was, and how much time is left.
fn check_deletion(
    row: &Kind,
    name: &str,
    before: &Map<String, Value>,
    object: &Map<String, Value>,
) -> Result<(), Failure> {
    let sent = |member: &str| at(object, &["metadata", member]).filter(|value| !value.is_null());
    let had = |member: &str| at(before, &["metadata", member]);
    let mut causes = Vec::new();
    if let (None, Some(time)) = (had("deletionTimestamp"), sent("deletionTimestamp")) {
        causes.push(Cause::invalid("metadata.deletionTimestamp", time, "field is immutable"));
    }
    let grace = "deletionGracePeriodSeconds";
    if let Some(seconds) = sent(grace).filter(|seconds| had(grace) != Some(*seconds)) {
        causes.push(Cause::invalid("metadata.deletionGracePeriodSeconds", seconds, "field is immutable"));
    }
    if causes.is_empty() {
        return Ok(());
    }
    // Found by the metadata's rules and by the kind's.
    Err(Failure::invalid(row, name, [causes.clone(), causes].concat()))
}

/// Puts back what an update may not change. The main path leaves the status alone, the status path the spec.
fn restore(id: KindId, before: &Map<String, Value>, object: &mut Map<String, Value>, part: Option<Subresource>) {
    object.remove("kind");
    object.remove("apiVersion");
    let restored = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    drop_empty(object);
    let metadata = metadata_mut(object);
    metadata.remove("selfLink");
    for member in restored {
        match at(before, &["metadata", member]) {
            Some(value) => metadata.insert(member.to_owned(), value.clone()),
            None => metadata.remove(member),
        };
    }
    let kept: &[&str] = match part {
        Some(Subresource::Status) => &["spec"],
        Some(_) => &["status"],
        // A namespace's spec is its finalizers, which have a path of their own.
        None if id == NAMESPACES => &["spec", "status"],
        None if kind(id).has(Subresource::Status) => &["status"],
        None => &[],
    };
    for member in kept {
        match before.get(*member) {
            Some(value) => object.insert((*member).to_owned(), value.clone()),
            None => object.remove(*member),
        };
    }
}

fn count_generation(
    row: &Kind,
    before: &Map<String, Value>,
    object: &mut Map<String, Value>,
    part: Option<Subresource>,
) {
    let counts = match row.generation {
        Generation::Absent => false,
        Generation::Spec => part.is_none() && before.get("spec") != object.get("spec"),
        Generation::Content => content(before).ne(content(object)),
    };
    if counts {
        let generation = at(before, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
        metadata_mut(object).insert("generation".to_owned(), json!(generation + 1));
    }
}

fn content(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.iter().filter(|(member, _)| !matches!(member.as_str(), "kind" | "apiVersion" | "metadata"))
}

fn check_immutable(
    row: &Kind,
    name: &str,
    before: &Map<String, Value>,
    object: &Map<String, Value>,
) -> Result<(), Failure> {
    let changed = row.immutable.iter().filter(|path| at(before, path) != at(object, path));
    let causes: Vec<Cause> = changed
        .map(|path| Cause::invalid(&path.join("."), at(object, path).unwrap_or(&Value::Null), "field is immutable"))
        .collect();
    if causes.is_empty() { Ok(()) } else { Err(Failure::invalid(row, name, causes)) }
}

fn check_finalizers(
    row: &Kind,
    name: &str,
    before: &Map<String, Value>,
    object: &Map<String, Value>,
) -> Result<(), Failure> {
    if !is_terminating(before) {
        return Ok(());
    }
    let known = finalizers(before);
    let added: Vec<&Value> = finalizers(object).iter().filter(|finalizer| !known.contains(finalizer)).collect();
    if added.is_empty() {
        return Ok(());
    }
    let added: Vec<String> = added.iter().map(|finalizer| finalizer.to_string()).collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    // Found by the metadata's rules and by the kind's.
    let cause = Cause::forbidden("metadata.finalizers", &detail);
    Err(Failure::invalid(row, name, vec![cause.clone(), cause]))
}

/// Equal but for kind and apiVersion, which the new one no longer has.
fn same(before: &Map<String, Value>, object: &Map<String, Value>) -> bool {
    let typed = before.keys().filter(|member| matches!(member.as_str(), "kind" | "apiVersion")).count();
    before.len() - typed == object.len() && object.iter().all(|(member, value)| before.get(member) == Some(value))
}
