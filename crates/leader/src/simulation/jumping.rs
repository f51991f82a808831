//! A gate clock that can jump, as one does for a process whose machine was suspended.
//!
//! In: a clock of a steady rate, and jumps. Out: its time, and true times of its instants. Never: jumps back.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::{GateClock, GateInstant, VirtualClock};

#[derive(Clone)]
pub(crate) struct JumpingClock(Arc<Mutex<Pieces>>);

struct Pieces {
    born: Instant,
    offset: Duration,
    /// Since when, of true time since the clock was made, which clock holds.
    pieces: Vec<(Duration, VirtualClock)>,
}

impl JumpingClock {
    /// The clock, which was made just now, standing at `offset`.
    pub(crate) fn new(clock: VirtualClock, offset: Duration) -> Self {
        let pieces = vec![(Duration::ZERO, clock.with_offset(offset))];
        Self(Arc::new(Mutex::new(Pieces { born: super::process::now(), offset, pieces })))
    }

    /// Jumps forward; the wall with it, or not.
    pub(crate) fn jump(&self, by: Duration, wall: bool) {
        let mut state = self.0.lock();
        if wall {
            state.latest().step_wall(by.try_into().expect("a short jump"));
        }
        state.offset += by;
        let since = super::process::now() - state.born;
        let clock = state.latest().clone().with_offset(state.offset);
        state.pieces.push((since, clock));
    }

    /// True time, since the clock was made, at which it reaches `instant`. What it jumps over it reaches at the jump.
    pub(crate) fn true_time(&self, instant: GateInstant) -> Duration {
        let state = self.0.lock();
        let next = state.pieces.iter().skip(1).map(|(since, _)| *since).chain([Duration::MAX]);
        let reached = |((since, clock), end): (&(Duration, VirtualClock), Duration)| {
            Some(clock.true_time(instant).max(*since)).filter(|at| *at < end)
        };
        state.pieces.iter().zip(next).find_map(reached).unwrap_or(Duration::MAX)
    }
}

impl Pieces {
    fn latest(&self) -> &VirtualClock {
        &self.pieces.last().expect("there is a first one").1
    }
}

impl GateClock for JumpingClock {
    fn now(&self) -> GateInstant {
        self.0.lock().latest().now()
    }

    fn wall(&self) -> Timestamp {
        self.0.lock().latest().wall()
    }
}
