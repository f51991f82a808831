//! The object that every leader works on: behind the real fence, over a network that delivers writes also after their senders are gone.
//!
//! In: terms that are open, and (to show that the judge sees it) workers without a fence or a server that compares no versions. Out:
//! breaches of I12: an older term's write after a newer one's, or an update that is lost. Never: heeds the time a write was given; what
//! comes late is stopped by its version or not at all.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use kube_client::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::{BoxError, Layer, Service, ServiceExt};

use super::process::Habits;
use crate::fence::{FenceConfig, FenceLayer};
use crate::gate::Term;
use crate::record::{EPOCH_PREFIX, Epoch};

const PATH: &str = "/api/v1/namespaces/default/configmaps/work";

/// How long a read may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// The object, linearizable.
#[derive(Clone)]
pub(crate) struct Object(Arc<Mutex<State>>);

struct State {
    habits: Habits,
    value: Value,
    version: u64,
    writes: u64,
    violations: Vec<String>,
}

impl Object {
    pub(crate) fn new(habits: Habits) -> Self {
        let value = json!({"metadata": {"name": "work", "resourceVersion": "1"}, "data": {"count": 0}});
        Self(Arc::new(Mutex::new(State { habits, value, version: 1, writes: 0, violations: Vec::new() })))
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.0.lock().violations.clone()
    }

    /// How many writes were committed.
    pub(crate) fn writes(&self) -> u64 {
        self.0.lock().writes
    }

    /// Counts the object up, again and again, until the future is dropped or the gate is closed.
    pub(crate) async fn work(self, term: Term, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let wire = self.wire(random.u64(..));
        let fence = FenceLayer::new(term.clone(), FenceConfig::default()).layer(wire.clone());
        let unfenced = self.0.lock().habits.unfenced;
        while term.closed().is_none() {
            tokio::time::sleep(up_to(&mut random, 1.0)).await;
            let read = tokio::time::timeout(PATIENCE, wire.clone().oneshot(request(Method::GET, None)));
            let Ok(Ok(read)) = read.await else { continue };
            let Ok(body) = read.into_body().collect_bytes().await else { continue };
            let mut object: Value = serde_json::from_slice(&body).expect("the object");
            object["data"]["count"] = json!(object["data"]["count"].as_u64().unwrap_or(0) + 1);
            // Work takes time, in which what was read gets old.
            tokio::time::sleep(up_to(&mut random, 1.0)).await;
            // Refused, overtaken or unknown: read again.
            if unfenced {
                object["metadata"]["annotations"][term.epoch_annotation()] = json!(term.epoch().to_string());
                _ = wire.clone().oneshot(request(Method::PUT, Some(&object))).await;
            } else {
                _ = fence.clone().oneshot(request(Method::PUT, Some(&object))).await;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Carries on with a request also after its sender has given it up.
    fn wire(
        &self,
        seed: u64,
    ) -> impl Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send> + Clone + use<> {
        let (object, random) = (self.clone(), Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))));
        tower::service_fn(move |request: Request<Body>| {
            let (there, back) = {
                let mut random = random.lock();
                (way(&mut random), way(&mut random))
            };
            let object = object.clone();
            let (tell, answer) = oneshot::channel();
            tokio::spawn(async move {
                let body = request.into_body().collect_bytes().await.expect("it is in memory");
                tokio::time::sleep(there).await;
                let answer = object.apply(&body);
                tokio::time::sleep(back).await;
                _ = tell.send(answer);
            });
            async move { answer.await.map_err(BoxError::from) }
        })
    }

    /// A read (no body) or a write reaches the server.
    fn apply(&self, body: &[u8]) -> Response<Body> {
        let mut state = self.0.lock();
        let status =
            if body.is_empty() { StatusCode::OK } else { state.put(serde_json::from_slice(body).expect("JSON")) };
        let mut response = Response::new(Body::from(state.value.to_string().into_bytes()));
        *response.status_mut() = status;
        response
    }
}

impl State {
    fn put(&mut self, mut value: Value) -> StatusCode {
        let stale = value["metadata"]["resourceVersion"] != self.value["metadata"]["resourceVersion"];
        if stale && !self.habits.unversioned {
            return StatusCode::CONFLICT;
        }
        let (before, after) = (epoch(&self.value), epoch(&value));
        if after < before {
            self.violations.push(format!("I12: {after:?} has written after {before:?}"));
        }
        let count = |object: &Value| object["data"]["count"].as_u64().unwrap_or(0);
        if count(&value) != count(&self.value) + 1 {
            self.violations.push(format!("I12: an update of {before:?} was lost to {after:?}"));
        }
        self.version += 1;
        self.writes += 1;
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.value = value;
        StatusCode::OK
    }
}

fn epoch(object: &Value) -> Option<Epoch> {
    let mut annotations = object["metadata"]["annotations"].as_object()?.iter();
    annotations.find(|(name, _)| name.starts_with(EPOCH_PREFIX))?.1.as_str().and_then(Epoch::parse)
}

fn request(method: Method, object: Option<&Value>) -> Request<Body> {
    let body = object.map_or(Vec::new(), |object| object.to_string().into_bytes());
    Request::builder().method(method).uri(PATH).body(Body::from(body)).expect("a proper request")
}

/// Milliseconds mostly, seconds now and then; rarely so long that the whole term is over.
fn way(random: &mut fastrand::Rng) -> Duration {
    let most = match random.u8(..16) {
        0 => 40.0,
        1 | 2 => 3.0,
        _ => 0.02,
    };
    up_to(random, most)
}

fn up_to(random: &mut fastrand::Rng, seconds: f64) -> Duration {
    Duration::from_secs_f64(0.001 + random.f64() * seconds)
}
