//! The server behind a TCP listener: HTTP/1.1 without TLS, meant for loopback.
//!
//! Comes in: connections, until told to stop. Goes out: responses of the service of whoever each request says it is from.
//! Nobody is authenticated: identities are names for tests and audit, not a protection.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::fault::TransportError;
use crate::server::ApiServer;
use crate::service::{Body, Service, unauthorized};

/// Who a request without a token is from.
pub const ANONYMOUS: &str = "system:anonymous";
/// A bearer token is this and the identity.
pub const TOKEN_PREFIX: &str = "token-";
/// A path may begin with this and the identity: clients keep their tokens to themselves on plain HTTP.
pub const PATH_PREFIX: &str = "/as/";

/// Connections open at once; more wait to be accepted.
const CONNECTIONS: usize = 4096;
/// A client has so long to send the head of a request. hyper counts the idle time between two requests in: more than the
/// 90 seconds after which clients drop idle connections themselves, so that none is closed under a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// A connection whose client doesn't read has so long to end after a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// After a failed accept (too many open files) it is tried again so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then ends all watches, lets requests in progress finish for two seconds, and returns when no
/// connection is left.
///
/// The identity of a request is its bearer token `token-<identity>`, or the path prefix `/as/<identity>`, or else
/// `system:anonymous`. Any other token is answered 401. Dropping the future closes all connections at once.
pub async fn serve(server: ApiServer, listener: TcpListener, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        // In this order: stop, then make room, then accept.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(server.clone(), stream, shutdown.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(server: ApiServer, stream: TcpStream, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let stop = shutdown.clone();
    let service = service_fn(move |request| answer(server.clone(), request, stop.clone()));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Once told to stop, the connection closes after the response in progress.
    let result = tokio::select! {
        biased;
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        result = connection.as_mut() => result,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    server: ApiServer,
    mut request: Request<Incoming>,
    stop: CancellationToken,
) -> Result<Response<Body>, TransportError> {
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
