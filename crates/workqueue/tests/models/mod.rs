//! What the model checks share: a witness of what must hold, a clock that stands still, and planted faults.
#![allow(dead_code, reason = "each of the checks uses a part of this")]

pub(crate) mod clock;
#[cfg(watchkeeper_mutants)]
pub(crate) mod planted;
#[cfg(any(watchkeeper_loom, watchkeeper_shuttle))]
pub(crate) mod witness;
