//! Rounds of disturbance: each hits the active replica and waits until another one has taken over and written.

use std::process::Command;
use std::time::Duration;

use watchkeeper_e2e::HarnessError;
use watchkeeper_e2e::clock::boot_nanos;
use watchkeeper_e2e::error::binary_from_env;
use watchkeeper_e2e::exclusive::{Disturbance, Epoch, Evidence, Signal};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::process::Process;

use crate::replica::{LEASE_MONITOR_BIN, Replica};
use crate::{LEASE, takeover_bound};

/// Longest wait for a term's first write: Leases of the living cluster change state every few seconds.
const WRITE_BOUND: Duration = Duration::from_secs(60);
/// Longest wait for a takeover. More than the checker allows, so that the checker is the one that judges.
const PATIENCE: Duration = Duration::from_secs(20);
/// A clean stop: drain, release, end.
const STOP_BOUND: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Three replicas, a living cluster, and the dice.
pub(crate) struct Watch {
    replicas: Vec<Replica>,
    cluster: Process,
    disturbances: Vec<Disturbance>,
    dice: fastrand::Rng,
}

impl Watch {
    /// Starts the cluster's actors with `admin`'s kubeconfig and one replica for each of `users`.
    pub(crate) fn start(
        folder: &Folder,
        admin: std::path::PathBuf,
        users: Vec<(String, std::path::PathBuf)>,
        seed: u64,
    ) -> Self {
        let mut command =
            Command::new(binary_from_env(LEASE_MONITOR_BIN, "lease-monitor program").expect("set by e2e/run"));
        command.arg("simulate").arg("--kubeconfig").arg(admin);
        let cluster = Process::start(folder, "simulate", command).expect("starts");
        let replica = |(user, kubeconfig): (String, _)| Replica::start(folder, &user, kubeconfig).expect("starts");
        let replicas = users.into_iter().map(replica).collect();
        Self { replicas, cluster, disturbances: Vec::new(), dice: fastrand::Rng::with_seed(seed) }
    }

    /// Plays `rounds` rounds: the three disturbances in a new order each time around.
    pub(crate) async fn play(&mut self, rounds: usize) {
        let (mut active, _) = self.next_term(0).await;
        let mut order = [Signal::Kill, Signal::Terminate, Signal::Stop];
        for round in 0..rounds {
            if round % order.len() == 0 {
                self.dice.shuffle(&mut order);
            }
            let signal = order[round % order.len()];
            // At any moment of the renewal period, and after late records of the round before.
            tokio::time::sleep(Duration::from_millis(self.dice.u64(1_000..3_000))).await;
            let before = boot_nanos();
            let name = self.replicas[active].user.clone();
            let hit = active;
            let epoch;
            (active, epoch) = self.disturb(hit, signal).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
            let took = Duration::from_nanos(boot_nanos() - before);
            let next = &self.replicas[active].user;
            println!("round {round}: {signal:?} of {name}; {next} has written in epoch {epoch}, {took:.1?} later");
        }
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
            Signal::Stop | Signal::Continue => self.replicas[hit].process.pause().await?,
        }
        let next = self.next_term(began).await;
        if signal == Signal::Stop {
            // Longer than the lease, whatever the takeover took.
            let paused = Duration::from_nanos(boot_nanos() - began);
            let at_least = LEASE + Duration::from_millis(self.dice.u64(500..2_000));
            tokio::time::sleep(at_least.saturating_sub(paused)).await;
            self.note(hit, Signal::Continue);
            self.replicas[hit].process.resume().await?;
        }
        // A resumed one may go on as a standby, or end itself because it was late to stop; both are right.
        if self.replicas[hit].process.ended().is_some() {
            self.replicas[hit].start_again()?;
        }
        Ok(next)
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
        self.replicas.iter_mut().for_each(Replica::refresh);
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
            replica.refresh();
        }
        self.cluster.stop(STOP_BOUND).await.unwrap_or_else(|error| panic!("{error}"));
        let processes = self.replicas.iter().flat_map(Replica::traces).collect();
        Evidence { processes, disturbances: self.disturbances, writes: Vec::new() }
    }
}
