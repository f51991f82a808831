//! [`LeaseLock`] over kube-client.
//!
//! In: a client of one API server. Out: one HTTP request a call, with `timeout=` for the server and a deadline here.
//! Never: a request without a deadline, a retry, or a log line with a body in it.
//!
//! **The client must be built without kube's retry layer** (`Config::default_retry = false`, or a service stack of your
//! own). With it one renewal could hide 15 tries and hold times would be counted from the wrong request. The layer can't
//! be taken out of a finished client, nor seen from here.

use std::time::Duration;

use async_trait::async_trait;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube_client::Client;
use kube_client::client::Body;
use serde_json::Value;

use crate::lock::{LeaseLock, LockError};
use crate::record::Lease;

/// The largest answer that is read. A Lease is about a kilobyte; an API server stores at most about 1.5 MiB an object.
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;

/// The longest part of a server's message that is passed on.
const LONGEST_MESSAGE: usize = 300;

/// A Lease behind a kube client.
pub struct KubeLeaseLock {
    client: Client,
    namespace: String,
    name: String,
}

impl KubeLeaseLock {
    /// The Lease `namespace/name`, which needn't exist. The client must have no retry layer (see the module).
    pub fn new(client: Client, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into(), name: name.into() }
    }

    async fn ask(&self, method: Method, object: Option<Value>, timeout: Duration) -> Result<Lease, LockError> {
        let request = self.request(method, object, timeout)?;
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(LockError::unknown(format!("no answer within {timeout:?}"))),
        }
    }

    fn request(&self, method: Method, object: Option<Value>, timeout: Duration) -> Result<Request<Body>, LockError> {
        if !is_name(&self.namespace) || !is_name(&self.name) {
            return Err(refused(0, format!("{:?}/{:?} can't name a Lease", self.namespace, self.name)));
        }
        let mut path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace);
        if method != Method::POST {
            path = format!("{path}/{}", self.name);
        }
        // Zero would mean the server's longest.
        let millis = timeout.as_millis().max(1);
        let body = object.map_or_else(Vec::new, |object| object.to_string().into_bytes());
        Request::builder()
            .method(method)
            .uri(format!("{path}?timeout={millis}ms"))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(|error| refused(0, error.to_string()))
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Lease, LockError> {
        let creating = request.method() == Method::POST;
        let answer = self.client.send(request).await.map_err(|error| LockError::unknown(chain(&error)))?;
        let status = answer.status();
        let asked = retry_after(&answer);
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| LockError::unknown(chain(error.as_ref())))?.to_bytes();
        if status.is_success() {
            let object = serde_json::from_slice(&body).map_err(|_| LockError::unknown("the answer isn't JSON"))?;
            return Lease::parse(object).map_err(|error| LockError::unknown(error.to_string()));
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
            409 => LockError::Conflict,
            401 => refused(code, format!("401: the credentials were not accepted ({message})")),
            403 => refused(
                code,
                format!(
                    "403: {message} (the Role needs apiGroups [coordination.k8s.io], resources [leases], verbs [get, create, update] \
                     in namespace {})",
                    self.namespace
                ),
            ),
            400..=499 => LockError::Refused { code, message: format!("{code}: {message}"), retry_after: asked },
            _ => LockError::Unknown { message: format!("{code}: {message}"), retry_after: asked },
        }
    }
}

#[async_trait]
impl LeaseLock for KubeLeaseLock {
    async fn read(&self, timeout: Duration) -> Result<Lease, LockError> {
        self.ask(Method::GET, None, timeout).await
    }

    async fn create(&self, object: Value, timeout: Duration) -> Result<Lease, LockError> {
        self.ask(Method::POST, Some(object), timeout).await
    }

    async fn update(&self, object: Value, timeout: Duration) -> Result<Lease, LockError> {
        self.ask(Method::PUT, Some(object), timeout).await
    }
}

/// Whether the text can be part of a request path as a Kubernetes name (a DNS subdomain).
pub(crate) fn is_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    text.len() <= 253 && text.bytes().all(allowed) && edge(text.as_bytes().first()) && edge(text.as_bytes().last())
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

#[cfg(test)]
#[path = "kube_lock_tests.rs"]
mod tests;
