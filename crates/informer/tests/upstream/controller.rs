//! tools/cache, controller_test.go, and the tests of typed handlers: from the queue to whoever is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::delta_fifo::{Delta, Relisted, Replacement};
use watchkeeper_informer::handler::adapters::{filtered, mapped};
use watchkeeper_informer::{Cached, DeltaFifo, Event, Finality, HandlerConfig, ObjectKey, Processor, ResourceVersion};

use crate::informer_rig::{Rig, settle, synced, take_sorted};

fn map(name: &str, version: u64) -> Arc<ConfigMap> {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map.metadata.uid = Some(format!("uid-{name}"));
    map.metadata.resource_version = Some(version.to_string());
    Arc::new(map)
}

fn at(version: u64) -> ResourceVersion {
    ResourceVersion::new(&version.to_string())
}

fn list(fifo: &DeltaFifo<ConfigMap>, objects: &[(&str, u64)], version: u64) {
    let items = objects.iter().map(|(name, version)| Relisted::new(map(name, *version))).collect();
    fifo.replace(Replacement { items, version: at(version) });
}

/// Example: a queue that somebody else fills, a store, and a handler that takes away what is added.
#[tokio::test(start_paused = true)]
async fn example() {
    let fifo = DeltaFifo::<ConfigMap>::new();
    let processor = Processor::new(fifo.clone());
    let (store, stop, version) = (processor.store(), CancellationToken::new(), Arc::new(AtomicUsize::new(10)));
    let deleted = Arc::new(Mutex::new(Vec::new()));
    processor.add_handler({
        let (fifo, deleted) = (fifo.clone(), Arc::clone(&deleted));
        move |event| match event {
            Event::Added { object, .. } => {
                let version = version.fetch_add(1, Ordering::Relaxed) as u64;
                fifo.push(Delta::Deleted(map(object.name(), version)), 1, at(version));
            }
            Event::Deleted { last, .. } => deleted.lock().push(last.name().to_owned()),
            other => panic!("{other:?}"),
        }
    });
    let run = tokio::spawn(processor.run(stop.clone()));
    list(&fifo, &[("a-hello", 1), ("b-controller", 2), ("c-framework", 3)], 3);
    settle().await;
    deleted.lock().sort();
    assert_eq!(*deleted.lock(), ["a-hello", "b-controller", "c-framework"]);
    assert!(store.is_empty());
    stop.cancel();
    run.await.expect("it ends");
}

/// ExampleNewInformer: the same of an informer, whose server takes away what a handler asks it to.
#[tokio::test(start_paused = true)]
async fn example_new_informer() {
    let rig = Arc::new(Rig::start());
    let (registration, heard) = rig.listen(HandlerConfig::default());
    for name in ["a", "b"] {
        rig.send("ADDED", name);
    }
    rig.end_list();
    assert_eq!(synced(&registration).await, Ok(()));
    for name in ["a", "b"] {
        rig.send("DELETED", name);
    }
    settle().await;
    assert_eq!(take_sorted(&heard), ["deleted a", "deleted b", "initial a", "initial b"]);
    assert!(rig.handle.lister().is_empty());
    Arc::into_inner(rig).expect("the only one").stop().await;
}

/// TestHammerController: many write at random, handlers look into the store; it stops in good order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hammer_controller() {
    let fifo = DeltaFifo::<ConfigMap>::new();
    let processor = Processor::new(fifo.clone());
    let (store, stop) = (processor.store(), CancellationToken::new());
    let registration = processor.add_handler({
        let store = store.clone();
        move |event| {
            let _ = (store.get(&ObjectKey::of(&**event.object())), store.len());
        }
    });
    let run = tokio::spawn(processor.run(stop.clone()));
    list(&fifo, &[], 1);
    let versions = Arc::new(AtomicUsize::new(2));
    let mut writers = JoinSet::new();
    for seed in 0..20 {
        let (fifo, versions) = (fifo.clone(), Arc::clone(&versions));
        writers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..100 {
                let version = versions.fetch_add(1, Ordering::Relaxed) as u64;
                let object = map(&format!("n{}", random.u8(..10)), version);
                let delta = if random.bool() { Delta::Applied(object) } else { Delta::Deleted(object) };
                fifo.room().await;
                fifo.push(delta, 1, at(version));
                if random.u8(..8) == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("no assertion failed");
    }
    fifo.consumed().await;
    assert_eq!(registration.status().panics, 0);
    stop.cancel();
    run.await.expect("it ends");
    assert!(registration.status().ended && store.len() <= 10);
}

/// TestUpdate: whatever steps a handler misses, it hears of allowed transitions only, and of the end of each object.
#[tokio::test(start_paused = true)]
async fn update() {
    let fifo = DeltaFifo::<ConfigMap>::new();
    let processor = Processor::new(fifo.clone());
    let stop = CancellationToken::new();
    let alive = Arc::new(Mutex::new((BTreeMap::<String, String>::new(), 0)));
    let registration = processor.add_handler({
        let alive = Arc::clone(&alive);
        move |event| {
            let (alive, ended) = &mut *alive.lock();
            let name = event.object().name().to_owned();
            match event {
                Event::Added { object, .. } => {
                    assert!(alive.insert(name, object.version().to_owned()).is_none());
                }
                Event::Updated { old, new } => {
                    assert_eq!(alive.insert(name, new.version().to_owned()).as_deref(), Some(old.version()));
                }
                Event::Deleted { .. } => {
                    alive.remove(&name).expect("it was there");
                    *ended += 1;
                }
                Event::Resync { .. } => unreachable!("nobody asked for it"),
            }
        }
    });
    let run = tokio::spawn(processor.run(stop.clone()));
    list(&fifo, &[("a", 1), ("b", 2)], 2);
    assert_eq!(synced(&registration).await, Ok(()));
    for version in 3..100 {
        fifo.push(Delta::Applied(map(["a", "b", "c"][version as usize % 3], version)), 1, at(version));
        if version % 7 == 0 {
            settle().await;
        }
    }
    for (name, version) in [("a", 100), ("b", 101), ("c", 102)] {
        fifo.push(Delta::Deleted(map(name, version)), 1, at(version));
    }
    settle().await;
    assert_eq!(registration.status().panics, 0);
    {
        let (alive, ended) = &*alive.lock();
        assert_eq!((alive.len(), *ended), (0, 3));
    }
    stop.cancel();
    run.await.expect("it ends");
}

/// TestPanicPropagated: the panic of a source leaves `run`, as it was thrown; that of a handler is the handler's.
#[tokio::test(start_paused = true)]
async fn panic_propagated() {
    let fifo = DeltaFifo::<ConfigMap>::new();
    let mut processor = Processor::new(fifo.clone());
    processor.add_source(|_| std::panic::panic_any(42_u8));
    let run = tokio::spawn(processor.run(CancellationToken::new()));
    list(&fifo, &[("a", 1)], 1);
    let panic = run.await.expect_err("it panicked").into_panic();
    assert_eq!(panic.downcast_ref::<u8>(), Some(&42));
}

/// TestReplaceEvents: the events of a list, ends first, and the store shows all of it by then.
#[tokio::test(start_paused = true)]
async fn replace_events() {
    let fifo = DeltaFifo::<ConfigMap>::new();
    let mut processor = Processor::new(fifo.clone());
    let (store, stop, told) = (processor.store(), CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    processor.add_source({
        let (store, told) = (store.clone(), Arc::clone(&told));
        move |event: &Event<ConfigMap>| {
            let what = match event {
                Event::Added { .. } => "added",
                Event::Updated { .. } => "updated",
                Event::Deleted { finality: Finality::Inferred, .. } => "missed",
                other => panic!("{other:?}"),
            };
            told.lock().push(format!("{what} {} of {}", event.object().name(), store.len()));
        }
    });
    let run = tokio::spawn(processor.run(stop.clone()));
    for (objects, version, expected) in [
        (&[("a", 1), ("b", 2)][..], 2, &["added a of 2", "added b of 2"][..]),
        (&[("b", 4), ("c", 3)], 4, &["missed a of 2", "updated b of 2", "added c of 2"]),
        (&[], 5, &["missed b of 0", "missed c of 0"]),
    ] {
        list(&fifo, objects, version);
        settle().await;
        assert_eq!(std::mem::take(&mut *told.lock()), expected);
        assert_eq!(store.reached().version, Some(at(version)));
    }
    stop.cancel();
    run.await.expect("it ends");
}

/// TestResetWatch: what is new in a later list is news, not part of the first snapshot.
#[tokio::test(start_paused = true)]
async fn reset_watch() {
    let rig = Rig::start();
    let (_registration, heard) = rig.listen(HandlerConfig::default());
    let first = rig.send("ADDED", "first");
    rig.end_list();
    settle().await;
    rig.expire();
    rig.send_at("ADDED", "first", first);
    rig.send("ADDED", "second");
    rig.end_list();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*heard.lock(), ["initial first", "added second"]);
    rig.stop().await;
}

/// TestStoreResourceVersion: the store stands where the last list, event or bookmark stood.
#[tokio::test(start_paused = true)]
async fn store_resource_version() {
    let fifo = DeltaFifo::<ConfigMap>::new();
    let processor = Processor::new(fifo.clone());
    let (store, stop) = (processor.store(), CancellationToken::new());
    let run = tokio::spawn(processor.run(stop.clone()));
    assert_eq!(store.reached().version, None);
    list(&fifo, &[("a", 1)], 5);
    settle().await;
    assert_eq!(store.reached().version, Some(at(5)));
    fifo.push(Delta::Applied(map("a", 7)), 1, at(7));
    settle().await;
    assert_eq!(store.reached().version, Some(at(7)));
    fifo.reached(at(9));
    settle().await;
    assert_eq!(store.reached().version, Some(at(9)));
    stop.cancel();
    run.await.expect("it ends");
}

/// TestNameForHandler: a handler that was given no name goes by that of its type.
#[tokio::test(start_paused = true)]
async fn name_for_handler() {
    fn free_function(_: Event<ConfigMap>) {}
    let rig = Rig::with(&[]).await;
    let named = HandlerConfig { name: "mine".to_owned(), ..HandlerConfig::default() };
    let all = [
        rig.handle.add_handler(free_function),
        rig.handle.add_handler(|_| {}),
        rig.handle.add_handler_with(named, free_function),
    ];
    let names: Vec<_> = all.iter().map(|registration| registration.status().name).collect();
    assert!(names[0].ends_with("name_for_handler::{{closure}}::free_function"), "{names:?}");
    assert!(names[1].ends_with("name_for_handler::{{closure}}::{{closure}}"), "{names:?}");
    assert_eq!(&*names[2], "mine");
    rig.stop().await;
}

/// TestTypedResourceEventHandlerFuncs: a handler is one function, of a match; what it doesn't want it passes over.
#[test]
fn typed_resource_event_handler_funcs() {
    let mut added = Vec::new();
    let mut handler = |event: Event<ConfigMap>| {
        if let Event::Added { object, .. } = event {
            added.push(object.name().to_owned());
        }
    };
    handler(Event::Added { object: map("a", 1), initial: false });
    handler(Event::Updated { old: map("a", 1), new: map("a", 2) });
    handler(Event::Deleted { last: map("a", 2), finality: Finality::Observed });
    assert_eq!(added, ["a"]);
}

/// TestTypedResourceEventHandlerDetailedFuncs: an addition says whether it is part of the first snapshot.
#[test]
fn typed_resource_event_handler_detailed_funcs() {
    let mut initial = Vec::new();
    let mut handler = |event: Event<ConfigMap>| {
        if let Event::Added { initial: is_initial, .. } = event {
            initial.push(is_initial);
        }
    };
    handler(Event::Added { object: map("a", 1), initial: true });
    handler(Event::Added { object: map("b", 1), initial: false });
    assert_eq!(initial, [true, false]);
}

/// TestTypedFilteringResourceEventHandler: upstream's transitions. An end goes through if the object was let through, where
/// upstream asks about the last state.
#[test]
fn typed_filtering_resource_event_handler() {
    let mut told = Vec::new();
    let mut handler = filtered(
        |map: &ConfigMap| map.version() >= "5",
        |event: Event<ConfigMap>| {
            told.push(match event {
                Event::Added { object, initial } => format!("added {} {initial}", object.version()),
                Event::Updated { old, new } => format!("updated {}..{}", old.version(), new.version()),
                Event::Deleted { last, .. } => format!("deleted {}", last.version()),
                Event::Resync { object } => format!("resync {}", object.version()),
            });
        },
    );
    handler(Event::Added { object: map("a", 1), initial: true });
    handler(Event::Updated { old: map("a", 1), new: map("a", 2) });
    handler(Event::Updated { old: map("a", 2), new: map("a", 5) });
    handler(Event::Updated { old: map("a", 5), new: map("a", 6) });
    handler(Event::Updated { old: map("a", 6), new: map("a", 0) });
    handler(Event::Deleted { last: map("a", 9), finality: Finality::Observed });
    handler(Event::Added { object: map("b", 5), initial: true });
    handler(Event::Resync { object: map("b", 5) });
    handler(Event::Deleted { last: map("b", 0), finality: Finality::Observed });
    drop(handler);
    assert_eq!(told, ["added 5 false", "updated 5..6", "deleted 6", "added 5 true", "resync 5", "deleted 0"]);
}

/// TestTypedResourceEventHandlerAdapter: a handler of something else is made one of events.
#[test]
fn typed_resource_event_handler_adapter() {
    let mut keys = Vec::new();
    let mut handler = mapped(|event: Event<ConfigMap>| [ObjectKey::of(&**event.object())], |key| keys.push(key));
    handler(Event::Deleted { last: map("a", 1), finality: Finality::Inferred });
    drop(handler);
    assert_eq!(keys, [ObjectKey::new("", "a")]);
}
