//! Exactly one active worker set: three `lease-monitor` processes on one Lease, on both servers.
//!
//! Goal: over rounds of kill -9, SIGTERM, and SIGSTOP for longer than the lease then SIGCONT of the active one, no two
//! are active at once, every takeover is inside its bound, every term writes, and the server's own log agrees.
//! Method: real processes, a living cluster in which Leases change state all the time, and the checker in
//! `src/exclusive.rs` over everything that was traced and logged. `WATCHKEEPER_ROUNDS` says how many rounds (6),
//! `WATCHKEEPER_SEED` repeats an order (each run prints its seed).

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

mod replica;
mod rounds;

use std::time::Duration;

use serde_json::json;
use watchkeeper_e2e::clock::boot_nanos;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig, User};
use watchkeeper_e2e::embedded::EmbeddedServer;
use watchkeeper_e2e::exclusive::{Demands, Evidence, TakeoverBound, check};
use watchkeeper_e2e::folder::Folder;

use rounds::Watch;

/// L. The other timings are in `replica.rs`; D = 3 s is less than (1 - rho) * (L / (1 + rho) - J) = 4.1 s.
pub(crate) const LEASE: Duration = Duration::from_secs(6);
const USERS: [&str; 3] = ["r0", "r1", "r2"];
const GROUP: &str = "lease-monitors";

/// 6.5 + 0.6 + 1 + 1 s as promised, and 1.5 s for two cores on which seven processes run.
pub(crate) fn takeover_bound() -> TakeoverBound {
    TakeoverBound {
        lease: LEASE,
        clock_rate_error: 1.0 / 12.0,
        retry: Duration::from_millis(500),
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
    let users = USERS.map(|user| (user.to_owned(), server.kubeconfig(user).expect("writes")));
    let mut watch = Watch::start(&folder, server.kubeconfig(ADMIN).expect("writes"), users.into(), seed);
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
    let users = USERS.map(|user| (user.to_owned(), server.kubeconfig(0, user).expect("writes")));
    let mut watch = Watch::start(&folder, server.kubeconfig(0, ADMIN).expect("writes"), users.into(), seed);
    watch.play(rounds).await;
    let mut evidence = watch.end().await;
    evidence.writes = server.writes().unwrap_or_else(|error| panic!("{error}"));
    judge("real control plane", &evidence, rounds);
}
