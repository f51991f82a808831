//! The peer: client-go's typed queue, measured by a Go program in `peers/client-go`.
//!
//! In: a subject and its size. Out: the peer's figure. The program is built when it changed, outside of the clone; it
//! runs once a figure, with Go's own defaults for threads and memory whatever the environment says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use watchkeeper::BoxError;

use super::Size;
use super::measures::{Figure, Subject};
use super::wake;

/// The peer's program.
pub(crate) struct Peer {
    binary: PathBuf,
}

impl Peer {
    /// Builds the program; its progress goes to stderr.
    pub(crate) fn build() -> Result<Self, BoxError> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/client-go/build");
        let output = Command::new(&script)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
        if !output.status.success() {
            return Err(format!("{} failed: {}", script.display(), output.status).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let binary = text.lines().last().ok_or("the peer's build printed no path")?;
        Ok(Self { binary: binary.into() })
    }

    /// Takes the peer's figure in a fresh process.
    pub(crate) fn measure(&self, subject: Subject, size: Size) -> Result<Figure, BoxError> {
        let mut command = Command::new(&self.binary);
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
        for variable in ["GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"] {
            command.env_remove(variable);
        }
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
