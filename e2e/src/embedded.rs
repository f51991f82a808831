//! The embedded API server as a program, behind the same few calls as the real control plane.
//!
//! In: the path of `watchkeeper-apiserver` from the environment. Out: a ready server, kubeconfigs, the log of writes.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kube_client::Client;

use crate::HarnessError;
use crate::error::binary_from_env;
use crate::exclusive::{WriteRecord, read_embedded_audit};
use crate::folder::Folder;
use crate::kubeconfig::{self, Access};
use crate::process::{POLL, Process};
use crate::proxy::Proxy;

/// Where `watchkeeper-apiserver` is.
pub const APISERVER_BIN: &str = "WATCHKEEPER_APISERVER_BIN";

const READY_BOUND: Duration = Duration::from_secs(20);
/// What its one line says when it is ready, before the address.
const READY: &str = "watchkeeper-apiserver is ready on ";

/// A running `watchkeeper-apiserver`. It keeps nothing on disk: a restart is an empty cluster.
#[derive(Debug)]
pub struct EmbeddedServer {
    /// The process.
    pub process: Process,
    address: String,
    audit_log: PathBuf,
    folder: Folder,
}

impl EmbeddedServer {
    /// Starts it on a port of its choice and waits for its line.
    ///
    /// # Errors
    /// It ends, or says nothing in time; the end of its log is in the error.
    pub async fn start(folder: &Folder) -> Result<Self, HarnessError> {
        let binary = binary_from_env(APISERVER_BIN, "embedded API server")?;
        let audit_log = folder.join("watchkeeper-apiserver-audit.jsonl");
        let mut command = Command::new(binary);
        command.args(["--listen", "127.0.0.1:0", "--write-kubeconfig"]).arg(folder.join("own.kubeconfig"));
        command.arg("--audit-log").arg(&audit_log);
        let mut process = Process::start(folder, "watchkeeper-apiserver", command)?;
        let waiting_for = "waiting for its ready line";
        let line = async {
            loop {
                if let Some(address) = ready_address(&process.log_tail()) {
                    return Ok(address);
                }
                if let Some(error) = process.ended_error(waiting_for) {
                    return Err(error);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let address = match tokio::time::timeout(READY_BOUND, line).await {
            Ok(address) => address?,
            Err(_) => return Err(process.too_slow(waiting_for, READY_BOUND)),
        };
        Ok(Self { process, address, audit_log, folder: folder.clone() })
    }

    /// A kubeconfig with which `user` reaches it. Every user may do everything.
    ///
    /// # Errors
    /// It can't be written.
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf, HarnessError> {
        let token = format!("token-{user}");
        Access { address: &self.address, authority: None, user, token: &token }.write(&self.folder, user)
    }

    /// A way to it that can be cut, and the kubeconfig with which `user` goes it.
    ///
    /// # Errors
    /// Its address has no port, none is free, or the file can't be written.
    pub async fn cuttable(&self, user: &str) -> Result<(Proxy, PathBuf), HarnessError> {
        let port = self.address.rsplit_once(':').and_then(|(_, port)| port.trim_end_matches('/').parse().ok());
        let port = port.ok_or_else(|| {
            HarnessError::io(format!("{} has no port", self.address))(std::io::ErrorKind::InvalidData.into())
        })?;
        let proxy = Proxy::start(port).await?;
        let (address, token) = (format!("http://127.0.0.1:{}", proxy.port()), format!("token-{user}"));
        let access = Access { address: &address, authority: None, user, token: &token };
        Ok((proxy, access.write(&self.folder, &format!("{user}-proxy"))?))
    }

    /// A client of `user`, without retries.
    ///
    /// # Errors
    /// Its kubeconfig can't be written.
    pub async fn client(&self, user: &str) -> Result<Client, HarnessError> {
        kubeconfig::client(&self.kubeconfig(user)?).await
    }

    /// All writes answered so far.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn writes(&self) -> Result<Vec<WriteRecord>, HarnessError> {
        let what = || format!("reading {}", self.audit_log.display());
        let text = std::fs::read_to_string(&self.audit_log).map_err(HarnessError::io(what()))?;
        read_embedded_audit(&text).map_err(HarnessError::request(what()))
    }
}

/// The address in the ready line, once the line is whole.
fn ready_address(log: &str) -> Option<String> {
    let (_, rest) = log.split_once(READY)?;
    let (address, _) = rest.split_once('\n')?;
    Some(address.trim().to_owned())
}
