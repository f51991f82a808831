//! The store beside the peers': the CPU time of each of its operations, and the memory it needs beside the objects.
//!
//! In: how many objects. Out: a line a row (they are listed in [`rows`]): medians of the rounds, and how many times better ours
//! is; with `--json` one JSON object a line. Each figure is taken in a process of its own, the sides in turn. Ours and
//! client-go's have three indexes, by namespace, by node and by app; kube-runtime's has none, so it looks for a namespace
//! among all objects, and for the objects of a node it has no row. Times are of the one thread that works, so the collector
//! of Go is counted only where it takes that thread; Go runs with one processor. kube-runtime copies what it is handed.
//!
//! All counts must be what they have to be: what was found, listed and seen, and the versions of all objects after each kind
//! of write.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches -- store --json
//! ```

pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod objects;
pub(crate) mod ours;
pub(crate) mod report;
pub(crate) mod round;
mod rows;
pub(crate) mod side;

use clap::Args;
use watchkeeper::BoxError;

use self::objects::Objects;
use self::report::{Report, Row};
use self::round::Figure;
use self::side::{Program, Side, Sides, Which, in_turn};
use crate::pipeline::stages;
use crate::readers::cells;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How many objects, in 100 namespaces.
    #[arg(long, default_value_t = 100_000, value_parser = crate::at_least_one)]
    objects: usize,
    #[command(flatten)]
    sides: Sides,
}

const ROWS: [&str; 11] = [
    "get",
    "get-look",
    "list-1000",
    "visit-1000",
    "visit-30",
    "walk",
    "upsert-same",
    "upsert-moved",
    "upsert-batch",
    "replace",
    "snapshot",
];

/// Takes all figures, and prints them.
pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    let objects = Objects { count: options.objects };
    let programs = Program::build_all(&options.sides.peers)?;
    let taken = in_turn(&programs, options.sides.rounds, |program| {
        let mut figure = program.figure(&["store".into(), "--objects".into(), options.objects.to_string()], true)?;
        let has_nodes = program.side != Side::Peer(Which::KubeRuntime);
        figure
            .check(&rows::expected(objects, has_nodes))
            .map_err(|error| format!("{}: {error}", program.side.name()))?;
        let Figure { rows: bytes, .. } = program.bytes(options.objects)?;
        figure.rows.extend(bytes);
        Ok(figure)
    })?;
    let mut rows = Vec::from(ROWS.map(|name| Row { name: name.into(), unit: "ns", higher_is_better: false }));
    rows.push(Row { name: "bytes".into(), unit: "bytes", higher_is_better: false });
    Report { measure: "store", variant: None, objects: options.objects, json: options.sides.json }.print(&rows, &taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: all rows are there, and everything counted is what it has to be; of another number of objects it isn't.
    #[test]
    fn every_row_is_measured_and_counted() {
        let objects = Objects { count: 700 };
        let figure = rows::measure::<ours::Ours>(objects);
        assert!(ROWS.iter().all(|row| figure.rows.contains_key(*row)), "{figure:?}");
        assert_eq!(figure.check(&rows::expected(objects, true)), Ok(()));
        assert!(figure.check(&rows::expected(Objects { count: 701 }, true)).is_err());
    }
}
