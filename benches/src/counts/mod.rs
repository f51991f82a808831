//! Counts that are the same whatever else the machine does, held to a baseline, so that a change that makes an operation
//! dearer is seen at once.
//!
//! In: what each operation costs, and a baseline. Out: a line an operation on stdout; an error where one costs more than its
//! baseline by more than [`MARGIN`]. Where one costs as much less, the baseline should be written anew, which is said, but is no
//! error; nor is a baseline that isn't there.

mod baseline;

use std::path::{Path, PathBuf};

use clap::Args;
use watchkeeper::BoxError;

use baseline::Verdict;
pub(crate) use baseline::{Baseline, Count, Counts, Figure};

/// What to do with the counts; without a flag they are only printed.
#[derive(Args)]
pub(crate) struct Options {
    /// Compares with the baseline in the folder.
    #[arg(long, value_name = "FOLDER")]
    check: Option<PathBuf>,
    /// Writes the baseline into the folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "check")]
    write: Option<PathBuf>,
}

/// How much dearer than its baseline an operation may be: compilers and the hash's random start vary by less.
const MARGIN: f64 = 0.03;
/// An allocation a hundred operations more or less is a table that grew earlier or later.
pub(crate) const FEW_ALLOCATIONS: f64 = 0.01;

impl Options {
    #[cfg(test)]
    pub(crate) fn checking(folder: &Path) -> Self {
        Self { check: Some(folder.to_owned()), write: None }
    }

    /// The folder of the baselines, if one is asked for. To be found out before anything is counted.
    fn folder(&self) -> Result<Option<&Path>, BoxError> {
        let folder = self.check.as_deref().or(self.write.as_deref());
        match folder {
            Some(folder) if !folder.is_dir() => Err(format!("{} is not a folder", folder.display()).into()),
            _ => Ok(folder),
        }
    }

    /// Counts, then compares or writes.
    pub(crate) fn run<C: Count>(
        &self,
        count: impl FnOnce() -> Result<Counts<C>, BoxError>,
        baseline: impl FnOnce(&Path) -> Result<Baseline, BoxError>,
    ) -> Result<(), BoxError> {
        let baseline = self.folder()?.map(baseline).transpose()?;
        let counts = count()?;
        match baseline {
            Some(baseline) if self.check.is_some() => check(&baseline, &counts),
            Some(baseline) => {
                print(&counts);
                baseline.write(&counts)?;
                println!("written to {}", baseline.path().display());
                Ok(())
            }
            None => {
                print(&counts);
                Ok(())
            }
        }
    }
}

fn print<C: Count>(counts: &Counts<C>) {
    for (number, (name, mut count)) in counts.clone().into_iter().enumerate() {
        let figures = count.figures();
        if number == 0 {
            println!("{:<WIDTH$}{}", "", figures.each_ref().map(|figure| format!(" {:>14}", figure.name)).concat());
        }
        println!("{name:<WIDTH$}{}", figures.each_ref().map(|figure| cell(figure, 14)).concat());
    }
}

/// Of the column of names.
const WIDTH: usize = 16;

fn cell(figure: &Figure<'_>, width: usize) -> String {
    let decimals = usize::try_from(figure.decimals).unwrap_or(0);
    format!(" {:>width$.decimals$}", figure.value)
}

fn check<C: Count>(baseline: &Baseline, counts: &Counts<C>) -> Result<(), BoxError> {
    let path = baseline.path().display();
    let Some(mut expected) = baseline.read::<C>()? else {
        print(counts);
        println!("\nnotice: no baseline for \"{}\". Nothing was compared. Commit this as {path}:", baseline.of());
        println!("{}", baseline::text(counts)?);
        return Ok(());
    };
    println!("compared with {path}; at most {:.0} % more is allowed\n", MARGIN * 100.0);
    let (mut dearer, mut cheaper) = (Vec::new(), false);
    for (number, (name, mut now)) in counts.clone().into_iter().enumerate() {
        let Some(mut before) = expected.remove(&name) else {
            return Err(format!("{path} has no operation {name}: write it anew with --write").into());
        };
        let verdict = baseline::judge(before, now, MARGIN);
        let (before, now) = (before.figures(), now.figures());
        if number == 0 {
            let heads = now.each_ref().map(|figure| format!(" {:>14} {:>10}", figure.name, "before"));
            println!("{:<WIDTH$}{} verdict", "", heads.concat());
        }
        let cells: String = now.iter().zip(&before).map(|(now, before)| cell(now, 14) + &cell(before, 10)).collect();
        println!("{name:<WIDTH$}{cells} {}", verdict.text());
        match verdict {
            Verdict::Dearer => dearer.push(name),
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
