//! Call: running what a handler brings along, its code and its destructors.
//!
//! In: a closure. Out: whether it panicked. Nothing that foreign code does here can take the caller down, and a thread
//! knows in whose call it is. Never called under a lock.

use std::cell::RefCell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::sync::thread_local;

thread_local! {
    /// The registrations whose calls are in progress on this thread, the innermost last.
    static CALLING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Runs a call on behalf of `whom`; `false`: it panicked.
///
/// The handler may be left in any state by its own panic; that is its author's to know, nothing of ours breaks.
pub(super) fn call(whom: usize, call: impl FnOnce()) -> bool {
    CALLING.with(|calling| calling.borrow_mut().push(whom));
    let returned = survive(call);
    CALLING.with(|calling| calling.borrow_mut().pop());
    returned
}

/// Whether this thread is in a call on behalf of `whom`.
pub(super) fn is_within(whom: usize) -> bool {
    CALLING.with(|calling| calling.borrow().contains(&whom))
}

/// Drops what belongs to a handler; a panic of its destructor ends there.
pub(super) fn discard<T>(value: T) {
    if !survive(|| drop(value)) {
        tracing::error!("the destructor of an event handler panicked");
    }
}

/// Runs foreign code; `false`: it panicked.
pub(crate) fn survive(foreign: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) else { return true };
    // What was thrown has a destructor too. What that throws is kept for ever: there has to be an end.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(payload);
    }
    false
}
