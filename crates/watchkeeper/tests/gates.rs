//! Goal: each kind of gate keeps its promise between replicas: at most one works on a key at any time, the work moves when it should,
//! and goes on. Method: whole managers against the embedded API server in one process and paused time; a reconciler that writes down
//! who works on what, and how long.

#![allow(clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "the test stands for main")]

#[path = "../../leader/tests/matrix/log.rs"]
mod log;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::{Api, Patch, PatchParams};
use log::Log;
use parking_lot::Mutex;
use serde_json::json;
use support::{Wire, create, embedded, eventually, hand, manager_config};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchkeeper::leader::{Buckets, HAND_OVER_ANNOTATION, Sight, VirtualClock};
use watchkeeper::{
    Action, Controller, Failure, Gating, HardStop, Manager, ManagerConfig, ManagerError, Reconciler, Request,
};
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::fault::{Action as FaultAction, Matcher, Refusal, Rule, Verb};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any takeover.
const SETTLED: Duration = Duration::from_secs(90);

/// Who works on which key right now, over all replicas, and who ever has.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    open: BTreeMap<String, BTreeSet<String>>,
    /// The last replica that finished each key.
    last: BTreeMap<String, String>,
    doubles: Vec<String>,
}

impl Ledger {
    fn enter(&self, key: &str, who: &str) {
        let mut book = self.0.lock();
        let at_work = book.open.entry(key.to_owned()).or_default();
        at_work.insert(who.to_owned());
        if at_work.len() > 1 {
            let double = format!("{key}: {at_work:?}");
            book.doubles.push(double);
        }
    }

    fn leave(&self, key: &str, who: &str) {
        let mut book = self.0.lock();
        if let Some(at_work) = book.open.get_mut(key) {
            at_work.remove(who);
        }
    }

    fn clear(&self) {
        self.0.lock().last.clear();
    }

    /// How many keys were finished last by each replica since the last clearing.
    fn shares(&self) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for who in self.0.lock().last.values() {
            *shares.entry(who.clone()).or_insert(0) += 1;
        }
        shares
    }

    fn doubles(&self) -> Vec<String> {
        self.0.lock().doubles.clone()
    }
}

/// At work on a key; also when its future is dropped, the key is left.
struct AtWork<'a>(&'a Ledger, String, &'a str);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.leave(&self.1, self.2);
    }
}

/// Works a while on each key, again and again.
struct Worker {
    name: String,
    ledger: Ledger,
}

#[async_trait]
impl Reconciler<ConfigMap> for Worker {
    async fn reconcile(&self, request: Request<ConfigMap>) -> Result<Action, Failure> {
        let key = request.key.to_string();
        self.ledger.enter(&key, &self.name);
        let _at_work = AtWork(&self.ledger, key.clone(), &self.name);
        sleep(SECOND / 2).await;
        self.ledger.0.lock().last.insert(key, self.name.clone());
        Ok(Action::RequeueAfter(SECOND))
    }
}

struct Replica {
    sights: tokio::sync::watch::Receiver<Vec<Sight>>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ManagerError>>,
    well: Arc<AtomicBool>,
}

/// A replica with its name and the gate of its controller; `change` may change its configuration.
fn start_with(
    server: &ApiServer,
    name: &str,
    gating: Gating,
    ledger: &Ledger,
    change: impl FnOnce(&mut ManagerConfig),
) -> Replica {
    let connection = Wire::new(server, name).connection();
    let mut config = manager_config(connection.clone(), name, "gates");
    config.elector.seed = name.bytes().map(u64::from).sum();
    config.hard_stop = HardStop::Call(Arc::new(|| panic!("work did not stop")));
    config.health.period = SECOND;
    change(&mut config);
    let mut maps = connection.informer::<ConfigMap>().expect("an informer");
    let worker = Worker { name: name.to_owned(), ledger: ledger.clone() };
    let controller = Controller::new("counter", &mut maps, worker).workers(4).gated_by(gating);
    let well = Arc::new(AtomicBool::new(true));
    let answer = well.clone();
    let manager = Manager::new(config).informer(maps).controller(controller).health_check("asked", move || {
        let well = answer.load(Ordering::Relaxed);
        async move { if well { Ok(()) } else { Err("a planted illness".to_owned()) } }
    });
    let (sights, stop) = (manager.sights(), CancellationToken::new());
    let running = tokio::spawn(manager.run(stop.clone()));
    Replica { sights, stop, running, well }
}

fn start(server: &ApiServer, name: &str, gating: Gating, ledger: &Ledger) -> Replica {
    start_with(server, name, gating, ledger, |_| {})
}

impl Replica {
    async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("no panic").expect("a clean end");
    }
}

async fn with_keys(count: usize) -> (ApiServer, Ledger) {
    let server = embedded();
    for number in 0..count {
        create(&server, &format!("key-{number}"), "1").await;
    }
    (server, Ledger::default())
}

async fn only(ledger: &Ledger, who: &str, keys: usize) {
    eventually(&format!("{who} works on all"), SETTLED, async || {
        ledger.clear();
        sleep(3 * SECOND).await;
        ledger.shares() == BTreeMap::from([(who.to_owned(), keys)])
    })
    .await;
}

async fn leases(server: &ApiServer) -> Vec<String> {
    let leases: Api<Lease> = Api::namespaced(hand(server), "kube-system");
    leases
        .list(&Default::default())
        .await
        .expect("listed")
        .items
        .into_iter()
        .filter_map(|lease| lease.metadata.name)
        .collect()
}

/// A Lease of its own: named after the controller, one replica works, the other takes over.
#[tokio::test(start_paused = true)]
async fn a_lease_of_its_own() {
    let (server, ledger) = with_keys(5).await;
    let a = start(&server, "a", Gating::Own, &ledger);
    only(&ledger, "a", 5).await;
    let b = start(&server, "b", Gating::Own, &ledger);
    sleep(SETTLED).await;
    assert_eq!(
        leases(&server).await,
        ["gates.counter"],
        "nobody stands for the manager's own Lease: no work is behind it"
    );
    a.end().await;
    only(&ledger, "b", 5).await;
    b.end().await;
    assert_eq!(ledger.doubles(), Vec::<String>::new());
}

/// Buckets: three replicas share the keys, each key has one worker at a time, and all keys are worked on when replicas come and go.
#[tokio::test(start_paused = true)]
async fn buckets_share_the_keys() {
    let (server, ledger) = with_keys(60).await;
    let gating = Gating::Buckets(Buckets::new(6).expect("a number"));
    let a = start(&server, "a", gating, &ledger);
    only(&ledger, "a", 60).await;
    let (b, c) = (start(&server, "b", gating, &ledger), start(&server, "c", gating, &ledger));
    sleep(SETTLED).await;
    ledger.clear();
    sleep(30 * SECOND).await;
    let shares = ledger.shares();
    assert_eq!((shares.values().sum::<usize>(), shares.len()), (60, 3), "{shares:?}");
    assert!(shares.values().all(|share| (8..=35).contains(share)), "{shares:?}");
    b.end().await;
    // A crash.
    c.running.abort();
    only(&ledger, "a", 60).await;
    assert_eq!(a.sights.borrow().len(), 6);
    a.end().await;
    assert_eq!(ledger.doubles(), Vec::<String>::new());
}

/// Always: every replica works on every key, without a Lease.
#[tokio::test(start_paused = true)]
async fn always_needs_no_lease() {
    let log = Log::new();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (server, ledger) = with_keys(3).await;
    let (a, b) = (start(&server, "a", Gating::Always, &ledger), start(&server, "b", Gating::Always, &ledger));
    eventually("both at once", SETTLED, async || !ledger.doubles().is_empty()).await;
    assert_eq!(leases(&server).await, Vec::<String>::new());
    a.end().await;
    ledger.clear();
    sleep(5 * SECOND).await;
    assert_eq!(ledger.shares(), BTreeMap::from([("b".to_owned(), 3)]));
    b.end().await;
    assert!(log.says("no election: this process acts") && !log.says("epoch="), "{:#?}", log.lines());
}

/// A term's end is told once, in one word, and a health check's failing when it begins and when it is over.
#[tokio::test(start_paused = true)]
async fn the_log_says_each_thing_once() {
    let log = Log::new();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (server, ledger) = with_keys(1).await;
    let a = start(&server, "a", Gating::Shared, &ledger);
    only(&ledger, "a", 1).await;
    let said = |text: &str| log.lines().iter().filter(|line| line.contains(text)).count();
    a.well.store(false, Ordering::Relaxed);
    // One round that fails, too few to be unfit.
    eventually("it fails", SETTLED, async || log.says("a health check fails")).await;
    a.well.store(true, Ordering::Relaxed);
    eventually("it passes", SETTLED, async || log.says("the health check passes again")).await;
    assert_eq!((said("health check"), said("fit to lead")), (2, 0), "{:#?}", log.lines());
    a.well.store(false, Ordering::Relaxed);
    sleep(SETTLED).await;
    a.well.store(true, Ordering::Relaxed);
    sleep(SETTLED).await;
    assert_eq!((said("health check"), said("fit to lead")), (3, 3), "{:#?}", log.lines());
    assert_eq!((said("end=released"), said("the term has ended")), (1, 1), "{:#?}", log.lines());
    let lease: Api<Lease> = Api::namespaced(hand(&server), "kube-system");
    let theft = Patch::Merge(json!({"spec": {"holderIdentity": "thief"}}));
    lease.patch("gates", &PatchParams::default(), &theft).await.expect("stolen");
    eventually("lost", SETTLED, async || log.says("end=lost")).await;
    assert_eq!((said("the term has ended"), said("end=kept")), (2, 0), "{:#?}", log.lines());
    a.end().await;
}

/// An unfit leader gives up and keeps away; with nobody else it comes back when it is well and its cool-down has passed.
#[tokio::test(start_paused = true)]
async fn an_unfit_leader_steps_down() {
    let (server, ledger) = with_keys(5).await;
    let a = start(&server, "a", Gating::Shared, &ledger);
    only(&ledger, "a", 5).await;
    let b = start(&server, "b", Gating::Shared, &ledger);
    sleep(20 * SECOND).await;
    a.well.store(false, Ordering::Relaxed);
    only(&ledger, "b", 5).await;
    sleep(SETTLED).await;
    b.end().await;
    ledger.clear();
    sleep(SETTLED).await;
    assert_eq!(ledger.shares(), BTreeMap::new(), "unfit, it claims nothing");
    a.well.store(true, Ordering::Relaxed);
    only(&ledger, "a", 5).await;
    a.end().await;
    assert_eq!(ledger.doubles(), Vec::<String>::new());
}

/// `kubectl annotate lease ... watchkeeper.dev/hand-over-to=POD` moves the work there.
#[tokio::test(start_paused = true)]
async fn a_hand_over_by_annotation() {
    let (server, ledger) = with_keys(5).await;
    let a = start(&server, "a", Gating::Shared, &ledger);
    only(&ledger, "a", 5).await;
    let (b, c) = (start(&server, "b", Gating::Shared, &ledger), start(&server, "c", Gating::Shared, &ledger));
    sleep(20 * SECOND).await;
    let lease: Api<Lease> = Api::namespaced(hand(&server), "kube-system");
    let wish = Patch::Merge(json!({"metadata": {"annotations": {HAND_OVER_ANNOTATION: "c"}}}));
    lease.patch("gates", &PatchParams::default(), &wish).await.expect("annotated");
    only(&ledger, "c", 5).await;
    let history = c.sights.borrow()[0].history_json();
    assert_eq!(history.as_array().map(Vec::len), Some(2), "{history}");
    for replica in [a, b, c] {
        replica.end().await;
    }
    assert_eq!(ledger.doubles(), Vec::<String>::new());
}

/// A step of the wall clock costs one renewal: the workers wait for it, and go on in the same term.
#[tokio::test(start_paused = true)]
async fn workers_go_on_after_a_doubt() {
    let (server, ledger) = with_keys(5).await;
    let clock = Arc::new(VirtualClock::new());
    let a = start_with(&server, "a", Gating::Shared, &ledger, |config| config.clock = clock.clone());
    only(&ledger, "a", 5).await;
    clock.step_wall(SignedDuration::from_hours(2));
    sleep(2 * SECOND).await;
    only(&ledger, "a", 5).await;
    assert_eq!(a.sights.borrow()[0].history().len(), 1, "the same term");
    a.end().await;
}

/// A leader whose informers can't catch up gives the Lease to those who can, and rests.
#[tokio::test(start_paused = true)]
async fn a_leader_that_can_not_read_leaves() {
    let (server, ledger) = with_keys(5).await;
    let of_a = Matcher { identity: Some("a".into()), verbs: vec![Verb::List, Verb::Watch], ..Matcher::default() };
    let refuse = Rule { matcher: of_a, ..Rule::new("no list", FaultAction::Answer(Refusal::of(403))) };
    server.faults().add(refuse).expect("a sound rule");
    let a = start_with(&server, "a", Gating::Shared, &ledger, |config| config.catch_up_bound = 30 * SECOND);
    eventually("a leads", SETTLED, async || a.sights.borrow().first().is_some_and(|sight| !sight.history().is_empty()))
        .await;
    let b = start(&server, "b", Gating::Shared, &ledger);
    only(&ledger, "b", 5).await;
    sleep(SETTLED).await;
    only(&ledger, "b", 5).await;
    for replica in [a, b] {
        replica.end().await;
    }
}

/// Counts its passes on the object, beside what others count there.
struct Counter(&'static str, Duration);

#[async_trait]
impl Reconciler<ConfigMap> for Counter {
    async fn reconcile(&self, request: Request<ConfigMap>) -> Result<Action, Failure> {
        let api: Api<ConfigMap> = Api::namespaced(request.client.client(), request.key.namespace());
        // Each write is an event for both controllers.
        sleep(self.1).await;
        // A conflict is another try.
        if let Ok(mut object) = api.get(request.key.name()).await {
            let data = object.data.get_or_insert_default();
            let count: u32 = data.get(self.0).and_then(|count| count.parse().ok()).unwrap_or(0);
            data.insert(self.0.to_owned(), (count + 1).to_string());
            _ = api.replace(request.key.name(), &Default::default(), &object).await;
        }
        Ok(Action::RequeueAfter(SECOND))
    }
}

/// Controllers with Leases of their own may write the same object: epochs of different Leases end nobody's term.
#[tokio::test(start_paused = true)]
async fn one_object_under_two_leases() {
    let (server, _) = with_keys(1).await;
    let connection = Wire::new(&server, "a").connection();
    let mut maps = connection.informer::<ConfigMap>().expect("an informer");
    let shared = Controller::new("shared", &mut maps, Counter("shared", SECOND / 4));
    let own = Controller::new("own", &mut maps, Counter("own", SECOND / 3)).gated_by(Gating::Own);
    let manager = Manager::new(manager_config(connection, "a", "gates"));
    let manager = manager.informer(maps).controller(shared).controller(own);
    let (sights, stop) = (manager.sights(), CancellationToken::new());
    let running = tokio::spawn(manager.run(stop.clone()));
    sleep(SETTLED * 2).await;
    let histories: Vec<usize> = sights.borrow().iter().map(|sight| sight.history().len()).collect();
    assert_eq!(histories, [1, 1]);
    let maps: Api<ConfigMap> = Api::namespaced(hand(&server), "default");
    let data = maps.get("key-0").await.expect("the object").data.expect("counts");
    assert!(["shared", "own"].iter().all(|who| data[*who].parse::<u32>().is_ok_and(|count| count > 30)), "{data:?}");
    stop.cancel();
    running.await.expect("no panic").expect("a clean end");
}

/// Bad input: numbers of buckets that can't be, and a controller whose name can't be part of a Lease's.
#[tokio::test(start_paused = true)]
async fn gates_that_can_not_be() {
    assert!(Buckets::new(0).is_err() && Buckets::new(100).is_err());
    let (server, ledger) = with_keys(0).await;
    let connection = Wire::new(&server, "a").connection();
    let mut maps = connection.informer::<ConfigMap>().expect("an informer");
    let worker = Worker { name: "a".to_owned(), ledger };
    let controller = Controller::new("My Controller", &mut maps, worker).gated_by(Gating::Own);
    let manager = Manager::new(manager_config(connection, "a", "gates")).informer(maps).controller(controller);
    let error = manager.run(CancellationToken::new()).await.expect_err("refused").to_string();
    assert!(error.contains("gates.My Controller") && error.contains("Kubernetes name"), "{error}");
}
