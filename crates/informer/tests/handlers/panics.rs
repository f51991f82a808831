//! Handlers that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use watchkeeper_informer::{Cached, HandlerConfig, ObjectKey, Registration};

use crate::rig::{Rig, settle, synced};

fn panics_at(rig: &Rig, nth: usize) -> (Registration, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let registration = rig.handle.add_handler({
        let calls = Arc::clone(&calls);
        move |_| {
            if calls.fetch_add(1, Ordering::Relaxed) + 1 == nth {
                panic!("planted");
            }
        }
    });
    (registration, calls)
}

/// Goal: B1 and kubernetes#129024: a panic, at whichever call, costs that call: the handler hears the rest, it is synced, if
/// the panic was in the first snapshot too, and nobody else notices. Method: 20 handlers, of which the nth panics at its nth
/// call; ten objects in the snapshot and ten changes after it.
#[tokio::test(start_paused = true)]
async fn at_the_nth_call() {
    let rig = Rig::start();
    let all: Vec<_> = (1..=20).map(|nth| panics_at(&rig, nth)).collect();
    let (calm, heard) = rig.listen(HandlerConfig::default());
    let names: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
    for name in &names {
        rig.send("ADDED", name);
    }
    rig.end_list();
    for (registration, _) in &all {
        assert_eq!(synced(registration).await, Ok(()));
    }
    for name in &names {
        rig.send("MODIFIED", name);
    }
    settle().await;
    for (nth, (registration, calls)) in (1..).zip(&all) {
        let status = registration.status();
        assert_eq!((calls.load(Ordering::Relaxed), status.told, status.panics), (20, 20, 1), "{nth}");
    }
    assert_eq!((heard.lock().len(), calm.status().panics), (20, 0));
    assert!(rig.handle.sync_status().is_synced());
    rig.stop().await;
}

/// Goal: a panic of a source ends the informer, and its status tells why, and at which object; so where the source hears of what is there.
#[tokio::test(start_paused = true)]
async fn of_a_source() {
    for is_there in [false, true] {
        let rig = Rig::with(if is_there { &["a", "b"] } else { &[] }).await;
        let _guard = rig.handle.add_source(|event| assert_ne!(event.object().name(), "b", "planted"));
        settle().await;
        for name in ["a", "b"].iter().filter(|_| !is_there) {
            rig.send("ADDED", name);
        }
        assert!(rig.run.await.expect_err("it ends loudly").is_panic());
        let status = rig.handle.sync_status();
        assert_eq!(status.source_panic, Some(ObjectKey::new("n", "b")), "{status}");
        assert!(status.to_string().ends_with("a source panicked at n/b; stopped"), "{status}");
    }
}

/// Panics when dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("planted in a destructor");
    }
}

/// Goal: a destructor that panics, of a handler or of what it throws, takes nothing down: not whoever removes it, nor the
/// informer when it ends.
#[tokio::test(start_paused = true)]
async fn in_a_destructor() {
    let rig = Rig::with(&["a"]).await;
    let add = || {
        let owned = Grenade;
        rig.handle.add_handler(move |_| {
            let _ = &owned;
        })
    };
    add().remove().await;
    let taken_up = add();
    assert_eq!(synced(&taken_up).await, Ok(()));
    taken_up.remove().await;
    let throws = rig.handle.add_handler(|_| std::panic::panic_any(Grenade));
    assert_eq!(synced(&throws).await, Ok(()));
    assert_eq!(throws.status().panics, 1);
    let last = add();
    assert_eq!(synced(&last).await, Ok(()));
    let (calm, heard) = rig.listen(HandlerConfig::default());
    assert_eq!(synced(&calm).await, Ok(()));
    rig.send("MODIFIED", "a");
    settle().await;
    assert_eq!(*heard.lock(), ["initial a", "updated a"]);
    rig.stop().await;
    assert!(last.status().ended);
}

/// Goal: a handler has a name, its own or that of its type, and a stuck one can be seen: since when it has been in a call, and
/// how long the first of what waits has been waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_handler_shows() {
    let rig = Rig::start();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let config = HandlerConfig { name: "stuck".to_owned(), ..HandlerConfig::default() };
    let stuck = rig.handle.add_handler_with(config, move |_| {
        let _ = wait.recv();
    });
    let (unnamed, _) = rig.listen(HandlerConfig::default());
    for name in ["a", "b"] {
        rig.send("ADDED", name);
    }
    rig.end_list();
    assert_eq!(synced(&unnamed).await, Ok(()));
    while stuck.status().calling_since.is_none() {
        tokio::task::yield_now().await;
    }
    let status = rig.handle.sync_status();
    assert!(status.to_string().contains("stuck"), "{status}");
    let [first, second] = &status.handlers[..] else { panic!("two handlers") };
    assert_eq!((&*first.name, first.synced, first.told, first.pending), ("stuck", false, 1, 1));
    assert!(first.pending_since <= first.calling_since, "both came with the first list");
    assert!(second.name.contains("listen"), "{}", second.name);
    assert_eq!((second.told, second.pending_since, second.calling_since), (2, None, None));
    drop(release);
    assert_eq!(synced(&stuck).await, Ok(()));
    assert!(stuck.status().calling_since.is_none());
    rig.stop().await;
}
