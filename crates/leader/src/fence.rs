//! The guard on writes: a tower layer that lets a term's writes through only while they are safe.
//!
//! In: HTTP requests to an API server. Out: reads as they are; writes checked, stamped with the epoch and given a
//! deadline; or a refusal. Never: retries, queues, or reads a request body that isn't already in memory.
//!
//! It belongs directly above the connection: whatever waits above it (rate limits, retries, queues) is then waited for
//! before the check, and each attempt is checked anew. The gate is looked at when the request arrives and again when its
//! future is first polled, which is when a connection sends it.
//!
//! Each write gets the time `min(write_timeout, what is left of the term, stop bound)`: here its future is dropped then,
//! and the server is told by `timeout=`. A server that received it in the last moment may commit it as much later again,
//! and that is still within the stop bound after the gate's closing. The response's body is not waited for here: once
//! its head has come, the write is over.
//!
//! What it can't cover stands at [`FenceLayer`].

mod rules;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use kube_client::client::Body;
use tower::{Layer, Service};

use self::rules::Stamp;
use crate::clock::{GateInstant, sleep_until};
use crate::gate::{CloseReason, GateClosed, Term};
use crate::record::Epoch;
use crate::thread::BoxError;
use crate::trace::activity;

/// The largest body of a write. API servers accept about 3 MiB.
const LARGEST_BODY: u64 = 4 * 1024 * 1024;

/// Numbers the writes of this process, for the activity trace.
static WRITES: AtomicU64 = AtomicU64::new(1);

/// How much time writes get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceConfig {
    /// The longest a write may take. Default 2 s. The term's stop bound and what is left of the term cut it shorter.
    pub write_timeout: Duration,
    /// A write isn't begun with less time left than this. Default 250 ms.
    pub min_remaining: Duration,
    /// The field of `status` in which status writes keep the epoch, as text: `Some("watchkeeperEpoch")`, say; another one for each Lease. The kind must have it, or
    /// keep fields it doesn't know. Default none: then I12 doesn't cover status writes of custom resources.
    pub status_epoch: Option<String>,
}

impl Default for FenceConfig {
    fn default() -> Self {
        Self { write_timeout: Duration::from_secs(2), min_remaining: Duration::from_millis(250), status_epoch: None }
    }
}

/// Puts a [`Fence`] for one term around a service.
///
/// What I12 (no write of an older epoch after one of a newer term of the same Lease) can't cover, and so only the gate and its clocks do;
/// each has a test in `fence/limits.rs`:
///
/// * creates of different names for one thing: two objects, and no server that knows they are meant to be one
/// * server-side applies without a version: they have no base
/// * patches whose base was read after a later term's write: a patch doesn't show its base's annotations
/// * updates with an object that was built anew and given the version alone: without the annotations that were read it doesn't show them either
/// * JSON patches, and applies that aren't forced: they carry no stamp, so a stale term that reads again sees no later one
/// * deletes that name the life (`uid`) and not the version: what a later term wrote to it goes with it
/// * status writes of custom resources, which leave the annotations alone, unless the epoch is kept in the status
///   ([`FenceConfig::status_epoch`])
/// * objects that the new term hasn't touched yet
/// * everything outside the API server: give the epoch along as a fencing token ([`Term::epoch`]) where it can be checked
#[derive(Clone, Debug)]
pub struct FenceLayer {
    term: Term,
    config: FenceConfig,
}

impl FenceLayer {
    /// A layer for this term's writes.
    pub fn new(term: Term, config: FenceConfig) -> Self {
        Self { term, config }
    }
}

impl<S> Layer<S> for FenceLayer {
    type Service = Fence<S>;

    fn layer(&self, inner: S) -> Fence<S> {
        Fence { inner, term: self.term.clone(), config: self.config.clone() }
    }
}

/// A service whose writes are those of one term.
#[derive(Clone, Debug)]
pub struct Fence<S> {
    inner: S,
    term: Term,
    config: FenceConfig,
}

/// A write that was not sent. Nothing has happened.
///
/// Through a kube client it arrives inside `kube_client::Error::Service`; see [`FenceRefused::find`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path} was not sent: {reason}")]
pub struct FenceRefused {
    /// The request's method.
    pub method: Method,
    /// The request's path.
    pub path: String,
    /// Why.
    pub reason: Refusal,
}

/// Why a write was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The term may not act (any more).
    #[error(transparent)]
    GateClosed(#[from] GateClosed),
    /// The gate is open, but not for long enough.
    #[error("the gate closes in {left:?}, and a write needs {needed:?}: try again after the next renewal")]
    TooLittleTime {
        /// What is left.
        left: Duration,
        /// [`FenceConfig::min_remaining`].
        needed: Duration,
    },
    /// The object already carries a later term's epoch; this closes the gate.
    #[error("the object was written by a later term (epoch {0}), so this term is over")]
    LaterTerm(Epoch),
    /// A create without a name: a retry would make a second object.
    #[error("a gated create needs metadata.name: derive it from what the object is for (generateName makes doubles)")]
    NoName,
    /// An update or patch that doesn't say which version it was made from.
    #[error(
        "a gated update needs the metadata.resourceVersion it was computed from (a JSON patch: a test of /metadata/resourceVersion)"
    )]
    NoVersion,
    /// A delete that would hit whatever has the name.
    #[error("a gated delete needs preconditions: the uid or the resourceVersion of the object that is meant")]
    NoPrecondition,
    /// A delete of many objects can't say which.
    #[error("a gated delete of a collection is not possible: delete object by object, with preconditions")]
    Collection,
    /// exec, attach, port-forward and proxies act without any version.
    #[error("a connection to {0:?} can't be gated: use the plain client if it must be")]
    Connect(String),
    /// Not a kind of patch that is known here.
    #[error("a patch of type {0:?} can't be gated: use a merge patch, a JSON patch or an apply")]
    UnknownPatch(String),
    /// The body isn't a JSON object (or, for a JSON patch, an array).
    #[error("the body of a gated write must be JSON")]
    Unreadable,
    /// The body is a stream.
    #[error("the body of a gated write must be in memory, not a stream")]
    NotBuffered,
    /// The body is too large for any API server.
    #[error("the body of a gated write has more than {LARGEST_BODY} bytes")]
    TooLarge,
    /// Nothing that could have a `timeout=` after it.
    #[error("a gated write needs a path of an API server, short enough for a timeout parameter")]
    NoPath,
}

/// A write whose time ran out before an answer came. It may have happened, or may still happen within the stop bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path} had no answer within {limit:?}: whether it has happened is unknown")]
pub struct OutcomeUnknown {
    /// The request's method.
    pub method: Method,
    /// The request's path.
    pub path: String,
    /// The time it had.
    pub limit: Duration,
}

impl Refusal {
    /// The reason as a label of `leader_election_refused_writes_total`: one word.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::GateClosed(GateClosed::InDoubt(_)) => "in-doubt",
            Self::GateClosed(_) => "gate-closed",
            Self::TooLittleTime { .. } => "too-little-time",
            Self::LaterTerm(_) => "later-term",
            Self::NoName => "no-name",
            Self::NoVersion => "no-version",
            Self::NoPrecondition => "no-precondition",
            Self::Collection => "collection",
            Self::Connect(_) => "connection",
            Self::UnknownPatch(_) => "unknown-patch",
            Self::Unreadable => "unreadable",
            Self::NotBuffered => "not-buffered",
            Self::TooLarge => "too-large",
            Self::NoPath => "no-path",
        }
    }
}

impl FenceRefused {
    /// The refusal inside any error, if it is one.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        find(error)
    }
}

impl OutcomeUnknown {
    /// The unknown outcome inside any error, if it is one.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        find(error)
    }
}

impl<S, B> Service<Request<Body>> for Fence<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match rules::acts(&request) {
            Ok(true) => match Write::admit(&self.term, &self.config, request) {
                Ok((write, request)) => {
                    let answer = self.inner.call(request);
                    Box::pin(write.send(answer))
                }
                Err(refused) => Box::pin(std::future::ready(Err(refused.into()))),
            },
            Err(reason) if self.term.is_elected() => {
                let refused = refused(&self.term, request.method(), request.uri(), reason);
                Box::pin(std::future::ready(Err(refused.into())))
            }
            // Reads, and connections of work that needs no election.
            Ok(false) | Err(_) => {
                let answer = self.inner.call(request);
                Box::pin(async move { answer.await.map_err(Into::into) })
            }
        }
    }
}

/// A write that was let in.
struct Write {
    term: Term,
    config: FenceConfig,
    method: Method,
    uri: Uri,
    limit: Duration,
    deadline: GateInstant,
}

impl Write {
    /// Checks a write and makes it ready to be sent.
    fn admit(term: &Term, config: &FenceConfig, request: Request<Body>) -> Result<(Self, Request<Body>), FenceRefused> {
        let (mut parts, body) = request.into_parts();
        let refuse = |reason| refused(term, &parts.method, &parts.uri, reason);
        let remaining = term.check().map_err(|closed| refuse(closed.into()))?;
        let limit = remaining.duration().min(config.write_timeout).min(term.stop_bound());
        let body = buffered(body).map_err(refuse)?;
        let (annotation, in_status) = (term.epoch_annotation(), config.status_epoch.as_deref());
        let stamp = Stamp { epoch: term.epoch(), annotation, in_status };
        let body = if term.is_elected() { rules::prepare(&parts, body, stamp) } else { Ok(body) };
        let body = body.map_err(|reason| {
            if let Refusal::LaterTerm(epoch) = reason {
                term.close(CloseReason::LaterTerm(epoch));
            }
            refuse(reason)
        })?;
        let write = Self {
            term: term.clone(),
            config: config.clone(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            limit,
            deadline: remaining.checked_at() + limit,
        };
        write.check()?;
        parts.uri = rules::with_timeout(&parts.uri, limit)
            .map_err(|reason| refused(term, &parts.method, &parts.uri, reason))?;
        parts.headers.remove(CONTENT_LENGTH);
        Ok((write, Request::from_parts(parts, Body::from(body))))
    }

    /// Whether the gate is open for long enough, and the write's own time has not run out before it was sent.
    fn check(&self) -> Result<GateInstant, FenceRefused> {
        let refuse = |reason| refused(&self.term, &self.method, &self.uri, reason);
        let remaining = self.term.check().map_err(|closed| refuse(closed.into()))?;
        let left = remaining.duration().min(remaining.checked_at().until(self.deadline));
        let needed = self.config.min_remaining.min(self.config.write_timeout);
        if left.is_zero() || remaining.duration() < needed {
            return Err(refuse(Refusal::TooLittleTime { left, needed }));
        }
        Ok(remaining.checked_at())
    }

    async fn send<B, E: Into<BoxError>>(
        self,
        answer: impl Future<Output = Result<Response<B>, E>>,
    ) -> Result<Response<B>, BoxError> {
        // The future may have waited long for its first poll.
        let now = self.check()?;
        let mut trace = InFlight::begin(&self, now);
        tokio::select! {
            biased;
            answer = answer => {
                let answer = answer.map_err(Into::into)?;
                trace.status = answer.status().as_u16();
                Ok(answer)
            }
            () = sleep_until(self.term.clock(), self.deadline) => {
                let path = self.uri.path().to_owned();
                Err(OutcomeUnknown { method: self.method.clone(), path, limit: self.limit }.into())
            }
        }
    }
}

/// Reports the end of a write in the activity trace, also if its future is dropped.
struct InFlight<'a> {
    write: &'a Write,
    request: u64,
    status: u16,
}

impl<'a> InFlight<'a> {
    fn begin(write: &'a Write, now: GateInstant) -> Self {
        let request = WRITES.fetch_add(1, Ordering::Relaxed);
        // The server counts its `timeout=` from the receipt, which may be as late as our own deadline.
        let bound_nanos = (write.deadline + write.limit).as_nanos();
        activity!(write.term.epoch(), now, "write-begin", request, verb = %write.method, path = write.uri.path(), bound_nanos);
        Self { write, request, status: 0 }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let Self { write, request, status } = self;
        let now = write.term.clock().now();
        activity!(write.term.epoch(), now, "write-end", request = *request, verb = %write.method, path = write.uri.path(), status = *status);
    }
}

fn refused(term: &Term, method: &Method, uri: &Uri, reason: Refusal) -> FenceRefused {
    term.metrics().tell(|sink| sink.refused_writes(reason.label()));
    FenceRefused { method: method.clone(), path: uri.path().to_owned(), reason }
}

/// The bytes of a body that is in memory already.
fn buffered(body: Body) -> Result<Bytes, Refusal> {
    if body.size_hint().exact().is_some_and(|size| size > LARGEST_BODY) {
        return Err(Refusal::TooLarge);
    }
    if body.size_hint().exact().is_none() {
        return Err(Refusal::NotBuffered);
    }
    match body.collect().now_or_never() {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(_)) | None => Err(Refusal::NotBuffered),
    }
}

fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
#[path = "fence/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "fence/limits.rs"]
mod limits;
