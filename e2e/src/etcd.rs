//! One etcd member on loopback, its data in the folder of the test.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::HarnessError;
use crate::folder::Folder;
use crate::port::{PORT_TRIES, free_port, lost_port};
use crate::process::{POLL, Process};

/// From start to healthy: under a second alone, more beside a build.
const READY_BOUND: Duration = Duration::from_secs(60);
const PROBE_BOUND: Duration = Duration::from_secs(1);

/// A running etcd. Pause it to make the API server's requests hang; kill and restart it, and the data is still there.
#[derive(Debug)]
pub struct Etcd {
    /// The process.
    pub process: Process,
    binary: PathBuf,
    folder: Folder,
    port: u16,
}

impl Etcd {
    /// Starts one and waits until it is healthy.
    ///
    /// # Errors
    /// It doesn't become healthy; the end of its log is in the error.
    pub async fn start(folder: &Folder, binary: PathBuf) -> Result<Self, HarnessError> {
        let mut tries = 1;
        loop {
            let port = free_port()?;
            let process = Process::start(folder, "etcd", command(&binary, folder, port))?;
            let mut etcd = Self { process, binary: binary.clone(), folder: folder.clone(), port };
            match etcd.ready().await {
                Ok(()) => return Ok(etcd),
                Err(HarnessError::Ended { log, .. }) if lost_port(&log) && tries < PORT_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Kills it and starts it again on the same port and data.
    ///
    /// # Errors
    /// As [`Etcd::start`].
    pub async fn restart(&mut self) -> Result<(), HarnessError> {
        self.process.kill().await?;
        self.process = Process::start(&self.folder, "etcd", command(&self.binary, &self.folder, self.port))?;
        self.ready().await
    }

    /// Where API servers reach it.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn ready(&mut self) -> Result<(), HarnessError> {
        let waiting_for = "waiting for etcd's /health";
        let port = self.port;
        let healthy = async {
            while !tokio::time::timeout(PROBE_BOUND, healthy(port)).await.is_ok_and(|answer| answer.unwrap_or(false)) {
                if let Some(error) = self.process.ended_error(waiting_for) {
                    return Err(error);
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        match tokio::time::timeout(READY_BOUND, healthy).await {
            Ok(result) => result,
            Err(_) => Err(self.process.too_slow(waiting_for, READY_BOUND)),
        }
    }
}

fn command(binary: &PathBuf, folder: &Folder, port: u16) -> Command {
    let client = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(binary);
    command
        .arg("etcd")
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        // A single member dials no peer, so any port will do; the advertised one is only a name.
        .args(["--listen-peer-urls", "http://127.0.0.1:0"])
        // Nothing here needs to survive a power cut.
        .arg("--unsafe-no-fsync=true")
        .args(["--log-level", "warn"]);
    command
}

/// One plain HTTP request; etcd answers `{"health":"true",...}`.
async fn healthy(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.contains(r#""health":"true""#))
}
