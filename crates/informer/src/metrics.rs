//! Metrics: how far an informer has come, how much waits at each stage, and how it reads, without a metrics library.
//!
//! In: what the stages say of themselves, as it changes and when [`InformerHandle::observe`](crate::InformerHandle::observe)
//! asks. Out: calls of a [`Metrics`] sink. It never keeps a history, and never holds up a stage but for the time of the call.
//!
//! | method | name | kind, unit | upstream | what it says |
//! | --- | --- | --- | --- | --- |
//! | `queued_items` | `informer_queued_items` | gauge | the same | waits in the DeltaFIFO |
//! | `processing_latency` | `informer_processing_latency_seconds` | histogram, [`LATENCY_BUCKETS`] | the same, a delta each | from taking a batch until store, sources and mailboxes have it |
//! | `store_resource_version` | `informer_store_resource_version` | gauge | the same | version reached: what readers see |
//! | `lists` | `reflector_lists_total` | counter | `NewListsMetric` | lists begun, streaming ones too; pages and audits don't count |
//! | `list_duration` | `reflector_list_duration_seconds` | summary | `NewListDurationMetric` | of a complete list, the store's catching up before it included |
//! | `items_per_list` | `reflector_items_per_list` | summary | `NewItemsInListMetric` | of a complete list |
//! | `watches` | `reflector_watches_total` | counter | `NewWatchesMetric` | watch requests, streaming lists too |
//! | `short_watches` | `reflector_short_watches_total` | counter | `NewShortWatchesMetric`, below 1 s | ended with nothing within [`ReflectorConfig::suspicious`](crate::ReflectorConfig::suspicious) |
//! | `watch_duration` | `reflector_watch_duration_seconds` | summary | `NewWatchDurationMetric` | of a watch that was answered |
//! | `items_per_watch` | `reflector_items_per_watch` | summary | `NewItemsInWatchMetric` | its events, bookmarks not counted |
//! | `last_resource_version` | `reflector_last_resource_version` | gauge | `NewLastResourceVersionMetric` | version pushed; the store's lags behind it |
//! | `last_event_age` | `informer_last_event_age_seconds` | gauge, observed | none | since a piece of a list or a watch came, bookmarks included |
//! | `queued_bytes` | `informer_queued_bytes` | gauge | none | of the deltas that wait, as they arrived |
//! | `queue_lag` | `informer_queue_lag_seconds` | gauge, observed | none | age of the oldest thing that the store has yet to take |
//! | `coalesced` | `informer_coalesced_total` | counter | none | deltas left out because newer ones made them superfluous |
//! | `unchanged` | `informer_relist_unchanged_total` | counter | none | items of relists that weren't decoded: they are cached |
//! | `stale_drops` | `informer_stale_drops_total` | counter | none | events and items older than what is known, by reflector or store |
//! | `quarantined` | `informer_quarantined_objects` | gauge | none | objects that can't be decoded |
//! | `cached_objects` | `informer_cached_objects` | gauge | none | objects in the store |
//! | `cached_bytes` | `informer_cached_bytes` | gauge | none | bytes they hold |
//! | `index_panics` | `informer_index_panics_total` | counter | none | panics of index functions |
//! | `handler_pending` | `informer_handler_pending` | gauge, observed | none | keys of which this handler has yet to hear |
//! | `handler_lag` | `informer_handler_lag_seconds` | gauge, observed | none | age of the oldest of them |
//!
//! The names of the reflector's measures are those that Kubernetes once gave to what client-go still has hooks for. A
//! gauge that says observed changes by itself, and is told by `observe` alone; the others are told as they change, a piece of
//! a body or a batch at a time, and by `observe` once more. Of an informer over several namespaces, sizes are sums, versions the
//! lowest and ages the longest of theirs. A [`Reflector`](crate::Reflector) or a [`Processor`](crate::Processor) that stands alone
//! has no measures. What a shutdown cuts off, a list or a watch, has no duration.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::scope::ResourceKind;
use crate::version::ResourceVersion;

mod meter;

pub(crate) use meter::{Look, Meter};

/// The bounds of upstream's buckets for `informer_processing_latency_seconds`, in seconds.
pub const LATENCY_BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Where an informer's measures go: one method for each, see the table of [this module](self).
///
/// A sink is made for one informer. It is called outside of every lock, by whatever task or thread has changed something, so calls
/// may overtake each other: each carries a value that was true. It must not block. A panic is caught and ignored, since it
/// mustn't lose an event. Versions are given as their last 15 digits ([`last_digits`]), as upstream does; those that aren't
/// numbers aren't told.
///
/// Upstream: `cache.InformerMetricsProvider` and `cache.MetricsProvider`, which make a metric an informer.
pub trait Metrics: Send + Sync {
    /// Whose measures these are: told once, before all others.
    fn labels(&self, labels: &Labels);
    /// `informer_queued_items`, a gauge.
    fn queued_items(&self, items: usize);
    /// `informer_processing_latency_seconds`, a histogram.
    fn processing_latency(&self, took: Duration);
    /// `informer_store_resource_version`, a gauge.
    fn store_resource_version(&self, last_digits: u64);
    /// `reflector_lists_total`, a counter.
    fn lists(&self, more: u64);
    /// `reflector_list_duration_seconds`, a summary.
    fn list_duration(&self, took: Duration);
    /// `reflector_items_per_list`, a summary.
    fn items_per_list(&self, items: usize);
    /// `reflector_watches_total`, a counter.
    fn watches(&self, more: u64);
    /// `reflector_short_watches_total`, a counter.
    fn short_watches(&self, more: u64);
    /// `reflector_watch_duration_seconds`, a summary.
    fn watch_duration(&self, lasted: Duration);
    /// `reflector_items_per_watch`, a summary.
    fn items_per_watch(&self, items: usize);
    /// `reflector_last_resource_version`, a gauge.
    fn last_resource_version(&self, last_digits: u64);
    /// `informer_last_event_age_seconds`, a gauge. Not told before anything has come.
    fn last_event_age(&self, age: Duration);
    /// `informer_queued_bytes`, a gauge.
    fn queued_bytes(&self, bytes: usize);
    /// `informer_queue_lag_seconds`, a gauge; zero where nothing waits.
    fn queue_lag(&self, age: Duration);
    /// `informer_coalesced_total`, a counter.
    fn coalesced(&self, more: u64);
    /// `informer_relist_unchanged_total`, a counter.
    fn unchanged(&self, more: u64);
    /// `informer_stale_drops_total`, a counter.
    fn stale_drops(&self, more: u64);
    /// `informer_quarantined_objects`, a gauge, at most
    /// [`QUARANTINE_LIMIT`](crate::reflector::QUARANTINE_LIMIT) a namespace watched.
    fn quarantined(&self, objects: usize);
    /// `informer_cached_objects`, a gauge.
    fn cached_objects(&self, objects: usize);
    /// `informer_cached_bytes`, a gauge, see [`ThreadSafeStore::bytes`](crate::ThreadSafeStore::bytes).
    fn cached_bytes(&self, bytes: u64);
    /// `informer_index_panics_total`, a counter.
    fn index_panics(&self, more: u64);
    /// `informer_handler_pending`, a gauge with the handler's name as a label: handlers that shall be told apart need names.
    fn handler_pending(&self, handler: &str, keys: usize);
    /// `informer_handler_lag_seconds`, a gauge with the handler's name as a label; zero where nothing is pending.
    fn handler_lag(&self, handler: &str, age: Duration);
}

/// Who an informer is in its measures. The fields are upstream's labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// What the application calls it. Two informers over one resource should have two names.
    pub name: String,
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural of the kind.
    pub resource: String,
}

impl Labels {
    /// Those of an informer over this kind.
    pub fn of(name: &str, kind: &ResourceKind) -> Self {
        let ResourceKind { group, version, plural, .. } = kind.clone();
        Self { name: name.to_owned(), group, version, resource: plural }
    }
}

/// A sink, and whose measures it is given.
#[derive(Clone)]
pub struct MetricsConfig {
    /// Who the informer is.
    pub labels: Labels,
    /// Where its measures go.
    pub sink: Arc<dyn Metrics>,
}

impl fmt::Debug for MetricsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsConfig").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// Equal where the sink is the very same.
impl PartialEq for MetricsConfig {
    fn eq(&self, other: &Self) -> bool {
        self.labels == other.labels && Arc::ptr_eq(&self.sink, &other.sink)
    }
}

/// The last 15 digits of a version, which a floating-point number holds exactly; `None` where it isn't a number.
pub fn last_digits(version: &ResourceVersion) -> Option<u64> {
    const DIGITS: usize = 15;
    let text = version.as_str();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text[text.len().saturating_sub(DIGITS)..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what upstream would show of a version, whatever its length.
    #[test]
    fn versions_are_cut_to_what_a_gauge_can_hold() {
        let digits = |text| last_digits(&ResourceVersion::new(text));
        assert_eq!((digits("7"), digits("123456789012345")), (Some(7), Some(123_456_789_012_345)));
        assert_eq!(digits("9000000000000000000000000000042"), Some(42));
        assert_eq!((digits(""), digits("1a"), digits("é"), digits("+5")), (None, None, None, None));
    }
}
