//! What nobody should do to a queue, and what it does then: never a panic of its own, never a hot loop, never a lost
//! key. Numbers at their limits; keys, limiters, flow functions and sinks that panic; workers that never end; calls
//! after the end.
#![allow(clippy::disallowed_methods)]

mod endings;
mod foreign_code;
mod keys;
mod numbers;
#[path = "../support/mod.rs"]
mod support;
