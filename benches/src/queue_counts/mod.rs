//! Instructions and allocations of the work queue's operations: figures that are the same whatever else the machine
//! does, so that a change that makes one dearer is seen at once.
//!
//! In: a folder of baselines, a file a CPU model. Out: a line an operation on stdout; an error where one costs more
//! than its baseline by more than [`MARGIN`]. Where one costs as much less, the baseline should be written anew, which
//! is said, but is no error; nor is a CPU model without a baseline.
//!
//! This program runs itself under valgrind's callgrind, an [`Operation`] and a count of it a run. The difference
//! between a large and a small count, divided by the difference of the counts, is what one operation costs: the start
//! of the program and the making of the keys, which are as many in both runs, are not in it.

mod baseline;
mod callgrind;
mod operations;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use watchkeeper::BoxError;

use baseline::{Baseline, Counts, Verdict};
use callgrind::Run;
use operations::Operation;

/// What to do with the counts; without a flag they are only printed.
#[derive(Args)]
pub(crate) struct Options {
    /// Compares with this CPU model's baseline in the folder.
    #[arg(long, value_name = "FOLDER")]
    check: Option<PathBuf>,
    /// Writes this CPU model's baseline into the folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "check")]
    write: Option<PathBuf>,
}

/// A single run, the one under valgrind.
#[derive(Args)]
pub(crate) struct One {
    operation: Operation,
    #[arg(value_parser = crate::at_least_one)]
    count: usize,
}

/// How much dearer than its baseline an operation may be: compilers and the hash's random start vary by less.
const MARGIN: f64 = 0.03;

/// Counts every operation, then compares or writes.
pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    callgrind::find()?;
    if let Some(folder) = [&options.check, &options.write].into_iter().flatten().find(|folder| !folder.is_dir()) {
        return Err(format!("{} is not a folder", folder.display()).into());
    }
    let mut counts = Counts::new();
    for operation in Operation::value_variants() {
        let (few, many) = operations::COUNTS;
        let (small, large) = (Run::of(*operation, few)?, Run::of(*operation, many)?);
        counts.insert(operation.name(), large.each_beyond(&small, many - few));
    }
    if let Some(folder) = &options.check {
        return check(&Baseline::of_this_machine(folder)?, &counts);
    }
    print(&counts);
    if let Some(folder) = &options.write {
        let baseline = Baseline::of_this_machine(folder)?;
        baseline.write(&counts)?;
        println!("written to {}", baseline.path().display());
    }
    Ok(())
}

/// Runs an operation a number of times and prints how often it allocated.
pub(crate) fn run_one(one: &One) -> Result<(), BoxError> {
    match operations::run(one.operation, one.count)? {}
}

fn print(counts: &Counts) {
    println!("{:<14} {:>14} {:>14}", "", "instructions", "allocations");
    for (name, count) in counts {
        println!("{name:<14} {:>14.1} {:>14.4}", count.instructions, count.allocations);
    }
}

fn check(baseline: &Baseline, counts: &Counts) -> Result<(), BoxError> {
    let path = baseline.path().display();
    let Some(expected) = baseline.read()? else {
        print(counts);
        println!("\nnotice: no baseline for \"{}\". Nothing was compared. Commit this as {path}:", baseline.model());
        println!("{}", baseline::text(counts)?);
        return Ok(());
    };
    println!("compared with {path}; at most {:.0} % more is allowed\n", MARGIN * 100.0);
    println!("{:<14} {:>14} {:>10} {:>14} {:>10} verdict", "", "instructions", "before", "allocations", "before");
    let (mut dearer, mut cheaper) = (Vec::new(), false);
    for (name, now) in counts {
        let Some(before) = expected.get(name) else {
            return Err(format!("{path} has no operation {name}: write it anew with --write").into());
        };
        let verdict = baseline::judge(before, now, MARGIN);
        println!(
            "{name:<14} {:>14.1} {:>10.1} {:>14.4} {:>10.4} {}",
            now.instructions,
            before.instructions,
            now.allocations,
            before.allocations,
            verdict.text()
        );
        match verdict {
            Verdict::Dearer => dearer.push(name.as_str()),
            Verdict::Cheaper => cheaper = true,
            Verdict::Same => {}
        }
    }
    if cheaper {
        println!("\nnotice: something became cheaper; renew the baseline with --write, so that it stays so");
    }
    if dearer.is_empty() {
        return Ok(());
    }
    Err(format!("dearer than the baseline: {}. If that is meant, renew it with --write", dearer.join(", ")).into())
}
