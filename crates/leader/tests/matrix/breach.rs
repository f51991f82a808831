//! Candidates that break a rule, which the matrix must see.
//!
//! Comes in: a lock. Goes out: one that lies about it, or asks more than it is told to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::sleep;
use watchkeeper_leader::{Lease, LeaseLock, LockError};

/// Tries that a client's own retry layer hides.
const HIDDEN_TRIES: usize = 15;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Breach {
    /// A write without an answer is taken for a success.
    TakesSilenceForSuccess,
    /// Whatever the Lease says, it is the own.
    SeesNoOtherHolder,
    /// A retry layer between elector and server.
    HiddenRetries,
    /// Writes what it knows, and drops what it doesn't.
    DropsWhatOthersWrote,
    /// The gate's clock stands still from the fault on.
    StandingClock,
    /// Gives the Lease back while its work goes on.
    ReleasesBeforeTheStop,
    LeavesATask,
}

pub(crate) struct Liar {
    inner: Arc<dyn LeaseLock>,
    identity: String,
    breach: Breach,
}

impl Liar {
    pub(crate) fn new(inner: Arc<dyn LeaseLock>, identity: &str, breach: Breach) -> Self {
        Self { inner, identity: identity.to_owned(), breach }
    }

    /// The answer that should have come: what was sent, as a newer version.
    fn invented(object: &Value) -> Option<Lease> {
        let mut object = object.clone();
        let version: u64 = object["metadata"]["resourceVersion"].as_str()?.parse().ok()?;
        object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        Lease::parse(object).ok()
    }

    fn own(&self, lease: Lease) -> Lease {
        let mut object = lease.object().clone();
        object["spec"]["holderIdentity"] = json!(self.identity);
        Lease::parse(object).unwrap_or(lease)
    }
}

#[async_trait]
impl LeaseLock for Liar {
    async fn read(&self, timeout: Duration) -> Result<Lease, LockError> {
        let answer = self.inner.read(timeout).await;
        if self.breach == Breach::SeesNoOtherHolder { answer.map(|lease| self.own(lease)) } else { answer }
    }

    async fn create(&self, object: Value, timeout: Duration) -> Result<Lease, LockError> {
        self.inner.create(object, timeout).await
    }

    async fn update(&self, mut object: Value, timeout: Duration) -> Result<Lease, LockError> {
        if self.breach == Breach::DropsWhatOthersWrote
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("labels");
        }
        let mut answer = self.inner.update(object.clone(), timeout).await;
        match self.breach {
            Breach::TakesSilenceForSuccess => match (&answer, Self::invented(&object)) {
                (Err(LockError::Unknown { .. }), Some(lease)) => Ok(lease),
                _ => answer,
            },
            Breach::HiddenRetries => {
                for _ in 0..HIDDEN_TRIES {
                    if !matches!(answer, Err(LockError::Unknown { .. })) {
                        break;
                    }
                    sleep(Duration::from_millis(20)).await;
                    answer = self.inner.update(object.clone(), timeout).await;
                }
                answer
            }
            _ => answer,
        }
    }
}
