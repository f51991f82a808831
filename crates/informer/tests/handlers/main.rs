//! Handlers and event streams of a whole informer, over a scripted server, in paused time.
#![allow(clippy::disallowed_methods, clippy::panic)]

mod many;
mod panics;
mod reentrancy;
mod resync;
mod rig;
mod streams;
