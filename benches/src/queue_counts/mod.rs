//! Instructions and allocations of the work queue's operations, held to a baseline of this CPU model: see [`crate::counts`].
//!
//! In: a folder of baselines. Out: what [`crate::counts`] says of it.
//!
//! This program runs itself under valgrind's callgrind, an [`Operation`] and a count of it a run. The difference
//! between a large and a small count, divided by the difference of the counts, is what one operation costs: the start
//! of the program and the making of the keys, which are as many in both runs, are not in it.

mod callgrind;
mod operations;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use watchkeeper::BoxError;

use crate::counts::{self, Baseline, Counts, FEW_ALLOCATIONS, Figure, Options};
use callgrind::Run;
use operations::Operation;

/// A single run, the one under valgrind.
#[derive(Args)]
pub(crate) struct One {
    operation: Operation,
    #[arg(value_parser = crate::at_least_one)]
    count: usize,
}

/// What one operation costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    instructions: f64,
    allocations: f64,
}

impl counts::Count for Count {
    fn figures(&mut self) -> [Figure<'_>; 2] {
        let Self { instructions, allocations } = self;
        [
            Figure { name: "instructions", value: instructions, decimals: 1, few: 0.0 },
            Figure { name: "allocations", value: allocations, decimals: 4, few: FEW_ALLOCATIONS },
        ]
    }
}

/// Counts every operation, then compares or writes.
pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    callgrind::find()?;
    options.run(count, Baseline::of_this_machine)
}

fn count() -> Result<Counts<Count>, BoxError> {
    let mut counts = Counts::new();
    for operation in Operation::value_variants() {
        let (few, many) = operations::COUNTS;
        let (small, large) = (Run::of(*operation, few)?, Run::of(*operation, many)?);
        counts.insert(operation.name(), large.each_beyond(&small, many - few));
    }
    Ok(counts)
}

/// Runs an operation a number of times and prints how often it allocated.
pub(crate) fn run_one(one: &One) -> Result<(), BoxError> {
    match operations::run(one.operation, one.count)? {}
}
