//! A wire between a client and the embedded API server that can be cut, hung and counted, and the parts that tests of the whole
//! pipeline share. All in one process, without sockets, in paused time.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::{Api, ListParams, ObjectMeta, PostParams};
use kube_client::client::Body;
use parking_lot::Mutex;
use tower::{Service, ServiceExt as _};
use watchkeeper::leader::{ElectorConfig, Identity, VirtualClock};
use watchkeeper::{BoxError, Connection, ElectorOn, ManagerConfig, TransportBody};
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};

/// What the wire does with the next requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weather {
    Fine,
    /// As if nothing listened.
    Refused,
    /// Requests go in, nothing ever comes back.
    Hung,
}

/// A wire to one server; clones share it.
#[derive(Clone)]
pub(crate) struct Wire {
    server: ApiServer,
    identity: String,
    state: Arc<Mutex<State>>,
}

struct State {
    weather: Weather,
    /// Only requests whose path contains this are affected by the weather.
    only: String,
    counts: BTreeMap<String, usize>,
}

impl Wire {
    pub(crate) fn new(server: &ApiServer, identity: &str) -> Self {
        let state = State { weather: Weather::Fine, only: String::new(), counts: BTreeMap::new() };
        Self { server: server.clone(), identity: identity.to_owned(), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn connection(&self) -> Connection {
        let wire = self.clone();
        Connection::in_process("default", move || wire.clone())
    }

    /// From now on, for requests whose path contains `only`.
    pub(crate) fn weather(&self, weather: Weather, only: &str) {
        let mut state = self.state.lock();
        state.weather = weather;
        state.only = only.to_owned();
    }

    /// How many requests were sent since the last call, by "VERB plural".
    pub(crate) fn take_counts(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.state.lock().counts)
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<TransportBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut state = self.state.lock();
        *state.counts.entry(verb(&request)).or_default() += 1;
        let weather = if request.uri().path().contains(&state.only) { state.weather } else { Weather::Fine };
        let service = self.server.service(&self.identity);
        Box::pin(async move {
            match weather {
                Weather::Refused => Err("connection refused".into()),
                Weather::Hung => std::future::pending().await,
                Weather::Fine => {
                    let response = service.oneshot(request).await?;
                    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
                }
            }
        })
    }
}

fn verb(request: &Request<Body>) -> String {
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    let plural =
        ["leases", "configmaps", "events", "nodes"].into_iter().find(|plural| path.contains(plural)).unwrap_or("other");
    let verb = match *request.method() {
        Method::GET if query.contains("watch=") => "watch",
        Method::GET if path.ends_with(plural) => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "patch",
    };
    format!("{verb} {plural}")
}

/// When virtual time begins.
const START: &str = "2026-01-01T00:00:00Z";

/// An API server whose time is the test's.
pub(crate) fn embedded() -> ApiServer {
    ApiServer::new(Config {
        clock: Arc::new(TokioClock::starting_at(START.parse().expect("a time"))),
        ..Config::default()
    })
}

/// What a replica of this name is run with, which stands for a Lease: all in this runtime and its time.
pub(crate) fn manager_config(connection: Connection, name: &str, lease: &str) -> ManagerConfig {
    let elector = ElectorConfig {
        first_install: true,
        seed: 1,
        ..ElectorConfig::new("kube-system", lease, Identity::from_parts(name, 1, 7).expect("a good name"))
    };
    let mut config = ManagerConfig::new(connection, elector);
    config.clock = Arc::new(VirtualClock::new());
    config.elector_on = ElectorOn::ThisRuntime;
    config
}

/// A plain client of the server: the hand of the test.
pub(crate) fn hand(server: &ApiServer) -> kube_client::Client {
    kube_client::Client::new(server.service("test"), "default")
}

pub(crate) fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.into()), namespace: Some("default".into()), ..Default::default() },
        data: Some(BTreeMap::from([("value".into(), value.into())])),
        ..Default::default()
    }
}

pub(crate) async fn create(server: &ApiServer, name: &str, value: &str) -> ConfigMap {
    let api: Api<ConfigMap> = Api::namespaced(hand(server), "default");
    api.create(&PostParams::default(), &config_map(name, value)).await.expect("created")
}

/// (name, uid, version) of everything the server holds: what a cache must equal.
pub(crate) async fn fresh_list(server: &ApiServer) -> Vec<(String, String, String)> {
    let api: Api<ConfigMap> = Api::all(hand(server));
    let list = api.list(&ListParams::default()).await.expect("listed");
    sorted(list.items.iter().map(|object| &object.metadata))
}

/// (name, uid, version), in order.
pub(crate) fn sorted<'a>(metas: impl Iterator<Item = &'a ObjectMeta>) -> Vec<(String, String, String)> {
    let mut all: Vec<_> = metas
        .map(|meta| {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            (text(&meta.name), text(&meta.uid), text(&meta.resource_version))
        })
        .collect();
    all.sort();
    all
}

/// Polls `done` in virtual time, at most `bound`.
pub(crate) async fn eventually(what: &str, bound: Duration, mut done: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(bound, async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {bound:?} of virtual time: {what}");
}
