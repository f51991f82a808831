//! The assembled informer against the embedded API server, under paused time.
#![allow(clippy::disallowed_methods, clippy::panic)]

mod behaviour;
mod random;
mod world;
