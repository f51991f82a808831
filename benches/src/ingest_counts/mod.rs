//! Allocations of the informer's operations, and their bytes, held to a baseline: see [`crate::counts`].
//!
//! In: a folder of baselines. Out: what [`crate::counts`] says of it. The Pods are drawn from a fixed seed and all runs on one
//! thread, so the counts are the same on every machine. Freeing isn't counted.

mod operations;

use serde::{Deserialize, Serialize};
use watchkeeper::BoxError;

use self::operations::OPERATIONS;
use crate::counts::{self, Baseline, Counts, FEW_ALLOCATIONS, Figure, Options};
use crate::queue::ours::one_thread;

/// What one object costs. Growing a block counts as an allocation of what it has grown by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    allocations: f64,
    bytes: f64,
}

impl counts::Count for Count {
    fn figures(&mut self) -> [Figure<'_>; 2] {
        let Self { allocations, bytes } = self;
        [
            Figure { name: "allocations", value: allocations, decimals: 4, few: FEW_ALLOCATIONS },
            Figure { name: "bytes", value: bytes, decimals: 1, few: 0.0 },
        ]
    }
}

/// The small and the large count of objects; neither is close above a power of two, where tables grow.
const FEW: usize = 500;
const MANY: usize = 2000;

/// Counts every operation, then compares or writes.
pub(crate) fn run(options: &Options) -> Result<(), BoxError> {
    options.run(count, |folder| Ok(Baseline::of_all_machines(folder, "ingest")))
}

/// Of each operation what an object costs that the large count has more than the small one: what is done once for all isn't in it.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count() -> Result<Counts<Count>, BoxError> {
    let runtime = one_thread()?;
    let mut counts = Counts::new();
    for (name, operation) in OPERATIONS {
        let (few, many) = (runtime.block_on(operation(FEW))?, runtime.block_on(operation(MANY))?);
        let each = |few: usize, many: usize| many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
        let allocated = (few.allocations + few.reallocations, many.allocations + many.reallocations);
        let bytes = each(few.bytes_allocated, many.bytes_allocated);
        counts.insert(name.to_owned(), Count { allocations: each(allocated.0, allocated.1), bytes });
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the step can fail. Against a baseline that is 4 % lower, in allocations or in bytes, it does; within 3 % it doesn't.
    #[test]
    fn what_is_dearer_than_the_baseline_is_an_error() -> Result<(), BoxError> {
        let folder = tempfile::tempdir()?;
        let now = Count { allocations: 100.0, bytes: 20_000.0 };
        let checked = |share: Count| {
            let before = Count { allocations: now.allocations * share.allocations, bytes: now.bytes * share.bytes };
            let counts = |count| Counts::from([("typed".to_owned(), count)]);
            Baseline::of_all_machines(folder.path(), "ingest").write(&counts(before))?;
            let options = Options::checking(folder.path());
            options.run(|| Ok(counts(now)), |folder| Ok(Baseline::of_all_machines(folder, "ingest")))
        };
        checked(Count { allocations: 1.0, bytes: 1.0 })?;
        checked(Count { allocations: 0.98, bytes: 0.98 })?;
        checked(Count { allocations: 1.5, bytes: 1.5 })?;
        for (allocations, bytes) in [(0.96, 1.0), (1.0, 0.96), (1.5, 0.96)] {
            let error = checked(Count { allocations, bytes }).expect_err("it is dearer");
            assert!(error.to_string().contains("dearer than the baseline: typed"), "{error}");
        }
        Ok(())
    }
}
