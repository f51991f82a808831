//! Tests of coordinated elections: whole electors in paused time on an embedded API server, and a hand that names as kube-apiserver does.
#![allow(clippy::disallowed_methods)]

use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use kube_client::client::Body;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep};
use watchkeeper_apiserver::{ApiServer, Config};

use super::*;
use crate::bucket::Buckets;
use crate::candidacy::{Candidacy, End};
use crate::clock::VirtualClock;
use crate::config::ConfigError;
use crate::elector::Elector;
use crate::electors::{Electors, Stand};
use crate::identity::Identity;
use crate::kube_lock::KubeLeaseLock;
use crate::log::Log;
use crate::objects::LEASES;
use crate::old_locks::{OldLock, OldLockKind};
use crate::record::micro_time;
use crate::sight::{Sight, TermEnd};
use crate::timings::Timings;

const SECOND: Duration = Duration::from_secs(1);

fn config(readable: &str, emulation: &str) -> ElectorConfig {
    ElectorConfig {
        coordinated: Some(Coordination::new("1.5.0", emulation)),
        ..ElectorConfig::new("default", "the-lease", Identity::from_parts(readable, 1, 1).unwrap())
    }
}

/// A candidate whose owner works as it should.
struct Person {
    footing: Footing,
    sight: Sight,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    /// How the next term is to end, once this is set.
    leave: Arc<Mutex<Option<End>>>,
}

impl Person {
    fn enter(server: &ApiServer, config: ElectorConfig, clock: VirtualClock) -> Self {
        let client = Client::new(server.service(config.identity.as_str()), "default");
        let (electors, mut candidacies) = Electors::new(vec![Stand::Alone(config)], Arc::new(clock)).unwrap();
        let (candidacy, stop, leave) = (candidacies.remove(0).remove(0), CancellationToken::new(), Arc::default());
        let (footing, sight) = (candidacy.footing(), candidacy.sight());
        tokio::spawn(work(candidacy, stop.clone(), Arc::clone(&leave)));
        let task = tokio::spawn(electors.run(client, stop.clone()));
        Self { footing, sight, stop, task, leave }
    }

    fn acts(&self) -> bool {
        !self.task.is_finished() && self.sight.status().term.is_some_and(|term| term.gate.is_ok())
    }
}

async fn work(mut candidacy: Candidacy, stop: CancellationToken, leave: Arc<Mutex<Option<End>>>) {
    while let Some(standing) = candidacy.next_term().await {
        if standing.open().is_err() {
            continue;
        }
        let over = standing.term().cancelled();
        let left = async {
            loop {
                if let Some(how) = leave.lock().take() {
                    return how;
                }
                sleep(SECOND / 10).await;
            }
        };
        let how = tokio::select! {
            biased;
            () = over.cancelled() => End::Keep,
            () = stop.cancelled() => End::Release,
            how = left => how,
            to = standing.asked_to_hand_over() => End::HandOver(to),
        };
        standing.end(how).await;
    }
}

fn server() -> ApiServer {
    let clock = Arc::new(watchkeeper_apiserver::TokioClock::starting_at(Timestamp::UNIX_EPOCH));
    ApiServer::new(Config { clock, ..Config::default() })
}

/// What the controller in kube-apiserver does, every half second: asks who is there, and names the best of those who have answered.
struct Namer {
    leases: Objects,
    candidates: Objects,
    clock: VirtualClock,
}

impl Namer {
    fn start(server: &ApiServer, clock: VirtualClock) -> tokio::task::JoinHandle<()> {
        let of = |kind| Objects::new(kind, Client::new(server.service("namer"), "default"), "default".to_owned());
        let namer = Self { leases: of(&LEASES), candidates: of(&LEASE_CANDIDATES), clock };
        tokio::spawn(async move {
            loop {
                _ = namer.round().await;
                sleep(SECOND / 2).await;
            }
        })
    }

    async fn round(&self) -> Result<(), LockError> {
        let now = self.clock.wall();
        let time = |object: &Value, field: &str| object["spec"][field].as_str().and_then(|text| text.parse().ok());
        let ago = |object: &Value, field: &str| time(object, field).map(|at: Timestamp| now.duration_since(at));
        let window = SignedDuration::from_secs(5);
        let listed = list(&self.candidates).await;
        let lease = self.leases.ask(Method::GET, About::One("the-lease"), None, SECOND).await.ok();
        let best = |among: &[Value]| {
            let key = |one: &Value| one["spec"]["emulationVersion"].as_str().map(str::to_owned);
            among.iter().min_by_key(|one| key(one)).and_then(|one| one["metadata"]["name"].as_str()).map(str::to_owned)
        };
        let holder = lease.as_ref().and_then(|lease| lease["spec"]["holderIdentity"].as_str()).unwrap_or_default();
        let expired = lease.as_ref().is_none_or(|lease| {
            let duration = SignedDuration::from_secs(lease["spec"]["leaseDurationSeconds"].as_i64().unwrap_or(0));
            holder.is_empty() || ago(lease, "renewTime").is_none_or(|ago| ago > duration)
        });
        if listed.is_empty() || (!expired && best(&listed).as_deref() == Some(holder)) {
            return Ok(());
        }
        let mut waits = false;
        for one in &listed {
            let answered = !is_pinged(one);
            let asked_lately = ago(one, "pingTime").is_some_and(|ago| ago < window);
            if !answered && asked_lately {
                waits = true;
            } else if answered && ago(one, "renewTime").is_none_or(|ago| ago >= window) {
                let mut object = one.clone();
                object["spec"]["pingTime"] = micro_time(now);
                let name = one["metadata"]["name"].as_str().unwrap_or_default();
                self.candidates.ask(Method::PUT, About::One(name), Some(object), SECOND).await?;
                waits = true;
            }
        }
        let there: Vec<Value> =
            listed.into_iter().filter(|one| ago(one, "renewTime").is_some_and(|ago| ago < window)).collect();
        let Some(named) = best(&there).filter(|_| !waits) else { return Ok(()) };
        let naming = json!({"holderIdentity": named, "leaseDurationSeconds": 5, "renewTime": micro_time(now),
            "strategy": "OldestEmulationVersion"});
        match lease {
            None => {
                let object = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"namespace": "default", "name": "the-lease"}, "spec": naming});
                self.leases.ask(Method::POST, About::New, Some(object), SECOND).await?;
            }
            Some(mut lease) if holder.is_empty() || (expired && named != holder) => {
                let transitions = lease["spec"]["leaseTransitions"].clone();
                lease["spec"] = naming;
                lease["spec"]["leaseTransitions"] = transitions;
                self.leases.ask(Method::PUT, About::One("the-lease"), Some(lease), SECOND).await?;
            }
            Some(mut lease) if named != holder && lease["spec"]["preferredHolder"] != json!(named) => {
                lease["spec"]["strategy"] = json!("OldestEmulationVersion");
                lease["spec"]["preferredHolder"] = json!(named);
                self.leases.ask(Method::PUT, About::One("the-lease"), Some(lease), SECOND).await?;
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// All who ever stand.
const PEOPLE: [&str; 3] = ["old", "new", "middle"];

fn identity(readable: &str) -> String {
    Identity::from_parts(readable, 1, 1).unwrap().as_str().to_owned()
}

/// Those that are there, one by one: a request for a list would need a label.
async fn list(candidates: &Objects) -> Vec<Value> {
    let mut all = Vec::new();
    for readable in PEOPLE {
        all.extend(candidates.ask(Method::GET, About::One(&identity(readable)), None, SECOND).await.ok());
    }
    all
}

/// Lets time pass; at no moment do two act.
async fn pass(people: &[&Person], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(people.iter().filter(|person| person.acts()).count() <= 1, "two act");
        sleep(SECOND / 20).await;
    }
}

/// How long it takes until this one acts.
async fn acted(person: &Person, people: &[&Person]) -> Duration {
    let from = Instant::now();
    while !person.acts() {
        pass(people, SECOND / 10).await;
        assert!(from.elapsed() < 180 * SECOND, "{:?}", person.sight.status());
    }
    from.elapsed()
}

/// Goal: the server chooses; a better candidate gets the Lease by a hand-over without a wait, a stop passes it on without a wait, a crash
/// costs the wait; two never act at once; nothing is left of who has stopped. Method: three candidates come and go.
#[tokio::test(start_paused = true)]
async fn the_server_chooses_who_leads() {
    let (server, clock) = (server(), VirtualClock::new());
    Namer::start(&server, clock.clone());
    let new = Person::enter(&server, config("new", "1.4.0"), clock.clone());
    acted(&new, &[&new]).await;
    pass(&[&new], 30 * SECOND).await;
    assert!(new.acts());

    // An older one comes: preferred, and handed over to.
    let old = Person::enter(&server, config("old", "1.2.0"), clock.clone());
    let people = [&new, &old];
    sleep(3 * SECOND).await;
    let took = acted(&old, &people).await;
    assert!(took < 20 * SECOND, "{took:?}");
    let handed_over = Some(TermEnd::HandedOver(identity("old")));
    assert!(new.sight.history().iter().any(|term| term.end == handed_over));
    pass(&people, 60 * SECOND).await;
    assert!(old.acts(), "one hand-over is enough");

    // A clean stop: the other one leads within seconds, and only its own object is left.
    old.stop.cancel();
    let took = acted(&new, &people).await;
    assert!(took < 12 * SECOND, "{took:?}");
    let candidates =
        Objects::new(&LEASE_CANDIDATES, Client::new(server.service("hand"), "default"), "default".to_owned());
    assert_eq!(list(&candidates).await.len(), 1);

    // A crash. Its object stays, and is not named for long.
    let middle = Person::enter(&server, config("middle", "1.3.0"), clock.clone());
    let people = [&new, &middle];
    acted(&middle, &people).await;
    pass(&people, 20 * SECOND).await;
    middle.task.abort();
    let took = acted(&new, &people).await;
    assert!((10 * SECOND..60 * SECOND).contains(&took), "{took:?}");
    assert_eq!(list(&candidates).await.len(), 2);
}

/// Goal: wall clocks choose who leads, but never open two gates, and somebody leads. Method: a holder whose wall is an hour behind the
/// server's, so that the server names another while its gate is open, which it hears of seconds later; another an hour ahead.
#[tokio::test(start_paused = true)]
async fn wrong_wall_clocks_open_no_two_gates() {
    for hours in [-1, 1] {
        let (server, right, wrong) = (server(), VirtualClock::new(), VirtualClock::new());
        Namer::start(&server, right.clone());
        wrong.step_wall(SignedDuration::from_hours(hours));
        let timings = Timings { retry_period: 6 * SECOND, ..Timings::default() };
        let wrong = Person::enter(&server, ElectorConfig { timings, ..config("new", "1.4.0") }, wrong);
        acted(&wrong, &[&wrong]).await;
        let right = Person::enter(&server, config("old", "1.2.0"), right);
        let took = acted(&right, &[&wrong, &right]).await;
        assert!(took < 60 * SECOND, "{took:?}");
        let mut led = 0;
        for _ in 0..600 {
            pass(&[&wrong, &right], SECOND).await;
            led += u32::from(wrong.acts() || right.acts());
        }
        assert!(led > 100, "{hours} h: somebody led {led} of 600 s");
    }
}

/// Goal: who steps down, or is withheld, isn't named meanwhile, and comes back. Method: the better of two.
#[tokio::test(start_paused = true)]
async fn who_would_not_lead_is_not_named() {
    let (server, clock) = (server(), VirtualClock::new());
    Namer::start(&server, clock.clone());
    let old = Person::enter(&server, config("old", "1.2.0"), clock.clone());
    acted(&old, &[&old]).await;
    let new = Person::enter(&server, config("new", "1.4.0"), clock.clone());
    let people = [&old, &new];
    pass(&people, 20 * SECOND).await;
    *old.leave.lock() = Some(End::StepDown(120 * SECOND));
    let took = acted(&new, &people).await;
    assert!(took < 45 * SECOND, "{took:?}");
    let took = acted(&old, &people).await;
    assert!(took > 60 * SECOND, "{took:?}");
    old.footing.withhold(true);
    acted(&new, &people).await;
    pass(&people, 60 * SECOND).await;
    assert!(new.acts());
}

/// Goal: a server without the kind, or without the permission, costs one line that says what to do, and few requests; nobody leads.
/// Method: servers that answer so.
#[tokio::test(start_paused = true)]
async fn a_server_that_names_nobody_is_said_once() {
    for (status, said) in [(404, "feature gate CoordinatedLeaderElection"), (403, "resources [leasecandidates]")] {
        let log = Log::new();
        let _listening = tracing::subscriber::set_default(log.clone());
        let asked = Arc::new(Mutex::new(0));
        let inner = tower::util::BoxCloneSyncService::new(server().service("old"));
        let counted = Arc::clone(&asked);
        let lacking = tower::service_fn(move |request: http::Request<Body>| {
            let (mut inner, counted) = (inner.clone(), Arc::clone(&counted));
            async move {
                if request.uri().path().contains("leasecandidates") {
                    *counted.lock() += 1;
                    let answer = http::Response::builder().status(status).body(Body::empty());
                    return answer.map_err(std::io::Error::other);
                }
                let answer = tower::Service::call(&mut inner, request).await.map_err(std::io::Error::other)?;
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                Ok(http::Response::from_parts(head, Body::from(body.to_vec())))
            }
        });
        let (electors, mut candidacies) =
            Electors::new(vec![Stand::Alone(config("old", "1.2.0"))], Arc::new(VirtualClock::new())).unwrap();
        tokio::spawn(electors.run(Client::new(lacking, "default"), CancellationToken::new()));
        let term = tokio::time::timeout(300 * SECOND, candidacies[0][0].next_term()).await;
        assert!(term.is_err(), "nobody was named");
        let lines = log.lines().iter().filter(|line| line.contains("can't stand")).cloned().collect::<Vec<_>>();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(said), "{lines:?}");
        assert!((10..=22).contains(&*asked.lock()), "{} requests in five minutes", asked.lock());
    }
}

/// Goal: what coordination can't go with is refused. Method: buckets, an old lock, two Leases under one identity, an elector without a client, a bad version.
#[test]
fn what_can_not_be_coordinated() {
    let clock: Arc<dyn GateClock> = Arc::new(VirtualClock::new());
    let refused = |stand| Electors::new(vec![stand], clock.clone()).err();
    let good = || config("old", "1.2.0");
    let buckets = Stand::Shared(good(), Buckets::new(2).unwrap());
    assert!(matches!(refused(buckets), Some(ConfigError::Coordinated(_))));
    let old_lock = Some(OldLock::new(OldLockKind::ConfigMap));
    let old = Stand::Alone(ElectorConfig { old_lock, ..good() });
    assert!(matches!(refused(old), Some(ConfigError::Coordinated(_))));
    let two = ["one", "two"].map(|name| Stand::Alone(ElectorConfig { lease_name: name.to_owned(), ..good() }));
    assert!(matches!(Electors::new(two.to_vec(), clock.clone()).err(), Some(ConfigError::Coordinated(_))));
    assert!(matches!(refused(Stand::Alone(config("old", "1.6.0"))), Some(ConfigError::Version { .. })));
    assert!(matches!(
        refused(Stand::Alone(ElectorConfig { timings: Timings { jitter: -1.0, ..Timings::default() }, ..good() })),
        Some(ConfigError::Timings(_))
    ));
    let alone =
        |client| Elector::new(Arc::new(KubeLeaseLock::new(client, "default", "n")), good(), clock.clone()).err();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let client = Client::new(ApiServer::new(Config::default()).service("a"), "default");
    assert!(matches!(alone(client), Some(ConfigError::Coordinated(_))));
}
