//! Requests to the objects of one kind in a namespace: one HTTP request a call.
//!
//! In: a client, a kind, a verb, a name or a selector. Out: the JSON of the answer, or the class of error the election acts on.
//! Never: a request without a deadline here and a `timeout=` for the server, a retry, or a log line with a body in it.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube_client::Client;
use kube_client::client::Body;
use serde_json::Value;

use crate::lock::LockError;

/// The largest answer that is read. A Lease is about a kilobyte; an API server stores at most about 1.5 MiB an object.
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;

/// The longest part of a server's message that is passed on.
const LONGEST_MESSAGE: usize = 300;

/// A kind of objects, as requests name it.
pub(crate) struct Kind {
    /// `api/v1`, or `apis/` with group and version.
    root: &'static str,
    /// The group, as a Role has it.
    group: &'static str,
    pub(crate) plural: &'static str,
    /// The verbs a Role must allow.
    verbs: &'static str,
    /// What else to say of them.
    more: &'static str,
    /// Whether a text can name one.
    names: fn(&str) -> bool,
}

/// The longest name that an object may have.
pub(crate) const LONGEST_NAME: usize = 253;

pub(crate) static LEASES: Kind = Kind {
    root: "apis/coordination.k8s.io/v1",
    group: "coordination.k8s.io",
    plural: "leases",
    verbs: "[get, create, update]",
    more: " (with buckets also list and delete)",
    names: is_name,
};

pub(crate) static LEASE_CANDIDATES: Kind = Kind {
    root: "apis/coordination.k8s.io/v1beta1",
    group: "coordination.k8s.io",
    plural: "leasecandidates",
    verbs: "[get, create, update, delete]",
    more: "",
    names: is_map_key,
};

pub(crate) static EVENTS: Kind = Kind::core("events", "[create]");

pub(crate) static ENDPOINTS: Kind = Kind::core("endpoints", "[get, create, update]");

pub(crate) static CONFIG_MAPS: Kind = Kind::core("configmaps", "[get, create, update]");

impl Kind {
    /// One of the core group.
    const fn core(plural: &'static str, verbs: &'static str) -> Self {
        Self { root: "api/v1", group: r#""""#, plural, verbs, more: "", names: is_name }
    }
}

/// The objects of a kind in one namespace.
#[derive(Clone)]
pub(crate) struct Objects {
    kind: &'static Kind,
    client: Client,
    namespace: String,
}

/// What a request is about.
pub(crate) enum About<'a> {
    /// This object.
    One(&'a str),
    /// A new one.
    New,
    /// Those with this label and value.
    Labelled(&'a str, &'a str),
}

impl Objects {
    pub(crate) fn new(kind: &'static Kind, client: Client, namespace: String) -> Self {
        Self { kind, client, namespace }
    }

    /// One request, with its deadline.
    pub(crate) async fn ask(
        &self,
        method: Method,
        about: About<'_>,
        object: Option<Value>,
        timeout: Duration,
    ) -> Result<Value, LockError> {
        let request = self.request(method, about, object, timeout)?;
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(LockError::unknown(format!("no answer within {timeout:?}"))),
        }
    }

    fn request(
        &self,
        method: Method,
        about: About<'_>,
        object: Option<Value>,
        timeout: Duration,
    ) -> Result<Request<Body>, LockError> {
        let (name, selector) = match about {
            About::One(name) if !(self.kind.names)(name) => {
                return Err(refused(0, format!("{name:?} can't be a name in {}", self.kind.plural)));
            }
            About::One(name) => (format!("/{name}"), String::new()),
            About::New => (String::new(), String::new()),
            // Both are ours, and need no escaping but for the slash.
            About::Labelled(label, value) => {
                (String::new(), format!("labelSelector={}%3D{value}&", label.replace('/', "%2F")))
            }
        };
        if !is_name(&self.namespace) {
            return Err(refused(0, format!("{:?} can't name a namespace", self.namespace)));
        }
        // Zero would mean the server's longest.
        let millis = timeout.as_millis().max(1);
        let body = object.map_or_else(Vec::new, |object| object.to_string().into_bytes());
        let path = format!("/{}/namespaces/{}/{}{name}", self.kind.root, self.namespace, self.kind.plural);
        Request::builder()
            .method(method)
            .uri(format!("{path}?{selector}timeout={millis}ms"))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(|error| refused(0, error.to_string()))
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Value, LockError> {
        let creating = request.method() == Method::POST;
        let answer = self.client.send(request).await.map_err(|error| LockError::unknown(chain(&error)))?;
        let status = answer.status();
        let asked = retry_after(&answer);
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| LockError::unknown(chain(error.as_ref())))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| LockError::unknown("the answer isn't JSON"));
        }
        Err(self.classify(status, creating, &body, asked))
    }

    /// Turns a failure status into the class the election acts on.
    fn classify(&self, status: StatusCode, creating: bool, body: &[u8], asked: Option<Duration>) -> LockError {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let message = shorten(said.get("message").and_then(Value::as_str).unwrap_or_default());
        let asked = asked.or_else(|| {
            said.get("details")?
                .get("retryAfterSeconds")?
                .as_u64()
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs)
        });
        let code = status.as_u16();
        match code {
            // On a POST it is the namespace that is missing, which creating the Lease again won't mend.
            404 if !creating => LockError::Missing,
            404 => {
                refused(code, format!("404: {message} (create the namespace {}, or name another one)", self.namespace))
            }
            409 => LockError::Conflict,
            401 => refused(code, format!("401: the credentials were not accepted ({message})")),
            403 if is_terminating(&said) => refused(
                code,
                format!("403: {message} (the namespace {} is being deleted: name another one)", self.namespace),
            ),
            403 => refused(
                code,
                format!(
                    "403: {message} (the Role needs apiGroups [{}], resources [{}], verbs {} in namespace {}{})",
                    self.kind.group, self.kind.plural, self.kind.verbs, self.namespace, self.kind.more
                ),
            ),
            400..=499 => LockError::Refused { code, message: format!("{code}: {message}"), retry_after: asked },
            _ => LockError::Unknown { message: format!("{code}: {message}"), retry_after: asked },
        }
    }
}

/// Whether a refusal is for the namespace's end, which no right would change.
fn is_terminating(said: &Value) -> bool {
    let causes = said.get("details").and_then(|details| details.get("causes")).and_then(Value::as_array);
    causes.is_some_and(|causes| causes.iter().any(|cause| cause["reason"] == "NamespaceTerminating"))
}

/// Whether the text can be part of a request path as a Kubernetes name (a DNS subdomain).
pub(crate) fn is_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    text.len() <= LONGEST_NAME
        && text.bytes().all(allowed)
        && edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
}

/// Whether the text can be part of a request path as a key of a ConfigMap, which the names of LeaseCandidates are.
fn is_map_key(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty()
        && text.len() <= LONGEST_NAME
        && text.bytes().all(allowed)
        && text != "."
        && !text.starts_with("..")
}

fn refused(code: u16, message: String) -> LockError {
    LockError::Refused { code, message, retry_after: None }
}

fn retry_after(answer: &Response<Body>) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error and its causes in one line: kube's own text often stops at "ServiceError".
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    shorten(&text)
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
