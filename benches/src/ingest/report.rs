//! What is printed of an ingest.
//!
//! In: the figures of all rounds. Out: the medians of each side, as a table or as lines of JSON, with ratios to the peers.

use std::collections::BTreeMap;

use serde::Serialize;
use watchkeeper::BoxError;

use super::Relisted;
use super::client::Shape;
use super::figure::Figure;

/// CPU time is counted in hundredths of a second; there is no ratio to one of so few.
const LEAST_CPU_S: f64 = 0.03;

/// Who was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours(Shape),
    Peer(&'static str),
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours(shape) => shape.name(),
            Self::Peer(name) => name,
        }
    }
}

/// One figure, each of an object where that makes sense.
#[derive(Clone, Debug)]
struct Row {
    n: usize,
    /// Of the first list.
    wall_s: Option<f64>,
    user_cpu_s: f64,
    retained: Option<f64>,
    rss: f64,
    peak_rss_kb: f64,
    /// CPU of the second list in that of the first.
    again: Option<f64>,
    /// That the second list has caused.
    events: Option<f64>,
}

/// Figures so far.
pub(crate) struct Table {
    measure: &'static str,
    json: bool,
    rows: Vec<(Side, Row)>,
}

#[derive(Serialize)]
struct Line {
    measure: &'static str,
    side: &'static str,
    shape: &'static str,
    n: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_s: Option<f64>,
    user_cpu_s: f64,
    user_us_per_object: f64,
    /// By the counting allocator; in Go, by the live heap after a collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    retained_bytes_per_object: Option<f64>,
    rss_bytes_per_object: f64,
    peak_rss_kb: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    again_over_first: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<f64>,
    /// The peer's CPU in ours: higher is better for us.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ratio: BTreeMap<&'static str, f64>,
}

impl Table {
    pub(crate) fn new(measure: &'static str, json: bool) -> Self {
        Self { measure, json, rows: Vec::new() }
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people to read")]
    pub(crate) fn add(&mut self, side: Side, figure: Figure) {
        let each = |bytes: u64| bytes as f64 / figure.objects.max(1) as f64;
        let row = Row {
            n: figure.objects,
            wall_s: Some(figure.wall_s),
            user_cpu_s: figure.user_cpu_s,
            retained: figure.heap_bytes.map(each),
            rss: each(figure.rss_kb * 1024),
            peak_rss_kb: figure.peak_rss_kb as f64,
            again: None,
            events: None,
        };
        self.rows.push((side, row));
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people to read")]
    pub(crate) fn add_again(&mut self, side: Side, relisted: Relisted) {
        let Relisted { first_cpu_s, again_cpu_s, events, after } = relisted;
        self.add(side, Figure { user_cpu_s: again_cpu_s, ..after });
        if let Some((_, row)) = self.rows.last_mut() {
            row.wall_s = None;
            row.again = Some(again_cpu_s / first_cpu_s);
            row.events = Some(events as f64);
        }
    }

    pub(crate) fn print(&self) -> Result<(), BoxError> {
        let mut sides: Vec<Side> = Vec::new();
        for (side, _) in &self.rows {
            if !sides.contains(side) {
                sides.push(*side);
            }
        }
        let peers: Vec<Side> = sides.iter().copied().filter(|side| matches!(side, Side::Peer(_))).collect();
        if !self.json {
            println!(
                "medians; user s: CPU of the client until it is synced, counted in hundredths, of relist that of the second list;\n\
                 again/first: the second list's CPU in that of the first; events: that the second list has caused;\n\
                 x peer: how many times more CPU the peer takes, left out where ours is hardly counted\n"
            );
            let head =
                ["user s", "us each", "wall s", "heap B each", "rss B each", "peak MiB", "again/first", "events"];
            let ratios: String = peers.iter().map(|peer| format!("  x {}", peer.name())).collect();
            println!("{:>24}{}{ratios}", "", head.map(|word| format!("{word:>12}")).concat());
        }
        for side in sides {
            let line = self.line(side, &peers);
            if self.json {
                println!("{}", serde_json::to_string(&line)?);
                continue;
            }
            let number = |value: Option<f64>, digits: usize| {
                value.map_or_else(|| format!("{:>12}", ""), |value| format!("{value:>12.digits$}"))
            };
            let cells = [
                format!("{:>24}", line.side),
                number(Some(line.user_cpu_s), 2),
                number(Some(line.user_us_per_object), 1),
                number(line.wall_s, 2),
                number(line.retained_bytes_per_object, 0),
                number(Some(line.rss_bytes_per_object), 0),
                number(Some(line.peak_rss_kb / 1024.0), 0),
                number(line.again_over_first, 2),
                number(line.events, 0),
            ];
            let ratios = (peers.iter())
                .filter_map(|peer| Some((peer.name().len() + 4, line.ratio.get(peer.name())?)))
                .map(|(width, ratio)| format!("{ratio:>width$.2}"));
            println!("{}{}", cells.concat(), ratios.collect::<String>());
        }
        Ok(())
    }

    fn line(&self, side: Side, peers: &[Side]) -> Line {
        let of = |side: Side, value: fn(&Row) -> Option<f64>| {
            let mut values: Vec<f64> =
                self.rows.iter().filter(|(other, _)| *other == side).filter_map(|(_, row)| value(row)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let cpu = |row: &Row| Some(row.user_cpu_s);
        let own = of(side, cpu).unwrap_or_default();
        let is_ours = matches!(side, Side::Ours(_));
        let ratio = peers
            .iter()
            .filter(|_| is_ours && own >= LEAST_CPU_S)
            .filter_map(|peer| Some((peer.name(), of(*peer, cpu)? / own)));
        let n = self.rows.iter().find(|(other, _)| *other == side).map_or(0, |(_, row)| row.n);
        #[expect(clippy::cast_precision_loss, reason = "figures for people to read")]
        let user_us_per_object = own * 1e6 / n.max(1) as f64;
        Line {
            measure: self.measure,
            side: side.name(),
            shape: if is_ours { side.name() } else { "typed" },
            n,
            wall_s: of(side, |row| row.wall_s),
            user_cpu_s: own,
            user_us_per_object,
            retained_bytes_per_object: of(side, |row| row.retained),
            rss_bytes_per_object: of(side, |row| Some(row.rss)).unwrap_or_default(),
            peak_rss_kb: of(side, |row| Some(row.peak_rss_kb)).unwrap_or_default(),
            again_over_first: of(side, |row| row.again),
            events: of(side, |row| row.events),
            ratio: ratio.collect(),
        }
    }
}
