//! Places for connections: who is idle, and who has to go when there are more connections than places.
//!
//! Comes in: connections that open and close, requests that begin and end. Goes out: a sign to the one that has been idle
//! longest. Never ends a connection that has a request in progress.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::Id;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Whoever has been idle for less keeps its place: a newcomer is about to send its request.
pub(crate) const LEAST_IDLE: Duration = Duration::from_millis(100);

/// The connection's own view of its place.
pub(crate) struct Place {
    clock: Arc<dyn Clock>,
    /// `None`: a request is in progress.
    idle_since: Mutex<Option<Instant>>,
    /// Told to end after the request in progress.
    pub(crate) leave: CancellationToken,
}

/// A request in progress, to the last byte of its answer.
pub(crate) struct Busy(Arc<Place>);

/// All connections that are open.
#[derive(Default)]
pub(crate) struct Places(HashMap<Id, Arc<Place>>);

impl Place {
    pub(crate) fn new(clock: Arc<dyn Clock>, leave: CancellationToken) -> Arc<Self> {
        let idle_since = Mutex::new(Some(clock.now()));
        Arc::new(Self { clock, idle_since, leave })
    }

    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        *self.idle_since.lock() = None;
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.idle_since.lock() = Some(self.0.clock.now());
    }
}

impl Places {
    pub(crate) fn opened(&mut self, id: Id, place: Arc<Place>) {
        self.0.insert(id, place);
    }

    pub(crate) fn closed(&mut self, id: Id) {
        self.0.remove(&id);
    }

    /// Tells the connection to leave that has been idle longest, if any is.
    pub(crate) fn make_room(&self, now: Instant) {
        let idle = |place: &Arc<Place>| {
            let since = place.idle_since.lock().filter(|since| now.saturating_duration_since(*since) >= LEAST_IDLE);
            since.filter(|_| !place.leave.is_cancelled())
        };
        let longest = self.0.values().filter_map(|place| Some((idle(place)?, place))).min_by_key(|(since, _)| *since);
        if let Some((_, place)) = longest {
            place.leave.cancel();
        }
    }
}
