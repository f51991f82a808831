//! Metrics: who leads, until when, and what was refused, without a metrics library.
//!
//! In: what elector, gate and fence say of themselves, as it changes and when [`Sight::observe`](crate::Sight::observe) asks.
//! Out: calls of a [`Metrics`] sink. Never: a history (that is [`Sight::history`](crate::Sight::history)), or a call under a lock.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::record::Epoch;

/// Where an election's measures go: one method for each.
///
/// | method | name | kind, unit | upstream | what it says |
/// | --- | --- | --- | --- | --- |
/// | `master_status` | `leader_election_master_status` | gauge, 0 or 1 | the same | whether this process holds the Lease |
/// | `slowpath` | `leader_election_slowpath_total` | counter | the same | times a holder had to read the Lease before it could renew |
/// | `terms` | `leader_election_terms_total` | counter | none | terms won |
/// | `epoch` | `leader_election_epoch` | gauge, last 15 digits | none | of the term won last |
/// | `time_to_closing` | `leader_election_time_to_closing_seconds` | gauge, observed | none | how long the gate stays open without another renewal; zero if it is closed |
/// | `renewal_latency` | `leader_election_renewal_latency_seconds` | histogram | none | from the sending of a renewal that succeeded to its answer |
/// | `closings` | `leader_election_closings_total` | counter by reason | none | gates that have closed, see [`CloseReason::label`](crate::CloseReason::label) |
/// | `doubts` | `leader_election_doubts_total` | counter | none | times an open gate was shut until the server was asked: the clocks had jumped |
/// | `refused_writes` | `leader_election_refused_writes_total` | counter by reason | none | writes the fence has not sent, see [`Refusal::label`](crate::Refusal::label) |
/// | `contenders` | `leader_election_contenders_seen` | gauge | none | identities seen as holders, this one included, at most 64 |
///
/// A sink is made for one Lease of one process. Calls come from the elector's thread, and from whatever thread closes a gate or writes.
/// It must not block: a renewal may wait for it. A panic is caught and ignored. Upstream: `leaderelection.MetricsProvider`.
pub trait Metrics: Send + Sync {
    /// Whose measures these are, `namespace/name` of the Lease: told once, before all others. Upstream's label `name`.
    fn lease(&self, lease: &str);
    /// `leader_election_master_status`, a gauge: 1 from the term's being won to its end.
    fn master_status(&self, leads: bool);
    /// `leader_election_slowpath_total`, a counter.
    fn slowpath(&self, more: u64);
    /// `leader_election_terms_total`, a counter.
    fn terms(&self, more: u64);
    /// `leader_election_epoch`, a gauge: the last 15 digits, which a float can hold.
    fn epoch(&self, last_digits: u64);
    /// `leader_election_time_to_closing_seconds`, a gauge.
    fn time_to_closing(&self, left: Duration);
    /// `leader_election_renewal_latency_seconds`, a histogram.
    fn renewal_latency(&self, took: Duration);
    /// `leader_election_closings_total`, a counter with a label `reason`.
    fn closings(&self, reason: &'static str);
    /// `leader_election_doubts_total`, a counter.
    fn doubts(&self, more: u64);
    /// `leader_election_refused_writes_total`, a counter with a label `reason`.
    fn refused_writes(&self, reason: &'static str);
    /// `leader_election_contenders_seen`, a gauge.
    fn contenders(&self, seen: usize);
}

/// A sink, or none, which costs nothing.
#[derive(Clone, Default)]
pub struct MetricsSink(Sink);

#[derive(Clone, Default)]
enum Sink {
    #[default]
    None,
    One(Arc<dyn Metrics>),
    Each(Make),
}

/// Makes the sink of one Lease.
type Make = Arc<dyn Fn(&str) -> Arc<dyn Metrics> + Send + Sync>;

impl MetricsSink {
    /// This sink, for one Lease.
    pub fn new(sink: Arc<dyn Metrics>) -> Self {
        Self(Sink::One(sink))
    }

    /// A sink for each Lease (`namespace/name`) that is stood for with this config: several, with buckets or a Lease a controller.
    pub fn for_each(make: impl Fn(&str) -> Arc<dyn Metrics> + Send + Sync + 'static) -> Self {
        Self(Sink::Each(Arc::new(make)))
    }

    /// The sink of one Lease.
    pub(crate) fn of(&self, lease: &str) -> Self {
        match &self.0 {
            Sink::Each(make) => Self(Sink::One(make(lease))),
            Sink::None | Sink::One(_) => self.clone(),
        }
    }

    /// Tells the sink, if there is one. A measure must not end a term, so a panic ends here.
    pub(crate) fn tell(&self, what: impl FnOnce(&dyn Metrics)) {
        if let Sink::One(sink) = &self.0 {
            // Its message went to the panic hook.
            _ = catch_unwind(AssertUnwindSafe(|| what(sink.as_ref())));
        }
    }
}

impl fmt::Debug for MetricsSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if matches!(self.0, Sink::None) { "MetricsSink(none)" } else { "MetricsSink(some)" })
    }
}

/// An epoch as a gauge can show it.
pub(crate) fn last_digits(epoch: Epoch) -> u64 {
    const DIGITS: u128 = 1_000_000_000_000_000;
    u64::try_from(epoch.number() % DIGITS).unwrap_or(0)
}
