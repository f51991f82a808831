//! What an informer shows of itself: measures, and the story of one object.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

mod explain;
mod metrics;
mod sink;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::scripted::{Answer, Asked, Feed, ScriptedListWatch};
use watchkeeper_informer::{InformerConfig, InformerHandle, ObjectKey, ReflectorConfig, SharedInformer};

/// So many deltas wait as they came; one more, and they are put together.
const UNCOALESCED: u64 = 1_024;

/// A running informer, and what its watch says next.
struct Rig {
    handle: InformerHandle<ConfigMap>,
    server: ScriptedListWatch,
    feed: Feed,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Rig {
    /// Has listed these in pages, and watches.
    async fn with(first: Answer, config: InformerConfig, prepare: impl FnOnce(&mut SharedInformer<ConfigMap>)) -> Self {
        let (server, (answer, feed)) = (ScriptedListWatch::new(), Answer::live());
        server.on_list(first).on_watch(answer);
        server.otherwise(|asked| match asked {
            Asked::List(_) => Answer::hang(),
            Asked::Watch(_) => Answer::live_with(""),
        });
        let reflector = ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() };
        let config = InformerConfig { reflector, ..config };
        let mut informer = SharedInformer::new(Arc::new(server.clone()), config);
        prepare(&mut informer);
        let (handle, stop) = (informer.handle(), CancellationToken::new());
        let run = tokio::spawn(informer.run(stop.clone()));
        handle.synced().await.expect("it runs");
        seconds(1).await;
        Self { handle, server, feed, stop, run }
    }

    /// Sends these events at once, and lets a second pass.
    async fn send(&self, events: impl IntoIterator<Item = String>) {
        assert!(self.feed.text(events.into_iter().collect::<String>()), "somebody reads");
        seconds(1).await;
    }

    /// Asks for a list, which is answered so, and waits for it.
    async fn relist(&self, answer: Answer) {
        self.server.on_list(answer);
        self.handle.relist();
        seconds(5).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.run.await.unwrap();
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("d", name)
}

fn object(name: &str, version: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"d","uid":"u-{name}","resourceVersion":"{version}"}},"data":{{"k":"secret"}}}}"#
    )
}

/// An object whose data can't be that of a ConfigMap.
fn poison(name: &str, version: u64) -> String {
    object(name, version).replace(r#"{"k":"secret"}"#, "7")
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn modified(name: &str, version: u64) -> String {
    event("MODIFIED", &object(name, version))
}

fn bookmark(version: u64) -> String {
    event("BOOKMARK", &format!(r#"{{"metadata":{{"resourceVersion":"{version}"}}}}"#))
}

fn list(version: u64, items: &[String]) -> Answer {
    Answer::body(list_text(version, items))
}

fn list_text(version: u64, items: &[String]) -> String {
    format!(r#"{{"metadata":{{"resourceVersion":"{version}"}},"items":[{}]}}"#, items.join(","))
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}
