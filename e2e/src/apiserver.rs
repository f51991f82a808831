//! One kube-apiserver process on a fixed port of loopback, which can be stopped, paused and started again.
//!
//! In: the etcd it stores in, the shared files of the control plane. Out: a ready server.
//! Never: starts without RBAC, or writes an audit line later than its answer (blocking mode).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::HarnessError;
use crate::folder::Folder;
use crate::kubeconfig::{self, Access};
use crate::port::{PORT_TRIES, free_port, lost_port};
use crate::process::{POLL, Process};

/// From start to ready: 2.3 s alone on two cores, much more beside a build.
const READY_BOUND: Duration = Duration::from_secs(120);
/// Bound on one readiness request: a paused etcd makes them hang.
const PROBE_BOUND: Duration = Duration::from_secs(2);
/// A clean stop drains connections.
const STOP_BOUND: Duration = Duration::from_secs(60);

/// What all API servers of one control plane share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) binary: PathBuf,
    pub(crate) folder: Folder,
    pub(crate) etcd: String,
    pub(crate) admin_token: String,
    pub(crate) extra_flags: Vec<String>,
}

/// A kube-apiserver.
#[derive(Debug)]
pub struct ApiServer {
    /// The process: pause, resume and kill it through this.
    pub process: Process,
    name: String,
    port: u16,
    shared: Shared,
}

impl ApiServer {
    /// Starts number `index` on a free port and waits until it is ready.
    pub(crate) async fn start(shared: Shared, index: usize) -> Result<Self, HarnessError> {
        let name = format!("kube-apiserver-{index}");
        let mut tries = 1;
        loop {
            let port = free_port()?;
            let process = Process::start(&shared.folder, &name, command(&shared, &name, port))?;
            let mut server = Self { process, name: name.clone(), port, shared: shared.clone() };
            match server.ready().await {
                Ok(()) => return Ok(server),
                Err(HarnessError::Ended { log, .. }) if lost_port(&log) && tries < PORT_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Where clients reach it.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops it cleanly (SIGTERM) and waits until it is gone. Clients see their watches end.
    ///
    /// # Errors
    /// It has not ended after a minute.
    pub async fn stop(&mut self) -> Result<(), HarnessError> {
        self.process.stop(STOP_BOUND).await.map(|_| ())
    }

    /// Starts it again after a stop or kill, on the same port and etcd, and waits until it is ready. If it still runs
    /// it is killed first.
    ///
    /// # Errors
    /// It doesn't become ready; the end of its log is in the error.
    pub async fn start_again(&mut self) -> Result<(), HarnessError> {
        self.process.kill().await?;
        self.process = Process::start(&self.shared.folder, &self.name, command(&self.shared, &self.name, self.port))?;
        self.ready().await
    }

    /// The audit log: one JSON object a line for each finished write to Leases, Events and ConfigMaps.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(&self.shared, &self.name)
    }

    /// The certificate that its own certificate is signed with, in this file; made by the first server.
    pub(crate) fn authority(&self) -> PathBuf {
        self.shared.folder.join("certs/apiserver.crt")
    }

    /// Ready: /readyz says so, and the namespace `default`, which a start hook makes, exists.
    async fn ready(&mut self) -> Result<(), HarnessError> {
        let waiting_for = "waiting for /readyz and the namespace default";
        let mut last_answer = String::new();
        let ready = async {
            loop {
                match tokio::time::timeout(PROBE_BOUND, self.probe()).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) => last_answer = error.to_string(),
                    Err(_) => last_answer = format!("no answer within {PROBE_BOUND:?}"),
                }
                if let Some(error) = self.process.ended_error(waiting_for) {
                    return Err(error);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let result = tokio::time::timeout(READY_BOUND, ready).await;
        result.unwrap_or_else(|_| {
            Err(self.process.too_slow(&format!("{waiting_for} (last answer: {last_answer})"), READY_BOUND))
        })
    }

    async fn probe(&self) -> Result<(), HarnessError> {
        let authority = self.authority();
        if !authority.exists() {
            return Err(HarnessError::io("waiting for its certificate")(std::io::ErrorKind::NotFound.into()));
        }
        let (address, token) = (self.address(), &self.shared.admin_token);
        let access = Access { address: &address, authority: Some(&authority), user: "probe", token };
        let client = kubeconfig::client(&access.write(&self.shared.folder, &format!("{}-probe", self.name))?).await?;
        kubeconfig::read_text(&client, "/readyz").await?;
        kubeconfig::read(&client, "/api/v1/namespaces/default").await.map(|_| ())
    }
}

fn audit_log(shared: &Shared, name: &str) -> PathBuf {
    shared.folder.join(format!("{name}-audit.jsonl"))
}

fn command(shared: &Shared, name: &str, port: u16) -> Command {
    let file = |name: &str| shared.folder.join(name).display().to_string();
    let certs = file("certs");
    // The server makes its certificate and key itself, before it reads the keys for service accounts; the same key
    // serves both, so that nothing here needs a tool that makes keys.
    let key = file("certs/apiserver.key");
    let flags = [
        ("etcd-servers", shared.etcd.clone()),
        ("bind-address", "127.0.0.1".into()),
        // Else it looks for an interface with a default route.
        ("advertise-address", "127.0.0.1".into()),
        ("secure-port", port.to_string()),
        ("cert-dir", certs),
        ("token-auth-file", file("tokens.csv")),
        ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ("service-account-key-file", key.clone()),
        ("service-account-signing-key-file", key),
        ("service-cluster-ip-range", "10.0.0.0/24".into()),
        ("authorization-mode", "RBAC".into()),
        // Pods would need service accounts that only the controller manager makes.
        ("disable-admission-plugins", "ServiceAccount".into()),
        ("endpoint-reconciler-type", "none".into()),
        ("allow-privileged", "true".into()),
        ("profiling", "false".into()),
        ("audit-policy-file", file("audit-policy.json")),
        ("audit-log-path", audit_log(shared, name).display().to_string()),
        // The line is written before the answer is finished, so a killed server loses none that it has answered.
        ("audit-log-mode", "blocking".into()),
        // In MB; 0 would mean 100, and a rotated log would be read in part.
        ("audit-log-maxsize", "100000".into()),
        ("v", "1".into()),
    ];
    let mut command = Command::new(&shared.binary);
    command.arg("kube-apiserver");
    command.args(flags.iter().map(|(flag, value)| format!("--{flag}={value}"))).args(&shared.extra_flags);
    command
}
