//! client-go's own tests of its leader election and its Lease lock, as tests of these: each has upstream's name in snake case,
//! and says where what holds here is another thing on purpose. What isn't here, and why, stands in
//! `complete`, which sees to it that the list is whole.
//!
//! What upstream tests of `OnNewLeader` is a line of the log here; its counts of calls are those of these tests.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod complete;
#[path = "../support/config.rs"]
mod config;
mod election;
mod lock;
mod rig;
#[path = "../support/scripted.rs"]
mod scripted;
