//! The activity trace of one process: what it says it did, when, in which term.
//!
//! In: JSON lines, as `lease-monitor --trace-file` writes them. Out: records. Never: skips a line it doesn't
//! understand, except a last one without its end, which is what a killed process leaves.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// The epoch of a term: the resource version of the write that won it. Compared as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u128);

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Epoch).map_err(|_| serde::de::Error::custom(format!("epoch {text:?} is not a decimal number")))
    }
}

/// One step of a process in a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The Lease is won; the gate is still closed.
    TermBegin,
    /// The gate has opened.
    GateOpen,
    /// The gate was asked; `passed` says what it answered.
    Gate,
    /// A write is about to be sent; the server may commit it until `bound_nanos`.
    WriteBegin,
    /// The write has been answered (`status`), or given up (0).
    WriteEnd,
    /// The gate has closed for good.
    GateClose,
    /// The term is over.
    TermEnd,
    /// A worker begins to reconcile `key`.
    WorkerStart,
    /// It has returned or was cancelled.
    WorkerEnd,
}

/// One record of the trace. Which of the optional fields are there depends on `what`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Activity {
    /// The step.
    pub what: What,
    /// The term it belongs to.
    pub epoch: Epoch,
    /// When, in nanoseconds since boot.
    pub boot_nanos: u64,
    /// The process.
    pub pid: u32,
    /// Its identity in the election.
    #[serde(default)]
    pub identity: String,
    /// The gate's answer.
    pub passed: Option<bool>,
    /// Number of the write within its process.
    pub request: Option<u64>,
    /// Its method.
    pub verb: Option<String>,
    /// Its path.
    pub path: Option<String>,
    /// The answer's HTTP status; 0 if there was none.
    pub status: Option<u16>,
    /// Latest time at which the server may still commit the write.
    pub bound_nanos: Option<u64>,
    /// Why the gate closed.
    pub reason: Option<String>,
    /// What the worker works on.
    pub key: Option<String>,
    /// The worker's number.
    pub worker: Option<u64>,
    /// The worker's controller.
    pub controller: Option<String>,
}

impl Activity {
    /// A record without optional fields.
    pub fn new(what: What, epoch: Epoch, boot_nanos: u64, pid: u32) -> Self {
        Self {
            what,
            epoch,
            boot_nanos,
            pid,
            identity: String::new(),
            passed: None,
            request: None,
            verb: None,
            path: None,
            status: None,
            bound_nanos: None,
            reason: None,
            key: None,
            worker: None,
            controller: None,
        }
    }
}

/// A line that can't be understood.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {source}")]
pub struct ReadError {
    /// Its number, from 1.
    pub line: usize,
    /// Why.
    pub source: serde_json::Error,
}

/// Reads a trace.
///
/// # Errors
/// The first line that is no record; a last one that has no line end is skipped instead.
pub fn read_trace(text: &str) -> Result<Vec<Activity>, ReadError> {
    read_lines(text)
}

/// One `T` a line; a last line without its end was cut by a kill.
pub(super) fn read_lines<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>, ReadError> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| serde_json::from_str(line).map_err(|source| ReadError { line: index + 1, source }))
        .collect()
}
