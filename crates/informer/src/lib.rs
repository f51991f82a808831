//! Cluster state, locally: list-watch, reflector, DeltaFIFO, store, handlers.
//!
//! One stage a file, in the order in which an object meets them (see ARCHITECTURE.md for the walk).
#![forbid(unsafe_code)]

pub mod delta_fifo;
pub mod event;
pub mod handler;
pub mod index;
pub mod key;
pub mod lister;
pub mod object;
pub mod store;
pub mod version;

pub use delta_fifo::{DeltaFifo, Known};
pub use event::{Event, Finality};
pub use handler::{HandlerStatus, Registration};
pub use index::Index;
pub use key::ObjectKey;
pub use lister::Lister;
pub use object::Cached;
pub use store::{StoreWriter, ThreadSafeStore};
pub use version::ResourceVersion;
