//! From the sending of an update to the handler and to the worker that learn of it, ours and the peers'.
//!
//! In: how many Pods, updated how often. Out: per side the quantiles of both latencies, medians of the rounds. Each figure is
//! taken in a process of its own against the same bytes, the sides in turn. An update says in its annotation when it was handed
//! to the socket, by the clock that all processes share; each must be seen once in each place.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches -- latency --json
//! ```

mod report;
pub(crate) mod sent;
mod server;
mod sighting;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use watchkeeper::BoxError;

use self::report::{OURS, Table};
use self::server::Server;
use self::sighting::{Seen, Sighting};
use crate::ingest::peer::{self, Peer, Which};
use crate::ingest::process::Process;
use crate::ingest::source::{FIRST_VERSION, Source, Updates, VERSION};
use crate::pods::{self, Pod};

/// What a peer's program is asked to do.
const LATENCY: &str = "latency";
/// A client has so long to list everything, and to see what was sent last.
const PATIENCE: Duration = Duration::from_secs(60);
/// Until a client is asked what it has seen, and asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How many Pods, of about 11 KB of JSON; with --server at most so many.
    #[arg(long, default_value_t = 1000, value_parser = crate::at_least_one)]
    n: usize,
    /// Of the Pods.
    #[arg(long, default_value_t = 5)]
    seed: u64,
    /// Updates a second, of one Pod after the other.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How many updates.
    #[arg(long, default_value_t = 2000, value_parser = crate::at_least_one)]
    events: usize,
    /// How often each side is measured.
    #[arg(long, default_value_t = 3, value_parser = crate::at_least_one)]
    rounds: usize,
    /// An API server that has Pods already, at this URL, whose annotation bench.watchkeeper.test/sent-ns is patched: the
    /// latency is then from before the patch, and what the server takes is part of it. Without it, a source of this program's
    /// own.
    #[arg(long)]
    server: Option<String>,
    /// Beside whom.
    #[arg(long, value_enum, value_delimiter = ',',
        default_values_t = [Which::KubeRuntime, Which::ClientGoJson, Which::ClientGoProtobuf])]
    peers: Vec<Which>,
    /// A line of JSON each.
    #[arg(long)]
    json: bool,
}

/// Who updates.
enum Updater {
    Source(Source),
    Server(Server),
}

/// Takes all rounds, and prints.
pub(crate) async fn run(options: Options) -> Result<(), BoxError> {
    let plain = peer::build("watchkeeper-benches-clients", "latency-client")?;
    let peers = options.peers.iter().map(|which| Peer::build(*which)).collect::<Result<Vec<_>, _>>()?;
    let (url, pods, updater) = match &options.server {
        Some(url) => {
            let server = Server::find(url, options.n).await?;
            (url.clone(), server.pods(), Updater::Server(server))
        }
        None => {
            let source = source(&options, &peers).await?;
            (source.url(), options.n, Updater::Source(source))
        }
    };
    let mut table = Table::new(options.json, pods, options.events);
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        table.add(OURS, &measure(ours(&plain, &url), &updater, &options).await?);
        for peer in &peers {
            let seen = measure(peer.command(LATENCY, &url, false), &updater, &options).await;
            table.add(peer.which.name(), &seen.map_err(|error| format!("{}: {error}", peer.which.name()))?);
        }
    }
    table.print()
}

fn ours(plain: &PathBuf, url: &str) -> Command {
    let mut command = Command::new(plain);
    command.args(["--server", url]);
    command
}

async fn source(options: &Options, peers: &[Peer]) -> Result<Source, BoxError> {
    eprintln!("making {} Pods and {} updates", options.n, options.events);
    let mut pods = pods::corpus(options.n, options.seed, FIRST_VERSION);
    pods.iter_mut().try_for_each(|pod| pod.annotate(sent::ANNOTATION, sent::NEVER))?;
    let updated = pods.iter().cycle().zip(VERSION + 1..).take(options.events);
    let updated = updated.map(|(pod, version)| pod.at_version(version)).collect::<Result<Vec<Pod>, _>>()?;
    let updates = Updates { pods: updated, pause: pause(options.rate) };
    let renderer = peers.iter().find(|peer| peer.which.reads_protobuf()).map(|peer| peer.binary.as_path());
    Source::start(pods, Some(updates), renderer).await
}

/// Between two updates.
fn pause(rate: u32) -> Duration {
    Duration::from_secs(1) / rate
}

/// One client, from its start to the last update.
async fn measure(command: Command, updater: &Updater, options: &Options) -> Result<Seen, BoxError> {
    let mut process = Process::start(command)?;
    // Synced, and its worker has seen every Pod.
    let _: Seen = process.answer(PATIENCE).await?;
    process.settle(PATIENCE).await?;
    let began = sent::now();
    update(updater, options).await?;
    let mut seen = Seen::default();
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        tokio::time::sleep(PAUSE).await;
        let so_far: Seen = process.ask(PATIENCE).await?;
        seen = Seen { handler: each_once(&so_far.handler, began), worker: each_once(&so_far.worker, began) };
        if seen.handler.len().min(seen.worker.len()) >= options.events {
            process.end().await?;
            return Ok(seen);
        }
    }
    let (handler, worker) = (seen.handler.len(), seen.worker.len());
    let advice = "of a Pod that is updated again too soon only the last state is seen: use more Pods or a lower rate";
    Err(format!("of {} updates the handler saw {handler}, the worker {worker}; {advice}", options.events).into())
}

/// Makes the updates, and has them counted where they are sent.
async fn update(updater: &Updater, options: &Options) -> Result<(), BoxError> {
    match updater {
        Updater::Server(server) => server.update(options.events, pause(options.rate)).await,
        Updater::Source(source) => {
            let before = source.updates_sent();
            source.begin_updates();
            let length = pause(options.rate) * u32::try_from(options.events)?;
            tokio::time::sleep(length).await;
            let all = async {
                while source.updates_sent() - before < options.events {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, all).await.map_err(|_| "the client watches no more")?;
            let sent = source.updates_sent() - before;
            if sent == options.events { Ok(()) } else { Err(format!("{sent} updates sent: it watches twice").into()) }
        }
    }
}

/// The first sighting of each update that was sent since.
fn each_once(sightings: &[Sighting], since: u64) -> Vec<Sighting> {
    let mut first = BTreeMap::new();
    for sighting in sightings.iter().filter(|sighting| sighting.sent >= since) {
        let seen: &mut u64 = first.entry(sighting.sent).or_insert(sighting.seen);
        *seen = sighting.seen.min(*seen);
    }
    first.into_iter().map(|(sent, seen)| Sighting { sent, seen }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what was sent before doesn't count, and what is seen twice counts once, from when it was first seen.
    #[test]
    fn each_update_counts_once() {
        let of =
            |pairs: &[(u64, u64)]| pairs.iter().map(|(sent, seen)| Sighting { sent: *sent, seen: *seen }).collect();
        let seen: Vec<_> = of(&[(9, 30), (20, 28), (10, 15), (20, 25), (12, 40)]);
        let expected: Vec<_> = of(&[(10, 15), (12, 40), (20, 25)]);
        assert_eq!(each_once(&seen, 10), expected);
    }
}
