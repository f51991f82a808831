//! The scenario of a crowd: one informer, and everybody who can see what it caches: handlers that are quick, that panic, that are told
//! again, that come and go; streams, pulled quickly and slowly; inline sources; readers of lists and snapshots; indexes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use fastrand::Rng;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::Client;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::simulate::truth::Truth;
use watchkeeper_apiserver::simulate::workload::Workload;
use watchkeeper_apiserver::simulate::{Outcome, Scenario, log};
use watchkeeper_informer::{
    Deadlines, EventStream, HandlerConfig, Index, InformerHandle, KubeListWatch, RangeIndex, Registration, Scope,
    SharedInformer,
};

use crate::fault::{self, Fault};
use crate::observer::{Flaw, Observer, Shared, present};
use crate::setting::{self, FAULTS, MINUTE};

mod guests;
mod judge;

/// Who gets something wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Breach {
    Source(Flaw),
    Handler(Flaw),
    Stream(Flaw),
    Lister(Flaw),
    Resync(Flaw),
    CallAfterTheEnd,
    IndexMisses,
    SnapshotOfBefore,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) writes: u32,
    pub(crate) breach: Option<Breach>,
}

/// What the scenario does itself, beside the faults of [`fault`].
pub(crate) const DOINGS: [&str; 13] = [
    "restore",
    "relist",
    "audit",
    "handler comes",
    "handler goes",
    "stream comes",
    "stream goes",
    "source comes",
    "source goes",
    "handler panics",
    "slow pull",
    "resync told",
    "deletion inferred",
];

/// How often each of [`DOINGS`] was done.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Done {
    fn note(&self, what: &'static str) {
        self.add(what, 1);
    }

    fn add(&self, what: &'static str, count: u64) {
        assert!(DOINGS.contains(&what));
        *self.0.lock().entry(what).or_default() += count;
    }
}

struct World {
    server: ApiServer,
    handle: InformerHandle<ConfigMap>,
    by_digit: Index<ConfigMap, char>,
    by_value: RangeIndex<ConfigMap, u64>,
    observers: Arc<Mutex<Vec<Shared>>>,
    tasks: Mutex<JoinSet<()>>,
    done: Done,
    breach: Option<Breach>,
    /// The server has gone back to a backup.
    restored: AtomicBool,
    /// Faults and writes are over.
    calm: CancellationToken,
}

fn value(map: &ConfigMap) -> u64 {
    map.data.as_ref().and_then(|data| data.get("value")).and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn digit(map: &ConfigMap) -> char {
    value(map).to_string().chars().next().unwrap_or_default()
}

impl Scenario for Crowd {
    type Fault = Fault;

    fn faults(&self, seed: u64) -> Vec<Fault> {
        fault::draw(&mut Rng::with_seed(seed ^ 0xc0), FAULTS, MINUTE)
    }

    async fn run(&self, seed: u64, faults: &[Fault]) -> Outcome {
        let mut random = Rng::with_seed(seed);
        let (world, informer) = World::new(seed, &mut random, self.breach);
        let (handle, stop) = (informer.handle(), CancellationToken::new());
        world.invite(&mut random);
        let running = tokio::spawn(informer.run(stop.clone()));
        let workload = Workload { writes: self.writes, within: MINUTE, names: 12 };
        let (mut writing, restoring) = (random.fork(), random.fork());
        let storm = async {
            tokio::join!(
                workload.run(&world.server, &mut writing),
                fault::unleash(&world.server, faults, true),
                world.restore(restoring),
            );
            world.calm.cancel();
        };
        let (looking, poking, visiting) = (random.fork(), random.fork(), random.fork());
        tokio::join!(storm, world.read(looking), world.poke(poking), world.visit(visiting));
        let settled = world.settled().await;
        let mut verdict = Ok(());
        stop.cancel();
        running.await.expect("the informer doesn't panic");
        let mut tasks = std::mem::take(&mut *world.tasks.lock());
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a stream that ends");
        }
        drop(handle);
        let truth = Truth::of(&world.server, ("", "v1", "configmaps"));
        let observers = world.observers.lock().clone();
        for observer in &observers {
            let observer = observer.lock();
            world.done.add("resync told", observer.resyncs);
            world.done.add("deletion inferred", observer.inferred);
            verdict = verdict.and_then(|()| observer.judge(&truth));
        }
        verdict = verdict.and(settled);
        let mut fired = log::fired(&world.server, faults.iter().filter_map(|fault| fault.what.name()));
        fired.extend(world.done.0.lock().iter().map(|(what, count)| ((*what).to_owned(), *count)));
        Outcome { verdict, trace: trace(&observers, &world.server), fired }
    }
}

impl World {
    fn new(seed: u64, random: &mut Rng, breach: Option<Breach>) -> (Self, SharedInformer<ConfigMap>) {
        let server = fault::cluster(seed, random);
        let client = Client::new(server.service("informer"), "default");
        let source = KubeListWatch::new(client, Scope::all::<ConfigMap>(), Deadlines::default());
        let mut informer = SharedInformer::new(Arc::new(source), setting::config(random));
        let by_digit = informer.add_index("digit", |map: &ConfigMap| [digit(map)]);
        let by_value = informer.add_range_index("value", |map: &ConfigMap| [value(map)]);
        let observers = Arc::new(Mutex::new(Vec::new()));
        let handle = informer.handle();
        let (tasks, done, calm) = (Mutex::new(JoinSet::new()), Done::default(), CancellationToken::new());
        let restored = AtomicBool::new(false);
        let world = Self { server, handle, by_digit, by_value, observers, tasks, done, breach, restored, calm };
        let observer = world.observer("source", world.flaw(|breach| matches!(breach, Breach::Source(_))));
        informer.add_source(move |event| observer.lock().hear(event));
        (world, informer)
    }

    fn flaw(&self, of: impl Fn(Breach) -> bool) -> Option<Flaw> {
        match self.breach.filter(|breach| of(*breach))? {
            Breach::Source(flaw)
            | Breach::Handler(flaw)
            | Breach::Stream(flaw)
            | Breach::Lister(flaw)
            | Breach::Resync(flaw) => Some(flaw),
            _ => None,
        }
    }

    fn observer(&self, name: &str, flaw: Option<Flaw>) -> Shared {
        let observer = Observer::shared(name, flaw);
        observer.lock().restored = self.restored.load(Relaxed).then_some(0);
        self.observers.lock().push(Arc::clone(&observer));
        observer
    }

    fn handler(&self, name: &str, resync: Option<Duration>, flaw: Option<Flaw>) -> (Registration, Shared) {
        let observer = self.observer(name, flaw);
        let heard = Arc::clone(&observer);
        let config = HandlerConfig { name: name.to_owned(), resync };
        (self.handle.add_handler_with(config, move |event| heard.lock().hear(&event)), observer)
    }

    /// Those who are there from the beginning to the end.
    fn invite(&self, random: &mut Rng) {
        self.handler("handler", None, self.flaw(|breach| matches!(breach, Breach::Handler(_))));
        let period = Duration::from_secs(random.u64(1..20));
        self.handler("resync", Some(period), self.flaw(|breach| matches!(breach, Breach::Resync(_))));
        let (observer, done, mut random) = (self.observer("panics", None), self.done.clone(), random.fork());
        let config = HandlerConfig { name: "panics".to_owned(), ..HandlerConfig::default() };
        let random_in_slow = random.fork();
        self.handle.add_handler_with(config, move |event| {
            observer.lock().hear(&event);
            if random.u8(..8) == 0 {
                done.note("handler panics");
                // Without a word to the hook.
                resume_unwind(Box::new("planted"));
            }
        });
        self.pull("stream", None, CancellationToken::new());
        self.pull("slow", Some(random_in_slow), CancellationToken::new());
    }

    /// Somebody pulls until `leave`. One who is slow takes his time, as long as there is no calm.
    fn pull(&self, name: &str, slow: Option<Rng>, leave: CancellationToken) {
        let flaw = self.flaw(|breach| matches!(breach, Breach::Stream(_)) && name == "stream");
        let (observer, events) = (self.observer(name, flaw), self.handle.events());
        let (done, calm) = (self.done.clone(), self.calm.clone());
        self.tasks.lock().spawn(async move {
            if leave.run_until_cancelled(pull(events, Arc::clone(&observer), slow, done, calm)).await.is_none() {
                observer.lock().ended = true;
            }
        });
    }

    /// Lists and snapshots, at any time; what an index shows has the value.
    async fn read(&self, mut random: Rng) {
        let lister = self.observer("lister", self.flaw(|breach| matches!(breach, Breach::Lister(_))));
        let snapshots = self.observer("snapshots", None);
        loop {
            let list = self.handle.lister().list();
            lister.lock().look(&list);
            let snapshot = self.handle.lister().snapshot();
            snapshots.lock().look(&snapshot.list());
            for digit_wanted in '1'..='9' {
                if self.by_digit.get(&digit_wanted).iter().any(|map| digit(map) != digit_wanted) {
                    lister.lock().accuse("I4", "a false hit".to_owned());
                }
            }
            if self.calm.is_cancelled() {
                lister.lock().ended = true;
                snapshots.lock().ended = true;
                return;
            }
            sleep(Duration::from_millis(random.u64(..1_500))).await;
            if random.bool() {
                // It stands still, whatever has happened meanwhile.
                let then = present(list.iter().map(|map| &**map));
                if present(snapshot.list().iter().map(|map| &**map)) != then {
                    snapshots.lock().accuse("I4", "a snapshot has moved".to_owned());
                }
            }
        }
    }

    /// Asks for lists and audits.
    async fn poke(&self, mut random: Rng) {
        while !self.calm.is_cancelled() {
            sleep(Duration::from_millis(random.u64(..12_000))).await;
            if random.bool() {
                self.done.note("relist");
                self.handle.relist();
            } else {
                let verdict = timeout(Duration::from_secs(10), self.handle.audit()).await;
                verdict.iter().for_each(|_| self.done.note("audit"));
            }
        }
    }

    /// In some runs the server goes back to a backup, once, in the way that is recommended: with versions raised beyond all that were
    /// given out, and none before them known.
    async fn restore(&self, mut random: Rng) {
        if random.u8(..4) > 0 {
            return;
        }
        sleep(MINUTE.mul_f64(random.f64() * 0.6)).await;
        let (backup, then) = (self.server.snapshot(), self.server.version());
        sleep(MINUTE.mul_f64(random.f64() * 0.3)).await;
        let newest = self.server.version();
        self.observers.lock().iter().map(|observer| observer.lock()).for_each(|mut observer| {
            observer.restored = Some(observer.seen.len());
        });
        self.restored.store(true, Relaxed);
        self.server.restore(&backup);
        self.server.raise_version(newest - then + 1_000);
        self.server.compact(self.server.version());
        self.done.note("restore");
    }
}

async fn pull(
    mut events: EventStream<ConfigMap>,
    observer: Shared,
    mut slow: Option<Rng>,
    done: Done,
    calm: CancellationToken,
) {
    while let Some(event) = events.next().await {
        observer.lock().hear(&event);
        if let Some(random) = &mut slow
            && !calm.is_cancelled()
        {
            done.note("slow pull");
            sleep(Duration::from_millis(random.u64(..4_000))).await;
        }
    }
}

fn trace(observers: &[Shared], server: &ApiServer) -> String {
    let mut trace = setting::log_of(server);
    for observer in observers.iter().map(|observer| observer.lock()) {
        for seen in &observer.seen {
            _ = writeln!(trace, "{}: {seen:?}", observer.name);
        }
    }
    trace
}
