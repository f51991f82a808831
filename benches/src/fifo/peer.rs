//! The peer: client-go's queues of deltas, measured by a Go program in `peers/client-go`.
//!
//! In: which queue, and a workload. Out: the peer's figure. The program runs once a figure.

use std::path::PathBuf;
use std::process::Stdio;

use watchkeeper::BoxError;

use super::{Figure, Workload};
use crate::client_go;

/// Whose figures ours are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theirs {
    /// Deltas kept by key.
    Delta,
    /// All deltas in order, popped in batches, as its informers have it by default.
    Real,
    /// The same, popped one by one.
    RealSingle,
}

impl Theirs {
    pub(super) const ALL: [Self; 3] = [Self::Delta, Self::Real, Self::RealSingle];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Delta => "delta-fifo",
            Self::Real => "real-fifo",
            Self::RealSingle => "real-fifo-single",
        }
    }
}

/// The peer's program.
pub(super) struct Peer {
    binary: PathBuf,
}

impl Peer {
    pub(super) fn build() -> Result<Self, BoxError> {
        Ok(Self { binary: client_go::build(client_go::FIFO)? })
    }

    /// Takes the peer's figure in a fresh process.
    pub(super) fn measure(&self, queue: Theirs, workload: Workload, n: usize) -> Result<Figure, BoxError> {
        let mut command = client_go::command(&self.binary);
        command.args(["--queue", queue.name()]);
        let sizes = [
            ("--keys", workload.keys),
            ("--pending", workload.pending),
            ("--updates", workload.updates),
            ("--turns", workload.turns(n)),
        ];
        for (flag, size) in sizes {
            command.args([flag, &size.to_string()]);
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("the peer's {} failed: {}", queue.name(), output.status).into());
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("the peer's figure of {} is unreadable: {error}", queue.name()).into())
    }
}
