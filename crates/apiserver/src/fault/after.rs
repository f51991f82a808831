//! What rules do to the answer of a request that has been carried out.
//!
//! Comes in: the answer. Goes out: that answer, changed, late, lost or broken. What the request has changed stays changed.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::sleep;

use super::action::{Action, Refusal};
use super::answer::{GARBAGE, stranger};
use super::error::TransportError;
use super::facts::{Facts, Verb};
use super::faults::{Chosen, Core};
use crate::list::encode_token;
use crate::service::{Body, full};
use crate::transaction::key;

pub(super) async fn meet(
    chosen: &Chosen,
    core: &Arc<Core>,
    facts: &Facts,
    mut answer: Response<Body>,
) -> Result<Response<Body>, TransportError> {
    let fire = || core.fire(facts, &chosen.rule);
    let done = answer.status().is_success();
    match &chosen.rule.action {
        // An answer that says no is not the one that counts when it is lost.
        Action::LoseAnswer { code } if done => {
            fire();
            return Ok(Refusal::of(*code).response());
        }
        Action::ResetAfterCommit if done => {
            fire();
            return Err(TransportError::Reset);
        }
        Action::DelayAnswer { .. } => {
            fire();
            sleep(chosen.pause).await;
        }
        Action::ResponsesLost => {
            fire();
            std::future::pending::<()>().await;
        }
        Action::CloseConnection => {
            fire();
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Action::ContentType { value } => {
            fire();
            let value = HeaderValue::from_str(value).expect("checked when the rule was added");
            answer.headers_mut().insert(CONTENT_TYPE, value);
        }
        Action::EmptyLastPage if done => {
            let (parts, body) = answer.into_parts();
            let whole = body.collect().await?.to_bytes();
            let changed = with_token(&whole, facts);
            if changed.is_some() {
                fire();
            }
            return Ok(Response::from_parts(parts, full(changed.unwrap_or(whole))));
        }
        action if done && facts.verb != Verb::Watch => {
            let rewrite: fn(&Bytes) -> Bytes = match action {
                Action::Garbage { .. } => |_| Bytes::from_static(GARBAGE),
                Action::OtherKind { .. } => |_| Bytes::from(stranger().to_string()),
                Action::MissingVersion { .. } => without_version,
                _ => return Ok(answer),
            };
            fire();
            let (parts, body) = answer.into_parts();
            let whole = body.collect().await?.to_bytes();
            return Ok(Response::from_parts(parts, full(rewrite(&whole))));
        }
        _ => {}
    }
    Ok(answer)
}

/// The last page of a list, with a token for what comes after its last item. `None`: it isn't the last, or has no items.
fn with_token(page: &Bytes, facts: &Facts) -> Option<Bytes> {
    let mut list: Value = serde_json::from_slice(page).ok()?;
    let last = list.get("items")?.as_array()?.last()?.get("metadata")?;
    let text = |member| last.get(member).and_then(Value::as_str);
    // Tokens name places within what is listed.
    let namespace = text("namespace").filter(|_| facts.namespace.is_empty());
    let start = format!("{}\0", key(namespace.unwrap_or_default(), text("name")?));
    let metadata = list.get_mut("metadata")?.as_object_mut()?;
    if metadata.contains_key("continue") {
        return None;
    }
    let version = metadata.get("resourceVersion")?.as_str()?.parse().ok()?;
    metadata.insert("continue".to_owned(), encode_token(Some(version), start).into());
    Some(Bytes::from(list.to_string()))
}

/// An object, or a list, that names no version of its own.
fn without_version(body: &Bytes) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return body.clone() };
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    Bytes::from(value.to_string())
}
