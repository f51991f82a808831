//! Our side of `store`, `readers` and `pipeline`, in a process of its own.
//!
//! In: what to measure. Out: a [`Figure`], as one line of JSON. It is compiled into this program,
//! whose allocator counts, and into one whose allocator is mimalloc, as the peer in Rust has it and as we recommend for large caches; times are taken
//! from the latter.

use clap::Subcommand;
use watchkeeper::BoxError;

use super::cells::{self, Cells};
use super::objects::Objects;
use super::ours::Ours;
use super::round::Figure;
use super::rows;
use super::stages::{self, Pipeline};

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum Client {
    /// The CPU time of each operation of a store.
    Store {
        /// How many objects.
        #[arg(long)]
        objects: usize,
    },
    /// Its memory beside the objects, where the allocator counts.
    Bytes {
        /// How many objects.
        #[arg(long)]
        objects: usize,
    },
    /// One writer against readers.
    Readers(Cells),
    /// The whole way of an object.
    Pipeline(Pipeline),
}

/// Measures, and prints the figure. `live`: bytes on the heap.
pub(crate) fn run(client: &Client, live: Option<fn() -> u64>) -> Result<(), BoxError> {
    let figure = match client {
        Client::Store { objects } => rows::measure::<Ours>(Objects { count: *objects }),
        Client::Bytes { objects } => {
            let mut figure = Figure::default();
            let live = live.ok_or("this program doesn't count its memory")?;
            figure.row("bytes", rows::bytes::<Ours>(Objects { count: *objects }, live));
            figure
        }
        Client::Readers(cells) => cells::measure::<Ours>(cells)?,
        Client::Pipeline(options) => {
            let runtime = tokio::runtime::Runtime::new()?;
            // Spawned, so that the producer is one of the runtime's own threads, too.
            runtime.block_on(runtime.spawn(stages::measure(*options)))??
        }
    };
    println!("{}", serde_json::to_string(&figure)?);
    Ok(())
}
