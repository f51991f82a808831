//! Differential tests: one script, two servers, one transcript.
//!
//! In: a [`Scenario`], a client of a server. Out: its transcript, in which everything that only one server could have
//! said (uids, versions, times) is replaced by what both must agree on: identity and order. The transcripts of the real
//! server are kept as golden files, so that the comparison needs no real server.

mod normalise;
mod play;
pub mod random;
pub mod scenarios;
mod shrink;
mod step;

pub use play::{PlayError, play};
pub use shrink::shrink;
pub use step::{Scenario, Step};
