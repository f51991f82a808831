//! Every measure, with its true value.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::explain::{News, What};
use watchkeeper_informer::scripted::{Answer, Piece, ScriptedListWatch};
use watchkeeper_informer::{
    Cached, ExplainConfig, Finality, HandlerConfig, InformerConfig, ListWatch, ObjectKey, ReflectorConfig,
    SharedInformer,
};

use super::sink::{Broken, Told, metered};
use super::{Rig, UNCOALESCED, bookmark, event, list, list_text, modified, object, poison, seconds};

/// A list of a and b, and p that can't be decoded, whose body takes two seconds.
fn first_list() -> Answer {
    let body = list_text(5, &[object("a", 3), object("b", 4), poison("p", 5)]);
    let (head, tail) = body.split_at(30);
    let piece = |text: &str| Piece::Bytes(Bytes::from(text.to_owned()));
    Answer::pieces([piece(head), Piece::Silence(Duration::from_secs(2)), piece(tail)])
}

/// Goal: in a scenario that has something of everything, each method is called, with the true value.
#[tokio::test(start_paused = true)]
async fn every_measure_is_true() {
    let told = Arc::new(Told::default());
    let rig = Rig::with(first_list(), told.config(), |informer| {
        informer.add_index("fussy", |map: &ConfigMap| {
            assert_ne!(map.name(), "c", "c has no index value");
            [map.name().to_owned()]
        });
    })
    .await;
    // Nobody pulls it, so it lags; it was told of a and b a second ago.
    let slow = rig.handle.events_with(HandlerConfig { name: "slow".to_owned(), ..HandlerConfig::default() });
    seconds(1).await;
    assert_eq!(told.names().iter().find(|name| name.starts_with("labels")).unwrap(), "labels test,,v1,configmaps");
    assert_eq!((told.last("cached_objects"), told.last("quarantined")), (Some(2.0), Some(1.0)));
    assert_eq!((told.last("store_resource_version"), told.last("last_resource_version")), (Some(5.0), Some(5.0)));
    assert_eq!((told.all("list_duration"), told.all("items_per_list")), (vec![2.0], vec![2.0]));

    // An event that is news, one that makes an index function panic, one that is a replay.
    rig.send([modified("a", 7), event("ADDED", &object("c", 8))]).await;
    assert_eq!((told.sum("index_panics"), told.sum("stale_drops")), (1.0, 0.0));
    let status = rig.handle.sync_status();
    let line = status.to_string();
    assert!(line.contains("index fussy: 2 values, its function panicked 1 times, the last at d/c"), "{line}");
    assert_eq!((&status.indexes[0].last_panic, status.indexes[1].panics), (&None, 1));
    rig.send([modified("a", 6)]).await;
    assert_eq!(told.sum("stale_drops"), 1.0);

    // So many changes of one object at once that they are put together.
    let many = UNCOALESCED + 76;
    rig.send((0..many).map(|number| modified("a", 1_000 + number))).await;
    assert_eq!(told.sum("coalesced"), (many - 1) as f64);
    let waited = object("a", 1_000).len() as f64;
    assert!(told.all("queued_items").ends_with(&[1.0, 0.0]) && told.all("queued_bytes").ends_with(&[waited, 0.0]));
    let newest = (1_000 + many - 1) as f64;
    assert_eq!((told.last("store_resource_version"), told.last("last_resource_version")), (Some(newest), Some(newest)));

    // A list that shows two of three, unchanged, and not what couldn't be decoded. The watch after it ends at once.
    rig.server.on_watch(Answer::body(""));
    let (answer, feed) = Answer::live();
    rig.server.on_watch(answer);
    rig.relist(list(3_000, &[object("a", 1_000 + many - 1), object("b", 4)])).await;
    assert_eq!((told.sum("lists"), told.sum("unchanged")), (2.0, 2.0));
    assert_eq!((told.last("cached_objects"), told.last("quarantined")), (Some(2.0), Some(0.0)));
    assert_eq!(told.last("cached_bytes"), Some(rig.handle.lister().store().bytes() as f64));
    // The first watch began at 2 s, with the end of the list, and was left at 7 s.
    assert_eq!(
        (told.all("watch_duration"), told.all("items_per_watch")),
        (vec![5.0, 0.0], vec![3.0 + many as f64, 0.0])
    );
    assert_eq!((told.sum("watches"), told.sum("short_watches")), (3.0, 1.0));

    assert!(feed.text(bookmark(3_001)));
    seconds(10).await;
    assert_eq!(told.last("last_event_age"), None, "only when asked");
    rig.handle.observe();
    assert_eq!((told.last("last_event_age"), told.last("queue_lag")), (Some(10.0), Some(0.0)));
    // a was updated and b not, c has come and gone.
    assert_eq!((told.last("handler_pending slow"), told.last("handler_lag slow")), (Some(2.0), Some(19.0)));
    assert_eq!(told.last("last_resource_version"), Some(3_001.0));
    assert!(!told.all("processing_latency").is_empty());
    let names = told.names();
    assert_eq!(names.len(), 24, "every method was called: {names:?}");
    drop(slow);
    rig.stop().await;
}

/// Goal: what the store has yet to take shows as a lag, in the batch that is being applied, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_store_shows() {
    let told = Arc::new(Told::default());
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let rig = Rig::with(list(5, &[]), told.config(), |informer| {
        informer.add_index("stuck", move |_: &ConfigMap| may_go_on.lock().recv().ok());
    })
    .await;
    assert!(rig.feed.text(modified("a", 7)));
    let lag = async {
        // The queue has it a moment before the reflector says how far it is.
        let is_pushed = || told.last("last_resource_version") == Some(7.0);
        while told.last("queue_lag").is_none_or(|lag| lag == 0.0) || !is_pushed() {
            rig.handle.observe();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), lag).await.expect("it shows");
    assert_eq!((told.last("last_resource_version"), told.last("store_resource_version")), (Some(7.0), Some(5.0)));
    drop(go_on);
    rig.handle.wait_for(&"7".into()).await.expect("it runs");
    rig.stop().await;
}

/// Goal: a sink that panics at everything changes nothing of what is cached and told.
#[tokio::test(start_paused = true)]
async fn a_broken_sink_harms_nobody() {
    let rig = Rig::with(first_list(), metered(Arc::new(Broken)), |_| {}).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    rig.handle.add_handler({
        let heard = Arc::clone(&heard);
        move |event| heard.lock().push(event.object().version().to_owned())
    });
    rig.send([modified("a", 7)]).await;
    rig.handle.observe();
    rig.relist(list(9, &[object("a", 8)])).await;
    heard.lock().sort();
    assert_eq!(
        (rig.handle.lister().list().len(), &**heard.lock()),
        (1, ["3", "4", "4", "7", "8"].map(str::to_owned).as_slice())
    );
    rig.stop().await;
}

/// Goal: of several namespaces sizes are sums and versions the lowest.
#[tokio::test(start_paused = true)]
async fn several_namespaces_are_one() {
    let told = Arc::new(Told::default());
    let source = |namespace: &str, version: u64| {
        let server = ScriptedListWatch::new();
        let item = object("a", 3).replace(r#""namespace":"d""#, &format!(r#""namespace":"{namespace}""#));
        server.on_list(list(version, &[item])).on_watch(Answer::live_with(""));
        (namespace.to_owned(), Arc::new(server) as Arc<dyn ListWatch>)
    };
    let reflector = ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() };
    let config = InformerConfig { reflector, ..told.config() };
    let decoder = Decoder::new(DecoderConfig::default());
    let sources = [source("d", 12), source("e", 9)];
    let informer = SharedInformer::<ConfigMap>::in_namespaces(sources, &decoder, &config).unwrap();
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    let run = tokio::spawn(informer.run(stop.clone()));
    seconds(20).await;
    handle.observe();
    assert_eq!((told.sum("lists"), told.last("cached_objects")), (2.0, Some(2.0)));
    assert_eq!((told.last("store_resource_version"), told.last("last_resource_version")), (Some(9.0), Some(9.0)));
    stop.cancel();
    run.await.unwrap();
}

/// Goal: where namespaces come and go, sizes and versions are of those there are, counters go on, and the story of an object says why it went.
#[tokio::test(start_paused = true)]
async fn namespaces_that_change_are_one() {
    let told = Arc::new(Told::default());
    let source = |namespace: &str, version: u64| {
        let server = ScriptedListWatch::new();
        let item = object("a", 3).replace(r#""namespace":"d""#, &format!(r#""namespace":"{namespace}""#));
        (0..3).for_each(|lists: u64| _ = server.on_list(list(version + lists, std::slice::from_ref(&item))));
        server.otherwise(|_| Answer::live_with(""));
        (namespace.to_owned(), Arc::new(server) as Arc<dyn ListWatch>)
    };
    let reflector = ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() };
    let config = InformerConfig { reflector, explain: Some(ExplainConfig::default()), ..told.config() };
    let decoder = Decoder::new(DecoderConfig::default());
    let sources = [source("d", 12), source("e", 9)];
    let informer = SharedInformer::<ConfigMap>::in_namespaces(sources, &decoder, &config).unwrap();
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    let run = tokio::spawn(informer.run(stop.clone()));
    seconds(60).await;
    let (namespace, late) = source("f", 20);
    handle.add_namespace_from(&namespace, late).unwrap();
    seconds(60).await;
    assert_eq!((told.sum("lists"), told.last("cached_objects")), (3.0, Some(3.0)));
    handle.relist();
    seconds(60).await;
    assert_eq!((told.sum("unchanged"), told.last("store_resource_version")), (3.0, Some(10.0)));

    handle.remove_namespace("e").unwrap().finished().await;
    assert_eq!((told.last("cached_objects"), told.last("store_resource_version")), (Some(2.0), Some(13.0)));
    assert_eq!(told.last("last_resource_version"), Some(13.0));
    handle.relist();
    seconds(60).await;
    assert_eq!((told.sum("lists"), told.sum("unchanged")), (8.0, 5.0));
    let story = handle.explain(&ObjectKey::new("e", "a"));
    let of_it: Vec<_> = story.iter().filter(|step| step.key.is_some()).map(|step| &step.what).collect();
    assert_eq!(of_it[of_it.len() - 2..], [&What::Unwatched, &What::Applied(News::Deleted(Finality::Inferred))]);
    stop.cancel();
    run.await.unwrap();
}

/// Goal: without metrics and explanation there is nothing to observe and nothing to tell.
#[tokio::test(start_paused = true)]
async fn off_is_off() {
    let rig = Rig::with(first_list(), InformerConfig::default(), |_| {}).await;
    rig.handle.observe();
    assert_eq!(rig.handle.explain(&super::key("a")), []);
    rig.stop().await;
}
