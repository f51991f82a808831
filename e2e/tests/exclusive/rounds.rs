//! Rounds of disturbance: each hits the active replica and waits until another one has taken over and written.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use watchkeeper_e2e::HarnessError;
use watchkeeper_e2e::clock::boot_nanos;
use watchkeeper_e2e::error::binary_from_env;
use watchkeeper_e2e::exclusive::{Disturbance, Epoch, Evidence, Signal};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::process::Process;
use watchkeeper_e2e::proxy::{Cut, Proxy};
use watchkeeper_e2e::replica::{LEASE_MONITOR_BIN, Replica, ReplicaConfig};
use watchkeeper_e2e::wallclock::WallClock;

use crate::{TIMINGS, takeover_bound};

/// Longest wait for a term's first write: Leases of the living cluster change state every few seconds.
const WRITE_BOUND: Duration = Duration::from_secs(60);
/// Longest wait for a takeover. More than the checker allows, so that the checker is the one that judges.
const PATIENCE: Duration = Duration::from_secs(20);
/// A clean stop: drain, release, end.
const STOP_BOUND: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// How wrong a wall clock may be, in seconds. Certificates are valid from an hour before they were made.
const WRONG_BY: [i64; 3] = [-3_540, 0, 3_600];

/// What is done to the active replica.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Signal(Signal),
    Cut(Cut),
}

/// Each once in six rounds.
const TROUBLES: [Trouble; 6] = [
    Trouble::Signal(Signal::Kill),
    Trouble::Signal(Signal::Terminate),
    Trouble::Signal(Signal::Stop),
    Trouble::Cut(Cut { requests: true, answers: false }),
    Trouble::Cut(Cut { requests: false, answers: true }),
    Trouble::Cut(Cut { requests: true, answers: true }),
];

/// Replicas, each with its own way to the server, a living cluster, and the dice.
pub(crate) struct Watch {
    replicas: Vec<Replica>,
    ways: Vec<Proxy>,
    folder: Folder,
    cluster: Process,
    disturbances: Vec<Disturbance>,
    dice: fastrand::Rng,
}

impl Watch {
    /// Starts the cluster's actors with `admin`'s kubeconfig.
    pub(crate) fn start(folder: &Folder, admin: PathBuf, seed: u64) -> Self {
        let mut command =
            Command::new(binary_from_env(LEASE_MONITOR_BIN, "lease-monitor program").expect("set by e2e/run"));
        command.arg("simulate").arg("--kubeconfig").arg(admin);
        let cluster = Process::start(folder, "simulate", command).expect("starts");
        let dice = fastrand::Rng::with_seed(seed);
        let (replicas, ways, disturbances) = (Vec::new(), Vec::new(), Vec::new());
        Self { replicas, ways, folder: folder.clone(), cluster, disturbances, dice }
    }

    /// Starts a replica of `user`, whose way to the server can be cut.
    pub(crate) fn add(&mut self, user: &str, (way, kubeconfig): (Proxy, PathBuf)) {
        let config = ReplicaConfig {
            user: user.to_owned(),
            kubeconfig,
            lease: ("default".to_owned(), "lease-monitor".to_owned()),
            timings: TIMINGS,
            wall_clock: Some(WallClock::new(&self.folder, user).expect("a wall clock")),
        };
        self.replicas.push(Replica::start(&self.folder, config).expect("starts"));
        self.ways.push(way);
    }

    /// Plays `rounds` rounds: the troubles in a new order each time around, each after a step of some wall clocks.
    pub(crate) async fn play(&mut self, rounds: usize) {
        let (mut active, _) = self.next_term(0).await;
        let mut order = TROUBLES;
        for round in 0..rounds {
            if round % order.len() == 0 {
                self.dice.shuffle(&mut order);
            }
            let trouble = order[round % order.len()];
            let wrong_by = self.step_wall_clocks();
            // At any moment of the renewal period, and after late records of the round before.
            tokio::time::sleep(Duration::from_millis(self.dice.u64(1_000..3_000))).await;
            let before = boot_nanos();
            let name = self.replicas[active].user().to_owned();
            let hit = active;
            let epoch;
            (active, epoch) = self.trouble(hit, trouble).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
            let took = Duration::from_nanos(boot_nanos() - before);
            let next = self.replicas[active].user();
            println!(
                "round {round}: {trouble:?} of {name}; {next} has written in epoch {epoch}, {took:.1?} later; \
                 wall clocks wrong by {wrong_by:?} s"
            );
        }
    }

    /// Each replica's wall clock may step: the active one's too, in the middle of its term.
    fn step_wall_clocks(&mut self) -> Vec<i64> {
        let steps: Vec<_> = self.replicas.iter().map(|_| WRONG_BY[self.dice.usize(..WRONG_BY.len())]).collect();
        for (clock, step) in self.replicas.iter().filter_map(Replica::wall_clock).zip(&steps) {
            clock.step_to(*step).expect("steps");
        }
        steps
    }

    async fn trouble(&mut self, hit: usize, trouble: Trouble) -> Result<(usize, Epoch), HarnessError> {
        match trouble {
            Trouble::Signal(signal) => self.disturb(hit, signal).await,
            Trouble::Cut(cut) => self.cut_off(hit, cut).await,
        }
    }

    /// Cuts replica `hit` off for longer than the lease; returns the one that took over, once it has written.
    async fn cut_off(&mut self, hit: usize, cut: Cut) -> Result<(usize, Epoch), HarnessError> {
        let began = self.note(hit, Signal::CutOff);
        self.ways[hit].cut(cut);
        let next = self.next_term(began).await;
        self.outlast_the_lease(began).await;
        self.note(hit, Signal::Reconnect);
        self.ways[hit].cut(Cut::default());
        self.start_if_ended(hit)?;
        Ok(next)
    }

    /// Hits replica `hit`; returns the one that took over, once it has written, with `hit` running again.
    async fn disturb(&mut self, hit: usize, signal: Signal) -> Result<(usize, Epoch), HarnessError> {
        let began = self.note(hit, signal);
        match signal {
            Signal::Kill => {
                self.replicas[hit].process.kill().await?;
            }
            Signal::Terminate => {
                let status = self.replicas[hit].process.stop(STOP_BOUND).await?;
                assert!(
                    status.success(),
                    "a clean stop ended with {status}: {}",
                    self.replicas[hit].process.log_tail()
                );
            }
            _ => self.replicas[hit].process.pause().await?,
        }
        let next = self.next_term(began).await;
        if signal == Signal::Stop {
            self.outlast_the_lease(began).await;
            self.note(hit, Signal::Continue);
            self.replicas[hit].process.resume().await?;
        }
        self.start_if_ended(hit)?;
        Ok(next)
    }

    /// Longer than the lease from `began` on, whatever the takeover took.
    async fn outlast_the_lease(&mut self, began: u64) {
        let passed = Duration::from_nanos(boot_nanos() - began);
        let at_least = TIMINGS.lease + Duration::from_millis(self.dice.u64(500..2_000));
        tokio::time::sleep(at_least.saturating_sub(passed)).await;
    }

    /// A resumed one may go on as a standby, or end itself because it was late to stop; both are right.
    fn start_if_ended(&mut self, hit: usize) -> Result<(), HarnessError> {
        match self.replicas[hit].process.ended() {
            Some(_) => self.replicas[hit].start_again(),
            None => Ok(()),
        }
    }

    fn note(&mut self, hit: usize, signal: Signal) -> u64 {
        let (boot_nanos, pid) = (boot_nanos(), self.replicas[hit].process.pid());
        self.disturbances.push(Disturbance { signal, boot_nanos, pid });
        boot_nanos
    }

    /// Waits for a gate that opened after `after`, and then for the first write under it.
    async fn next_term(&mut self, after: u64) -> (usize, Epoch) {
        let patience = PATIENCE.max(takeover_bound().total() * 2);
        let opened = tokio::time::timeout(patience, async {
            loop {
                if let Some((index, epoch)) = self.newest_term(after) {
                    return (index, epoch);
                }
                tokio::time::sleep(POLL).await;
            }
        });
        let mut term = opened.await.unwrap_or_else(|_| panic!("no gate has opened within {patience:?}"));
        let written = tokio::time::timeout(WRITE_BOUND, async {
            // A term may be lost without our doing; the checker will say if that was wrong.
            while !self.replicas[term.0].has_written(term.1) {
                term = self.newest_term(after).unwrap_or(term);
                tokio::time::sleep(POLL).await;
            }
        });
        written.await.unwrap_or_else(|_| panic!("no write within {WRITE_BOUND:?} in epoch {}", term.1));
        term
    }

    fn newest_term(&mut self, after: u64) -> Option<(usize, Epoch)> {
        self.replicas.iter_mut().try_for_each(Replica::refresh).unwrap_or_else(|error| panic!("{error}"));
        let terms = self.replicas.iter().enumerate().filter_map(|(index, replica)| {
            let (opened, epoch) = replica.newest_term()?;
            Some((opened, index, epoch))
        });
        let (opened, index, epoch) = terms.max()?;
        (opened > after).then_some((index, epoch))
    }

    /// Ends everything cleanly, so that traces and the server's log are whole, and hands out what was seen.
    pub(crate) async fn end(mut self) -> Evidence {
        for replica in &mut self.replicas {
            replica.process.stop(STOP_BOUND).await.unwrap_or_else(|error| panic!("{error}"));
            replica.refresh().unwrap_or_else(|error| panic!("{error}"));
        }
        self.cluster.stop(STOP_BOUND).await.unwrap_or_else(|error| panic!("{error}"));
        let processes = self.replicas.iter().flat_map(Replica::traces).collect();
        Evidence { processes, disturbances: self.disturbances, writes: Vec::new() }
    }
}
