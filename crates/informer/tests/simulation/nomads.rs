//! The scenario of nomads: an informer over namespaces, one of which leaves and comes back again and again while everything goes wrong around it.
//!
//! Goal: as far as it is watched it is told the truth: no object goes back to an older state, also not over an absence (I1); each stay of an object is told
//! from its beginning to its end (I3); when a removal is over nothing of the namespace is cached (I4) and every inline source has heard of all ends; in
//! the end there is what the server has (I2), and after the stop nothing (I10).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::Client;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::simulate::truth::Truth;
use watchkeeper_apiserver::simulate::workload::Workload;
use watchkeeper_apiserver::simulate::{Outcome, Scenario, Violation, check, log};
use watchkeeper_informer::decode::Decoder;
use watchkeeper_informer::{Deadlines, Event, InformerHandle, KubeListWatch, Scope, SharedInformer};

use crate::fault::{self, Fault};
use crate::observer::{Present, present};
use crate::setting::{self, CONVERGENCE, FAULTS, MINUTE};

/// The one that the workload writes to, and that roams.
const NOMAD: &str = "default";

pub(crate) const DOINGS: [&str; 4] = ["leaves", "comes", "comes at once", "is removed unheard"];

/// What goes wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Planted {
    LosesEnds,
    RepeatsOlderStates,
    StaysAway,
    OnlyPretendsToLeave,
    LeavesATask,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Nomads {
    pub(crate) planted: Option<Planted>,
}

/// What one observer has heard.
struct Diary {
    name: &'static str,
    /// It may hear of the same state twice: as the old one, and as that in which the object came back.
    lags: bool,
    planted: Option<Planted>,
    lines: Vec<String>,
    /// What is there, as far as it was told.
    told: Present,
    /// The newest state told of each life.
    newest: HashMap<String, u64>,
    /// Every state told.
    states: Vec<(String, u64)>,
    wrong: Option<Violation>,
}

type Shared = Arc<Mutex<Diary>>;

impl Diary {
    fn shared(name: &'static str, lags: bool, planted: Option<Planted>) -> Shared {
        let (lines, told, newest, states) = (Vec::new(), Present::new(), HashMap::new(), Vec::new());
        Arc::new(Mutex::new(Self { name, lags, planted, lines, told, newest, states, wrong: None }))
    }

    fn accuse(&mut self, promise: &'static str, what: String) {
        self.wrong.get_or_insert(Violation::new(promise, format!("{}: {what}", self.name)));
    }

    fn hear(&mut self, event: &Event<ConfigMap>) {
        if self.planted == Some(Planted::LosesEnds) && matches!(event, Event::Deleted { .. }) {
            return;
        }
        self.note(event);
        if let (Some(Planted::RepeatsOlderStates), Event::Updated { old, new }) = (self.planted, event) {
            self.note(&Event::Updated { old: Arc::clone(new), new: Arc::clone(old) });
        }
    }

    fn note(&mut self, event: &Event<ConfigMap>) {
        self.lines.push(format!("{event:?}").chars().take(300).collect());
        let (key, (uid, version)) = present([&**event.object()]).pop_first().expect("there is one");
        let before = self.newest.insert(uid.clone(), version).unwrap_or_default();
        self.states.push((uid.clone(), version));
        let is_older = version < before || version == before && !self.lags && matches!(event, Event::Updated { .. });
        if is_older {
            self.accuse("I1", format!("version {before} was told before {event:?}"));
        }
        let is_there = self.told.get(&key).map(|(uid, _)| uid.clone());
        let fits = match event {
            Event::Added { .. } => is_there.is_none(),
            _ => is_there.as_ref() == Some(&uid),
        };
        if !fits {
            self.accuse("I3", format!("{is_there:?} was there before {event:?}"));
        }
        if matches!(event, Event::Deleted { .. }) {
            self.told.remove(&key);
        } else {
            self.told.insert(key, (uid, version));
        }
    }

    fn judge(&self, truth: &Truth) -> Result<(), Violation> {
        self.wrong.clone().map_or(Ok(()), Err)?;
        match self.states.iter().find(|(uid, version)| !truth.has(uid, *version)) {
            Some(never) => Err(Violation::new("I1", format!("{}: {never:?} never was", self.name))),
            None => Ok(()),
        }
    }
}

impl Scenario for Nomads {
    type Fault = Fault;

    fn faults(&self, seed: u64) -> Vec<Fault> {
        fault::draw(&mut Rng::with_seed(seed ^ 0x50), FAULTS, MINUTE)
    }

    async fn run(&self, seed: u64, faults: &[Fault]) -> Outcome {
        let mut random = Rng::with_seed(seed);
        let server = fault::cluster(seed, &mut random);
        let before = Handle::current().metrics().num_alive_tasks();
        let mut informer = informer(&server, &mut random);
        let (handle, stop, calm) = (informer.handle(), CancellationToken::new(), CancellationToken::new());
        let diaries = [
            Diary::shared("source", false, self.planted),
            Diary::shared("handler", true, None),
            Diary::shared("stream", true, None),
        ];
        let [source, handler, stream] = diaries.clone();
        let inline = Arc::clone(&source);
        informer.add_source(move |event| inline.lock().hear(event));
        handle.add_handler(move |event| handler.lock().hear(&event));
        let pulling = tokio::spawn(pull(handle.clone(), stream, random.fork(), calm.clone()));
        let running = tokio::spawn(informer.run(stop.clone()));
        let mut roaming = Roaming { handle: &handle, source, planted: self.planted, done: BTreeMap::new() };
        let (mut writing, roads) = (random.fork(), random.fork());
        let storm = async {
            let workload = Workload { writes: 300, within: MINUTE, names: 12 };
            tokio::join!(workload.run(&server, &mut writing), fault::unleash(&server, faults, true));
            calm.cancel();
        };
        tokio::join!(storm, roaming.roam(roads, &calm));
        let done = std::mem::take(&mut roaming.done);
        let mut verdict = converged(&handle, &server, &diaries).await;
        if self.planted == Some(Planted::LeavesATask) {
            tokio::spawn(std::future::pending::<()>());
        }
        stop.cancel();
        running.await.expect("the informer doesn't panic");
        pulling.await.expect("a stream that ends");
        drop(handle);
        sleep(Duration::from_millis(1)).await;
        let after = Handle::current().metrics().num_alive_tasks();
        let truth = Truth::of(&server, ("", "v1", "configmaps"));
        let judged = diaries.iter().try_for_each(|diary| diary.lock().judge(&truth));
        verdict = judged.and(verdict).and_then(|()| check::no_tasks_left(before, after));
        let mut fired = log::fired(&server, faults.iter().filter_map(|fault| fault.what.name()));
        fired.extend(done.into_iter().map(|(what, count)| (what.to_owned(), count)));
        Outcome { verdict, trace: trace(&diaries, &server), fired }
    }
}

fn informer(server: &ApiServer, random: &mut Rng) -> SharedInformer<ConfigMap> {
    let client = Client::new(server.service("informer"), NOMAD);
    let config = setting::config(random);
    let sources = KubeListWatch::sources(client, Scope::all::<ConfigMap>(), Deadlines::default());
    let first = [NOMAD, "kube-public"].map(|namespace| (namespace.to_owned(), sources(namespace)));
    let informer = SharedInformer::in_namespaces(first, &Decoder::new(config.decoder), &config);
    informer.expect("two namespaces").with_sources(sources)
}

/// Who lets it leave and come back.
struct Roaming<'a> {
    handle: &'a InformerHandle<ConfigMap>,
    source: Shared,
    planted: Option<Planted>,
    done: BTreeMap<&'static str, u64>,
}

impl Roaming<'_> {
    fn note(&mut self, what: &'static str) {
        assert!(DOINGS.contains(&what));
        *self.done.entry(what).or_default() += 1;
    }

    async fn roam(&mut self, mut random: Rng, calm: &CancellationToken) {
        loop {
            sleep(Duration::from_millis(random.u64(..6_000))).await;
            if calm.is_cancelled() {
                return;
            }
            self.leave(&mut random).await;
            if self.planted == Some(Planted::StaysAway) {
                return;
            }
            if self.planted != Some(Planted::OnlyPretendsToLeave) {
                self.handle.add_namespace(NOMAD).expect("it has left");
            }
            self.note("comes");
        }
    }

    async fn leave(&mut self, random: &mut Rng) {
        if self.planted == Some(Planted::OnlyPretendsToLeave) {
            return self.has_left();
        }
        let removal = self.handle.remove_namespace(NOMAD).expect("it is there");
        self.note("leaves");
        match random.u8(..4) {
            0 => self.note("comes at once"),
            1 => {
                self.note("is removed unheard");
                tokio::task::yield_now().await;
            }
            _ => {
                if timeout(Duration::from_secs(1), removal.finished()).await.is_err() {
                    return self.source.lock().accuse("I10", "a removal doesn't end".to_owned());
                }
                self.has_left();
                sleep(Duration::from_millis(random.u64(..2_000))).await;
                self.has_left();
            }
        }
    }

    /// Nothing of it is there.
    fn has_left(&self) {
        let (cached, mut source) = (self.handle.lister().namespace(NOMAD).len(), self.source.lock());
        if cached > 0 {
            source.accuse("I4", format!("{cached} objects are cached of a namespace that has left"));
        }
        if !source.told.is_empty() {
            let what = format!("not told of the ends of {:?}", source.told);
            source.accuse("I3", what);
        }
    }
}

async fn pull(handle: InformerHandle<ConfigMap>, diary: Shared, mut random: Rng, calm: CancellationToken) {
    let mut events = handle.events();
    drop(handle);
    while let Some(event) = events.next().await {
        diary.lock().hear(&event);
        if !calm.is_cancelled() {
            sleep(Duration::from_millis(random.u64(..1_500))).await;
        }
    }
}

/// Waits until cache, observers and server are of one mind, as long as that may take.
async fn converged(
    handle: &InformerHandle<ConfigMap>,
    server: &ApiServer,
    diaries: &[Shared],
) -> Result<(), Violation> {
    let judge = setting::judge(server);
    let agreed = async || {
        let fresh = setting::fresh(&judge).await?;
        let cached = present(handle.lister().list().iter().map(|map| &**map));
        let told = diaries.iter().all(|diary| diary.lock().told == fresh);
        let status = handle.sync_status();
        if cached == fresh && told && status.is_synced() {
            return Ok(());
        }
        Err(Violation::new("I2", format!("{status}: cached {cached:?}, there {fresh:?}, all told {told}")))
    };
    setting::until_agreed(CONVERGENCE, agreed).await
}

fn trace(diaries: &[Shared], server: &ApiServer) -> String {
    let mut trace = setting::log_of(server);
    for diary in diaries.iter().map(|diary| diary.lock()) {
        diary.lines.iter().for_each(|line| _ = writeln!(trace, "{}: {line}", diary.name));
    }
    trace
}
