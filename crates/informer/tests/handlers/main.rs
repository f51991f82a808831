//! Handlers and event streams of a whole informer, over a scripted server, in paused time.
#![allow(clippy::disallowed_methods, clippy::panic)]

mod endings;
mod many;
mod odd;
mod panics;
mod reentrancy;
mod resync;
mod rig;
mod streams;
