//! Handlers and sources that do harm while namespaces change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;
use watchkeeper_informer::{Cached, Event, ResourceVersion, SourceGuard};

use crate::scripts::{Rig, Source, seconds};

/// Goal: a handler that panics at each end keeps neither the removal nor the others nor what comes after from going on. Method: forty objects, and their namespace again.
#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_amid_a_removal() {
    let names: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (a, b) = (Source::of("a", &["one"]), Source::of("b", &names));
    let rig = Rig::new(&[&a, &b]);
    let heard = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&heard);
    let panicking = rig.handle.add_handler(move |event| {
        counting.fetch_add(1, Ordering::Relaxed);
        assert!(!matches!(event, Event::Deleted { .. }), "planted");
    });
    let mut rig = rig.run().await;
    panicking.synced().await.unwrap();
    let removal = rig.handle.remove_namespace("b").unwrap();
    timeout(Duration::from_secs(5), removal.finished()).await.unwrap();
    seconds(1).await;
    assert_eq!((rig.keys().len(), rig.told().len(), heard.load(Ordering::Relaxed)), (1, 81, 81));
    let again = Source::of("b", &["two"]);
    rig.add(&again);
    timeout(Duration::from_secs(5), rig.handle.wait_for_in("b", &ResourceVersion::new("5"))).await.unwrap().unwrap();
    seconds(1).await;
    assert_eq!((rig.told(), heard.load(Ordering::Relaxed)), (vec!["+b/two".to_owned()], 82));
    rig.end().await;
}

/// Goal: who hears inline may change the namespaces, and register others, while it hears of a removal. Method: each end of b adds and removes c.
#[tokio::test(start_paused = true)]
async fn a_source_that_changes_the_namespaces() {
    let (a, b) = (Source::of("a", &["one"]), Source::of("b", &["one", "two", "three"]));
    let mut rig = Rig::new(&[&a, &b]).run().await;
    let (handle, kept) = (rig.handle.clone(), Arc::<Mutex<Vec<Source>>>::default());
    let keeping = Arc::clone(&kept);
    let guard: SourceGuard = rig.handle.add_source(move |event| {
        if matches!(event, Event::Deleted { .. }) && event.object().namespace() == "b" {
            let c = Source::of("c", &["one"]);
            _ = handle.add_namespace_from("c", c.list_watch());
            _ = handle.remove_namespace("c");
            _ = handle.add_namespace_from("c", c.list_watch());
            keeping.lock().push(c);
        }
    });
    seconds(1).await;
    timeout(Duration::from_secs(5), rig.handle.remove_namespace("b").unwrap().finished()).await.unwrap();
    seconds(5).await;
    assert_eq!(rig.keys()[0], "a/one");
    assert_eq!(rig.handle.namespaces(), ["a", "c"]);
    drop(guard);
    rig.end().await;
    // The handler's function, the rig and the source's are gone or ended: nothing is told any more.
    assert!(rig.handle.add_namespace_from("d", a.list_watch()).is_err());
}

/// Goal: a removal amid a stop, and a stop amid a removal, end all who wait. Method: both at each turn of a runtime of one thread.
#[tokio::test(start_paused = true)]
async fn stops_and_removals_at_each_turn() {
    for turns in 0..40 {
        for stops_first in [false, true] {
            let (a, b) = (Source::of("a", &["one"]), Source::of("b", &["one", "two"]));
            let mut rig = Rig::new(&[&a, &b]).run().await;
            let waits = rig.handle.clone();
            let waiting = tokio::spawn(async move { waits.wait_for_in("b", &ResourceVersion::new("99")).await });
            tokio::task::yield_now().await;
            let removal = if stops_first {
                rig.stop.cancel();
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                rig.handle.remove_namespace("b").ok()
            } else {
                let removal = rig.handle.remove_namespace("b").unwrap();
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                Some(removal)
            };
            if let Some(removal) = removal {
                rig.stop.cancel();
                timeout(Duration::from_secs(5), removal.finished()).await.unwrap();
            }
            assert!(timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().is_err());
            rig.end().await;
        }
    }
}
