//! A reflector between a scripted source and a store, in virtual time.
//!
//! In: a script. Out: what was asked, what the store holds, what a handler would have heard, and the versions reached, in
//! short texts. It waits for nothing without a bound.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::delta_fifo::{Coalescing, FifoLimits, Ordered};
use watchkeeper_informer::list_watch::{ListAt, WatchStart};
use watchkeeper_informer::reflector::{Activity, Reflector, ReflectorHandle, ReflectorStatus};
use watchkeeper_informer::request_error::RequestError;
use watchkeeper_informer::scripted::{Answer, Asked, ScriptedListWatch};
use watchkeeper_informer::{
    Budget, Cached, DeltaFifo, DeltaOrder, Event, Finality, ObjectKey, ReflectorConfig, StoreWriter, ThreadSafeStore,
    Verdict,
};

/// The longest that anything is waited for, in virtual time.
const BOUND: Duration = Duration::from_secs(7_200);

pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) type Maps = Setup<ConfigMap>;

/// What a reflector is made of.
pub(crate) struct Setup<K> {
    pub(crate) config: ReflectorConfig,
    pub(crate) decoder: Decoder<K>,
    pub(crate) order: DeltaOrder,
    pub(crate) budget: Budget,
    pub(crate) stop: CancellationToken,
}

impl<K: Cached + DeserializeOwned> Setup<K> {
    pub(crate) fn streaming() -> Self {
        Self {
            config: ReflectorConfig::default(),
            decoder: Decoder::new(DecoderConfig::default()),
            order: DeltaOrder::default(),
            budget: Budget::default(),
            stop: CancellationToken::new(),
        }
    }

    pub(crate) fn paged() -> Self {
        let setup = Self::streaming();
        Self { config: ReflectorConfig { streaming_list: false, ..setup.config }, ..setup }
    }

    pub(crate) fn page_size(mut self, page_size: u32) -> Self {
        self.config.page_size = page_size;
        self
    }

    pub(crate) fn start(self, server: &ScriptedListWatch) -> Rig<K> {
        let writer = StoreWriter::default();
        let (store, fifo, heard) = (writer.store(), queue(self.order), Arc::new(Mutex::new(Heard::default())));
        let source = Arc::new(server.clone());
        let (reflector, handle) =
            Reflector::new(source, self.decoder, Arc::new(store.clone()), fifo.clone(), self.config);
        tokio::spawn(consume(fifo, writer, Arc::clone(&heard)));
        let run = tokio::spawn(reflector.with_budget(self.budget).run(self.stop.clone()));
        Rig { server: server.clone(), store, handle, stop: self.stop, run, heard, started: Instant::now() }
    }
}

/// An empty queue without a limit worth mentioning.
pub(crate) fn queue<K: Cached>(order: DeltaOrder) -> DeltaFifo<K> {
    match order {
        // However few wait.
        DeltaOrder::Coalescing => DeltaFifo::with_queue(Coalescing::beyond(0), FifoLimits::default()),
        DeltaOrder::Ordered => DeltaFifo::with_queue(Ordered::default(), FifoLimits::default()),
    }
}

async fn consume<K: Cached>(fifo: DeltaFifo<K>, mut writer: StoreWriter<K>, heard: Arc<Mutex<Heard>>) {
    while let Some(batch) = fifo.pop().await {
        let version = batch.version.to_string();
        let applied = writer.apply(batch.work, batch.version);
        let mut heard = heard.lock();
        heard.events.extend(applied.events.iter().map(told));
        heard.versions.push(version);
        batch.receipt.applied();
    }
}

#[derive(Default)]
struct Heard {
    events: Vec<String>,
    versions: Vec<String>,
}

/// A running reflector.
pub(crate) struct Rig<K> {
    pub(crate) server: ScriptedListWatch,
    pub(crate) store: ThreadSafeStore<K>,
    pub(crate) handle: ReflectorHandle,
    pub(crate) stop: CancellationToken,
    run: JoinHandle<()>,
    heard: Arc<Mutex<Heard>>,
    started: Instant,
}

impl<K: Cached> Rig<K> {
    /// `name=version`, sorted.
    pub(crate) fn cached(&self) -> Vec<String> {
        let mut all: Vec<_> = self.store.list().iter().map(|o| format!("{}={}", o.name(), o.version())).collect();
        all.sort();
        all
    }

    pub(crate) fn get(&self, name: &str) -> Arc<K> {
        self.store.get(&ObjectKey::new("d", name)).expect("it is cached")
    }

    /// What a handler would have heard.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().events.clone()
    }

    /// The versions that the store was told it has reached, in order.
    pub(crate) fn versions(&self) -> Vec<String> {
        self.heard.lock().versions.clone()
    }

    /// What was asked, in short.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.server.asked().iter().map(|(_, asked)| short(asked)).collect()
    }

    /// How many lists were asked for, a page each.
    pub(crate) fn lists(&self) -> usize {
        self.asked().iter().filter(|asked| asked.starts_with("list")).count()
    }

    /// From the start to each request.
    pub(crate) fn times(&self) -> Vec<Duration> {
        self.server.asked().iter().map(|(at, _)| at.duration_since(self.started)).collect()
    }

    pub(crate) fn status(&self) -> ReflectorStatus {
        self.handle.status()
    }

    /// The version reached, empty before the first list.
    pub(crate) fn version(&self) -> String {
        self.status().version.map(|version| version.to_string()).unwrap_or_default()
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(BOUND, wait).await;
        assert!(waited.is_ok(), "never {what}: {:?}, asked {:?}", self.status(), self.asked());
    }

    /// Waits until so much was asked.
    pub(crate) async fn until_asked(&self, requests: usize) {
        self.until(&format!("{requests} requests"), |rig| rig.server.asked().len() >= requests).await;
    }

    pub(crate) async fn audit(&self) -> Verdict {
        timeout(BOUND, self.handle.audit()).await.expect("in time").expect("a verdict").verdict
    }

    /// Whether the run has ended, in good order.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = (&mut self.run).now_or_never();
        ended.is_some_and(|ended| ended.is_ok()) && self.status().activity == Activity::Stopped
    }
}

fn short(asked: &Asked) -> String {
    match asked {
        Asked::List(request) => {
            let at = match &request.at {
                ListAt::Newest => "list".to_owned(),
                ListAt::NotOlderThan(version) => format!("list since {version}"),
                ListAt::Exact(version) => format!("list at {version}"),
            };
            let limit = request.limit.map(|limit| format!(" {limit}")).unwrap_or_default();
            let token = request.continue_token.as_ref().map(|token| format!(" {token}")).unwrap_or_default();
            at + &limit + &token
        }
        Asked::Watch(request) => match &request.start {
            WatchStart::InitialEvents => "stream".to_owned(),
            WatchStart::After(version) => format!("watch {version}"),
        },
    }
}

/// An event in short; `missed`: an end that nobody saw.
pub(crate) fn told<K: Cached>(event: &Event<K>) -> String {
    let what = match event {
        Event::Added { initial: true, .. } => "initial",
        Event::Added { .. } => "added",
        Event::Updated { .. } => "updated",
        Event::Deleted { finality: Finality::Observed, .. } => "deleted",
        Event::Deleted { finality: Finality::Inferred, .. } => "missed",
        Event::Resync { .. } => "resync",
    };
    format!("{what} {}={}", event.object().name(), event.object().version())
}

/// A script whose watches, once it is at its end, stay open and silent; lists hang.
pub(crate) fn script() -> ScriptedListWatch {
    let server = ScriptedListWatch::new();
    server.otherwise(|asked| match asked {
        Asked::List(_) => Answer::hang(),
        Asked::Watch(_) => Answer::live_with(""),
    });
    server
}

/// Answers the next lists with these.
pub(crate) fn on_lists(server: &ScriptedListWatch, answers: impl IntoIterator<Item = Answer>) {
    for answer in answers {
        server.on_list(answer);
    }
}

/// Answers the next watches so, so many times.
pub(crate) fn on_watches(server: &ScriptedListWatch, times: usize, answer: impl Fn() -> Answer) {
    for _ in 0..times {
        server.on_watch(answer());
    }
}

pub(crate) fn object(name: &str, version: u64) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "d", "uid": name, "resourceVersion": version.to_string()},
        "data": {"k": "v"},
    })
}

pub(crate) fn event(kind: &str, object: &Value) -> String {
    json!({"type": kind, "object": object}).to_string() + "\n"
}

pub(crate) fn added(name: &str, version: u64) -> String {
    event("ADDED", &object(name, version))
}

pub(crate) fn modified(name: &str, version: u64) -> String {
    event("MODIFIED", &object(name, version))
}

pub(crate) fn deleted(name: &str, version: u64) -> String {
    event("DELETED", &object(name, version))
}

pub(crate) fn bookmark(version: u64) -> String {
    event("BOOKMARK", &json!({"metadata": {"resourceVersion": version.to_string()}}))
}

/// The bookmark that ends the initial events, if `mark` says so.
pub(crate) fn marked(version: u64, mark: &str) -> String {
    let annotations = json!({"k8s.io/initial-events-end": mark});
    event("BOOKMARK", &json!({"metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}))
}

pub(crate) fn initial_end(version: u64) -> String {
    marked(version, "true")
}

pub(crate) fn status_event(code: u16, reason: &str) -> String {
    event("ERROR", &json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason}))
}

pub(crate) fn expired() -> String {
    status_event(410, "Expired")
}

/// One page of a list; an empty token ends it.
pub(crate) fn page(version: u64, items: &[Value], token: &str) -> Answer {
    let metadata = json!({"resourceVersion": version.to_string(), "continue": token});
    Answer::body(json!({"metadata": metadata, "items": items}).to_string())
}

pub(crate) fn list(version: u64, items: &[Value]) -> Answer {
    page(version, items, "")
}

pub(crate) fn refused_connection() -> Answer {
    Answer::error(RequestError::Unreachable("connection refused".to_owned()))
}

pub(crate) async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}
