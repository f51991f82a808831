//! The elector's side of a gate, for the models of it: what else only an elector and a standing may call.
//!
//! In: what they would tell the gate. Out: what it answers. Never: part of a normal build.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{GateClock, Moment};
use crate::gate::{GateClosed, Holder, Term};
use crate::identity::Identity;
use crate::metrics::MetricsSink;
use crate::record::Epoch;

/// A term won now; its gate is not open yet.
pub fn won(clock: Arc<dyn GateClock>, hold: Duration, stop_bound: Duration, metrics: MetricsSink) -> Term {
    let identity = Identity::from_parts("model", 1, 1).expect("a good name");
    let sent = Moment::of(clock.as_ref());
    let epoch_annotation = "".into();
    Term::won(&Holder { clock, identity, hold, stop_bound, metrics, epoch_annotation }, Epoch::new(1), sent)
}

/// Opens the gate.
///
/// # Errors
/// It has closed, or can't act yet.
pub fn open(term: &Term) -> Result<(), GateClosed> {
    term.open()
}

/// Notices that time has run out: true if the term is lost.
pub fn tick(term: &Term) -> bool {
    term.tick()
}

/// A renewal that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Renewal(Moment);

impl Renewal {
    /// Sends one now.
    pub fn send(clock: &dyn GateClock) -> Self {
        Self(Moment::of(clock))
    }

    /// It has succeeded: false if the term is lost.
    pub fn succeeded(self, term: &Term) -> bool {
        term.extend(self.0)
    }
}
