//! The activity trace: what a checker needs to prove that no two terms were active at once.
//!
//! In: one call a step. Out: a `tracing` event under the target `watchkeeper::activity` at level TRACE, with the epoch
//! and the gate clock. Never: computed unless somebody listens.

/// The target of all activity events.
pub(crate) const ACTIVITY: &str = "watchkeeper::activity";

/// Whether somebody listens.
pub(crate) fn watched() -> bool {
    tracing::enabled!(target: ACTIVITY, tracing::Level::TRACE)
}

/// Emits one activity event: `activity!(epoch, instant, "what", more = fields)`.
macro_rules! activity {
    ($epoch:expr, $now:expr, $what:literal $(, $($field:tt)+)?) => {
        if $crate::trace::watched() {
            tracing::trace!(
                target: $crate::trace::ACTIVITY, what = $what, epoch = %$epoch, boot_nanos = $now.as_nanos() $(, $($field)+)?
            );
        }
    };
}

pub(crate) use activity;
