//! The brake of the whole server: freeze, thaw, and one step at a time.
//!
//! Comes in: requests and events that want to go on. Goes out: each at once, or, frozen, in the order of their arrival, one
//! for each step. Holds no request itself, only a place in the row; who gives up waiting loses it.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::oneshot;

#[derive(Default)]
pub(crate) struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    frozen: bool,
    row: VecDeque<oneshot::Sender<()>>,
}

/// How somebody came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    Freely,
    /// Alone, by a step or by the thaw.
    Waited,
}

impl Gate {
    /// Cancel safe: who doesn't wait any more has no place in the row.
    pub(crate) async fn enter(&self) -> Passed {
        let waiting = {
            let mut state = self.0.lock();
            if !state.frozen {
                return Passed::Freely;
            }
            // As many places as there are who wait: those who gave up are forgotten here.
            state.row.retain(|place| !place.is_closed());
            let (place, waiting) = oneshot::channel();
            state.row.push_back(place);
            waiting
        };
        // The sender is only dropped with the server itself.
        let _ = waiting.await;
        Passed::Waited
    }

    pub(crate) fn freeze(&self) {
        self.0.lock().frozen = true;
    }

    pub(crate) fn thaw(&self) {
        let row = {
            let mut state = self.0.lock();
            state.frozen = false;
            std::mem::take(&mut state.row)
        };
        for place in row {
            let _ = place.send(());
        }
    }

    /// Lets the first in the row through. `false`: nobody waits.
    pub(crate) fn step(&self) -> bool {
        loop {
            let Some(place) = self.0.lock().row.pop_front() else { return false };
            if place.send(()).is_ok() {
                return true;
            }
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().row.iter().filter(|place| !place.is_closed()).count()
    }
}
