//! One writer against readers, ours and the peers': what both get done, and how long a write then takes.
//!
//! In: how many objects, how long a cell is, and which loads. Out: a line a load and value (see [`cells`]), medians of the
//! rounds, and how many times better ours is; with `--json` one JSON object a line. A process measures all cells of a round,
//! the sides in turn. Writer and readers are threads, in Go goroutines, with as many processors as it takes by default.
//! What the peers do is kubernetes/kubernetes#130767: their writers collapse under readers that list.
//!
//! Ours and kube-runtime's are measured by the same code; client-go's keeps two states of each object and writes them in turn,
//! so it has nothing to free. Everything that a read sees is counted and must be complete.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches -- readers --json
//! ```

pub(crate) mod cells;
mod load;

use clap::Args;
use watchkeeper::BoxError;

use self::load::{LOADS, Load};
use crate::store::report::{Report, Row};
use crate::store::side::{Program, Sides, in_turn};
use crate::store::{cache, objects, round};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How many objects, in 100 namespaces.
    #[arg(long, default_value_t = 100_000, value_parser = crate::at_least_one)]
    objects: usize,
    /// How long each cell is.
    #[arg(long, default_value_t = 400)]
    millis: u64,
    /// Which loads, by how many readers and what they read; may be given several times.
    #[arg(long = "load", value_name = "LOAD", value_parser = Load::named, default_values = LOADS.map(|load| load.name))]
    loads: Vec<Load>,
    #[command(flatten)]
    sides: Sides,
}

/// Takes all figures, and prints them.
pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    let programs = Program::build_all(&options.sides.peers)?;
    let mut arguments = vec!["readers".to_owned()];
    for (flag, value) in [("--objects", options.objects.to_string()), ("--millis", options.millis.to_string())] {
        arguments.extend([flag.to_owned(), value]);
    }
    for load in &options.loads {
        arguments.extend(["--load".to_owned(), load.name.to_owned()]);
    }
    let taken = in_turn(&programs, options.sides.rounds, |program| {
        let figure = program.figure(&arguments, false)?;
        let measured = |name: &str| figure.counted.get(name).is_some_and(|count| *count > 0);
        match options.loads.iter().map(|load| load.name).chain(["replace"]).find(|name| !measured(name)) {
            None => Ok(figure),
            Some(name) => Err(format!("{} measured nothing of {name}", program.side.name()).into()),
        }
    })?;
    let row = |name: &str, value: &str, unit, higher_is_better| Row {
        name: format!("{name} {value}"),
        unit,
        higher_is_better,
    };
    let mut rows = Vec::new();
    for Load { name, readers, .. } in &options.loads {
        rows.push(row(name, "writes", "1/s", true));
        if *readers > 0 {
            rows.push(row(name, "reads", "1/s", true));
        }
        rows.extend(["p50", "p99", "max"].map(|value| row(name, value, "us", false)));
    }
    rows.extend(["p50", "p99", "max"].map(|value| row("replace", value, "us", false)));
    Report { measure: "readers", variant: None, objects: options.objects, json: options.sides.json }
        .print(&rows, &taken)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Client {
        #[command(flatten)]
        cells: cells::Cells,
    }

    /// Goal: every load gives its rows, whatever is read; all written states are there.
    #[test]
    fn every_load_is_measured() -> Result<(), BoxError> {
        let loads = LOADS.iter().flat_map(|load| ["--load", load.name]);
        let client = Client::parse_from(["client", "--objects", "500", "--millis", "20"].into_iter().chain(loads));
        let figure = cells::measure::<crate::store::ours::Ours>(&client.cells)?;
        for load in LOADS {
            assert!(figure.rows.contains_key(&format!("{} p99", load.name)), "{figure:?}");
            assert_eq!(figure.rows.contains_key(&format!("{} reads", load.name)), load.readers > 0);
        }
        Ok(())
    }
}
