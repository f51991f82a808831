//! `ListWatch`: where bytes come from; and its implementation over kube-client.
//!
//! In: what to list or from where to watch. Out: a stream of body bytes, or why there is none. It knows bytes only: it
//! doesn't frame, decode, retry or remember a version, and every wait in it has a deadline.
//!
//! Upstream counterpart: `cache.ListerWatcher`, which yields decoded objects.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::header::{ACCEPT, ACCEPT_ENCODING, RETRY_AFTER};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use kube_client::client::Body;
use tokio::time::Instant;

use crate::config::Deadlines;
use crate::decode::Identity;
use crate::frame::{FrameError, FrameLimits, ListEnd, ListSplitter};
use crate::request_error::{Awaited, ERROR_BODY_LIMIT, Refusal, RequestError};
use crate::scope::Scope;
use crate::version::ResourceVersion;

/// The bytes of a body as they arrive. Dropping it ends the request; it ends with the body or with one error.
pub type ByteStream = BoxStream<'static, Result<Bytes, RequestError>>;

/// A list to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Items a page; `None`: all in one body.
    pub limit: Option<u32>,
    /// The token that the page before gave.
    pub continue_token: Option<String>,
    /// At which version.
    pub at: ListAt,
}

/// At which version a list is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListAt {
    /// Consistent: at least as new as the newest write when the server got the request.
    #[default]
    Newest,
    /// Not older than this.
    NotOlderThan(ResourceVersion),
    /// As it was at this version. 410 where the server no longer knows.
    Exact(ResourceVersion),
}

/// Where a watch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchStart {
    /// Behind this version.
    After(ResourceVersion),
    /// With the present state as ADDED events, read consistently, up to a bookmark that says so: a streaming list.
    InitialEvents,
}

/// A watch to be opened; bookmarks are always asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRequest {
    /// Where it begins.
    pub start: WatchStart,
    /// After how many seconds the server shall end it.
    pub timeout_seconds: u32,
}

/// A source of lists and watches of one scope, as bytes.
///
/// Whoever implements it bounds every wait, in the calls and in the streams: nothing downstream has a timer for them.
/// All three calls are cancel-safe: dropping the future ends the request.
#[async_trait]
pub trait ListWatch: Send + Sync + 'static {
    /// Opens a list: the body of a `200` answer.
    async fn list(&self, request: &ListRequest) -> Result<ByteStream, RequestError>;

    /// Opens a watch: the body of a `200` answer.
    async fn watch(&self, request: &WatchRequest) -> Result<ByteStream, RequestError>;

    /// Whether an object that was sent is wanted at all. What isn't is passed over before it is decoded. It must depend on
    /// nothing that changes during an object's life.
    fn wants(&self, identity: &Identity<'_>) -> bool {
        let _ = identity;
        true
    }

    /// The newest version of this scope, by a consistent read that begins after the call: a list of at most one object.
    async fn newest_version(&self) -> Result<ResourceVersion, RequestError> {
        let body = self.list(&ListRequest { limit: Some(1), ..ListRequest::default() }).await?;
        Ok(read_list(body, FrameLimits::default(), |_| {}).await?.version)
    }
}

/// Reads one body of a list to its end, item by item.
pub(crate) async fn read_list(
    mut body: ByteStream,
    limits: FrameLimits,
    mut item: impl FnMut(&[u8]),
) -> Result<ListEnd, RequestError> {
    let mut splitter = ListSplitter::new(limits);
    while let Some(chunk) = body.next().await {
        splitter.push(&chunk?, |bytes| {
            item(bytes);
            Ok::<(), FrameError>(())
        })?;
        // Bytes that are already here would otherwise be decoded without ever giving way to other tasks.
        tokio::task::coop::consume_budget().await;
    }
    Ok(splitter.finish()?)
}

/// Lists and watches one scope through a `kube_client::Client`.
///
/// Make the client with `Config::default_retry = false`: kube-client's own layer otherwise waits out 429, 503 and 504
/// inside a call, up to fifteen times, and the deadlines here would cut it short blindly.
#[derive(Clone)]
pub struct KubeListWatch {
    client: kube_client::Client,
    scope: Scope,
    deadlines: Deadlines,
    metadata_only: bool,
}

/// How long to wait for the parts of an answer.
#[derive(Clone, Copy)]
struct Waits {
    answer: Duration,
    silence: Duration,
    whole: Duration,
}

/// What a body is made of.
#[derive(Clone, Copy)]
enum Form {
    List,
    Events,
}

impl Form {
    /// What to accept where metadata alone is wanted.
    fn metadata(self) -> &'static str {
        match self {
            Self::List => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Self::Events => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
        }
    }
}

impl std::fmt::Debug for KubeListWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeListWatch").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl KubeListWatch {
    /// A source for `scope`; nothing is sent yet.
    pub fn new(client: kube_client::Client, scope: Scope, deadlines: Deadlines) -> Self {
        Self { client, scope, deadlines, metadata_only: false }
    }

    /// A source for each of these namespaces, otherwise as [`KubeListWatch::new`]; for
    /// [`SharedInformer::in_namespaces`](crate::SharedInformer::in_namespaces).
    pub fn in_namespaces(
        client: kube_client::Client,
        scope: Scope,
        namespaces: impl IntoIterator<Item = impl Into<String>>,
        deadlines: Deadlines,
    ) -> impl Iterator<Item = (String, Arc<dyn ListWatch>)> {
        let sources = Self::sources(client, scope, deadlines);
        namespaces.into_iter().map(Into::into).map(move |namespace| {
            let source = sources(&namespace);
            (namespace, source)
        })
    }

    /// Makes the source of any namespace, otherwise as [`KubeListWatch::new`]; for
    /// [`SharedInformer::with_sources`](crate::SharedInformer::with_sources).
    pub fn sources(
        client: kube_client::Client,
        scope: Scope,
        deadlines: Deadlines,
    ) -> impl Fn(&str) -> Arc<dyn ListWatch> + Send + Sync + 'static {
        move |namespace| {
            let scope = Scope { namespace: Some(namespace.to_owned()), ..scope.clone() };
            Arc::new(Self::new(client.clone(), scope, deadlines.clone()))
        }
    }

    /// Asks for PartialObjectMetadata: the server then sends nothing but metadata. One that doesn't know how sends whole
    /// objects, of which a decoder for metadata takes what it needs.
    #[must_use]
    pub fn metadata_only(self) -> Self {
        Self { metadata_only: true, ..self }
    }

    /// Sends a GET and sees to the status: an error unless it is 2xx.
    async fn get(&self, url: String, form: Form, waits: Waits) -> Result<ByteStream, RequestError> {
        let request = http::Request::get(url)
            .header(ACCEPT, if self.metadata_only { form.metadata() } else { "application/json" })
            // Servers from 1.37 on compress watches in a way that few decoders read (one gzip member an event).
            .header(ACCEPT_ENCODING, "identity")
            .body(Body::empty())
            .map_err(|error| RequestError::Unsendable(error.to_string()))?;
        let send = async { self.client.send(request).await.map_err(|error| RequestError::unreachable(&error)) };
        let response = within(waits.answer, Awaited::Answer, send).await?;
        if response.status().is_success() {
            return Ok(body_stream(response.into_body(), waits.silence, waits.whole));
        }
        let (parts, body) = response.into_parts();
        let retry_after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let body = error_body(body, waits.silence).await;
        Err(RequestError::Refused(Refusal::from_answer(parts.status.as_u16(), retry_after, &body)))
    }
}

#[async_trait]
impl ListWatch for KubeListWatch {
    fn wants(&self, identity: &Identity<'_>) -> bool {
        self.scope.shard.is_none_or(|shard| shard.holds(identity))
    }

    async fn list(&self, request: &ListRequest) -> Result<ByteStream, RequestError> {
        let limit = request.limit.map(|limit| limit.to_string());
        let mut parameters = Vec::new();
        parameters.extend(limit.as_deref().map(|limit| ("limit", limit)));
        parameters.extend(request.continue_token.as_deref().map(|token| ("continue", token)));
        // A page behind the first stands at the version of the first, which its token knows.
        let at = request.continue_token.is_none().then_some(&request.at);
        let (rule, version) = match at {
            None | Some(ListAt::Newest) => (None, None),
            Some(ListAt::NotOlderThan(version)) => (Some("NotOlderThan"), Some(version)),
            Some(ListAt::Exact(version)) => (Some("Exact"), Some(version)),
        };
        parameters.extend(version.map(|version| ("resourceVersion", version.as_str())));
        parameters.extend(rule.map(|rule| ("resourceVersionMatch", rule)));
        let Deadlines { list_answer, list_silence, list_whole, .. } = self.deadlines;
        let waits = Waits { answer: list_answer, silence: list_silence, whole: list_whole };
        self.get(self.scope.url(&parameters), Form::List, waits).await
    }

    async fn watch(&self, request: &WatchRequest) -> Result<ByteStream, RequestError> {
        let seconds = request.timeout_seconds.to_string();
        let mut parameters = vec![("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", &*seconds)];
        match &request.start {
            WatchStart::After(version) => parameters.push(("resourceVersion", version.as_str())),
            WatchStart::InitialEvents => parameters.extend([
                ("sendInitialEvents", "true"),
                ("resourceVersionMatch", "NotOlderThan"),
                // Empty, not absent: the newest state, read consistently.
                ("resourceVersion", ""),
            ]),
        }
        let timeout = Duration::from_secs(request.timeout_seconds.into());
        let Deadlines { watch_answer, watch_silence, watch_margin, .. } = self.deadlines;
        let whole = timeout.saturating_add(watch_margin);
        let waits = Waits { answer: watch_answer, silence: watch_silence, whole };
        self.get(self.scope.url(&parameters), Form::Events, waits).await
    }
}

/// Bounds one wait.
pub(crate) async fn within<T>(
    bound: Duration,
    waited_for: Awaited,
    what: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let timed_out = RequestError::TimedOut { waited_for, bound };
    tokio::time::timeout(bound, what).await.unwrap_or(Err(timed_out))
}

/// The data of a body, with bounds on the silence between two pieces and on it all; ends after the first error.
#[expect(clippy::disallowed_methods, reason = "run modules read tokio's clock, which tests pause")]
fn body_stream<B>(body: B, silence: Duration, whole: Duration) -> ByteStream
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: StdError + Send + 'static,
{
    let end = Instant::now().checked_add(whole);
    let next = move |body: Option<B>| async move {
        let mut body = body?;
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        let (bound, waited_for) = if silence <= left { (silence, Awaited::Data) } else { (left, Awaited::End) };
        let piece = async {
            loop {
                return match body.frame().await {
                    None => Ok(None),
                    Some(Err(error)) => Err(RequestError::cut(&error)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => Ok(Some(data)),
                        Err(_trailers) => continue,
                    },
                };
            }
        };
        match within(bound, waited_for, piece).await {
            Ok(None) => None,
            Ok(Some(data)) => Some((Ok(data), Some(body))),
            Err(RequestError::TimedOut { waited_for: Awaited::End, .. }) => {
                Some((Err(RequestError::TimedOut { waited_for: Awaited::End, bound: whole }), None))
            }
            Err(error) => Some((Err(error), None)),
        }
    };
    stream::unfold(Some(body), next).boxed()
}

/// As much of an error's body as is worth reading, in one bounded time; what can't be had is left out.
async fn error_body<B>(body: B, bound: Duration) -> Vec<u8>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: StdError + Send + 'static,
{
    let mut kept = Vec::new();
    let mut pieces = body_stream(body, bound, bound);
    let read = async {
        while let Some(Ok(piece)) = pieces.next().await {
            if kept.len() + piece.len() > ERROR_BODY_LIMIT {
                break;
            }
            kept.extend_from_slice(&piece);
        }
        Ok(())
    };
    // Out of time is no new error: the refusal itself is what counts.
    let _ = within(bound.min(Duration::from_secs(5)), Awaited::Data, read).await;
    kept
}
