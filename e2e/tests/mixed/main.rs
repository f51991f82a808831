//! One Lease, two kinds of candidates: ours (`lease-monitor`) and client-go's (`elector/`), on the real API server.
//!
//! Goal: whichever leads, the other one takes over when it should and not before; never do both act at one time;
//! `leaseTransitions` counts each change of holder once; each reads the other's record; what others wrote on the Lease stays.
//! Method: real processes. Ours is active by its activity trace, client-go's by its lines, both on the boot clock. What the
//! Lease said, version by version, is read from the server's audit log. Our wall clock is an hour ahead all the while.

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

mod contest;
mod history;

use std::time::Duration;

use serde_json::json;
use watchkeeper_e2e::candidate::Side;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::kubeconfig::create;
use watchkeeper_e2e::replica::ElectionTimings;

use contest::Contest;

/// Short, and right for both: D = 2.2 s is less than (1 - rho) * ((L - 1 s) / (1 + rho) - J) = 2.47 s.
pub(crate) const TIMINGS: ElectionTimings = ElectionTimings {
    lease: Duration::from_secs(5),
    renew_deadline: Duration::from_millis(2_200),
    retry: Duration::from_millis(500),
    stop_bound: Duration::from_secs(1),
    request_timeout: Duration::from_secs(1),
};
/// The Lease, in the namespace `default`.
pub(crate) const LEASE: &str = "shared";
/// How wrong our wall clock is, in seconds.
pub(crate) const AHEAD: i64 = 3_600;
/// client-go looks every retry period times a number from 1 to 2.2.
const GO_LOOKS: Duration = Duration::from_millis(1_100);
/// We look every retry period, plus a fifth at most.
const WE_LOOK: Duration = Duration::from_millis(600);
/// What the server may take for a write: with more, each next look of a candidate comes too late.
const IN_TIME: Duration = TIMINGS.retry;
/// L / (1 - rho): the longest that a clock as wrong as we allow for takes for our wait.
const OUR_WAIT: Duration = Duration::from_millis(5_455);
/// client-go sees only the first of the renewals whose times have the same whole second.
const GO_WAIT: Duration = Duration::from_secs(4);

/// How often a scene is played, at most.
const TRIES: usize = 3;

/// Plays a scene of at least `terms` terms on a server of its own, and judges it.
///
/// A machine that stands still for a while makes things late, and nothing else wrong: where something was late and the server took long for a
/// write on the Lease, the scene is played again. Everything else is judged each time.
async fn judged(terms: usize, scene: impl AsyncFn(&mut Contest)) {
    for tries in 1.. {
        let (_server, mut contest) = start().await;
        scene(&mut contest).await;
        let slowest = contest.slowest();
        contest.end_and_judge(terms).await;
        if contest.late.is_empty() {
            return;
        }
        println!("late: {:#?}; the longest write took {slowest:.2?}", contest.late);
        assert!(slowest > IN_TIME, "the server was in time");
        assert!(tries < TRIES, "late in each of {TRIES} tries");
    }
}

async fn start() -> (ControlPlane, Contest) {
    let folder = Folder::new().expect("a folder");
    let config = ControlPlaneConfig::default();
    let mut server = ControlPlane::start(&folder, config).await.unwrap_or_else(|error| panic!("{error}"));
    let admin = server.client(0, ADMIN).await.expect("a client");
    // Somebody else's notes on the Lease, from before the first election.
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": LEASE, "labels": {"team": "night"}, "annotations": {"note": "keep me"}},
    });
    create(&admin, "/apis/coordination.k8s.io/v1/namespaces/default/leases", &lease).await.expect("creates");
    let contest = Contest::new(&folder, server.kubeconfig(0, ADMIN).expect("writes"), server.server(0).audit_log());
    (server, contest)
}

/// Each way of handing over, in both directions. What is asserted of each:
///
/// * client-go's leader is killed: we take over when its lease has run out since its last renewal, in true time.
/// * Our leader releases: client-go takes the blank record at its next look.
/// * client-go's leader releases: its record is blank, but without our marker, which alone says that the work has stopped
///   (client-go may release while it works). So we wait as if it had been killed (rule C3).
/// * Our leader is killed: client-go takes over when our lease has run out since the last renewal that it has seen.
#[tokio::test]
async fn each_takes_over_from_the_other() {
    judged(5, in_turn).await;
}

async fn in_turn(contest: &mut Contest) {
    contest.start(Side::Go);
    let first = contest.next_leader(0).await;
    contest.start(Side::Ours);
    contest.settle().await;
    contest.kill(first.candidate).await;
    let ours = contest.next_leader(first.began).await;
    let renewed = contest.history().last_of(&first.name);
    contest.expect("client-go is killed, we take over", (renewed, ours.began), TIMINGS.lease, OUR_WAIT + WE_LOOK);

    let standby = contest.start(Side::Go);
    contest.settle().await;
    let holder = contest.history().holder();
    contest.expect_seen(standby, &holder);
    contest.terminate(ours.candidate).await;
    let second = contest.next_leader(ours.began).await;
    let released = contest.history().last_of("");
    contest.expect("we release, client-go takes over", (released, second.began), Duration::ZERO, GO_LOOKS);

    contest.start(Side::Ours);
    contest.settle().await;
    contest.terminate(second.candidate).await;
    let ours = contest.next_leader(second.began).await;
    let released = contest.history().last_of("");
    contest.expect("client-go releases, we wait", (released, ours.began), TIMINGS.lease, OUR_WAIT + WE_LOOK);

    contest.start(Side::Go);
    contest.settle().await;
    contest.kill(ours.candidate).await;
    let third = contest.next_leader(ours.began).await;
    let renewed = contest.history().last_of(&ours.name);
    contest.expect("we are killed, client-go takes over", (renewed, third.began), GO_WAIT, TIMINGS.lease + GO_LOOKS);
}

/// Goal: two of each kind contend while whoever leads is killed or stopped, six times; nothing is ever wrong.
#[tokio::test]
async fn they_contend_and_never_lead_together() {
    judged(7, contend).await;
}

async fn contend(contest: &mut Contest) {
    for side in [Side::Ours, Side::Go, Side::Ours, Side::Go] {
        contest.start(side);
    }
    let mut after = 0;
    for round in 0..6 {
        let leader = contest.next_leader(after).await;
        after = leader.began;
        contest.settle().await;
        if round % 2 == 0 {
            contest.kill(leader.candidate).await;
        } else {
            contest.terminate(leader.candidate).await;
        }
        contest.start(leader.side);
    }
    contest.next_leader(after).await;
}
