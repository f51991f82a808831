//! kube-runtime's side of `ingest`, `relist` and `latency`, a subcommand each that has one here.
//!
//! In: where the Pods are. Out: a line of JSON once they are cached, and another for each line on stdin. Nothing is tuned:
//! the watcher's configuration is its default but for the streaming list, where that is asked for.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts its own load")]
#![allow(dead_code, reason = "the programs of the benchmarks use more of what is shared")]

#[path = "../../../src/ingest/answer.rs"]
mod answer;
#[path = "../../../src/ingest/figure.rs"]
mod figure;
#[path = "../../../src/histogram.rs"]
mod histogram;
mod ingest;
mod latency;
#[path = "../../../src/latency/lookout.rs"]
mod lookout;
#[path = "../../../src/latency/sent.rs"]
mod sent;
#[path = "../../../src/latency/sighting.rs"]
mod sighting;
#[path = "../../../src/usage.rs"]
mod usage;

use clap::{Args, Parser};
use k8s_openapi::api::core::v1::Pod;
use kube_client::{Api, Client, Config};
use kube_runtime::watcher;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What to do with the Pods.
#[derive(Parser)]
enum Program {
    /// Caches them, and says what it cost.
    Ingest(Options),
    /// Says when their updates were seen.
    Latency(Options),
}

#[derive(Args)]
struct Options {
    /// Where the API server is.
    #[arg(long)]
    server: String,
    /// By a streaming list.
    #[arg(long)]
    streaming: bool,
}

impl Options {
    fn pods(&self) -> Result<Api<Pod>, BoxError> {
        Ok(Api::all(Client::try_from(Config::new(self.server.parse()?))?))
    }

    fn watcher(&self) -> watcher::Config {
        let config = watcher::Config::default();
        if self.streaming { config.streaming_lists() } else { config }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    match Program::parse() {
        Program::Ingest(options) => ingest::run(&options).await,
        Program::Latency(options) => latency::run(&options).await,
    }
}
