//! One look at the board, as plain values: what the table prints and `-o json` serialises.
//!
//! In: the board, and how many rows are wanted. Out: a [`View`]: the worst Leases first, counts of all of them. Ages
//! are of this process's clock. Where asked for (`list`), Leases without a verdict get an estimate from `renewTime`
//! and this machine's wall clock, and are marked: two machines' clocks are compared there, and only there.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use watchkeeper::informer::ObjectKey;

use crate::board::{Board, Glance, count};
use crate::class::Class;
use crate::judge::{Observation, State};
use crate::threshold::{Finding, Thresholds, duration, finding};

/// What one table shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    pub(crate) leases: Vec<Row>,
    /// How many Leases there are beside those in `leases`.
    pub(crate) not_shown: usize,
    /// All Leases by state; absent: none.
    pub(crate) states: BTreeMap<State, usize>,
    /// How many Leases have a finding, such as an invalid duration.
    pub(crate) findings: usize,
    /// Changes observed since the start of the process.
    pub(crate) changes: u64,
    /// How long after the holder's `renewTime` the last change was seen here: delay plus the clocks' difference.
    pub(crate) lag_millis: Option<i64>,
    /// The watch is down, so nothing is judged by age.
    pub(crate) cut_off: bool,
}

/// One Lease.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) state: State,
    /// The state is an estimate by two machines' wall clocks.
    pub(crate) estimated: bool,
    pub(crate) holder: Option<String>,
    /// Seconds since the last change.
    pub(crate) last_change_seconds: Option<f64>,
    /// Whether that change was observed; if not, it was at least as long ago as this process has been watching.
    pub(crate) change_observed: bool,
    /// Seconds until the Lease expires; negative: expired.
    pub(crate) expires_in_seconds: Option<f64>,
    pub(crate) transitions: Option<i32>,
    pub(crate) finding: Option<String>,
}

/// How to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Rows wanted; the rest is counted.
    pub(crate) rows: usize,
    /// Wall time, where estimates are wanted.
    pub(crate) estimate: Option<Timestamp>,
}

/// Looks at `board`.
pub(crate) fn look(board: &Board, look: Look) -> View {
    board.glance(|glance| see(glance, look))
}

fn see(mut glance: Glance<'_>, look: Look) -> View {
    let mut estimated = std::collections::HashMap::new();
    if let Some(wall) = look.estimate {
        for (key, seen, state) in &mut glance.leases {
            if let Some(age) = wall_age(seen, wall).filter(|_| *state == State::Watching) {
                *state = estimate(seen, age).unwrap_or(*state);
                estimated.insert(*key, age);
            }
        }
    }
    let orphan = |key: &ObjectKey, seen: &Observation| {
        let known = glance.nodes.is_some_and(|nodes| !nodes.contains(key.name()));
        (seen.record.class == Class::Node && known).then_some(Finding::NoNode)
    };
    let mut ranked: Vec<_> = glance
        .leases
        .iter()
        .map(|(key, seen, state)| {
            let finding = finding(seen.record.seconds).or_else(|| orphan(key, seen));
            let rank = State::WORST_FIRST.iter().position(|other| other == state).unwrap_or_default();
            ((rank, finding.is_none()), *key, *seen, *state, finding)
        })
        .collect();
    ranked.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let states = count(ranked.iter().map(|(_, _, _, state, _)| *state));
    let findings = ranked.iter().filter(|(.., finding)| finding.is_some()).count();
    let not_shown = ranked.len().saturating_sub(look.rows);
    ranked.truncate(look.rows);
    let leases = ranked
        .into_iter()
        .map(|(_, key, seen, state, finding)| {
            let guess = estimated.get(key).copied();
            let age = guess.unwrap_or_else(|| glance.watch.now.since(seen.since));
            let whole = duration(seen.record.seconds).filter(|_| seen.record.holder.is_some());
            Row {
                namespace: key.namespace().to_owned(),
                name: key.name().to_owned(),
                class: seen.record.class,
                state,
                estimated: guess.is_some(),
                holder: seen.record.holder.clone(),
                last_change_seconds: Some(age.as_secs_f64()),
                change_observed: seen.observed,
                expires_in_seconds: whole.map(|whole| whole.as_secs_f64() - age.as_secs_f64()),
                transitions: seen.record.transitions,
                finding: finding.map(|finding| finding.to_string()),
            }
        })
        .collect();
    let lag_millis = glance.lag.map(|lag| i64::try_from(lag.as_millis()).unwrap_or(i64::MAX));
    View { leases, not_shown, states, findings, changes: glance.changes, lag_millis, cut_off: glance.cut_off }
}

fn wall_age(seen: &Observation, wall: Timestamp) -> Option<Duration> {
    // A renewTime in the future is a clock that runs ahead, not an age.
    seen.record.renewed.map(|renewed| Duration::try_from(wall.duration_since(renewed)).unwrap_or_default())
}

fn estimate(seen: &Observation, age: Duration) -> Option<State> {
    let thresholds = Thresholds::of(seen.record.class, seen.record.seconds)?;
    Some(match age {
        _ if age >= thresholds.stale => State::Stale,
        _ if age >= thresholds.late => State::Late,
        _ => State::Fresh,
    })
}
