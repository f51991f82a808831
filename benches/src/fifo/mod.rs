//! Push and pop of our queue of deltas against client-go's, on one thread: CPU time a delta.
//!
//! In: how many deltas. Out: a line a workload and queue of ours: our figure, those of both of the peer's, and their ratios,
//! from the medians of the rounds; with `--json` one JSON object a line. Higher is better for us.
//!
//! A workload pushes until so many deltas are pending, then pops until nothing is, over and over. Objects are made shortly
//! before they are pushed, a hundred at a time, as a watch brings them, and let go after they were popped, on both sides;
//! neither is in the figure. Each of the peer's figures is taken in a process of its own, in turn with ours. Every delta pushed
//! must be accounted for by what was popped: what our coalescing queue leaves out, it leaves out where more than a thousand wait.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches -- fifo --json
//! ```

mod ours;
mod peer;
mod report;

use clap::Args;
use serde::{Deserialize, Serialize};
use watchkeeper::BoxError;

use self::ours::Queue;
use self::peer::{Peer, Theirs};
use self::report::Table;

/// What is measured, and how much.
#[derive(Args)]
pub(crate) struct Options {
    /// How many deltas a figure is made of, at least.
    #[arg(long, default_value_t = 1_000_000, value_parser = crate::at_least_one)]
    n: usize,
    /// How often each figure is taken; the median counts.
    #[arg(long, default_value_t = 5, value_parser = crate::at_least_one)]
    rounds: usize,
    /// Prints a JSON object a line instead of text.
    #[arg(long)]
    json: bool,
}

/// How many different keys there are.
const KEYS: usize = 100_000;

/// What is pushed before it is popped.
#[derive(Clone, Copy, Debug)]
struct Workload {
    name: &'static str,
    /// Different keys, each pushed in its turn.
    keys: usize,
    /// Keys pushed before anything is popped, a divisor of the above.
    pending: usize,
    /// How often each of them is pushed, round by round.
    updates: usize,
}

const WORKLOADS: [Workload; 3] = [
    // What a consumer finds that is a little behind.
    Workload { name: "batches", keys: KEYS, pending: 1_000, updates: 1 },
    // Everything there is, as a list without a replacement would be.
    Workload { name: "backlog", keys: KEYS, pending: KEYS, updates: 1 },
    // Busy objects.
    Workload { name: "updates", keys: KEYS, pending: 10_000, updates: 10 },
];

impl Workload {
    /// How many times it pushes and pops to reach so many deltas.
    fn turns(&self, n: usize) -> usize {
        n.div_ceil(self.pending * self.updates)
    }

    fn deltas(&self, n: usize) -> usize {
        self.turns(n) * self.pending * self.updates
    }
}

/// What one round gives on one side; also what the peer prints.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Figure {
    /// CPU time of the thread, of one delta pushed.
    push: f64,
    pop: f64,
    /// How many deltas the consumer was handed.
    popped: usize,
}

impl Figure {
    fn both(&self) -> f64 {
        self.push + self.pop
    }
}

/// Takes all figures, and prints each workload as soon as it is there.
pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    let peer = Peer::build()?;
    let table = Table::start(options.json, options.rounds);
    for workload in WORKLOADS {
        let mut ours: Vec<(Queue, Vec<Figure>)> = Queue::ALL.map(|queue| (queue, Vec::new())).into();
        let mut theirs: Vec<(Theirs, Vec<Figure>)> = Theirs::ALL.map(|queue| (queue, Vec::new())).into();
        for round in 0..options.rounds {
            eprintln!("{}: round {} of {}", workload.name, round + 1, options.rounds);
            for (queue, figures) in &mut ours {
                let figure = ours::measure(*queue, workload, options.n)?;
                figures.push(accounted(figure, queue.coalesces(), workload, options.n)?);
            }
            for (queue, figures) in &mut theirs {
                let figure = peer.measure(*queue, workload, options.n)?;
                // Upstream's coalescing queue hands out each delta of a key, together.
                figures.push(accounted(figure, false, workload, options.n)?);
            }
        }
        table.print(workload, workload.deltas(options.n), &ours, &theirs)?;
    }
    Ok(())
}

/// Our coalescing queue puts nothing together while no more than these wait.
const AS_THEY_CAME: usize = 1_024;

/// Every delta came out, or of a queue that coalesces one a key.
fn accounted(figure: Figure, coalesces: bool, workload: Workload, n: usize) -> Result<Figure, BoxError> {
    let all = workload.deltas(n);
    let coalesces = coalesces && workload.pending * workload.updates > AS_THEY_CAME;
    let expected = if coalesces { all / workload.updates } else { all };
    if figure.popped == expected {
        Ok(figure)
    } else {
        Err(format!("{}: {} deltas popped, expected {expected}", workload.name, figure.popped).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is popped is what was pushed, whatever the queue; and a figure of too little work is an error.
    #[test]
    fn every_delta_is_accounted_for() -> Result<(), BoxError> {
        let workload = Workload { name: "small", keys: 100, pending: 20, updates: 3 };
        for queue in Queue::ALL {
            // More than all turns there are, and no multiple of one.
            let n = 1000;
            let figure = accounted(ours::measure(queue, workload, n)?, queue.coalesces(), workload, n)?;
            assert!(figure.push > 0.0 && figure.pop > 0.0, "{figure:?}");
            let fewer = Figure { popped: figure.popped - 1, ..figure };
            assert!(accounted(fewer, queue.coalesces(), workload, n).is_err());
        }
        Ok(())
    }
}
