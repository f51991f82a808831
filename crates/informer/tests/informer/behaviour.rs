//! One promise, one test.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube_client::Api;
use kube_client::api::PostParams;
use parking_lot::Mutex;
use watchkeeper_informer::{Ended, Event, NotCaughtUp, ObjectKey, RequestError, ResourceVersion};

use crate::world::{World, map, name, text, version};

/// Goal: I3 and I2 over a gap: what was deleted meanwhile is told as inferred, what was recreated is a delete and an
/// add, what has changed is an update, what hasn't is not told (nor decoded) again. Method: the cable is pulled, the
/// history compacted, the cable plugged in.
#[tokio::test(start_paused = true)]
async fn a_gap_is_told_as_it_is() {
    let world = World::start(true);
    for name in ["kept", "changed", "gone", "reborn"] {
        world.create(name, "red").await;
    }
    world.settle().await;
    world.heard();
    world.cable.plugged.send_replace(false);
    world.delete("gone").await;
    world.delete("reborn").await;
    world.create("reborn", "blue").await;
    world.create("new", "blue").await;
    world.replace("changed", "blue").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(world.heard().is_empty());
    world.server.compact(world.server.version());
    let unchanged_before = world.handle.sync_status().reflector().counts.unchanged;
    world.cable.plugged.send_replace(true);
    world.settle().await;

    let mut heard = world.heard();
    assert_eq!(heard[0], "deleted gone Inferred");
    let reborn: Vec<_> = heard.iter().filter(|told| told.contains("reborn")).cloned().collect();
    assert_eq!(reborn, ["deleted reborn Inferred", "added reborn"]);
    heard.sort();
    let expected = ["added new", "added reborn", "deleted gone Inferred", "deleted reborn Inferred", "updated changed"];
    assert_eq!(heard, expected);
    assert!(world.handle.sync_status().reflector().counts.unchanged > unchanged_before);
    world.assert_equal().await;
    let mut blue: Vec<_> = world.by_color.get(&"blue".to_owned()).iter().map(|map| name(map).to_owned()).collect();
    blue.sort();
    assert_eq!(blue, ["changed", "new", "reborn"]);
    world.stop().await;
}

/// Goal: while the watch holds, the same name with a new uid is an observed delete, then an add, and the cache follows
/// own writes. Method: `wait_for` the version of a write, then read.
#[tokio::test(start_paused = true)]
async fn lives_and_own_writes() {
    let world = World::start(true);
    world.handle.synced().await.expect("it runs");
    let first = world.create("a", "red").await;
    world.handle.wait_for(&version(&first)).await.expect("it runs");
    let key = ObjectKey::new("default", "a");
    let lister = world.handle.lister();
    assert_eq!(lister.get(&key).expect("my own write").metadata.uid, first.metadata.uid);
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.delete("a").await;
    let second = world.create("a", "blue").await;
    world.handle.wait_for(&version(&second)).await.expect("it runs");
    assert_eq!(lister.get(&key).expect("my own write").metadata.uid, second.metadata.uid);
    assert_ne!(first.metadata.uid, second.metadata.uid);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.heard(), ["added a", "deleted a Observed", "added a"]);
    assert_eq!(*world.sourced.lock(), ["added a", "deleted a Observed", "added a"]);
    assert!(world.by_color.get(&"red".to_owned()).is_empty());
    assert_eq!(lister.namespace("default").len(), 1);
    assert_eq!(world.handle.keys(), [key]);
    world.assert_equal().await;
    world.stop().await;
}

/// Goal: the handover barrier on a kind where nothing happens: the server's version moves with other kinds, no event
/// and no bookmark comes soon, so it takes one list, and no more; on a busy kind it takes none.
#[tokio::test(start_paused = true)]
async fn catching_up_on_a_quiet_kind() {
    let world = World::start(true);
    world.create("a", "red").await;
    world.handle.synced().await.expect("it runs");
    let lists = || world.handle.sync_status().reached.replacements;
    let before = lists();
    let nodes: Api<Node> = Api::all(world.api.clone().into_client());
    let mut node = Node::default();
    node.metadata.name = Some("n1".to_owned());
    let node = nodes.create(&PostParams::default(), &node).await.expect("created");
    let present = ResourceVersion::new(node.metadata.resource_version.as_deref().expect("stored"));
    let started = tokio::time::Instant::now();
    world.handle.catch_up().await.expect("the server answers");
    assert!(world.handle.version().expect("listed").has_reached(&present));
    assert_eq!(lists(), before + 1);
    assert!(started.elapsed() < Duration::from_secs(3), "virtual time: patience, pace and one list");

    world.create("b", "red").await;
    world.handle.catch_up().await.expect("the server answers");
    assert_eq!(lists(), before + 1);
    assert_eq!(world.handle.keys().len(), 2);
    world.stop().await;
}

/// Goal: I5: who isn't synced can be told, and why; nothing of it hangs or lies when the server comes, goes, or when
/// the informer ends.
#[tokio::test(start_paused = true)]
async fn sync_is_honest() {
    let world = World::start(false);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!world.handle.has_synced());
    let status = world.handle.sync_status();
    assert!(!status.is_listed() && !status.is_synced());
    assert_eq!(status.reflector().failing.as_ref().expect("the cause").class, "unreachable");
    assert!(status.to_string().contains("the cable is pulled"), "{status}");
    world.cable.plugged.send_replace(true);
    world.create("a", "red").await;
    world.handle.synced().await.expect("it runs");
    world.settle().await;
    let status = world.handle.sync_status();
    assert!(status.is_synced() && status.handlers.len() == 1 && status.reflector().failing.is_none(), "{status}");

    world.cable.plugged.send_replace(false);
    let error = world.handle.catch_up().await.expect_err("the server can't be asked");
    assert!(matches!(error, NotCaughtUp::Request(RequestError::Unreachable(_))), "{error}");
    let handle = world.handle.clone();
    world.stop().await;
    assert_eq!(handle.catch_up().await, Err(NotCaughtUp::Ended(Ended)), "nobody would ever reach it");
    assert!(handle.has_synced() && handle.lister().len() == 1, "the cache can still be read");
}

/// Goal: I10: after `run` nothing is told and no task is left, also when a handler was busy. Method: the runtime's own
/// count of live tasks, before the start and after the end.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_after_the_end() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let World { server: _server, api, handle, heard, shutdown, run, .. } = World::start(true);
    api.create(&PostParams::default(), &map("a", "red")).await.expect("created");
    handle.catch_up().await.expect("the server answers");
    let late = handle.add_handler(|_| {});
    late.synced().await.expect("it runs");
    let running = metrics.num_alive_tasks();
    shutdown.cancel();
    run.await.expect("run ends");
    assert_eq!(metrics.num_alive_tasks(), running - 4, "run, the reflector, two handlers");
    heard.lock().clear();
    api.create(&PostParams::default(), &map("b", "red")).await.expect("created");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(heard.lock().is_empty());
    let never = handle.add_handler(|_| panic!("never called"));
    assert!(!never.has_synced());
    never.remove().await;
    late.remove().await;
}

/// Goal: indexes and sources that come while it runs know what was there before, hear what comes after, and end. Method: all kinds of
/// them on an informer with objects, then changes, then the end.
#[tokio::test(start_paused = true)]
async fn indexes_and_sources_come_late() {
    let world = World::start(true);
    world.create("one", "red").await;
    world.handle.synced().await.expect("it runs");
    world.settle().await;
    let colors = |map: &ConfigMap| map.data.clone().unwrap_or_default().into_values();
    let by_color = world.handle.add_index("late", colors).await.expect("it runs");
    let in_order = world.handle.add_range_index("late range", colors).await.expect("it runs");
    let by_label = world.handle.add_label_index("app").await.expect("it runs");
    assert_eq!((by_color.get("red").len(), in_order.range("a".to_owned()..).len()), (1, 1));
    assert!(by_label.values().is_empty());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let source = world.handle.add_source({
        let heard = Arc::clone(&heard);
        move |event: &Event<ConfigMap>| heard.lock().push(text(event))
    });
    world.settle().await;
    world.create("two", "blue").await;
    world.settle().await;
    assert_eq!(by_color.get("blue").len(), 1);
    assert_eq!(heard.lock().len(), 2, "{heard:?}");
    drop(source);
    world.create("three", "blue").await;
    world.settle().await;
    assert_eq!((by_color.get("blue").len(), heard.lock().len()), (2, 2));
    let handle = world.handle.clone();
    world.stop().await;
    assert!(handle.add_index("too late", colors).await.is_err());
}

/// Goal: a source whose guard was dropped before it was taken up is told nothing, not what was there before either. Method: both
/// before the informer runs and while it does.
#[tokio::test(start_paused = true)]
async fn a_source_that_left_early_hears_nothing() {
    let world = World::start(true);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let source = || {
        let heard = Arc::clone(&heard);
        world.handle.add_source(move |event: &Event<ConfigMap>| heard.lock().push(text(event)))
    };
    drop(source());
    world.create("one", "red").await;
    world.settle().await;
    drop(source());
    world.create("two", "red").await;
    world.settle().await;
    assert!(heard.lock().is_empty(), "{heard:?}");
    world.stop().await;
}
