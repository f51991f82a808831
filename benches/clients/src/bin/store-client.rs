//! Our side of `store`, `readers` and `pipeline`, with mimalloc, where nothing is counted. Objects of one
//! size lie together there, which is worth a factor of two where a hundred thousand of them are read.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts its own load")]
#![allow(dead_code, reason = "the program beside it uses more")]

#[path = "../../../src/store/cache.rs"]
mod cache;
#[path = "../../../src/readers/cells.rs"]
mod cells;
#[path = "../../../src/store/client.rs"]
mod client;
#[path = "../../../src/cpu_time.rs"]
mod cpu_time;
#[path = "../../../src/histogram.rs"]
mod histogram;
#[path = "../../../src/readers/load.rs"]
mod load;
#[path = "../../../src/store/objects.rs"]
mod objects;
#[path = "../../../src/store/ours.rs"]
mod ours;
#[path = "../../../src/store/round.rs"]
mod round;
#[path = "../../../src/store/rows.rs"]
mod rows;
#[path = "../../../src/pipeline/stages.rs"]
mod stages;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::Parser;
use watchkeeper::BoxError;

/// Measures our side.
#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    client: client::Client,
}

fn main() -> Result<(), BoxError> {
    client::run(&Program::parse().client, None)
}
