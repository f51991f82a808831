//! Coordinated election with the controller in a real kube-apiserver.

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::kubeconfig::read;
use watchkeeper_leader::{
    BootClock, Coordination, ElectorConfig, Electors, End, Footing, Identity, Sight, Stand, Timings,
};

const GROUP: &str = "/apis/coordination.k8s.io";

/// A candidate that works until it is stopped, or asked to hand over.
struct Person {
    identity: Identity,
    sight: Sight,
    _footing: Footing,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Person {
    async fn enter(control_plane: &ControlPlane, readable: &str, emulation: &str) -> Self {
        let identity = Identity::generate(readable).expect("an identity");
        let config = ElectorConfig {
            coordinated: Some(Coordination::new("1.5.0", emulation)),
            timings: Timings {
                lease_duration: Duration::from_secs(6),
                renew_deadline: Duration::from_secs(4),
                retry_period: Duration::from_millis(500),
                request_timeout: Duration::from_secs(1),
                stop_bound: Duration::from_secs(1),
                ..Timings::default()
            },
            ..ElectorConfig::new("default", "the-lease", identity.clone())
        };
        let (electors, mut candidacies) =
            Electors::new(vec![Stand::Alone(config)], Arc::new(BootClock)).expect("a good config");
        let (mut candidacy, stop) = (candidacies.remove(0).remove(0), CancellationToken::new());
        let (footing, sight, stopped) = (candidacy.footing(), candidacy.sight(), stop.clone());
        tokio::spawn(async move {
            while let Some(standing) = candidacy.next_term().await {
                if standing.open().is_err() {
                    continue;
                }
                let over = standing.term().cancelled();
                let how = tokio::select! {
                    biased;
                    () = over.cancelled() => End::Keep,
                    () = stopped.cancelled() => End::Release,
                    to = standing.asked_to_hand_over() => End::HandOver(to),
                };
                standing.end(how).await;
            }
        });
        let client = control_plane.client(0, ADMIN).await.expect("a client");
        let task = tokio::spawn(electors.run(client, stop.clone()));
        Self { identity, sight, _footing: footing, stop, task }
    }

    fn acts(&self) -> bool {
        self.sight.status().term.is_some_and(|term| term.gate.is_ok())
    }
}

/// How long it takes until this one acts; then the other one doesn't.
async fn acted(next: &Person, other: Option<&Person>) -> Duration {
    let from = Instant::now();
    while !next.acts() {
        assert!(from.elapsed() < Duration::from_secs(40), "{:?}", next.sight.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!other.is_some_and(Person::acts), "two act");
    from.elapsed()
}

/// Goal: kube-apiserver names the candidate with the older emulation version, also over one that leads already; when that one stops, the
/// other leads; what the server asks is answered, and a stopped candidate leaves nothing. Method: two candidates, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_names_who_leads() {
    let folder = Folder::new().expect("a folder");
    let flags = ["--feature-gates=CoordinatedLeaderElection=true", "--runtime-config=coordination.k8s.io/v1beta1=true"];
    let api_server_flags = flags.map(str::to_owned).to_vec();
    let config = ControlPlaneConfig { api_server_flags, ..ControlPlaneConfig::default() };
    let control_plane = ControlPlane::start(&folder, config).await.unwrap_or_else(|error| panic!("{error}"));
    let admin = control_plane.client(0, ADMIN).await.expect("a client");

    let new = Person::enter(&control_plane, "new", "1.4.0").await;
    let first = acted(&new, None).await;
    let old = Person::enter(&control_plane, "old", "1.2.0").await;
    let handed_over = acted(&old, Some(&new)).await;
    let lease = read(&admin, &format!("{GROUP}/v1/namespaces/default/leases/the-lease")).await.expect("a Lease");
    assert_eq!(lease["spec"]["holderIdentity"], old.identity.as_str());
    assert_eq!(lease["spec"]["strategy"], "OldestEmulationVersion");
    let path = format!("{GROUP}/v1beta1/namespaces/default/leasecandidates");
    let candidates = read(&admin, &path).await.expect("candidates");
    let items = candidates["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(items.len(), 2);
    let asked: Vec<&Value> = items.iter().filter(|item| item["spec"]["pingTime"].is_string()).collect();
    assert!(!asked.is_empty(), "{items:?}");
    for item in asked {
        let time = |field: &str| item["spec"][field].as_str().unwrap_or_default().to_owned();
        assert!(time("renewTime") >= time("pingTime"), "{item}");
    }

    // A release is believed of a term that was seen, so let it be seen.
    tokio::time::sleep(Duration::from_secs(2)).await;
    old.stop.cancel();
    let succeeded = acted(&new, Some(&old)).await;
    println!("first {first:?}, handed over {handed_over:?}, succeeded {succeeded:?}");
    old.task.await.expect("ends");
    new.stop.cancel();
    new.task.await.expect("ends");
    let candidates = read(&admin, &path).await.expect("candidates");
    assert_eq!(candidates["items"].as_array().map(Vec::len), Some(0), "{candidates}");
}
