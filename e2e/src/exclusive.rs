//! The checker of exclusivity: proves from traces and from the server's own log that one process at a time was active.
//!
//! In: what each process recorded of itself, what the harness did to it and when, what the server wrote. Out: a
//! summary, or every violation by name with its evidence. Pure. Never: passes on too little evidence.
//!
//! What is judged (the definition of "active" is in `exclusive/activity.rs`):
//!
//! 1. Terms in the order in which they began, by the boot clock: all activity of a term has ended before the gate
//!    of any later one opens, in whichever process; their epochs strictly increase; each has writes in it.
//! 2. Each write was begun under a gate that had passed it: after the last pause, and before the gate closed.
//! 3. From each kill, SIGTERM, SIGSTOP or cut of the active process to the next gate of another one at most the stated bound.
//! 4. By the server's order of commits: nothing of an older epoch after something of a newer one, no Event created
//!    twice, every write under the epoch of a term that its writer held, and every write the traces know of.

use std::fmt;
use std::time::Duration;

mod activity;
mod log;
mod rules;
mod takeover;
mod trace;
mod writes;

#[cfg(test)]
mod tests;

pub use takeover::TakeoverBound;
pub use trace::{Activity, Epoch, ReadError, What, read_trace};
pub use writes::{WriteRecord, read_embedded_audit, read_kubernetes_audit};

/// The trace of one process, from its start to its end.
#[derive(Clone, Debug)]
pub struct ProcessTrace {
    /// Its number.
    pub pid: u32,
    /// Who the server takes it for; several processes may be started one after another as the same user.
    pub user: String,
    /// Its records, in the order in which they were written.
    pub activities: Vec<Activity>,
}

/// What the harness did to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Terminate,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
    /// Cut off from the server: its requests, the answers to them, or both are held back.
    CutOff,
    /// What was held back goes on.
    Reconnect,
}

/// A signal or a cut, read on the clock just before it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// Which.
    pub signal: Signal,
    /// When, in nanoseconds since boot.
    pub boot_nanos: u64,
    /// To whom.
    pub pid: u32,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// One trace a process.
    pub processes: Vec<ProcessTrace>,
    /// In any order.
    pub disturbances: Vec<Disturbance>,
    /// The server's log, in any order; versions order it.
    pub writes: Vec<WriteRecord>,
}

/// What must hold.
#[derive(Clone, Copy, Debug)]
pub struct Demands {
    /// Longest time from a disturbance to the next gate.
    pub takeover: TakeoverBound,
    /// Fewest terms with an open gate; less proves nothing.
    pub terms: usize,
    /// Fewest gated writes that the server has committed.
    pub writes: usize,
}

/// The names of what can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Fewer terms or writes than demanded: nothing is proved.
    TooLittleEvidence,
    /// Activity of a term when a later one had begun.
    Overlap,
    /// Two processes with the same epoch.
    SharedEpoch,
    /// A term with an epoch that isn't newer than all before.
    EpochNotIncreasing,
    /// A term whose gate opened and in which nothing was written.
    TermWithoutWrites,
    /// A write begun without a gate that had passed it.
    UngatedWrite,
    /// A process that was active while it was stopped: the harness is wrong.
    ActiveWhileStopped,
    /// A takeover beyond the bound, or none.
    SlowTakeover,
    /// A commit of an older epoch after one of a newer, on the same object.
    StaleUpdate,
    /// The same on different objects, or after a later gate had opened.
    LateCommit,
    /// An Event created twice.
    DuplicateEvent,
    /// A write under an epoch that its writer never held.
    ForeignEpoch,
    /// The server's log lacks writes that were answered.
    LogIncomplete,
}

/// One rule broken, and by what.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// The records that show it, with boot times in seconds.
    pub evidence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.rule, self.evidence)
    }
}

/// What was judged when nothing was wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Terms with an open gate.
    pub terms: usize,
    /// Gate checks that passed, and all of them.
    pub gate_checks: (usize, usize),
    /// Gated writes that the server committed.
    pub writes: usize,
    /// Takeovers after a disturbance of the active process.
    pub takeovers: usize,
    /// The slowest of them.
    pub slowest_takeover: Duration,
}

/// Judges the evidence.
///
/// # Errors
/// All violations; never an empty list.
pub fn check(evidence: &Evidence, demands: &Demands) -> Result<Summary, Vec<Violation>> {
    let mut terms = Vec::new();
    let mut violations = Vec::new();
    for process in &evidence.processes {
        let fate = activity::Fate::of(process.pid, &evidence.disturbances);
        let of_process = activity::terms(process, &fate);
        violations.extend(rules::active_while_stopped(process, &fate));
        violations.extend(of_process.iter().flat_map(|term| rules::ungated_writes(term, &fate)));
        terms.extend(of_process);
    }
    // A term that never opened its gate and did nothing takes no part: its winner may have been paused at once.
    terms.retain(|term| term.begin().is_some());
    terms.sort_by_key(|term| term.begin());

    violations.extend(rules::shared_epochs(&terms));
    violations.extend(rules::epochs_increase(&terms));
    violations.extend(rules::overlaps(&terms));
    violations.extend(rules::terms_without_writes(&terms));
    let (takeovers, slow) = takeover::judge(&terms, &evidence.disturbances, &demands.takeover);
    violations.extend(slow);
    let gated = log::gated(evidence, &terms);
    violations.extend(log::judge(&gated, &evidence.writes, &terms));

    let checks =
        || evidence.processes.iter().flat_map(|process| &process.activities).filter_map(|record| record.passed);
    let summary = Summary {
        terms: terms.iter().filter(|term| term.opened.is_some()).count(),
        gate_checks: (checks().filter(|&passed| passed).count(), checks().count()),
        writes: gated.len(),
        takeovers: takeovers.len(),
        slowest_takeover: Duration::from_nanos(takeovers.into_iter().max().unwrap_or(0)),
    };
    violations.extend(rules::enough(&summary, demands));
    if violations.is_empty() { Ok(summary) } else { Err(violations) }
}

/// Boot time as seconds, for evidence.
fn seconds(nanos: u64) -> String {
    format!("{}.{:06} s", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000)
}
