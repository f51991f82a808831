//! What a user writes: one function from a key to an outcome.
//!
//! In: a [`Request`], which holds the key, the newest cached object and a client that can act only while this term lasts.
//! Out: an [`Action`] or a [`Failure`]. Judging the outcome is the worker's business, never the reconciler's.
//!
//! Upstream: `kubernetes-sigs/controller-runtime:pkg/reconcile/reconcile.go`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use watchkeeper_informer::ObjectKey;

use crate::{BoxError, GatedClient};

/// Brings the world closer to what the object of one key asks for.
///
/// Called by at most one worker per key at a time (I7), and only while this process holds the Lease (I11). A call may be cancelled
/// at any await: by its deadline, and by the end of the term. The key is then processed again, here or by the next leader,
/// so a reconciler compares before it acts.
#[async_trait]
pub trait Reconciler<K>: Send + Sync + 'static {
    /// One pass over one key.
    ///
    /// # Errors
    /// [`Failure::Retry`] asks for another pass after the key's backoff, [`Failure::GiveUp`] for none until the object changes.
    async fn reconcile(&self, request: Request<K>) -> Result<Action, Failure>;
}

/// One key's turn.
pub struct Request<K> {
    /// Whose turn it is.
    pub key: ObjectKey,
    /// The newest object the cache holds; `None` when it is gone.
    pub object: Option<Arc<K>>,
    /// Reads freely, writes only while the term lasts.
    pub client: GatedClient,
    /// 1 at the first try, one more for each failure since the last success.
    pub attempt: u32,
}

/// What happens to the key after a pass that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing until the object changes.
    Done,
    /// Another pass after this time, or sooner if the object changes. The timer ends with the term.
    RequeueAfter(Duration),
}

/// What happens to the key after a pass that failed. `?` on any error makes a [`Failure::Retry`].
#[derive(Debug)]
pub enum Failure {
    /// Again, after the key's backoff (5 ms doubling to 1000 s by default).
    Retry(BoxError),
    /// Trying again would not help: the key rests until the object changes or a new term begins.
    GiveUp(BoxError),
}

impl Failure {
    /// A failure that no retry mends.
    pub fn give_up(error: impl Into<BoxError>) -> Self {
        Self::GiveUp(error.into())
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Retry(Box::new(error))
    }
}
