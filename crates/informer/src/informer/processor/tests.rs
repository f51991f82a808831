#![allow(clippy::disallowed_methods)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::*;
use crate::delta_fifo::{Delta, Relisted, Replacement};
use crate::informer::told::Tell;
use crate::thing::Thing;
use crate::version::ResourceVersion;

fn thing(name: &str, version: u64) -> Arc<Thing> {
    Arc::new(Thing { name: name.to_owned(), uid: name.to_owned(), version: version.to_string() })
}

fn at(version: u64) -> ResourceVersion {
    ResourceVersion::new(&version.to_string())
}

/// A processor that runs, and its reflector's end in the hand of the test.
struct Harness {
    fifo: DeltaFifo<Thing>,
    registry: Arc<Registry<Thing>>,
    store: ThreadSafeStore<Thing>,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Harness {
    fn start(sources: Vec<Tell<Thing>>) -> Self {
        let (fifo, stop) = (DeltaFifo::new(), CancellationToken::new());
        let mut processor = Processor::new(fifo.clone());
        sources.into_iter().for_each(|source| processor.add_source(source));
        let (store, registry) = (processor.store(), Arc::clone(&processor.registry));
        let run = tokio::spawn(processor.run(stop.clone()));
        Self { fifo, registry, store, stop, run }
    }

    fn replace(&self, things: &[(&str, u64)], version: u64) {
        let items = things.iter().map(|(name, version)| Relisted::new(thing(name, *version))).collect();
        self.fifo.replace(Replacement { items, version: at(version) });
    }

    fn write(&self, name: &str, version: u64) {
        self.fifo.push(Delta::Applied(thing(name, version)), 1, at(version));
    }

    /// Registers a handler that writes down what it hears.
    fn listen(&self) -> (Registration, Arc<Mutex<Vec<String>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let registration = register(&self.registry, HandlerConfig::default(), {
            let heard = Arc::clone(&heard);
            move |event| heard.lock().push(text(&event))
        });
        (registration, heard)
    }

    async fn stop(self) {
        self.stop.cancel();
        self.run.await.expect("run ends");
    }
}

fn text(event: &Event<Thing>) -> String {
    match event {
        Event::Added { object, initial: true } => format!("initial {}@{}", object.name, object.version),
        Event::Added { object, .. } => format!("added {}@{}", object.name, object.version),
        Event::Updated { old, new } => format!("updated {}@{}..{}", new.name, old.version, new.version),
        Event::Deleted { last, finality } => format!("deleted {}@{} {finality:?}", last.name, last.version),
        Event::Resync { object } => format!("resync {}@{}", object.name, object.version),
    }
}

/// Lets every task run until nothing is left to do. Method: paused time only moves when all tasks wait.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

/// Goal: I5. Before the first list nobody is synced; an empty first list syncs without a call; a handler that comes
/// late gets what is there as its snapshot, then changes.
#[tokio::test(start_paused = true)]
async fn snapshots_then_changes() {
    let harness = Harness::start(Vec::new());
    let (early, early_heard) = harness.listen();
    settle().await;
    assert!(!early.has_synced());
    harness.replace(&[("a", 1), ("b", 2)], 3);
    early.synced().await.expect("it runs");
    assert_eq!(*early_heard.lock(), ["initial a@1", "initial b@2"]);

    harness.write("a", 4);
    settle().await;
    let (late, late_heard) = harness.listen();
    assert!(!late.has_synced());
    late.synced().await.expect("it runs");
    harness.replace(&[("a", 4), ("c", 5)], 6);
    settle().await;
    assert_eq!(early_heard.lock()[2..], ["updated a@1..4", "deleted b@2 Inferred", "added c@5"]);
    let mut snapshot = late_heard.lock()[..2].to_vec();
    snapshot.sort();
    assert_eq!(snapshot, ["initial a@4", "initial b@2"]);
    assert_eq!(late_heard.lock()[2..], ["deleted b@2 Inferred", "added c@5"]);
    harness.stop().await;
}

/// Goal: the first list of an empty cluster syncs the handler without a call.
#[tokio::test(start_paused = true)]
async fn an_empty_snapshot_is_a_snapshot() {
    let harness = Harness::start(Vec::new());
    let (registration, heard) = harness.listen();
    harness.replace(&[], 1);
    registration.synced().await.expect("it runs");
    assert!(heard.lock().is_empty());
    harness.stop().await;
}

/// Goal: I4. Sources and handlers find the store showing what they are told, or what came after it in the same batch.
#[tokio::test(start_paused = true)]
async fn the_store_shows_it_first() {
    let store: Arc<Mutex<Option<ThreadSafeStore<Thing>>>> = Arc::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let check = {
        let (store, calls) = (Arc::clone(&store), Arc::clone(&calls));
        move |event: &Event<Thing>| {
            let store = store.lock().clone().expect("set before the first push");
            let cached = store.get(&crate::key::ObjectKey::of(&**event.object()));
            let told = event.object();
            match cached {
                Some(cached) => assert_eq!(cached.version, told.version),
                None => assert!(matches!(event, Event::Deleted { .. }) || (told.name == "a" && told.version == "2")),
            }
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let harness = Harness::start(vec![Box::new(check.clone())]);
    *store.lock() = Some(harness.store.clone());
    let registration = register(&harness.registry, HandlerConfig::default(), move |event| check(&event));
    harness.replace(&[("a", 1)], 1);
    registration.synced().await.expect("it runs");
    harness.write("a", 2);
    harness.fifo.push(Delta::Deleted(thing("a", 3)), 1, at(3));
    harness.write("b", 4);
    settle().await;
    assert_eq!(registration.status().panics, 0);
    assert_eq!(
        calls.load(Ordering::Relaxed),
        4 + 3,
        "a is added, changed, which the handler's mailbox leaves out, and deleted; b is added"
    );
    harness.stop().await;
}

/// Goal: B1 of the failure catalogue: a panic costs one call, neither the handler nor another, nor its sync.
#[tokio::test(start_paused = true)]
async fn a_panicking_handler_goes_on() {
    let harness = Harness::start(Vec::new());
    let calls = Arc::new(AtomicUsize::new(0));
    let bad = register(&harness.registry, HandlerConfig::default(), {
        let calls = Arc::clone(&calls);
        move |_| {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                panic!("planted");
            }
        }
    });
    let (good, heard) = harness.listen();
    harness.replace(&[("a", 1), ("b", 2)], 2);
    bad.synced().await.expect("it runs");
    good.synced().await.expect("it runs");
    assert_eq!((calls.load(Ordering::Relaxed), bad.status().panics, good.status().panics), (2, 1, 0));
    assert_eq!(heard.lock().len(), 2);
    assert_eq!(harness.registry.statuses().len(), 2);
    harness.stop().await;
}

/// Goal: B2: a stuck handler holds up neither the store nor another handler; its mailbox is bounded by keys, it isn't
/// synced, and in the end it hears the difference. Method: a handler that waits for the test, on a thread of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_handler_harms_nobody() {
    let harness = Harness::start(Vec::new());
    let (release, wait) = mpsc::channel::<()>();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let stuck = register(&harness.registry, HandlerConfig::default(), {
        let heard = Arc::clone(&heard);
        move |event| {
            heard.lock().push(text(&event));
            let _ = wait.recv();
        }
    });
    let (free, _) = harness.listen();
    harness.replace(&[("a", 1), ("b", 1)], 1);
    free.synced().await.expect("it runs");
    // Stuck for certain, and not only slow to begin.
    while heard.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    for version in 2..500 {
        harness.write("a", version);
        harness.write(&format!("short-lived-{version}"), version);
        harness.fifo.consumed().await;
        harness.fifo.push(Delta::Deleted(thing(&format!("short-lived-{version}"), version)), 1, at(version));
        harness.fifo.consumed().await;
    }
    // A batch is taken up when everyone was told of the one before.
    harness.fifo.reached(at(500));
    harness.fifo.consumed().await;
    assert_eq!(harness.store.len(), 2);
    assert!(!stuck.has_synced());
    assert!(stuck.pending() <= 3, "{} pending", stuck.pending());
    drop(release);
    stuck.synced().await.expect("it runs");
    while stuck.pending() > 0 {
        tokio::task::yield_now().await;
    }
    harness.stop().await;
    assert_eq!(*heard.lock(), ["initial a@1", "initial b@1", "updated a@1..499"]);
}

/// Goal: I10: after `remove` no call begins and none is running; removing twice as many as there are calls harms
/// nobody. Method: the handler is inside a call when the registration is removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_waits_for_the_call() {
    let harness = Harness::start(Vec::new());
    let (entered, inside) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let calls = Arc::new(AtomicUsize::new(0));
    let registration = register(&harness.registry, HandlerConfig::default(), {
        let calls = Arc::clone(&calls);
        move |_| {
            entered.send(()).expect("the test listens");
            let _ = wait.recv();
            calls.fetch_add(1, Ordering::Relaxed);
        }
    });
    harness.replace(&[("a", 1), ("b", 1)], 1);
    let inside = tokio::task::spawn_blocking(move || inside.recv().map(|()| inside));
    let _inside = inside.await.expect("joined").expect("the handler was called");
    let mut removal = Box::pin(registration.remove());
    assert!(futures::poll!(removal.as_mut()).is_pending());
    release.send(()).expect("the handler waits");
    removal.await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    harness.write("a", 2);
    harness.fifo.consumed().await;
    assert_eq!(harness.registry.statuses().len(), 0);
    harness.stop().await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// Goal: ends in every state: a registration never taken up, one made after the end, a queue closed under the loop.
#[tokio::test(start_paused = true)]
async fn ends_in_every_state() {
    let harness = Harness::start(Vec::new());
    let (never_taken_up, _) = harness.listen();
    never_taken_up.remove().await;
    let registry = Arc::clone(&harness.registry);
    harness.fifo.close();
    harness.run.await.expect("run ends when the queue is closed");
    assert!(harness.stop.is_cancelled());
    let too_late = register(&registry, HandlerConfig::default(), |_| panic!("never called"));
    assert!(!too_late.has_synced());
    too_late.remove().await;
}

/// Goal: a source that panics is a lost event, so it ends the run, loudly.
#[tokio::test(start_paused = true)]
async fn a_panicking_source_ends_the_run() {
    let harness = Harness::start(vec![Box::new(|_| panic!("planted"))]);
    harness.replace(&[("a", 1)], 1);
    assert!(harness.run.await.expect_err("the panic comes out").is_panic());
}

/// An object whose destructor asks for the status of a registration.
struct Nosy {
    version: String,
    registration: Arc<Mutex<Option<Registration>>>,
}

impl Cached for Nosy {
    fn namespace(&self) -> &str {
        "ns"
    }
    fn name(&self) -> &str {
        "a"
    }
    fn uid(&self) -> &str {
        "a"
    }
    fn version(&self) -> &str {
        &self.version
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(registration) = &*self.registration.lock() {
            assert!(registration.status().pending <= 1);
        }
    }
}

/// Goal: no object is freed under the lock of a mailbox: its destructor may look at the registration. Method: states that
/// nobody is told of, since the handler lags behind them, and what a mailbox still holds when it ends.
#[tokio::test(start_paused = true)]
async fn objects_are_freed_outside_the_lock() {
    let slot = Arc::new(Mutex::new(None));
    let nosy = |version: u64| Arc::new(Nosy { version: version.to_string(), registration: Arc::clone(&slot) });
    let (fifo, stop) = (DeltaFifo::new(), CancellationToken::new());
    let processor = Processor::new(fifo.clone());
    let registration = processor.add_handler(|_| {});
    let events = crate::handler::subscribe(&processor.registry, HandlerConfig::default());
    let run = tokio::spawn(processor.run(stop.clone()));
    fifo.replace(Replacement { items: vec![Relisted::new(nosy(1))], version: at(1) });
    registration.synced().await.expect("it runs");
    *slot.lock() = Some(registration);
    for version in 2..20 {
        fifo.push(Delta::Applied(nosy(version)), 1, at(version));
        fifo.consumed().await;
    }
    fifo.push(Delta::Deleted(nosy(20)), 1, at(20));
    settle().await;
    drop(events);
    stop.cancel();
    run.await.expect("nobody waits for himself");
    // The last object goes with what it looks at.
    let last = slot.lock().take();
    drop(last);
}
