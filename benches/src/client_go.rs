//! The peer client-go: the Go programs in `peers/client-go`.
//!
//! In: which program. Out: its binary, built when it changed, outside of the clone; and commands that run it with the
//! defaults of Go and of client-go whatever the environment says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use watchkeeper::BoxError;

/// The program that measures the work queue.
pub(crate) const QUEUE: &str = ".";
/// The program that measures the queues of deltas.
pub(crate) const FIFO: &str = "fifo";
/// The program that ingests.
pub(crate) const INGEST: &str = "ingest";
/// The program that measures the store, readers beside its writer, and the whole pipeline.
pub(crate) const STORE: &str = "store";

/// Builds a program, which needs Go; its progress goes to stderr.
pub(crate) fn build(program: &str) -> Result<PathBuf, BoxError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/client-go/build");
    let output = Command::new(&script)
        .arg(program)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", script.display(), output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().last().ok_or("the peer's build printed no path")?.into())
}

/// Runs a program that was built.
pub(crate) fn command(binary: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(binary);
    crate::withhold(&mut command, |name| {
        ["GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"].contains(&name) || name.starts_with("KUBE_FEATURE_")
    });
    command
}
