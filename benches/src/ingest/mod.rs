//! Many Pods, listed until they are cached: what it costs, in which shape, beside the peers; and what listing them again costs.
//!
//! In: how many, and which shapes. Out: per shape and peer the medians of all rounds. Each figure is taken in a process of
//! its own against the same bytes, the sides in turn. A checksum over fields of every cached object must be the corpus's.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches -- ingest --json
//! cargo run --release -p watchkeeper-benches -- relist --json
//! ```

mod answer;
pub(crate) mod client;
mod connect;
mod figure;
pub(crate) mod peer;
pub(crate) mod process;
mod report;
pub(crate) mod source;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use watchkeeper::BoxError;

use self::client::Shape;
use self::figure::Figure;
use self::peer::{Peer, Which};
use self::process::Process;
use self::report::{Side, Table};
use self::source::{FIRST_VERSION, Source};
use crate::pods::{self, Pod};

/// What a peer's program is asked to do.
const INGEST: &str = "ingest";
/// A client has so long to list everything.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to ingest.
#[derive(Args)]
pub(crate) struct Options {
    /// How many Pods, of about 11 KB of JSON.
    #[arg(long, default_value_t = 10_000, value_parser = crate::at_least_one)]
    n: usize,
    /// Of the Pods.
    #[arg(long, default_value_t = 5)]
    seed: u64,
    /// How often each side is measured.
    #[arg(long, default_value_t = 5, value_parser = crate::at_least_one)]
    rounds: usize,
    /// Which shapes are cached.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Shape::ALL)]
    shapes: Vec<Shape>,
    /// A list in one body, rather than a streaming list.
    #[arg(long)]
    paged: bool,
    /// An API server that has Pods already, at this URL; without it, a source of this program's own.
    #[arg(long)]
    server: Option<String>,
    /// Beside whom.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Which::ALL)]
    peers: Vec<Which>,
    /// A line of JSON each.
    #[arg(long)]
    json: bool,
}

/// What listing again has cost.
struct Relisted {
    first_cpu_s: f64,
    again_cpu_s: f64,
    /// That handlers were told of.
    events: u64,
    after: Figure,
}

/// Where the Pods are, and what must come of them.
struct Bench {
    url: String,
    /// Ours, which knows what it serves.
    source: Option<(Source, Expected)>,
    plain: PathBuf,
    peers: Vec<Peer>,
}

/// What the checksums of whole objects, and of metadata alone, must be.
struct Expected {
    n: usize,
    whole: u64,
    metadata: u64,
}

impl Expected {
    fn of(pods: &[Pod]) -> Self {
        let sum = |whole: bool| {
            pods.iter().fold(0_u64, |sum, pod| {
                let (node, ip) = if whole { (pod.node.as_str(), pod.ip.as_str()) } else { ("", "") };
                let version = pod.version.to_string();
                sum.wrapping_add(figure::of_object([&pod.namespace, &pod.name, &pod.uid, &version, node, ip]))
            })
        };
        Self { n: pods.len(), whole: sum(true), metadata: sum(false) }
    }
}

/// Lists the Pods once, in each shape.
pub(crate) async fn ingest(options: Options) -> Result<(), BoxError> {
    let bench = Bench::start(&options).await?;
    let mut table = Table::new("ingest", options.json);
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for shape in &options.shapes {
            let figure = bench.measure(&options, *shape, false).await?;
            let counted = bench.measure(&options, *shape, true).await?;
            table.add(Side::Ours(*shape), Figure { heap_bytes: counted.heap_bytes, ..figure });
        }
        for peer in &bench.peers {
            let side = Side::Peer(peer.which.name());
            let (process, figure) = bench.start_client(peer.command(INGEST, &bench.url, options.paged), side).await?;
            process.end().await?;
            table.add(side, figure);
        }
    }
    table.print()
}

/// Lists them again after all watches have expired: nothing has changed.
pub(crate) async fn relist(options: Options) -> Result<(), BoxError> {
    if options.server.is_some() {
        return Err("relist needs a source that it can tell to expire watches: leave --server out".into());
    }
    let bench = Bench::start(&options).await?;
    let mut table = Table::new("relist", options.json);
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for shape in &options.shapes {
            let relisted = bench.relist(bench.command(&options, *shape, false)?, Side::Ours(*shape)).await?;
            if relisted.events != 0 {
                return Err(format!("{} events for a list in which nothing changed", relisted.events).into());
            }
            table.add_again(Side::Ours(*shape), relisted);
        }
        for peer in &bench.peers {
            let side = Side::Peer(peer.which.name());
            table.add_again(side, bench.relist(peer.command(INGEST, &bench.url, options.paged), side).await?);
        }
    }
    table.print()
}

impl Bench {
    async fn start(options: &Options) -> Result<Self, BoxError> {
        let plain = peer::build("watchkeeper-benches-clients", "ingest-client")?;
        let peers = options.peers.iter().map(|which| Peer::build(*which)).collect::<Result<Vec<_>, _>>()?;
        if let Some(url) = options.server.clone() {
            return Ok(Self { url, source: None, plain, peers });
        }
        eprintln!("making {} Pods", options.n);
        let pods = pods::corpus(options.n, options.seed, FIRST_VERSION);
        let expected = Expected::of(&pods);
        let renderer = peers.iter().find(|peer| peer.which.reads_protobuf()).map(|peer| peer.binary.as_path());
        let source = Source::start(pods, None, renderer).await?;
        Ok(Self { url: source.url(), source: Some((source, expected)), plain, peers })
    }

    /// One process that ingests everything; `counted`: with the allocator that counts, whose time is of no interest.
    fn command(&self, options: &Options, shape: Shape, counted: bool) -> Result<Command, BoxError> {
        let mut command = if counted {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("ingest-client");
            command
        } else {
            Command::new(&self.plain)
        };
        command.args(["--server", &self.url, "--shape", shape.name()]);
        if !options.paged {
            command.arg("--streaming");
        }
        Ok(command)
    }

    /// Starts a client, waits until it is synced, and checks what it has.
    async fn start_client(&self, command: Command, side: Side) -> Result<(Process, Figure), BoxError> {
        let mut process = Process::start(command)?;
        let figure: Figure = process.answer(PATIENCE).await?;
        if let Some((_, expected)) = &self.source {
            let sum = if side == Side::Ours(Shape::Metadata) { expected.metadata } else { expected.whole };
            if (figure.objects, figure.checksum) != (expected.n, sum) {
                let Figure { objects, checksum, .. } = figure;
                return Err(format!(
                    "{}: {objects} objects with checksum {checksum}, expected {} with {sum}",
                    side.name(),
                    expected.n
                )
                .into());
            }
        }
        Ok((process, figure))
    }

    async fn measure(&self, options: &Options, shape: Shape, counted: bool) -> Result<Figure, BoxError> {
        let command = self.command(options, shape, counted)?;
        let (process, figure) = self.start_client(command, Side::Ours(shape)).await?;
        process.end().await?;
        Ok(figure)
    }

    async fn relist(&self, command: Command, side: Side) -> Result<Relisted, BoxError> {
        let (mut process, first) = self.start_client(command, side).await?;
        let (source, _) = self.source.as_ref().ok_or("there is no source")?;
        process.settle(PATIENCE).await?;
        let settled: Figure = process.ask(PATIENCE).await?;
        let before: Figure = process.ask(PATIENCE).await?;
        let listed = source.listed();
        source.expire();
        let listing = async {
            while source.listed() == listed {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listing).await.map_err(|_| format!("{} does not list again", side.name()))?;
        process.settle(PATIENCE).await?;
        let after: Figure = process.ask(PATIENCE).await?;
        process.end().await?;
        // Between two figures lies also what the first of them has cost: a sum over all objects, in Go a collection.
        let figure_cpu_s = before.user_cpu_s - settled.user_cpu_s;
        Ok(Relisted {
            first_cpu_s: first.user_cpu_s,
            again_cpu_s: (after.user_cpu_s - before.user_cpu_s - figure_cpu_s).max(0.0),
            events: after.events - before.events,
            after,
        })
    }
}
