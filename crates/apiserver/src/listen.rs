//! The server behind a TCP listener: HTTP/1.1 without TLS, meant for loopback.
//!
//! Comes in: connections, until told to stop. Goes out: responses of the service of whoever each request says it is from.
//! Nobody is authenticated: identities are names for tests and audit, not a protection.
//!
//! | What a client does | What it gets |
//! |---|---|
//! | no HTTP, a bad method, header or length, no `Host` | 400, and the connection is closed |
//! | a head of more than 128 KiB or 100 lines, a URI of more than 64 KiB | 431, 414; upstream: 1 MiB, 431 |
//! | a body that is announced as too large, or is | 413, without waiting for the rest of it |
//! | a body that doesn't come | 504 when the request's time is up; upstream holds that answer until the body has come |
//! | half a head, or nothing after an answer | the connection is closed after two minutes; upstream: 32 and 90 seconds |
//! | an end of sending after its request | what is decided by then is sent, watches end; upstream cancels just so, and may answer 504 |
//! | an end within a body | nothing is written |
//! | no reading of what it asked for | at most 128 KiB and the system's buffers wait for it; a watch that falls behind ends |
//! | one connection more than 4096 | the place of the one that has been idle longest, or a wait while none is; upstream has no bound |

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::fault::TransportError;
use crate::places::{LEAST_IDLE, Place, Places};
use crate::server::ApiServer;
use crate::service::{Body, Service, full, response, unauthorized};
use crate::socket::Socket;

/// Who a request without a token is from.
pub const ANONYMOUS: &str = "system:anonymous";
/// A bearer token is this and the identity.
pub const TOKEN_PREFIX: &str = "token-";
/// A path may begin with this and the identity: clients keep their tokens to themselves on plain HTTP.
pub const PATH_PREFIX: &str = "/as/";

/// Connections open at once. One more takes the place of the one that has been idle longest; while none is idle, more wait
/// to be accepted.
const CONNECTIONS: usize = 4096;
/// Largest head of a request (431 beyond it), and how much of an answer waits for a client that doesn't read.
const BUFFER: usize = 128 * 1024;
/// A client has so long to send the head of a request. hyper counts the idle time between two requests in: more than the
/// 90 seconds after which clients drop idle connections themselves, so that none is closed under a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// A connection whose client doesn't read has so long to end after a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// After a failed accept (too many open files) room is made, and it is tried again so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then ends all watches, lets requests in progress finish for two seconds, and returns when no
/// connection is left.
///
/// The identity of a request is its bearer token `token-<identity>`, or the path prefix `/as/<identity>`, or else
/// `system:anonymous`. Any other token is answered 401. Dropping the future closes all connections at once.
pub async fn serve(server: ApiServer, listener: TcpListener, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut places = Places::default();
    loop {
        let full = connections.len() > CONNECTIONS;
        // In this order: stop, then make room, then accept.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next_with_id() => {
                places.closed(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY could not be set");
                    }
                    let place = Place::new(server.shared.clock.clone(), shutdown.child_token());
                    let id = connections.spawn(serve_at(server.clone(), stream, place.clone())).id();
                    places.opened(id, place);
                    if connections.len() > CONNECTIONS {
                        places.make_room(server.shared.clock.now());
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    places.make_room(server.shared.clock.now());
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            () = sleep(LEAST_IDLE), if full => places.make_room(server.shared.clock.now()),
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Serves one connection, whatever carries it, until its client or `shutdown` ends it.
pub async fn serve_connection(
    server: ApiServer,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shutdown: CancellationToken,
) {
    let place = Place::new(server.shared.clock.clone(), shutdown);
    serve_at(server, io, place).await;
}

async fn serve_at(server: ApiServer, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, place: Arc<Place>) {
    let leave = place.leave.clone();
    let service = service_fn(move |request| answer(server.clone(), request, place.clone()));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
    let connection = builder.serve_connection(TokioIo::new(Socket::new(io, leave.clone())), service);
    tokio::pin!(connection);
    // Once told to stop, the connection closes after the response in progress.
    let result = tokio::select! {
        biased;
        () = leave.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        result = connection.as_mut() => result,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The answer, which keeps its connection busy to its last byte.
fn answer(
    server: ApiServer,
    request: Request<Incoming>,
    place: Arc<Place>,
) -> impl Future<Output = Result<Response<impl http_body::Body<Data = Bytes, Error = TransportError>>, TransportError>>
{
    let busy = place.busy();
    async move {
        let response = respond(server, request, place.leave.clone()).await?;
        Ok(response.map(|body| {
            body.map_err(move |error| {
                let _busy = &busy;
                error
            })
        }))
    }
}

async fn respond(
    server: ApiServer,
    mut request: Request<Incoming>,
    stop: CancellationToken,
) -> Result<Response<Body>, TransportError> {
    if !has_host(&request) {
        return Ok(without_host());
    }
    let by_path = identity_of_path(request.uri());
    let identity = match by_path {
        Some((identity, uri)) => {
            *request.uri_mut() = uri;
            identity
        }
        None => match identity_of_token(request.headers()) {
            Ok(identity) => identity,
            Err(()) => return Ok(unauthorized()),
        },
    };
    Service::new(server.shared, &identity, stop).call(request).await
}

/// HTTP/1.1 demands one.
fn has_host(request: &Request<Incoming>) -> bool {
    request.version() != Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}

fn without_host() -> Response<Body> {
    let text = Bytes::from_static(b"400 Bad Request: missing required Host header");
    let mut response = response(400, "text/plain; charset=utf-8", full(text));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Splits `/as/<identity>/rest` into the identity and the rest.
fn identity_of_path(uri: &Uri) -> Option<(String, Uri)> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(PATH_PREFIX)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let identity = crate::route::percent_decode(&rest[..end], false).filter(|identity| !identity.is_empty())?;
    let rest = if rest[end..].starts_with('/') { rest[end..].to_owned() } else { format!("/{}", &rest[end..]) };
    let rest: PathAndQuery = rest.parse().ok()?;
    Some((identity, Uri::from(rest)))
}

fn identity_of_token(headers: &HeaderMap) -> Result<String, ()> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(ANONYMOUS.to_owned()) };
    let token = header.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or(())?;
    token.trim().strip_prefix(TOKEN_PREFIX).filter(|identity| !identity.is_empty()).map(str::to_owned).ok_or(())
}
