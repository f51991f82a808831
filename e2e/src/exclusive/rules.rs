//! The rules that need only the traces: who was active when.

use std::collections::HashMap;

use super::activity::{Fate, Term};
use super::trace::{Epoch, What};
use super::{Demands, ProcessTrace, Rule, Summary, Violation, seconds};

/// How long after SIGSTOP or SIGKILL was sent a record may still be made: the signal's way on a busy machine.
const SIGNAL_WAY_NANOS: u64 = 100_000_000;

pub(super) fn enough(summary: &Summary, demands: &Demands) -> Option<Violation> {
    let (terms, writes, passed) = (summary.terms, summary.writes, summary.gate_checks.0);
    let missing = terms < demands.terms.max(1) || writes < demands.writes.max(1) || passed == 0;
    missing.then(|| Violation {
        rule: Rule::TooLittleEvidence,
        evidence: format!(
            "{terms} terms, {writes} gated writes and {passed} passed gate checks; at least {}, {} and 1 are needed",
            demands.terms, demands.writes
        ),
    })
}

/// All activity of a term has ended before any term that began later.
pub(super) fn overlaps(terms: &[Term<'_>]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut latest: Option<(&Term<'_>, u64)> = None;
    for term in terms {
        let Some(begin) = term.begin() else { continue };
        if let Some((earlier, end)) = latest
            && end >= begin
        {
            let what = earlier.last().map_or("", |span| span.what.as_str());
            let evidence = format!(
                "{} was active until {} ({what}), but {} had begun at {}",
                earlier.name(),
                seconds(end),
                term.name(),
                seconds(begin)
            );
            violations.push(Violation { rule: Rule::Overlap, evidence });
        }
        if let Some(end) = term.last().map(|span| span.to)
            && latest.is_none_or(|(_, latest)| end > latest)
        {
            latest = Some((term, end));
        }
    }
    violations
}

/// An epoch names one term of one process.
pub(super) fn shared_epochs(terms: &[Term<'_>]) -> Vec<Violation> {
    let mut holders: HashMap<Epoch, &Term<'_>> = HashMap::new();
    let mut violations = Vec::new();
    for term in terms {
        if let Some(other) = holders.insert(term.epoch, term) {
            let evidence = format!("{} and {}", other.name(), term.name());
            violations.push(Violation { rule: Rule::SharedEpoch, evidence });
        }
    }
    violations
}

/// In the order in which gates opened, epochs strictly increase. A term that was won and never opened may come late:
/// its winner was paused before it read the answer.
pub(super) fn epochs_increase(terms: &[Term<'_>]) -> Vec<Violation> {
    let mut opened: Vec<_> = terms.iter().filter_map(|term| Some((term.opened?, term))).collect();
    opened.sort_by_key(|(at, _)| *at);
    let pairs = opened.windows(2).filter(|pair| pair[0].1.epoch >= pair[1].1.epoch);
    let violation = |pair: &[(u64, &Term<'_>)]| Violation {
        rule: Rule::EpochNotIncreasing,
        evidence: format!("{}, opened at {}, after {}", pair[1].1.name(), seconds(pair[1].0), pair[0].1.name()),
    };
    pairs.map(violation).collect()
}

pub(super) fn terms_without_writes(terms: &[Term<'_>]) -> Vec<Violation> {
    let idle = terms.iter().filter(|term| term.opened.is_some() && term.writes == 0);
    idle.map(|term| Violation {
        rule: Rule::TermWithoutWrites,
        evidence: format!("{}, opened at {}", term.name(), seconds(term.opened.unwrap_or(0))),
    })
    .collect()
}

/// Each write was begun after a check that passed, with no refusal, no closing and no pause in between.
pub(super) fn ungated_writes(term: &Term<'_>, fate: &Fate) -> Vec<Violation> {
    let mut passed: Option<u64> = None;
    let mut refused = None;
    let mut violations = Vec::new();
    for record in &term.records {
        let now = record.boot_nanos;
        match record.what {
            What::Gate if record.passed == Some(true) => (passed, refused) = (Some(now), None),
            What::Gate => refused = Some("a failed gate check"),
            What::GateClose => refused = Some("the closing of the gate"),
            What::WriteBegin => {
                let resumed = fate.resumed_before(now);
                let why = match (refused, passed) {
                    (Some(refused), _) => refused,
                    (None, None) => "no gate check at all",
                    (None, Some(passed)) if passed < resumed => "a pause that the last passed gate check doesn't cover",
                    _ => continue,
                };
                let path = record.path.as_deref().unwrap_or("?");
                let evidence = format!("{} began a write to {path} at {} after {why}", term.name(), seconds(now));
                violations.push(Violation { rule: Rule::UngatedWrite, evidence });
            }
            _ => {}
        }
    }
    violations
}

/// Nothing is recorded by a process that is stopped or dead: else the disturbances are not what they claim to be. A gate's closing is
/// no activity, and one that lapsed during a stop bears the time of its deadline, not of the look that found it closed.
pub(super) fn active_while_stopped(process: &ProcessTrace, fate: &Fate) -> Option<Violation> {
    let dead = fate.killed.map(|killed| (killed, u64::MAX));
    let silent: Vec<_> = fate.pauses.iter().copied().chain(dead).collect();
    let stopped = |now: u64| silent.iter().find(|(from, to)| from.saturating_add(SIGNAL_WAY_NANOS) < now && now < *to);
    process.activities.iter().filter(|record| !matches!(record.what, What::GateClose)).find_map(|record| {
        let (from, _) = stopped(record.boot_nanos)?;
        let evidence = format!(
            "{} (pid {}) recorded {:?} at {}, stopped at {}",
            process.user,
            process.pid,
            record.what,
            seconds(record.boot_nanos),
            seconds(*from)
        );
        Some(Violation { rule: Rule::ActiveWhileStopped, evidence })
    })
}
