//! What an object must look like to be stored.
//!
//! Comes in: an object about to be written. Goes out: the causes of a 422, with upstream's fields and texts. What upstream
//! checks beyond this (most of Pod and Node) is not checked here; the crate's front page says so.

mod kinds;
mod names;
mod owners;

use serde_json::{Map, Value};

use crate::kinds::Kind;
use crate::object::{at, text};
use crate::status::{Cause, Failure};

pub(crate) use kinds::{core_event, event, lease, lease_candidate, namespace};
pub(crate) use names::{NameRule, label_key_problems, label_value_problems};
use names::{base_problems, name_problems};

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
    let all = |field: &str, text: &str, problems: Vec<&str>| -> Vec<Cause> {
        problems.into_iter().map(|problem| Cause::invalid(field, text, problem)).collect()
    };
    if let Some(base) = text(object, &["metadata", "generateName"]).filter(|base| !base.is_empty()) {
        causes.extend(all("metadata.generateName", base, base_problems(kind.names, base)));
    }
    causes.extend(all("metadata.name", name, name_problems(kind.names, name)));
    metadata(object, &mut causes);
    owners::owner_references(object, &mut causes);
    owners::finalizers(object, &mut causes);
    causes.extend((kind.validate)(object, before));
    if causes.is_empty() { Ok(()) } else { Err(Failure::invalid(kind, name, causes)) }
}

fn metadata(object: &Map<String, Value>, causes: &mut Vec<Cause>) {
    let generation = at(object, &["metadata", "generation"]).and_then(Value::as_i64);
    if let Some(generation) = generation.filter(|generation| *generation < 0) {
        causes.push(Cause::invalid("metadata.generation", generation, "must be greater than or equal to 0"));
    }
    let labels = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        for problem in label_key_problems(key) {
            causes.push(Cause::invalid("metadata.labels", key, problem));
        }
        for problem in value.as_str().map(label_value_problems).unwrap_or_default() {
            causes.push(Cause::invalid("metadata.labels", value, problem));
        }
    }
    let annotations = at(object, &["metadata", "annotations"]).and_then(Value::as_object);
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        for problem in label_key_problems(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", key, problem));
        }
    }
    if size > ANNOTATIONS_LIMIT {
        causes.push(Cause::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
    }
}

/// Whether the object could be read again.
pub(crate) fn check_depth(object: &Map<String, Value>) -> Result<(), Failure> {
    if object.values().any(|value| depth(value) >= DEPTH_LIMIT) {
        return Err(Failure::bad_request(format!("the object is more than {DEPTH_LIMIT} levels deep")));
    }
    Ok(())
}

/// Types that upstream's decoder would refuse, and MicroTime brought into its one form.
pub(crate) fn decode(kind: &Kind, object: &mut Map<String, Value>) -> Result<(), Failure> {
    let refuse = |path: &[&str], what: &str| {
        let (kind, version) = (kind.kind, kind.version);
        let path = path.join(".");
        Failure::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {path}: {what}"))
    };
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        ["labels", "annotations", "finalizers"]
            .into_iter()
            .for_each(|member| nulls_are_empty(metadata.get_mut(member)));
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
    for member in ["generation", "deletionGracePeriodSeconds"] {
        if at(object, &["metadata", member]).is_some_and(|value| !value.is_i64() && !value.is_null()) {
            return Err(refuse(&["metadata", member], "must be a 64 bit integer"));
        }
    }
    for member in ["creationTimestamp", "deletionTimestamp"] {
        let fits = |value: &Value| value.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok());
        if at(object, &["metadata", member]).is_some_and(|value| !value.is_null() && !fits(value)) {
            return Err(refuse(&["metadata", member], "must be a time"));
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

/// A null where Go reads a text is an empty one.
pub(crate) fn nulls_are_empty(texts: Option<&mut Value>) {
    let read = |value: &mut Value| {
        if value.is_null() {
            *value = Value::String(String::new());
        }
    };
    match texts {
        Some(Value::Object(members)) => members.values_mut().for_each(read),
        Some(Value::Array(items)) => items.iter_mut().for_each(read),
        _ => {}
    }
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
