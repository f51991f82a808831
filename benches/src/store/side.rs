//! Who is measured by `store`, `readers` and `pipeline`, and how they are run: a process a figure, ours or a peer's.
//!
//! In: which peers. Out: their programs, built where that has to be, and figures taken from them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};
use watchkeeper::BoxError;

use super::round::Figure;
use crate::client_go;
use crate::ingest::peer::build;

/// Whom to measure against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// client-go, which needs Go.
    ClientGo,
    /// kube-runtime.
    KubeRuntime,
}

/// How often, against whom, and how it is told.
#[derive(Args)]
pub(crate) struct Sides {
    /// How often each side is measured; the median counts.
    #[arg(long, default_value_t = 5, value_parser = crate::at_least_one)]
    pub(crate) rounds: usize,
    /// Whom to measure against.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["client-go", "kube-runtime"])]
    pub(crate) peers: Vec<Which>,
    /// Prints a JSON object a line instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Peer(Which),
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer(Which::ClientGo) => "client-go",
            Self::Peer(Which::KubeRuntime) => "kube-runtime",
        }
    }
}

/// A side's program.
pub(crate) struct Program {
    pub(crate) side: Side,
    binary: PathBuf,
}

impl Program {
    /// Ours first, then the peers.
    pub(crate) fn build_all(peers: &[Which]) -> Result<Vec<Self>, BoxError> {
        let ours = Self { side: Side::Ours, binary: build("watchkeeper-benches-clients", "store-client")? };
        let peers = peers.iter().map(|which| {
            let binary = match which {
                Which::ClientGo => client_go::build(client_go::STORE)
                    .map_err(|error| format!("{error}: `--peers kube-runtime` leaves client-go out"))?,
                Which::KubeRuntime => build("watchkeeper-peer-kube-runtime", "caches")?,
            };
            Ok(Self { side: Side::Peer(*which), binary })
        });
        std::iter::once(Ok(ours)).chain(peers).collect()
    }

    /// Runs an operation. On one thread: what Go does beside the measured goroutine waits for it or runs elsewhere.
    pub(crate) fn figure(&self, arguments: &[String], one_thread: bool) -> Result<Figure, BoxError> {
        let mut command = match self.side {
            Side::Peer(Which::ClientGo) => client_go::command(&self.binary),
            Side::Ours | Side::Peer(Which::KubeRuntime) => Command::new(&self.binary),
        };
        if one_thread {
            command.env("GOMAXPROCS", "1");
        }
        command.args(arguments);
        self.take(command)
    }

    /// The memory it needs, by an allocator that counts or the collector.
    pub(crate) fn bytes(&self, objects: usize) -> Result<Figure, BoxError> {
        let arguments = ["bytes".to_owned(), "--objects".to_owned(), objects.to_string()];
        let mut command = match self.side {
            Side::Peer(Which::ClientGo) => return self.figure(&arguments, true),
            Side::Ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("store-client");
                command
            }
            Side::Peer(Which::KubeRuntime) => Command::new(build("watchkeeper-peer-kube-runtime", "counted")?),
        };
        command.args(arguments);
        self.take(command)
    }

    fn take(&self, mut command: Command) -> Result<Figure, BoxError> {
        let output = command.stderr(Stdio::inherit()).output()?;
        let name = self.side.name();
        if !output.status.success() {
            return Err(format!("{name} failed: {}", output.status).into());
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("the figure of {name} is unreadable: {error}").into())
    }
}

/// Takes a figure of each side, in turn, the first side changing with each round.
pub(crate) fn in_turn(
    programs: &[Program],
    rounds: usize,
    mut take: impl FnMut(&Program) -> Result<Figure, BoxError>,
) -> Result<Vec<(Side, Vec<Figure>)>, BoxError> {
    let mut taken: Vec<_> = programs.iter().map(|program| (program.side, Vec::new())).collect();
    for round in 0..rounds {
        for step in 0..programs.len() {
            let place = (round + step) % programs.len();
            let program = &programs[place];
            eprintln!("round {} of {rounds}: {}", round + 1, program.side.name());
            taken[place].1.push(take(program)?);
        }
    }
    Ok(taken)
}
