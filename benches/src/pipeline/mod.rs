//! The whole way of an object in one process, ours and client-go's: a decoded event, the queue of deltas, the store with three
//! indexes, a handler, the work queue, a worker that takes the key, looks the object up and is done.
//!
//! In: how many objects and updates. Out: events a second, and CPU time of the whole process an event (the collector of Go
//! included), of the initial list and of the updates; medians of the rounds, and how many times better ours is; with `--json`
//! one JSON object a line. Each figure is taken in a process of its own, the sides in turn. client-go has a shared informer over a
//! watch that is handed the objects, with its default queue (RealFIFO, in batches) and a handler; ours has one of the variants
//! of [`stages`]; both four workers and their default numbers of threads.
//!
//! An object changes again only after all others have, so that what is put together on the way is the same on both sides:
//! `absorbed` says how many adds met a key in the work queue, `coalesced` how many events never got there. Everything that
//! wasn't coalesced must have been told, and each object have been seen by a worker in its last state.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches -- pipeline --json
//! ```

pub(crate) mod stages;

use clap::{Args, ValueEnum as _};
use watchkeeper::BoxError;

use self::stages::Variant;
use crate::store::report::{Report, Row};
use crate::store::side::{Program, Side, Which, in_turn};
use crate::store::{objects, ours, round};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How many objects, which are listed first.
    #[arg(long, default_value_t = 100_000, value_parser = crate::at_least_one)]
    objects: usize,
    /// How many updates come then.
    #[arg(long, default_value_t = 300_000, value_parser = crate::at_least_one)]
    updates: usize,
    /// How many workers.
    #[arg(long, default_value_t = 4, value_parser = crate::at_least_one)]
    workers: usize,
    /// How our work queue hears of events.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["source", "mailbox", "coalescing"])]
    variants: Vec<Variant>,
    /// How often each side is measured; the median counts.
    #[arg(long, default_value_t = 5, value_parser = crate::at_least_one)]
    rounds: usize,
    /// Prints a JSON object a line instead of text.
    #[arg(long)]
    json: bool,
}

const ROWS: [(&str, &str, bool); 8] = [
    ("initial events", "1/s", true),
    ("initial cpu", "ns", false),
    ("initial absorbed", "adds", false),
    ("initial coalesced", "events", false),
    ("update events", "1/s", true),
    ("update cpu", "ns", false),
    ("update absorbed", "adds", false),
    ("update coalesced", "events", false),
];

/// Takes all figures, and prints a table a variant.
pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    let programs = Program::build_all(&[Which::ClientGo])?;
    let (n, updates) = (options.objects as u64, options.updates as u64);
    let expected =
        [("initial told", n), ("initial seen", n), ("update told", updates), ("update seen", updates.min(n))];
    for variant in &options.variants {
        let name = variant.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let taken = in_turn(&programs, options.rounds, |program| {
            let mut arguments = vec!["pipeline".to_owned()];
            let sizes =
                [("--objects", options.objects), ("--updates", options.updates), ("--workers", options.workers)];
            sizes.iter().for_each(|(flag, size)| arguments.extend([(*flag).to_owned(), size.to_string()]));
            if program.side == Side::Ours {
                arguments.extend(["--variant".to_owned(), name.clone()]);
            }
            let figure = program.figure(&arguments, false)?;
            figure.check(&expected).map_err(|error| format!("{}: {error}", program.side.name()))?;
            Ok(figure)
        })?;
        let row = |(row, unit, higher_is_better): (&str, _, _)| Row { name: row.into(), unit, higher_is_better };
        if !options.json {
            println!("\nours by {name}");
        }
        Report { measure: "pipeline", objects: options.objects, json: options.json, variant: Some(&name) }
            .print(&ROWS.map(row), &taken)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: whatever the variant, each event is told or counted as left out, and each object is seen as it is in the end.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_event_is_accounted_for() -> Result<(), BoxError> {
        for variant in Variant::value_variants() {
            let options = stages::Pipeline { objects: 300, updates: 1_000, workers: 2, variant: *variant };
            let figure = stages::measure(options).await?;
            figure.check(&[
                ("initial told", 300),
                ("initial seen", 300),
                ("update told", 1_000),
                ("update seen", 300),
            ])?;
            assert!(ROWS.iter().all(|(row, ..)| figure.rows.contains_key(*row)), "{figure:?}");
        }
        Ok(())
    }
}
