//! What a client has seen: when an update was sent, and when it came to its handler and to its worker.
//!
//! In: pairs of moments. Out: a line of JSON, and back. Which of them count is for the benchmark to say: an object may be seen
//! again, or have been sent before.

use serde::{Deserialize, Serialize};

/// Moments of the monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sighting {
    pub(crate) sent: u64,
    pub(crate) seen: u64,
}

/// All that a client has seen so far, in two places.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// When its event handler was called.
    pub(crate) handler: Vec<Sighting>,
    /// When a worker had taken the key from the queue and had looked the object up.
    pub(crate) worker: Vec<Sighting>,
}
