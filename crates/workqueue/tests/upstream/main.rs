//! client-go's own tests of its work queue, as tests of this one: each has upstream's name in snake case. What a test
//! of another file covers at greater length is here once more, short, so that the list is complete.
//!
//! What isn't here, and why:
//!
//! - `TestParallelizeUntil`: a helper that runs numbered pieces of work side by side; no queue is in it, and this
//!   crate has no such helper.
//! - `TestRetryOnConflict`, `TestRetryOnConflictPreservesContextErrorWithoutLastError`: retries of one write within
//!   one pass of a reconciler, which knows what a conflict is; a queue sees the outcome of the whole pass.
//! - `TestAlternateBackoffGC`, `TestAlternateHasExpiredFunc`: upstream's backoff keeps a count for each id until
//!   somebody collects what is old, and these choose what is old. Here the count lives beside the key and goes with
//!   it, so it has no age; `flow_control::backoff_gc` tests that.
//! - `Queue.Touch`, a hook that `TestCollapse` looks at: the order isn't a plug-in here. What the hook is for, a second
//!   add that changes a key's place in line, is a rule (`Ageing`), so `collapse` looks at the place.
#![allow(clippy::disallowed_methods)]

mod delay;
mod flow_control;
mod limiter;
mod metrics;
mod queue;
#[path = "../support/mod.rs"]
mod support;
