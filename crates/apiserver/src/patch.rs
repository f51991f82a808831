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
                let is_text = |value: Option<&Value>| value.is_none_or(|value| value.is_string() || value.is_null());
                let fits = |operation: &Value| match operation {
                    Value::Object(members) => ["op", "path", "from"].iter().all(|name| is_text(members.get(*name))),
                    operation => operation.is_null(),
                };
                if !operations.iter().all(fits) {
                    let what = "an operation is an object, and op, path and from are texts";
                    return Err(Failure::bad_request(format!("error decoding patch: {what}")));
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
    let member = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
    let (path, from) = (member("path"), member("from"));
    // One that isn't there is null.
    let value = || operation.get("value").cloned().unwrap_or_default();
    match member("op") {
        "add" => add(object, path, value()),
        "remove" => remove(object, path).map(drop),
        "replace" => replace(object, path, value()),
        "move" => {
            let moved = remove(object, from)?;
            add(object, path, moved)
        }
        "copy" => {
            let (parent, key) = find(object, from)?;
            let source = get(parent, &key)?.cloned().unwrap_or_default();
            *copied = copied.saturating_add(size(&source));
            if *copied > COPY_LIMIT {
                return Err(Failure::unprocessable());
            }
            add(object, path, source)
        }
        "test" => {
            let found = match path {
                "" => Some(&*object),
                path => {
                    let (parent, key) = find(object, path)?;
                    get(parent, &key)?
                }
            };
            let equal = found.unwrap_or(&Value::Null) == operation.get("value").unwrap_or(&Value::Null);
            if equal { Ok(()) } else { Err(Failure::unprocessable()) }
        }
        _ => Err(Failure::unprocessable()),
    }
}

/// Where a path ends: what holds the last of its members, and that member's name. What stands before the first slash is
/// passed over, as upstream's library does.
fn find<'a>(object: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), Failure> {
    let mut names = path.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
    let mut place = object;
    let mut last = names.next().ok_or_else(Failure::unprocessable)?;
    for name in names {
        place = match place {
            Value::Object(members) => members.get_mut(&last),
            Value::Array(items) => index(&last, items.len()).and_then(|index| items.get_mut(index)),
            _ => None,
        }
        .ok_or_else(Failure::unprocessable)?;
        last = name;
    }
    Ok((place, last))
}

/// A place in a list of this length, read as Go reads numbers; one below zero counts from the end.
fn index(name: &str, length: usize) -> Option<usize> {
    let number: i64 = name.parse().ok()?;
    match usize::try_from(number) {
        Ok(number) => Some(number),
        Err(_) => length.checked_sub(usize::try_from(number.unsigned_abs()).ok()?),
    }
}

/// A member. `None`: an object hasn't got it; of a list that is an error.
fn get<'a>(parent: &'a Value, name: &str) -> Result<Option<&'a Value>, Failure> {
    match parent {
        Value::Object(members) => Ok(members.get(name)),
        Value::Array(items) => {
            let item = index(name, items.len()).and_then(|index| items.get(index));
            item.map(Some).ok_or_else(Failure::unprocessable)
        }
        _ => Err(Failure::unprocessable()),
    }
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    check_depth(path, &value)?;
    match find(object, path)? {
        (Value::Object(members), name) => {
            members.insert(name, value);
        }
        (Value::Array(items), name) => {
            // There is one place more to put something than there are items.
            let place = if name == "-" { Some(items.len()) } else { index(&name, items.len() + 1) };
            let place = place.filter(|place| *place <= items.len()).ok_or_else(Failure::unprocessable)?;
            items.insert(place, value);
        }
        _ => return Err(Failure::unprocessable()),
    }
    Ok(())
}

/// Upstream's library puts a member that isn't there, though the RFC forbids it.
fn replace(object: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    check_depth(path, &value)?;
    match find(object, path)? {
        (Value::Object(members), name) => {
            members.insert(name, value);
        }
        (Value::Array(items), name) => {
            let item = index(&name, items.len()).and_then(|index| items.get_mut(index));
            *item.ok_or_else(Failure::unprocessable)? = value;
        }
        _ => return Err(Failure::unprocessable()),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<Value, Failure> {
    let removed = match find(object, path)? {
        (Value::Object(members), name) => members.remove(&name),
        (Value::Array(items), name) => {
            index(&name, items.len()).filter(|index| *index < items.len()).map(|index| items.remove(index))
        }
        _ => None,
    };
    removed.ok_or_else(Failure::unprocessable)
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
            // Where upstream's library goes beyond the RFC.
            (json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}]), json!({"a": [1]})),
            (json!({"a": [1, 2]}), json!([{"op": "add", "path": "/a/-1", "value": 3}]), json!({"a": [1, 2, 3]})),
            (json!({"a": [1, 2]}), json!([{"op": "add", "path": "/a/-3", "value": 3}]), json!({"a": [3, 1, 2]})),
            (json!({"a": [1, 2]}), json!([{"op": "replace", "path": "/a/+01", "value": 3}]), json!({"a": [1, 3]})),
            (json!({"a": [1, 2]}), json!([{"op": "test", "path": "/a/-2", "value": 1}]), json!({"a": [1, 2]})),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/x", "path": "/b"}]), json!({"a": 1, "b": null})),
            (json!({"a": 1}), json!([{"op": "add", "path": "x/b"}]), json!({"a": 1, "b": null})),
            (json!({"a": 1}), json!([{"op": "test", "path": "/x"}]), json!({"a": 1})),
        ];
        for (object, operations, expected) in rows {
            assert_eq!(apply(object, operations), Ok(expected));
        }
        let failing = [
            (json!([{"op": "test", "path": "/a", "value": 2}]), 422),
            (json!([{"op": "remove", "path": "/x"}]), 422),
            (json!([{"op": "replace", "path": "/x/y", "value": 1}]), 422),
            (json!([{"op": "fly", "path": "/a"}]), 422),
            (json!([{"op": "move", "path": "/b"}]), 422),
            (json!([{"op": "add", "path": "", "value": {}}]), 422),
            (json!([{"op": "add", "path": "a", "value": {}}]), 422),
            (json!([{"op": "test", "path": "/x/y"}]), 422),
            (json!([{}]), 422),
            (json!([null]), 422),
            (json!([1]), 400),
            (json!([{"op": "add", "path": 1}]), 400),
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
