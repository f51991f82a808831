//! The rules on the server's own log: what was committed, in which order, whatever the processes believed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::activity::Term;
use super::trace::Epoch;
use super::{Evidence, Rule, Violation, WriteRecord, seconds};

/// Committed writes with an epoch by the processes under test, in the order of the server.
///
/// Others may write objects that carry an epoch too (the annotation stays on an object); they are not gated.
pub(super) fn gated<'a>(evidence: &'a Evidence, terms: &[Term<'_>]) -> Vec<(&'a WriteRecord, Epoch)> {
    let users: HashSet<&str> = terms.iter().map(|term| term.process.user.as_str()).collect();
    let mut gated: Vec<_> = evidence
        .writes
        .iter()
        .filter(|write| write.committed() && users.contains(write.identity.as_str()))
        // A delete shows the epoch of whoever wrote the object before.
        .filter(|write| write.verb != "delete")
        .filter_map(|write| Some((write, write.epoch?)))
        .collect();
    gated.sort_by_key(|(write, _)| write.version);
    gated
}

pub(super) fn judge(gated: &[(&WriteRecord, Epoch)], all: &[WriteRecord], terms: &[Term<'_>]) -> Vec<Violation> {
    let mut violations = late_commits(gated);
    violations.extend(commits_after_a_later_gate(gated, terms));
    violations.extend(duplicate_events(all));
    violations.extend(foreign_epochs(gated, terms));
    violations.extend(missing(gated, terms));
    violations
}

fn violation(rule: Rule, evidence: String) -> Violation {
    Violation { rule, evidence }
}

fn describe(write: &WriteRecord, epoch: Epoch) -> String {
    let version = write.version.unwrap_or(0);
    format!("{} of {} by {}, epoch {epoch}, version {version}", write.verb, write.object(), write.identity)
}

/// Promise I12 an object, and I11 over all of them.
fn late_commits(gated: &[(&WriteRecord, Epoch)]) -> Vec<Violation> {
    let mut newest: Option<(&WriteRecord, Epoch)> = None;
    let mut newest_of: HashMap<String, (&WriteRecord, Epoch)> = HashMap::new();
    let mut violations = Vec::new();
    for &(write, epoch) in gated {
        let after = |(earlier, newer)| format!("{} came after {}", describe(write, epoch), describe(earlier, newer));
        let object = newest_of.entry(write.object()).or_insert((write, epoch));
        if object.1 > epoch {
            violations.push(violation(Rule::StaleUpdate, after(*object)));
        } else {
            *object = (write, epoch);
        }
        match newest {
            Some(newer) if newer.1 > epoch => violations.push(violation(Rule::LateCommit, after(newer))),
            _ => newest = Some((write, epoch)),
        }
    }
    violations
}

/// Where the server tells the time of a commit: none after the gate of a later term has opened.
fn commits_after_a_later_gate(gated: &[(&WriteRecord, Epoch)], terms: &[Term<'_>]) -> Vec<Violation> {
    let late = |write: &WriteRecord, epoch| {
        let at = write.boot_nanos?;
        let later = terms.iter().find(|term| term.epoch > epoch && term.opened.is_some_and(|opened| opened <= at))?;
        let evidence =
            format!("{} was committed at {}, after {} had begun", describe(write, epoch), seconds(at), later.name());
        Some(violation(Rule::LateCommit, evidence))
    };
    gated.iter().filter_map(|&(write, epoch)| late(write, epoch)).collect()
}

fn duplicate_events(all: &[WriteRecord]) -> Vec<Violation> {
    let mut created: HashMap<String, &WriteRecord> = HashMap::new();
    let mut violations = Vec::new();
    let creates = all.iter().filter(|write| write.verb == "create" && write.committed());
    for write in creates.filter(|write| write.resource.ends_with("events")) {
        if let Some(first) = created.insert(write.object(), write) {
            let evidence = format!("{} was created by {} and by {}", write.object(), first.identity, write.identity);
            violations.push(violation(Rule::DuplicateEvent, evidence));
        }
    }
    violations
}

fn foreign_epochs(gated: &[(&WriteRecord, Epoch)], terms: &[Term<'_>]) -> Vec<Violation> {
    let held: HashSet<(&str, Epoch)> = terms.iter().map(|term| (term.process.user.as_str(), term.epoch)).collect();
    let foreign = gated.iter().filter(|(write, epoch)| !held.contains(&(write.identity.as_str(), *epoch)));
    foreign.map(|&(write, epoch)| violation(Rule::ForeignEpoch, describe(write, epoch))).collect()
}

/// A log that lacks answered writes would hide everything else.
fn missing(gated: &[(&WriteRecord, Epoch)], terms: &[Term<'_>]) -> Vec<Violation> {
    let mut logged: BTreeMap<Epoch, usize> = BTreeMap::new();
    for (_, epoch) in gated {
        *logged.entry(*epoch).or_default() += 1;
    }
    let logged = |term: &Term<'_>| logged.get(&term.epoch).copied().unwrap_or(0);
    let lacking = terms.iter().filter(|term| logged(term) < term.writes);
    lacking
        .map(|term| {
            let evidence = format!("{}: {} writes answered, {} in the log", term.name(), term.writes, logged(term));
            violation(Rule::LogIncomplete, evidence)
        })
        .collect()
}
