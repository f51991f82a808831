//! What a gated write must say, and the stamp on it: pure.
//!
//! In: a request's head and the bytes of its body. Out: the bytes to send, or why not to. Never: looks at the gate.
//!
//! The rules are what makes a late write harmless: an update or delete names the version or life it means, so that after
//! a newer term's write it fails with a conflict; a create has a name of its own, so that a second one fails.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Refusal;
use crate::record::{Epoch, map, map_of};

/// Subresources that open a connection to something instead of reading or writing an object.
const CONNECTIONS: [&str; 4] = ["attach", "exec", "portforward", "proxy"];

/// Subresources of a namespace, whose paths look like those of namespaced kinds.
const OF_NAMESPACES: [&str; 2] = ["finalize", "status"];

/// Whether a request acts. Reads don't; connections do, in ways that nothing here can guard.
pub(super) fn acts<B>(request: &Request<B>) -> Result<bool, Refusal> {
    let path = decoded(request.uri().path());
    let target = Target::of(&path);
    if let Some(subresource) = target.subresource.filter(|name| CONNECTIONS.contains(name)) {
        return Err(Refusal::Connect(subresource.to_owned()));
    }
    if request.headers().contains_key(UPGRADE) {
        return Err(Refusal::Connect("upgrade".to_owned()));
    }
    Ok(!matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS))
}

/// The term whose writes these are, and the field of `status` that keeps it, if one does.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) epoch: Epoch,
    pub(super) annotation: &'a str,
    pub(super) in_status: Option<&'a str>,
}

/// The body to send for a write of this term.
pub(super) fn prepare(parts: &Parts, body: Bytes, stamp: Stamp<'_>) -> Result<Bytes, Refusal> {
    match parts.method {
        Method::POST => create(parts, &body, stamp),
        Method::PUT => update(parts, &body, stamp),
        Method::PATCH => patch(parts, body, stamp),
        // Whatever else there is, a method without a known rule needs preconditions too.
        _ => delete(parts, body),
    }
}

/// The same URI, with the time the server has as its `timeout` parameter.
pub(super) fn with_timeout(uri: &Uri, limit: Duration) -> Result<Uri, Refusal> {
    let is_timeout = |pair: &str| decoded(pair.split('=').next().unwrap_or_default()) == "timeout";
    let kept = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !is_timeout(pair));
    // Zero would mean the server's longest.
    let query: Vec<String> =
        kept.map(str::to_owned).chain([format!("timeout={}ms", limit.as_millis().max(1))]).collect();
    let mut parts = uri.clone().into_parts();
    let text = format!("{}?{}", uri.path(), query.join("&"));
    parts.path_and_query = Some(PathAndQuery::try_from(text).map_err(|_| Refusal::NoPath)?);
    Uri::from_parts(parts).map_err(|_| Refusal::NoPath)
}

fn create(parts: &Parts, body: &[u8], stamp: Stamp<'_>) -> Result<Bytes, Refusal> {
    let mut object = object(body)?;
    let path = decoded(parts.uri.path());
    let target = Target::of(&path);
    // An eviction or binding is named by its path.
    let named = text(&object, &["metadata", "name"]).is_some() || target.name.is_some();
    if !named {
        return Err(Refusal::NoName);
    }
    // It is a delete.
    if target.subresource == Some("eviction") && !object.get("deleteOptions").is_some_and(has_precondition) {
        return Err(Refusal::NoPrecondition);
    }
    // An epoch that a new object brings along was copied from another one, and says nothing.
    mark(&mut object, stamp);
    Ok(bytes(&object))
}

fn update(parts: &Parts, body: &[u8], stamp: Stamp<'_>) -> Result<Bytes, Refusal> {
    let mut object = object(body)?;
    let in_status = stamp.in_status.filter(|_| Target::of(&decoded(parts.uri.path())).subresource == Some("status"));
    for mark in [
        text(&object, &["metadata", "annotations", stamp.annotation]),
        in_status.and_then(|field| text(&object, &["status", field])),
    ] {
        if let Some(later) = mark.and_then(Epoch::parse)
            && later > stamp.epoch
        {
            return Err(Refusal::LaterTerm(later));
        }
    }
    text(&object, &["metadata", "resourceVersion"]).filter(|version| !is_zero(version)).ok_or(Refusal::NoVersion)?;
    mark(&mut object, stamp);
    if let Some(field) = in_status {
        map(map_of(&mut object), "status").insert(field.to_owned(), json!(stamp.epoch.to_string()));
    }
    Ok(bytes(&object))
}

fn patch(parts: &Parts, body: Bytes, stamp: Stamp<'_>) -> Result<Bytes, Refusal> {
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => update(parts, &body, stamp),
        "application/json-patch+json" => {
            let operations: Value = serde_json::from_slice(&body).map_err(|_| Refusal::Unreadable)?;
            let operations = operations.as_array().ok_or(Refusal::Unreadable)?;
            // A test of what the patch itself has put there proves nothing.
            if operations.iter().take_while(|operation| !sets_version(operation)).any(tests_version) {
                Ok(body)
            } else {
                Err(Refusal::NoVersion)
            }
        }
        "application/apply-patch+yaml" | "application/apply-patch+cbor" => Ok(apply(parts, body, stamp)),
        other => Err(Refusal::UnknownPatch(other.to_owned())),
    }
}

/// An apply passes as it is, with a version or without. A forced one in JSON is stamped; an unforced one isn't, lest two field managers
/// of one controller quarrel over the stamp.
fn apply(parts: &Parts, body: Bytes, stamp: Stamp<'_>) -> Bytes {
    let forced = parts.uri.query().unwrap_or_default().split('&').any(forces);
    match object(&body) {
        Ok(mut object) if forced => {
            mark(&mut object, stamp);
            bytes(&object)
        }
        _ => body,
    }
}

/// As an API server reads it: whatever isn't false is true.
fn forces(pair: &str) -> bool {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    decoded(name) == "force" && !matches!(decoded(value).to_ascii_lowercase().as_str(), "false" | "0")
}

fn sets_version(operation: &Value) -> bool {
    let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
    operation.get("op") != Some(&json!("test")) && ["", "/metadata", "/metadata/resourceVersion"].contains(&path)
}

fn tests_version(operation: &Value) -> bool {
    operation.get("op") == Some(&json!("test"))
        && operation.get("path") == Some(&json!("/metadata/resourceVersion"))
        && text(operation, &["value"]).is_some()
}

fn delete(parts: &Parts, body: Bytes) -> Result<Bytes, Refusal> {
    if Target::of(&decoded(parts.uri.path())).name.is_none() {
        return Err(Refusal::Collection);
    }
    if body.is_empty() {
        return Err(Refusal::NoPrecondition);
    }
    if has_precondition(&object(&body)?) { Ok(body) } else { Err(Refusal::NoPrecondition) }
}

fn has_precondition(options: &Value) -> bool {
    ["uid", "resourceVersion"].iter().any(|field| text(options, &["preconditions", field]).is_some())
}

/// To a server any number of zeros means no version.
fn is_zero(version: &str) -> bool {
    version.bytes().all(|byte| byte == b'0')
}

/// A part of a URI as a server sees it, without percent-encoding.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn object(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).ok().filter(Value::is_object).ok_or(Refusal::Unreadable)
}

fn bytes(object: &Value) -> Bytes {
    object.to_string().into()
}

fn mark(object: &mut Value, stamp: Stamp<'_>) {
    let metadata = map(map_of(object), "metadata");
    map(metadata, "annotations").insert(stamp.annotation.to_owned(), json!(stamp.epoch.to_string()));
}

/// A text that is there and not empty.
fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, key| value.get(*key))?.as_str().filter(|text| !text.is_empty())
}

/// What a path points at.
#[derive(Debug, Default, PartialEq, Eq)]
struct Target<'a> {
    name: Option<&'a str>,
    subresource: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => return Self::default(),
        };
        let rest = match rest {
            ["namespaces", _, kind] if OF_NAMESPACES.contains(kind) => rest,
            ["namespaces", _, inner @ ..] if !inner.is_empty() => inner,
            _ => rest,
        };
        Self { name: rest.get(1).copied(), subresource: rest.get(2).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: names and subresources are found in every form of path. Method: a table.
    #[test]
    fn targets_of_paths() {
        for (path, name, subresource) in [
            ("/api/v1/pods", None, None),
            ("/api/v1/nodes/n1", Some("n1"), None),
            ("/api/v1/nodes/n1/proxy/metrics", Some("n1"), Some("proxy")),
            ("/api/v1/namespaces", None, None),
            ("/api/v1/namespaces/a", Some("a"), None),
            ("/api/v1/namespaces/a/status", Some("a"), Some("status")),
            ("/api/v1/namespaces/a/finalize", Some("a"), Some("finalize")),
            ("/api/v1/namespaces/a/pods", None, None),
            ("/api/v1/namespaces/a/pods/p", Some("p"), None),
            ("/api/v1/namespaces/a/pods/p/exec", Some("p"), Some("exec")),
            ("/apis/apps/v1/deployments", None, None),
            ("/apis/apps/v1/namespaces/a/deployments/d/scale", Some("d"), Some("scale")),
            ("/version", None, None),
        ] {
            assert_eq!(Target::of(path), Target { name, subresource }, "{path}");
        }
    }

    /// Goal: the server is told the time that is left, whatever stood there. Method: a table.
    #[test]
    fn timeout_parameter() {
        for (uri, expected) in [
            ("/api/v1/nodes/n", "/api/v1/nodes/n?timeout=1500ms"),
            ("/api/v1/nodes/n?", "/api/v1/nodes/n?timeout=1500ms"),
            ("/a?dryRun=All&timeout=60s&fieldManager=x", "/a?dryRun=All&fieldManager=x&timeout=1500ms"),
            ("http://host:80/a?timeout", "http://host:80/a?timeout=1500ms"),
        ] {
            let uri = with_timeout(&uri.parse().unwrap(), Duration::from_micros(1_500_999)).unwrap();
            assert_eq!(uri.to_string(), expected);
        }
        assert_eq!(with_timeout(&Uri::from_static("/a"), Duration::ZERO).unwrap().to_string(), "/a?timeout=1ms");
    }
}
