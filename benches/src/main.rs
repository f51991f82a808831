//! The benchmarks of this workspace, a subcommand each.
//!
//! In: a subcommand and its flags; `--help` tells them. Out: figures on stdout, progress on stderr. Ends with an error
//! where a benchmark could not be taken, or where one that judges its figures finds them too bad.
//!
//! ```text
//! cargo run --release -p watchkeeper-benches -- queue --json
//! cargo run --release -p watchkeeper-benches -- queue-counts --check benches/baselines
//! cargo run --release -p watchkeeper-benches -- ingest-counts --check benches/baselines
//! cargo run --release -p watchkeeper-benches -- fifo
//! cargo run --release -p watchkeeper-benches -- store
//! cargo run --release -p watchkeeper-benches -- readers
//! cargo run --release -p watchkeeper-benches -- pipeline
//! cargo run --release -p watchkeeper-benches -- lease-storm
//! cargo run --release -p watchkeeper-benches -- apiserver-load
//! cargo run --release -p watchkeeper-benches -- ingest
//! cargo run --release -p watchkeeper-benches -- relist
//! cargo run --release -p watchkeeper-benches -- latency
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts its own load")]

mod apiserver_load;
mod client_go;
mod counts;
mod cpu_time;
mod fifo;
mod histogram;
mod ingest;
mod ingest_counts;
mod latency;
mod lease_storm;
mod median;
mod pipeline;
mod pods;
mod queue;
mod queue_counts;
mod readers;
mod store;
mod usage;

use std::process::ExitCode;

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use watchkeeper::BoxError;

/// The system's allocator, with counts. What is measured by time hardly allocates, so the counting doesn't show there.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// The benchmarks of Watchkeeper.
#[derive(Parser)]
#[command(name = "watchkeeper-benches")]
enum Program {
    /// The work queue against client-go's, which is built from source: needs Go.
    Queue(queue::Options),
    /// Instructions and allocations of the work queue's operations, compared with a baseline. Needs valgrind.
    QueueCounts(counts::Options),
    /// Allocations of the informer's operations, compared with a baseline.
    IngestCounts(counts::Options),
    /// One operation of the work queue, for queue-counts to run under valgrind.
    #[command(hide = true)]
    QueueOperation(queue_counts::One),
    /// The informer's queue of deltas against client-go's, which are built from source: needs Go.
    Fifo(fifo::Options),
    /// The store's operations and memory beside the peers': client-go's need Go (--peers kube-runtime: none).
    Store(store::Options),
    /// One writer of a store against readers, beside the peers.
    Readers(readers::Options),
    /// From a decoded event to a worker that is done with it, beside client-go's.
    Pipeline(pipeline::Options),
    /// Our side of those, with the allocator that counts, for them to run.
    #[command(hide = true)]
    StoreClient {
        #[command(subcommand)]
        client: store::client::Client,
    },
    /// Many Leases renewed in front of the Lease monitor.
    LeaseStorm(lease_storm::Storm),
    /// Many objects, updates and watchers on the embedded API server.
    ApiserverLoad(apiserver_load::Load),
    /// Many Pods, listed until they are cached, in each shape, beside the peers: client-go's need Go (--peers kube-runtime: none).
    Ingest(ingest::Options),
    /// The same Pods listed again, where nothing has changed, beside the peers.
    Relist(ingest::Options),
    /// From the sending of an update to a handler and to a worker, beside the peers.
    Latency(latency::Options),
    /// One informer that ingests, with the allocator that counts, for ingest to run.
    #[command(hide = true)]
    IngestClient(ingest::client::Options),
}

fn main() -> ExitCode {
    match run(Program::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watchkeeper-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> Result<(), BoxError> {
    match program {
        Program::Queue(options) => queue::run(&options),
        Program::QueueCounts(options) => queue_counts::run(&options),
        Program::IngestCounts(options) => ingest_counts::run(&options),
        Program::QueueOperation(one) => queue_counts::run_one(&one),
        Program::Fifo(options) => fifo::run(&options),
        Program::Store(options) => store::run(&options),
        Program::Readers(options) => readers::run(&options),
        Program::Pipeline(options) => pipeline::run(&options),
        Program::StoreClient { client } => store::client::run(&client, Some(live_bytes)),
        Program::LeaseStorm(storm) => tokio::runtime::Runtime::new()?.block_on(lease_storm::run(storm)),
        Program::ApiserverLoad(load) => tokio::runtime::Runtime::new()?.block_on(apiserver_load::run(load)),
        Program::Ingest(options) => tokio::runtime::Runtime::new()?.block_on(ingest::ingest(options)),
        Program::Relist(options) => tokio::runtime::Runtime::new()?.block_on(ingest::relist(options)),
        Program::Latency(options) => tokio::runtime::Runtime::new()?.block_on(latency::run(options)),
        Program::IngestClient(options) => {
            tokio::runtime::Runtime::new()?.block_on(ingest::client::run(options, || Some(live_bytes())))
        }
    }
}

/// Bytes on the heap.
fn live_bytes() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated as u64).saturating_sub(stats.bytes_deallocated as u64)
}

/// Keeps variables of this process's environment from a command.
fn withhold(command: &mut std::process::Command, chosen: impl Fn(&str) -> bool) {
    for (variable, _) in std::env::vars_os() {
        if chosen(&variable.to_string_lossy()) {
            command.env_remove(&variable);
        }
    }
}

/// Reads a size from the command line.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
