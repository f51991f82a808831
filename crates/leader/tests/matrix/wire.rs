//! The way between a candidate and the server: a short one, on which a fault can wait for its request.
//!
//! Comes in: the candidate's requests. Goes out: the server's answers. A fault strikes just before the request that it waits
//! for is sent on. Reads can be sent to a replica that is behind: a proxy that caches.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use kube_client::client::Body as Sent;
use parking_lot::Mutex;
use tokio::time::sleep;
use tower::Service as _;
use watchkeeper_apiserver::service::BoxError;
use watchkeeper_apiserver::{ApiServer, Body};

/// Each request takes so long to the server: what asks again and again uses time up, and is seen.
const LATENCY: Duration = Duration::from_millis(5);

/// The replica that is behind.
pub(crate) const BEHIND: usize = 1;

#[derive(Clone)]
pub(crate) struct Wire {
    server: ApiServer,
    user: String,
    state: Arc<Mutex<State>>,
}

/// What waits for a request.
type Ambush = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    ambush: Option<(bool, Ambush)>,
    stale: bool,
}

impl Wire {
    pub(crate) fn new(server: ApiServer, user: &str) -> Self {
        Self { server, user: user.to_owned(), state: Arc::default() }
    }

    pub(crate) fn client(&self) -> kube_client::Client {
        let wire = self.clone();
        let service = tower::service_fn(move |request| wire.clone().carry(request));
        kube_client::Client::new(service, "default")
    }

    /// At the next write, or else at the next read.
    pub(crate) fn at(&self, write: bool, ambush: impl FnOnce() + Send + 'static) {
        self.state.lock().ambush = Some((write, Box::new(ambush)));
    }

    /// Whether reads are answered by the replica that is behind.
    pub(crate) fn set_stale(&self, stale: bool) {
        self.state.lock().stale = stale;
    }

    async fn carry(self, mut request: Request<Sent>) -> Result<Response<Body>, BoxError> {
        sleep(LATENCY).await;
        let write = request.method() != Method::GET;
        let (ambush, stale) = {
            let mut state = self.state.lock();
            let ambush = state.ambush.take_if(|(waits_for, _)| *waits_for == write);
            (ambush, state.stale && !write)
        };
        if let Some((_, ambush)) = ambush {
            ambush();
        }
        if !stale {
            return self.server.service(&self.user).call(request).await.map_err(Into::into);
        }
        *request.uri_mut() = format!("{}&resourceVersion=0", request.uri()).parse()?;
        self.server.replica(BEHIND).service(&self.user).call(request).await.map_err(Into::into)
    }
}
