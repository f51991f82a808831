//! Informers that are shared. Method: the whole pipeline against the embedded API server, in paused time; the requests are counted on the wire.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use support::{Wire, create, embedded, eventually, manager_config};
use tokio_util::sync::CancellationToken;
use watchkeeper::informer::Scope;
use watchkeeper::{Action, Controller, Failure, Informers, Manager, ManagerError, Reconciler, Request};

const LONG: Duration = Duration::from_secs(120);

/// Writes down which key was worked on, and whether the object was there.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(String, bool)>>>);

#[async_trait]
impl Reconciler<ConfigMap> for Recorder {
    async fn reconcile(&self, request: Request<ConfigMap>) -> Result<Action, Failure> {
        self.0.lock().push((request.key.to_string(), request.object.is_some()));
        Ok(Action::Done)
    }
}

/// Goal: two controllers of one manager share one informer, and both are told.
#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "the test stands for main")]
async fn controllers_share_an_informer() {
    let server = embedded();
    create(&server, "before", "1").await;
    let wire = Wire::new(&server, "shared");
    let connection = wire.connection();
    let config = manager_config(connection.clone(), "shared", "shared");
    let informers = Informers::new(connection);
    let (one, other) = (Recorder::default(), Recorder::default());
    let controller = |name, recorder: &Recorder| {
        let maps = informers.informer::<ConfigMap>().expect("an informer");
        Controller::new(name, maps, recorder.clone())
    };
    let manager = Manager::new(config)
        .informers(&informers)
        .controller(controller("one", &one))
        .controller(controller("other", &other));
    let stop = CancellationToken::new();
    let running = tokio::spawn(manager.run(stop.clone()));
    let both = async |key: &str| {
        let worked_on = |recorder: &Recorder| recorder.0.lock().contains(&(key.to_owned(), true));
        eventually("both have worked on it", LONG, async || worked_on(&one) && worked_on(&other)).await;
    };
    both("default/before").await;
    create(&server, "after", "1").await;
    both("default/after").await;
    assert_eq!(informers.factory().statuses().len(), 1);
    let counts = wire.take_counts();
    let watches: u64 =
        counts.iter().filter(|(what, _)| what.contains("configmaps")).map(|(_, count)| *count as u64).sum();
    assert!((1..=3).contains(&watches), "one informer: {counts:?}");
    stop.cancel();
    running.await.expect("no panic").expect("a clean end");
    assert!(informers.factory().statuses().iter().all(|(_, status)| status.ended));
}

/// Goal: a manager whose shared informers somebody else runs ends with an error, and leaves them alone.
#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "the test stands for main")]
async fn shared_informers_run_once() {
    let wire = Wire::new(&embedded(), "shared");
    let informers = Informers::new(wire.connection());
    let (factory, stop) = (informers.factory().clone(), CancellationToken::new());
    let stopped = stop.clone();
    let running = tokio::spawn(async move { factory.run(stopped).await });
    let maps = informers.informer::<ConfigMap>().expect("an informer");
    tokio::time::timeout(LONG, maps.synced()).await.expect("synced").expect("it runs");
    let manager = Manager::new(manager_config(wire.connection(), "shared", "shared")).informers(&informers);
    let ended = tokio::time::timeout(LONG, manager.run(CancellationToken::new())).await.expect("at once");
    assert!(matches!(ended, Err(ManagerError::Informer)), "{ended:?}");
    assert!(!maps.has_ended());
    stop.cancel();
    running.await.expect("no panic").expect("the only run");
}

/// Goal: an informer over namespaces is shared too; who asks for others gets them added, by their names, while it runs; it is another than
/// the one over everything.
#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "the test stands for main")]
async fn namespaces_are_shared_and_change() {
    let server = embedded();
    create(&server, "one", "1").await;
    let wire = Wire::new(&server, "namespaces");
    let (informers, stop) = (Informers::new(wire.connection()), CancellationToken::new());
    let scope = Scope::all::<ConfigMap>();
    let of =
        |namespaces: &[&str]| informers.informer_in_namespaces::<ConfigMap>(&scope, namespaces).expect("an informer");
    let maps = of(&["kube-system"]);
    let factory = informers.factory().clone();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { factory.run(stop).await.expect("it runs once") }
    });
    tokio::time::timeout(LONG, maps.synced()).await.expect("synced").expect("it runs");
    assert!(maps.lister().is_empty());
    let more = of(&["default", "kube-system"]);
    assert_eq!((maps.namespaces(), informers.factory().statuses().len()), (more.namespaces(), 1));
    tokio::time::timeout(LONG, maps.synced()).await.expect("synced").expect("it runs");
    assert_eq!(maps.lister().len(), 1);
    more.remove_namespace("default").expect("it is there").finished().await;
    assert_eq!((maps.namespaces(), maps.lister().len()), (vec!["kube-system".to_owned()], 0));
    wire.take_counts();
    create(&server, "two", "1").await;
    maps.add_namespace("default").expect("it isn't there");
    tokio::time::timeout(LONG, maps.synced()).await.expect("synced").expect("it runs");
    assert_eq!(maps.lister().len(), 2);
    let counts = wire.take_counts();
    assert_eq!(counts.values().sum::<usize>(), 1, "one namespace is read, not all: {counts:?}");
    let all = informers.informer::<ConfigMap>().expect("an informer");
    assert!(all.namespaces().is_empty() && maps.namespaces().len() == 2);
    stop.cancel();
    running.await.expect("no panic");
    assert!(of(&["default", "elsewhere"]).has_ended());
}
