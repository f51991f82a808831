//! One `lease-monitor` under test: its processes, one after another as the same user, and what they have traced so far.
//!
//! In: the path of `lease-monitor` from the environment, who it is, which Lease it stands for. Out: its process and its terms.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::HarnessError;
use crate::error::binary_from_env;
use crate::exclusive::{Activity, Epoch, ProcessTrace, What, read_trace};
use crate::folder::Folder;
use crate::process::Process;
use crate::wallclock::WallClock;

/// Where `lease-monitor` is.
pub const LEASE_MONITOR_BIN: &str = "WATCHKEEPER_LEASE_MONITOR_BIN";

/// The numbers of the election, as the program's flags take them; the program checks that they fit together.
#[derive(Clone, Copy, Debug)]
pub struct ElectionTimings {
    /// L.
    pub lease: Duration,
    /// D.
    pub renew_deadline: Duration,
    /// R.
    pub retry: Duration,
    /// J; client-go has no such bound.
    pub stop_bound: Duration,
    /// T; client-go's is half of D.
    pub request_timeout: Duration,
}

/// Who stands for what.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// Who the server takes it for, and the readable part of its identity.
    pub user: String,
    /// How it reaches the server.
    pub kubeconfig: PathBuf,
    /// Namespace and name of the Lease.
    pub lease: (String, String),
    /// The numbers.
    pub timings: ElectionTimings,
    /// A wall clock that may be wrong.
    pub wall_clock: Option<WallClock>,
}

/// The trace of one process while it is being written.
#[derive(Debug)]
struct LiveTrace {
    path: PathBuf,
    read: u64,
    trace: ProcessTrace,
}

impl LiveTrace {
    /// Reads what has been added, up to the last whole line.
    fn refresh(&mut self) -> Result<(), HarnessError> {
        let what = || format!("reading {}", self.path.display());
        let Ok(mut file) = std::fs::File::open(&self.path) else { return Ok(()) };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read))
            .and_then(|_| file.read_to_string(&mut text))
            .map_err(HarnessError::io(what()))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.trace.activities.extend(read_trace(&text[..whole]).map_err(HarnessError::request(what()))?);
        self.read += whole as u64;
        Ok(())
    }
}

/// A user's processes, one after another.
#[derive(Debug)]
pub struct Replica {
    /// The newest process.
    pub process: Process,
    config: ReplicaConfig,
    folder: Folder,
    traces: Vec<LiveTrace>,
}

impl Replica {
    /// Starts the first process.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(folder: &Folder, config: ReplicaConfig) -> Result<Self, HarnessError> {
        let (process, trace) = start(folder, &config, 0)?;
        Ok(Self { process, config, folder: folder.clone(), traces: vec![trace] })
    }

    /// Starts the next process. The one before must have ended.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start_again(&mut self) -> Result<(), HarnessError> {
        let (process, trace) = start(&self.folder, &self.config, self.traces.len())?;
        self.process = process;
        self.traces.push(trace);
        Ok(())
    }

    /// Who it is.
    pub fn user(&self) -> &str {
        &self.config.user
    }

    /// Its wall clock, if it has one of its own.
    pub fn wall_clock(&self) -> Option<&WallClock> {
        self.config.wall_clock.as_ref()
    }

    /// Reads what has been traced since.
    ///
    /// # Errors
    /// A trace can't be read.
    pub fn refresh(&mut self) -> Result<(), HarnessError> {
        self.traces.iter_mut().try_for_each(LiveTrace::refresh)
    }

    /// The term whose gate opened last: when, which.
    pub fn newest_term(&self) -> Option<(u64, Epoch)> {
        let records = self.traces.iter().flat_map(|trace| &trace.trace.activities);
        let opened = records.filter(|record| record.what == What::GateOpen);
        opened.map(|record| (record.boot_nanos, record.epoch)).max()
    }

    /// Whether the running process has written with success under `epoch`.
    pub fn has_written(&self, epoch: Epoch) -> bool {
        let written = |record: &Activity| {
            record.what == What::WriteEnd
                && record.epoch == epoch
                && record.status.is_some_and(|status| (200..300).contains(&status))
        };
        self.traces.last().is_some_and(|trace| trace.trace.activities.iter().any(written))
    }

    /// All that was traced, a trace a process.
    pub fn traces(&self) -> impl Iterator<Item = ProcessTrace> + '_ {
        self.traces.iter().map(|trace| trace.trace.clone())
    }
}

fn start(folder: &Folder, config: &ReplicaConfig, index: usize) -> Result<(Process, LiveTrace), HarnessError> {
    let ReplicaConfig { user, kubeconfig, lease: (namespace, name), timings, wall_clock } = config;
    let process = format!("{user}-{index}");
    let path = folder.join(format!("{process}.trace"));
    let mut command = Command::new(binary_from_env(LEASE_MONITOR_BIN, "lease-monitor program")?);
    command.arg("run").arg("--kubeconfig").arg(kubeconfig).arg("--trace-file").arg(&path);
    command.args(["--identity", user, "--table-every", "60s"]);
    command.args(["--leader-elect-resource-namespace", namespace, "--leader-elect-resource-name", name]);
    for (flag, time) in [
        ("--leader-elect-lease-duration", timings.lease),
        ("--leader-elect-renew-deadline", timings.renew_deadline),
        ("--leader-elect-retry-period", timings.retry),
        ("--stop-bound", timings.stop_bound),
        ("--request-timeout", timings.request_timeout),
    ] {
        command.arg(flag).arg(format!("{}ms", time.as_millis()));
    }
    if let Some(clock) = wall_clock {
        clock.give_to(&mut command);
    }
    let process = Process::start(folder, &process, command)?;
    let trace = ProcessTrace { pid: process.pid(), user: user.clone(), activities: Vec::new() };
    Ok((process, LiveTrace { path, read: 0, trace }))
}
