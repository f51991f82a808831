//! Tests of who comes next: hand-over, preference, reserve, stepping down; and of what is seen of it all.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::tests::Scripted;
use super::*;
use crate::clock::VirtualClock;
use crate::gate::GateClosed;
use crate::identity::Identity;
use crate::log::Log;
use crate::metrics::{Metrics, MetricsSink};
use crate::record::{HAND_OVER_ANNOTATION, HANDED_TO_ANNOTATION};
use crate::sight::{Sight, Unhealthy};
use crate::standpoint::Stance;
use parking_lot::Mutex;

const SECOND: Duration = Duration::from_secs(1);

fn name(readable: &str) -> Identity {
    Identity::from_parts(readable, 1, 1).unwrap()
}

/// A candidate that works as its owner should: opens, works, stops when it is asked to hand over, and hands over.
struct Person {
    footing: crate::candidacy::Footing,
    sight: Sight,
    shutdown: CancellationToken,
    elector: tokio::task::JoinHandle<()>,
}

impl Person {
    fn enter(server: &Arc<Scripted>, readable: &str) -> Self {
        let config = ElectorConfig {
            first_install: true,
            timings: crate::Timings { jitter: 0.0, ..crate::Timings::default() },
            ..ElectorConfig::new("ns", "n", name(readable))
        };
        let (elector, mut candidacy) = Elector::new(server.clone(), config, Arc::new(VirtualClock::new())).unwrap();
        let (footing, sight, shutdown) = (candidacy.footing(), candidacy.sight(), CancellationToken::new());
        let stop = shutdown.clone();
        tokio::spawn(async move {
            while let Some(standing) = candidacy.next_term().await {
                standing.open().unwrap();
                let over = standing.term().cancelled();
                let how = tokio::select! {
                    () = over.cancelled() => End::Keep,
                    () = stop.cancelled() => End::Release,
                    to = standing.asked_to_hand_over() => End::HandOver(to),
                };
                standing.end(how).await;
            }
        });
        Self { footing, sight, shutdown: shutdown.clone(), elector: tokio::spawn(elector.run(shutdown)) }
    }

    fn acts(&self) -> bool {
        self.sight.status().term.is_some_and(|term| term.gate.is_ok())
    }

    async fn acted(&self) -> Duration {
        let from = Instant::now();
        while !self.acts() {
            sleep(SECOND / 20).await;
            assert!(from.elapsed() < 120 * SECOND, "{:?}", self.sight.status());
        }
        from.elapsed()
    }
}

fn annotate(server: &Scripted, to: &str) {
    server.edit(|lease| lease["metadata"]["annotations"][HAND_OVER_ANNOTATION] = json!(to));
}

/// Goal: anybody who may edit the Lease can have it handed over, by a readable name, without a gap of a lease, to that candidate and no
/// other; the wish is gone afterwards. Method: three candidates and one annotation.
#[tokio::test(start_paused = true)]
async fn a_hand_over_that_is_asked_for_goes_to_whom_it_names() {
    let server = Arc::new(Scripted::default());
    let first = Person::enter(&server, "first");
    first.acted().await;
    let (second, third) = (Person::enter(&server, "second"), Person::enter(&server, "third"));
    sleep(20 * SECOND).await;
    assert!(first.acts());
    annotate(&server, "third");
    let took = third.acted().await;
    // One renewal until it is seen, one look of the next.
    assert!(took <= 5 * SECOND, "{took:?}");
    assert!(!first.acts() && !second.acts());
    let annotations = server.object.lock().as_ref().unwrap()["metadata"]["annotations"].clone();
    assert_eq!(annotations.get(HAND_OVER_ANNOTATION), None);
    assert_eq!(annotations.get(HANDED_TO_ANNOTATION), None);
    assert_eq!(first.sight.history().first().unwrap().end, Some(TermEnd::HandedOver("third".to_owned())));
    sleep(60 * SECOND).await;
    assert!(third.acts());
}

/// Goal: a hand-over to nobody costs one lease duration, not the leader for good, and is told once; one to the holder itself is only
/// taken note of. Method: annotations with such names.
#[tokio::test(start_paused = true)]
async fn a_hand_over_to_nobody_and_to_oneself() {
    let log = Log::new();
    let _listening = tracing::subscriber::set_default(log.clone());
    let server = Arc::new(Scripted::default());
    let first = Person::enter(&server, "first");
    first.acted().await;
    annotate(&server, "first");
    sleep(30 * SECOND).await;
    assert!(first.acts());
    assert_eq!(server.object.lock().as_ref().unwrap()["metadata"]["annotations"].get(HAND_OVER_ANNOTATION), None);
    let second = Person::enter(&server, "second");
    sleep(10 * SECOND).await;
    annotate(&server, "fir");
    while first.acts() {
        sleep(SECOND / 10).await;
    }
    let from = Instant::now();
    while !first.acts() && !second.acts() {
        sleep(SECOND / 10).await;
    }
    assert!((15 * SECOND..20 * SECOND).contains(&from.elapsed()), "{:?}", from.elapsed());
    sleep(20 * SECOND).await;
    let told: Vec<String> = log.lines().into_iter().filter(|line| line.contains("handed over to this name")).collect();
    assert!(told.len() == 1 && told[0].contains("named=\"fir\""), "{told:?}");
    assert!(told[0].contains("\"first_"), "{told:?}");
}

/// Goal: a preferred candidate gets the Lease from a holder that lives, once, and doesn't harass. Method: enter as preferred, count its
/// writes; then against a holder that doesn't follow.
#[tokio::test(start_paused = true)]
async fn a_preferred_candidate_asks_once_a_term() {
    let server = Arc::new(Scripted::default());
    let first = Person::enter(&server, "first");
    first.acted().await;
    let second = Person::enter(&server, "second");
    second.footing.stand(Stance::Prefer);
    assert!(second.acted().await <= 8 * SECOND);

    let server = Arc::new(Scripted::default());
    server.store(json!({"metadata": {"name": "n", "namespace": "ns"}, "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}}));
    let third = Person::enter(&server, "third");
    third.footing.stand(Stance::Prefer);
    for second in 0..120 {
        server.edit(|lease| lease["spec"]["renewTime"] = json!(format!("2026-01-01T00:00:00.{second:06}Z")));
        if second == 60 {
            // The holder has ignored it and dropped it.
            server.edit(|lease| lease["metadata"]["annotations"] = Value::Null);
        }
        sleep(2 * SECOND).await;
    }
    let asked = server.log.lock().iter().filter(|what| **what == "update").count();
    assert_eq!(asked, 1, "the holder is asked once");
    // A holder that doesn't renew any more is succeeded as ever.
    assert!(third.acted().await <= 20 * SECOND);
}

/// Goal: a reserve comes after all others, but it comes. Method: release with another; crash and release without.
#[tokio::test(start_paused = true)]
async fn a_reserve_waits_for_one_more_lease() {
    let server = Arc::new(Scripted::default());
    let first = Person::enter(&server, "first");
    first.acted().await;
    let (reserve, other) = (Person::enter(&server, "reserve"), Person::enter(&server, "other"));
    reserve.footing.stand(Stance::Reserve);
    sleep(20 * SECOND).await;
    first.shutdown.cancel();
    other.acted().await;
    assert!(!reserve.acts());
    // After a crash: its lease, and one more.
    other.elector.abort();
    let took = reserve.acted().await;
    assert!((25 * SECOND..35 * SECOND).contains(&took), "{took:?}");
    // After a release: two looks.
    let last = Person::enter(&server, "last");
    last.footing.stand(Stance::Reserve);
    sleep(5 * SECOND).await;
    reserve.shutdown.cancel();
    let took = last.acted().await;
    assert!((4 * SECOND..8 * SECOND).contains(&took), "{took:?}");
}

/// Goal: a withheld candidate claims nothing and creates nothing, and stands again at once. Method: free and missing Leases.
#[tokio::test(start_paused = true)]
async fn a_withheld_candidate_claims_nothing() {
    let server = Arc::new(Scripted::default());
    let person = Person::enter(&server, "unwell");
    person.footing.withhold(true);
    sleep(60 * SECOND).await;
    assert!(server.object.lock().is_none());
    assert!(server.log.lock().iter().all(|what| *what == "read"));
    assert_eq!(person.sight.check(Duration::ZERO), Ok(()));
    person.footing.withhold(false);
    assert!(person.acted().await <= 5 * SECOND);
}

/// Goal: who steps down releases, and keeps away for as long as it said. Method: alone, so that nobody else takes it.
#[tokio::test(start_paused = true)]
async fn stepping_down_has_a_cool_down() {
    let server = Arc::new(Scripted::default());
    let config = ElectorConfig { first_install: true, ..ElectorConfig::new("ns", "n", name("me")) };
    let (elector, mut candidacy) = Elector::new(server.clone(), config, Arc::new(VirtualClock::new())).unwrap();
    tokio::spawn(elector.run(CancellationToken::new()));
    let standing = candidacy.next_term().await.unwrap();
    standing.open().unwrap();
    standing.end(End::StepDown(100 * SECOND)).await;
    assert_eq!(server.holder(), "");
    let from = Instant::now();
    let again = candidacy.next_term().await.unwrap();
    assert!((100 * SECOND..105 * SECOND).contains(&from.elapsed()), "{:?}", from.elapsed());
    assert!(again.open().is_ok());
}

/// Goal: an edit by somebody else just before a release doesn't cost a lease duration. Method: a label at that moment.
#[tokio::test(start_paused = true)]
async fn a_release_survives_an_edit() {
    let server = Arc::new(Scripted::default());
    let first = Person::enter(&server, "first");
    first.acted().await;
    sleep(5 * SECOND).await;
    server.edit(|lease| lease["metadata"]["labels"] = json!({"theirs": "1"}));
    first.shutdown.cancel();
    first.elector.await.unwrap();
    assert_eq!(server.holder(), "");
    assert_eq!(server.object.lock().as_ref().unwrap()["metadata"]["labels"], json!({"theirs": "1"}));
}

/// Goal: labels are put on the Lease beside others' and stay. Method: claim a Lease that has some.
#[tokio::test(start_paused = true)]
async fn labels_join_those_of_others() {
    let server = Arc::new(Scripted::default());
    server.store(json!({"metadata": {"name": "n", "namespace": "ns", "labels": {"theirs": "1"}}, "spec": {}}));
    let labels = BTreeMap::from([("ours".to_owned(), "2".to_owned())]);
    let config = ElectorConfig { labels, ..ElectorConfig::new("ns", "n", name("me")) };
    let (elector, mut candidacy) = Elector::new(server.clone(), config, Arc::new(VirtualClock::new())).unwrap();
    tokio::spawn(elector.run(CancellationToken::new()));
    let _standing = candidacy.next_term().await.unwrap();
    assert_eq!(server.object.lock().as_ref().unwrap()["metadata"]["labels"], json!({"theirs": "1", "ours": "2"}));
}

/// Keeps what it is told.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl Kept {
    fn note(&self, what: impl std::fmt::Display) {
        self.0.lock().push(what.to_string());
    }

    fn has(&self, what: &str) -> bool {
        self.0.lock().iter().any(|kept| kept == what)
    }
}

impl Metrics for Kept {
    fn lease(&self, lease: &str) {
        self.note(format!("lease {lease}"));
    }
    fn master_status(&self, leads: bool) {
        self.note(format!("status {leads}"));
    }
    fn slowpath(&self, more: u64) {
        self.note(format!("slowpath {more}"));
        panic!("a planted panic of a sink");
    }
    fn terms(&self, more: u64) {
        self.note(format!("terms {more}"));
    }
    fn epoch(&self, last_digits: u64) {
        self.note(format!("epoch {last_digits}"));
    }
    fn time_to_closing(&self, left: Duration) {
        self.note(format!("closing in {}", left.as_secs()));
    }
    fn renewal_latency(&self, took: Duration) {
        self.note(format!("latency {took:?}"));
    }
    fn closings(&self, reason: &'static str) {
        self.note(format!("closed {reason}"));
    }
    fn doubts(&self, more: u64) {
        self.note(format!("doubts {more}"));
    }
    fn refused_writes(&self, reason: &'static str) {
        self.note(format!("refused {reason}"));
    }
    fn contenders(&self, seen: usize) {
        self.note(format!("contenders {seen}"));
    }
}

/// Goal: metrics, status, history and health say what has happened; a panicking sink harms nothing. Method: one term with an edit, a
/// loss, and another's term.
#[tokio::test(start_paused = true)]
async fn what_is_seen() {
    let (server, kept) = (Arc::new(Scripted::default()), Arc::new(Kept::default()));
    let config = ElectorConfig {
        first_install: true,
        metrics: MetricsSink::new(kept.clone()),
        ..ElectorConfig::new("ns", "n", name("me"))
    };
    let (elector, mut candidacy) = Elector::new(server.clone(), config, Arc::new(VirtualClock::new())).unwrap();
    let sight = candidacy.sight();
    assert_eq!(sight.status().holder, None);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(elector.run(shutdown.clone()));
    let standing = candidacy.next_term().await.unwrap();
    assert_eq!(sight.status().term.unwrap().gate, Err(GateClosed::NotOpenYet(standing.term().epoch())));
    standing.open().unwrap();
    sleep(5 * SECOND).await;
    server.edit(|lease| lease["metadata"]["labels"] = json!({"theirs": "1"}));
    sleep(3 * SECOND).await;
    sight.observe();
    server.edit(|lease| lease["spec"]["holderIdentity"] = json!("thief"));
    standing.term().cancelled().cancelled().await;
    assert_eq!(sight.check(Duration::ZERO), Ok(()));
    sleep(3 * SECOND).await;
    assert!(matches!(sight.check(Duration::ZERO), Err(Unhealthy::Overdue { .. })), "the work should have stopped");
    standing.end(End::Release).await;
    assert_eq!(sight.check(Duration::ZERO), Ok(()));
    sleep(5 * SECOND).await;
    let status = sight.status();
    assert_eq!((status.holder.as_deref(), status.term, status.trouble), (Some("thief"), None, None));
    assert_eq!(status.contenders, ["me_1_00000000000000000000000000000001", "thief"]);
    for what in [
        "lease ns/n",
        "status false",
        "status true",
        "terms 1",
        "epoch 1",
        "slowpath 1",
        "latency 0ns",
        "closed overwritten",
        "contenders 1",
        "contenders 2",
        "closing in 8",
    ] {
        assert!(kept.has(what), "{what} is missing: {:?}", kept.0.lock());
    }
    let history = sight.history_json();
    assert_eq!(history[0]["own"], json!(true));
    assert_eq!(history[0]["epoch"], json!("1"));
    assert_eq!(history[0]["end"], json!("lost"));
    assert!(history[0]["closed"].as_str().unwrap().contains("thief"), "{history}");
    assert_eq!(
        (&history[1]["holder"], &history[1]["own"], &history[1]["until"]),
        (&json!("thief"), &json!(false), &Value::Null)
    );
    shutdown.cancel();
    task.await.unwrap();
    assert_eq!(sight.check(Duration::ZERO), Err(Unhealthy::Ended("ns/n".to_owned())));
}

/// Goal: the history is bounded. Method: more terms than it keeps.
#[tokio::test(start_paused = true)]
async fn the_history_is_bounded() {
    let server = Arc::new(Scripted::default());
    server.store(json!({"metadata": {"name": "n", "namespace": "ns"}, "spec": {}}));
    let person = Person::enter(&server, "me");
    for count in 0..100 {
        server.edit(|lease| {
            lease["spec"] = json!({"holderIdentity": format!("holder-{count}"), "leaseTransitions": count})
        });
        sleep(3 * SECOND).await;
    }
    let history = person.sight.history();
    assert_eq!(history.len(), crate::LONGEST_HISTORY);
    assert_eq!(history.last().unwrap().holder, "holder-99");
    assert_eq!(person.sight.status().contenders.len(), 64);
}

/// Goal: an elector whose thread is blocked is seen. Method: a task that isn't polled, and a clock that goes on.
#[tokio::test(start_paused = true)]
async fn a_stuck_elector_is_seen() {
    let server = Arc::new(Scripted::default());
    let config = ElectorConfig::new("ns", "n", name("me"));
    let (_never_run, candidacy) = Elector::new(server, config, Arc::new(VirtualClock::new())).unwrap();
    sleep(9 * SECOND).await;
    assert_eq!(candidacy.sight().check(Duration::ZERO), Ok(()));
    sleep(2 * SECOND).await;
    assert!(matches!(candidacy.sight().check(Duration::ZERO), Err(Unhealthy::Stuck { .. })));
    assert_eq!(candidacy.sight().check(5 * SECOND), Ok(()));
}

/// Goal: a machine that stood still, which no clock of its own has counted, asks the server before it acts: the term goes on if it is
/// still its own, and ends at once if it isn't; a server out of reach keeps the gate shut, without a storm. Method: step the wall.
#[tokio::test(start_paused = true)]
async fn after_a_stop_of_the_machine_the_server_is_asked() {
    for stolen in [false, true] {
        let server = Arc::new(Scripted::default());
        let clock = Arc::new(VirtualClock::new());
        let config = ElectorConfig { first_install: true, ..ElectorConfig::new("ns", "n", name("me")) };
        let (elector, mut candidacy) = Elector::new(server.clone(), config, clock.clone()).unwrap();
        tokio::spawn(elector.run(CancellationToken::new()));
        let standing = candidacy.next_term().await.unwrap();
        standing.open().unwrap();
        sleep(5 * SECOND).await;
        if stolen {
            server.edit(|lease| lease["spec"]["holderIdentity"] = json!("thief"));
        }
        clock.step_wall(SignedDuration::from_hours(1));
        assert!(matches!(standing.term().check(), Err(GateClosed::InDoubt(_))));
        sleep(SECOND / 2).await;
        assert_eq!(standing.term().is_open(), !stolen);
        assert_eq!(standing.term().closed().is_some(), stolen);
        if !stolen {
            *server.refuse_updates.lock() = Some(LockError::unknown("away"));
            server.log.lock().clear();
            clock.step_wall(SignedDuration::from_hours(1));
            sleep(3 * SECOND).await;
            assert!(!standing.term().is_open());
            assert!(standing.term().closed().is_none(), "in doubt, not lost");
            let tries = server.log.lock().len();
            assert!((4..=8).contains(&tries), "{tries} tries in 3 s");
        }
    }
}
