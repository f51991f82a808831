//! Sinks: one that remembers all it is told, one that panics whenever it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use watchkeeper_informer::{InformerConfig, Labels, Metrics, MetricsConfig, ResourceKind};

/// All values told, by method and, where there is one, the handler's name; durations in seconds.
#[derive(Default)]
pub(crate) struct Told(Mutex<BTreeMap<String, Vec<f64>>>);

impl Told {
    pub(crate) fn config(self: &Arc<Self>) -> InformerConfig {
        metered(Arc::clone(self) as Arc<dyn Metrics>)
    }

    pub(crate) fn all(&self, name: &str) -> Vec<f64> {
        self.0.lock().get(name).cloned().unwrap_or_default()
    }

    /// The newest value of a gauge.
    pub(crate) fn last(&self, name: &str) -> Option<f64> {
        self.all(name).last().copied()
    }

    /// What a counter stands at.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.all(name).iter().sum()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    fn note(&self, name: &str, value: f64) {
        self.0.lock().entry(name.to_owned()).or_default().push(value);
    }
}

/// Panics at whatever it is told.
pub(crate) struct Broken;

pub(crate) fn metered(sink: Arc<dyn Metrics>) -> InformerConfig {
    let kind = ResourceKind::of::<k8s_openapi::api::core::v1::ConfigMap>();
    let labels = Labels::of("test", &kind);
    InformerConfig { metrics: Some(MetricsConfig { labels, sink }), ..InformerConfig::default() }
}

macro_rules! sinks {
    ($($method:ident: $value:ty => $number:expr),* $(,)?) => {
        impl Metrics for Told {
            fn labels(&self, labels: &Labels) {
                let Labels { name, group, version, resource } = labels;
                self.note(&format!("labels {name},{group},{version},{resource}"), 1.0);
            }
            $(fn $method(&self, value: $value) {
                let number: fn($value) -> f64 = $number;
                self.note(stringify!($method), number(value));
            })*
            fn handler_pending(&self, handler: &str, keys: usize) {
                self.note(&format!("handler_pending {handler}"), keys as f64);
            }
            fn handler_lag(&self, handler: &str, age: Duration) {
                self.note(&format!("handler_lag {handler}"), age.as_secs_f64());
            }
        }

        impl Metrics for Broken {
            fn labels(&self, _: &Labels) {
                panic!("labels");
            }
            $(fn $method(&self, _: $value) {
                panic!(stringify!($method));
            })*
            fn handler_pending(&self, _: &str, _: usize) {
                panic!("handler_pending");
            }
            fn handler_lag(&self, _: &str, _: Duration) {
                panic!("handler_lag");
            }
        }
    };
}

sinks! {
    queued_items: usize => |items| items as f64,
    processing_latency: Duration => |took| took.as_secs_f64(),
    store_resource_version: u64 => |digits| digits as f64,
    lists: u64 => |more| more as f64,
    list_duration: Duration => |took| took.as_secs_f64(),
    items_per_list: usize => |items| items as f64,
    watches: u64 => |more| more as f64,
    short_watches: u64 => |more| more as f64,
    watch_duration: Duration => |lasted| lasted.as_secs_f64(),
    items_per_watch: usize => |items| items as f64,
    last_resource_version: u64 => |digits| digits as f64,
    last_event_age: Duration => |age| age.as_secs_f64(),
    queued_bytes: usize => |bytes| bytes as f64,
    queue_lag: Duration => |age| age.as_secs_f64(),
    coalesced: u64 => |more| more as f64,
    unchanged: u64 => |more| more as f64,
    stale_drops: u64 => |more| more as f64,
    quarantined: usize => |objects| objects as f64,
    cached_objects: usize => |objects| objects as f64,
    cached_bytes: u64 => |bytes| bytes as f64,
    index_panics: u64 => |more| more as f64,
}
