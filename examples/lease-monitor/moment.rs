//! Time as this program's judgement sees it: two clocks, read in one place.
//!
//! A [`Moment`] is monotonic time since the program started: ages come from it, and from nothing else. The wall
//! clock is only for what people read (an Event's `eventTime`) and for estimates that are marked as such.
//! Nothing here compares this machine's wall clock with another machine's to judge a Lease.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// A point in monotonic time, counted from the start of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Duration);

impl Moment {
    /// How long ago `earlier` was; zero if it isn't past.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment, later by `span`.
    pub(crate) fn plus(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }
}

/// Where the program reads its clocks; tests hand in their own.
pub(crate) trait Clock: Send + Sync + 'static {
    /// Monotonic time.
    fn moment(&self) -> Moment;
    /// Wall time.
    fn wall(&self) -> Timestamp;
}

/// A shared clock.
pub(crate) type SharedClock = Arc<dyn Clock>;

/// The machine's clocks.
pub(crate) struct MachineClock {
    start: tokio::time::Instant,
}

impl MachineClock {
    /// A clock that counts from now.
    #[expect(clippy::disallowed_methods, reason = "the border: the one place that reads the clocks")]
    pub(crate) fn start() -> SharedClock {
        Arc::new(MachineClock { start: tokio::time::Instant::now() })
    }
}

#[expect(clippy::disallowed_methods, reason = "the border: the one place that reads the clocks")]
impl Clock for MachineClock {
    fn moment(&self) -> Moment {
        Moment(tokio::time::Instant::now().duration_since(self.start))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}
