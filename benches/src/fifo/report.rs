//! What is printed of the queues of deltas.
//!
//! In: the figures of a workload, a round each. Out: medians in nanoseconds a delta, and how many times longer the peer's take.

use std::collections::BTreeMap;

use serde::Serialize;
use watchkeeper::BoxError;

use super::ours::Queue;
use super::peer::Theirs;
use super::{Figure, Workload};
use crate::median::median;

pub(super) struct Table {
    json: bool,
}

/// Medians, each by itself.
#[derive(Clone, Copy, Serialize)]
struct Medians {
    push_ns: f64,
    pop_ns: f64,
    ns: f64,
}

impl Medians {
    fn of(figures: &[Figure]) -> Self {
        let median = |value: fn(&Figure) -> f64| median(figures.iter().map(value).collect()).unwrap_or_default();
        Self { push_ns: median(|of| of.push), pop_ns: median(|of| of.pop), ns: median(Figure::both) }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    measure: &'static str,
    workload: &'static str,
    queue: &'static str,
    n: usize,
    rounds: usize,
    /// Push and pop of a delta.
    #[serde(flatten)]
    ours: Medians,
    peers: &'a BTreeMap<&'static str, Medians>,
    /// The peer's in ours: higher is better for us.
    ratio: BTreeMap<&'static str, f64>,
}

impl Table {
    pub(super) fn start(json: bool, rounds: usize) -> Self {
        if !json {
            println!(
                "ns of thread CPU a delta, medians of {rounds} rounds; the ratio is how many times longer the peer takes\n"
            );
            println!("{:<10}{:<18}{:>10}{:>10}{:>10}   ratios", "", "", "push", "pop", "both");
        }
        Self { json }
    }

    pub(super) fn print(
        &self,
        workload: Workload,
        n: usize,
        ours: &[(Queue, Vec<Figure>)],
        theirs: &[(Theirs, Vec<Figure>)],
    ) -> Result<(), BoxError> {
        let peers: BTreeMap<_, _> = theirs.iter().map(|(peer, figures)| (peer.name(), Medians::of(figures))).collect();
        for (queue, figures) in ours {
            let medians = Medians::of(figures);
            let ratio: BTreeMap<_, _> = peers.iter().map(|(peer, theirs)| (*peer, theirs.ns / medians.ns)).collect();
            if self.json {
                let line = Line {
                    measure: "fifo",
                    workload: workload.name,
                    queue: queue.name(),
                    n,
                    rounds: figures.len(),
                    ours: medians,
                    peers: &peers,
                    ratio,
                };
                println!("{}", serde_json::to_string(&line)?);
            } else {
                let ratios: String = ratio.iter().map(|(peer, ratio)| format!("   {ratio:.1} {peer}")).collect();
                println!("{}{ratios}", row(workload, queue.name(), medians));
            }
        }
        if !self.json {
            theirs.iter().for_each(|(peer, _)| println!("{}", row(workload, peer.name(), peers[peer.name()])));
        }
        Ok(())
    }
}

fn row(workload: Workload, queue: &str, Medians { push_ns, pop_ns, ns }: Medians) -> String {
    format!("{:<10}{queue:<18}{push_ns:>10.1}{pop_ns:>10.1}{ns:>10.1}", workload.name)
}
