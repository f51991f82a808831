//! From the records of a process to the time in which it was active, term by term.
//!
//! In: records and what the harness did to the process. Out: for each term the spans in which an effect may have been
//! under way. This is the definition on which the verdict stands:
//!
//! * A passed gate check is an activity at its instant: whoever asked may act on it.
//! * A worker is active from its start to its end. A pause cuts that: until the pause it was active; after the pause only
//!   from the first gate check that passed since. Code that runs on without passing the gate can't have an effect, so a
//!   worker's end that is recorded after a long pause extends nothing. A kill ends it.
//! * A write is active from its begin until the server has answered. Without an answer that excludes a commit (none
//!   at all, or 5xx) it is active until its bound, the latest time at which the server may still commit it. An
//!   answer that was read later than the bound, because the reader was paused, counts at the bound.
//!
//! A pause begins when SIGSTOP is sent and ends when SIGCONT is sent, so a span is never cut too early by more than the
//! signal's way, and a check that passed in between still counts by itself.

use std::collections::{BTreeMap, HashMap};

use super::trace::{Activity, Epoch, What};
use super::{Disturbance, ProcessTrace, Signal};

/// A time in which an effect of a term may have been under way. Both ends belong to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) what: String,
}

/// One term of one process.
#[derive(Clone, Debug)]
pub(super) struct Term<'a> {
    pub(super) process: &'a ProcessTrace,
    pub(super) epoch: Epoch,
    pub(super) records: Vec<&'a Activity>,
    pub(super) opened: Option<u64>,
    pub(super) closed: Option<u64>,
    pub(super) spans: Vec<Span>,
    /// Writes answered with success, deletes aside (their answers carry no epoch).
    pub(super) writes: usize,
}

impl Term<'_> {
    /// When others must be silent: from the opening of the gate, or the first activity if that came before.
    pub(super) fn begin(&self) -> Option<u64> {
        self.spans.iter().map(|span| span.from).chain(self.opened).min()
    }

    /// The activity that ended last.
    pub(super) fn last(&self) -> Option<&Span> {
        self.spans.iter().max_by_key(|span| span.to)
    }

    pub(super) fn name(&self) -> String {
        format!("epoch {} of {} (pid {})", self.epoch, self.process.user, self.process.pid)
    }
}

/// What the harness did to one process.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Begin and end of each pause; `u64::MAX` if it never went on.
    pub(super) pauses: Vec<(u64, u64)>,
    pub(super) killed: Option<u64>,
}

impl Fate {
    pub(super) fn of(pid: u32, disturbances: &[Disturbance]) -> Self {
        let mut fate = Self::default();
        let mut mine: Vec<_> = disturbances.iter().filter(|disturbance| disturbance.pid == pid).collect();
        mine.sort_by_key(|disturbance| disturbance.boot_nanos);
        for Disturbance { signal, boot_nanos, .. } in mine {
            match signal {
                Signal::Stop => fate.pauses.push((*boot_nanos, u64::MAX)),
                Signal::Continue => {
                    if let Some(pause) = fate.pauses.last_mut() {
                        pause.1 = *boot_nanos;
                    }
                }
                Signal::Kill => fate.killed = Some(*boot_nanos),
                // A process that is cut off goes on: that is the point.
                Signal::Terminate | Signal::CutOff | Signal::Reconnect => {}
            }
        }
        fate
    }

    /// When the last pause that was over at `now` ended; 0 if there was none.
    pub(super) fn resumed_before(&self, now: u64) -> u64 {
        self.pauses.iter().map(|pause| pause.1).filter(|&end| end <= now).max().unwrap_or(0)
    }
}

/// All terms of a process, oldest epoch first.
pub(super) fn terms<'a>(process: &'a ProcessTrace, fate: &Fate) -> Vec<Term<'a>> {
    let mut by_epoch: BTreeMap<Epoch, Vec<&Activity>> = BTreeMap::new();
    for activity in &process.activities {
        by_epoch.entry(activity.epoch).or_default().push(activity);
    }
    let last_seen = process.activities.iter().map(|activity| activity.boot_nanos).max().unwrap_or(0);
    by_epoch.into_iter().map(|(epoch, records)| term(process, epoch, records, fate, last_seen)).collect()
}

fn term<'a>(
    process: &'a ProcessTrace,
    epoch: Epoch,
    mut records: Vec<&'a Activity>,
    fate: &Fate,
    last_seen: u64,
) -> Term<'a> {
    records.sort_by_key(|activity| activity.boot_nanos);
    let passed: Vec<u64> =
        records.iter().filter(|record| record.passed == Some(true)).map(|record| record.boot_nanos).collect();
    let mut spans: Vec<Span> =
        passed.iter().map(|&at| Span { from: at, to: at, what: "a passed gate check".into() }).collect();
    let gone = fate.killed.unwrap_or(last_seen);
    for (from, to, what) in workers(&records, gone) {
        let parts = cut(from, to, &fate.pauses, &passed);
        spans.extend(parts.into_iter().map(|(from, to)| Span { from, to, what: what.clone() }));
    }
    let (written, writes) = write_spans(&records, gone);
    spans.extend(written);
    let first = |what| records.iter().find(|record| record.what == what).map(|record| record.boot_nanos);
    let (opened, closed) = (first(What::GateOpen), first(What::GateClose).or(first(What::TermEnd)));
    Term { process, epoch, opened, closed, spans, writes, records }
}

/// Start, end and description of each run of a worker; one without an end was under way when the process was gone.
fn workers(records: &[&Activity], gone: u64) -> Vec<(u64, u64, String)> {
    let mut running: HashMap<_, u64> = HashMap::new();
    let mut runs = Vec::new();
    let describe = |worker: &Option<u64>, key: &Option<String>| {
        format!("worker {} on {}", worker.unwrap_or(0), key.as_deref().unwrap_or("?"))
    };
    for record in records {
        let worker = (&record.controller, &record.worker, &record.key);
        match record.what {
            What::WorkerStart => {
                running.insert(worker, record.boot_nanos);
            }
            What::WorkerEnd => {
                // An end without a start was at least active at its own instant.
                let start = running.remove(&worker).unwrap_or(record.boot_nanos);
                runs.push((start, record.boot_nanos, describe(worker.1, worker.2)));
            }
            _ => {}
        }
    }
    let unended = running.into_iter().map(|((_, worker, key), start)| (start, gone.max(start), describe(worker, key)));
    runs.extend(unended);
    runs
}

/// What pauses leave of a worker's run (see the module page).
fn cut(from: u64, to: u64, pauses: &[(u64, u64)], passed: &[u64]) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    let mut begin = Some(from);
    // After a pause the run counts again from the first check that passed, up to the next pause or the end.
    let wake = |resumed: u64, until: u64| passed.iter().copied().find(|&at| resumed <= at && at <= until);
    let hit: Vec<_> = pauses.iter().filter(|pause| from <= pause.0 && pause.0 < to).collect();
    for (index, &&(stopped, resumed)) in hit.iter().enumerate() {
        parts.extend(begin.map(|begin| (begin, stopped)));
        let until = hit.get(index + 1).map_or(to, |next| next.0);
        begin = wake(resumed, until);
    }
    parts.extend(begin.map(|begin| (begin, to)));
    parts
}

/// The spans of writes, and how many were answered with success.
fn write_spans(records: &[&Activity], gone: u64) -> (Vec<Span>, usize) {
    let ends: HashMap<Option<u64>, &Activity> =
        records.iter().filter(|record| record.what == What::WriteEnd).map(|record| (record.request, *record)).collect();
    let mut spans = Vec::new();
    let mut succeeded = 0;
    for begin in records.iter().filter(|record| record.what == What::WriteBegin) {
        let end = ends.get(&begin.request);
        let status = end.and_then(|end| end.status).unwrap_or(0);
        let verb = begin.verb.as_deref().unwrap_or("?");
        if (200..300).contains(&status) && !verb.eq_ignore_ascii_case("delete") {
            succeeded += 1;
        }
        let answered = end.filter(|_| (1..500).contains(&status)).map(|end| end.boot_nanos);
        let to = match (answered, begin.bound_nanos) {
            (Some(answered), Some(bound)) => answered.min(bound),
            (Some(answered), None) => answered,
            (None, Some(bound)) => bound,
            (None, None) => end.map_or(gone, |end| end.boot_nanos),
        };
        let what = format!("{verb} {} (status {status})", begin.path.as_deref().unwrap_or("?"));
        spans.push(Span { from: begin.boot_nanos, to: to.max(begin.boot_nanos), what });
    }
    (spans, succeeded)
}
