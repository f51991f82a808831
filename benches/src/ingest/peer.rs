//! The peers: programs that do the same with the same Pods by other libraries, and say the same of it.
//!
//! In: which. Out: their programs, built where that has to be, and the commands that run them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use watchkeeper::BoxError;

use crate::client_go;

/// Whom to measure against. All keep typed Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// kube-runtime's reflector, with managed fields, as it comes.
    KubeRuntime,
    /// client-go's shared informer, with managed fields, that is sent JSON.
    ClientGoJson,
    /// The same, that is sent protobuf, which it asks for by itself.
    ClientGoProtobuf,
    /// The same, that is sent JSON and drops managed fields before it caches: for its memory.
    ClientGoJsonStripped,
}

impl Which {
    pub(crate) const ALL: [Self; 4] =
        [Self::KubeRuntime, Self::ClientGoJson, Self::ClientGoProtobuf, Self::ClientGoJsonStripped];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KubeRuntime => "kube-runtime",
            Self::ClientGoJson => "client-go-json",
            Self::ClientGoProtobuf => "client-go-protobuf",
            Self::ClientGoJsonStripped => "client-go-json-stripped",
        }
    }

    /// It can render protobuf, too.
    pub(crate) fn reads_protobuf(self) -> bool {
        self == Self::ClientGoProtobuf
    }
}

/// A peer's program.
pub(crate) struct Peer {
    pub(crate) which: Which,
    pub(crate) binary: PathBuf,
}

impl Peer {
    pub(crate) fn build(which: Which) -> Result<Self, BoxError> {
        let binary = match which {
            Which::KubeRuntime => build("watchkeeper-peer-kube-runtime", "watchkeeper-peer-kube-runtime"),
            Which::ClientGoJson | Which::ClientGoProtobuf | Which::ClientGoJsonStripped => {
                client_go::build(client_go::INGEST).map_err(|error| {
                    let advice = "client-go's peers need Go; `--peers kube-runtime` leaves them out";
                    format!("{error}: {advice}").into()
                })
            }
        };
        Ok(Self { which, binary: binary? })
    }

    /// Does it with what is at `url`, by a streaming list or as the library lists without.
    pub(crate) fn command(&self, operation: &str, url: &str, paged: bool) -> Command {
        let client_go = |arguments: &[&str]| {
            let mut command = client_go::command(&self.binary);
            command.arg(operation).args(arguments);
            command
        };
        let mut command = match self.which {
            Which::KubeRuntime => {
                let mut command = Command::new(&self.binary);
                command.arg(operation);
                command
            }
            Which::ClientGoJson => client_go(&["--content", "json"]),
            Which::ClientGoProtobuf => client_go(&["--content", "protobuf"]),
            Which::ClientGoJsonStripped => client_go(&["--content", "json", "--strip"]),
        };
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
    let mut command = Command::new(cargo);
    // What `cargo run` says of this program must not have dependencies built again whose build scripts look at it.
    crate::withhold(&mut command, |name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
    let status = command
        .args(["build", "--release", "--locked", "-p", package, "--bin", binary])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("building {binary} failed: {status}").into());
    }
    Ok(std::env::current_exe()?.with_file_name(binary))
}
