//! At most one active worker set at a time: three `lease-monitor` processes on one Lease, on both servers.
//!
//! Goal: over rounds of kill -9, SIGTERM, SIGSTOP for longer than the lease then SIGCONT, and cuts of its requests, its answers
//! or both, all of the active one, while wall clocks step by up to two hours, no two are active at once, every takeover is
//! inside its bound, every term writes, and the server's own log agrees.
//! Method: real processes, a living cluster in which Leases change state all the time, and the checker in
//! `src/exclusive.rs` over everything that was traced and logged. `WATCHKEEPER_ROUNDS` says how many rounds (6),
//! `WATCHKEEPER_SEED` repeats an order (each run prints its seed).

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

mod rounds;

use std::time::Duration;

use serde_json::json;
use watchkeeper_e2e::clock::boot_nanos;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig, User};
use watchkeeper_e2e::embedded::EmbeddedServer;
use watchkeeper_e2e::exclusive::{Demands, Evidence, TakeoverBound, check};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::replica::ElectionTimings;

use rounds::Watch;

/// D = 3 s is less than (1 - rho) * (L / (1 + rho) - J) = 4.1 s.
pub(crate) const TIMINGS: ElectionTimings = ElectionTimings {
    lease: Duration::from_secs(6),
    renew_deadline: Duration::from_secs(3),
    retry: Duration::from_millis(500),
    stop_bound: Duration::from_secs(1),
    request_timeout: Duration::from_secs(1),
};
const USERS: [&str; 3] = ["r0", "r1", "r2"];
const GROUP: &str = "lease-monitors";

/// 6.5 + 0.6 + 1 + 1 s as promised, and 1.5 s for two cores on which seven processes run.
pub(crate) fn takeover_bound() -> TakeoverBound {
    TakeoverBound {
        lease: TIMINGS.lease,
        clock_rate_error: 1.0 / 12.0,
        retry: TIMINGS.retry,
        jitter: 0.2,
        round_trip: Duration::from_secs(1),
        sync: Duration::from_secs(1),
        slack: Duration::from_millis(1_500),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}: give it a number")))
}

/// Rounds and seed of this run.
fn plan(server: &str) -> (usize, u64) {
    let rounds = number("WATCHKEEPER_ROUNDS").unwrap_or(6) as usize;
    let seed = number("WATCHKEEPER_SEED").unwrap_or_else(boot_nanos);
    println!("{server}: {rounds} rounds, WATCHKEEPER_SEED={seed}");
    (rounds, seed)
}

fn judge(server: &str, evidence: &Evidence, rounds: usize) {
    // One term before the first round and one in each.
    let demands = Demands { takeover: takeover_bound(), terms: rounds + 1, writes: rounds + 1 };
    match check(evidence, &demands) {
        Ok(summary) => println!("{server}: exclusive; {summary:#?}"),
        Err(violations) => {
            let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
            panic!("{server}: {} violations\n{}", lines.len(), lines.join("\n"));
        }
    }
}

#[tokio::test]
async fn on_the_embedded_server() {
    let (rounds, seed) = plan("embedded server");
    let folder = Folder::new().expect("a folder");
    let server = EmbeddedServer::start(&folder).await.unwrap_or_else(|error| panic!("{error}"));
    let mut watch = Watch::start(&folder, server.kubeconfig(ADMIN).expect("writes"), seed);
    for user in USERS {
        watch.add(user, server.cuttable(user).await.expect("a way to the server"));
    }
    watch.play(rounds).await;
    let mut evidence = watch.end().await;
    evidence.writes = server.writes().unwrap_or_else(|error| panic!("{error}"));
    judge("embedded server", &evidence, rounds);
}

#[tokio::test]
async fn on_a_real_control_plane() {
    let (rounds, seed) = plan("real control plane");
    let folder = Folder::new().expect("a folder");
    let users = USERS.map(|user| User::new(user, &[GROUP])).into();
    let config = ControlPlaneConfig { users, ..ControlPlaneConfig::default() };
    let server = ControlPlane::start(&folder, config).await.unwrap_or_else(|error| panic!("{error}"));
    // What a monitor needs, and no more.
    let rules = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "watch", "create", "update"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ]);
    server.grant(GROUP, rules).await.unwrap_or_else(|error| panic!("{error}"));
    let mut watch = Watch::start(&folder, server.kubeconfig(0, ADMIN).expect("writes"), seed);
    for user in USERS {
        watch.add(user, server.cuttable(user).await.expect("a way to the server"));
    }
    watch.play(rounds).await;
    let mut evidence = watch.end().await;
    evidence.writes = server.writes().unwrap_or_else(|error| panic!("{error}"));
    judge("real control plane", &evidence, rounds);
}
