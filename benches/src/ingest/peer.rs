//! The peers: programs that ingest the same Pods by other libraries, and say the same of it.
//!
//! In: which. Out: their programs, built where that has to be, and the commands that run them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use watchkeeper::BoxError;

/// Whom to measure against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// kube-runtime's reflector, typed, with managed fields, as it comes.
    KubeRuntime,
}

impl Which {
    pub(crate) const ALL: [Self; 1] = [Self::KubeRuntime];
}

/// A peer's program.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    binary: PathBuf,
}

impl Peer {
    pub(crate) fn build(which: Which) -> Result<Self, BoxError> {
        match which {
            Which::KubeRuntime => {
                let binary = build("watchkeeper-peer-kube-runtime", "watchkeeper-peer-kube-runtime")?;
                Ok(Self { name: "kube-runtime", binary })
            }
        }
    }

    /// Ingests what is at `url`, by a streaming list or as the library lists by default.
    pub(crate) fn command(&self, url: &str, paged: bool) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["--server", url]);
        if !paged {
            command.arg("--streaming");
        }
        command
    }
}

/// Builds a program of this workspace, which then lies beside this one.
pub(crate) fn build(package: &str, binary: &str) -> Result<PathBuf, BoxError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "-p", package, "--bin", binary])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("building {binary} failed: {status}").into());
    }
    Ok(std::env::current_exe()?.with_file_name(binary))
}
