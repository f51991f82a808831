//! One child process: started in a group of its own, its output in a file, signalled, and certainly ended.
//!
//! In: a command and a folder. Out: a handle to pause, resume, stop and kill it. Never: outlives its handle, and if
//! the handle is dropped by a panic, the end of the log goes to stderr.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::HarnessError;
use crate::folder::Folder;

/// How often conditions are looked at while waiting. Every wait has a deadline of its own.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// A signal that can't be caught takes effect at once; more than this is a broken machine.
const SIGNAL_BOUND: Duration = Duration::from_secs(5);
/// How much of a log is shown.
const TAIL_BYTES: u64 = 6_000;

/// A running child process and all of its descendants that stay in its process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    folder: Folder,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output appended to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// The log can't be made, or the program can't be started.
    pub fn start(folder: &Folder, name: &str, mut command: Command) -> Result<Self, HarnessError> {
        let log = folder.join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log);
        let what = || format!("opening the log {}", log.display());
        let stdout = open().map_err(HarnessError::io(what()))?;
        let stderr = open().map_err(HarnessError::io(what()))?;
        let program = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(HarnessError::io(format!("starting {name} ({})", Path::new(&program).display())))?;
        if let Err(error) = folder.list(child.id()) {
            // Better none than one that nobody guards.
            let _ = child.kill();
            let _ = child.wait();
            return Err(HarnessError::io(format!("listing {name} for the guard"))(error));
        }
        Ok(Self { name: name.to_owned(), child, log, folder: folder.clone(), ended: None })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process number, which is its group's too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
            if self.ended.is_some() {
                self.folder.unlist(self.child.id());
            }
        }
        self.ended
    }

    /// Asks it to end (SIGTERM) and waits up to `bound`.
    ///
    /// # Errors
    /// It has not ended by then. It is killed when the handle is dropped.
    pub async fn stop(&mut self, bound: Duration) -> Result<ExitStatus, HarnessError> {
        self.signal(Signal::TERM)?;
        self.wait(bound, "stopping").await
    }

    /// Asks it to end (SIGTERM) without waiting.
    ///
    /// # Errors
    /// The signal can't be sent.
    pub fn terminate(&mut self) -> Result<(), HarnessError> {
        self.signal(Signal::TERM)
    }

    /// Ends it at once (SIGKILL), paused or not, and waits until it is gone.
    ///
    /// # Errors
    /// The signal can't be sent.
    pub async fn kill(&mut self) -> Result<ExitStatus, HarnessError> {
        self.signal(Signal::KILL)?;
        self.wait(SIGNAL_BOUND, "being killed").await
    }

    /// Freezes it (SIGSTOP); it has stopped when this returns.
    ///
    /// # Errors
    /// It has ended, or doesn't stop.
    pub async fn pause(&mut self) -> Result<(), HarnessError> {
        self.signal(Signal::STOP)?;
        self.wait_for_state("being paused", |state| state == 'T').await
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It has ended, or doesn't go on.
    pub async fn resume(&mut self) -> Result<(), HarnessError> {
        self.signal(Signal::CONT)?;
        self.wait_for_state("being resumed", |state| state != 'T').await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It has not by `bound`.
    pub async fn wait(&mut self, bound: Duration, waiting_for: &str) -> Result<ExitStatus, HarnessError> {
        let ended = async {
            loop {
                if let Some(status) = self.ended() {
                    return status;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(bound, ended).await {
            Ok(status) => Ok(status),
            Err(_) => Err(self.too_slow(waiting_for, bound)),
        }
    }

    /// The last lines of its output.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// The error of a process that has ended while something was waited for; `None` while it runs.
    pub(crate) fn ended_error(&mut self, waiting_for: &str) -> Option<HarnessError> {
        let status = self.ended()?;
        Some(HarnessError::Ended {
            name: self.name.clone(),
            status: status.to_string(),
            waiting_for: waiting_for.to_owned(),
            log: self.log_tail(),
        })
    }

    pub(crate) fn too_slow(&self, waiting_for: &str, bound: Duration) -> HarnessError {
        let (name, log) = (self.name.clone(), self.log_tail());
        HarnessError::TooSlow { name, waiting_for: waiting_for.to_owned(), bound, log }
    }

    async fn wait_for_state(&mut self, waiting_for: &str, wanted: impl Fn(char) -> bool) -> Result<(), HarnessError> {
        let reached = async {
            while !state(self.pid()).is_some_and(&wanted) {
                if let Some(error) = self.ended_error(waiting_for) {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        match tokio::time::timeout(SIGNAL_BOUND, reached).await {
            Ok(result) => result,
            Err(_) => Err(self.too_slow(waiting_for, SIGNAL_BOUND)),
        }
    }

    /// To the whole group. Once it has been reaped nothing is sent: the number may be another's.
    fn signal(&mut self, signal: Signal) -> Result<(), HarnessError> {
        if self.ended().is_some() {
            return Ok(());
        }
        let group = Pid::from_child(&self.child);
        kill_process_group(group, signal)
            .map_err(|error| HarnessError::io(format!("signalling {}", self.name))(error.into()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the log of {} ---\n{}", self.name, self.log_tail());
        }
        if self.ended().is_none() {
            let _ = self.signal(Signal::KILL);
            let _ = self.child.wait();
            self.folder.unlist(self.child.id());
        }
    }
}

/// Whether a process of this number exists, zombies aside.
pub fn is_running(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The state letter in `/proc/PID/stat`: the first one after the program's name, which is in parentheses.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
