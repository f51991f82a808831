//! Parts: what an informer watches: everything, or a namespace each; and how one more is made.
//!
//! In: sources of namespaces. Out: for each a queue and a reflector that fills it, and the list of the parts there are, for whoever
//! asks. One who asks waits for nobody: the list is changed aside. It starts and stops nothing itself, and a number is never given twice, so a
//! namespace that comes back is another part.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::errands::Errands;
use super::reflecting::{Reflecting, Start};
use crate::budget::Budget;
use crate::config::{DeltaOrder, InformerConfig};
use crate::decode::Decoder;
use crate::delta_fifo::{Coalescing, DeltaFifo, Ordered};
use crate::list_watch::ListWatch;
use crate::metrics::{Look, Meter, MetricsConfig};
use crate::object::Cached;
use crate::reflector::{Reflector, ReflectorHandle};
use crate::sight::Sight;
use crate::store::{self, ThreadSafeStore};

/// Where a part of the cache comes from.
pub(super) struct Part<K> {
    pub(super) number: usize,
    pub(super) namespace: Option<String>,
    pub(super) list_watch: Arc<dyn ListWatch>,
    pub(super) reflector: ReflectorHandle,
    pub(super) fifo: DeltaFifo<K>,
    /// Cancelled when it is removed: the informer may go on.
    pub(super) left: CancellationToken,
    /// Cancelled when its reflector has stopped.
    pub(super) stopped: CancellationToken,
}

/// Makes the source of a namespace that is only named.
pub(super) type Sources = Arc<dyn Fn(&str) -> Arc<dyn ListWatch> + Send + Sync>;

/// The parts at one moment.
pub(super) struct Present<K> {
    pub(super) parts: Vec<Arc<Part<K>>>,
    /// What those that have left had counted.
    gone: Counted,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    coalesced: u64,
    unchanged: u64,
    stale: u64,
}

pub(super) struct Parts<K> {
    present: Arc<ArcSwap<Present<K>>>,
    /// Held by whoever changes which parts there are.
    making: Mutex<Making<K>>,
    store: ThreadSafeStore<K>,
    pub(super) reflecting: Arc<Errands<Reflecting>>,
}

/// What a part is made of, beside its source.
pub(super) struct Making<K> {
    next: usize,
    decoder: Decoder<K>,
    config: InformerConfig,
    sight: Sight,
    pub(super) budget: Budget,
    pub(super) sources: Option<Sources>,
}

impl<K: Cached> Parts<K> {
    /// None yet. Looks of `sight`'s meter are at all parts together.
    pub(super) fn new(
        decoder: &Decoder<K>,
        config: &InformerConfig,
        store: &ThreadSafeStore<K>,
        mut sight: Sight,
    ) -> Self {
        let none = Present { parts: Vec::new(), gone: Counted::default() };
        let present = Arc::new(ArcSwap::from_pointee(none));
        let meter = |metrics: &MetricsConfig| Arc::new(meter(metrics, &present, store));
        sight.meter = config.metrics.as_ref().map(meter);
        let (decoder, config, budget) = (decoder.clone(), config.clone(), Budget::default());
        let making = Making { next: 0, decoder, config, sight, budget, sources: None };
        Self { present, making: Mutex::new(making), store: store.clone(), reflecting: Arc::new(Errands::new()) }
    }

    pub(super) fn sight(&self) -> Sight {
        self.making.lock().sight.clone()
    }

    /// One more, which nobody sees yet.
    pub(super) fn make(
        &self,
        making: &mut Making<K>,
        namespace: Option<String>,
        source: Arc<dyn ListWatch>,
    ) -> Start<K> {
        let Making { next, decoder, config, sight, budget, .. } = making;
        let number = *next;
        *next += 1;
        let fifo = match config.order {
            DeltaOrder::Coalescing => {
                DeltaFifo::with_queue(Coalescing::default().explained(sight.explain.clone()), config.fifo)
            }
            DeltaOrder::Ordered => DeltaFifo::with_queue(Ordered::default(), config.fifo),
        };
        if sight.meter.is_some() {
            fifo.keep_ages();
        }
        let mut config = config.reflector.clone();
        config.seed = config.seed.wrapping_add(number as u64);
        if let Some(namespace) = &namespace {
            config.name = format!("{} in {namespace}", config.name);
        }
        let known = Arc::new(store::Part { store: self.store.clone(), namespace: namespace.clone() });
        let (reflector, handle) = Reflector::new(Arc::clone(&source), decoder.clone(), known, fifo.clone(), config);
        let reflector = reflector.within(namespace.clone()).with_budget(budget.clone()).with_sight(sight.clone());
        let (left, stopped) = (CancellationToken::new(), CancellationToken::new());
        let stops = stopped.clone().drop_guard();
        let part = Part { number, namespace, list_watch: source, reflector: handle, fifo, left, stopped };
        Start { part: Arc::new(part), reflector, stops }
    }

    /// From now on everybody sees it.
    pub(super) fn show(&self, _making: &Making<K>, part: Arc<Part<K>>) {
        let Present { parts, gone } = &**self.present.load();
        let parts = parts.iter().cloned().chain([part]).collect();
        self.present.store(Arc::new(Present { parts, gone: *gone }));
    }

    /// From now on nobody sees it.
    pub(super) fn hide(&self, _making: &Making<K>, part: &Part<K>) {
        let Present { parts, gone } = &**self.present.load();
        let counts = part.reflector.status().counts;
        let gone = Counted {
            coalesced: gone.coalesced + part.fifo.coalesced(),
            unchanged: gone.unchanged + counts.unchanged,
            stale: gone.stale + counts.stale_dropped,
        };
        let parts = parts.iter().filter(|other| other.number != part.number).cloned().collect();
        self.present.store(Arc::new(Present { parts, gone }));
    }
}

impl<K> Part<K> {
    /// `None`: it has left meanwhile. Cancel-safe if that is.
    pub(super) async fn unless_left<T>(&self, awaited: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.left.cancelled() => None,
            result = awaited => Some(result),
        }
    }
}

impl<K> Parts<K> {
    /// Those there are now.
    pub(super) fn present(&self) -> Arc<Present<K>> {
        self.present.load_full()
    }

    /// Nobody else changes which there are while this is held.
    pub(super) fn changing(&self) -> MutexGuard<'_, Making<K>> {
        self.making.lock()
    }
}

impl<K> Present<K> {
    pub(super) fn of(&self, namespace: &str) -> Option<&Arc<Part<K>>> {
        self.parts.iter().find(|part| part.namespace.as_deref() == Some(namespace))
    }
}

/// Looks at all parts together.
fn meter<K: Cached>(config: &MetricsConfig, present: &Arc<ArcSwap<Present<K>>>, store: &ThreadSafeStore<K>) -> Meter {
    let (present, store, indexed) = (Arc::clone(present), store.clone(), store.clone());
    let look = move || {
        let present = present.load();
        let fifos = || present.parts.iter().map(|part| &part.fifo);
        Look {
            queued_items: fifos().map(DeltaFifo::depth).sum(),
            queued_bytes: fifos().map(DeltaFifo::bytes).sum(),
            waiting_since: fifos().filter_map(DeltaFifo::waiting_since).min(),
            coalesced: present.gone.coalesced + fifos().map(DeltaFifo::coalesced).sum::<u64>(),
            unchanged_of_gone: present.gone.unchanged,
            stale_of_gone: present.gone.stale,
            reached: store.reached().version,
            objects: store.len(),
            bytes: store.bytes(),
            reflectors: present.parts.iter().map(|part| part.reflector.clone()).collect(),
        }
    };
    Meter::new(config, look, move || indexed.indexes().iter().map(|index| index.panics).sum())
}
