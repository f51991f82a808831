//! How long nobody leads: two of ours and two of client-go's electors, the same numbers, the same server, the same minutes.
//!
//! Measured: from SIGKILL and from SIGTERM of the leader until the other one's gate is open (ours: `lease-monitor`, with its
//! caches caught up) or its work has begun (client-go's: nothing to catch up with), and what both send in steady state, by
//! the server's audit log. `e2e/run --figures` prints a table and JSON lines; `WATCHKEEPER_ROUNDS` says how many of each (10).

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use watchkeeper_e2e::candidate::{Candidate, Side};
use watchkeeper_e2e::clock::boot_nanos;
use watchkeeper_e2e::controlplane::{ControlPlane, ControlPlaneConfig, User};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::replica::{ElectionTimings, ReplicaConfig};

/// D = 4 s is less than (1 - rho) * (L / (1 + rho) - J) = 4.1 s.
const TIMINGS: ElectionTimings = ElectionTimings {
    lease: Duration::from_secs(6),
    renew_deadline: Duration::from_secs(4),
    retry: Duration::from_secs(1),
    stop_bound: Duration::from_secs(1),
    request_timeout: Duration::from_secs(1),
};
const GROUP: &str = "candidates";
/// How long requests are counted.
const STEADY: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// What its users and its Lease are called.
fn label(side: Side) -> &'static str {
    match side {
        Side::Ours => "watchkeeper",
        Side::Go => "client-go",
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Terminate,
}

/// One of the two candidates of a side, process after process.
struct Seat {
    side: Side,
    user: String,
    kubeconfig: PathBuf,
    folder: Folder,
    starts: usize,
    candidate: Candidate,
}

impl Seat {
    fn new(folder: &Folder, side: Side, (user, kubeconfig): (String, PathBuf)) -> Self {
        let candidate = start(folder, side, (&user, &kubeconfig), 0);
        Self { side, user, kubeconfig, folder: folder.clone(), starts: 1, candidate }
    }

    fn start_again(&mut self) {
        match &mut self.candidate {
            Candidate::Ours(replica) => replica.start_again().expect("starts"),
            Candidate::Go(_) => {
                self.candidate = start(&self.folder, self.side, (&self.user, &self.kubeconfig), self.starts);
            }
        }
        self.starts += 1;
    }
}

/// Start number `index`: client-go's get another identity each time, ours do that themselves.
fn start(folder: &Folder, side: Side, (user, kubeconfig): (&str, &Path), index: usize) -> Candidate {
    let user = if side == Side::Go { format!("{user}-{index}") } else { user.to_owned() };
    let lease = ("default".to_owned(), label(side).to_owned());
    let config = ReplicaConfig { user, kubeconfig: kubeconfig.to_owned(), lease, timings: TIMINGS, wall_clock: None };
    Candidate::start(folder, side, config).expect("starts")
}

/// The time of the first term after `after`, and whose it is.
async fn next_term(seats: &mut [Seat; 2], after: u64) -> (usize, u64) {
    let began = async {
        loop {
            let newest = seats
                .iter_mut()
                .enumerate()
                .filter_map(|(index, seat)| Some((seat.candidate.began().expect("speaks")?, index)))
                .max();
            if let Some((began, index)) = newest.filter(|(began, _)| *began > after) {
                return (index, began);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, began).await.expect("somebody leads")
}

/// Ends the leader `rounds` times each way, at any moment of its period; returns how long nobody led.
async fn takeovers(seats: &mut [Seat; 2], rounds: usize, mut dice: fastrand::Rng) -> [(End, Vec<Duration>); 2] {
    let mut took = [(End::Kill, Vec::new()), (End::Terminate, Vec::new())];
    let (mut leader, mut began) = next_term(seats, 0).await;
    for _ in 0..rounds {
        for (end, took) in &mut took {
            // The other one has started and knows the record by then.
            tokio::time::sleep(Duration::from_millis(dice.u64(2_500..4_500))).await;
            let at = boot_nanos();
            match end {
                End::Kill => seats[leader].candidate.process().kill().await.expect("dies"),
                End::Terminate => seats[leader].candidate.process().stop(PATIENCE).await.expect("ends"),
            };
            let ended = leader;
            (leader, began) = next_term(seats, began.max(at)).await;
            took.push(Duration::from_nanos(began - at));
            seats[ended].start_again();
        }
    }
    took
}

/// Requests of each side so far: those about Leases that aren't watches, and all.
fn requests(audit: &Path, side: Side) -> (usize, usize) {
    let text = std::fs::read_to_string(audit).expect("the server's log");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let events = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("an audit event"));
    let of_side =
        events.filter(|event| event["user"]["username"].as_str().is_some_and(|user| user.starts_with(label(side))));
    of_side.fold((0, 0), |(of_lease, all), event| {
        let verb = event["verb"].as_str().unwrap_or_default();
        let elects = event["objectRef"]["resource"] == "leases" && !matches!(verb, "list" | "watch");
        (of_lease + usize::from(elects), all + 1)
    })
}

fn print(side: Side, (end, took): (End, Vec<Duration>)) {
    let mut took: Vec<_> = took.iter().map(Duration::as_secs_f64).collect();
    took.sort_by(f64::total_cmp);
    let (min, p50, max) = (took[0], took[took.len() / 2], took[took.len() - 1]);
    println!("{:<12} {:<10} {:>7} {min:>8.2} {p50:>8.2} {max:>8.2}", label(side), format!("{end:?}"), took.len());
    let figure = json!({
        "measure": "takeover", "side": label(side), "end": format!("{end:?}"), "rounds": took.len(),
        "minSeconds": min, "p50Seconds": p50, "maxSeconds": max, "seconds": took,
    });
    println!("{figure}");
}

#[tokio::test]
#[ignore = "a measurement of some minutes: e2e/run --figures"]
async fn ours_and_client_go_in_the_same_minutes() {
    let rounds =
        std::env::var("WATCHKEEPER_ROUNDS").map_or(10, |text| text.parse().expect("WATCHKEEPER_ROUNDS is a number"));
    let folder = Folder::new().expect("a folder");
    // The harness's own policy leaves reads out.
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "userGroups": [GROUP]}, {"level": "None"}],
    });
    let policy_file = folder.join("figures-audit-policy.json");
    std::fs::write(&policy_file, policy.to_string()).expect("writes");
    let users = [Side::Ours, Side::Go].map(|side| ["a", "b"].map(|seat| (side, format!("{}-{seat}", label(side)))));
    let config = ControlPlaneConfig {
        users: users.iter().flatten().map(|(_, user)| User::new(user, &[GROUP])).collect(),
        api_server_flags: vec![format!("--audit-policy-file={}", policy_file.display())],
        ..ControlPlaneConfig::default()
    };
    let mut server = ControlPlane::start(&folder, config).await.unwrap_or_else(|error| panic!("{error}"));
    let rules = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ]);
    server.grant(GROUP, rules).await.unwrap_or_else(|error| panic!("{error}"));
    let audit = server.server(0).audit_log();
    let [mut ours, mut go] = users.map(|seats| {
        seats.map(|(side, user)| {
            let kubeconfig = server.kubeconfig(0, &user).expect("writes");
            Seat::new(&folder, side, (user, kubeconfig))
        })
    });
    tokio::join!(next_term(&mut ours, 0), next_term(&mut go, 0));
    tokio::time::sleep(TIMINGS.lease).await;
    let before = [Side::Ours, Side::Go].map(|side| requests(&audit, side));
    tokio::time::sleep(STEADY).await;
    let after = [Side::Ours, Side::Go].map(|side| requests(&audit, side));

    let dice = fastrand::Rng::with_seed(boot_nanos());
    let (of_ours, of_go) =
        tokio::join!(takeovers(&mut ours, rounds, dice.clone()), takeovers(&mut go, rounds, dice.clone()));
    println!(
        "\nL {:?}, D {:?}, R {:?}; seconds without a leader",
        TIMINGS.lease, TIMINGS.renew_deadline, TIMINGS.retry
    );
    println!("{:<12} {:<10} {:>7} {:>8} {:>8} {:>8}", "side", "end", "rounds", "min", "p50", "max");
    for (side, took) in [(Side::Ours, of_ours), (Side::Go, of_go)] {
        took.into_iter().for_each(|took| print(side, took));
    }
    println!("\n{:<12} requests a second of two candidates in steady state: about the Lease, and all", "side");
    for (side, (before, after)) in [Side::Ours, Side::Go].into_iter().zip(before.into_iter().zip(after)) {
        let rate = |before: usize, after: usize| (after - before) as f64 / STEADY.as_secs_f64();
        let (of_lease, all) = (rate(before.0, after.0), rate(before.1, after.1));
        println!("{:<12} {of_lease:.2} {all:.2}", label(side));
        println!(
            "{}",
            json!({"measure": "requests", "side": label(side), "leasePerSecond": of_lease, "perSecond": all})
        );
    }
}
