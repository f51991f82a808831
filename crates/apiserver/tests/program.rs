//! Goal: the program says one line when it is ready, writes a kubeconfig, refuses what is dangerous or impossible in words,
//! and ends on a signal. Method: run it.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use kube_client::api::ListParams;
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use kube_client::{Api, Client, Config};
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_watchkeeper-apiserver");

/// Killed when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the program runs")
}

#[tokio::test]
async fn it_serves_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, audit) = (folder.path().join("config"), folder.path().join("audit"));
    let mut command = Command::new(PROGRAM);
    command.arg("--write-kubeconfig").arg(&config).arg("--audit-log").arg(&audit).args(["--seed", "1"]);
    let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts"));
    let mut stdout = BufReader::new(child.0.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert!(line.starts_with("watchkeeper-apiserver is ready on http://127.0.0.1:"), "{line}");
    assert_eq!(fs::metadata(&config).expect("written").permissions().mode() & 0o777, 0o600);

    let kubeconfig = Kubeconfig::read_from(&config).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let client = Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("usable"));
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::default_namespaced(client.expect("a client"));
    assert!(leases.list(&ListParams::default()).await.expect("listed").items.is_empty());
    leases.create(&kube_client::api::PostParams::default(), &named("a")).await.expect("created");
    let record: serde_json::Value =
        serde_json::from_str(fs::read_to_string(&audit).expect("written").trim()).expect("one JSON line");
    assert_eq!((record["identity"].as_str(), record["code"].as_u64()), (Some("admin"), Some(201)));

    let pid = Pid::from_raw(i32::try_from(child.0.id()).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::TERM).expect("signalled");
    assert!(child.0.wait().expect("ends").success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "", "exactly one line");
    let mut errors = String::new();
    child.0.stderr.take().expect("piped").read_to_string(&mut errors).expect("read");
    assert_eq!(errors, "", "quiet unless something is wrong");
}

fn named(name: &str) -> k8s_openapi::api::coordination::v1::Lease {
    let metadata = kube_client::core::ObjectMeta { name: Some(name.into()), ..Default::default() };
    k8s_openapi::api::coordination::v1::Lease { metadata, ..Default::default() }
}

#[test]
fn it_refuses_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("none").join("config");
    let nowhere = nowhere.to_str().expect("a path");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let rows: [(&[&str], i32, &str); 8] = [
        (&["--listen", "0.0.0.0:0"], 1, "--allow-non-loopback"),
        (&["--listen", "[::]:0"], 1, "is not a loopback address"),
        (&["--write-kubeconfig", nowhere], 1, "can't write the kubeconfig"),
        (&["--audit-log", nowhere], 1, "can't open the audit log"),
        (&["--event-log", nowhere], 1, "can't open the event log"),
        (&["--listen", &address], 1, "can't listen on 127.0.0.1"),
        (&["--listen", "somewhere"], 2, "invalid value 'somewhere'"),
        (&["--nonsense"], 2, "unexpected argument '--nonsense'"),
    ];
    for (arguments, code, text) in rows {
        let output = run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(text) && !errors.contains("panicked"), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "never ready");
    }
    assert!(fs::read_dir(folder.path()).expect("readable").next().is_none(), "nothing is left behind");
}
