//! A source of Pods that costs next to nothing: bytes made beforehand, served over loopback HTTP.
//!
//! In: requests for `/api/v1/pods`. Out: the whole list, pages of it, or a streaming list and the watch behind it. It knows no
//! more of the API than these clients ask for: no selectors, one version that nothing changes until [`Source::expire`].

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use watchkeeper::BoxError;

use crate::pods::Pod;

/// The version of the first object.
pub(crate) const FIRST_VERSION: u64 = 1_000_000;
/// The version of every list and end mark.
const VERSION: u64 = 2_000_000_000;
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
    pods: Vec<Pod>,
    /// Everything in one body, whole and as metadata alone.
    whole: Bytes,
    metadata: Bytes,
    /// Lists that were served to their end, pages and streaming ones included.
    listed: AtomicU64,
    /// When it changes, all watches end, each with a 410.
    expired: watch::Sender<u64>,
}

impl Source {
    /// Renders the bytes and serves them until the process ends.
    pub(crate) async fn start(pods: Vec<Pod>) -> Result<Self, BoxError> {
        let [whole, metadata] = [Form::Whole, Form::Metadata].map(|form| Bytes::from(list(&pods, form, None)));
        let (listed, expired) = (AtomicU64::new(0), watch::Sender::new(0));
        let shared = Arc::new(Shared { pods, whole, metadata, listed, expired });
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

fn answer(shared: &Arc<Shared>, request: &Request<Incoming>) -> Response<Body> {
    let query: Vec<(&str, &str)> = (request.uri().query().unwrap_or_default().split('&'))
        .filter_map(|parameter| parameter.split_once('='))
        .collect();
    let parameter = |name: &str| query.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let is = |name: &str| matches!(parameter(name), Some("true" | "1"));
    if request.uri().path() != "/api/v1/pods" {
        return respond(StatusCode::NOT_FOUND, whole(Bytes::from_static(b"{}")));
    }
    let form = Form::accepted(request.headers());
    if is("watch") {
        let initial = is("sendInitialEvents").then(|| initial(shared.clone(), form));
        let running = expiry(shared.expired.subscribe());
        let events = stream::iter(initial).flatten().chain(running);
        return respond(StatusCode::OK, StreamBody::new(events.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync());
    }
    let number = |name| parameter(name).and_then(|text: &str| text.parse::<usize>().ok());
    let body = match number("limit") {
        Some(limit) if limit > 0 => {
            let start = number("continue").unwrap_or(0).min(shared.pods.len());
            let end = (start + limit).min(shared.pods.len());
            let next = (end < shared.pods.len()).then_some(end);
            if next.is_none() {
                shared.listed.fetch_add(1, Ordering::Relaxed);
            }
            Bytes::from(list(&shared.pods[start..end], form, next))
        }
        _ => {
            shared.listed.fetch_add(1, Ordering::Relaxed);
            match form {
                Form::Whole => shared.whole.clone(),
                Form::Metadata => shared.metadata.clone(),
            }
        }
    };
    respond(StatusCode::OK, in_pieces(body))
}

/// What of each object is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Metadata,
}

impl Form {
    fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accept.contains("as=PartialObjectMetadata") { Self::Metadata } else { Self::Whole }
    }

    fn object_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Whole => ("Pod", "v1"),
            Self::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1"),
        }
    }

    /// The members of an object behind its kind and apiVersion, and the closing brace.
    fn members(self, pod: &Pod) -> [&[u8]; 2] {
        match self {
            Self::Whole => [&pod.item.as_bytes()[1..], b""],
            Self::Metadata => [&pod.item.as_bytes()[1..pod.metadata_end], b"}"],
        }
    }
}

/// All objects as ADDED events, and the mark behind them.
fn initial(shared: Arc<Shared>, form: Form) -> impl Stream<Item = Bytes> + Send {
    let (kind, api_version) = form.object_type();
    let mut at = 0;
    let pieces = std::iter::from_fn(move || {
        let mut piece = Vec::with_capacity(PIECE + 20_000);
        while piece.len() < PIECE {
            let Some(pod) = shared.pods.get(at) else { break };
            at += 1;
            let head = format!(r#"{{"type":"ADDED","object":{{"kind":"{kind}","apiVersion":"{api_version}","#);
            piece.extend_from_slice(head.as_bytes());
            form.members(pod).iter().for_each(|part| piece.extend_from_slice(part));
            piece.extend_from_slice(b"}\n");
        }
        if !piece.is_empty() && at == shared.pods.len() {
            shared.listed.fetch_add(1, Ordering::Relaxed);
        }
        (!piece.is_empty()).then(|| Bytes::from(piece))
    });
    let mark = format!(
        concat!(
            r#"{{"type":"BOOKMARK","object":{{"kind":"{}","apiVersion":"{}","metadata":{{"resourceVersion":"{}","#,
            r#""annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#,
            "\n"
        ),
        kind, api_version, VERSION
    );
    stream::iter(pieces.chain(std::iter::once(Bytes::from(mark))))
}

/// Silence, then a 410.
fn expiry(mut expired: watch::Receiver<u64>) -> impl Stream<Item = Bytes> + Send {
    const GONE: &[u8] = br#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;
    expired.mark_unchanged();
    stream::once(async move {
        _ = expired.changed().await;
        Bytes::from([GONE, b"\n"].concat())
    })
}

fn list(pods: &[Pod], form: Form, next: Option<usize>) -> Vec<u8> {
    let length: usize = pods.iter().map(|pod| pod.item.len() + 100).sum();
    let mut list = Vec::with_capacity(length + 200);
    let token = next.map(|next| format!(r#","continue":"{next}""#)).unwrap_or_default();
    let (kind, api_version) = form.object_type();
    let head = format!(
        r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{VERSION}"{token}}},"items":["#
    );
    list.extend_from_slice(head.as_bytes());
    for (index, pod) in pods.iter().enumerate() {
        let separator = if index > 0 { "," } else { "" };
        // Of a list's items only those of metadata say what they are.
        let says = match form {
            Form::Whole => String::new(),
            Form::Metadata => format!(r#""kind":"{kind}","apiVersion":"{api_version}","#),
        };
        list.extend_from_slice(format!("{separator}{{{says}").as_bytes());
        form.members(pod).iter().for_each(|part| list.extend_from_slice(part));
    }
    list.extend_from_slice(b"]}\n");
    list
}

fn in_pieces(body: Bytes) -> Body {
    let pieces = (0..body.len()).step_by(PIECE).map(move |at| body.slice(at..body.len().min(at + PIECE)));
    StreamBody::new(stream::iter(pieces.map(|piece| Ok(Frame::data(piece))))).boxed_unsync()
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
