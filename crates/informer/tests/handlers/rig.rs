//! An informer whose server is the test: it says what there is and what happens, and sees what handlers hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::scripted::{Answer, Feed, ScriptedListWatch};
use watchkeeper_informer::{
    Cached, Event, HandlerConfig, InformerConfig, InformerHandle, NotSynced, Registration, SharedInformer,
};

pub(crate) struct Rig {
    pub(crate) handle: InformerHandle<ConfigMap>,
    pub(crate) stop: CancellationToken,
    pub(crate) run: JoinHandle<()>,
    pub(crate) server: ScriptedListWatch,
    feed: Mutex<Feed>,
    version: AtomicU64,
}

pub(crate) type Heard = Arc<Mutex<Vec<String>>>;

impl Rig {
    /// Runs; nothing is listed.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, set up by `prepare` first.
    pub(crate) fn start_with(prepare: impl FnOnce(&mut SharedInformer<ConfigMap>)) -> Self {
        let (server, (answer, feed)) = (ScriptedListWatch::new(), Answer::live());
        server.on_watch(answer);
        let mut informer = SharedInformer::new(Arc::new(server.clone()), InformerConfig::default());
        prepare(&mut informer);
        let (handle, stop) = (informer.handle(), CancellationToken::new());
        let run = tokio::spawn(informer.run(stop.clone()));
        Self { handle, stop, run, server, feed: Mutex::new(feed), version: AtomicU64::new(0) }
    }

    /// Runs and has listed these names.
    pub(crate) async fn with(names: &[&str]) -> Self {
        let rig = Self::start();
        for name in names {
            rig.send("ADDED", name);
        }
        rig.end_list();
        settle().await;
        rig
    }

    /// The first list, if that is what is being sent, is complete.
    pub(crate) fn end_list(&self) {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let end = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
        self.text(format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{version}",{end}}}}}}}"#));
    }

    /// The watch has expired: a list follows.
    pub(crate) fn expire(&self) {
        let (answer, feed) = Answer::live();
        self.server.on_watch(answer);
        self.text(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#.to_owned());
        *self.feed.lock() = feed;
    }

    /// One event of the watch; returns its version.
    pub(crate) fn send(&self, kind: &str, name: &str) -> u64 {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        self.send_at(kind, name, version);
        version
    }

    /// An object as it was at a version, in a list.
    pub(crate) fn send_at(&self, kind: &str, name: &str, version: u64) {
        let identity = format!(r#""namespace":"n","name":"{name}","uid":"{name}","resourceVersion":"{version}""#);
        self.text(format!(r#"{{"type":"{kind}","object":{{"metadata":{{{identity}}}}}}}"#));
    }

    fn text(&self, line: String) {
        assert!(self.feed.lock().text(line + "\n"), "the watch is open");
    }

    /// Registers a handler that writes down what it hears.
    pub(crate) fn listen(&self, config: HandlerConfig) -> (Registration, Heard) {
        let heard = Heard::default();
        let registration = self.handle.add_handler_with(config, {
            let heard = Arc::clone(&heard);
            move |event| heard.lock().push(text(&event))
        });
        (registration, heard)
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), self.run).await.expect("it ends").expect("it ends well");
    }
}

/// Lets every task run until nothing is left to do. Method: paused time only moves when all tasks wait.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// Synced within an hour, of virtual time.
pub(crate) async fn synced(registration: &Registration) -> Result<(), NotSynced> {
    tokio::time::timeout(Duration::from_secs(3_600), registration.synced()).await.expect("in time")
}

pub(crate) fn text(event: &Event<ConfigMap>) -> String {
    let name = event.object().name();
    match event {
        Event::Added { initial: true, .. } => format!("initial {name}"),
        Event::Added { .. } => format!("added {name}"),
        Event::Updated { .. } => format!("updated {name}"),
        Event::Deleted { .. } => format!("deleted {name}"),
        Event::Resync { .. } => format!("resync {name}"),
    }
}

/// What was heard since the last time, sorted.
pub(crate) fn take_sorted(heard: &Heard) -> Vec<String> {
    let mut all = std::mem::take(&mut *heard.lock());
    all.sort();
    all
}
