//! What an object must look like to be stored.
//!
//! Comes in: an object about to be written. Goes out: the causes of a 422, with upstream's fields and texts. What upstream
//! checks beyond this (most of Pod and Node) is not checked here; the crate's front page says so.

mod kinds;
mod names;
mod owners;

use serde_json::{Map, Value};

use crate::kinds::Kind;
use crate::object::at;
use crate::status::{Cause, Failure};

pub(crate) use kinds::{core_event, event, lease, lease_candidate};
pub(crate) use names::{NameRule, label_key_problem, label_value_problem, name_problem};

/// Annotations of an object, keys and values together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// How deep an object may be: it must be readable again, also as an item of a list, by parsers that go 127 levels deep as
/// ours does.
pub(crate) const DEPTH_LIMIT: usize = 125;

/// The check of kinds that have none.
pub(crate) fn nothing(_: &Map<String, Value>, _: Option<&Map<String, Value>>) -> Vec<Cause> {
    Vec::new()
}

/// Everything an object of `kind` is checked for before it is stored, in the place of `before` if it is an update.
pub(crate) fn object(
    kind: &Kind,
    name: &str,
    object: &Map<String, Value>,
    before: Option<&Map<String, Value>>,
) -> Result<(), Failure> {
    let mut causes = Vec::new();
    if let Some(problem) = name_problem(kind.names, name) {
        causes.push(Cause::invalid("metadata.name", name, problem));
    }
    metadata(object, &mut causes);
    owners::owner_references(object, &mut causes);
    owners::finalizers(object, &mut causes);
    causes.extend((kind.validate)(object, before));
    if causes.is_empty() { Ok(()) } else { Err(Failure::invalid(kind, name, causes)) }
}

fn metadata(object: &Map<String, Value>, causes: &mut Vec<Cause>) {
    let labels = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        if let Some(problem) = label_key_problem(key) {
            causes.push(Cause::invalid("metadata.labels", key, problem));
        }
        if let Some(problem) = value.as_str().and_then(label_value_problem) {
            causes.push(Cause::invalid("metadata.labels", value, problem));
        }
    }
    let annotations = at(object, &["metadata", "annotations"]).and_then(Value::as_object);
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Some(problem) = label_key_problem(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", key, problem));
        }
    }
    if size > ANNOTATIONS_LIMIT {
        let message = format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes");
        causes.push(Cause { reason: "FieldValueTooLong", message, field: "metadata.annotations".to_owned() });
    }
}

/// Types that upstream's decoder would refuse, and MicroTime brought into its one form.
pub(crate) fn decode(kind: &Kind, object: &mut Map<String, Value>) -> Result<(), Failure> {
    let refuse = |path: &[&str], what: &str| {
        let (kind, version) = (kind.kind, kind.version);
        let path = path.join(".");
        Failure::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {path}: {what}"))
    };
    if object.values().any(|value| depth(value) >= DEPTH_LIMIT) {
        return Err(Failure::bad_request(format!("the object is more than {DEPTH_LIMIT} levels deep")));
    }
    string_map(object, &["metadata", "labels"]).map_err(|what| refuse(&["metadata", "labels"], what))?;
    string_map(object, &["metadata", "annotations"]).map_err(|what| refuse(&["metadata", "annotations"], what))?;
    if object.get("metadata").is_some_and(|metadata| !metadata.is_object() && !metadata.is_null()) {
        return Err(refuse(&["metadata"], "must be an object"));
    }
    for member in ["name", "generateName", "namespace", "uid", "resourceVersion"] {
        if at(object, &["metadata", member]).is_some_and(|value| !value.is_string() && !value.is_null()) {
            return Err(refuse(&["metadata", member], "must be a text"));
        }
    }
    list_of(object, "finalizers", Value::is_string)
        .map_err(|()| refuse(&["metadata", "finalizers"], "must be a list of texts"))?;
    list_of(object, "ownerReferences", Value::is_object)
        .map_err(|()| refuse(&["metadata", "ownerReferences"], "must be a list of objects"))?;
    for path in kind.integers {
        match at(object, path) {
            None | Some(Value::Null) => {}
            Some(Value::Number(number)) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {}
            Some(_) => return Err(refuse(path, "must be a 32 bit integer")),
        }
    }
    for path in kind.micro_times {
        let Some(Value::String(time)) = at(object, path) else {
            if at(object, path).is_some_and(|value| !value.is_null()) {
                return Err(refuse(path, "must be a time"));
            }
            continue;
        };
        let time = micro_time(time).map_err(|why| {
            let (kind, version) = (kind.kind, kind.version);
            Failure::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
        })?;
        set(object, path, Value::String(format!("{time:.6}")));
    }
    (kind.convert)(object);
    Ok(())
}

/// Levels of objects and lists.
pub(crate) fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut pending = vec![(value, 1)];
    while let Some((value, level)) = pending.pop() {
        match value {
            Value::Array(items) => pending.extend(items.iter().map(|item| (item, level + 1))),
            Value::Object(members) => pending.extend(members.values().map(|member| (member, level + 1))),
            _ => continue,
        }
        deepest = deepest.max(level);
    }
    deepest
}

/// A time with exactly six digits of a second. Go's words where it isn't: what is left of the text, and what was to come.
fn micro_time(text: &str) -> Result<jiff::Timestamp, String> {
    const SECONDS: usize = "2006-01-02T15:04:05".len();
    let layout = "2006-01-02T15:04:05.000000Z07:00";
    let wrong = |rest: &str, expected: &str| {
        Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {expected:?}"))
    };
    let Some((_, rest)) = text.split_at_checked(SECONDS) else { return wrong(text, "2006") };
    let digits = rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    match digits {
        6 => text.parse().or_else(|_| wrong(text, "2006")),
        0..6 => wrong(rest, ".000000"),
        _ => wrong(&rest[".000000".len()..], "Z07:00"),
    }
}

fn string_map(object: &Map<String, Value>, path: &[&str]) -> Result<(), &'static str> {
    match at(object, path) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(map)) if map.values().all(Value::is_string) => Ok(()),
        Some(_) => Err("must be a map of strings"),
    }
}

fn list_of(object: &Map<String, Value>, member: &str, fits: fn(&Value) -> bool) -> Result<(), ()> {
    match at(object, &["metadata", member]) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(items)) if items.iter().all(fits) => Ok(()),
        Some(_) => Err(()),
    }
}

fn set(object: &mut Map<String, Value>, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    let slot = rest.iter().try_fold(object.get_mut(*first), |slot, member| slot.map(|slot| slot.get_mut(*member)));
    if let Some(Some(slot)) = slot {
        *slot = value;
    }
}
