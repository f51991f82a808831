//! The judgement of one Lease, pure: fresh, late, stale or vacant, and the edges between these states.
//!
//! In: what was seen of the Lease and when (this process's monotonic time). Out: its [`State`] at a given moment,
//! the [`Edge`]s it went through, and when to look again. Ages count from the change *this process observed*;
//! no clock of another machine is compared with ours.
//!
//! Rules:
//! * A Lease that was only listed has no verdict yet ([`State::Watching`]) until a change is observed (fresh), or
//!   until it stood still for as long as its thresholds say: it has stood still for at least that long, so late
//!   and stale, counted from the first sight, are never said too early.
//! * Late and stale are entered at exact moments (last change plus threshold), whenever somebody looks.
//! * Each edge has a version that all replicas agree on: for late, stale and vacant the version the Lease stands
//!   at; for a return to fresh the version that had stood still, since replicas may see different ones of the
//!   renewals that follow. (A replica that starts after a mere label was changed sees a newer one: it would
//!   tell the same story once more. Rare, harmless.)
//! * To be fresh at first sight is no edge.
//!
//! It never reads a clock, never allocates more than [`EDGES_KEPT`] edges, and never takes an edge back.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::moment::Moment;
use crate::record::Record;
use crate::threshold::{Thresholds, duration};

/// Edges remembered of one Lease: enough for two failures and recoveries between one leader and the next.
pub(crate) const EDGES_KEPT: usize = 8;

/// The state of a Lease. The order is the depth of the trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// A change was observed, and not long ago.
    Fresh,
    /// No verdict: seen too shortly, or there is nothing to judge it by.
    Watching,
    /// Nobody holds it.
    Vacant,
    /// Renewals were missed.
    Late,
    /// Expired without a new holder.
    Stale,
}

impl State {
    /// All states, worst first, as the table sorts them.
    pub(crate) const WORST_FIRST: [State; 5] =
        [State::Stale, State::Late, State::Vacant, State::Watching, State::Fresh];

    /// The word in tables and names.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Fresh => "fresh",
            State::Watching => "watching",
            State::Vacant => "vacant",
            State::Late => "late",
            State::Stale => "stale",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A change of state: one Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The state it left.
    pub(crate) from: State,
    /// The state it entered.
    pub(crate) to: State,
    /// The version that all replicas agree on (see the module's rules).
    pub(crate) version: String,
    /// When it happened.
    pub(crate) at: Moment,
    /// The holder before and after; equal unless a change of the object was the cause.
    pub(crate) holders: (Option<String>, Option<String>),
}

/// What one process knows of one Lease.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    /// The life this is about; a new Lease of the same name is another one.
    pub(crate) uid: String,
    /// The resource version at the last change of the record.
    pub(crate) version: String,
    /// What the Lease says.
    pub(crate) record: Record,
    /// The last observed change, or the first sight.
    pub(crate) since: Moment,
    /// Whether `since` is a change that was observed.
    pub(crate) observed: bool,
    /// The state that was noted last for the record as it stands.
    noted: State,
    edges: VecDeque<Edge>,
}

impl Observation {
    /// A Lease seen for the first time; `created` says that its creation was observed, which is a sign of life.
    pub(crate) fn first(uid: &str, version: &str, record: Record, sight: (Moment, bool)) -> Observation {
        let (now, created) = sight;
        let noted = match (&record.holder, created) {
            (None, _) => State::Vacant,
            (Some(_), true) if Thresholds::of(record.class, record.seconds).is_some() => State::Fresh,
            (Some(_), _) => State::Watching,
        };
        let mut this = Observation {
            uid: uid.to_owned(),
            version: version.to_owned(),
            record,
            since: now,
            observed: created,
            noted,
            edges: VecDeque::new(),
        };
        if noted == State::Vacant {
            this.push(Edge {
                from: State::Watching,
                to: State::Vacant,
                version: this.version.clone(),
                at: now,
                holders: (None, None),
            });
        }
        this
    }

    /// The object was seen at another version; returns whether its record had changed.
    pub(crate) fn seen(&mut self, version: &str, record: Record, watch: Watch) -> bool {
        if record == self.record {
            return false;
        }
        self.look(watch);
        let before = self.noted;
        let stood = std::mem::replace(&mut self.version, version.to_owned());
        let held = std::mem::replace(&mut self.record, record);
        self.since = watch.now;
        self.observed = true;
        self.noted = match self.record.holder {
            None => State::Vacant,
            Some(_) if self.thresholds().is_some() => State::Fresh,
            Some(_) => State::Watching,
        };
        let version = match (before, self.noted) {
            (State::Late | State::Stale | State::Vacant, State::Fresh) => Some(stood),
            (before, State::Vacant) if before != State::Vacant => Some(self.version.clone()),
            _ => None,
        };
        if let Some(version) = version {
            let holders = (held.holder, self.record.holder.clone());
            self.push(Edge { from: before, to: self.noted, version, at: watch.now, holders });
        }
        true
    }

    /// The state at `watch.now`.
    pub(crate) fn state(&self, watch: Watch) -> State {
        let Some(thresholds) = self.thresholds() else { return self.noted };
        let age = watch.now.since(self.from(watch));
        match age {
            _ if self.record.holder.is_none() => State::Vacant,
            _ if age >= thresholds.stale || self.noted == State::Stale => State::Stale,
            _ if age >= thresholds.late || self.noted == State::Late => State::Late,
            _ => self.noted,
        }
    }

    /// Notes the edges that time alone has brought about until `watch.now`.
    pub(crate) fn look(&mut self, watch: Watch) {
        let state = self.state(watch);
        if let Some(thresholds) = self.thresholds() {
            let from = self.from(watch);
            for (depth, span) in [(State::Late, thresholds.late), (State::Stale, thresholds.stale)] {
                if state >= depth && self.noted < depth {
                    let holder = self.record.holder.clone();
                    let edge = Edge {
                        from: self.noted,
                        to: depth,
                        version: self.version.clone(),
                        at: from.plus(span),
                        holders: (holder.clone(), holder),
                    };
                    self.push(edge);
                    self.noted = depth;
                }
            }
        }
    }

    /// How long until the state changes by itself; `None`: never, only a change of the object can change it.
    pub(crate) fn next_look(&self, watch: Watch) -> Option<Duration> {
        let thresholds = self.thresholds().filter(|_| self.record.holder.is_some())?;
        let age = watch.now.since(self.from(watch));
        match self.state(watch) {
            State::Watching | State::Fresh => Some(thresholds.late.saturating_sub(age)),
            State::Late => Some(thresholds.stale.saturating_sub(age)),
            State::Stale | State::Vacant => None,
        }
    }

    /// The edges that are remembered, oldest first.
    pub(crate) fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter()
    }

    /// Whether `edge` led to the state the Lease is in now, as last noted.
    pub(crate) fn stands(&self, edge: &Edge) -> bool {
        self.noted != State::Fresh && edge.to == self.noted && self.edges.back() == Some(edge)
    }

    /// How long after its moment an edge is still news: three of the Lease's durations, 10 s at least, ten minutes
    /// at most (an API server forgets Events after an hour, and a name it has forgotten is no conflict).
    pub(crate) fn news(&self) -> Duration {
        let whole = duration(self.record.seconds).unwrap_or_default();
        whole.saturating_mul(3).clamp(Duration::from_secs(10), Duration::from_secs(600))
    }

    /// What age counts from: the last change, unless this process wasn't looking then.
    pub(crate) fn from(&self, watch: Watch) -> Moment {
        self.since.max(watch.unbroken_since)
    }

    fn thresholds(&self) -> Option<Thresholds> {
        Thresholds::of(self.record.class, self.record.seconds)
    }

    fn push(&mut self, edge: Edge) {
        if self.edges.len() == EDGES_KEPT {
            self.edges.pop_front();
        }
        self.edges.push_back(edge);
    }
}

/// The present, and since when this process has been looking without a break.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// Now.
    pub(crate) now: Moment,
    /// The start of unbroken attention: a process that was paused, or cut off from its API server, has not seen
    /// that a Lease stood still in the meantime, and doesn't say so.
    pub(crate) unbroken_since: Moment,
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
