//! The judge of a simulation: knows true time, and every term that was ever open.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::jumping::JumpingClock;
use crate::gate::Term;
use crate::record::Epoch;

/// One judge for all processes.
pub(crate) type Checker = Rc<RefCell<Ledger>>;

/// All terms, in true time since the beginning.
pub(crate) struct Ledger {
    stop_bound: Duration,
    begin: tokio::time::Instant,
    entries: Vec<Entry>,
    highest: Option<Epoch>,
    pub(crate) violations: Vec<String>,
}

struct Entry {
    term: Term,
    clock: JumpingClock,
    /// True time at which the clock was made.
    born: Duration,
    opened: Option<Duration>,
    /// The work has stopped, and no effect is under way.
    stopped: Option<Duration>,
}

impl Ledger {
    pub(crate) fn new(stop_bound: Duration) -> Self {
        let begin = tokio::time::Instant::now();
        Self { stop_bound, begin, entries: Vec::new(), highest: None, violations: Vec::new() }
    }

    pub(crate) fn now(&self) -> Duration {
        tokio::time::Instant::now() - self.begin
    }

    pub(crate) fn terms(&self) -> usize {
        self.entries.len()
    }

    /// True times at which gates were opened.
    pub(crate) fn openings(&self) -> Vec<Duration> {
        self.entries.iter().filter_map(|entry| entry.opened).collect()
    }

    pub(crate) fn anybody_open(&self) -> bool {
        self.entries.iter().any(|entry| entry.opened.is_some() && entry.stopped.is_none() && entry.term.is_open())
    }

    /// A term was handed over.
    pub(crate) fn won(&mut self, term: &Term, clock: &JumpingClock, born: tokio::time::Instant) -> usize {
        let born = born - self.begin;
        self.entries.push(Entry { term: term.clone(), clock: clock.clone(), born, opened: None, stopped: None });
        self.entries.len() - 1
    }

    /// A gate has been opened. I11: no effect of another term is in progress, or can still begin. I13: epochs increase.
    pub(crate) fn opened(&mut self, number: usize) {
        let now = self.now();
        let epoch = self.entries[number].term.epoch();
        if self.highest.is_some_and(|highest| epoch <= highest) {
            self.violations.push(format!("I13: epoch {epoch} was opened after {:?}", self.highest));
        }
        self.highest = Some(epoch);
        self.entries[number].opened = Some(now);
        for (other, entry) in self.entries.iter().enumerate() {
            let until = entry.active_until(self.stop_bound);
            if other != number && entry.opened.is_some() && now < until {
                self.violations.push(format!(
                    "I11: at {now:?} {:?} has opened, while {:?} may act until {until:?}",
                    self.entries[number].term, entry.term
                ));
            }
        }
    }

    pub(crate) fn stopped(&mut self, number: usize) {
        let now = self.now();
        self.entries[number].stopped = Some(now);
    }
}

impl Entry {
    /// True time of the last effect: the stop bound after the gate's closing by its own clock, unless the work is known to
    /// have stopped before.
    fn active_until(&self, stop_bound: Duration) -> Duration {
        let closing = crate::clock::GateInstant::from_nanos(
            self.term
                .hard_stop_at()
                .as_nanos()
                .saturating_sub(u64::try_from(stop_bound.as_nanos()).unwrap_or(u64::MAX)),
        );
        let last = self.born + self.clock.true_time(closing) + stop_bound;
        self.stopped.map_or(last, |stopped| stopped.min(last))
    }
}
