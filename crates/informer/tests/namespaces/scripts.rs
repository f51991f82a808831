//! An informer over namespaces whose sources follow scripts, and one who writes down what a handler is told.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::scripted::{Answer, Asked, Feed, ScriptedListWatch};
use watchkeeper_informer::{Cached, Event, Finality, Index, InformerConfig, InformerHandle, ListWatch, SharedInformer};

pub(crate) async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

pub(crate) fn object(namespace: &str, name: &str, version: u32) -> String {
    let metadata = format!(
        r#"{{"namespace":"{namespace}","name":"{name}","uid":"{namespace}-{name}","resourceVersion":"{version}"}}"#
    );
    format!(r#"{{"metadata":{metadata}}}"#)
}

pub(crate) fn event(kind: &str, namespace: &str, name: &str, version: u32) -> String {
    format!(r#"{{"type":"{kind}","object":{}}}"#, object(namespace, name, version))
}

/// The mark at the end of a streaming list of this version.
pub(crate) fn end_of_list(version: u32) -> String {
    let annotation = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
    format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{version}",{annotation}}}}}}}"#)
}

/// The source of a namespace, whose first answer is fed by the test.
pub(crate) struct Source {
    pub(crate) namespace: &'static str,
    pub(crate) script: ScriptedListWatch,
    pub(crate) feed: Feed,
}

impl Source {
    /// Its first list hangs until it is fed.
    pub(crate) fn silent(namespace: &'static str) -> Self {
        let (script, (answer, feed)) = (ScriptedListWatch::new(), Answer::live());
        script.on_watch(answer);
        Self { namespace, script, feed }
    }

    /// It has these objects.
    pub(crate) fn of(namespace: &'static str, names: &[&str]) -> Self {
        let source = Self::silent(namespace);
        source.list(names);
        source
    }

    pub(crate) fn list(&self, names: &[&str]) {
        let list: String = names.iter().map(|name| event("ADDED", self.namespace, name, 4)).collect();
        assert!(self.feed.text(list + &end_of_list(5)));
    }

    pub(crate) fn tell(&self, kind: &str, name: &str, version: u32) {
        assert!(self.feed.text(event(kind, self.namespace, name, version)));
    }

    pub(crate) fn list_watch(&self) -> Arc<dyn ListWatch> {
        Arc::new(self.script.clone())
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.asked().into_iter().map(|(_, asked)| asked).collect()
    }
}

type Diary = Arc<Mutex<Vec<String>>>;

pub(crate) struct Rig {
    pub(crate) handle: InformerHandle<ConfigMap>,
    pub(crate) by_name: Index<ConfigMap, String>,
    pub(crate) stop: CancellationToken,
    told: Diary,
    informer: Option<SharedInformer<ConfigMap>>,
    running: Option<JoinHandle<()>>,
}

impl Rig {
    pub(crate) fn new(sources: &[&Source]) -> Self {
        Self::with(sources, InformerConfig::default())
    }

    pub(crate) fn with(sources: &[&Source], config: InformerConfig) -> Self {
        let sources = sources.iter().map(|source| (source.namespace.to_owned(), source.list_watch()));
        let decoder = Decoder::new(DecoderConfig::default());
        let mut informer = SharedInformer::in_namespaces(sources, &decoder, &config).unwrap();
        let by_name = informer.add_index("name", |map: &ConfigMap| [map.name().to_owned()]);
        let (handle, told) = (informer.handle(), Diary::default());
        let (writing, seeing) = (told.clone(), handle.clone());
        handle.add_handler(move |event| {
            let object = event.object();
            let key = format!("{}/{}", object.namespace(), object.name());
            let is_there = seeing.lister().get_named(object.namespace(), object.name()).is_some();
            // I4: the store shows it before any handler hears of it. These handlers are quick.
            assert_eq!(is_there, !matches!(event, Event::Deleted { .. }), "{event:?}");
            writing.lock().push(match event {
                Event::Added { .. } => format!("+{key}"),
                Event::Updated { .. } => format!("={key}"),
                Event::Deleted { finality: Finality::Observed, .. } => format!("-{key}"),
                Event::Deleted { finality: Finality::Inferred, .. } => format!("?{key}"),
                Event::Resync { .. } => unreachable!("nobody asked for it"),
            });
        });
        Self { handle, by_name, stop: CancellationToken::new(), told, informer: Some(informer), running: None }
    }

    /// Takes the informer, which hasn't run.
    pub(crate) fn informer(&mut self) -> SharedInformer<ConfigMap> {
        self.informer.take().unwrap()
    }

    pub(crate) async fn run(mut self) -> Self {
        self.running = Some(tokio::spawn(self.informer().run(self.stop.clone())));
        seconds(1).await;
        self
    }

    /// What the handler was told since this was last asked.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock())
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.handle.keys().iter().map(ToString::to_string).collect();
        keys.sort();
        keys
    }

    pub(crate) fn add(&self, source: &Source) {
        self.handle.add_namespace_from(source.namespace, source.list_watch()).unwrap();
    }

    /// I10: when it has returned there is no task.
    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        self.running.take().unwrap().await.unwrap();
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    }
}
