//! Cluster state, locally: list-watch, reflector, DeltaFIFO, store, handlers.
//!
//! One stage a file, in the order in which an object meets them (see ARCHITECTURE.md for the walk).
#![forbid(unsafe_code)]

pub mod delta_fifo;
pub mod event;
pub mod key;
pub mod object;
pub mod version;

pub use delta_fifo::{DeltaFifo, Known};
pub use event::{Event, Finality};
pub use key::ObjectKey;
pub use object::Cached;
pub use version::ResourceVersion;
