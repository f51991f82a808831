//! The reflector against a scripted source, in paused time: what it asks, when, and what comes out.
#![allow(clippy::disallowed_methods)]

mod audit;
#[path = "../lines/mod.rs"]
mod lines;
mod objects;
mod pace;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;
use watchkeeper_informer::backoff::BackoffConfig;
use watchkeeper_informer::config::ReflectorConfig;
use watchkeeper_informer::decode::{Decoder, DecoderConfig, Undecodable};
use watchkeeper_informer::delta_fifo::{Change, Coalescing, DeltaFifo, FifoLimits, Known, Relisted, Work};
use watchkeeper_informer::list_watch::{ListAt, ListRequest, WatchStart};
use watchkeeper_informer::object::Cached;
use watchkeeper_informer::reflector::{Activity, Reflector, ReflectorHandle, ReflectorStatus};
use watchkeeper_informer::request_error::{Refusal, RequestError};
use watchkeeper_informer::scripted::{Answer, Asked, Piece, ScriptedListWatch};
use watchkeeper_informer::{Budget, BudgetConfig};

use lines::Lines;

/// A naive store: key to uid and version.
#[derive(Default)]
struct Model {
    cached: Mutex<BTreeMap<String, Arc<ConfigMap>>>,
    reached: Mutex<Vec<String>>,
    unchanged: Mutex<usize>,
}

impl Model {
    fn apply(&self, work: Work<ConfigMap>) {
        let mut cached = self.cached.lock();
        let put = |cached: &mut BTreeMap<_, _>, object: Arc<ConfigMap>| drop(cached.insert(key(&object), object));
        match work {
            Work::Changes(changes) => {
                for change in changes {
                    match change {
                        Change::Applied(object, _) => put(&mut cached, object),
                        Change::Deleted { last, .. } => drop(cached.remove(&key(&last))),
                    }
                }
            }
            Work::Replace(replacement) => {
                cached.clear();
                for item in replacement.items {
                    match item {
                        Relisted::New(object, _) => put(&mut cached, object),
                        Relisted::Unchanged(object) => {
                            *self.unchanged.lock() += 1;
                            put(&mut cached, object);
                        }
                    }
                }
            }
        }
    }
}

impl Known<ConfigMap> for Model {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.cached.lock().get(&format!("{namespace}/{name}")).cloned()
    }

    fn count(&self) -> usize {
        self.cached.lock().len()
    }
}

fn key(object: &ConfigMap) -> String {
    format!("{}/{}", object.namespace(), object.name())
}

struct Rig {
    server: ScriptedListWatch,
    model: Arc<Model>,
    handle: ReflectorHandle,
    stop: CancellationToken,
    started: Instant,
    run: JoinHandle<()>,
}

impl Rig {
    fn start(server: &ScriptedListWatch, config: ReflectorConfig) -> Self {
        let fifo = DeltaFifo::new();
        let rig = Self::without_consumer(server, config, fifo.clone());
        rig.consume(fifo);
        rig
    }

    fn without_consumer(server: &ScriptedListWatch, config: ReflectorConfig, fifo: DeltaFifo<ConfigMap>) -> Self {
        Self::budgeted(server, config, fifo, Budget::default())
    }

    fn budgeted(
        server: &ScriptedListWatch,
        config: ReflectorConfig,
        fifo: DeltaFifo<ConfigMap>,
        budget: Budget,
    ) -> Self {
        let (model, stop) = (Arc::new(Model::default()), CancellationToken::new());
        let (reflector, handle) = Reflector::new(
            Arc::new(server.clone()),
            Decoder::new(DecoderConfig::default()),
            model.clone(),
            fifo,
            config,
        );
        let run = tokio::spawn(reflector.with_budget(budget).run(stop.clone()));
        Self { server: server.clone(), model, handle, stop, started: Instant::now(), run }
    }

    fn consume(&self, fifo: DeltaFifo<ConfigMap>) {
        let consumer = self.model.clone();
        tokio::spawn(async move {
            while let Some(batch) = fifo.pop().await {
                consumer.apply(batch.work);
                consumer.reached.lock().push(batch.version.to_string());
                batch.receipt.applied();
            }
        });
    }

    /// Watches beyond the script stay open and silent.
    fn quiet(server: &ScriptedListWatch) {
        server.otherwise(|asked| match asked {
            Asked::List(_) => Answer::hang(),
            Asked::Watch(_) => Answer::live_with(""),
        });
    }

    fn streaming(server: &ScriptedListWatch) -> Self {
        Self::quiet(server);
        Self::start(server, ReflectorConfig::default())
    }

    fn paged(server: &ScriptedListWatch) -> Self {
        Self::quiet(server);
        Self::start(server, ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() })
    }

    /// `name=version`, sorted.
    fn cached(&self) -> Vec<String> {
        self.model.cached.lock().iter().map(|(key, cached)| format!("{key}={}", cached.version())).collect()
    }

    /// What was asked, in short.
    fn asked(&self) -> Vec<String> {
        self.server.asked().iter().map(|(_, asked)| short(asked)).collect()
    }

    fn status(&self) -> ReflectorStatus {
        self.handle.status()
    }

    fn version(&self) -> String {
        self.status().version.map(|version| version.to_string()).unwrap_or_default()
    }

    /// Waits until so much has been asked.
    async fn until_asked(&self, count: usize) {
        while self.asked().len() < count {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Seconds from the start to each request.
    fn times(&self) -> Vec<f64> {
        self.server.asked().iter().map(|(at, _)| at.duration_since(self.started).as_secs_f64()).collect()
    }
}

fn short(asked: &Asked) -> String {
    match asked {
        Asked::List(ListRequest { at: ListAt::Exact(version), .. }) => format!("exact {version}"),
        Asked::List(ListRequest { limit, continue_token, .. }) => match (limit, continue_token) {
            (Some(1), None) => "newest".to_owned(),
            (None, _) => "list".to_owned(),
            (Some(limit), None) => format!("list {limit}"),
            (Some(limit), Some(token)) => format!("list {limit} {token}"),
        },
        Asked::Watch(request) => match &request.start {
            WatchStart::InitialEvents => "stream".to_owned(),
            WatchStart::After(version) => format!("watch {version}"),
        },
    }
}

fn object(name: &str, version: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"d","uid":"{name}","resourceVersion":"{version}"}},"data":{{"k":"v"}}}}"#
    )
}

/// An object whose data can't be that of a ConfigMap.
fn poison(name: &str, version: u64) -> String {
    object(name, version).replace(r#"{"k":"v"}"#, "7")
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn bookmark(version: u64, ends: bool) -> String {
    let mark = if ends { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    event("BOOKMARK", &format!(r#"{{"metadata":{{"resourceVersion":"{version}"{mark}}}}}"#))
}

fn list(version: u64, items: &[String], token: &str) -> Answer {
    Answer::body(format!(
        r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{}]}}"#,
        items.join(",")
    ))
}

fn expired_event() -> String {
    event("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version: 1 (9)"}"#)
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}
