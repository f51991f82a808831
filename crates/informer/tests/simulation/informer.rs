//! The scenario: a workload, its faults, one informer with one handler, and the judgements.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::simulate::check::{self, Seen, Told};
use watchkeeper_apiserver::simulate::truth::Truth;
use watchkeeper_apiserver::simulate::workload::Workload;
use watchkeeper_apiserver::simulate::{Outcome, Scenario, Violation, log};
use watchkeeper_informer::{
    Cached, Deadlines, Event, Finality, InformerConfig, InformerHandle, KubeListWatch, Scope, SharedInformer,
};

use crate::fault::{self, Fault};
use crate::observer::{key, number};
use crate::setting::{self, FAULTS, MINUTE};

/// In a minute. Each kind of request is opened once a second at most, but a list of this many objects may have a page each.
const MOST_REQUESTS: usize = 150;
/// After healing: a watch that heard of nothing ends by its silence, a backoff is over, and a list is taken.
const CONVERGENCE: Duration = Duration::from_secs(180 + 45 + 60);

/// An informer that breaks a promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Planted {
    LosesDeletions,
    RepeatsOlderStates,
    TellsAddedTwice,
    NeverHeals,
    LeavesATask,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Informer {
    pub(crate) writes: u32,
    pub(crate) planted: Option<Planted>,
}

impl Default for Informer {
    fn default() -> Self {
        Self { writes: 1000, planted: None }
    }
}

type Diary = Arc<Mutex<Vec<Seen>>>;

impl Scenario for Informer {
    type Fault = Fault;

    fn faults(&self, seed: u64) -> Vec<Fault> {
        fault::draw(&mut fastrand::Rng::with_seed(seed ^ 0xfa), FAULTS, MINUTE)
    }

    async fn run(&self, seed: u64, faults: &[Fault]) -> Outcome {
        let mut random = fastrand::Rng::with_seed(seed);
        let server = fault::cluster(seed, &mut random);
        let before = Handle::current().metrics().num_alive_tasks();
        let (diary, stop) = (Diary::default(), CancellationToken::new());
        let informer = informer(&server, &mut random);
        let handle = informer.handle();
        handle.add_handler(writer(diary.clone(), self.planted));
        let running = tokio::spawn(informer.run(stop.clone()));
        if self.planted == Some(Planted::LeavesATask) {
            tokio::spawn(std::future::pending::<()>());
        }
        let workload = Workload { writes: self.writes, within: MINUTE, names: 12 };
        let heal = self.planted != Some(Planted::NeverHeals);
        tokio::join!(workload.run(&server, &mut random), fault::unleash(&server, faults, heal));
        let mut verdict = converged(&handle, &server).await;
        stop.cancel();
        running.await.expect("the informer doesn't panic");
        let (seen, truth) = (diary.lock().clone(), truth(&server));
        let trace = trace(&seen, &handle, &server);
        let sent = log::requests(&server, "").remove("informer").unwrap_or_default();
        verdict = verdict.and_then(|()| check::request_budget(&sent, MINUTE, MOST_REQUESTS));
        // The client has a task of its own, which ends with the last handle.
        drop(handle);
        sleep(Duration::from_millis(1)).await;
        let after = Handle::current().metrics().num_alive_tasks();
        verdict = verdict.and_then(|()| check::subsequence(&seen, &truth));
        verdict = verdict.and_then(|()| check::delete_completeness(&seen, &truth));
        verdict = verdict.and_then(|()| check::no_tasks_left(before, after));
        let fired = log::fired(&server, faults.iter().filter_map(|fault| fault.what.name()));
        Outcome { verdict, trace, fired }
    }
}

fn informer(server: &ApiServer, random: &mut fastrand::Rng) -> SharedInformer<ConfigMap> {
    let client = kube_client::Client::new(server.service("informer"), "default");
    let source = KubeListWatch::new(client, Scope::all::<ConfigMap>(), Deadlines::default());
    let config = InformerConfig { reflector: setting::reflector(random), ..InformerConfig::default() };
    SharedInformer::new(Arc::new(source), config)
}

fn truth(server: &ApiServer) -> Truth {
    Truth::of(server, ("", "v1", "configmaps"))
}

/// Waits until the cache is what the server has, as long as that may take.
async fn converged(handle: &InformerHandle<ConfigMap>, server: &ApiServer) -> Result<(), Violation> {
    let truth = truth(server);
    let agreed = async || {
        let objects = handle.lister().list();
        let keys: Vec<String> = objects.iter().map(|object| key(object)).collect();
        let cache = keys.iter().zip(&objects).map(|(key, object)| (key.as_str(), object.uid(), number(object)));
        check::convergence(cache, &truth)
    };
    setting::until_agreed(CONVERGENCE, agreed).await
}

/// A handler that writes down what it is told, or something else.
fn writer(diary: Diary, planted: Option<Planted>) -> impl FnMut(Event<ConfigMap>) + Send + 'static {
    move |event| {
        let (told, inferred) = match &event {
            Event::Added { .. } => (Told::Added, false),
            Event::Updated { .. } => (Told::Updated, false),
            Event::Deleted { finality, .. } => (Told::Deleted, *finality == Finality::Inferred),
            Event::Resync { .. } => unreachable!("nobody asked for it"),
        };
        let object = event.object();
        let seen = Seen { told, key: key(object), uid: object.uid().to_owned(), version: number(object), inferred };
        let mut diary = diary.lock();
        match (planted, &event) {
            (Some(Planted::LosesDeletions), Event::Deleted { .. }) => return,
            (Some(Planted::RepeatsOlderStates), Event::Updated { old, .. }) => {
                diary.push(seen.clone());
                diary.push(Seen { version: number(old), ..seen });
                return;
            }
            (Some(Planted::TellsAddedTwice), Event::Updated { .. }) => {
                diary.push(Seen { told: Told::Added, ..seen });
                return;
            }
            _ => {}
        }
        diary.push(seen);
    }
}

fn trace(seen: &[Seen], handle: &InformerHandle<ConfigMap>, server: &ApiServer) -> String {
    let mut trace = String::new();
    for event in seen {
        _ = writeln!(trace, "{event:?}");
    }
    // What the informer did comes last, since the end is what is shown.
    let (its_own, others): (Vec<_>, Vec<_>) =
        server.faults().log().into_iter().partition(|line| line.contains(" informer "));
    for line in others.into_iter().chain(its_own) {
        _ = writeln!(trace, "{line}");
    }
    _ = writeln!(trace, "{:?}", handle.sync_status().reflector().counts);
    trace
}
