//! Watchkeeper: an informer runtime for Kubernetes controllers.
#![forbid(unsafe_code)]
mod connection;
pub use connection::{Connection, ConnectionError, Transport, TransportBody};
/// Any error that can cross threads.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub use watchkeeper_informer as informer;
pub use watchkeeper_leader as leader;
pub use watchkeeper_workqueue as workqueue;
