//! Tests of the way from an old lock: whole electors in paused time on an embedded API server, and an old holder made by hand.
#![allow(clippy::disallowed_methods)]

use http::{Request, Response};
use kube_client::client::Body;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::{ApiServer, Config};

use super::*;
use crate::bucket::Buckets;
use crate::candidacy::{Candidacy, End, Standing};
use crate::clock::VirtualClock;
use crate::config::ConfigError;
use crate::elector::Elector;
use crate::electors::{Electors, Stand};
use crate::gate::{CloseReason, Loss};
use crate::identity::Identity;
use crate::log::Log;
use crate::objects::{Kind, LEASES};
use crate::old_record::OLD_LOCK_ANNOTATION;

const SECOND: Duration = Duration::from_secs(1);

fn config(name: &str, kind: OldLockKind) -> ElectorConfig {
    let old_lock = Some(OldLock::new(kind));
    let identity = Identity::from_parts(name, 1, 1).unwrap();
    ElectorConfig { old_lock, ..ElectorConfig::new("default", "the-lock", identity) }
}

struct Running {
    candidacy: Candidacy,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(client: Client, config: ElectorConfig) -> Self {
        let clock = Arc::new(VirtualClock::new());
        let (electors, mut candidacies) = Electors::new(vec![Stand::Alone(config)], clock).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(electors.run(client, shutdown.clone()));
        Self { candidacy: candidacies.remove(0).remove(0), shutdown, task }
    }

    /// The next term, if it comes within this time.
    async fn term(&mut self, within: Duration) -> Option<Standing> {
        let standing = timeout(within, self.candidacy.next_term()).await.ok()?.unwrap();
        standing.open().unwrap();
        Some(standing)
    }
}

/// The hand of the test, on the objects of a kind.
struct Hand(Objects);

impl Hand {
    fn of(server: &ApiServer, kind: &'static Kind) -> Self {
        Self(Objects::new(kind, Client::new(server.service("hand"), "default"), "default".to_owned()))
    }

    async fn get(&self) -> Option<Value> {
        self.0.ask(Method::GET, About::One("the-lock"), None, SECOND).await.ok()
    }

    async fn delete(&self) {
        self.0.ask(Method::DELETE, About::One("the-lock"), None, SECOND).await.unwrap();
    }

    /// Whatever the version is.
    async fn edit(&self, edit: impl FnOnce(&mut Value)) {
        match self.get().await {
            Some(mut object) => {
                edit(&mut object);
                self.0.ask(Method::PUT, About::One("the-lock"), Some(object), SECOND).await.unwrap();
            }
            None => {
                let mut object = json!({"metadata": {"name": "the-lock"}});
                edit(&mut object);
                self.0.ask(Method::POST, About::New, Some(object), SECOND).await.unwrap();
            }
        }
    }

    /// A renewal as client-go's.
    async fn renew(&self, holder: &str, duration: u32, number: u32) {
        let time = format!("2020-01-01T00:{:02}:{:02}Z", number / 60, number % 60);
        let record = json!({"holderIdentity": holder, "leaseDurationSeconds": duration, "acquireTime": "2020-01-01T00:00:00Z",
            "renewTime": time, "leaderTransitions": 3});
        self.edit(|object| object["metadata"]["annotations"] = json!({OLD_LOCK_ANNOTATION: record.to_string()})).await;
    }

    async fn record(&self) -> Value {
        let object = self.get().await.unwrap();
        serde_json::from_str(object["metadata"]["annotations"][OLD_LOCK_ANNOTATION].as_str().unwrap()).unwrap()
    }
}

fn client(server: &ApiServer) -> Client {
    Client::new(server.service("a"), "default")
}

/// Goal: nothing is claimed while the old lock's holder renews it, which is seen and said once; it is claimed when that has been silent
/// for its own duration, not later than that and a look. Method: a holder of 30 s, on either kind of object.
#[tokio::test(start_paused = true)]
async fn an_old_holder_is_waited_for() {
    for (kind, objects) in [(OldLockKind::Endpoints, &ENDPOINTS), (OldLockKind::ConfigMap, &CONFIG_MAPS)] {
        let log = Log::new();
        let _listening = tracing::subscriber::set_default(log.clone());
        let server = ApiServer::new(Config::default());
        let hand = Hand::of(&server, objects);
        hand.renew("old_1", 30, 0).await;
        let mut running = Running::start(client(&server), ElectorConfig { first_install: true, ..config("a", kind) });
        for number in 1..60 {
            assert!(running.term(2 * SECOND).await.is_none());
            assert_eq!(running.candidacy.sight().status().old_holder.as_deref(), Some("old_1"));
            hand.renew("old_1", 30, number).await;
        }
        let said = log.lines().iter().filter(|line| line.contains("the old lock is held")).count();
        assert_eq!(said, 1);
        let silent = Instant::now();
        let standing = running.term(60 * SECOND).await.unwrap();
        assert!((30 * SECOND..34 * SECOND).contains(&silent.elapsed()), "{:?}", silent.elapsed());
        assert_eq!(running.candidacy.sight().status().old_holder, None);
        assert_eq!(hand.record().await["holderIdentity"], config("a", kind).identity.as_str());
        standing.end(End::Release).await;
    }
}

/// Goal: while one leads, the old lock says what the Lease says and is renewed with it, the rest of its object stays, and a release gives
/// both back, so that the next one begins at once. Method: two candidates and an object with data; a successor within a few seconds.
#[tokio::test(start_paused = true)]
async fn both_are_held_and_released() {
    let server = ApiServer::new(Config::default());
    let (hand, lease) = (Hand::of(&server, &CONFIG_MAPS), Hand::of(&server, &LEASES));
    hand.edit(|object| object["data"] = json!({"kept": "yes"})).await;
    let mut first = Running::start(client(&server), config("a", OldLockKind::ConfigMap));
    let standing = first.term(60 * SECOND).await.unwrap();
    let mut second = Running::start(client(&server), config("b", OldLockKind::ConfigMap));
    let mut renewed = Value::Null;
    for _ in 0..20 {
        sleep(3 * SECOND).await;
        let (record, spec) = (hand.record().await, lease.get().await.unwrap()["spec"].clone());
        assert_eq!(record["holderIdentity"], spec["holderIdentity"]);
        assert_eq!(
            (&record["leaseDurationSeconds"], &record["leaderTransitions"]),
            (&json!(15), &spec["leaseTransitions"])
        );
        assert_ne!(record["renewTime"], renewed);
        renewed = record["renewTime"].clone();
    }
    assert!(standing.term().is_open());
    standing.end(End::Release).await;
    assert_eq!(
        (&hand.record().await["holderIdentity"], &lease.get().await.unwrap()["spec"]["holderIdentity"]),
        (&json!(""), &json!(""))
    );
    let standing = second.term(5 * SECOND).await.unwrap();
    assert_eq!(hand.record().await["holderIdentity"], config("b", OldLockKind::ConfigMap).identity.as_str());
    assert_eq!(hand.get().await.unwrap()["data"], json!({"kept": "yes"}));
    second.shutdown.cancel();
    standing.end(End::Release).await;
    second.task.await.unwrap();
    assert_eq!(hand.record().await["holderIdentity"], "");
}

/// Goal: an edit of the old object and its deletion cost no term, and another's hand on it ends the term with the next renewal; the lock
/// is regained once that one is silent. Method: all three by hand.
#[tokio::test(start_paused = true)]
async fn what_others_do_to_the_old_lock() {
    let server = ApiServer::new(Config::default());
    let hand = Hand::of(&server, &ENDPOINTS);
    let mut running = Running::start(client(&server), config("a", OldLockKind::Endpoints));
    let me = config("a", OldLockKind::Endpoints).identity;
    let standing = running.term(60 * SECOND).await.unwrap();
    hand.edit(|object| object["metadata"]["labels"] = json!({"a": "b"})).await;
    sleep(5 * SECOND).await;
    hand.edit(|object| object["metadata"]["annotations"] = json!({})).await;
    sleep(5 * SECOND).await;
    assert_eq!((standing.term().is_open(), hand.record().await["holderIdentity"].as_str()), (true, Some(me.as_str())));
    assert_eq!(hand.get().await.unwrap()["metadata"]["labels"], json!({"a": "b"}));
    hand.delete().await;
    sleep(5 * SECOND).await;
    assert_eq!((standing.term().is_open(), hand.record().await["holderIdentity"].as_str()), (true, Some(me.as_str())));
    hand.renew("old_1", 15, 1).await;
    sleep(3 * SECOND).await;
    assert_eq!(standing.term().closed(), Some(CloseReason::Lost(Loss::Overwritten("old_1".to_owned()))));
    let taken = Instant::now();
    standing.end(End::Keep).await;
    let again = running.term(60 * SECOND).await.unwrap();
    assert!((11 * SECOND..18 * SECOND).contains(&taken.elapsed()), "{:?}", taken.elapsed());
    again.end(End::Release).await;
}

/// What happens to requests for ConfigMaps with this method.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Serves,
    Forbids,
    Hangs,
}

fn spoiled(server: &ApiServer, method: Method, does: &Arc<Mutex<Does>>) -> Client {
    let (server, does) = (client(server), does.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (server, method, does) = (server.clone(), method.clone(), *does.lock());
        async move {
            let met = request.method() == method && request.uri().path().contains("/configmaps");
            match does {
                Does::Forbids if met => Ok(Response::builder().status(403).body(Body::from(b"{}".to_vec())).unwrap()),
                Does::Hangs if met => std::future::pending().await,
                _ => server.send(request).await,
            }
        }
    });
    Client::new(service, "default")
}

/// Goal: without the rights to the old object nothing is claimed, and the verdict says which rule is missing. Method: GET, POST refused.
#[tokio::test(start_paused = true)]
async fn missing_rights_are_said() {
    for method in [Method::GET, Method::POST] {
        let log = Log::new();
        let _listening = tracing::subscriber::set_default(log.clone());
        let server = ApiServer::new(Config::default());
        let does = Arc::new(Mutex::new(Does::Forbids));
        let mut running = Running::start(spoiled(&server, method.clone(), &does), config("a", OldLockKind::ConfigMap));
        assert!(running.term(120 * SECOND).await.is_none(), "{method}");
        let rule = r#"(its old lock, configmaps default/the-lock) 403:  (the Role needs apiGroups [""], resources [configmaps], verbs [get, create, update] in namespace default)"#;
        assert!(log.says(rule), "{method}: {:?}", log.lines());
        *does.lock() = Does::Serves;
        running.term(60 * SECOND).await.unwrap().end(End::Release).await;
    }
}

/// Goal: if the old lock can't be renewed, the gate closes within the renew deadline, although the Lease could be; a release that can't
/// give the old lock back gives the Lease back. Method: an object whose replacement hangs.
#[tokio::test(start_paused = true)]
async fn a_hanging_old_lock() {
    let log = Log::new();
    let _listening = tracing::subscriber::set_default(log.clone());
    let server = ApiServer::new(Config::default());
    let lease = Hand::of(&server, &LEASES);
    let does = Arc::new(Mutex::new(Does::Serves));
    let mut running = Running::start(spoiled(&server, Method::PUT, &does), config("a", OldLockKind::ConfigMap));
    let standing = running.term(60 * SECOND).await.unwrap();
    sleep(10 * SECOND).await;
    *does.lock() = Does::Hangs;
    let hangs = Instant::now();
    standing.term().cancelled().cancelled().await;
    assert!(hangs.elapsed() <= 10 * SECOND, "{:?}", hangs.elapsed());
    standing.end(End::Keep).await;
    *does.lock() = Does::Serves;
    let standing = running.term(60 * SECOND).await.unwrap();
    *does.lock() = Does::Hangs;
    standing.end(End::Release).await;
    assert_eq!(lease.get().await.unwrap()["spec"]["holderIdentity"], "");
    assert!(log.says("the old lock could not be given back"), "{:?}", log.lines());
}

/// A candidate of the old kind, by client-go's rules: takes what is free or has stood still for 15 s, renews every two seconds.
async fn old_candidate(hand: Hand, leads: Arc<Mutex<bool>>, stop: CancellationToken) {
    let (mut number, mut seen, mut since) = (0, Value::Null, Instant::now());
    while !stop.is_cancelled() {
        let object = hand.get().await.unwrap_or_default();
        let shown = object["metadata"]["annotations"][OLD_LOCK_ANNOTATION].clone();
        if shown != seen {
            (seen, since) = (shown.clone(), Instant::now());
        }
        let record: Value = serde_json::from_str(shown.as_str().unwrap_or("{}")).unwrap();
        let holder = record["holderIdentity"].as_str().unwrap_or_default();
        let duration = Duration::from_secs(record["leaseDurationSeconds"].as_u64().unwrap_or(0));
        let may = holder.is_empty() || holder == "old_1" || since.elapsed() > duration;
        if may {
            number += 1;
            hand.renew("old_1", 15, number).await;
        }
        *leads.lock() = may;
        sleep(2 * SECOND).await;
    }
    *leads.lock() = false;
}

/// Goal: a candidate of the old kind and one of the new never lead at once, and each takes over from the other. Method: hand-overs between
/// them by crash and by release, looked at every tenth of a second.
#[tokio::test(start_paused = true)]
async fn the_two_kinds_never_lead_at_once() {
    let server = ApiServer::new(Config::default());
    let (old_leads, stop) = (Arc::new(Mutex::new(false)), CancellationToken::new());
    let start_old = |stop: CancellationToken| {
        let hand = Hand::of(&server, &ENDPOINTS);
        tokio::spawn(old_candidate(hand, old_leads.clone(), stop));
    };
    start_old(stop.clone());
    sleep(SECOND).await;
    let mut running = Running::start(client(&server), config("a", OldLockKind::Endpoints));
    let alone = async |open: &dyn Fn() -> bool, seconds: u32| {
        for _ in 0..seconds * 10 {
            assert!(!(open() && *old_leads.lock()));
            sleep(SECOND / 10).await;
        }
    };
    alone(&|| false, 60).await;
    assert!(*old_leads.lock());
    assert!(running.term(SECOND).await.is_none());
    // It crashes; the new kind follows, and a restarted one of the old kind waits.
    stop.cancel();
    let standing = running.term(20 * SECOND).await.unwrap();
    let stop = CancellationToken::new();
    start_old(stop.clone());
    let term = standing.term().clone();
    alone(&|| term.is_open(), 60).await;
    assert!(term.is_open() && !*old_leads.lock());
    // Given back: whoever looks first may lead, and the other one waits.
    standing.end(End::StepDown(60 * SECOND)).await;
    alone(&|| term.is_open(), 30).await;
    assert!(*old_leads.lock());
    assert!(running.term(90 * SECOND).await.is_none());
}

/// Goal: what can't work is refused with a reason. Method: an elector by itself, buckets, one old lock beside two Leases, an odd name.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_minded() {
    let clock: Arc<dyn GateClock> = Arc::new(VirtualClock::new());
    let one = || config("a", OldLockKind::ConfigMap);
    let server = ApiServer::new(Config::default());
    let lock = Arc::new(KubeLeaseLock::new(client(&server), "default", "the-lock"));
    assert!(matches!(Elector::new(lock, one(), clock.clone()), Err(ConfigError::OldLock(_))));
    let refused = |stands| Electors::new(stands, clock.clone()).err();
    let buckets = Buckets::new(2).unwrap();
    assert!(matches!(refused(vec![Stand::Shared(one(), buckets)]), Some(ConfigError::OldLock(_))));
    let named = |lease: &str| {
        let old_lock = Some(OldLock { name: Some("old".to_owned()), ..OldLock::new(OldLockKind::ConfigMap) });
        Stand::Alone(ElectorConfig { lease_name: lease.to_owned(), old_lock, ..one() })
    };
    assert!(matches!(refused(vec![named("x"), named("y")]), Some(ConfigError::OldLock(_))));
    assert!(refused(vec![named("x"), Stand::Alone(ElectorConfig { lease_name: "y".to_owned(), ..one() })]).is_none());
    let odd = OldLock { namespace: Some("A/b".to_owned()), ..OldLock::new(OldLockKind::Endpoints) };
    assert!(matches!(ElectorConfig { old_lock: Some(odd), ..one() }.check(), Err(ConfigError::Name { .. })));
}
