//! Sight: what an elector sees and has seen, for health checks, diagnostics and people.
//!
//! In: notes from the elector (the only writer). Out: the status of this moment, a health verdict, and a bounded history of terms.
//! Never: decides anything, or is asked by a gate. What is written here is old when it is read.
//!
//! Upstream counterparts: `LeaderElector.GetLeader`, `Check` and `HealthzAdaptor`; there is none of the history.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::clock::{GateClock, GateInstant};
use crate::events::EventRecorder;
use crate::gate::{CloseReason, GateClosed, Term};
use crate::identity::Identity;
use crate::metrics::{MetricsSink, last_digits};
use crate::record::{Epoch, Lease};

/// How many terms a history keeps; older ones are forgotten.
pub const LONGEST_HISTORY: usize = 64;

/// An elector that has been silent for longer is stuck. It wakes four times a second; the rest is for a busy machine.
const STUCK: Duration = Duration::from_secs(10);

/// How many identities are told apart in the contenders seen.
const MOST_CONTENDERS: usize = 64;

/// A view of one elector, cheap to clone; outlives it.
#[derive(Clone)]
pub struct Sight(Arc<Inner>);

struct Inner {
    /// `namespace/name`.
    lease: String,
    identity: Identity,
    clock: Arc<dyn GateClock>,
    metrics: MetricsSink,
    events: Option<EventRecorder>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The elector's last sign of life.
    alive: GateInstant,
    ended: bool,
    holder: Option<String>,
    old_holder: Option<String>,
    trouble: Option<(String, GateInstant)>,
    term: Option<Term>,
    contenders: Vec<String>,
    history: VecDeque<TermRecord>,
}

/// What an elector sees at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ElectionStatus {
    /// `namespace/name` of the Lease.
    pub lease: String,
    /// This candidate.
    pub identity: Identity,
    /// The holder as last seen: empty if the Lease is free or missing, None if it has not been seen yet. Upstream: `GetLeader`.
    pub holder: Option<String>,
    /// Who holds the old lock, if that keeps this candidate from claiming, see [`ElectorConfig::old_lock`](crate::ElectorConfig::old_lock).
    pub old_holder: Option<String>,
    /// The term of this candidate, if it has one.
    pub term: Option<TermStatus>,
    /// What keeps the elector from reaching the Lease, and for how long it has.
    pub trouble: Option<(String, Duration)>,
    /// How long ago the elector last did something. It does every quarter of a second, so that more means that its thread is stuck.
    pub silent_for: Duration,
    /// The elector has ended.
    pub ended: bool,
    /// Identities seen as holders, in the order of their first appearance.
    pub contenders: Vec<String>,
}

/// A term as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermStatus {
    /// Its number.
    pub epoch: Epoch,
    /// How long the gate stays open without another renewal; why it isn't open otherwise.
    pub gate: Result<Duration, GateClosed>,
}

/// One term that was seen, of this candidate or of another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TermRecord {
    /// Who held the Lease.
    pub holder: String,
    /// `leaseTransitions` in this term.
    pub transitions: i32,
    /// The epoch, of this candidate's own terms.
    pub epoch: Option<Epoch>,
    /// When it was won or first seen, by the wall clock here.
    pub since: Timestamp,
    /// When its end was seen or made.
    pub until: Option<Timestamp>,
    /// Why this candidate's gate closed.
    pub closed: Option<CloseReason>,
    /// How this candidate's term ended.
    pub end: Option<TermEnd>,
}

/// How a term of one's own has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TermEnd {
    /// The Lease was given back.
    Released,
    /// The Lease was given back for this candidate.
    HandedOver(String),
    /// The Lease was kept, to run out, or could not be given back.
    Kept,
    /// The Lease was lost before.
    Lost,
}

/// Why an elector isn't well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unhealthy {
    /// It does nothing: its thread is blocked or starved.
    #[error("the elector of {lease} has done nothing for {silent_for:?}: its thread is stuck")]
    Stuck {
        /// `namespace/name`.
        lease: String,
        /// Since its last sign of life.
        silent_for: Duration,
    },
    /// It has ended without having been asked to, or was.
    #[error("the elector of {0} has ended")]
    Ended(String),
    /// Its gate has closed, but its work goes on past the bound.
    #[error("the term {epoch} of {lease} is over ({reason}), but its work has not stopped")]
    Overdue {
        /// `namespace/name`.
        lease: String,
        /// The term.
        epoch: Epoch,
        /// Why the gate has closed.
        reason: CloseReason,
    },
}

impl Sight {
    pub(crate) fn new(
        lease: String,
        identity: Identity,
        clock: Arc<dyn GateClock>,
        metrics: &MetricsSink,
        events: Option<EventRecorder>,
    ) -> Self {
        let metrics = metrics.of(&lease);
        metrics.tell(|sink| sink.lease(&lease));
        metrics.tell(|sink| sink.master_status(false));
        let seen = Seen {
            alive: clock.now(),
            ended: false,
            holder: None,
            old_holder: None,
            trouble: None,
            term: None,
            contenders: Vec::new(),
            history: VecDeque::new(),
        };
        Self(Arc::new(Inner { lease, identity, clock, metrics, events, seen: Mutex::new(seen) }))
    }

    /// What the elector sees now.
    pub fn status(&self) -> ElectionStatus {
        let now = self.0.clock.now();
        let seen = self.0.seen.lock();
        let term = seen.term.clone();
        let status = ElectionStatus {
            lease: self.0.lease.clone(),
            identity: self.0.identity.clone(),
            holder: seen.holder.clone(),
            old_holder: seen.old_holder.clone(),
            term: None,
            trouble: seen.trouble.as_ref().map(|(text, since)| (text.clone(), since.until(now))),
            silent_for: seen.alive.until(now),
            ended: seen.ended,
            contenders: seen.contenders.clone(),
        };
        // The gate has a lock of its own.
        drop(seen);
        let term = term.map(|term| TermStatus { epoch: term.epoch(), gate: term.peek() });
        ElectionStatus { term, ..status }
    }

    /// Whether the elector is well: alive, and no work of a term that is over goes on past its bound (`slack` beside the stop bound J).
    /// A standby, and an elector that can't reach the server, are well: restarting them mends nothing. Upstream: `Check`, `HealthzAdaptor`.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, slack: Duration) -> Result<(), Unhealthy> {
        let now = self.0.clock.now();
        let lease = || self.0.lease.clone();
        let (term, silent_for, ended) = {
            let seen = self.0.seen.lock();
            (seen.term.clone(), seen.alive.until(now), seen.ended)
        };
        if let Some(term) = term
            && let Some(reason) = term.closed()
            && term.hard_stop_at() + slack < now
        {
            return Err(Unhealthy::Overdue { lease: lease(), epoch: term.epoch(), reason });
        }
        if ended {
            return Err(Unhealthy::Ended(lease()));
        }
        if silent_for > STUCK + slack {
            return Err(Unhealthy::Stuck { lease: lease(), silent_for });
        }
        Ok(())
    }

    /// The terms seen last, oldest first, at most [`LONGEST_HISTORY`].
    pub fn history(&self) -> Vec<TermRecord> {
        self.0.seen.lock().history.iter().cloned().collect()
    }

    /// The history as JSON: an array of objects with `holder`, `own`, `transitions`, `epoch` (text, null for others' terms), `since`,
    /// `until`, `closed` and `end` (null where there is none).
    pub fn history_json(&self) -> Value {
        let own = self.0.identity.as_str();
        let row = |term: &TermRecord| {
            json!({
                "holder": term.holder,
                "own": term.holder == own,
                "transitions": term.transitions,
                "epoch": term.epoch.map(|epoch| epoch.to_string()),
                "since": term.since.to_string(),
                "until": term.until.map(|until| until.to_string()),
                "closed": term.closed.as_ref().map(ToString::to_string),
                "end": term.end.as_ref().map(ToString::to_string),
            })
        };
        Value::Array(self.0.seen.lock().history.iter().map(row).collect())
    }

    /// Tells the metrics what changes by itself: the time to the closing of the gate. To be called when they are collected.
    pub fn observe(&self) {
        let term = self.0.seen.lock().term.clone();
        let left = term.and_then(|term| term.peek().ok()).unwrap_or(Duration::ZERO);
        self.0.metrics.tell(|sink| sink.time_to_closing(left));
    }

    pub(crate) fn metrics(&self) -> &MetricsSink {
        &self.0.metrics
    }

    /// The elector lives.
    pub(crate) fn alive(&self) {
        let now = self.0.clock.now();
        self.0.seen.lock().alive = now;
    }

    pub(crate) fn ended(&self) {
        self.0.seen.lock().ended = true;
    }

    /// What the last answer was, if it was no answer. Returns whether this is news.
    pub(crate) fn trouble(&self, trouble: Option<&str>) -> bool {
        let now = self.0.clock.now();
        let mut seen = self.0.seen.lock();
        let before = seen.trouble.as_ref().map(|(text, _)| text.as_str());
        if before == trouble {
            return false;
        }
        let since = seen.trouble.as_ref().map_or(now, |(_, since)| *since);
        seen.trouble = trouble.map(|text| (text.to_owned(), since));
        true
    }

    /// `namespace/name` of the Lease.
    pub(crate) fn lease(&self) -> &str {
        &self.0.lease
    }

    /// Who holds the old lock, if it is in the way. Returns whether this is news.
    pub(crate) fn old_lock(&self, holder: Option<&str>) -> bool {
        let mut seen = self.0.seen.lock();
        let news = seen.old_holder.as_deref() != holder;
        seen.old_holder = holder.map(str::to_owned);
        news
    }

    /// The Lease as it was shown; None: there is none. Returns whether the holder is another than before.
    pub(crate) fn saw(&self, lease: Option<&Lease>) -> bool {
        let wall = self.0.clock.wall();
        let holder = lease.map_or("", Lease::holder);
        let (news, contenders) = {
            let mut seen = self.0.seen.lock();
            let news = seen.holder.as_deref() != Some(holder);
            seen.holder = Some(holder.to_owned());
            seen.note(lease.filter(|lease| !lease.holder().is_empty()), wall);
            let new = !holder.is_empty()
                && seen.contenders.len() < MOST_CONTENDERS
                && !seen.contenders.iter().any(|known| known == holder);
            if new {
                seen.contenders.push(holder.to_owned());
            }
            (news, new.then_some(seen.contenders.len()))
        };
        if let Some(contenders) = contenders {
            self.0.metrics.tell(|sink| sink.contenders(contenders));
        }
        news
    }

    /// A term of this candidate's own begins.
    pub(crate) fn won(&self, term: &Term, lease: &Lease) {
        self.saw(Some(lease));
        {
            let mut seen = self.0.seen.lock();
            seen.term = Some(term.clone());
            if let Some(last) = seen.history.back_mut() {
                // The Lease may have named this process before it was won: after a term, or a claim without an answer.
                (last.epoch, last.since) = (Some(term.epoch()), self.0.clock.wall());
            }
        }
        self.0.metrics.tell(|sink| {
            sink.master_status(true);
            sink.terms(1);
            sink.epoch(last_digits(term.epoch()));
        });
        if let Some(events) = &self.0.events {
            events.won(lease, self.0.clock.wall());
        }
    }

    /// The term of this candidate's own has ended.
    pub(crate) fn over(&self, term: &Term, end: TermEnd) {
        let wall = self.0.clock.wall();
        let closed = term.closed();
        {
            let mut seen = self.0.seen.lock();
            seen.term = None;
            if let Some(own) = seen.history.iter_mut().rev().find(|record| record.epoch == Some(term.epoch())) {
                own.until.get_or_insert(wall);
                own.closed = closed;
                own.end = Some(end);
            }
        }
        self.0.metrics.tell(|sink| sink.master_status(false));
        if let Some(events) = &self.0.events {
            events.over(wall);
        }
    }
}

impl Seen {
    /// Notes in the history who holds the Lease.
    fn note(&mut self, held: Option<&Lease>, wall: Timestamp) {
        if let Some(last) = self.history.back_mut() {
            let same =
                held.is_some_and(|lease| lease.holder() == last.holder && lease.transitions() == last.transitions);
            if same && last.end.is_none() {
                return;
            }
            last.until.get_or_insert(wall);
        }
        let Some(lease) = held else { return };
        if self.history.len() == LONGEST_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(TermRecord {
            holder: lease.holder().to_owned(),
            transitions: lease.transitions(),
            epoch: None,
            since: wall,
            until: None,
            closed: None,
            end: None,
        });
    }
}

impl fmt::Display for TermEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::HandedOver(to) => write!(f, "handed over to {to}"),
            Self::Kept => f.write_str("kept"),
            Self::Lost => f.write_str("lost"),
        }
    }
}
