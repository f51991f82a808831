//! The baselines: what the operations cost when somebody last looked.
//!
//! In: a folder. Out: the file of this machine's CPU model in it, read, compared or written. A file a model, since the
//! C library chooses its copying and comparing functions by the CPU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use watchkeeper::BoxError;

/// What one operation costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

/// By the operation's name.
pub(crate) type Counts = BTreeMap<String, Count>;

/// How a count compares with its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    Dearer,
    Cheaper,
}

impl Verdict {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Dearer => "DEARER",
            Self::Cheaper => "cheaper",
        }
    }
}

/// The baseline file of a CPU model, which needn't exist.
pub(crate) struct Baseline {
    model: String,
    path: PathBuf,
}

impl Baseline {
    pub(crate) fn of_this_machine(folder: &Path) -> Result<Self, BoxError> {
        let model = model(&std::fs::read_to_string("/proc/cpuinfo")?);
        let path = folder.join(file_name(&model));
        Ok(Self { model, path })
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// None: no such file.
    pub(crate) fn read(&self) -> Result<Option<Counts>, BoxError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", self.path.display()).into()),
        };
        let counts =
            serde_json::from_str(&text).map_err(|error| format!("{} is no baseline: {error}", self.path.display()))?;
        Ok(Some(counts))
    }

    pub(crate) fn write(&self, counts: &Counts) -> Result<(), BoxError> {
        std::fs::write(&self.path, text(counts)? + "\n")
            .map_err(|error| format!("cannot write {}: {error}", self.path.display()).into())
    }
}

/// The text of a baseline file: counts rounded to what can be compared.
pub(crate) fn text(counts: &Counts) -> Result<String, BoxError> {
    let rounded = |value: f64, digits: f64| (value * digits).round() / digits;
    let counts: Counts = counts
        .iter()
        .map(|(name, count)| {
            let instructions = rounded(count.instructions, 10.0);
            (name.clone(), Count { instructions, allocations: rounded(count.allocations, 10_000.0) })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&counts)?)
}

/// An allocation a hundred operations more or less is a table that grew earlier or later.
const FEW_ALLOCATIONS: f64 = 0.01;

/// Compares, with a margin as a share of the count before.
pub(crate) fn judge(before: &Count, now: &Count, margin: f64) -> Verdict {
    let slack = Count {
        instructions: before.instructions * margin,
        allocations: before.allocations * margin + FEW_ALLOCATIONS,
    };
    let pairs = [
        (before.instructions, now.instructions, slack.instructions),
        (before.allocations, now.allocations, slack.allocations),
    ];
    if pairs.iter().any(|(before, now, slack)| *now > before + slack) {
        Verdict::Dearer
    } else if pairs.iter().any(|(before, now, slack)| *now < before - slack) {
        Verdict::Cheaper
    } else {
        Verdict::Same
    }
}

/// The CPU's model, or where the kernel names none (as on ARM) the architecture.
fn model(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "model name")
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned())
}

/// Letters and digits of the model, and a dash for each run of anything else.
fn file_name(model: &str) -> String {
    let words: Vec<&str> = model.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase() + ".json"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_becomes_a_file_name() {
        let model = model("processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\nprocessor\t: 1\n");
        assert_eq!(file_name(&model), "intel-r-xeon-r-cpu-2-20ghz.json");
    }

    /// Goal: dearer in one count is dearer, whatever the other one says; the margin is on both sides.
    #[test]
    fn counts_within_the_margin_are_the_same() {
        let before = Count { instructions: 1000.0, allocations: 1.0 };
        let judged = |instructions, allocations| judge(&before, &Count { instructions, allocations }, 0.03);
        assert_eq!(judged(1029.0, 1.03), Verdict::Same);
        assert_eq!(judged(971.0, 0.97), Verdict::Same);
        assert_eq!(judged(1031.0, 0.5), Verdict::Dearer);
        assert_eq!(judged(500.0, 1.1), Verdict::Dearer);
        assert_eq!(judged(969.0, 1.0), Verdict::Cheaper);
    }
}
