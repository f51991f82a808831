//! Meter: looks at all stages of one informer and tells its sink what has changed.
//!
//! In: notes from the stages that something may have changed. Out: calls of the sink, of what differs from what was told last.
//! Nothing is told under a lock, and a panic of the sink ends here.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Metrics, MetricsConfig, last_digits};
use crate::handler::{HandlerStatus, survive};
use crate::reflector::{ReflectorHandle, ReflectorStatus};
use crate::store::{Reached, lowest};
use crate::version::ResourceVersion;

/// What queue and store show, of all parts together.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) queued_items: usize,
    pub(crate) queued_bytes: usize,
    pub(crate) waiting_since: Option<Instant>,
    pub(crate) coalesced: u64,
    pub(crate) reached: Option<ResourceVersion>,
    pub(crate) objects: usize,
    pub(crate) bytes: u64,
    pub(crate) reflectors: Vec<ReflectorHandle>,
    /// What reflectors that aren't there any more have counted.
    pub(crate) unchanged_of_gone: u64,
    pub(crate) stale_of_gone: u64,
}

pub(crate) struct Meter {
    sink: Arc<dyn Metrics>,
    look: Box<dyn Fn() -> Look + Send + Sync>,
    index_panics: Box<dyn Fn() -> u64 + Send + Sync>,
    gauges: Mutex<Gauges>,
    counted: Counted,
}

/// What was told last.
#[derive(Debug, Clone, Default, PartialEq)]
struct Gauges {
    queued_items: Option<usize>,
    queued_bytes: Option<usize>,
    reached: Option<u64>,
    pushed: Option<u64>,
    quarantined: Option<usize>,
    objects: Option<usize>,
    bytes: Option<u64>,
}

/// Sums of which the sink has been told.
#[derive(Debug, Default)]
struct Counted {
    coalesced: AtomicU64,
    unchanged: AtomicU64,
    stale: AtomicU64,
    index_panics: AtomicU64,
}

impl Meter {
    /// Tells the sink at once who it is told of. `look` and `index_panics` are asked under no lock.
    pub(crate) fn new(
        config: &MetricsConfig,
        look: impl Fn() -> Look + Send + Sync + 'static,
        index_panics: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        let meter = Self {
            sink: Arc::clone(&config.sink),
            look: Box::new(look),
            index_panics: Box::new(index_panics),
            gauges: Mutex::default(),
            counted: Counted::default(),
        };
        meter.tell(|sink| sink.labels(&config.labels));
        meter
    }

    fn tell(&self, measure: impl FnOnce(&dyn Metrics)) {
        // A panic of the sink mustn't lose an event; the panic hook has reported it.
        _ = survive(|| measure(&*self.sink));
    }

    pub(crate) fn list_begun(&self) {
        self.tell(|sink| sink.lists(1));
    }

    pub(crate) fn listed(&self, took: Duration, items: usize) {
        self.tell(|sink| sink.list_duration(took));
        self.tell(|sink| sink.items_per_list(items));
    }

    pub(crate) fn watch_begun(&self) {
        self.tell(|sink| sink.watches(1));
    }

    pub(crate) fn watched(&self, lasted: Duration, items: usize, is_short: bool) {
        self.tell(|sink| sink.watch_duration(lasted));
        self.tell(|sink| sink.items_per_watch(items));
        if is_short {
            self.tell(|sink| sink.short_watches(1));
        }
    }

    /// A batch is in the store, sources have been told and mailboxes have it.
    pub(crate) fn applied(&self, took: Duration, stale: usize) {
        self.tell(|sink| sink.processing_latency(took));
        if stale > 0 {
            self.tell(|sink| sink.stale_drops(stale as u64));
        }
        self.tell_index_panics();
        self.changed();
    }

    /// Something may have changed: tells what has.
    pub(crate) fn changed(&self) {
        self.tell_look(&(self.look)(), false);
    }

    /// Tells what changes by itself, and every gauge once more.
    pub(crate) fn observe(&self, handlers: &[HandlerStatus], now: Instant) {
        let look = (self.look)();
        self.tell_look(&look, true);
        self.tell_index_panics();
        let age = |since: Option<Instant>| since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.tell(|sink| sink.queue_lag(age(look.waiting_since)));
        let arrivals = look.reflectors.iter().filter_map(ReflectorHandle::last_arrival);
        if let Some(oldest) = arrivals.min() {
            self.tell(|sink| sink.last_event_age(age(Some(oldest))));
        }
        for HandlerStatus { name, pending, pending_since, .. } in handlers {
            self.tell(|sink| sink.handler_pending(name, *pending));
            self.tell(|sink| sink.handler_lag(name, age(*pending_since)));
        }
    }

    fn tell_look(&self, look: &Look, all: bool) {
        let statuses: Vec<_> = look.reflectors.iter().map(ReflectorHandle::status).collect();
        let sum = |count: fn(&ReflectorStatus) -> u64| statuses.iter().map(count).sum::<u64>();
        let pushed = |status: &ReflectorStatus| Reached { version: status.version.clone(), replacements: 0 };
        let pushed = lowest(&statuses.iter().map(pushed).collect::<Vec<_>>()).version;
        let now = Gauges {
            queued_items: Some(look.queued_items),
            queued_bytes: Some(look.queued_bytes),
            reached: look.reached.as_ref().and_then(last_digits),
            pushed: pushed.as_ref().and_then(last_digits),
            quarantined: Some(look.reflectors.iter().map(ReflectorHandle::quarantined).sum()),
            objects: Some(look.objects),
            bytes: Some(look.bytes),
        };
        let before = mem::replace(&mut *self.gauges.lock(), now.clone());
        self.tell_gauges(&now, &if all { Gauges::default() } else { before });
        self.tell_more(&self.counted.coalesced, look.coalesced, |sink, more| sink.coalesced(more));
        let unchanged = look.unchanged_of_gone + sum(|it| it.counts.unchanged);
        let stale = look.stale_of_gone + sum(|it| it.counts.stale_dropped);
        self.tell_more(&self.counted.unchanged, unchanged, |sink, more| sink.unchanged(more));
        self.tell_more(&self.counted.stale, stale, |sink, more| sink.stale_drops(more));
    }

    fn tell_gauges(&self, now: &Gauges, before: &Gauges) {
        self.tell_gauge(now.queued_items, before.queued_items, |sink, items| sink.queued_items(items));
        self.tell_gauge(now.queued_bytes, before.queued_bytes, |sink, bytes| sink.queued_bytes(bytes));
        self.tell_gauge(now.reached, before.reached, |sink, digits| sink.store_resource_version(digits));
        self.tell_gauge(now.pushed, before.pushed, |sink, digits| sink.last_resource_version(digits));
        self.tell_gauge(now.quarantined, before.quarantined, |sink, objects| sink.quarantined(objects));
        self.tell_gauge(now.objects, before.objects, |sink, objects| sink.cached_objects(objects));
        self.tell_gauge(now.bytes, before.bytes, |sink, bytes| sink.cached_bytes(bytes));
    }

    fn tell_gauge<T: Copy + PartialEq>(&self, now: Option<T>, before: Option<T>, measure: fn(&dyn Metrics, T)) {
        if let Some(value) = now
            && now != before
        {
            self.tell(|sink| measure(sink, value));
        }
    }

    fn tell_index_panics(&self) {
        let panics = (self.index_panics)();
        self.tell_more(&self.counted.index_panics, panics, |sink, more| sink.index_panics(more));
    }

    /// Each part of a sum is told once, whoever comes first.
    fn tell_more(&self, counted: &AtomicU64, sum: u64, measure: fn(&dyn Metrics, u64)) {
        let before = counted.fetch_max(sum, Ordering::Relaxed);
        if sum > before {
            self.tell(|sink| measure(sink, sum - before));
        }
    }
}
