//! The memory of kube-runtime's store, by an allocator that counts; times are not taken here.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the programs of the benchmarks use more of what is shared")]

#[path = "../../../../src/store/cache.rs"]
mod cache;
#[path = "../../../../src/cpu_time.rs"]
mod cpu_time;
#[path = "../../../../src/store/objects.rs"]
mod objects;
#[path = "../../../../src/store/round.rs"]
mod round;
#[path = "../../../../src/store/rows.rs"]
mod rows;
#[path = "../store.rs"]
mod store;

use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// What to measure.
#[derive(Parser)]
enum Program {
    /// The store's memory beside the objects.
    Bytes {
        /// How many objects.
        #[arg(long)]
        objects: usize,
    },
}

fn main() -> Result<(), serde_json::Error> {
    let Program::Bytes { objects } = Program::parse();
    let mut figure = round::Figure::default();
    figure.row("bytes", rows::bytes::<store::Reflected>(objects::Objects { count: objects }, live));
    println!("{}", serde_json::to_string(&figure)?);
    Ok(())
}

fn live() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated as u64).saturating_sub(stats.bytes_deallocated as u64)
}
