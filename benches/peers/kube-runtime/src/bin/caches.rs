//! kube-runtime's side of `store` and `readers`, with mimalloc, as our side has it; nothing is counted here.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts its own load")]
#![allow(dead_code, reason = "the programs of the benchmarks use more of what is shared")]

#[path = "../../../../src/store/cache.rs"]
mod cache;
#[path = "../../../../src/readers/cells.rs"]
mod cells;
#[path = "../../../../src/cpu_time.rs"]
mod cpu_time;
#[path = "../../../../src/histogram.rs"]
mod histogram;
#[path = "../../../../src/readers/load.rs"]
mod load;
#[path = "../../../../src/store/objects.rs"]
mod objects;
#[path = "../../../../src/store/round.rs"]
mod round;
#[path = "../../../../src/store/rows.rs"]
mod rows;
#[path = "../store.rs"]
mod store;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What to measure.
#[derive(Parser)]
enum Program {
    /// The CPU time of each operation of the store.
    Store {
        /// How many objects.
        #[arg(long)]
        objects: usize,
    },
    /// The store's writer against readers.
    Readers(cells::Cells),
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let figure = match Program::parse() {
        Program::Store { objects } => rows::measure::<store::Reflected>(objects::Objects { count: objects }),
        Program::Readers(cells) => cells::measure::<store::Reflected>(&cells)?,
    };
    println!("{}", serde_json::to_string(&figure)?);
    Ok(())
}
