//! Tests of shared buckets: replicas on one embedded API server, in paused time.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::time::Duration;

use kube_client::Client;
use parking_lot::Mutex;
use tokio::time::sleep;
use watchkeeper_apiserver::ApiServer;

use super::*;
use crate::bucket::Buckets;
use crate::candidacy::{Candidacy, End};
use crate::clock::VirtualClock;
use crate::config::ElectorConfig;
use crate::electors::{Electors, Stand};
use crate::identity::Identity;

const SECOND: Duration = Duration::from_secs(1);

/// Which buckets this replica works at, at the moment.
type Works = Arc<Mutex<BTreeSet<u32>>>;

struct Replica {
    works: Works,
    stop: CancellationToken,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Replica {
    fn start(server: &ApiServer, number: u32, buckets: u32) -> Self {
        let identity = Identity::from_parts("replica", number, number.into()).unwrap();
        let config = ElectorConfig::new("default", "the-thing", identity);
        let stands = vec![Stand::Shared(config, Buckets::new(buckets).unwrap())];
        let (electors, mut candidacies) = Electors::new(stands, Arc::new(VirtualClock::new())).unwrap();
        let (works, stop, shutdown) = (Works::default(), CancellationToken::new(), CancellationToken::new());
        for (bucket, candidacy) in (0..).zip(candidacies.remove(0)) {
            tokio::spawn(work(bucket, candidacy, works.clone(), stop.clone()));
        }
        let client = Client::new(server.service(&format!("replica-{number}")), "default");
        let task = tokio::spawn(electors.run(client, shutdown.clone()));
        Self { works, stop, shutdown, task }
    }

    fn works(&self) -> BTreeSet<u32> {
        self.works.lock().clone()
    }

    async fn stop(self) {
        self.stop.cancel();
        sleep(SECOND).await;
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

async fn work(bucket: u32, mut candidacy: Candidacy, works: Works, stop: CancellationToken) {
    while let Some(standing) = candidacy.next_term().await {
        if standing.open().is_err() {
            continue;
        }
        works.lock().insert(bucket);
        let over = standing.term().cancelled();
        let how = tokio::select! {
            biased;
            () = over.cancelled() => End::Keep,
            () = stop.cancelled() => End::Release,
            to = standing.asked_to_hand_over() => End::HandOver(to),
        };
        works.lock().remove(&bucket);
        standing.end(how).await;
    }
}

/// No bucket is worked at twice; how many are at all.
fn judge(replicas: &[&Replica]) -> usize {
    let all: Vec<u32> = replicas.iter().flat_map(|replica| replica.works()).collect();
    let different: BTreeSet<u32> = all.iter().copied().collect();
    assert_eq!(all.len(), different.len(), "a bucket is worked at by two");
    different.len()
}

async fn settle(replicas: &[&Replica], seconds: u32) {
    for _ in 0..seconds * 10 {
        judge(replicas);
        sleep(SECOND / 10).await;
    }
}

fn server() -> ApiServer {
    ApiServer::new(watchkeeper_apiserver::Config {
        clock: Arc::new(watchkeeper_apiserver::TokioClock::starting_at(jiff::Timestamp::UNIX_EPOCH)),
        ..watchkeeper_apiserver::Config::default()
    })
}

/// Goal: replicas share the buckets evenly as they come, stop and crash; each bucket has one worker at most at any time, and one in the
/// end; nothing is left of those that stopped. Method: one, three, two, one replica over ten buckets.
#[tokio::test(start_paused = true)]
async fn buckets_follow_the_replicas() {
    let server = server();
    let first = Replica::start(&server, 1, 10);
    settle(&[&first], 40).await;
    assert_eq!(first.works().len(), 10);
    let (second, third) = (Replica::start(&server, 2, 10), Replica::start(&server, 3, 10));
    let all = [&first, &second, &third];
    settle(&all, 60).await;
    assert_eq!(judge(&all), 10);
    let mut shares: Vec<usize> = all.iter().map(|replica| replica.works().len()).collect();
    shares.sort_unstable();
    assert_eq!(shares, [3, 3, 4]);
    // Steady.
    let before: Vec<_> = all.iter().map(|replica| replica.works()).collect();
    settle(&all, 120).await;
    assert_eq!(before, all.iter().map(|replica| replica.works()).collect::<Vec<_>>());
    // A clean stop: the others have its buckets within seconds.
    second.stop().await;
    settle(&[&first, &third], 12).await;
    assert_eq!(judge(&[&first, &third]), 10);
    settle(&[&first, &third], 40).await;
    assert_eq!((first.works().len(), third.works().len()), (5, 5));
    // A crash.
    third.task.abort();
    settle(&[&first], 60).await;
    assert_eq!(first.works().len(), 10);
    settle(&[&first], 150).await;
    let leases = names(&server).await;
    assert_eq!(leases.iter().filter(|name| name.contains(".member-")).count(), 1, "{leases:?}");
    assert_eq!(leases.iter().filter(|name| name.contains("-of-10")).count(), 10, "{leases:?}");
}

async fn names(server: &ApiServer) -> Vec<String> {
    let leases: kube_client::Api<k8s_openapi::api::coordination::v1::Lease> =
        kube_client::Api::namespaced(Client::new(server.service("reader"), "default"), "default");
    let list = leases.list(&kube_client::api::ListParams::default()).await.unwrap();
    list.items.into_iter().filter_map(|lease| lease.metadata.name).collect()
}

/// Goal: another number of buckets waits until the last replica with the old one has gone. Method: a rolling update from four to six.
#[tokio::test(start_paused = true)]
async fn another_division_waits_for_the_old_one() {
    let server = server();
    let (old, other) = (Replica::start(&server, 1, 4), Replica::start(&server, 2, 4));
    settle(&[&old, &other], 40).await;
    // Not the same second by the server's clock.
    let new = Replica::start(&server, 3, 6);
    settle(&[&old, &other], 60).await;
    assert_eq!((judge(&[&old, &other]), new.works().len()), (4, 0));
    old.stop().await;
    settle(&[&other], 40).await;
    assert_eq!((other.works().len(), new.works().len()), (4, 0));
    other.stop().await;
    settle(&[&new], 60).await;
    assert_eq!(new.works().len(), 6);
}

/// Goal: without the permission to list, the work goes on, after a lease duration. Method: a server that refuses lists.
#[tokio::test(start_paused = true)]
async fn nobody_can_be_seen() {
    let server = server();
    let service = tower::util::BoxCloneSyncService::new(server.service("replica-1"));
    let blind = tower::service_fn(move |request: http::Request<kube_client::client::Body>| {
        let mut service = service.clone();
        async move {
            if request.uri().query().is_some_and(|query| query.contains("labelSelector")) {
                return Err(std::io::Error::other("refused"));
            }
            tower::Service::call(&mut service, request).await.map_err(std::io::Error::other)
        }
    });
    let identity = Identity::from_parts("replica", 1, 1).unwrap();
    let stands = vec![Stand::Shared(ElectorConfig::new("default", "the-thing", identity), Buckets::new(3).unwrap())];
    let (electors, mut candidacies) = Electors::new(stands, Arc::new(VirtualClock::new())).unwrap();
    let (works, stop) = (Works::default(), CancellationToken::new());
    for (bucket, candidacy) in (0..).zip(candidacies.remove(0)) {
        tokio::spawn(work(bucket, candidacy, works.clone(), stop.clone()));
    }
    tokio::spawn(electors.run(Client::new(blind, "default"), CancellationToken::new()));
    sleep(60 * SECOND).await;
    assert_eq!(works.lock().len(), 3);
}

/// Goal: a clean stop leaves no presence, also if it comes while one is being written. Method: answers that are late, and a stop at many moments.
#[tokio::test(start_paused = true)]
async fn a_stop_amid_a_write_leaves_no_presence() {
    for tenths in 0..60 {
        let server = server();
        let service = tower::util::BoxCloneSyncService::new(server.service("replica-1"));
        let late = tower::service_fn(move |request: http::Request<kube_client::client::Body>| {
            let mut service = service.clone();
            async move {
                let answer = tower::Service::call(&mut service, request).await.map_err(std::io::Error::other);
                sleep(SECOND / 2).await;
                answer
            }
        });
        let identity = Identity::from_parts("replica", 1, 1).unwrap();
        let whole = ElectorConfig::new("default", "the-thing", identity);
        let (electors, _candidacies) =
            Electors::new(vec![Stand::Shared(whole, Buckets::new(3).unwrap())], Arc::new(VirtualClock::new())).unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(electors.run(Client::new(late, "default"), shutdown.clone()));
        sleep(SECOND / 10 * tenths).await;
        shutdown.cancel();
        running.await.unwrap();
        let left = names(&server).await.into_iter().find(|name| name.contains(".member-"));
        assert_eq!(left, None, "stopped after {tenths} tenths of a second");
    }
}

/// Goal: replicas that can't show themselves keep what they have, and don't take it from each other for ever; a name that leaves no room for a presence's is
/// refused. Method: two replicas that see no presence but may list, for ten minutes; a long name.
#[tokio::test(start_paused = true)]
async fn replicas_that_cannot_be_seen_leave_each_other_alone() {
    for forbidden in [vec![http::Method::POST, http::Method::PUT], vec![http::Method::PUT]] {
        let (server, counted) = (server(), Arc::new(Mutex::new(0)));
        for number in 1..=2 {
            let service = tower::util::BoxCloneSyncService::new(server.service(&format!("replica-{number}")));
            let (forbidden, counted) = (forbidden.clone(), counted.clone());
            let unseen = tower::service_fn(move |request: http::Request<kube_client::client::Body>| {
                let (mut service, is_write) = (service.clone(), forbidden.contains(request.method()));
                let counted = counted.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect_bytes().await.map_err(std::io::Error::other)?;
                    if is_write && String::from_utf8_lossy(&body).contains(".member-") {
                        return Err(std::io::Error::other("refused"));
                    }
                    if String::from_utf8_lossy(&body).contains("hand-over-to") {
                        *counted.lock() += 1;
                    }
                    let request = http::Request::from_parts(parts, kube_client::client::Body::from(body.to_vec()));
                    tower::Service::call(&mut service, request).await.map_err(std::io::Error::other)
                }
            });
            let identity = Identity::from_parts("replica", number, number.into()).unwrap();
            let whole = ElectorConfig::new("default", "the-thing", identity);
            let stands = vec![Stand::Shared(whole, Buckets::new(3).unwrap())];
            let (electors, mut candidacies) = Electors::new(stands, Arc::new(VirtualClock::new())).unwrap();
            for (bucket, candidacy) in (0..).zip(candidacies.remove(0)) {
                tokio::spawn(work(bucket, candidacy, Works::default(), CancellationToken::new()));
            }
            tokio::spawn(electors.run(Client::new(unseen, "default"), CancellationToken::new()));
        }
        sleep(600 * SECOND).await;
        let asked = *counted.lock();
        assert!(asked <= 12, "asked to hand over {asked} times without {forbidden:?}");
    }
    let long = ElectorConfig::new("default", "x".repeat(235), Identity::from_parts("replica", 1, 1).unwrap());
    assert!(Electors::new(vec![Stand::Shared(long, Buckets::new(3).unwrap())], Arc::new(VirtualClock::new())).is_err());
}
