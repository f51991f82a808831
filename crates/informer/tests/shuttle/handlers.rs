//! The processor, those it tells, and those who come and go. Method: the processor runs as it does in an informer, on tasks of the
//! model checker; a producer pushes batches, others register, wait, remove and stop meanwhile.
//!
//! A handler can't fail a scene, for its panics are caught: it writes down what was wrong, and the scene looks in the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use shuttle::future::block_on;
use shuttle::thread::{JoinHandle, spawn, yield_now};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::delta_fifo::{Delta, Relisted, Replacement};
use watchkeeper_informer::mutant::Mutant;
use watchkeeper_informer::{
    DeltaFifo, Event, EventStream, NotSynced, Processor, Registration, ResourceVersion, ThreadSafeStore,
};

use crate::thing::{Thing, version};
use crate::{explore, find};

fn thing(name: &str, version: u64) -> Arc<Thing> {
    let (namespace, name, version) = ("n".to_owned(), name.to_owned(), version.to_string());
    Arc::new(Thing { namespace, uid: name.clone(), name, version, groups: Vec::new() })
}

type Told = BTreeMap<String, u64>;

/// What one handler has been told, and what was wrong about it.
#[derive(Default)]
struct Diary {
    told: Mutex<Told>,
    wrong: Mutex<Vec<String>>,
    begun: AtomicUsize,
    returned: AtomicUsize,
    /// The object named `last` was told of.
    last: Notify,
    /// Handlers that write here and haven't been dropped.
    handlers: AtomicUsize,
}

/// A handler is there as long as this is.
struct Present(Arc<Diary>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.handlers.fetch_sub(1, SeqCst);
    }
}

impl Diary {
    /// A handler that writes here, and that others can get in the way of.
    fn handler(self: &Arc<Self>) -> Box<dyn FnMut(Event<Thing>) + Send> {
        self.handlers.fetch_add(1, SeqCst);
        let present = Present(Arc::clone(self));
        Box::new(move |event| {
            let diary = &present.0;
            if diary.begun.fetch_add(1, SeqCst) != diary.returned.load(SeqCst) {
                diary.wrong.lock().expect("not poisoned").push("two calls at once".to_owned());
            }
            yield_now();
            diary.hear(&event);
            yield_now();
            diary.returned.fetch_add(1, SeqCst);
        })
    }

    fn hear(&self, event: &Event<Thing>) {
        let (name, newest) = (event.object().name.clone(), version(event.object()));
        let mut told = self.told.lock().expect("not poisoned");
        let is_right = match event {
            Event::Added { .. } => told.insert(name.clone(), newest).is_none(),
            Event::Updated { old, .. } => {
                told.insert(name.clone(), newest).is_some_and(|before| before == version(old) && before < newest)
            }
            Event::Deleted { .. } => told.remove(&name).is_some_and(|before| before <= newest),
            Event::Resync { .. } => false,
        };
        if !is_right {
            self.wrong.lock().expect("not poisoned").push(format!("{name} at {newest}"));
        }
        if name == "last" {
            self.last.notify_one();
        }
    }

    fn told(&self) -> Told {
        self.told.lock().expect("not poisoned").clone()
    }

    /// No call is running, and none has begun since there were so many.
    fn assert_quiet(&self, calls: usize) {
        assert_eq!((self.begun.load(SeqCst), self.returned.load(SeqCst)), (calls, calls), "a call too many");
    }

    /// Everything was told in order, and no handler is left.
    fn assert_right(&self) {
        assert_eq!(*self.wrong.lock().expect("not poisoned"), Vec::<String>::new());
        assert_eq!(self.handlers.load(SeqCst), 0, "a handler is left");
    }
}

type Register = Box<dyn Fn(Box<dyn FnMut(Event<Thing>) + Send>) -> Registration + Send>;
type Subscribe = Box<dyn Fn() -> EventStream<Thing> + Send>;

/// A processor that runs.
struct World {
    fifo: DeltaFifo<Thing>,
    store: ThreadSafeStore<Thing>,
    register: Register,
    subscribe: Subscribe,
    another: Box<dyn Fn() -> (Register, Subscribe)>,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl World {
    /// `before` may register before it runs.
    fn start(before: impl FnOnce(&Register)) -> Self {
        let (fifo, stop) = (DeltaFifo::new(), CancellationToken::new());
        let processor = Processor::new(fifo.clone());
        let (registrar, subscriber) = (processor.registrar(), processor.subscriber());
        let another = move || -> (Register, Subscribe) { (Box::new(registrar.clone()), Box::new(subscriber.clone())) };
        let (register, subscribe) = another();
        before(&register);
        let store = processor.store();
        let run = spawn({
            let stop = stop.clone();
            move || block_on(processor.run(stop))
        });
        Self { fifo, store, register, subscribe, another: Box::new(another), stop, run }
    }

    fn list(&self, version: u64) {
        let items = ["a", "b"].map(|name| Relisted::new(thing(name, version))).into();
        self.fifo.replace(Replacement { items, version: ResourceVersion::new(&version.to_string()) });
        yield_now();
    }

    fn push(&self, delta: Delta<Thing>, version: u64) {
        self.fifo.push(delta, 1, ResourceVersion::new(&version.to_string()));
        yield_now();
    }

    fn write(&self, name: &str, version: u64) {
        self.push(Delta::Applied(thing(name, version)), version);
    }

    fn delete(&self, name: &str, version: u64) {
        self.push(Delta::Deleted(thing(name, version)), version);
    }

    fn present(&self) -> Told {
        self.store.list().iter().map(|thing| (thing.name.clone(), version(thing))).collect()
    }

    fn stop(self) {
        self.stop.cancel();
        self.run.join().expect("the processor");
    }
}

/// Goal: whoever comes while batches are applied, to be called or to pull, hears one seamless story, and in the end knows what
/// the store has. Method: `last` is written last, so that a key that waits for it has heard everything before; one who is never
/// woken is a deadlock.
#[test]
fn newcomers() {
    explore("newcomers", || {
        let world = World::start(|_| {});
        world.list(1);
        let (diary, pulled) = (Arc::new(Diary::default()), Arc::new(Diary::default()));
        let called = spawn({
            let ((register, _), diary) = ((world.another)(), Arc::clone(&diary));
            move || {
                let registration = register(diary.handler());
                block_on(diary.last.notified());
                assert_eq!(block_on(registration.synced()), Ok(()));
                block_on(registration.remove());
            }
        });
        let pulls = spawn({
            let ((_, subscribe), diary) = ((world.another)(), Arc::clone(&pulled));
            move || {
                let mut events = subscribe();
                while !diary.told().contains_key("last") {
                    diary.hear(&block_on(events.next()).expect("it runs"));
                }
            }
        });
        world.write("a", 2);
        world.delete("b", 3);
        world.write("c", 4);
        world.write("last", 5);
        called.join().expect("who is called");
        pulls.join().expect("who pulls");
        let expected = world.present();
        world.stop();
        for diary in [diary, pulled] {
            assert_eq!(diary.told(), expected);
            diary.assert_right();
        }
    });
}

/// Goal: I5: a registration is synced when its handler has returned from the last call of the first list, whether it came before the
/// list or with it, and it is woken then.
#[test]
fn syncs() {
    explore("syncs", || {
        let (early, late) = (Arc::new(Diary::default()), Arc::new(Diary::default()));
        let mut before = None;
        let world = World::start(|register| before = Some(register(early.handler())));
        let wait = |diary: &Arc<Diary>, registration: Registration| {
            assert_eq!(block_on(registration.synced()), Ok(()));
            assert!(diary.returned.load(SeqCst) >= 2, "synced after {:?}", diary.told());
            assert!(registration.has_synced() && registration.status().synced);
        };
        let waiters = [
            spawn({
                let (diary, registration) = (Arc::clone(&early), before.take().expect("registered"));
                move || wait(&diary, registration)
            }),
            spawn({
                let ((register, _), diary) = ((world.another)(), Arc::clone(&late));
                move || wait(&diary, register(diary.handler()))
            }),
        ];
        world.list(1);
        waiters.into_iter().for_each(|waiter| waiter.join().expect("a waiter"));
        world.stop();
        early.assert_right();
        late.assert_right();
    });
}

/// Goal: after `end` no event is taken up to be told, after `remove` no call is running and none begins; both while events come. Method:
/// one is removed, one ended, and a third watches the second: what is said to have ended is told nothing more.
#[test]
fn removals() {
    explore("removals", || {
        let (removed, ended) = (Arc::new(Diary::default()), Arc::new(Diary::default()));
        let mut before = Vec::new();
        let world = World::start(|register| before = vec![register(removed.handler()), register(ended.handler())]);
        world.list(1);
        let ends = Arc::new(before.pop().expect("two"));
        let remove = before.pop().expect("two");
        let threads = [
            spawn({
                let diary = Arc::clone(&removed);
                move || {
                    yield_now();
                    block_on(remove.remove());
                    let calls = diary.begun.load(SeqCst);
                    diary.assert_quiet(calls);
                    yield_now();
                    diary.assert_quiet(calls);
                }
            }),
            spawn({
                let ends = Arc::clone(&ends);
                move || {
                    ends.end();
                    let told = ends.status().told;
                    yield_now();
                    assert_eq!((ends.status().told, ends.status().pending), (told, 0), "told after the end");
                }
            }),
            spawn({
                let ends = Arc::clone(&ends);
                move || {
                    let before = ends.status();
                    yield_now();
                    assert!(!before.ended || ends.status().told == before.told, "told after it was said to have ended");
                }
            }),
        ];
        world.write("a", 2);
        world.delete("b", 3);
        threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
        let calls = removed.begun.load(SeqCst);
        world.stop();
        removed.assert_quiet(calls);
        removed.assert_right();
        ended.assert_right();
    });
}

/// Goal: I10: when `run` has returned no call is running and none begins, each registration has ended and nobody waits for it, also
/// who came while it stopped or comes afterwards; and no handler is left. Method: the stop comes while others register, wait and pull.
#[test]
fn stops() {
    explore("stops", || {
        let (diary, late) = (Arc::new(Diary::default()), Arc::new(Diary::default()));
        let mut before = None;
        let world = World::start(|register| before = Some(register(diary.handler())));
        let newcomer = Arc::new(Diary::default());
        let threads = [
            spawn({
                let ((register, _), diary) = ((world.another)(), Arc::clone(&newcomer));
                move || {
                    let registration = register(diary.handler());
                    let synced = block_on(registration.synced());
                    assert!(synced == Ok(()) || synced == Err(NotSynced::Ended));
                    block_on(registration.remove());
                    diary.assert_quiet(diary.begun.load(SeqCst));
                }
            }),
            spawn({
                let (_, subscribe) = (world.another)();
                move || _ = block_on(subscribe().count())
            }),
        ];
        world.list(1);
        world.write("a", 2);
        world.stop.cancel();
        world.run.join().expect("the processor");
        let calls = [&diary, &newcomer].map(|diary| diary.begun.load(SeqCst));
        diary.assert_quiet(calls[0]);
        newcomer.assert_quiet(calls[1]);
        let registration = (world.register)(late.handler());
        assert_eq!(block_on(registration.synced()), Err(NotSynced::Ended));
        assert!(registration.status().ended && before.is_some_and(|before| before.status().ended));
        assert!(block_on((world.subscribe)().next()).is_none());
        threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
        for (diary, calls) in [(diary, calls[0]), (newcomer, calls[1]), (late, 0)] {
            diary.assert_quiet(calls);
            diary.assert_right();
        }
    });
}

/// Goal: each fault planted in what tells handlers is seen by one of the scenes.
#[test]
fn planted_faults() {
    find(&Mutant::HANDLERS, &["handlers::newcomers", "handlers::syncs", "handlers::removals", "handlers::stops"]);
}
