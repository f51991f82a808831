//! Everything may be called from within a handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use watchkeeper_informer::{HandlerConfig, InformerHandle, NotSynced, ObjectKey, Registration, ResourceVersion};

use k8s_openapi::api::core::v1::ConfigMap;

use crate::rig::{Rig, settle, synced, text};

/// What a blocking wait within a handler would come to: at its first poll it is there, or it never would be.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("it returns at once")
}

/// A registration that its handler can reach.
type Slot = Arc<Mutex<Option<Registration>>>;

/// Goal: B4: every method of a handle returns, or its future does at its first poll or waits for others than this call.
/// Method: a handler calls them all, and polls once what would have to wait.
#[tokio::test(start_paused = true)]
async fn every_method_of_a_handle() {
    let rig = Rig::with(&["a"]).await;
    let handle: InformerHandle<ConfigMap> = rig.handle.clone();
    let others = Arc::new(Mutex::new(Vec::new()));
    let registration = rig.handle.add_handler({
        let others = Arc::clone(&others);
        move |event| {
            let handle = handle.clone();
            assert!(handle.lister().get(&ObjectKey::of(&**event.object())).is_some());
            assert_eq!((handle.keys().len(), handle.has_synced(), handle.quarantine().len()), (1, true, 0));
            assert!(!handle.sync_status().is_synced(), "this call is in progress");
            assert_eq!(handle.sync_status().handlers.len(), 1);
            handle.relist();
            assert!(handle.last_audits().is_empty());
            let version = handle.version().expect("listed");
            at_once(handle.synced()).unwrap();
            at_once(handle.wait_for(&version)).unwrap();
            at_once(handle.wait_for_in("n", &version)).unwrap();
            assert!(handle.wait_for(&ResourceVersion::new("999")).now_or_never().is_none());
            assert!(handle.audit().now_or_never().is_none(), "it needs the reflector");
            let _ = handle.catch_up().now_or_never();
            let other = handle.add_handler_with(HandlerConfig::default(), |_| {});
            assert_eq!(other.synced().now_or_never(), None, "not taken up before this call returns");
            at_once(other.remove());
            drop(handle.events());
            others.lock().push(handle.add_handler(|_| {}));
        }
    });
    assert_eq!(synced(&registration).await, Ok(()));
    assert_eq!((registration.status().panics, registration.status().told), (0, 1));
    let other = others.lock().pop().expect("one");
    assert_eq!(synced(&other).await, Ok(()));
    assert_eq!(rig.handle.sync_status().handlers.len(), 2);
    rig.stop().await;
}

/// Goal: B4: a handler that asks for its own registration waits for nobody: `synced` is an error while it can't come true,
/// status shows the call, `remove` returns and this call is the last.
#[tokio::test(start_paused = true)]
async fn its_own_registration() {
    let rig = Rig::start();
    let (slot, calls) = (Slot::default(), Arc::new(AtomicUsize::new(0)));
    let registration = rig.handle.add_handler({
        let (slot, calls) = (Arc::clone(&slot), Arc::clone(&calls));
        move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            let own = slot.lock().take().expect("put there before anything is listed");
            assert!(own.status().calling_since.is_some() && !own.has_synced() && own.pending() == 1);
            assert_eq!(at_once(own.synced()), Err(NotSynced::WithinHandler));
            own.end();
            own.end();
            assert!(own.status().ended);
            at_once(own.remove());
        }
    });
    *slot.lock() = Some(registration);
    for name in ["a", "b"] {
        rig.send("ADDED", name);
    }
    rig.end_list();
    settle().await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(rig.handle.sync_status().handlers.is_empty());
    rig.stop().await;
}

/// Goal: a task that a handler has spawned may wait for its removal; two handlers may remove each other.
#[tokio::test(start_paused = true)]
async fn removal_by_others() {
    let rig = Rig::start();
    let removed = Arc::new(AtomicUsize::new(0));
    let slots = [Slot::default(), Slot::default()];
    for (own, other) in [(0, 1), (1, 0)] {
        let (removed, other) = (Arc::clone(&removed), Arc::clone(&slots[other]));
        let registration = rig.handle.add_handler(move |_| {
            let (removed, other) = (Arc::clone(&removed), other.lock().take());
            tokio::spawn(async move {
                if let Some(other) = other {
                    other.remove().await;
                    removed.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        *slots[own].lock() = Some(registration);
    }
    rig.send("ADDED", "a");
    rig.end_list();
    settle().await;
    assert_eq!(removed.load(Ordering::Relaxed), 2);
    assert!(rig.handle.sync_status().handlers.is_empty());
    rig.stop().await;
}

/// Goal: stopping the informer from within a handler ends it; the call is the last.
#[tokio::test(start_paused = true)]
async fn stopping_the_informer() {
    let rig = Rig::with(&["a", "b"]).await;
    let (stop, handle) = (rig.stop.clone(), rig.handle.clone());
    let registration = rig.handle.add_handler(move |_| {
        stop.cancel();
        assert!(!handle.sync_status().ended, "this call is in progress");
    });
    let run = tokio::time::timeout(Duration::from_secs(60), rig.run).await;
    run.expect("it ends").expect("it ends well");
    assert!(registration.status().ended && registration.status().told >= 1);
    assert_eq!(registration.status().panics, 0);
    assert_eq!(synced(&registration).await.is_err(), !registration.has_synced());
}

/// What a handler owns: a destructor that calls back, as deep as it gets.
struct CallsBack {
    handle: InformerHandle<ConfigMap>,
    dropped: Arc<AtomicUsize>,
}

impl Drop for CallsBack {
    fn drop(&mut self) {
        let _ = self.handle.sync_status();
        drop(self.handle.events());
        at_once(self.handle.add_handler(|event| drop(text(&event))).remove());
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Goal: no destructor of a handler runs under a lock, wherever a registration's life ends: never taken up and removed, taken
/// up and removed, refused, still there when the informer ends, and of an informer that never runs.
#[tokio::test(start_paused = true)]
async fn destructors_call_back() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let add = |handle: &InformerHandle<ConfigMap>| {
        let owned = CallsBack { handle: handle.clone(), dropped: Arc::clone(&dropped) };
        handle.add_handler(move |_| {
            let _ = &owned;
        })
    };
    let rig = Rig::with(&["a"]).await;
    add(&rig.handle).remove().await;
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "never taken up");
    let taken_up = add(&rig.handle);
    assert_eq!(synced(&taken_up).await, Ok(()));
    taken_up.remove().await;
    settle().await;
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    let handle = rig.handle.clone();
    let last = add(&handle);
    assert_eq!(synced(&last).await, Ok(()));
    rig.stop().await;
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
    assert!(add(&handle).status().ended, "refused");
    assert_eq!(dropped.load(Ordering::Relaxed), 4);
}
