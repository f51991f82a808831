//! The one place where the queue reads a clock. It is tokio's, so tests can pause it; the cores take `now` as an
//! argument.

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "the clock of the queue's shell")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
