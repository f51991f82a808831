//! The client of `ingest`, with the system's allocator: what it costs where nothing is counted.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts its own load")]
#![allow(dead_code, reason = "the program beside it uses more")]

#[path = "../../../src/ingest/answer.rs"]
mod answer;
#[path = "../../../src/ingest/client.rs"]
mod client;
#[path = "../../../src/ingest/connect.rs"]
mod connect;
#[path = "../../../src/ingest/figure.rs"]
mod figure;
#[path = "../../../src/usage.rs"]
mod usage;

use clap::Parser;
use watchkeeper::BoxError;

/// Ingests Pods, and says what it cost.
#[derive(Parser)]
struct Program {
    #[command(flatten)]
    options: client::Options,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    client::run(Program::parse().options, || None).await
}
