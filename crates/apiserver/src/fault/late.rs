//! Requests whose client has given up, and which arrive all the same.
//!
//! Comes in: a write that a rule holds up, at the moment its future is dropped. Goes out: the same write, to whoever asks
//! next once it is due. Nothing runs by itself: a straggler is carried out inside the next request, before it, so that no
//! request ever sees a server that a due straggler hasn't reached.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, request};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::facts::Facts;
use super::faults::Core;

/// Stragglers at once; more are lost on the way.
const LATE_LIMIT: usize = 1024;

/// A write on its way.
pub(super) struct Straggler {
    pub(super) due: Instant,
    pub(super) facts: Arc<Facts>,
    pub(super) parts: request::Parts,
    pub(super) body: Bytes,
}

impl Straggler {
    pub(super) fn into_request(self) -> Request<Full<Bytes>> {
        Request::from_parts(self.parts, Full::new(self.body))
    }
}

/// The stragglers of a server.
#[derive(Default)]
pub(crate) struct Late(Mutex<Vec<Straggler>>);

impl Late {
    fn park(&self, straggler: Straggler) {
        let mut all = self.0.lock();
        if all.len() < LATE_LIMIT {
            all.push(straggler);
        }
    }

    /// The one that has been due for longest.
    pub(super) fn next(&self, now: Instant) -> Option<Straggler> {
        let mut all = self.0.lock();
        let due = all.iter().enumerate().filter(|(_, straggler)| straggler.due <= now);
        let first = due.min_by_key(|(_, straggler)| (straggler.due, straggler.facts.number)).map(|(at, _)| at)?;
        Some(all.swap_remove(first))
    }
}

/// Holds a write while its client waits; dropped, it lets the write travel on alone.
pub(super) struct Travelling {
    core: Arc<Core>,
    straggler: Option<Straggler>,
}

impl Travelling {
    pub(super) fn new(core: &Arc<Core>, straggler: Straggler) -> Self {
        Self { core: core.clone(), straggler: Some(straggler) }
    }

    /// Its client is still there to hear the answer.
    pub(super) fn arrived(mut self) -> Option<Straggler> {
        self.straggler.take()
    }
}

impl Drop for Travelling {
    fn drop(&mut self) {
        if let Some(straggler) = self.straggler.take() {
            self.core.late.park(straggler);
        }
    }
}
