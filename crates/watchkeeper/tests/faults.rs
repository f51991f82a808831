//! Goal: whatever the network or the server does, the cache ends equal to a fresh list, requests stay bounded, and work goes on.
//! Method: one replica of the whole pipeline (list-watch to reconcile, election included) against the embedded API server in one process
//! and in paused time, over a wire that the test can cut, hang and count. One test a fault.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::{Api, DeleteParams, PostParams};
use parking_lot::Mutex;
use support::{Weather, Wire, config_map, create, embedded, eventually, fresh_list, hand, manager_config, sorted};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchkeeper::informer::InformerHandle;
use watchkeeper::leader::Epoch;
use watchkeeper::{Action, Controller, Failure, HardStop, Leadership, Manager, ManagerError, Reconciler, Request};
use watchkeeper_apiserver::ApiServer;

/// Virtual time within which everything must have healed: the largest backoff (30 s, jittered to 60 s), a watch and a list.
const HEALED: Duration = Duration::from_secs(120);

/// Writes down which key was worked on in which term.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(String, Epoch)>>>);

#[async_trait]
impl Reconciler<ConfigMap> for Recorder {
    async fn reconcile(&self, request: Request<ConfigMap>) -> Result<Action, Failure> {
        self.0.lock().push((request.key.to_string(), request.client.term().epoch()));
        Ok(Action::Done)
    }
}

struct Replica {
    wire: Wire,
    informer: InformerHandle<ConfigMap>,
    leadership: tokio::sync::watch::Receiver<Leadership>,
    seen: Recorder,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ManagerError>>,
}

impl Replica {
    fn start(server: &ApiServer, name: &str) -> Self {
        let wire = Wire::new(server, name);
        Self::start_on(wire, name)
    }

    #[allow(clippy::disallowed_methods, reason = "the test stands for main")]
    fn start_on(wire: Wire, name: &str) -> Self {
        let connection = wire.connection();
        let mut config = manager_config(connection.clone(), name, "faults");
        config.hard_stop = HardStop::Call(Arc::new(|| panic!("work did not stop")));
        let mut maps = connection.informer::<ConfigMap>().expect("an informer");
        let (informer, seen) = (maps.handle(), Recorder::default());
        let controller = Controller::new("faults", &mut maps, seen.clone()).workers(2);
        let manager = Manager::new(config).informer(maps).controller(controller);
        let (leadership, stop) = (manager.leadership(), CancellationToken::new());
        let running = tokio::spawn(manager.run(stop.clone()));
        Self { wire, informer, leadership, seen, stop, running }
    }

    fn cached(&self) -> Vec<(String, String, String)> {
        let objects = self.informer.lister().list();
        sorted(objects.iter().map(|object| &object.metadata))
    }

    fn acting(&self) -> Option<Epoch> {
        match &*self.leadership.borrow() {
            Leadership::Acting(term) => Some(term.epoch()),
            _ => None,
        }
    }

    async fn acts(&self) -> Epoch {
        eventually("acts", HEALED, async || self.acting().is_some()).await;
        self.acting().expect("acts")
    }

    async fn equals_a_fresh_list(&self, server: &ApiServer) {
        eventually("cache equals a fresh list", HEALED, async || self.cached() == fresh_list(server).await).await;
    }

    async fn worked_on(&self, key: &str, epoch: Epoch) {
        eventually("worked on the key", HEALED, async || self.seen.0.lock().contains(&(key.to_owned(), epoch))).await;
    }

    /// In ten quiet minutes of virtual time the informer must read little.
    async fn is_calm(&self) {
        self.wire.take_counts();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let counts = self.wire.take_counts();
        assert!(reads(&counts) <= 30, "a hot loop: {counts:?}");
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("no panic").expect("a clean end");
    }
}

/// A replica that has caught up and then loses the server for requests whose path contains `only`; meanwhile one object is created, one
/// changed, one deleted.
async fn cut_off_while_things_change(server: &ApiServer, only: &str) -> Replica {
    create(server, "stays", "1").await;
    create(server, "goes", "1").await;
    let replica = Replica::start(server, "r");
    replica.acts().await;
    replica.equals_a_fresh_list(server).await;

    replica.wire.weather(Weather::Refused, only);
    server.close_watches();
    let maps: Api<ConfigMap> = Api::namespaced(hand(server), "default");
    maps.delete("goes", &DeleteParams::default()).await.expect("deleted");
    maps.replace("stays", &PostParams::default(), &config_map("stays", "2")).await.expect("changed");
    create(server, "comes", "1").await;
    replica
}

/// Lists and watches of the informer among `counts`.
fn reads(counts: &BTreeMap<String, usize>) -> usize {
    ["list configmaps", "watch configmaps"].iter().filter_map(|verb| counts.get(*verb)).sum()
}

/// A server that isn't there at start: the replica waits, then works, with few requests meanwhile.
#[tokio::test(start_paused = true)]
async fn connection_refused_at_start() {
    let server = embedded();
    create(&server, "a", "1").await;
    let wire = Wire::new(&server, "r");
    wire.weather(Weather::Refused, "");
    let replica = Replica::start_on(wire, "r");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let counts = replica.wire.take_counts();
    let tries = reads(&counts);
    assert!((3..=60).contains(&tries), "tries in five minutes: {counts:?}");
    assert!(!replica.informer.has_synced() && replica.acting().is_none());

    replica.wire.weather(Weather::Fine, "");
    let epoch = replica.acts().await;
    replica.equals_a_fresh_list(&server).await;
    replica.worked_on("default/a", epoch).await;
    replica.is_calm().await;
    replica.end().await;
}

/// The server goes away in the middle of a watch and comes back.
#[tokio::test(start_paused = true)]
async fn server_restart_mid_watch() {
    let server = embedded();
    let replica = cut_off_while_things_change(&server, "").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    replica.wire.weather(Weather::Fine, "");

    replica.equals_a_fresh_list(&server).await;
    let epoch = replica.acts().await;
    replica.worked_on("default/comes", epoch).await;
    replica.is_calm().await;
    replica.end().await;
}

/// The history a watch would resume from is compacted while the replica is cut off: it relists, and the delete it missed is inferred.
#[tokio::test(start_paused = true)]
async fn gone_410_on_watch() {
    let server = embedded();
    let replica = cut_off_while_things_change(&server, "configmaps").await;
    server.compact(server.version());
    replica.wire.take_counts();
    replica.wire.weather(Weather::Fine, "");

    replica.equals_a_fresh_list(&server).await;
    let counts = replica.wire.take_counts();
    assert!(counts.values().sum::<usize>() < 100, "few requests: {counts:?}");
    let epoch = replica.acts().await;
    replica.worked_on("default/goes", epoch).await;
    replica.is_calm().await;
    replica.end().await;
}

/// The Lease is deleted under the leader: its term ends, it stands again, and the new term's epoch is higher though
/// leaseTransitions starts anew.
#[tokio::test(start_paused = true)]
async fn lease_deleted_under_the_leader() {
    let server = embedded();
    create(&server, "a", "1").await;
    let replica = Replica::start(&server, "r");
    let first = replica.acts().await;
    replica.worked_on("default/a", first).await;

    let leases: Api<Lease> = Api::namespaced(hand(&server), "kube-system");
    leases.delete("faults", &DeleteParams::default()).await.expect("deleted");
    eventually("the term ends", HEALED, async || replica.acting() != Some(first)).await;
    let second = replica.acts().await;
    assert!(second > first, "epochs increase: {first} then {second}");
    replica.worked_on("default/a", second).await;
    replica.equals_a_fresh_list(&server).await;
    replica.is_calm().await;
    replica.end().await;
}

/// Every request hangs for ever, lists, watches and Lease requests alike: deadlines end them all, the term ends in time,
/// and when the server answers again everything goes on.
#[tokio::test(start_paused = true)]
async fn request_hung_for_ever() {
    let server = embedded();
    create(&server, "a", "1").await;
    let replica = Replica::start(&server, "r");
    let first = replica.acts().await;

    replica.wire.weather(Weather::Hung, "");
    server.close_watches();
    create(&server, "b", "1").await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(replica.acting(), None, "D after the last renewal the gate is closed");
    replica.wire.take_counts();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let counts = replica.wire.take_counts();
    let tries = reads(&counts);
    assert!(tries <= 30, "hung requests end and are not hurried: {counts:?}");

    replica.wire.weather(Weather::Fine, "");
    eventually("leads again", Duration::from_secs(240), async || replica.acting().is_some()).await;
    let second = replica.acts().await;
    assert!(second > first);
    replica.equals_a_fresh_list(&server).await;
    replica.worked_on("default/b", second).await;
    replica.is_calm().await;
    replica.end().await;
}
