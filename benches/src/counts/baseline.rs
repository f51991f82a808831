//! The baselines: what the operations cost when somebody last looked.
//!
//! In: a folder. Out: a file in it, read, compared or written: that of this machine's CPU model where counts depend on it, since
//! the C library chooses its copying and comparing functions by the CPU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use watchkeeper::BoxError;

/// What one operation costs.
pub(crate) trait Count: Copy + Serialize + DeserializeOwned {
    /// Each of its figures.
    fn figures(&mut self) -> [Figure<'_>; 2];
}

/// One figure of a count.
pub(crate) struct Figure<'a> {
    pub(crate) name: &'static str,
    pub(crate) value: &'a mut f64,
    /// Decimals that can be compared.
    pub(crate) decimals: i32,
    /// So much more or less is no difference, beside the margin.
    pub(crate) few: f64,
}

/// By the operation's name.
pub(crate) type Counts<C> = BTreeMap<String, C>;

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

/// A baseline file, which needn't exist.
pub(crate) struct Baseline {
    /// Of what.
    of: String,
    path: PathBuf,
}

impl Baseline {
    pub(crate) fn of_this_machine(folder: &Path) -> Result<Self, BoxError> {
        let model = model(&std::fs::read_to_string("/proc/cpuinfo")?);
        let path = folder.join(file_name(&model));
        Ok(Self { of: model, path })
    }

    /// One that is the same on every machine.
    pub(crate) fn of_all_machines(folder: &Path, of: &str) -> Self {
        Self { of: of.to_owned(), path: folder.join(file_name(of)) }
    }

    pub(crate) fn of(&self) -> &str {
        &self.of
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// None: no such file.
    pub(crate) fn read<C: Count>(&self) -> Result<Option<Counts<C>>, BoxError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", self.path.display()).into()),
        };
        let counts =
            serde_json::from_str(&text).map_err(|error| format!("{} is no baseline: {error}", self.path.display()))?;
        Ok(Some(counts))
    }

    pub(crate) fn write<C: Count>(&self, counts: &Counts<C>) -> Result<(), BoxError> {
        std::fs::write(&self.path, text(counts)? + "\n")
            .map_err(|error| format!("cannot write {}: {error}", self.path.display()).into())
    }
}

/// The text of a baseline file: counts rounded to what can be compared.
pub(crate) fn text<C: Count>(counts: &Counts<C>) -> Result<String, BoxError> {
    let mut counts = counts.clone();
    for figure in counts.values_mut().flat_map(Count::figures) {
        let unit = 10_f64.powi(figure.decimals);
        *figure.value = (*figure.value * unit).round() / unit;
    }
    Ok(serde_json::to_string_pretty(&counts)?)
}

/// Compares, with a margin as a share of the count before.
pub(crate) fn judge<C: Count>(mut before: C, mut now: C, margin: f64) -> Verdict {
    let (before, now) = (before.figures(), now.figures());
    let pairs = before.iter().zip(&now).map(|(before, now)| (*before.value, *now.value, before.few));
    let is_off = |off: fn(f64, f64) -> bool| {
        pairs.clone().any(|(before, now, few)| {
            let slack = before * margin + few;
            off(now - before, slack)
        })
    };
    if is_off(|more, slack| more > slack) {
        Verdict::Dearer
    } else if is_off(|more, slack| -more > slack) {
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

    #[derive(Clone, Copy, Serialize, serde::Deserialize)]
    struct Pair {
        instructions: f64,
        allocations: f64,
    }

    impl Count for Pair {
        fn figures(&mut self) -> [Figure<'_>; 2] {
            [
                Figure { name: "instructions", value: &mut self.instructions, decimals: 1, few: 0.0 },
                Figure { name: "allocations", value: &mut self.allocations, decimals: 4, few: 0.01 },
            ]
        }
    }

    /// Goal: dearer in one count is dearer, whatever the other one says; the margin is on both sides.
    #[test]
    fn counts_within_the_margin_are_the_same() {
        let before = Pair { instructions: 1000.0, allocations: 1.0 };
        let judged = |instructions, allocations| judge(before, Pair { instructions, allocations }, 0.03);
        assert_eq!(judged(1029.0, 1.03), Verdict::Same);
        assert_eq!(judged(971.0, 0.97), Verdict::Same);
        assert_eq!(judged(1031.0, 0.5), Verdict::Dearer);
        assert_eq!(judged(500.0, 1.1), Verdict::Dearer);
        assert_eq!(judged(969.0, 1.0), Verdict::Cheaper);
    }

    #[test]
    fn a_baseline_is_rounded_to_what_can_be_compared() -> Result<(), BoxError> {
        let counts = Counts::from([("add".to_owned(), Pair { instructions: 12.345_67, allocations: 0.123_456 })]);
        let read: Counts<Pair> = serde_json::from_str(&text(&counts)?)?;
        assert_eq!(read.get("add").map(|count| (count.instructions, count.allocations)), Some((12.3, 0.1235)));
        Ok(())
    }
}
