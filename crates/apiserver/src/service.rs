//! The server as a function: a request of one identity becomes a response, whose body may be a stream.
//!
//! Comes in: any HTTP request, from a socket or not. Goes out: always a response; a broken connection only where a fault
//! says so. Opens no socket and spawns nothing: a watch runs only while its body is polled.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, stream};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::discovery;
use crate::fault::{self, Facts, Pace, Ticket, TransportError};
use crate::form::{Asked, Form};
use crate::kinds;
use crate::list::{self, CHUNK, ListBody};
use crate::route::{self, Query, Target};
use crate::server::Shared;
use crate::status::Failure;
use crate::watch;
use crate::write::{MUTATION_LIMIT, Mutation};

/// What a body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response: complete, a list in pieces, or the events of a watch.
pub struct Body(UnsyncBoxBody<Bytes, TransportError>);

/// The API server as one identity sees it: a tower service over requests with any body of bytes.
///
/// Always ready. A call that is dropped before its body was read changes nothing; a change is applied as a whole or not at
/// all. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) shared: Arc<Shared>,
    identity: Arc<str>,
    /// None: as the server routes.
    replica: Option<usize>,
    stop: CancellationToken,
}

impl Service {
    /// `stop` ends this service's watches.
    pub(crate) fn new(shared: Arc<Shared>, identity: &str, stop: CancellationToken) -> Self {
        Self { shared, identity: identity.into(), replica: None, stop }
    }

    /// The same at a certain replica.
    pub(crate) fn at(self, replica: usize) -> Self {
        Self { replica: Some(replica), ..self }
    }

    pub(crate) async fn answer<B>(self, request: Request<B>, received: Instant) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if let Some(target) = route::target(path) {
            return self.resource(&parts, &target, body, received).await.unwrap_or_else(|failure| failed(&failure));
        }
        match (&parts.method, discovery::answer(path)) {
            (&Method::GET | &Method::HEAD, Some((content_type, body))) => response(200, content_type, full(body)),
            (_, Some(_)) => failed(&Failure::method_not_allowed()),
            (_, None) if route::is_of_known_group(path) => failed(&Failure::no_resource()),
            (_, None) => not_found(),
        }
    }

    async fn resource<B>(
        &self,
        parts: &request::Parts,
        target: &Target,
        body: B,
        received: Instant,
    ) -> Result<Response<Body>, Failure>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let query = Query::parse(parts.uri.query());
        let replica = self.replica.unwrap_or(0);
        let asked = asked(&parts.method, target, &query);
        let form = Form::negotiate(&parts.headers, kinds::kind(target.kind), asked)?;
        match (&parts.method, &target.name) {
            (&Method::GET, None) if query.flag("watch").unwrap_or(false) => {
                let at = (self.shared.clone(), replica);
                let watcher = watch::start(at, target, (&query, form), self.stop.clone()).await?;
                Ok(json(200, watch_body(watcher, self.pace(parts))))
            }
            (&Method::GET, None) => {
                query.timeout()?;
                Ok(json(200, list_body(list::list((&self.shared, replica), target, &query, form).await?)))
            }
            (&Method::GET, Some(name)) if target.is_readable() => {
                query.timeout()?;
                Ok(json(200, full(list::get((&self.shared, replica), (target, name), &query, form).await?)))
            }
            (&Method::POST | &Method::PUT | &Method::PATCH | &Method::DELETE, _) => {
                let limit = query.timeout()?.unwrap_or(MUTATION_LIMIT).min(MUTATION_LIMIT);
                let mutation = Mutation {
                    identity: &self.identity,
                    replica,
                    method: &parts.method,
                    target,
                    headers: &parts.headers,
                    query: &query,
                    deadline: received + limit,
                };
                let outcome = mutation.run(&self.shared, body).await?;
                Ok(json(outcome.code, full(form.shape(outcome.body))))
            }
            _ => Err(Failure::method_not_allowed()),
        }
    }
}

impl Service {
    /// What holds the events of a watch back under freeze and partition.
    fn pace(&self, parts: &request::Parts) -> Pace {
        let known = parts.extensions.get::<Arc<Facts>>().cloned();
        let facts = known.unwrap_or_else(|| Arc::new(Facts::of(0, &self.identity, &parts.method, &parts.uri)));
        Pace::new(self.shared.clone(), facts)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Service").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = BoxFuture<'static, Result<Response<Body>, TransportError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A request's time runs from its arrival, not from when its future is first polled.
        let received = self.shared.clock.now();
        let mut service = self.clone();
        service.replica.get_or_insert_with(|| self.shared.route(&self.identity));
        let faults = &self.shared.faults;
        if !faults.is_armed() {
            return Box::pin(async move { Ok(service.answer(request, received).await) });
        }
        let (ticket, request) = Ticket::new(faults, &self.identity, request);
        Box::pin(fault::run(service, ticket, request, received))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Body").finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        Pin::new(&mut self.get_mut().0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// Whether the answer to this request is a list.
fn asked(method: &Method, target: &Target, query: &Query) -> Asked {
    match (method, &target.name) {
        (&Method::GET, None) if query.flag("watch").unwrap_or(false) => Asked::Object,
        (&Method::GET | &Method::DELETE, None) => Asked::List,
        _ => Asked::Object,
    }
}

/// The answer to a request without a valid identity.
pub(crate) fn unauthorized() -> Response<Body> {
    failed(&Failure::unauthorized())
}

impl Body {
    pub(crate) fn streamed(frames: impl Stream<Item = Result<Frame<Bytes>, TransportError>> + Send + 'static) -> Self {
        Self(StreamBody::new(frames).boxed_unsync())
    }
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Body(Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
}

fn list_body(mut list: ListBody) -> Body {
    if list.len() < CHUNK
        && let Some(whole) = list.next()
    {
        return full(whole);
    }
    Body::streamed(stream::iter(list.map(|chunk| Ok(Frame::data(chunk)))))
}

fn watch_body(watcher: watch::Watcher, pace: Pace) -> Body {
    Body::streamed(stream::unfold((watcher, pace), |(mut watcher, mut pace)| async move {
        let next = match pace.held() {
            Some(held) => Some(held),
            None => watcher.next().await,
        };
        let chunk = pace.release(next).await?;
        Some((Ok(Frame::data(chunk)), (watcher, pace)))
    }))
}

fn json(code: u16, body: Body) -> Response<Body> {
    response(code, "application/json", body)
}

pub(crate) fn failed(failure: &Failure) -> Response<Body> {
    let mut response = json(failure.code, full(failure.encode()));
    let retry = failure.retry_after_seconds();
    if retry > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry));
    }
    if failure.code == 405 {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("DELETE, GET, PATCH, POST, PUT"));
    }
    response
}

/// Paths that nothing is behind are no business of the API: plain text, as upstream's multiplexer answers.
fn not_found() -> Response<Body> {
    response(404, "text/plain; charset=utf-8", full(Bytes::from_static(b"404 page not found\n")))
}

pub(crate) fn response(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
