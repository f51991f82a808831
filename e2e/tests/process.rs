//! Processes of the harness: signalled, and never left behind.
//!
//! Goal: whatever ends a test, its processes and its folder go with it. Method: real processes (`sleep`), and for the
//! end by SIGKILL this test program itself, started a second time.

#![allow(clippy::disallowed_methods, clippy::panic)]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::process::{Process, is_running};

/// Set for the second run of this program: the file in which it says what it has started.
const VICTIM: &str = "WATCHKEEPER_E2E_VICTIM";
const BOUND: Duration = Duration::from_secs(20);

fn sleep() -> Command {
    let mut command = Command::new("sleep");
    command.arg("1000");
    command
}

/// Waits for a condition; the bound is only for a broken machine.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.unwrap_or_else(|_| panic!("{what} not within {BOUND:?}"));
}

#[tokio::test]
async fn a_process_is_paused_resumed_stopped_and_killed() {
    let folder = Folder::new().expect("a folder");
    let mut process = Process::start(&folder, "sleep", sleep()).expect("starts");
    process.pause().await.expect("stops");
    process.resume().await.expect("goes on");
    let status = process.stop(BOUND).await.expect("ends");
    assert!(!status.success(), "ended by a signal");
    assert!(!is_running(process.pid()));

    let mut process = Process::start(&folder, "sleep", sleep()).expect("starts");
    process.pause().await.expect("stops");
    process.kill().await.expect("a paused process dies too");
    assert!(!is_running(process.pid()));
    process.kill().await.expect("killing it again is no error");
}

#[tokio::test]
async fn a_drop_leaves_no_process_and_no_folder() {
    let folder = Folder::new().expect("a folder");
    let path = folder.path().to_owned();
    let mut process = Process::start(&folder, "sleep", sleep()).expect("starts");
    process.pause().await.expect("stops");
    let pid = process.pid();
    drop(folder);
    assert!(path.exists(), "the process still logs into it");
    drop(process);
    assert!(!is_running(pid));
    assert!(!path.exists());
}

#[tokio::test]
async fn the_error_of_a_failed_start_shows_the_log() {
    let folder = Folder::new().expect("a folder");
    let mut command = Command::new("sh");
    command.args(["-c", "echo what went wrong; exit 3"]);
    let mut process = Process::start(&folder, "failing", command).expect("starts");
    assert_eq!(process.wait(BOUND, "ending").await.expect("ends").code(), Some(3));
    assert!(process.log_tail().contains("what went wrong"));
    let error = Process::start(&folder, "missing", Command::new("no-such-program")).expect_err("can't start");
    assert!(error.to_string().contains("no-such-program"), "{error}");
}

/// The second run: starts a process, says so, and hangs until it is killed. In the first run it does nothing.
#[tokio::test]
async fn victim() {
    let Some(report) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let folder = Folder::new().expect("a folder");
    let process = Process::start(&folder, "sleep", sleep()).expect("starts");
    let text = format!("{}\n{}\n", process.pid(), folder.path().display());
    std::fs::write(report.with_extension("partial"), text).expect("writes");
    std::fs::rename(report.with_extension("partial"), report).expect("renames");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_test_leaves_no_process_and_no_folder() {
    let folder = Folder::new().expect("a folder");
    let report = folder.join("report");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "victim", "--nocapture"]).env(VICTIM, &report);
    let mut victim = Process::start(&folder, "victim", command).expect("starts");
    eventually("the victim's report", || report.exists()).await;
    let text = std::fs::read_to_string(&report).expect("reads");
    let (pid, path) = text.trim().split_once('\n').expect("two lines");
    let (pid, path) = (pid.parse().expect("a number"), PathBuf::from(path));
    assert!(is_running(pid) && path.exists());
    victim.kill().await.expect("dies");
    eventually("the end of what the victim had started", || !is_running(pid) && !path.exists()).await;
}
