//! Failures of an election that are no fault of one request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube_client::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube_client::{Api, Client};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Layer as _;
use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Refusal, Rule, Verb};
use watchkeeper_apiserver::simulate::check;
use watchkeeper_apiserver::simulate::process::ProcessClock;
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};
use watchkeeper_leader::{
    Candidacy, Elector, End, FenceConfig, FenceLayer, Identity, KubeLeaseLock, LockError, Term, VirtualClock,
};

use crate::clock::Clock;
use crate::config::{PLACE, config};
use crate::process::{Process, Rate, World, timings};
use crate::scripted::{Server, Spoil};
use crate::terms::Terms;

const SECOND: Duration = Duration::from_secs(1);

fn world() -> World {
    let clock = Arc::new(TokioClock::starting_at(Timestamp::UNIX_EPOCH));
    let server = ApiServer::new(Config { clock, ..Config::default() });
    World { server, terms: Terms::default(), begin: Instant::now(), breach: None }
}

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(Client::new(world.server.service("admin"), PLACE.0), PLACE.0)
}

/// Until a gate is open: whose.
async fn leader(world: &World, within: Duration) -> String {
    let begun = world.now();
    while world.now() < begun + within {
        world.terms.look(world.now());
        if let Some((_, user)) = world.terms.leader() {
            return user;
        }
        sleep(SECOND / 20).await;
    }
    panic!("nobody leads {within:?} after {begun:?}");
}

fn rule(world: &World, user: &str, verbs: Vec<Verb>, action: Action, count: Option<u64>, lasts: Option<Duration>) {
    let matcher = Matcher { identity: Some(user.into()), verbs, ..Matcher::default() };
    let rule = Rule { matcher, budget: Budget { count, duration: lasts }, ..Rule::new("fault", action) };
    world.server.faults().add(rule).unwrap();
}

fn elector(server: &Server, who: &'static str, clock: VirtualClock) -> (Elector, Candidacy) {
    let config = config(Identity::from_parts(who, 1, 1).unwrap(), timings(), true, 1);
    Elector::new(server.lock(who), config, Arc::new(clock)).unwrap()
}

/// Goal: a release that a network has held back takes nothing from a successor (E3). Method: it arrives after the takeover.
#[tokio::test(start_paused = true)]
async fn a_release_that_arrives_late_takes_nothing() {
    let world = world();
    let a = Process::start(&world, "a", Rate::Fast);
    assert_eq!(leader(&world, 30 * SECOND).await, "a");
    let b = Process::start(&world, "b", Rate::Fast);
    sleep(5 * SECOND).await;
    rule(&world, "a", vec![Verb::Update], Action::Straggle { by: 40 * SECOND, jitter: Duration::ZERO }, None, None);
    a.hand_over();
    sleep(SECOND).await;
    assert_eq!(leader(&world, 30 * SECOND).await, "b");
    sleep(60 * SECOND).await;
    let late: Vec<u16> = (world.server.writes().iter().filter(|write| write.identity == "a" && write.code == 409))
        .map(|write| write.code)
        .collect();
    assert!(!late.is_empty(), "nothing arrived late");
    assert_eq!(leader(&world, SECOND).await, "b");
    let lease = leases(&world).get(PLACE.1).await.unwrap().spec.unwrap();
    assert_eq!(lease.lease_transitions, Some(2));
    for process in [a, b] {
        assert!(!process.stop().await);
    }
}

/// Goal: a release is no Lease that a server refuses (E18). Method: a server that refuses what upstream refuses.
#[tokio::test(start_paused = true)]
async fn a_release_passes_validation() {
    let world = world();
    let a = Process::start(&world, "a", Rate::Fast);
    leader(&world, 30 * SECOND).await;
    let patch = Patch::Merge(json!({ "spec": { "leaseDurationSeconds": 0 } }));
    let refused = leases(&world).patch(PLACE.1, &PatchParams::default(), &patch).await.unwrap_err();
    assert!(refused.to_string().contains("must be greater than 0"), "{refused}");
    assert!(!a.stop().await);
    let last = world.server.writes().pop().unwrap();
    assert_eq!((last.identity.as_str(), last.code), ("a", 200));
    let lease = leases(&world).get(PLACE.1).await.unwrap().spec.unwrap();
    assert_eq!((lease.holder_identity.as_deref(), lease.lease_duration_seconds), (Some(""), Some(1)));
}

/// Goal: a write of an old term that a network has held back commits nothing after the next term's (E22, I12). Method: the
/// same, for an object that both have read.
#[tokio::test(start_paused = true)]
async fn a_write_that_arrives_late_is_refused() {
    let world = world();
    let plain = |user: &str| Api::<ConfigMap>::default_namespaced(Client::new(world.server.service(user), "default"));
    let metadata = ObjectMeta { name: Some("work".to_owned()), ..ObjectMeta::default() };
    let object = ConfigMap { metadata, ..ConfigMap::default() };
    let object = plain("admin").create(&PostParams::default(), &object).await.unwrap();
    let (old, new) = (term(&world, "old").await, async { term(&world, "new").await });
    let fenced = |user: &str, term: &Term| {
        let fence = FenceLayer::new(term.clone(), FenceConfig::default());
        Api::<ConfigMap>::default_namespaced(Client::new(fence.layer(world.server.service(user)), "default"))
    };
    let straggle = Action::Straggle { by: 40 * SECOND, jitter: Duration::ZERO };
    rule(&world, "old", vec![Verb::Update], straggle, None, None);
    let write = |value: &str| {
        let data = Some([("by".to_owned(), value.to_owned())].into());
        ConfigMap { data, ..object.clone() }
    };
    fenced("old", &old).replace("work", &PostParams::default(), &write("old")).await.unwrap_err();
    let new = new.await;
    assert!(!old.is_open() && new.epoch() > old.epoch());
    fenced("new", &new).replace("work", &PostParams::default(), &write("new")).await.unwrap();
    sleep(60 * SECOND).await;
    let now = plain("admin").get("work").await.unwrap();
    assert_eq!(now.data.unwrap()["by"], "new");
    let late =
        world.server.writes().into_iter().rfind(|write| write.identity == "old" && write.name == "work").unwrap();
    assert_eq!((late.code, late.version), (409, None));
}

/// A term of a candidate that goes on until the test ends.
async fn term(world: &World, user: &str) -> Term {
    let lock = KubeLeaseLock::new(Client::new(world.server.service(user), PLACE.0), PLACE.0, PLACE.1);
    let config = config(Identity::from_parts(user, 1, 1).unwrap(), timings(), true, 1);
    let (elector, mut candidacy) = Elector::new(Arc::new(lock), config, Arc::new(VirtualClock::new())).unwrap();
    tokio::spawn(elector.run(CancellationToken::new()));
    let standing = candidacy.next_term().await.unwrap();
    standing.open().unwrap();
    let term = standing.term().clone();
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop((standing, candidacy))
    });
    term
}

/// Goal: a released Lease that is put back, as from a backup, in the place of a held one is waited out (E8). Method: the
/// holder's own earlier release, while the holder can't be reached.
#[tokio::test(start_paused = true)]
async fn a_backup_is_no_release() {
    let server = Server::default();
    let (a, mut terms_of_a) = elector(&server, "a", VirtualClock::new());
    tokio::spawn(a.run(CancellationToken::new()));
    let first = terms_of_a.next_term().await.unwrap();
    first.open().unwrap();
    first.end(End::Release).await;
    let backup = server.object();
    let second = terms_of_a.next_term().await.unwrap();
    second.open().unwrap();
    let (b, mut terms_of_b) = elector(&server, "b", VirtualClock::new());
    tokio::spawn(b.run(CancellationToken::new()));
    sleep(5 * SECOND).await;
    server.0.lock().cut = Some("a");
    server.put(backup);
    let other = timeout(30 * SECOND, terms_of_b.next_term()).await.expect("I14").unwrap();
    other.open().unwrap();
    assert!(!second.term().is_open(), "I11: two gates are open");
}

/// Goal: a record of its own that is put back, as from a backup, in the place of another's is waited out by who wrote it (E8).
/// Method: A is cut off for longer than its term and doesn't see that of B, who then can't be reached.
#[tokio::test(start_paused = true)]
async fn a_backup_is_no_term() {
    let server = Server::default();
    let (a, mut terms_of_a) = elector(&server, "a", VirtualClock::new());
    tokio::spawn(a.run(CancellationToken::new()));
    let first = terms_of_a.next_term().await.unwrap();
    first.open().unwrap();
    let backup = server.object();
    server.0.lock().cut = Some("a");
    let (b, mut terms_of_b) = elector(&server, "b", VirtualClock::new());
    tokio::spawn(b.run(CancellationToken::new()));
    first.term().cancelled().cancelled().await;
    first.end(End::Keep).await;
    let second = terms_of_b.next_term().await.unwrap();
    second.open().unwrap();
    server.0.lock().cut = Some("b");
    server.put(backup);
    let other = timeout(30 * SECOND, terms_of_a.next_term()).await.expect("I14").unwrap();
    other.open().unwrap();
    assert!(!second.term().is_open(), "I11: two gates are open");
}

/// Goal: a machine that was suspended finds its gate closed, before any timer has fired (E10). Method: tokio's time, which is
/// that of a clock that stands while the machine does, stays as it is; the gate's clock jumps.
#[tokio::test(start_paused = true)]
async fn a_suspended_machine_finds_its_gate_closed() {
    let (server, clock) = (Server::default(), ProcessClock::new(Instant::now(), Duration::ZERO, 1_000_000));
    let config = config(Identity::from_parts("a", 1, 1).unwrap(), timings(), true, 1);
    let (elector, mut candidacy) = Elector::new(server.lock("a"), config, Arc::new(Clock(clock.clone()))).unwrap();
    let running = tokio::spawn(elector.run(CancellationToken::new()));
    let standing = candidacy.next_term().await.unwrap();
    standing.open().unwrap();
    let (before, token) = (Instant::now(), standing.term().cancelled());
    assert!(standing.term().is_open() && !token.is_cancelled());
    clock.jump(3_600 * SECOND);
    assert!(!standing.term().is_open() && token.is_cancelled());
    assert_eq!(before, Instant::now());
    // A renewal that was sent before, or is sent now, opens nothing.
    sleep(5 * SECOND).await;
    assert!(!standing.term().is_open());
    standing.end(End::Release).await;
    // It stands again.
    let next = candidacy.next_term().await.unwrap();
    next.open().unwrap();
    running.abort();
}

/// Goal: wall clocks that are hours apart change nothing (E11). Method: the takeover after a crash, to the nanosecond.
#[tokio::test(start_paused = true)]
async fn wall_clocks_decide_nothing() {
    let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let mut takeovers = Vec::new();
    for (a, b) in [(0, 0), (3_600, -3_600), (-3_600, 3_600), (1_000_000_000, 0), (0, 1_000_000_000)] {
        let server = Server::default();
        let clock = |skew: i64| {
            VirtualClock::new().with_wall(noon.checked_add(k8s_openapi::jiff::SignedDuration::from_secs(skew)).unwrap())
        };
        let (holder, mut held) = elector(&server, "a", clock(a));
        let holder = tokio::spawn(holder.run(CancellationToken::new()));
        let standing = held.next_term().await.unwrap();
        standing.open().unwrap();
        let (rival, mut candidacy) = elector(&server, "b", clock(b));
        let rival = tokio::spawn(rival.run(CancellationToken::new()));
        sleep(600 * SECOND).await;
        assert!(standing.term().is_open(), "{a} {b}");
        holder.abort();
        let killed = Instant::now();
        candidacy.next_term().await.unwrap().end(End::Keep).await;
        takeovers.push(killed.elapsed());
        rival.abort();
    }
    assert!(takeovers.windows(2).all(|pair| pair[0] == pair[1]), "{takeovers:?}");
}

/// Goal: when a Lease runs out, its candidates don't storm it, and one of them has it in time (E15). Method: fifty, and
/// somebody who changes its labels ten times a second for a while.
#[tokio::test(start_paused = true)]
async fn fifty_candidates_at_the_expiry() {
    let world = world();
    let first = Process::start(&world, "first", Rate::Fast);
    leader(&world, 30 * SECOND).await;
    let others: Vec<_> = (0..50).map(|number| Process::start(&world, &format!("c{number}"), Rate::Fast)).collect();
    sleep(10 * SECOND).await;
    let killed = world.now();
    first.crash(&world);
    let api = leases(&world);
    for label in 0..30 {
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "theirs": label.to_string() } } }));
        api.patch(PLACE.1, &PatchParams::default(), &patch).await.unwrap();
        sleep(SECOND / 10).await;
    }
    // The writer's time, a look, L and a round.
    leader(&world, 22 * SECOND).await;
    sleep(10 * SECOND).await;
    let mut writers = 0;
    for number in 0..50 {
        let user = format!("c{number}");
        let writes = world.server.writes().into_iter().filter(|write| write.identity == user);
        let times: Vec<_> = writes.map(|write| Duration::from_nanos(write.boot_nanos)).collect();
        check::request_budget(&times, SECOND, 2).unwrap();
        writers += usize::from(times.iter().any(|at| *at > killed));
    }
    println!("{writers} of 50 wrote");
    check::exclusive(&world.terms.stays()).unwrap();
    for process in others {
        process.crash(&world);
    }
}

/// Goal: throttling and errors for less than D lose nothing (E20). Method: each of them on every request, for as long as
/// leaves time for one more try.
#[tokio::test(start_paused = true)]
async fn trouble_shorter_than_the_deadline_costs_no_term() {
    let throttled = Refusal { retry_after_seconds: Some(1), ..Refusal::of(429) };
    let never = Refusal { retry_after_seconds: Some(3_600), ..Refusal::of(429) };
    let refusals =
        [Refusal::of(429), throttled, never, Refusal::of(500), Refusal::of(503), Refusal::of(401), Refusal::of(403)];
    let world = world();
    let a = Process::start(&world, "a", Rate::Slow);
    leader(&world, 30 * SECOND).await;
    let (number, _) = world.terms.leader().unwrap();
    let b = Process::start(&world, "b", Rate::Fast);
    for refusal in refusals {
        sleep(10 * SECOND).await;
        let lasts = timings().renew_deadline - timings().retry_period * 2;
        rule(&world, "a", Vec::new(), Action::Answer(refusal.clone()), None, Some(lasts));
        for _ in 0..300 {
            sleep(SECOND / 20).await;
            world.terms.look(world.now());
        }
        assert_eq!(world.terms.closed(number), None, "{refusal:?}");
    }
    for process in [a, b] {
        assert!(!process.stop().await);
    }
}

/// Goal: losing the Lease ends a term, never the elector (E23). Method: a hundred losses, of three kinds.
#[tokio::test(start_paused = true)]
async fn lost_and_regained_a_hundred_times() {
    let world = world();
    let (a, api) = (Process::start(&world, "a", Rate::Slow), leases(&world));
    for turn in 0..100 {
        assert_eq!(leader(&world, 40 * SECOND).await, "a", "turn {turn}");
        let (number, _) = world.terms.leader().unwrap();
        if turn % 3 == 0 {
            api.delete(PLACE.1, &DeleteParams::default()).await.unwrap();
        } else {
            let holder = if turn % 3 == 1 { "" } else { "somebody-else" };
            let patch = Patch::Merge(json!({ "spec": { "holderIdentity": holder } }));
            api.patch(PLACE.1, &PatchParams::default(), &patch).await.unwrap();
        }
        while world.terms.closed(number).is_none() {
            sleep(SECOND / 20).await;
            world.terms.look(world.now());
        }
    }
    check::exclusive(&world.terms.stays()).unwrap();
    assert!(!a.stop().await);
}

/// What is done to an elector at one of its steps.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Dropped,
    ToldToStop,
}

/// Counts the steps of a future, and does it at one of them.
struct Steps<F> {
    inner: Option<Pin<Box<F>>>,
    left: usize,
    stop: CancellationToken,
    what: Fate,
    taken: Arc<std::sync::atomic::AtomicUsize>,
}

impl<F: Future<Output = ()>> Future for Steps<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.left == 0 {
            match self.what {
                Fate::Dropped => self.inner = None,
                Fate::ToldToStop => self.stop.cancel(),
            }
        }
        self.left = self.left.wrapping_sub(1);
        match &mut self.inner {
            Some(inner) => inner.as_mut().poll(context),
            None => Poll::Ready(()),
        }
    }
}

/// One election that is ended at this step; how many steps there were.
async fn ended_at(step: usize, what: Fate) -> usize {
    let server = Server::default();
    let late = || Some(Spoil::Late(SECOND / 10));
    let conflict = || Some(Spoil::Before(LockError::Conflict));
    server.0.lock().script = [late(), late(), late(), conflict(), late(), late(), conflict()].into();
    let (elector, mut candidacy) = elector(&server, "a", VirtualClock::new());
    let (stop, taken) = (CancellationToken::new(), Arc::default());
    let run = Some(Box::pin(elector.run(stop.clone())));
    let steps = Steps { inner: run, left: step, stop: stop.clone(), what, taken: Arc::clone(&taken) };
    let running = tokio::spawn(steps);
    let work = tokio::spawn(async move {
        let mut terms = Vec::new();
        while let Some(standing) = candidacy.next_term().await {
            if standing.open().is_ok() {
                tokio::select! {
                    () = standing.term().cancelled().cancelled_owned() => {}
                    () = stop.cancelled() => {}
                    () = sleep(12 * SECOND) => {}
                }
            }
            terms.push(standing.term().clone());
            standing.end(End::Release).await;
        }
        terms
    });
    sleep(30 * SECOND).await;
    let steps = taken.load(std::sync::atomic::Ordering::Relaxed);
    if steps > step {
        timeout(SECOND, running).await.expect("it ends").unwrap();
        let terms = timeout(SECOND, work).await.expect("its owner is told").unwrap();
        assert!(terms.iter().all(|term| !term.is_open()), "step {step}, {what:?}");
        // Whatever it has left behind, somebody else leads in time.
        let (elector, mut candidacy) = self::elector(&server, "b", VirtualClock::new());
        let other = tokio::spawn(elector.run(CancellationToken::new()));
        timeout(20 * SECOND, candidacy.next_term()).await.expect("I14").unwrap().open().unwrap();
        other.abort();
    } else {
        running.abort();
    }
    steps
}

/// Goal: an elector can be dropped, or told to stop, wherever it is (E6, E19). Method: an election with late answers, conflicts
/// and a hand-over, ended at each of its steps.
#[test]
fn ended_at_every_step() {
    for what in [Fate::Dropped, Fate::ToldToStop] {
        let mut step = 0;
        loop {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            if runtime.block_on(ended_at(step, what)) <= step {
                break;
            }
            step += 1;
        }
        println!("{what:?}: {step} steps");
        assert!(step > 50, "{step} steps");
    }
}
