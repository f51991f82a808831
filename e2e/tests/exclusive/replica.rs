//! One replica under test: its process, restarted under the same user, and what it has traced so far.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::Command;

use watchkeeper_e2e::HarnessError;
use watchkeeper_e2e::error::binary_from_env;
use watchkeeper_e2e::exclusive::{Activity, Epoch, ProcessTrace, What, read_trace};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::process::Process;

/// Where `lease-monitor` is.
pub(crate) const LEASE_MONITOR_BIN: &str = "WATCHKEEPER_LEASE_MONITOR_BIN";

/// The trace of one process while it is being written.
pub(crate) struct LiveTrace {
    path: PathBuf,
    read: u64,
    trace: ProcessTrace,
}

impl LiveTrace {
    fn new(path: PathBuf, pid: u32, user: &str) -> Self {
        Self { path, read: 0, trace: ProcessTrace { pid, user: user.to_owned(), activities: Vec::new() } }
    }

    /// Reads what has been added, up to the last whole line.
    fn refresh(&mut self) {
        let Ok(mut file) = std::fs::File::open(&self.path) else { return };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read)).expect("seeks");
        file.read_to_string(&mut text).expect("reads");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let added = read_trace(&text[..whole]).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        assert!(
            added.iter().all(|record| record.pid == self.trace.pid),
            "{} has another's records",
            self.path.display()
        );
        self.trace.activities.extend(added);
        self.read += whole as u64;
    }
}

/// A user's processes, one after another.
pub(crate) struct Replica {
    pub(crate) user: String,
    pub(crate) process: Process,
    kubeconfig: PathBuf,
    folder: Folder,
    traces: Vec<LiveTrace>,
}

impl Replica {
    pub(crate) fn start(folder: &Folder, user: &str, kubeconfig: PathBuf) -> Result<Self, HarnessError> {
        let (process, trace) = start(folder, user, &kubeconfig, 0)?;
        Ok(Self { user: user.to_owned(), process, kubeconfig, folder: folder.clone(), traces: vec![trace] })
    }

    /// Starts the next process. The one before must have ended.
    pub(crate) fn start_again(&mut self) -> Result<(), HarnessError> {
        let (process, trace) = start(&self.folder, &self.user, &self.kubeconfig, self.traces.len())?;
        self.process = process;
        self.traces.push(trace);
        Ok(())
    }

    pub(crate) fn refresh(&mut self) {
        self.traces.iter_mut().for_each(LiveTrace::refresh);
    }

    /// The term whose gate opened last: when, which.
    pub(crate) fn newest_term(&self) -> Option<(u64, Epoch)> {
        let records = self.traces.iter().flat_map(|trace| &trace.trace.activities);
        let opened = records.filter(|record| record.what == What::GateOpen);
        opened.map(|record| (record.boot_nanos, record.epoch)).max()
    }

    /// Whether the running process has written with success under `epoch`.
    pub(crate) fn has_written(&self, epoch: Epoch) -> bool {
        let written = |record: &Activity| {
            record.what == What::WriteEnd
                && record.epoch == epoch
                && record.status.is_some_and(|status| (200..300).contains(&status))
        };
        self.traces.last().is_some_and(|trace| trace.trace.activities.iter().any(written))
    }

    pub(crate) fn traces(&self) -> impl Iterator<Item = ProcessTrace> + '_ {
        self.traces.iter().map(|trace| trace.trace.clone())
    }
}

fn start(
    folder: &Folder,
    user: &str,
    kubeconfig: &PathBuf,
    index: usize,
) -> Result<(Process, LiveTrace), HarnessError> {
    let name = format!("{user}-{index}");
    let path = folder.join(format!("{name}.trace"));
    let mut command = Command::new(binary_from_env(LEASE_MONITOR_BIN, "lease-monitor program")?);
    command.arg("run").arg("--kubeconfig").arg(kubeconfig).arg("--trace-file").arg(&path);
    command.args(["--identity", user, "--leader-elect-resource-namespace", "default", "--table-every", "60s"]);
    // See `timings` in main.rs: the same numbers, which the programs check again.
    command.args(["--leader-elect-lease-duration", "6s", "--leader-elect-renew-deadline", "3s"]);
    command.args(["--leader-elect-retry-period", "500ms", "--stop-bound", "1s", "--request-timeout", "1s"]);
    let process = Process::start(folder, &name, command)?;
    let trace = LiveTrace::new(path, process.pid(), user);
    Ok((process, trace))
}
