//! The peer: client-go's typed queue, measured by a Go program in `peers/client-go`.
//!
//! In: a subject and its size. Out: the peer's figure. The program runs once a figure.

use std::path::PathBuf;
use std::process::Stdio;

use watchkeeper::BoxError;

use super::Size;
use super::measures::{Figure, Subject};
use super::wake;
use crate::client_go;

/// The peer's program.
pub(crate) struct Peer {
    binary: PathBuf,
}

impl Peer {
    /// Builds the program.
    pub(crate) fn build() -> Result<Self, BoxError> {
        Ok(Self { binary: client_go::build(client_go::QUEUE)? })
    }

    /// Takes the peer's figure in a fresh process.
    pub(crate) fn measure(&self, subject: Subject, size: Size) -> Result<Figure, BoxError> {
        let mut command = client_go::command(&self.binary);
        command.arg(operation(subject));
        command.args(["--keys", &size.keys.to_string(), "--n", &size.n.to_string()]);
        let consumers = match subject {
            Subject::Adds { producers, consumers } => {
                command.args(["--producers", &producers.to_string()]);
                consumers
            }
            _ => wake::CONSUMERS,
        };
        command.args(["--consumers", &consumers.to_string()]);
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("the peer failed at {subject:?}: {}", output.status).into());
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("the peer's figure of {subject:?} is unreadable: {error}").into())
    }
}

/// The peer's name for a subject.
fn operation(subject: Subject) -> &'static str {
    match subject {
        Subject::Cycle | Subject::CyclePlainKey => "cycle",
        Subject::DuplicateAdd => "duplicate-add",
        Subject::Limiter => "limiter",
        Subject::Adds { .. } => "adds",
        Subject::Wake => "wake",
        Subject::DelayInsert => "delay-insert",
        Subject::DelayBytes => "delay-bytes",
    }
}
