//! tools/cache, shared_informer_test.go: registrations, what they are told, and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::scripted::{Answer, ScriptedListWatch};
use watchkeeper_informer::{
    Cached, HandlerConfig, InformerConfig, InformerHandle, NotSynced, Registration, SharedInformer,
};

use crate::informer_rig::{Heard, Rig, settle, synced, take_sorted, text};

fn every(seconds: u64) -> HandlerConfig {
    HandlerConfig { resync: Some(Duration::from_secs(seconds)), ..HandlerConfig::default() }
}

fn plain() -> HandlerConfig {
    HandlerConfig::default()
}

/// Adds a handler that writes down what it hears.
fn listen(handle: &InformerHandle<ConfigMap>, config: HandlerConfig) -> (Registration, Heard) {
    let heard = Heard::default();
    let registration = handle.add_handler_with(config, {
        let heard = Arc::clone(&heard);
        move |event| heard.lock().push(text(&event))
    });
    (registration, heard)
}

/// TestIndexer: an index shows what is there. It is added before the start; upstream's may come later.
#[tokio::test(start_paused = true)]
async fn indexer() {
    let index = Mutex::new(None);
    let rig = Rig::start_with(|informer| {
        *index.lock() = Some(informer.add_index("name length", |map: &ConfigMap| vec![map.name().len()]));
    });
    let index = index.lock().take().expect("added");
    assert!(index.get(&1).is_empty());
    for name in ["a", "b", "cc"] {
        rig.send("ADDED", name);
    }
    rig.end_list();
    settle().await;
    assert_eq!((index.get(&1).len(), index.get(&2).len(), index.get(&3).len()), (2, 1, 0));
    rig.stop().await;
}

/// TestListenerResyncPeriods: each handler has its own period, or none. Its keys have their turns in the course of it,
/// rather than all at its end.
#[tokio::test(start_paused = true)]
async fn listener_resync_periods() {
    let rig = Rig::with(&["a", "b"]).await;
    let (_first, never) = rig.listen(plain());
    let (_second, two) = rig.listen(every(2));
    let (_third, three) = rig.listen(every(3));
    settle().await;
    for heard in [&never, &two, &three] {
        assert_eq!(take_sorted(heard), ["initial a", "initial b"]);
    }
    sleep(Duration::from_secs(6)).await;
    assert!(never.lock().is_empty());
    assert_eq!((two.lock().len(), three.lock().len()), (6, 4));
    assert!(two.lock().iter().chain(&*three.lock()).all(|told| told.starts_with("resync")));
    rig.stop().await;
}

/// TestListenerResyncPeriodsDelayed: the same for those who registered long before there was anything to hear.
#[tokio::test(start_paused = true)]
async fn listener_resync_periods_delayed() {
    let rig = Rig::start();
    let (_registration, heard) = rig.listen(every(2));
    sleep(Duration::from_secs(7)).await;
    rig.send("ADDED", "a");
    rig.end_list();
    settle().await;
    assert_eq!(take_sorted(&heard), ["initial a"]);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(take_sorted(&heard), ["resync a"; 3]);
    rig.stop().await;
}

/// TestSharedInformerInitializationRace: handlers that come while the informer starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_informer_initialization_race() {
    for _ in 0..50 {
        let rig = Rig::start();
        let handle = rig.handle.clone();
        let adding = tokio::spawn(async move { (0..10).map(|_| listen(&handle, plain())).collect::<Vec<_>>() });
        rig.send("ADDED", "a");
        rig.end_list();
        for (registration, heard) in adding.await.expect("added") {
            assert_eq!(synced(&registration).await, Ok(()));
            assert_eq!(*heard.lock(), ["initial a"]);
        }
        rig.stop().await;
    }
}

/// TestSharedInformerWatchDisruption: what was missed is told as it is to everybody, what hasn't changed to nobody; whoever
/// wants resyncs hears of everything in the course of its period.
#[tokio::test(start_paused = true)]
async fn shared_informer_watch_disruption() {
    let rig = Rig::start();
    let same = rig.send("ADDED", "same");
    for name in ["changed", "gone"] {
        rig.send("ADDED", name);
    }
    rig.end_list();
    let (_first, never) = rig.listen(plain());
    let (_second, often) = rig.listen(every(100));
    settle().await;
    assert_eq!((take_sorted(&never).len(), take_sorted(&often).len()), (3, 3));
    rig.expire();
    rig.send_at("ADDED", "same", same);
    for name in ["changed", "new"] {
        rig.send("ADDED", name);
    }
    rig.end_list();
    sleep(Duration::from_secs(200)).await;
    assert_eq!(take_sorted(&never), ["added new", "deleted gone", "updated changed"]);
    let often = take_sorted(&often);
    for told in ["added new", "deleted gone", "resync changed", "resync new", "resync same", "updated changed"] {
        assert!(often.iter().any(|one| one == told), "{told} in {often:?}");
    }
    rig.stop().await;
}

/// TestSharedInformerErrorHandling: what a list fails with can be read.
#[tokio::test(start_paused = true)]
async fn shared_informer_error_handling() {
    let server = ScriptedListWatch::new();
    server.otherwise(|_| Answer::refused(403, "Forbidden"));
    let informer = SharedInformer::<ConfigMap>::new(Arc::new(server), InformerConfig::default());
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    let run = tokio::spawn(informer.run(stop.clone()));
    sleep(Duration::from_secs(5)).await;
    let status = handle.sync_status();
    assert!(status.to_string().contains("Forbidden"), "{status}");
    stop.cancel();
    run.await.expect("it ends");
}

/// TestSharedInformerTransformer: handlers hear of what the transform has made, once for each state, with resyncs too.
#[tokio::test(start_paused = true)]
async fn shared_informer_transformer() {
    let server = ScriptedListWatch::new();
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let decoder = Decoder::new(DecoderConfig::default()).with_transform(|map: &mut ConfigMap| {
        let labels = map.metadata.labels.get_or_insert_default();
        assert!(labels.insert("seen".to_owned(), "once".to_owned()).is_none(), "transformed again");
    });
    let informer = SharedInformer::with_decoder(Arc::new(server), decoder, InformerConfig::default());
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    let registration = handle.add_handler_with(every(1), |event| {
        assert_eq!(event.object().metadata.labels.as_ref().expect("transformed")["seen"], "once");
    });
    let run = tokio::spawn(informer.run(stop.clone()));
    let end = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
    assert!(feed.text("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}}\n"));
    assert!(
        feed.text(format!(
            "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"2\",{end}}}}}}}\n"
        ))
    );
    sleep(Duration::from_secs(5)).await;
    let status = registration.status();
    assert_eq!((status.synced, status.panics), (true, 0));
    assert!(status.told >= 5, "{status:?}");
    stop.cancel();
    run.await.expect("it ends");
}

/// TestSharedInformerRemoveHandler: two, one, none.
#[tokio::test(start_paused = true)]
async fn shared_informer_remove_handler() {
    let rig = Rig::with(&[]).await;
    let (first, second) = (rig.listen(plain()).0, rig.listen(plain()).0);
    let count = || rig.handle.sync_status().handlers.len();
    assert_eq!(count(), 2);
    second.remove().await;
    assert_eq!(count(), 1);
    first.remove().await;
    assert_eq!(count(), 0);
    rig.stop().await;
}

/// TestSharedInformerMultipleRegistration: the same function twice is two registrations, which end by themselves.
#[tokio::test(start_paused = true)]
async fn shared_informer_multiple_registration() {
    let rig = Rig::with(&["a"]).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = {
        let calls = Arc::clone(&calls);
        move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (first, second) = (rig.handle.add_handler(handler.clone()), rig.handle.add_handler(handler));
    settle().await;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    first.remove().await;
    rig.send("MODIFIED", "a");
    settle().await;
    assert_eq!((calls.load(Ordering::Relaxed), second.status().told), (3, 2));
    rig.stop().await;
}

/// TestRemovingRemovedSharedInformer: what has ended can be ended again, to no effect.
#[tokio::test(start_paused = true)]
async fn removing_removed_shared_informer() {
    let rig = Rig::with(&["a"]).await;
    let (first, second) = (rig.listen(plain()).0, rig.listen(plain()).0);
    first.end();
    first.end();
    first.remove().await;
    assert_eq!(rig.handle.sync_status().handlers.len(), 1);
    assert!(!second.status().ended);
    rig.stop().await;
}

/// TestSharedInformerHandlerAbuse: some come and go while much happens; `handlers` does it with a hundred tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_informer_handler_abuse() {
    let rig = Rig::with(&["a"]).await;
    let handle = rig.handle.clone();
    let abuse = tokio::spawn(async move {
        for _ in 0..200 {
            listen(&handle, plain()).0.remove().await;
        }
    });
    for _ in 0..1_000 {
        rig.send("MODIFIED", "a");
    }
    timeout(Duration::from_secs(60), abuse).await.expect("in time").expect("no assertion failed");
    assert!(rig.handle.sync_status().handlers.is_empty());
    rig.stop().await;
}

/// TestStateSharedInformer: before, while and after it runs, the status says so.
#[tokio::test(start_paused = true)]
async fn state_shared_informer() {
    let rig = Rig::start();
    assert!(!rig.handle.has_synced() && !rig.handle.sync_status().ended);
    rig.end_list();
    settle().await;
    assert!(rig.handle.has_synced() && !rig.handle.sync_status().ended);
    let handle = rig.handle.clone();
    rig.stop().await;
    assert!(handle.has_synced() && handle.sync_status().ended);
}

/// TestAddOnStoppedSharedInformer: what registers after the end has ended, and says so to whoever waits for it.
#[tokio::test(start_paused = true)]
async fn add_on_stopped_shared_informer() {
    let rig = Rig::with(&["a"]).await;
    let handle = rig.handle.clone();
    rig.stop().await;
    let (registration, heard) = listen(&handle, plain());
    assert!(registration.status().ended && !registration.has_synced());
    assert_eq!(synced(&registration).await, Err(NotSynced::Ended));
    settle().await;
    assert!(heard.lock().is_empty());
}

/// TestRemoveOnStoppedSharedInformer: removing after the end is allowed.
#[tokio::test(start_paused = true)]
async fn remove_on_stopped_shared_informer() {
    let rig = Rig::with(&["a"]).await;
    let (registration, _) = rig.listen(plain());
    assert_eq!(synced(&registration).await, Ok(()));
    rig.stop().await;
    assert!(registration.status().ended);
    registration.remove().await;
}

/// TestRemoveWhileActive: nothing is heard after the removal.
#[tokio::test(start_paused = true)]
async fn remove_while_active() {
    let rig = Rig::with(&["a"]).await;
    let (registration, heard) = rig.listen(plain());
    assert_eq!(synced(&registration).await, Ok(()));
    rig.send("MODIFIED", "a");
    registration.remove().await;
    rig.send("MODIFIED", "a");
    settle().await;
    assert_eq!(*heard.lock(), ["initial a"]);
    rig.stop().await;
}

/// TestAddWhileActive: a late handler hears of everything, and is synced when it has and not before.
#[tokio::test(start_paused = true)]
async fn add_while_active() {
    let rig = Rig::with(&["a", "b"]).await;
    let (early, _) = rig.listen(plain());
    assert_eq!(synced(&early).await, Ok(()));
    let (late, heard) = rig.listen(plain());
    assert!(!late.has_synced() && early.has_synced());
    assert_eq!(synced(&late).await, Ok(()));
    assert!(late.has_synced());
    assert_eq!(take_sorted(&heard), ["initial a", "initial b"]);
    rig.stop().await;
}

/// TestShutdown: no task is left, whether handlers came before, later, or the informer never ran.
#[tokio::test(start_paused = true)]
async fn shutdown() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let rig = Rig::start_with(|informer| drop(informer.handle().add_handler(|_| {})));
    rig.end_list();
    settle().await;
    let _later = rig.listen(plain());
    settle().await;
    assert_eq!(tasks(), before + 4);
    rig.stop().await;
    settle().await;
    assert_eq!(tasks(), before);
    let never_run = SharedInformer::<ConfigMap>::new(Arc::new(ScriptedListWatch::new()), InformerConfig::default());
    let (registration, _) = listen(&never_run.handle(), plain());
    drop(never_run);
    assert_eq!(synced(&registration).await, Err(NotSynced::Ended));
    assert_eq!(tasks(), before);
}

/// TestEventPanics: each item is tried, whatever the one before has done. There is no pause: it would be an hour for the
/// 3,600 objects of a handler that panics at each.
#[tokio::test(start_paused = true)]
async fn event_panics() {
    let rig = Rig::with(&["a", "b", "c"]).await;
    let registration = rig.handle.add_handler(|_| panic!("planted"));
    assert_eq!(synced(&registration).await, Ok(()));
    assert_eq!((registration.status().told, registration.status().panics), (3, 3));
    rig.stop().await;
}

/// A handler that is within a call until it is released.
fn held(rig: &Rig) -> (Registration, std::sync::mpsc::Sender<()>) {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let registration = rig.handle.add_handler(move |_| {
        let _ = wait.recv();
    });
    (registration, release)
}

async fn called(registration: &Registration) {
    while registration.status().calling_since.is_none() {
        tokio::task::yield_now().await;
    }
}

/// TestRemoveEventHandler_AsynchronousPanic: `end` doesn't wait for the call in progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remove_event_handler_asynchronous_panic() {
    let rig = Rig::start();
    let (registration, release) = held(&rig);
    rig.send("ADDED", "a");
    rig.end_list();
    called(&registration).await;
    registration.end();
    assert!(registration.status().ended && registration.status().calling_since.is_some());
    drop(release);
    registration.remove().await;
    rig.stop().await;
}

/// TestRemoveEventHandler_SynchronousShutdown: `remove` does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remove_event_handler_synchronous_shutdown() {
    let rig = Rig::start();
    let (registration, release) = held(&rig);
    rig.send("ADDED", "a");
    rig.end_list();
    called(&registration).await;
    let mut removal = Box::pin(registration.remove());
    assert!(futures::poll!(removal.as_mut()).is_pending());
    drop(release);
    removal.await;
    rig.stop().await;
}

/// TestShutDownEventHandler_Lifecycles: a removal returns whatever the informer is at: never run, not yet run, running.
#[tokio::test(start_paused = true)]
async fn shut_down_event_handler_lifecycles() {
    let informer = SharedInformer::<ConfigMap>::new(Arc::new(ScriptedListWatch::new()), InformerConfig::default());
    listen(&informer.handle(), plain()).0.remove().await;
    let slot = Mutex::new(None);
    let rig = Rig::start_with(|informer| *slot.lock() = Some(listen(&informer.handle(), plain()).0));
    let (added_first, added_later) = (slot.lock().take().expect("added"), rig.listen(plain()).0);
    rig.end_list();
    settle().await;
    added_first.remove().await;
    added_later.remove().await;
    rig.stop().await;
}
