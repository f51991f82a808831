//! Running watches under freeze and partition.
//!
//! Comes in: the pieces of a watch as the server makes them. Goes out: the same, one event at a time while the server is
//! frozen, none while a partition cuts their client off. Costs one relaxed load a piece where nothing is armed.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep_until;

use super::facts::Facts;
use super::faults::Core;
use super::gate::Passed;
use crate::server::Shared;

pub(crate) struct Pace {
    shared: Arc<Shared>,
    facts: Arc<Facts>,
    /// Events that the gate has not let through yet.
    rest: Bytes,
}

impl Pace {
    pub(crate) fn new(shared: Arc<Shared>, facts: Arc<Facts>) -> Self {
        Self { shared, facts, rest: Bytes::new() }
    }

    /// What was held back before.
    pub(crate) fn held(&mut self) -> Option<Bytes> {
        (!self.rest.is_empty()).then(|| std::mem::take(&mut self.rest))
    }

    /// Waits until `chunk`, or its first event, may go; `None` is the end of the stream, which waits too.
    pub(crate) async fn release(&mut self, chunk: Option<Bytes>) -> Option<Bytes> {
        if !self.shared.faults.is_armed() {
            return chunk;
        }
        let core = self.shared.faults.clone();
        self.reconnected(&core).await;
        let passed = core.gate.enter().await;
        let chunk = chunk?;
        let end = chunk.iter().position(|byte| *byte == b'\n').map_or(chunk.len(), |at| at + 1);
        if passed == Passed::Freely || end == chunk.len() {
            return Some(chunk);
        }
        self.rest = chunk.slice(end..);
        Some(chunk.slice(..end))
    }

    /// Waits until no partition cuts this client off.
    async fn reconnected(&self, core: &Core) {
        let mut told = None;
        loop {
            // A rule may be over with the rules, by the clock, or at a version.
            let (mut changed, mut written) = (core.rules_changed(), self.shared.written());
            let version = self.shared.state.lock().store.version();
            let Some((rule, end)) = core.cut_off(&self.facts, version) else { return };
            if told.as_ref() != Some(&rule) {
                core.fire(&self.facts, &rule);
                told = Some(rule);
            }
            let over = async {
                match end {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            // Each only makes it look again.
            tokio::select! {
                biased;
                () = changed.rung() => {}
                () = written.rung() => {}
                () = over => {}
            }
        }
    }
}
