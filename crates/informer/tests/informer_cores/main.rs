//! The pure cores of the second half of the pipeline against naive models: DeltaFIFO and store.
#![allow(clippy::disallowed_methods, clippy::panic)]

mod fifo;
mod readers;
mod server;
mod store;
mod thing;
