//! A source of Pods that costs next to nothing: bytes made beforehand, served over loopback HTTP.
//!
//! In: requests for `/api/v1/pods`. Out: the whole list, pages of it, or a streaming list and the watch behind it, as JSON or
//! as protobuf. It knows no more of the API than these clients ask for: no selectors, one version that nothing changes until
//! [`Source::expire`], but for the [`Updates`] it may be given.

pub(crate) mod json;
mod protobuf;
mod updates;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use watchkeeper::BoxError;

use self::json::Form;
pub(crate) use self::updates::Updates;
use crate::pods::Pod;

/// The version of the first object.
pub(crate) const FIRST_VERSION: u64 = 1_000_000;
/// The version of every list and end mark.
pub(crate) const VERSION: u64 = 2_000_000_000;
/// Pieces of a body, as a network brings them.
const PIECE: usize = 64 * 1024;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A running source; cloning gives another handle on it.
#[derive(Clone)]
pub(crate) struct Source {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    pods: Arc<[Pod]>,
    /// Everything in one body, whole and as metadata alone.
    whole: Bytes,
    metadata: Bytes,
    /// Where a peer asks for it.
    protobuf: Option<protobuf::Rendered>,
    /// Lists that were served to their end, pages and streaming ones included.
    listed: AtomicU64,
    /// When it changes, all watches end, each with a 410.
    expired: watch::Sender<u64>,
    /// What changes on a watch.
    updates: Option<Arc<updates::Rendered>>,
}

impl Source {
    /// Renders the bytes, those of protobuf by a program if there is one, and serves them until the process ends.
    pub(crate) async fn start(
        pods: Vec<Pod>,
        updates: Option<Updates>,
        renderer: Option<&Path>,
    ) -> Result<Self, BoxError> {
        let [whole, metadata] = [Form::Whole, Form::Metadata].map(|form| Bytes::from(json::list(&pods, form, None)));
        let protobuf = renderer.map(|program| protobuf::Rendered::by(program, &whole)).transpose()?;
        let updates = updates.map(|updates| updates::Rendered::of(&updates, renderer)).transpose()?;
        let (listed, expired, updates) = (AtomicU64::new(0), watch::Sender::new(0), updates.map(Arc::new));
        let shared = Arc::new(Shared { pods: pods.into(), whole, metadata, protobuf, listed, expired, updates });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let source = Self { shared, address: listener.local_addr()? };
        tokio::spawn(serve(source.shared.clone(), listener));
        Ok(source)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all watches as a compacted server does, so that each client lists again.
    pub(crate) fn expire(&self) {
        self.shared.expired.send_modify(|count| *count += 1);
    }

    /// Sends the updates to whoever watches now.
    pub(crate) fn begin_updates(&self) {
        if let Some(updates) = &self.shared.updates {
            updates.begin();
        }
    }

    /// How many updates were sent since the start.
    pub(crate) fn updates_sent(&self) -> usize {
        self.shared.updates.as_ref().map_or(0, |updates| updates.sent())
    }

    /// How many lists were served whole.
    pub(crate) fn listed(&self) -> u64 {
        self.shared.listed.load(Ordering::Relaxed)
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            // Small answers must not wait for more.
            _ = stream.set_nodelay(true);
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(answer(&shared, &request)) }
            });
            // A client that leaves is no error here.
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The parameters of a request.
struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    fn of(request: &'a Request<Incoming>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Self(query.split('&').filter_map(|parameter| parameter.split_once('=')).collect())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn is(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    /// Where a page starts, and its length. As with a watch cache there are none of a list at whatever version.
    fn page(&self) -> Option<(usize, usize)> {
        let number = |name| self.get(name).and_then(|text| text.parse().ok());
        let limit = number("limit").filter(|limit| *limit > 0 && self.get("resourceVersion") != Some("0"))?;
        Some((number("continue").unwrap_or(0), limit))
    }
}

fn answer(shared: &Arc<Shared>, request: &Request<Incoming>) -> Response<Body> {
    if request.uri().path() != "/api/v1/pods" {
        return respond(StatusCode::NOT_FOUND, "text/plain", Empty::new().boxed_unsync());
    }
    let query = Query::of(request);
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let protobuf = shared.protobuf.as_ref().filter(|_| accept.starts_with(protobuf::MEDIA_TYPE));
    let form = Form::accepted(accept);
    let streaming = query.is("sendInitialEvents");
    match protobuf {
        Some(rendered) if query.is("watch") => {
            let initial = streaming.then(|| in_pieces(rendered.initial.clone()));
            let events = events(shared, initial, true, rendered.expired.clone());
            respond(StatusCode::OK, protobuf::STREAM_MEDIA_TYPE, events)
        }
        Some(rendered) => respond(StatusCode::OK, protobuf::MEDIA_TYPE, list(shared, rendered.list.clone())),
        None if query.is("watch") => {
            let initial = streaming.then(|| json::initial(shared.pods.clone(), form));
            let expired = Bytes::from_static(json::EXPIRED);
            respond(StatusCode::OK, json::MEDIA_TYPE, events(shared, initial, false, expired))
        }
        None => respond(StatusCode::OK, json::MEDIA_TYPE, json_list(shared, form, query.page())),
    }
}

/// A streaming list, where one is asked for, then the updates, and silence until all watches expire.
fn events(
    shared: &Arc<Shared>,
    initial: Option<impl Iterator<Item = Bytes> + Send + 'static>,
    protobuf: bool,
    expired: Bytes,
) -> Body {
    let (is_list, mut expiry) = (initial.is_some(), shared.expired.subscribe());
    let updates = shared.updates.clone().map(|updates| updates::stream(updates, protobuf));
    let shared = shared.clone();
    let listed = stream::once(async move {
        if is_list {
            shared.listed.fetch_add(1, Ordering::Relaxed);
        }
        None
    });
    let end = stream::once(async move {
        _ = expiry.changed().await;
        expired
    });
    let initial = stream::iter(initial.into_iter().flatten()).map(Some).chain(listed).filter_map(std::future::ready);
    in_frames(initial.chain(stream::iter(updates).flatten()).chain(end))
}

/// The last or only body of a list.
fn list(shared: &Shared, body: Bytes) -> Body {
    shared.listed.fetch_add(1, Ordering::Relaxed);
    in_frames(stream::iter(in_pieces(body)))
}

fn json_list(shared: &Shared, form: Form, page: Option<(usize, usize)>) -> Body {
    let Some((start, limit)) = page else {
        return list(
            shared,
            match form {
                Form::Whole => shared.whole.clone(),
                Form::Metadata => shared.metadata.clone(),
            },
        );
    };
    let start = start.min(shared.pods.len());
    let end = start.saturating_add(limit).min(shared.pods.len());
    let next = (end < shared.pods.len()).then_some(end);
    let body = Bytes::from(json::list(&shared.pods[start..end], form, next));
    if next.is_none() { list(shared, body) } else { in_frames(stream::iter(in_pieces(body))) }
}

/// As a network brings it.
pub(crate) fn in_pieces(body: Bytes) -> impl Iterator<Item = Bytes> + Send {
    (0..body.len()).step_by(PIECE).map(move |at| body.slice(at..body.len().min(at + PIECE)))
}

fn in_frames(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync()
}

fn respond(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
