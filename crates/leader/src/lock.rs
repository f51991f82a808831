//! The Lease as something to read, create and replace.
//!
//! In: whole objects and a deadline for each request. Out: what the server says the Lease is now, or why it doesn't say.
//! Never: retries, merges, or decides. Each call is one request; the implementation over kube-client is
//! [`KubeLeaseLock`](crate::KubeLeaseLock).

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::record::Lease;

/// One Lease on one API server.
///
/// Upstream's counterpart is `resourcelock.Interface`. All calls may be dropped at any time; a dropped write has an
/// unknown outcome.
#[async_trait]
pub trait LeaseLock: Send + Sync {
    /// Reads the Lease, consistently (no `resourceVersion` parameter).
    ///
    /// # Errors
    /// [`LockError::Missing`] if there is none.
    async fn read(&self, timeout: Duration) -> Result<Lease, LockError>;

    /// Creates the Lease (POST).
    ///
    /// # Errors
    /// [`LockError::Conflict`] if there is one already.
    async fn create(&self, object: Value, timeout: Duration) -> Result<Lease, LockError>;

    /// Replaces the Lease (PUT, never PATCH: API Priority and Fairness knows leader election by its verbs). The object
    /// carries uid and resource version of the one it was made from, so this is a compare-and-swap.
    ///
    /// # Errors
    /// [`LockError::Conflict`] if the Lease isn't the one the object was made from.
    async fn update(&self, object: Value, timeout: Duration) -> Result<Lease, LockError>;
}

/// Why a request to a Lease didn't give a Lease. The classes are those that the election treats differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// There is no such Lease (404).
    #[error("the Lease does not exist")]
    Missing,
    /// The Lease has changed, or exists already (409). The write did not happen.
    #[error("the Lease was changed by somebody else")]
    Conflict,
    /// The server refused (any other 4xx). The write did not happen.
    #[error("the API server refused the request to the Lease: {message}")]
    Refused {
        /// The HTTP status code.
        code: u16,
        /// What to know about it.
        message: String,
        /// How long the server asks to wait (429).
        retry_after: Option<Duration>,
    },
    /// No answer in time, a broken connection, a 5xx, or an answer that can't be understood. A write may have happened
    /// or may still happen.
    #[error("no usable answer from the API server about the Lease: {message}")]
    Unknown {
        /// What to know about it.
        message: String,
        /// How long the server asks to wait (503).
        retry_after: Option<Duration>,
    },
    /// Somebody holds the old lock that is minded beside the Lease, or has held it until just now. No write has happened.
    #[error("the old lock, {lock}, is held by {holder:?}, or was until just now, so the Lease isn't claimed")]
    OldLock {
        /// What and where it is.
        lock: String,
        /// The holder, empty if nobody is shown.
        holder: String,
    },
}

impl LockError {
    /// An unknown outcome without a wish of the server.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::Unknown { message: message.into(), retry_after: None }
    }

    /// What the server said, or whatever there was instead.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } | Self::Unknown { message, .. } => message.clone(),
            Self::Missing | Self::Conflict | Self::OldLock { .. } => self.to_string(),
        }
    }

    /// How long the server asks to wait before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Unknown { retry_after, .. } => *retry_after,
            Self::Missing | Self::Conflict | Self::OldLock { .. } => None,
        }
    }
}
