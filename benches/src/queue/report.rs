//! What is printed of the figures.
//!
//! In: all rounds of a subject. Out: per measure of it the medians and their ratio, and the raw figures, so that nobody
//! has to believe in a median.

use serde::Serialize;
use watchkeeper::BoxError;

use super::Size;
use super::measures::{Figure, Measure};
use crate::median::median;

/// How figures are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Text,
    Json,
}

/// The figures of a subject, a round each.
#[derive(Default, Serialize)]
pub(crate) struct Rounds {
    pub(crate) ours: Vec<Figure>,
    pub(crate) peer: Vec<Figure>,
}

#[derive(Serialize)]
struct Line<'a> {
    measure: &'a str,
    ours: f64,
    peer: f64,
    ratio: f64,
    unit: &'a str,
    n: usize,
    raw: &'a Rounds,
}

/// Prints what stands above the figures.
pub(crate) fn start(style: Style, rounds: usize) {
    if style == Style::Text {
        println!("medians of {rounds} rounds; the ratio is how many times better ours is\n");
        println!("{:<14} {:>14} {:>14} {:>8} unit", "", "ours", "peer", "ratio");
    }
}

/// Prints the measures that are read off a subject.
pub(crate) fn print(style: Style, measures: &[&Measure], size: Size, raw: &Rounds) -> Result<(), BoxError> {
    for Measure { name, unit, .. } in measures {
        let median = |figures: &[Figure]| {
            let values: Option<Vec<f64>> = figures.iter().map(|figure| unit.of(figure)).collect();
            values.and_then(median).ok_or_else(|| format!("a round of {name} lacks its figure"))
        };
        let (ours, peer) = (median(&raw.ours)?, median(&raw.peer)?);
        let ratio = unit.ratio(ours, peer);
        match style {
            Style::Text => println!("{name:<14} {ours:>14.2} {peer:>14.2} {ratio:>8.2} {}", unit.name()),
            Style::Json => {
                let (ours, peer, ratio) = (rounded(ours), rounded(peer), rounded(ratio));
                let line = Line { measure: name, ours, peer, ratio, unit: unit.name(), n: size.n, raw };
                println!("{}", serde_json::to_string(&line)?);
            }
        }
    }
    if style == Style::Text {
        for (side, figures) in [("ours", &raw.ours), ("peer", &raw.peer)] {
            for figure in figures {
                println!("    {side} {}", serde_json::to_string(figure)?);
            }
        }
    }
    Ok(())
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
