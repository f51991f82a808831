//! Patches: RFC 7386 merge and RFC 6902 operations.
//!
//! Comes in: an object and the body of a PATCH. Goes out: the patched object, or the Status that upstream answers. Never
//! stores anything; what the result may be is judged like any update.

use serde_json::{Map, Value};

use crate::status::Failure;
use crate::validate::{DEPTH_LIMIT, depth};

/// Operations in one JSON patch, as upstream limits them.
const OPERATIONS_LIMIT: usize = 10_000;

/// What all copies of one JSON patch may add up to, as upstream limits them: its limit of a request body.
const COPY_LIMIT: usize = 3 * 1024 * 1024;

/// A parsed patch.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    Merge(Map<String, Value>),
    Operations(Vec<Value>),
}

/// What this server accepts as a patch.
pub(crate) const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json";

/// Whether a body of this media type is a patch this server can apply.
pub(crate) fn is_accepted(media: &str) -> bool {
    ACCEPTED.split(", ").any(|accepted| accepted == media)
}

impl Patch {
    /// Parses a body of this media type.
    pub(crate) fn parse(media: &str, body: &[u8]) -> Result<Self, Failure> {
        let malformed = |error: serde_json::Error| Failure::bad_request(format!("error decoding patch: {error}"));
        match media {
            "application/merge-patch+json" => Ok(Self::Merge(serde_json::from_slice(body).map_err(malformed)?)),
            "application/json-patch+json" => {
                let operations: Vec<Value> = serde_json::from_slice(body).map_err(malformed)?;
                if operations.len() > OPERATIONS_LIMIT {
                    let message = format!(
                        "The allowed maximum operations in a JSON patch is {OPERATIONS_LIMIT}, got {}",
                        operations.len()
                    );
                    let mut failure = Failure::too_large(OPERATIONS_LIMIT);
                    failure.message = message;
                    return Err(failure);
                }
                Ok(Self::Operations(operations))
            }
            _ => Err(Failure::unsupported_patch()),
        }
    }

    /// The object after the patch.
    pub(crate) fn apply(self, object: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
        let mut object = Value::Object(object);
        match self {
            Self::Merge(patch) => merge(&mut object, Value::Object(patch)),
            Self::Operations(operations) => {
                let mut copied = 0;
                for operation in &operations {
                    apply_operation(&mut object, operation, &mut copied)?;
                }
            }
        }
        match object {
            Value::Object(object) => Ok(object),
            _ => Err(Failure::unprocessable()),
        }
    }
}

/// RFC 7386. Both are at most as deep as the JSON parser allows.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Refuses to put a value where it would be too deep. Asked before each step: what is deep enough can't even be dropped.
fn check_depth(path: &str, value: &Value) -> Result<(), Failure> {
    if path.matches('/').count() + depth(value) > DEPTH_LIMIT {
        return Err(Failure::bad_request(format!("the patched object is more than {DEPTH_LIMIT} levels deep")));
    }
    Ok(())
}

/// Bytes of the encoded value. A chain of copies may double what it copies each time, so they are counted before they are made.
fn size(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

fn apply_operation(object: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), Failure> {
    let member = |name: &str| operation.get(name).and_then(Value::as_str);
    let missing = |what: &str| Failure::bad_request(format!("error decoding patch: an operation without {what}"));
    let path = member("path").ok_or_else(|| missing("path"))?;
    let value = || operation.get("value").cloned().ok_or_else(|| missing("value"));
    let from = || member("from").ok_or_else(|| missing("from"));
    match member("op").ok_or_else(|| missing("op"))? {
        "add" => add(object, path, value()?),
        "remove" => remove(object, path).map(drop),
        "replace" => {
            let value = value()?;
            check_depth(path, &value)?;
            replace(object, path, value)
        }
        "move" => {
            let moved = remove(object, from()?)?;
            add(object, path, moved)
        }
        "copy" => {
            let from = from()?;
            let source = object.pointer(from).ok_or_else(Failure::unprocessable)?;
            *copied = copied.saturating_add(size(source));
            if *copied > COPY_LIMIT {
                return Err(Failure::unprocessable());
            }
            let source = source.clone();
            add(object, path, source)
        }
        "test" if object.pointer(path).unwrap_or(&Value::Null) == operation.get("value").unwrap_or(&Value::Null) => {
            Ok(())
        }
        "test" => Err(Failure::unprocessable()),
        other => Err(Failure::bad_request(format!("error decoding patch: unexpected kind of operation: {other}"))),
    }
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    check_depth(path, &value)?;
    let Some((parent, name)) = split(path) else {
        *object = value;
        return Ok(());
    };
    match object.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.insert(name, value);
        }
        Some(Value::Array(items)) => {
            let index = if name == "-" { Some(items.len()) } else { name.parse().ok() };
            let index = index.filter(|index| *index <= items.len()).ok_or_else(Failure::unprocessable)?;
            items.insert(index, value);
        }
        _ => return Err(Failure::unprocessable()),
    }
    Ok(())
}

/// Upstream's library puts a member that isn't there, though the RFC forbids it.
fn replace(object: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    if object.pointer(path).is_none() {
        let parent = split(path).and_then(|(parent, _)| object.pointer(parent));
        return if parent.is_some_and(Value::is_object) {
            add(object, path, value)
        } else {
            Err(Failure::unprocessable())
        };
    }
    let slot = object.pointer_mut(path).ok_or_else(Failure::unprocessable)?;
    *slot = value;
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<Value, Failure> {
    let (parent, name) = split(path).ok_or_else(Failure::unprocessable)?;
    let removed = match object.pointer_mut(parent) {
        Some(Value::Object(members)) => members.remove(&name),
        Some(Value::Array(items)) => {
            name.parse().ok().filter(|index: &usize| *index < items.len()).map(|index| items.remove(index))
        }
        _ => None,
    };
    removed.ok_or_else(Failure::unprocessable)
}

/// The pointer to the parent and the unescaped last token; `None` for the whole document.
fn split(path: &str) -> Option<(&str, String)> {
    let (parent, name) = path.rsplit_once('/')?;
    Some((parent, name.replace("~1", "/").replace("~0", "~")))
}

#[cfg(test)]
mod tests {
    //! Goal: the worked examples of RFC 7386 and RFC 6902 hold. Method: a table each.

    use serde_json::json;

    use super::*;

    #[test]
    fn merges_as_the_rfc_says() {
        let rows = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in rows {
            merge(&mut target, patch);
            assert_eq!(target, expected);
        }
    }

    #[test]
    fn applies_operations_in_order_or_says_why_not() {
        let apply = |object: Value, operations: Value| {
            let patch = Patch::parse("application/json-patch+json", operations.to_string().as_bytes())?;
            patch.apply(object.as_object().expect("an object").clone()).map(Value::Object)
        };
        let rows = [
            (json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), json!({"a": [1, 2, 3]})),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]})),
            (json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/a"}]), json!({"b": 2})),
            (json!({"a/b": 1}), json!([{"op": "replace", "path": "/a~1b", "value": 2}]), json!({"a/b": 2})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2})),
            (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), json!({"b": 1})),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1})),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1}]), json!({"a": 1})),
        ];
        for (object, operations, expected) in rows {
            assert_eq!(apply(object, operations), Ok(expected));
        }
        let failing = [
            (json!([{"op": "test", "path": "/a", "value": 2}]), 422),
            (json!([{"op": "remove", "path": "/x"}]), 422),
            (json!([{"op": "replace", "path": "/x/y", "value": 1}]), 422),
            (json!([{"op": "fly", "path": "/a"}]), 400),
            (json!({"op": "test"}), 400),
        ];
        for (operations, code) in failing {
            assert_eq!(
                apply(json!({"a": 1}), operations.clone()).map_err(|failure| failure.code),
                Err(code),
                "{operations}"
            );
        }
    }
}
