//! What an object must look like to be stored.
//!
//! Comes in: an object about to be written. Goes out: the causes of a 422, with upstream's fields and texts. What upstream
//! checks beyond this (most of Pod and Node) is not checked here; the crate's front page says so.

use serde_json::{Map, Value};

use crate::kinds::Kind;
use crate::object::{at, text};
use crate::status::{Cause, Failure};

/// Which names a kind allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// RFC 1123 subdomain, at most 253 characters.
    Subdomain,
    /// RFC 1123 label, at most 63 characters.
    Label,
}

const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED_TEXT: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Annotations of an object, keys and values together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;
/// reportingInstance, action and reason of an Event.
const EVENT_TEXT_LIMIT: usize = 128;
/// The note of an Event.
const NOTE_LIMIT: usize = 1024;

/// The check of kinds that have none.
pub(crate) fn nothing(_: &Map<String, Value>) -> Vec<Cause> {
    Vec::new()
}

/// Everything an object of `kind` is checked for before it is stored.
pub(crate) fn object(kind: &Kind, name: &str, object: &Map<String, Value>) -> Result<(), Failure> {
    let mut causes = Vec::new();
    if let Some(problem) = name_problem(kind.names, name) {
        causes.push(Cause::invalid("metadata.name", name, problem));
    }
    metadata(object, &mut causes);
    causes.extend((kind.validate)(object));
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
    string_map(object, &["metadata", "labels"]).map_err(|what| refuse(&["metadata", "labels"], what))?;
    string_map(object, &["metadata", "annotations"]).map_err(|what| refuse(&["metadata", "annotations"], what))?;
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
        let time: jiff::Timestamp = time.parse().map_err(|_| refuse(path, "must be an RFC 3339 time"))?;
        // Truncated, not rounded, as Go formats it.
        let micros = jiff::Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time);
        set(object, path, Value::String(format!("{micros:.6}")));
    }
    Ok(())
}

fn string_map(object: &Map<String, Value>, path: &[&str]) -> Result<(), &'static str> {
    match at(object, path) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(map)) if map.values().all(Value::is_string) => Ok(()),
        Some(_) => Err("must be a map of strings"),
    }
}

fn set(object: &mut Map<String, Value>, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    let slot = rest.iter().try_fold(object.get_mut(*first), |slot, member| slot.map(|slot| slot.get_mut(*member)));
    if let Some(Some(slot)) = slot {
        *slot = value;
    }
}

/// Lease: a duration is positive, transitions don't go below zero. An empty holder is allowed, that is how a release looks.
pub(crate) fn lease(object: &Map<String, Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let integer = |name| at(object, &["spec", name]).and_then(Value::as_i64);
    if let Some(seconds) = integer("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        causes.push(Cause::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    if let Some(count) = integer("leaseTransitions").filter(|count| *count < 0) {
        causes.push(Cause::invalid("spec.leaseTransitions", count, "must be greater than or equal to 0"));
    }
    causes
}

/// Event of events.k8s.io/v1: who reports, what was done and why are all required and short.
pub(crate) fn event(event: &Map<String, Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let namespace = text(event, &["metadata", "namespace"]).unwrap_or_default();
    let regarding = text(event, &["regarding", "namespace"]).unwrap_or_default();
    // An event about something cluster-scoped lives in one of two namespaces, all others beside what they are about.
    let fits =
        if regarding.is_empty() { matches!(namespace, "default" | "kube-system") } else { regarding == namespace };
    if !fits {
        causes.push(Cause::invalid("regarding.namespace", regarding, "does not match event.namespace"));
    }
    let controller = text(event, &["reportingController"]).unwrap_or_default();
    if controller.is_empty() {
        causes.push(Cause::required("reportingController", ""));
    } else if let Some(problem) = label_key_problem(controller) {
        causes.push(Cause::invalid("reportingController", controller, problem));
    }
    for field in ["reportingInstance", "action", "reason"] {
        let value = text(event, &[field]).unwrap_or_default();
        if value.is_empty() {
            causes.push(Cause::required(field, ""));
        } else if value.len() > EVENT_TEXT_LIMIT {
            let problem = format!("can have at most {EVENT_TEXT_LIMIT} characters");
            causes.push(Cause::invalid(field, "", &problem));
        }
    }
    if text(event, &["note"]).is_some_and(|note| note.len() > NOTE_LIMIT) {
        causes.push(Cause::invalid("note", "", &format!("can have at most {NOTE_LIMIT} characters")));
    }
    if text(event, &["eventTime"]).is_none() {
        causes.push(Cause::required("eventTime", ""));
    }
    let kind = text(event, &["type"]).unwrap_or_default();
    if kind != "Normal" && kind != "Warning" {
        causes.push(Cause::invalid("type", "", &format!("has invalid value: {kind}")));
    }
    for field in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount", "deprecatedSource"] {
        let set = event.get(field).is_some_and(|value| match value {
            Value::Null => false,
            Value::Number(number) => number.as_i64() != Some(0),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        });
        if set {
            causes.push(Cause::invalid(field, "", "needs to be unset"));
        }
    }
    causes
}

/// What is wrong with a name, if anything.
pub(crate) fn name_problem(rule: NameRule, name: &str) -> Option<&'static str> {
    match rule {
        NameRule::Label if name.len() > 63 => Some("must be no more than 63 characters"),
        NameRule::Label => (!is_dns_label(name)).then_some(LABEL_TEXT),
        NameRule::Subdomain if name.len() > 253 => Some("must be no more than 253 characters"),
        NameRule::Subdomain => (!is_subdomain(name)).then_some(SUBDOMAIN_TEXT),
    }
}

/// What is wrong with the key of a label, if anything: `name` or `prefix/name`.
pub(crate) fn label_key_problem(key: &str) -> Option<&'static str> {
    let name = match key.split_once('/') {
        Some(("", _)) => return Some("prefix part must be non-empty"),
        Some((prefix, _)) if prefix.len() > 253 || !is_subdomain(prefix) => {
            return Some(
                "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters",
            );
        }
        Some((_, name)) => name,
        None => key,
    };
    if name.is_empty() {
        Some("name part must be non-empty")
    } else if name.len() > 63 {
        Some("name part must be no more than 63 characters")
    } else {
        (!is_qualified(name)).then_some(QUALIFIED_TEXT)
    }
}

/// What is wrong with the value of a label, if anything.
pub(crate) fn label_value_problem(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        Some("must be no more than 63 characters")
    } else {
        (!value.is_empty() && !is_qualified(value)).then_some(VALUE_TEXT)
    }
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_dns_label)
}

fn is_dns_label(name: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    ends(name, alphanumeric) && name.bytes().all(|byte| alphanumeric(&byte) || byte == b'-')
}

fn is_qualified(name: &str) -> bool {
    ends(name, u8::is_ascii_alphanumeric)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn ends(name: &str, allowed: impl Fn(&u8) -> bool) -> bool {
    matches!((name.as_bytes().first(), name.as_bytes().last()), (Some(first), Some(last)) if allowed(first) && allowed(last))
}
