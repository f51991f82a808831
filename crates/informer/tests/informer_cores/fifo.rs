//! DeltaFIFO on its own, and in front of the store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::FutureExt;
use proptest::prelude::*;
use watchkeeper_informer::delta_fifo::{
    Batch, Change, Coalescing, Delta, DeltaFifo, FifoLimits, Known, Ordered, Relisted, Replacement, Work,
};
use watchkeeper_informer::{Event, Finality, ObjectKey, ResourceVersion, StoreWriter};

use crate::server::{Server, Step, steps};
use crate::thing::{Thing, key, thing, version};

fn at(version: u64) -> ResourceVersion {
    ResourceVersion::new(&version.to_string())
}

fn pop(fifo: &DeltaFifo<Thing>) -> Option<Batch<Thing>> {
    fifo.pop().now_or_never().flatten()
}

fn changes(batch: Batch<Thing>) -> Vec<Change<Thing>> {
    batch.receipt.applied();
    match batch.work {
        Work::Changes(changes) => changes,
        Work::Replace(_) => panic!("changes expected"),
    }
}

/// Whoever is told of a uid hears Added, Updated with rising versions, Deleted.
#[derive(Default)]
struct Listener {
    alive: HashMap<String, u64>,
    ended: HashSet<String>,
}

impl Listener {
    fn hear(&mut self, event: &Event<Thing>) {
        match event {
            Event::Added { object, .. } => {
                assert!(!self.ended.contains(&object.uid), "added after its end");
                assert!(self.alive.insert(object.uid.clone(), version(object)).is_none(), "added twice");
            }
            Event::Updated { old, new } => {
                assert_eq!(old.uid, new.uid);
                let told = self.alive.insert(new.uid.clone(), version(new)).expect("updated before it was added");
                assert_eq!(told, version(old));
                assert!(told < version(new), "went back");
            }
            Event::Deleted { last, .. } => {
                let told = self.alive.remove(&last.uid).expect("deleted without being there");
                assert!(told <= version(last));
                assert!(self.ended.insert(last.uid.clone()));
            }
            Event::Resync { .. } => unreachable!("nobody asked for it"),
        }
    }
}

/// Reflector, queue and store in one hand.
struct Pipeline {
    server: Server,
    fifo: DeltaFifo<Thing>,
    writer: StoreWriter<Thing>,
    listener: Listener,
    connected: bool,
    /// It coalesces at once.
    eager: bool,
}

/// Nothing has a limit where nothing reads a socket.
fn fifo(ordered: bool) -> DeltaFifo<Thing> {
    let limits = FifoLimits::default();
    if ordered {
        DeltaFifo::with_queue(Ordered::default(), limits)
    } else {
        DeltaFifo::with_queue(Coalescing::beyond(0), limits)
    }
}

impl Pipeline {
    fn consume(&mut self) -> bool {
        let Some(batch) = pop(&self.fifo) else { return false };
        let newest = batch.version.clone();
        let applied = self.writer.apply(batch.work, batch.version);
        batch.receipt.applied();
        applied.events.iter().for_each(|event| self.listener.hear(event));
        assert_eq!(self.writer.store().reached().version, Some(newest));
        true
    }

    fn push(&self, delta: Option<Delta<Thing>>) {
        if let (true, Some(delta)) = (self.connected, delta) {
            self.fifo.push(delta, 1, self.server.version());
        }
    }

    /// As the reflector does it: "unchanged" is only said when the store has caught up.
    fn relist(&mut self) {
        let caught_up = self.fifo.consumed().now_or_never().is_some();
        let store = self.writer.store();
        let items = self.server.live.values().map(|(_, object)| {
            let Thing { namespace, name, uid, version, .. } = &**object;
            let current = store.current(namespace, name, uid, version).filter(|_| caught_up);
            current.map_or_else(|| Relisted::new(Arc::clone(object)), Relisted::Unchanged)
        });
        self.fifo.replace(Replacement { items: items.collect(), version: self.server.version() });
        self.connected = true;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(name) => {
                let delta = self.server.write(name);
                self.push(Some(delta));
            }
            Step::Delete(name) => {
                let delta = self.server.delete(name);
                self.push(delta);
            }
            Step::Recreate(name) => {
                self.step(Step::Delete(name));
                self.step(Step::Write(name));
            }
            Step::Cut => self.connected = false,
            Step::Relist => self.relist(),
            Step::Bookmark if self.connected => self.fifo.reached(self.server.version()),
            Step::Bookmark => {}
            Step::Consume => {
                self.consume();
            }
        }
        if self.eager {
            assert!(self.fifo.depth() <= 2 * 5, "bounded by keys: those of a list and those after it");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Goal: I1, I3 and honest versions, however pushes, cuts, relists and batches interleave.
    /// Method: a server's history through queue and store; a listener that checks the order of every life; in the end
    /// the store, and what the listener believes, equal the server.
    #[test]
    fn lives_are_told_in_order(steps in steps(80), queue in 0..3) {
        let mut pipeline = Pipeline {
            server: Server::default(),
            fifo: match queue {
                // Both, in one batch or the other.
                0 => DeltaFifo::with_queue(Coalescing::beyond(4), FifoLimits::default()),
                queue => fifo(queue == 1),
            },
            writer: StoreWriter::default(),
            listener: Listener::default(),
            connected: false,
            eager: queue == 2,
        };
        pipeline.relist();
        steps.into_iter().for_each(|step| pipeline.step(step));
        pipeline.relist();
        while pipeline.consume() {}
        prop_assert!(pipeline.fifo.consumed().now_or_never().is_some());

        let mut cached: Vec<_> = pipeline.writer.store().list().iter().map(|thing| (**thing).clone()).collect();
        cached.sort_by(|a, b| a.name.cmp(&b.name));
        let live: Vec<_> = pipeline.server.live.values().map(|(_, object)| (**object).clone()).collect();
        prop_assert_eq!(cached, live);
        let believed: HashMap<_, _> = pipeline.listener.alive;
        let expected: HashMap<_, _> =
            pipeline.server.live.values().map(|(_, object)| (object.uid.clone(), version(object))).collect();
        prop_assert_eq!(believed, expected);
    }

    /// Goal: a batch is the log, only shorter: same order of keys, same end state, at most two changes a key.
    /// Method: against the plain log of what was pushed.
    #[test]
    fn a_batch_is_the_log_compressed(steps in steps(60)) {
        let mut server = Server::default();
        let fifo = fifo(false);
        let mut order: Vec<ObjectKey> = Vec::new();
        let mut end: HashMap<ObjectKey, Option<String>> = HashMap::new();
        let mut last = None;
        for step in steps {
            let delta = match step {
                Step::Write(name) => Some(server.write(name)),
                Step::Delete(name) | Step::Recreate(name) => server.delete(name),
                _ => None,
            };
            let Some(delta) = delta else { continue };
            let (Delta::Applied(object) | Delta::Deleted(object)) = &delta;
            if !order.contains(&key(object)) {
                order.push(key(object));
            }
            end.insert(key(object), matches!(delta, Delta::Applied(_)).then(|| object.version.clone()));
            last = Some(server.version());
            fifo.push(delta, 1, server.version());
        }
        let Some(batch) = pop(&fifo) else {
            prop_assert!(last.is_none());
            return Ok(());
        };
        prop_assert_eq!(Some(batch.version.clone()), last);
        let mut seen: Vec<(ObjectKey, Option<String>)> = Vec::new();
        for change in changes(batch) {
            let (object, state) = match &change {
                Change::Applied(object, _) => (object, Some(object.version.clone())),
                Change::Deleted { last, .. } => (last, None),
            };
            match seen.last_mut() {
                Some((previous, before)) if *previous == key(object) => {
                    prop_assert!(before.is_none() && state.is_some(), "only Deleted, then Applied");
                    *before = state;
                }
                _ => seen.push((key(object), state)),
            }
        }
        prop_assert_eq!(seen.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), order);
        prop_assert_eq!(seen.into_iter().collect::<HashMap<_, _>>(), end);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Goal: the ordered queue leaves nothing out and puts nothing elsewhere. Method: against the plain log, in batches cut at
    /// random.
    #[test]
    fn ordered_batches_are_the_log(steps in steps(60)) {
        let (mut server, fifo) = (Server::default(), fifo(true));
        let (mut pushed, mut popped) = (Vec::new(), Vec::new());
        let read = |fifo: &DeltaFifo<Thing>| pop(fifo).map(changes).unwrap_or_default().into_iter().map(|change| match change {
            Change::Applied(object, _) => (true, object),
            Change::Deleted { last, finality } => (false, { assert_eq!(finality, Finality::Observed); last }),
        }).collect::<Vec<_>>();
        for step in steps {
            let delta = match step {
                Step::Write(name) => Some(server.write(name)),
                Step::Delete(name) | Step::Recreate(name) => server.delete(name),
                Step::Consume => { popped.extend(read(&fifo)); None }
                _ => None,
            };
            let Some(delta) = delta else { continue };
            pushed.push(match &delta {
                Delta::Applied(object) => (true, Arc::clone(object)),
                Delta::Deleted(object) => (false, Arc::clone(object)),
            });
            fifo.push(delta, 1, server.version());
            prop_assert_eq!((fifo.depth(), fifo.bytes()), (pushed.len() - popped.len(), pushed.len() - popped.len()));
        }
        popped.extend(read(&fifo));
        prop_assert_eq!(popped, pushed);
        prop_assert_eq!((fifo.depth(), fifo.bytes(), fifo.coalesced()), (0, 0, 0));
    }
}

/// Goal: there is room below the limits only, of either kind; coalescing takes no more of it; taking a batch, a replacement
/// and closing make room.
#[tokio::test(start_paused = true)]
async fn room_ends_at_the_limits() {
    let limits = FifoLimits { len: 2, bytes: 100 };
    let fifo = DeltaFifo::with_queue(Coalescing::beyond(0), limits);
    let has_room = || fifo.room().now_or_never();
    fifo.push(Delta::Applied(thing(1, 1, 10)), 60, at(10));
    fifo.push(Delta::Applied(thing(1, 1, 11)), 30, at(11));
    assert_eq!((has_room(), fifo.bytes(), fifo.coalesced()), (Some(false), 30, 1));
    fifo.push(Delta::Applied(thing(1, 1, 12)), 100, at(12));
    assert_eq!((has_room(), fifo.depth()), (None, 1));
    fifo.push(Delta::Deleted(thing(1, 1, 13)), 40, at(13));
    fifo.push(Delta::Applied(thing(1, 2, 14)), 50, at(14));
    assert_eq!((has_room(), fifo.bytes()), (Some(false), 90));
    fifo.push(Delta::Applied(thing(2, 1, 15)), 1, at(15));
    assert_eq!(has_room(), None);

    let waiting = tokio::spawn({
        let fifo = fifo.clone();
        async move { fifo.room().await }
    });
    tokio::task::yield_now().await;
    assert_eq!(changes(pop(&fifo).expect("a batch")).len(), 3);
    assert!(waiting.await.expect("there is room"), "it had to wait");
    assert_eq!(fifo.bytes(), 0);

    fifo.push(Delta::Applied(thing(1, 1, 16)), 100, at(16));
    fifo.replace(Replacement { items: Vec::new(), version: at(17) });
    assert_eq!(has_room(), Some(false));
    fifo.push(Delta::Applied(thing(1, 1, 18)), 100, at(18));
    fifo.close();
    assert_eq!(has_room(), Some(false));
}

/// Goal: the end of the life that the store may hold is kept, with how it is known; later lives that passed vanish.
#[test]
fn the_first_end_and_the_last_state() {
    let fifo = fifo(false);
    fifo.push(Delta::Applied(thing(1, 1, 10)), 1, at(10));
    fifo.push(Delta::Applied(thing(1, 2, 11)), 1, at(11)); // A new uid without a delete in between.
    fifo.push(Delta::Deleted(thing(1, 2, 12)), 1, at(12));
    fifo.push(Delta::Applied(thing(1, 3, 13)), 1, at(13));
    fifo.push(Delta::Applied(thing(1, 3, 9)), 1, at(13)); // Older: dropped.
    let changes = changes(pop(&fifo).expect("a batch"));
    let [Change::Deleted { last, finality: Finality::Inferred }, Change::Applied(now, _)] = &changes[..] else {
        panic!("Deleted, Applied expected: {changes:?}");
    };
    assert_eq!((last.uid.as_str(), last.version.as_str()), ("u1-1", "10"));
    assert_eq!((now.uid.as_str(), now.version.as_str()), ("u1-3", "13"));
}

/// Goal: a replacement supersedes what was pending and is a batch of its own, at its own version.
#[test]
fn a_replacement_is_one_barrier() {
    let fifo = DeltaFifo::new();
    fifo.push(Delta::Applied(thing(1, 1, 10)), 1, at(10));
    fifo.replace(Replacement { items: vec![Relisted::new(thing(2, 1, 11))], version: at(12) });
    fifo.push(Delta::Applied(thing(3, 1, 13)), 1, at(13));
    fifo.reached(at(20));
    let first = pop(&fifo).expect("the barrier");
    assert_eq!(first.version, at(12));
    assert!(matches!(&first.work, Work::Replace(replacement) if replacement.items.len() == 1));
    assert!(pop(&fifo).is_none(), "one batch at a time");
    first.receipt.applied();
    let second = pop(&fifo).expect("what came after");
    assert_eq!(second.version, at(20));
    assert_eq!(changes(second).len(), 1);
}

/// Goal: `consumed` waits for the receipt, not just for an empty queue; a lost batch closes the queue.
#[test]
fn consumed_means_applied() {
    let fifo = DeltaFifo::new();
    assert!(fifo.consumed().now_or_never().is_some());
    fifo.reached(at(5));
    assert!(fifo.consumed().now_or_never().is_none());
    let batch = pop(&fifo).expect("a bookmark is work");
    assert!(fifo.consumed().now_or_never().is_none());
    batch.receipt.applied();
    assert!(fifo.consumed().now_or_never().is_some());

    fifo.reached(at(6));
    drop(pop(&fifo));
    fifo.push(Delta::Applied(thing(1, 1, 7)), 1, at(7));
    assert!(matches!(fifo.pop().now_or_never(), Some(None)), "closed");
    assert!(fifo.consumed().now_or_never().is_some());
}

/// Goal: waiting consumers and waiters are woken by a push, a receipt and a close; dropping a waiting `pop` loses
/// nothing. Method: real tasks on paused time.
#[tokio::test(start_paused = true)]
async fn waits_end() {
    let fifo = DeltaFifo::new();
    drop(std::pin::pin!(fifo.pop()).now_or_never());
    let consumer = tokio::spawn({
        let fifo = fifo.clone();
        async move {
            let mut batches = 0;
            while let Some(batch) = fifo.pop().await {
                tokio::task::yield_now().await;
                batch.receipt.applied();
                batches += 1;
            }
            batches
        }
    });
    fifo.push(Delta::Applied(thing(1, 1, 1)), 1, at(1));
    fifo.consumed().await;
    fifo.push(Delta::Applied(thing(1, 1, 2)), 1, at(2));
    fifo.consumed().await;
    fifo.close();
    assert_eq!(consumer.await.expect("the consumer ends"), 2);
}
