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
use http::Method;
use kube_client::Client;
use serde_json::Value;

use crate::lock::{LeaseLock, LockError};
use crate::objects::{About, LEASES, Objects};
use crate::record::Lease;

/// A Lease behind a kube client.
pub struct KubeLeaseLock {
    leases: Objects,
    name: String,
}

impl KubeLeaseLock {
    /// The Lease `namespace/name`, which needn't exist. The client must have no retry layer (see the module).
    pub fn new(client: Client, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { leases: Objects::new(&LEASES, client, namespace.into()), name: name.into() }
    }
}

#[async_trait]
impl LeaseLock for KubeLeaseLock {
    async fn read(&self, timeout: Duration) -> Result<Lease, LockError> {
        lease(self.leases.ask(Method::GET, About::One(&self.name), None, timeout).await)
    }

    async fn create(&self, object: Value, timeout: Duration) -> Result<Lease, LockError> {
        lease(self.leases.ask(Method::POST, About::New, Some(object), timeout).await)
    }

    async fn update(&self, object: Value, timeout: Duration) -> Result<Lease, LockError> {
        lease(self.leases.ask(Method::PUT, About::One(&self.name), Some(object), timeout).await)
    }
}

fn lease(answer: Result<Value, LockError>) -> Result<Lease, LockError> {
    Lease::parse(answer?).map_err(|error| LockError::unknown(error.to_string()))
}

#[cfg(test)]
#[path = "kube_lock_tests.rs"]
mod tests;
