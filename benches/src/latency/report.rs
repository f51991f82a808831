//! What is printed of latencies.
//!
//! In: what each side has seen, a round each. Out: per side and place the medians of the rounds' quantiles, as a table or as
//! lines of JSON; on the peers' lines how many times longer theirs are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use watchkeeper::BoxError;

use super::sighting::{Seen, Sighting};
use crate::histogram::Histogram;

/// The name of our side.
pub(super) const OURS: &str = "typed";

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Quantiles {
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
}

impl Quantiles {
    fn of(sightings: &[Sighting]) -> Self {
        let mut times = Histogram::new();
        for Sighting { sent, seen } in sightings {
            times.record(Duration::from_nanos(seen.saturating_sub(*sent)));
        }
        Self { p50_us: times.micros(500), p90_us: times.micros(900), p99_us: times.micros(990) }
    }

    /// Each by itself.
    fn median(rounds: &[Self]) -> Self {
        let median = |quantile: fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(quantile).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Self { p50_us: median(|of| of.p50_us), p90_us: median(|of| of.p90_us), p99_us: median(|of| of.p99_us) }
    }

    fn over(&self, ours: &Self) -> Ratios {
        Ratios { p50: self.p50_us / ours.p50_us, p90: self.p90_us / ours.p90_us, p99: self.p99_us / ours.p99_us }
    }
}

/// The peer's in ours: higher is better for us.
#[derive(Serialize)]
struct Ratios {
    p50: f64,
    p90: f64,
    p99: f64,
}

/// The rounds of one side.
#[derive(Default)]
struct Rounds {
    handler: Vec<Quantiles>,
    worker: Vec<Quantiles>,
}

/// Figures so far, in the order in which sides were first measured.
pub(super) struct Table {
    json: bool,
    /// Pods, and updates of them a round.
    n: usize,
    events: usize,
    sides: Vec<(&'static str, Rounds)>,
}

#[derive(Serialize)]
struct Line<'a> {
    measure: &'static str,
    /// Where the update was seen: `handler` or `worker`.
    at: &'static str,
    shape: &'static str,
    n: usize,
    events: usize,
    rounds: usize,
    #[serde(flatten)]
    quantiles: Quantiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<&'a BTreeMap<&'static str, Ratios>>,
}

impl Table {
    pub(super) fn new(json: bool, n: usize, events: usize) -> Self {
        Self { json, n, events, sides: Vec::new() }
    }

    pub(super) fn add(&mut self, side: &'static str, seen: &Seen) {
        let place = self.sides.iter().position(|(known, _)| *known == side).unwrap_or_else(|| {
            self.sides.push((side, Rounds::default()));
            self.sides.len() - 1
        });
        let rounds = &mut self.sides[place].1;
        rounds.handler.push(Quantiles::of(&seen.handler));
        rounds.worker.push(Quantiles::of(&seen.worker));
    }

    pub(super) fn print(&self) -> Result<(), BoxError> {
        if !self.json {
            println!("{:<8}{:>24}{:>12}{:>12}{:>12}   times ours", "", "", "p50 us", "p90 us", "p99 us");
        }
        self.print_place("handler", |rounds| &rounds.handler)?;
        self.print_place("worker", |rounds| &rounds.worker)
    }

    fn print_place(&self, at: &'static str, of: fn(&Rounds) -> &Vec<Quantiles>) -> Result<(), BoxError> {
        let sides: BTreeMap<_, _> =
            self.sides.iter().map(|(side, rounds)| (*side, Quantiles::median(of(rounds)))).collect();
        let over = |ours: &Quantiles| {
            sides.iter().filter(|(side, _)| **side != OURS).map(|(side, theirs)| (*side, theirs.over(ours))).collect()
        };
        let ratio: BTreeMap<_, Ratios> = sides.get(OURS).map(over).unwrap_or_default();
        for (side, rounds) in &self.sides {
            let Some(quantiles) = sides.get(side) else { continue };
            if self.json {
                let line = Line {
                    measure: "latency",
                    at,
                    shape: side,
                    n: self.n,
                    events: self.events,
                    rounds: of(rounds).len(),
                    quantiles: *quantiles,
                    ratio: (*side == OURS).then_some(&ratio),
                };
                println!("{}", serde_json::to_string(&line)?);
            } else {
                let Quantiles { p50_us, p90_us, p99_us } = quantiles;
                let times = ratio.get(side).map(|ratio| format!("{:8.2}{:8.2}{:8.2}", ratio.p50, ratio.p90, ratio.p99));
                println!("{at:<8}{side:>24}{p50_us:>12.1}{p90_us:>12.1}{p99_us:>12.1}{}", times.unwrap_or_default());
            }
        }
        Ok(())
    }
}
