//! Running this program under valgrind.
//!
//! In: an operation and its count. Out: the instructions that callgrind counted in the whole run, and the allocations
//! that the run itself counted in its operations.

use std::process::{Command, Output, Stdio};

use watchkeeper::BoxError;

use super::Count;
use super::operations::{Operation, Said};

/// One run's totals.
pub(crate) struct Run {
    instructions: u64,
    allocations: usize,
}

/// Fails where valgrind is missing.
pub(crate) fn find() -> Result<(), BoxError> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => Err("valgrind is missing or broken; install it (on Debian: apt-get install valgrind libc6-dbg)".into()),
    }
}

impl Run {
    pub(crate) fn of(operation: Operation, count: usize) -> Result<Self, BoxError> {
        let name = operation.name();
        // Its totals are on stderr, too, but the file can't be left out.
        let file = std::env::temp_dir().join(format!("callgrind-{name}-{count}-{}", std::process::id()));
        let output = Command::new("valgrind")
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(std::env::current_exe()?)
            .args(["queue-operation", &name, &count.to_string()])
            .output()?;
        let profile = std::fs::read_to_string(&file);
        _ = std::fs::remove_file(&file);
        let Output { status, stdout, stderr } = output;
        if !status.success() {
            let stderr = String::from_utf8_lossy(&stderr);
            return Err(format!("{count} times {name} under valgrind failed: {status}\n{stderr}").into());
        }
        let Said { allocations } = serde_json::from_slice(&stdout)?;
        let instructions = profile?
            .lines()
            .find_map(|line| line.strip_prefix("totals: "))
            .ok_or("callgrind wrote no totals")?
            .trim()
            .parse()?;
        Ok(Self { instructions, allocations })
    }

    /// What one of the `n` operations costs that this run made more than the `smaller` one.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(super) fn each_beyond(&self, smaller: &Self, n: usize) -> Count {
        Count {
            instructions: self.instructions.saturating_sub(smaller.instructions) as f64 / n as f64,
            allocations: self.allocations.saturating_sub(smaller.allocations) as f64 / n as f64,
        }
    }
}
