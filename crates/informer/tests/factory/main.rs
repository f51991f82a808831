//! The factory: who shares what, who starts and stops, who waits for whom. Against scripts and the embedded server.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube_client::Client;
use kube_client::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::{ApiServer, Config};
use watchkeeper_informer::decode::Decoder;
use watchkeeper_informer::factory::{Definition, Definitions, RunsOnce, Waiting};
use watchkeeper_informer::scripted::{Answer, Feed, ScriptedListWatch};
use watchkeeper_informer::shape::{Lazy, Projected};
use watchkeeper_informer::{
    Cached, Deadlines, InformerConfig, InformerFactory, KubeListWatch, ResourceKind, Scope, SharedHandle,
    SharedInformer,
};

struct Rig {
    server: ApiServer,
    factory: InformerFactory,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Rig {
    fn start() -> Self {
        let (factory, stop) = (InformerFactory::default(), CancellationToken::new());
        let run = tokio::spawn({
            let (factory, stop) = (factory.clone(), stop.clone());
            async move { factory.run(stop).await.unwrap() }
        });
        Self { server: ApiServer::new(Config::default()), factory, stop, run }
    }

    fn client(&self) -> Client {
        Client::new(self.server.service("informer"), "default")
    }

    fn make<K: Cached>(&self, scope: &Scope, decoder: Decoder<K>) -> Result<SharedInformer<K>, Infallible> {
        let list_watch = KubeListWatch::new(self.client(), scope.clone(), Deadlines::default());
        Ok(SharedInformer::with_decoder(Arc::new(list_watch), decoder, InformerConfig::default()))
    }

    /// The informer of definitions, and what tells it of them; there are none yet.
    fn definitions(&self) -> (SharedHandle<Projected<Definition>>, Feed) {
        let (script, (answer, feed)) = (ScriptedListWatch::new(), Answer::live());
        script.on_watch(answer);
        feed.text(END);
        let make = || {
            let decoder = Decoder::<Projected<Definition>>::projected();
            Ok::<_, Infallible>(SharedInformer::with_decoder(Arc::new(script), decoder, InformerConfig::default()))
        };
        (self.factory.informer(&Definition::scope(), make).unwrap(), feed)
    }

    fn config_maps(&self) -> SharedHandle<ConfigMap> {
        let scope = Scope::all::<ConfigMap>();
        self.factory.informer(&scope, || self.make(&scope, Decoder::new(Default::default()))).unwrap()
    }

    async fn create(&self, name: &str) {
        let mut map =
            ConfigMap { data: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())])), ..Default::default() };
        map.metadata.name = Some(name.to_owned());
        Api::namespaced(self.client(), "default").create(&PostParams::default(), &map).await.unwrap();
    }

    async fn stop(self) {
        self.stop.cancel();
        self.run.await.unwrap();
    }
}

const SOON: Duration = Duration::from_secs(5);

/// Goal: one informer a kind, scope and shape; the last handle stops it, and it is gone; who asks again gets a new one. Method: handles of
/// the same and of other shapes and scopes, dropped one after the other.
#[tokio::test(start_paused = true)]
async fn the_last_handle_stops_the_watch() {
    let rig = Rig::start();
    rig.create("one").await;
    let (first, second) = (rig.config_maps(), rig.config_maps());
    let scope = Scope::all::<ConfigMap>();
    let lazy = rig.factory.informer(&scope, || rig.make(&scope, Decoder::<Lazy<ConfigMap>>::lazy())).unwrap();
    let namespaced = Scope::namespaced::<ConfigMap>("default");
    let narrow = rig
        .factory
        .informer(&namespaced, || rig.make(&namespaced, Decoder::<ConfigMap>::new(Default::default())))
        .unwrap();
    rig.factory.synced(SOON).await.unwrap();
    assert_eq!(rig.factory.statuses().len(), 3);
    assert_eq!((first.lister().len(), lazy.lister().len(), narrow.lister().len()), (1, 1, 1));

    let watched = first.clone();
    drop(second);
    drop(first);
    sleep(SOON).await;
    assert!(!watched.has_ended());
    let unshared = (*watched).clone();
    drop(watched);
    sleep(SOON).await;
    assert!(unshared.has_ended(), "it keeps the cache, not the informer");
    assert_eq!(rig.factory.statuses().len(), 2);
    assert!(!lazy.has_ended() && !narrow.has_ended());

    let again = rig.config_maps();
    rig.factory.synced(SOON).await.unwrap();
    rig.create("two").await;
    sleep(SOON).await;
    assert_eq!((again.lister().len(), unshared.lister().len()), (2, 1));
    rig.stop().await;
    assert!(again.has_ended() && lazy.has_ended());
}

/// Goal: many ask at the same time and get one; what comes before `run` starts with it; after the end everything has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_ask_at_once() {
    let (factory, stop, made) = (InformerFactory::default(), CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let ask = {
        let (factory, made) = (factory.clone(), Arc::clone(&made));
        move || {
            let script = ScriptedListWatch::new();
            script.on_watch(Answer::live_with(END));
            made.fetch_add(1, Ordering::Relaxed);
            let make =
                || Ok::<_, Infallible>(SharedInformer::<ConfigMap>::new(Arc::new(script), InformerConfig::default()));
            factory.informer(&Scope::all::<ConfigMap>(), make).unwrap()
        }
    };
    let asking: Vec<_> = (0..32).map(|_| tokio::task::spawn_blocking(ask.clone())).collect();
    let mut handles = Vec::new();
    for asked in asking {
        handles.push(asked.await.unwrap());
    }
    assert_eq!(factory.statuses().len(), 1);
    assert!(made.load(Ordering::Relaxed) >= 1);
    let run = tokio::spawn({
        let (factory, stop) = (factory.clone(), stop.clone());
        async move { factory.run(stop).await.unwrap() }
    });
    factory.synced(SOON).await.unwrap();
    assert!(handles.iter().all(|handle| handle.has_synced()));
    stop.cancel();
    run.await.unwrap();
    assert!(handles.iter().all(|handle| handle.has_ended()));
    let late = ask();
    assert!(late.has_ended() && factory.statuses().iter().all(|(_, status)| status.ended));
    assert_eq!(factory.run(CancellationToken::new()).await, Err(RunsOnce));
}

/// Goal: a second run while one is under way is refused at once, and neither it nor its end touches what runs.
#[tokio::test(start_paused = true)]
async fn it_runs_once() {
    let rig = Rig::start();
    let first = rig.config_maps();
    rig.factory.synced(SOON).await.unwrap();
    let stop = CancellationToken::new();
    assert_eq!(timeout(SOON, rig.factory.run(stop.clone())).await.unwrap(), Err(RunsOnce));
    stop.cancel();
    rig.create("one").await;
    let scope = Scope::namespaced::<ConfigMap>("default");
    let second =
        rig.factory.informer(&scope, || rig.make(&scope, Decoder::<ConfigMap>::new(Default::default()))).unwrap();
    rig.factory.synced(SOON).await.unwrap();
    assert_eq!((first.lister().len(), second.lister().len()), (1, 1));
    rig.stop().await;
}

/// An empty streaming list.
const END: &str = concat!(
    r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5","#,
    r#""annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
    "\n"
);

/// Goal: an informer whose handles are all dropped before the factory runs has ended.
#[test]
fn what_nobody_wants_never_starts() {
    let factory = InformerFactory::default();
    let make = || {
        Ok::<_, Infallible>(SharedInformer::<ConfigMap>::new(
            Arc::new(ScriptedListWatch::new()),
            InformerConfig::default(),
        ))
    };
    let handle = factory.informer(&Scope::all::<ConfigMap>(), make).unwrap();
    let plain = (*handle).clone();
    drop(handle);
    assert!(plain.has_ended() && factory.statuses().is_empty());
}

/// Goal: a deadline names who isn't synced, and why: a list that is refused, a handler that is stuck, a kind that isn't there.
#[tokio::test(start_paused = true)]
async fn a_deadline_names_who_is_not_synced() {
    let rig = Rig::start();
    rig.create("one").await;
    let maps = rig.config_maps();
    let refused = ScriptedListWatch::new();
    refused.otherwise(|_| Answer::refused(403, "Forbidden"));
    let secrets = Scope::all::<Secret>();
    let make = || Ok::<_, Infallible>(SharedInformer::<Secret>::new(Arc::new(refused), InformerConfig::default()));
    let _secrets = rig.factory.informer(&secrets, make).unwrap();
    let (_kind, present) = watch::channel(false);
    let absent = Scope::of_kind(kind());
    let make = || rig.make(&absent, Decoder::<Lazy<()>>::lazy());
    let _absent = rig.factory.informer_while(&absent, present, make).unwrap();
    let error = rig.factory.synced(SOON).await.unwrap_err();
    let scopes: Vec<_> = error.waiting.iter().map(|(scope, _)| scope.kind.kind.as_str()).collect();
    assert_eq!(scopes, ["Secret", "Watch"]);
    assert!(matches!(error.waiting[1].1, Waiting::ForKind));
    let text = error.to_string();
    assert!(text.contains("403") || text.contains("forbidden") || text.contains("Forbidden"), "{text}");
    assert!(text.contains("isn't defined yet"), "{text}");
    assert!(maps.has_synced());
    rig.stop().await;
}

fn kind() -> ResourceKind {
    ResourceKind {
        group: "ships.example.com".to_owned(),
        version: "v1".to_owned(),
        kind: "Watch".to_owned(),
        plural: "watches".to_owned(),
        namespaced: true,
    }
}

fn definition(event: &str, version: u64, served: bool, established: &str) -> String {
    let status = format!(r#"{{"conditions":[{{"type":"Established","status":"{established}"}}]}}"#);
    let versions = format!(r#"[{{"name":"v1beta1","served":true}},{{"name":"v1","served":{served}}}]"#);
    format!(
        r#"{{"type":"{event}","object":{{"metadata":{{"name":"watches.ships.example.com","uid":"u","resourceVersion":"{version}"}},"spec":{{"group":"ships.example.com","names":{{"plural":"watches","kind":"Watch"}},"versions":{versions}}},"status":{status}}}}}"#
    ) + "\n"
}

/// Goal: an informer of a custom resource asks for nothing before its kind is defined, established and served, and ends when it is
/// gone; asked for again, it waits anew. Method: the definition goes through its life in a script.
#[tokio::test(start_paused = true)]
async fn kinds_come_and_go() {
    let rig = Rig::start();
    let (known, feed) = rig.definitions();
    let definitions = Definitions::new((*known).clone());
    let ask = |asked: &ScriptedListWatch| {
        let (scope, asked) = (Scope::of_kind(kind()), asked.clone());
        let make = || {
            let decoder = Decoder::<Lazy<()>>::lazy();
            Ok::<_, Infallible>(SharedInformer::with_decoder(Arc::new(asked), decoder, InformerConfig::default()))
        };
        rig.factory.informer_while(&scope, definitions.presence(&scope.kind), make).unwrap()
    };
    let asked = ScriptedListWatch::new();
    asked.on_watch(Answer::live_with(END));
    let watches = ask(&asked);
    for (event, version, served, established) in
        [("ADDED", 6, true, "False"), ("MODIFIED", 7, false, "True"), ("MODIFIED", 8, false, "False")]
    {
        feed.text(definition(event, version, served, established));
        sleep(SOON).await;
        assert!(asked.asked().is_empty() && !watches.has_ended(), "{version}");
    }
    feed.text(definition("MODIFIED", 9, true, "True"));
    sleep(SOON).await;
    assert!(watches.has_synced());
    feed.text(definition("DELETED", 10, true, "True"));
    sleep(SOON).await;
    assert!(watches.has_ended());

    let asked = ScriptedListWatch::new();
    asked.on_watch(Answer::live_with(END));
    let again = ask(&asked);
    sleep(SOON).await;
    assert!(asked.asked().is_empty());
    feed.text(definition("ADDED", 11, true, "True"));
    sleep(SOON).await;
    assert!(again.has_synced() && watches.has_ended());
    // Those that have ended have nothing to catch up with, and don't stand in the way of the others.
    drop((again.clone(), known.clone()));
    let error = rig.factory.catch_up().await.unwrap_err();
    assert!(!error.to_string().contains("has ended"), "{error}");
    rig.stop().await;
    assert!(again.has_ended());
}

/// Goal: who waits for a sync isn't told of one that never came, when the factory is stopped instead. Method: a server that never answers,
/// and a factory that nobody runs.
#[tokio::test(start_paused = true)]
async fn a_stop_is_no_sync() {
    let (factory, stop) = (InformerFactory::default(), CancellationToken::new());
    let hanging = ScriptedListWatch::new();
    hanging.on_watch(Answer::hang());
    let make = || Ok::<_, Infallible>(SharedInformer::<Secret>::new(Arc::new(hanging), InformerConfig::default()));
    let _secrets = factory.informer(&Scope::all::<Secret>(), make).unwrap();
    let not_yet = factory.synced(SOON).await.unwrap_err().to_string();
    assert!(not_yet.contains("1 informer is not synced") && not_yet.contains("not running"), "{not_yet}");
    let (run, waiting) = (factory.run(stop.clone()), factory.synced(Duration::from_secs(3_600)));
    let (run, waited, ()) = tokio::join!(run, waiting, async {
        sleep(SOON).await;
        stop.cancel();
    });
    run.unwrap();
    assert!(waited.unwrap_err().to_string().contains("stopped"));
}

/// Goal: catching up succeeds though a kind goes meanwhile. Method: the server of that kind never answers.
#[tokio::test(start_paused = true)]
async fn a_kind_may_go_while_others_catch_up() {
    let rig = Rig::start();
    let maps = rig.config_maps();
    let (kind_is_there, present) = watch::channel(true);
    let hanging = ScriptedListWatch::new();
    hanging.on_watch(Answer::hang());
    let make = || Ok::<_, Infallible>(SharedInformer::<Secret>::new(Arc::new(hanging), InformerConfig::default()));
    let secrets = rig.factory.informer_while(&Scope::all::<Secret>(), present, make).unwrap();
    let (factory, gone) = (rig.factory.clone(), sleep(SOON));
    let (caught_up, ()) = tokio::join!(factory.catch_up(), async {
        gone.await;
        kind_is_there.send_replace(false);
    });
    assert_eq!(caught_up.map_err(|error| error.to_string()), Ok(()));
    assert!(secrets.has_ended() && maps.has_synced());
    rig.stop().await;
}

/// Goal: presence is told of as long as the informer of definitions runs, though nobody keeps the definitions; who waits for a kind learns
/// of its end, and whoever asks later of an end that was before.
#[tokio::test(start_paused = true)]
async fn presence_lasts_as_long_as_its_informer() {
    let rig = Rig::start();
    let (known, feed) = rig.definitions();
    let mut present = Definitions::new((*known).clone()).presence(&kind());
    for (event, version, is_there) in [("ADDED", 6, true), ("DELETED", 7, false)] {
        feed.text(definition(event, version, true, "True"));
        timeout(SOON, present.wait_for(|present| *present == is_there)).await.unwrap().unwrap();
    }
    let ended = (*known).clone();
    let mut more = Definitions::new(ended.clone()).presence(&kind());
    drop(known);
    assert!(timeout(SOON, present.wait_for(|present| *present)).await.unwrap().is_err());
    assert!(timeout(SOON, more.wait_for(|present| *present)).await.unwrap().is_err());
    assert!(ended.has_ended());
    let mut late = Definitions::new(ended).presence(&kind());
    assert!(late.wait_for(|present| *present).now_or_never().unwrap().is_err());
    rig.stop().await;
}
