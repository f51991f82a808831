//! SharedInformer: one kind and scope of the cluster, kept here.
//!
//! In: a `ListWatch`, or one a namespace, and a config. Out: a handle with everything an application reads: a lister, indexes, handlers,
//! who is synced, the version reached. It is set up before it runs and consumed by [`SharedInformer::run`], which owns
//! every task: the reflectors', one a handler, and the processor's loop, which it runs itself. Nothing is spawned
//! before, and nothing is left after it has returned.
//!
//! Which namespaces it watches may change while it runs: the handle asks, the processor takes the namespace's queue up or lets it go between two batches, and
//! the reflectors' loop starts a task or loses one.
//!
//! Any number of controllers share one informer. It never writes to the server.
//!
//! Upstream counterpart: `SharedIndexInformer` of client-go.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::budget::Budget;
use crate::config::InformerConfig;
use crate::decode::Decoder;
use crate::delta_fifo::{Change, Delta};
use crate::event::Event;
use crate::explain::Explainer;
use crate::index::{Index, IndexValue, RangeIndex};
use crate::list_watch::ListWatch;
use crate::object::{Cached, Labelled};
use crate::sight::Sight;
use crate::store::StoreWriter;

mod errands;
mod handle;
pub mod namespaces;
mod parts;
pub(crate) mod processor;
mod reflecting;
mod told;

pub use handle::{Ended, InformerHandle, NotCaughtUp, SourceGuard};
pub use namespaces::{NamespacesError, Removal};
use parts::Parts;
pub use processor::Processor;
pub(crate) use processor::rethrow;
use reflecting::{Reflecting, Start};

/// An informer being set up.
pub struct SharedInformer<K: Cached> {
    processor: Processor<K>,
    /// One a part: everything, or a namespace each.
    reflectors: Vec<Start<K>>,
    handle: InformerHandle<K>,
    /// It has ended when this is dropped, also if it never ran.
    ends: DropGuard,
}

impl<K: Cached + DeserializeOwned> SharedInformer<K> {
    /// An informer over one kind and scope that keeps whole objects. Nothing happens before [`SharedInformer::run`].
    pub fn new(list_watch: Arc<dyn ListWatch>, config: InformerConfig) -> Self {
        Self::with_decoder(list_watch, Decoder::new(config.decoder), config)
    }
}

impl<K: Cached> SharedInformer<K> {
    /// An informer that keeps what this decoder makes of objects; `config.decoder` has no say. See [`crate::shape`].
    pub fn with_decoder(list_watch: Arc<dyn ListWatch>, decoder: Decoder<K>, config: InformerConfig) -> Self {
        Self::of_parts(vec![(None, list_watch)], &decoder, &config)
    }

    /// An informer over several namespaces, each with a source that lists and watches it alone; for those who may not read a
    /// kind in the whole cluster. One cache and one set of handlers are filled by a reflector a namespace. It is synced when
    /// each of them has listed, and where it stands is the lowest of the versions that they have reached. What a source sends of
    /// other namespaces is passed over. Should be few, tens rather than hundreds: a list of one namespace touches all
    /// objects, and where four of them hang, the others' first lists wait for their deadlines ([`Budget`]).
    ///
    /// They may change, before it runs or while it does: [`InformerHandle::add_namespace_from`], [`InformerHandle::remove_namespace`].
    ///
    /// Upstream counterpart: `cache.Options.DefaultNamespaces` of controller-runtime, with an informer a namespace, which stay the same.
    ///
    /// # Errors
    /// There is no namespace, or an empty one, or one is given twice.
    pub fn in_namespaces(
        sources: impl IntoIterator<Item = (String, Arc<dyn ListWatch>)>,
        decoder: &Decoder<K>,
        config: &InformerConfig,
    ) -> Result<Self, NamespacesError> {
        let (mut seen, mut parts) = (BTreeSet::new(), Vec::new());
        for (namespace, list_watch) in sources {
            if namespace.is_empty() {
                return Err(NamespacesError::Empty);
            }
            if !seen.insert(namespace.clone()) {
                return Err(NamespacesError::Twice(namespace));
            }
            parts.push((Some(namespace), list_watch));
        }
        if parts.is_empty() { Err(NamespacesError::None) } else { Ok(Self::of_parts(parts, decoder, config)) }
    }

    fn of_parts(
        sources: Vec<(Option<String>, Arc<dyn ListWatch>)>,
        decoder: &Decoder<K>,
        config: &InformerConfig,
    ) -> Self {
        let mut writer = StoreWriter::in_parts(sources.iter().map(|(namespace, _)| namespace.clone()).collect());
        if let Some(bytes) = config.bytes_budget {
            writer = writer.with_bytes_budget(bytes);
        }
        let store = writer.store();
        let sight = Sight { meter: None, explain: Explainer::new(config.explain.as_ref()) };
        let parts = Arc::new(Parts::new(decoder, config, &store, sight));
        let start = |(namespace, list_watch)| {
            let mut making = parts.changing();
            let start = parts.make(&mut making, namespace, list_watch);
            parts.show(&making, Arc::clone(&start.part));
            start
        };
        let reflectors: Vec<_> = sources.into_iter().map(start).collect();
        let (fifos, sight) = (reflectors.iter().map(|start| start.part.fifo.clone()).collect(), parts.sight());
        let processor = Processor::in_parts(fifos, writer, sight.clone());
        let (registry, errands) = (Arc::clone(&processor.registry), Arc::clone(&processor.errands));
        let source_panic = processor.source_panic();
        let ended = CancellationToken::new();
        let ends = ended.clone().drop_guard();
        let handle = InformerHandle { parts, store, registry, errands, sight, source_panic, ended };
        Self { processor, reflectors, handle, ends }
    }

    /// Shares what may be asked of the server with other informers, so that they neither start nor list again together.
    /// Without it, this one has a budget of its own.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        let budgeted = |start: Start<K>| Start { reflector: start.reflector.with_budget(budget.clone()), ..start };
        let reflectors = self.reflectors.into_iter().map(budgeted).collect();
        self.handle.parts.changing().budget = budget;
        Self { reflectors, ..self }
    }

    /// How the source of a namespace is made that is only named, when it is added: [`InformerHandle::add_namespace`];
    /// [`KubeListWatch::sources`](crate::KubeListWatch::sources) is such a function. It runs under no lock.
    #[must_use]
    pub fn with_sources(self, make: impl Fn(&str) -> Arc<dyn ListWatch> + Send + Sync + 'static) -> Self {
        self.handle.parts.changing().sources = Some(Arc::new(make));
        self
    }

    /// Begins with these objects, saved earlier (as JSON lines of what a [`Snapshot`](crate::Snapshot) shows, say, and read by a [`Decoder`]): a warm start. Beside
    /// each is how many bytes its text had, 0 if that isn't known: what [`ThreadSafeStore::bytes`](crate::ThreadSafeStore::bytes) counts until the object changes. They are
    /// cached at once, and nothing is synced by that. The first list decodes only what has changed since, tells of the
    /// difference, and what isn't there any more is deleted, inferred. Of two states of one object the newer one counts. What doesn't belong to the
    /// scope is gone with the first list, what is in none of several namespaces at once.
    ///
    /// Handlers hear of these objects first, as they were saved. A controller that waits for its informer to be synced, as
    /// [`InformerHandle::synced`] has it, never acts on them.
    #[must_use]
    pub fn begin_with(mut self, saved: impl IntoIterator<Item = (Arc<K>, usize)>) -> Self {
        let changes = saved.into_iter().map(|(object, bytes)| Change::of(Delta::Applied(object), bytes));
        self.processor.writer().begin_with(changes);
        self
    }

    /// Adds an index by equality, see [`StoreWriter::add_index`]; by namespace there is one already.
    pub fn add_index<V: IndexValue, I: IntoIterator<Item = V>>(
        &mut self,
        name: &str,
        values: impl Fn(&K) -> I + Send + Sync + 'static,
    ) -> Index<K, V> {
        self.processor.writer().add_index(name, values)
    }

    /// Adds an index by order, see [`StoreWriter::add_range_index`].
    pub fn add_range_index<V: IndexValue + Ord, I: IntoIterator<Item = V>>(
        &mut self,
        name: &str,
        values: impl Fn(&K) -> I + Send + Sync + 'static,
    ) -> RangeIndex<K, V> {
        self.processor.writer().add_range_index(name, values)
    }

    /// Adds an index by the value of a label, which [`Lister::select`](crate::Lister::select) uses by itself; or finds the one there is.
    pub fn add_label_index(&mut self, key: &str) -> Index<K, String>
    where
        K: Labelled,
    {
        self.processor.writer().add_label_index(key)
    }

    /// Adds a function that is called inline with every event, after the store shows it (or what came
    /// after it in the same batch) and before any handler hears
    /// of it. It must neither block nor panic (a panic ends [`SharedInformer::run`]): it is meant for work queues,
    /// which coalesce by themselves. Everything else registers a handler.
    pub fn add_source(&mut self, source: impl Fn(&Event<K>) + Send + Sync + 'static) {
        self.processor.add_source(source);
    }

    /// A handle, for before, while and after it runs.
    pub fn handle(&self) -> InformerHandle<K> {
        self.handle.clone()
    }

    /// Lists, watches and tells, until `shutdown`. When it has returned, no handler and no source is being called and
    /// no task of it is alive. It waits for the calls in progress, so a handler that never returns keeps it here.
    ///
    /// Not cancel-safe: dropped early, its tasks are aborted at their next await, and a call may still be running.
    ///
    /// # Panics
    /// If a source panicked: an event would be lost in silence otherwise. A panic of an index function is caught and counted.
    /// [`InformerHandle::sync_status`] tells of either.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { processor, reflectors, handle, ends: _ends } = self;
        let stop = shutdown.child_token();
        let _stops_when_dropped = stop.clone().drop_guard();
        let mut reflecting = Reflecting::new(Arc::clone(&handle.parts.reflecting), stop.clone());
        drop(handle);
        reflectors.into_iter().for_each(|start| reflecting.start(start));
        let (failed, ()) = tokio::join!(reflecting.run(), processor.run(stop));
        failed.into_iter().for_each(rethrow);
    }
}
