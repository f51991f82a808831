//! What is printed of `store`, `readers` and `pipeline`.
//!
//! In: the figures of all rounds. Out: per row the medians of each side, and how many times better ours is, so that higher is
//! better for us; as a table or as lines of JSON. A side that lacks a row is left out of it.

use std::collections::BTreeMap;

use serde::Serialize;
use watchkeeper::BoxError;

use super::round::Figure;
use super::side::Side;
use crate::median::median;

/// One line of the report.
pub(crate) struct Row {
    /// As the figures have it.
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// Rather than lower.
    pub(crate) higher_is_better: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    measure: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    row: &'a str,
    unit: &'a str,
    objects: usize,
    rounds: usize,
    ours: Option<f64>,
    peers: BTreeMap<&'a str, f64>,
    ratio: BTreeMap<&'a str, f64>,
}

pub(crate) struct Report<'a> {
    pub(crate) measure: &'static str,
    /// Of ours, where there are several.
    pub(crate) variant: Option<&'a str>,
    pub(crate) objects: usize,
    pub(crate) json: bool,
}

impl Report<'_> {
    pub(crate) fn print(&self, rows: &[Row], taken: &[(Side, Vec<Figure>)]) -> Result<(), BoxError> {
        let rounds = taken.first().map_or(0, |(_, figures)| figures.len());
        if !self.json {
            println!(
                "{} objects; medians of {rounds} rounds; behind each peer, how many times better ours is\n",
                self.objects
            );
            let sides: String = taken.iter().map(|(side, _)| format!("{:>16}{:>9}", side.name(), "")).collect();
            println!("{:<18}{:<8}{sides}", "", "unit");
        }
        for row in rows {
            let of = |figures: &[Figure]| {
                let values: Option<Vec<f64>> =
                    figures.iter().map(|figure| figure.rows.get(&row.name).copied()).collect();
                values.and_then(median)
            };
            let values: Vec<_> = taken.iter().map(|(side, figures)| (*side, of(figures))).collect();
            let ours = values.iter().find_map(|(side, value)| value.filter(|_| *side == Side::Ours));
            let ratio = |side: Side, theirs: f64| {
                let ratio = if row.higher_is_better { ours? / theirs } else { theirs / ours? };
                (side != Side::Ours && ratio.is_finite()).then_some(ratio)
            };
            if self.json {
                let there = |side: &Side, value: &Option<f64>| Some((*side, (*value)?));
                let peers = values
                    .iter()
                    .filter_map(|(side, value)| there(side, value))
                    .filter(|(side, _)| *side != Side::Ours);
                let peers: Vec<_> = peers.collect();
                let line = Line {
                    measure: self.measure,
                    variant: self.variant,
                    row: &row.name,
                    unit: row.unit,
                    objects: self.objects,
                    rounds,
                    ours,
                    peers: peers.iter().map(|(side, value)| (side.name(), *value)).collect(),
                    ratio: peers
                        .iter()
                        .filter_map(|(side, value)| Some((side.name(), ratio(*side, *value)?)))
                        .collect(),
                };
                println!("{}", serde_json::to_string(&line)?);
                continue;
            }
            let texts: String = values
                .iter()
                .map(|(side, value)| {
                    let figure = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
                    let ratio = value.and_then(|value| ratio(*side, value)).map(|ratio| format!("{ratio:.2}x"));
                    format!("{figure:>16}{:>9}", ratio.unwrap_or_default())
                })
                .collect();
            println!("{:<18}{:<8}{texts}", row.name, row.unit);
        }
        Ok(())
    }
}
