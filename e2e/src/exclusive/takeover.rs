//! How long nobody was active after the active process was disturbed.

use std::time::Duration;

use super::activity::Term;
use super::{Disturbance, Rule, Signal, Violation, seconds};

/// The promise: lease / (1 - rho) + retry * (1 + jitter) + one round trip + sync, and a stated slack for the machine.
#[derive(Clone, Copy, Debug)]
pub struct TakeoverBound {
    /// L: how long a rival waits, on its own clock, after the last change it saw.
    pub lease: Duration,
    /// rho: how wrong that clock's rate may be.
    pub clock_rate_error: f64,
    /// R: how often a rival looks.
    pub retry: Duration,
    /// The most that is added to it, as a share of it.
    pub jitter: f64,
    /// T: the acquiring request.
    pub round_trip: Duration,
    /// Catching up before the gate opens.
    pub sync: Duration,
    /// For a busy machine.
    pub slack: Duration,
}

impl TakeoverBound {
    /// The sum.
    pub fn total(&self) -> Duration {
        self.lease.div_f64(1.0 - self.clock_rate_error)
            + self.retry.mul_f64(1.0 + self.jitter)
            + self.round_trip
            + self.sync
            + self.slack
    }
}

/// The time from each disturbance of a process with an open gate to the next gate of another process, and those
/// that took too long.
pub(super) fn judge(
    terms: &[Term<'_>],
    disturbances: &[Disturbance],
    bound: &TakeoverBound,
) -> (Vec<u64>, Vec<Violation>) {
    let limit = u64::try_from(bound.total().as_nanos()).unwrap_or(u64::MAX);
    let (mut takeovers, mut violations) = (Vec::new(), Vec::new());
    let ends_nothing = |signal| matches!(signal, Signal::Continue | Signal::Reconnect);
    for disturbance in disturbances.iter().filter(|disturbance| !ends_nothing(disturbance.signal)) {
        let now = disturbance.boot_nanos;
        // The active term is the one whose gate opened last, unless it has closed again.
        let opened = terms.iter().filter(|term| term.opened.is_some_and(|opened| opened <= now));
        let active = opened.max_by_key(|term| term.opened).filter(|term| term.closed.is_none_or(|closed| now < closed));
        let Some(disturbed) = active.filter(|term| term.process.pid == disturbance.pid) else { continue };
        let rivals = terms.iter().filter(|term| term.process.pid != disturbance.pid);
        let next = rivals.filter_map(|term| term.opened).filter(|&opened| opened > now).min();
        let took = next.map(|opened| opened - now);
        takeovers.extend(took);
        if took.is_none_or(|took| took > limit) {
            let took = took.map_or("never".to_owned(), |took| format!("after {}", seconds(took)));
            let evidence = format!(
                "{:?} of {} at {}: the next gate opened {took}, the bound is {}",
                disturbance.signal,
                disturbed.name(),
                seconds(now),
                seconds(limit)
            );
            violations.push(Violation { rule: Rule::SlowTakeover, evidence });
        }
    }
    (takeovers, violations)
}
