//! An embedded Kubernetes API server, exact where informers and electors look.
#![forbid(unsafe_code)]

pub mod audit;
pub mod clock;
pub mod config;
pub mod listen;
pub mod service;

mod discovery;
mod kinds;
mod list;
mod namespace;
mod object;
mod patch;
mod route;
mod select;
mod server;
mod status;
mod store;
mod transaction;
mod validate;
mod watch;
mod write;

pub use audit::WriteRecord;
pub use clock::{Clock, SystemClock, TokioClock};
pub use config::Config;
pub use server::ApiServer;
pub use service::{Body, Service};
