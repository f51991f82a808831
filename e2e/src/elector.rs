//! A process that stands in an election with client-go, and what it has said so far.
//!
//! In: the path of the program made by `elector/build`, from the environment. Out: its process and its terms.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::HarnessError;
use crate::error::binary_from_env;
use crate::folder::Folder;
use crate::process::Process;
use crate::replica::ElectionTimings;

/// Where the elector is.
pub const ELECTOR_BIN: &str = "WATCHKEEPER_ELECTOR_BIN";
/// Time between two acts of a leader.
const ACT_EVERY: &str = "20ms";

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happened {
    /// It leads; its work begins.
    StartedLeading,
    /// Its work goes on.
    Act,
    /// Its work has ended.
    StoppedActing,
    /// Its election has ended, whether it led or not.
    StoppedLeading,
    /// It has seen a holder that it didn't know of.
    NewLeader,
}

/// One line.
#[derive(Clone, Debug, Deserialize)]
pub struct Said {
    /// What.
    pub what: Happened,
    /// When, in nanoseconds since boot.
    pub boot_nanos: u64,
    /// Who leads, of a new leader.
    #[serde(default)]
    pub leader: String,
}

/// One process; its identity is its name.
#[derive(Debug)]
pub struct Elector {
    /// The process.
    pub process: Process,
    log: PathBuf,
}

impl Elector {
    /// Starts one called `identity`, on the Lease `lease` (namespace, name); it releases at a clean end.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(
        folder: &Folder,
        identity: &str,
        kubeconfig: PathBuf,
        (lease, timings): (&(String, String), ElectionTimings),
    ) -> Result<Self, HarnessError> {
        let mut command = Command::new(binary_from_env(ELECTOR_BIN, "elector with client-go")?);
        command.arg("--kubeconfig").arg(kubeconfig).args(["--identity", identity]);
        command.args(["--namespace", &lease.0, "--name", &lease.1, "--release-on-cancel", "--act-every", ACT_EVERY]);
        for (flag, time) in [
            ("--lease-duration", timings.lease),
            ("--renew-deadline", timings.renew_deadline),
            ("--retry-period", timings.retry),
        ] {
            command.arg(flag).arg(format!("{}ms", time.as_millis()));
        }
        let process = Process::start(folder, identity, command)?;
        Ok(Self { process, log: folder.join(format!("{identity}.log")) })
    }

    /// All that it has said. Lines of client-go's own log are passed over, and a last one without its end.
    ///
    /// # Errors
    /// Its log can't be read, or a line of its own can't be understood.
    pub fn said(&self) -> Result<Vec<Said>, HarnessError> {
        let what = || format!("reading {}", self.log.display());
        let text = std::fs::read_to_string(&self.log).map_err(HarnessError::io(what()))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| serde_json::from_str(line).map_err(HarnessError::request(what()))).collect()
    }

    /// When it began to lead, if it did.
    ///
    /// # Errors
    /// As [`Elector::said`].
    pub fn began(&self) -> Result<Option<u64>, HarnessError> {
        let said = self.said()?;
        Ok(said.iter().find(|said| said.what == Happened::StartedLeading).map(|said| said.boot_nanos))
    }
}
