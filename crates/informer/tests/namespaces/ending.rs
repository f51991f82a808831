//! Namespaces that come and go where things end: queues that are full, informers that stop, are dropped, or never run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::delta_fifo::FifoLimits;
use watchkeeper_informer::{
    Budget, BudgetConfig, Cached, Event, InformerConfig, ListWatch, NamespacesError, ReflectorConfig, ResourceVersion,
    SharedInformer,
};

use crate::scripts::{Rig, Source, end_of_list, event, seconds};

/// Goal: one whose queue is full, while somebody who pulls is far behind, leaves like any other: what waits is dropped, and the one who lags hears of each life from its beginning to
/// its end, or not at all. Method: a source removes it in the middle of a batch, when its reflector has read more than the queue may take.
#[tokio::test(start_paused = true)]
async fn removed_while_its_queue_is_full() {
    let (a, b) = (Source::of("a", &["one"]), Source::of("b", &["one"]));
    let config = InformerConfig { fifo: FifoLimits { len: 1, bytes: 1 }, ..InformerConfig::default() };
    let rig = Rig::with(&[&a, &b], config);
    let removing = rig.handle.clone();
    let guard = rig.handle.add_source(move |event| {
        if event.object().name() == "trigger" {
            removing.remove_namespace("b").unwrap();
        }
    });
    let mut lagging = rig.handle.events();
    let mut rig = rig.run().await;
    lagging.next().await.unwrap();
    rig.told();
    for number in 0..50 {
        b.tell("ADDED", &format!("more-{number}"), 10 + number);
    }
    a.tell("ADDED", "trigger", 10);
    for number in 50..100 {
        b.tell("ADDED", &format!("more-{number}"), 10 + number);
    }
    seconds(1).await;
    assert_eq!(rig.keys(), ["a/one", "a/trigger"]);
    let told = rig.told();
    let count = |sign: &str| told.iter().filter(|line| line.starts_with(sign) && line.contains("b/more")).count();
    assert_eq!(count("+"), count("?"));
    assert!(told.contains(&"?b/one".to_owned()) && told.contains(&"+a/trigger".to_owned()), "{told:?}");
    assert!(!b.feed.text("nobody reads it"));
    drop(guard);
    rig.end().await;
    let mut present = BTreeSet::from(["a/one".to_owned()]);
    while let Some(event) = lagging.next().await {
        let key = format!("{}/{}", event.object().namespace(), event.object().name());
        match event {
            Event::Added { .. } => assert!(present.insert(key)),
            Event::Deleted { .. } => assert!(present.remove(&key)),
            other => panic!("{other:?}"),
        }
    }
}

/// Goal: it stops cleanly in every state that a change can be in (I10), whoever waits for the change is sent on, and what it was given is given back.
#[tokio::test(start_paused = true)]
async fn stopped_during_each_step() {
    for yields in 0..12 {
        for steps in 1..=3 {
            let (a, b, hanging) = (Source::of("a", &["one"]), Source::of("b", &["one"]), Source::silent("b"));
            let mut rig = Rig::new(&[&a]).run().await;
            rig.add(if steps == 1 { &hanging } else { &b });
            let mut removal = None;
            if steps > 1 {
                if yields % 2 == 0 {
                    seconds(1).await;
                }
                removal = Some(rig.handle.remove_namespace("b").unwrap());
            }
            if steps > 2 {
                rig.add(&hanging);
            }
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            rig.stop.cancel();
            // While it is stopping, or it is too late.
            let late = Source::of("c", &["one"]);
            assert!(matches!(
                rig.handle.add_namespace_from("c", late.list_watch()),
                Ok(()) | Err(NamespacesError::Ended)
            ));
            rig.end().await;
            assert!(late.asked().is_empty());
            if let Some(removal) = removal {
                timeout(Duration::from_secs(1), removal.finished()).await.unwrap();
            }
            for source in [&b, &hanging] {
                assert!(!source.feed.text("nobody reads it") || source.asked().is_empty());
            }
            assert_eq!(rig.handle.remove_namespace("a").unwrap_err(), NamespacesError::Ended);
        }
    }
}

/// Goal: an informer that never runs, or whose run is dropped, keeps nobody waiting for a removal, and no source alive beyond its handles.
#[tokio::test(start_paused = true)]
async fn dropped() {
    for runs in [false, true] {
        let (a, b) = (Source::of("a", &["one"]), Source::of("b", &["one"]));
        let mut rig = Rig::new(&[&a, &b]);
        let (added, informer): (Arc<dyn ListWatch>, _) = (Source::silent("c").list_watch(), rig.informer());
        let (kept, stop) = (Arc::downgrade(&added), rig.stop.clone());
        rig.handle.add_namespace_from("c", added).unwrap();
        let removals = ["b", "c"].map(|namespace| rig.handle.remove_namespace(namespace).unwrap());
        let mut running = Box::pin(informer.run(stop));
        if runs {
            let _ = timeout(Duration::from_millis(1), &mut running).await;
        }
        drop(running);
        for removal in removals {
            timeout(Duration::from_secs(1), removal.finished()).await.unwrap();
        }
        tokio::task::yield_now().await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
        assert!(kept.upgrade().is_none(), "it has left, and nobody has it");
    }
}

/// Goal: a namespace that comes and goes without end leaves nothing behind: neither a source nor a task nor a row.
#[tokio::test(start_paused = true)]
async fn a_thousand_times() {
    let a = Source::of("a", &["one"]);
    let mut rig = Rig::new(&[&a]).run().await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut sources = Vec::new();
    for number in 0..1000 {
        let b = Source::silent("b");
        b.feed.text(event("ADDED", "b", "one", number + 1) + &end_of_list(number + 2));
        let source = b.list_watch();
        sources.push(Arc::downgrade(&source));
        rig.handle.add_namespace_from("b", source).unwrap();
        rig.handle.synced().await.expect("it runs");
        assert_eq!(rig.keys().len(), 2);
        rig.handle.remove_namespace("b").unwrap().finished().await;
        assert_eq!(rig.keys().len(), 1);
    }
    assert!(sources.iter().all(|source| source.upgrade().is_none()));
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), before);
    assert_eq!(rig.handle.sync_status().reflectors.len(), 1);
    rig.end().await;
}

/// Goal: however namespaces are added and removed from several threads at once, a handler hears ends and beginnings by turns, and in the end of what there
/// is; nothing is left over. Method: four threads with a namespace each, which sometimes wait for what they have asked for and sometimes don't.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changed_from_several_threads() {
    const NAMESPACES: [&str; 4] = ["b", "c", "d", "e"];
    let a = Source::of("a", &["one"]);
    let informer = SharedInformer::<ConfigMap>::in_namespaces(
        [("a".to_owned(), a.list_watch())],
        &Decoder::new(DecoderConfig::default()),
        &InformerConfig {
            reflector: ReflectorConfig { pace: Duration::ZERO, ..ReflectorConfig::default() },
            ..InformerConfig::default()
        },
    );
    let spacing = BudgetConfig { lists: 4, spacing: Duration::ZERO };
    let informer = informer.unwrap().with_budget(Budget::new(spacing));
    let (handle, stop, present) =
        (informer.handle(), CancellationToken::new(), Arc::<Mutex<BTreeSet<String>>>::default());
    let told = Arc::clone(&present);
    handle.add_handler(move |event| {
        let key = format!("{}/{}", event.object().namespace(), event.object().name());
        match event {
            Event::Added { .. } => assert!(told.lock().insert(key)),
            Event::Deleted { .. } => assert!(told.lock().remove(&key)),
            Event::Updated { .. } | Event::Resync { .. } => assert!(told.lock().contains(&key)),
        }
    });
    let running = tokio::spawn(informer.run(stop.clone()));
    let changing = NAMESPACES.map(|namespace| {
        let (handle, mut random) = (handle.clone(), fastrand::Rng::with_seed(namespace.len() as u64));
        tokio::spawn(async move {
            for _ in 0..300 {
                let source = Source::of(namespace, &["one", "two"]);
                handle.add_namespace_from(namespace, source.list_watch()).unwrap();
                if random.bool() {
                    handle.wait_for_in(namespace, &ResourceVersion::new("5")).await.unwrap();
                }
                let removal = handle.remove_namespace(namespace).unwrap();
                if random.bool() {
                    removal.finished().await;
                }
            }
            let last = Source::of(namespace, &["one"]);
            handle.add_namespace_from(namespace, last.list_watch()).unwrap();
            last
        })
    });
    let mut last = Vec::new();
    for changing in changing {
        last.push(changing.await.unwrap());
    }
    let there = || present.lock().iter().cloned().collect::<Vec<_>>();
    let all = ["a/one", "b/one", "c/one", "d/one", "e/one"];
    let told = async {
        while !handle.has_synced() || there() != all {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), told).await.unwrap_or_else(|_| panic!("{} {:?}", handle.sync_status(), there()));
    assert_eq!((handle.lister().len(), handle.namespaces().len()), (5, 5));
    assert!(handle.sync_status().handlers.iter().all(|handler| handler.panics == 0));
    stop.cancel();
    running.await.unwrap();
}
