//! SharedInformer: one kind and scope of the cluster, kept here.
//!
//! In: a `ListWatch`, or one a namespace, and a config. Out: a handle with everything an application reads: a lister, indexes, handlers,
//! who is synced, the version reached. It is set up before it runs and consumed by [`SharedInformer::run`], which owns
//! every task: the reflectors', one a handler, and the processor's loop, which it runs itself. Nothing is spawned
//! before, and nothing is left after it has returned.
//!
//! Any number of controllers share one informer. It never writes to the server.
//!
//! Upstream counterpart: `SharedIndexInformer` of client-go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::budget::Budget;
use crate::config::{DeltaOrder, InformerConfig};
use crate::decode::{Decoder, Undecodable};
use crate::delta_fifo::{Change, Coalescing, DeltaFifo, Ordered};
use crate::event::Event;
use crate::explain::{Explainer, Step};
use crate::handler::{EventStream, HandlerConfig, Registration, Registry, register, subscribe};
use crate::index::{Index, IndexValue, RangeIndex};
use crate::key::ObjectKey;
use crate::list_watch::ListWatch;
use crate::lister::Lister;
use crate::metrics::{Look, Meter, MetricsConfig};
use crate::object::{Cached, Labelled};
use crate::reflector::{Audit, Reflector, ReflectorHandle, Verdict};
use crate::request_error::RequestError;
use crate::sight::{self, Sight};
use crate::store::{self, Reached, StoreWriter, ThreadSafeStore};
use crate::sync::SyncStatus;
use crate::version::ResourceVersion;

mod errands;
pub(crate) mod processor;

use errands::Errands;
pub use processor::Processor;
use processor::Told;
pub(crate) use processor::rethrow;

/// How long [`InformerHandle::catch_up`] waits for the watch to bring a version before it asks for a list. A busy kind
/// gets there in milliseconds; a quiet one never does, since bookmarks come once a minute.
const CATCH_UP_PATIENCE: Duration = Duration::from_millis(300);

/// An informer being set up.
pub struct SharedInformer<K: Cached> {
    processor: Processor<K>,
    /// One a part: everything, or a namespace each.
    reflectors: Vec<Reflector<K>>,
    handle: InformerHandle<K>,
    /// It has ended when this is dropped, also if it never ran.
    ends: DropGuard,
}

/// No informer can be made of these namespaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespacesError {
    /// There are none.
    #[error("an informer needs at least one namespace")]
    None,
    /// One is the empty text, which is no namespace: an informer over everything is [`SharedInformer::new`].
    #[error("the empty text is no namespace; leave the namespaces out to mean all of them")]
    Empty,
    /// One is there twice: its objects would be told of twice.
    #[error("the namespace {0:?} is given twice")]
    Twice(String),
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
    /// Upstream counterpart: `cache.Options.DefaultNamespaces` of controller-runtime, with an informer a namespace.
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
        let (store, budget) = (writer.store(), Budget::default());
        let explain = Explainer::new(config.explain.as_ref());
        let (mut fifos, mut reflectors, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (namespace, list_watch)) in (0..).zip(sources) {
            let fifo = match config.order {
                DeltaOrder::Coalescing => {
                    DeltaFifo::with_queue(Coalescing::default().explained(explain.clone()), config.fifo)
                }
                DeltaOrder::Ordered => DeltaFifo::with_queue(Ordered::default(), config.fifo),
            };
            let mut config = config.reflector.clone();
            config.seed = config.seed.wrapping_add(number);
            if let Some(namespace) = &namespace {
                config.name = format!("{} in {namespace}", config.name);
            }
            let known = Arc::new(store::Part { store: store.clone(), namespace: namespace.clone() });
            let (reflector, handle) =
                Reflector::new(Arc::clone(&list_watch), decoder.clone(), known, fifo.clone(), config);
            fifos.push(fifo);
            reflectors.push(reflector.within(namespace.clone()).with_budget(budget.clone()));
            parts.push(Part { namespace, list_watch, reflector: handle });
        }
        let handles = parts.iter().map(|part| part.reflector.clone()).collect();
        let meter = config.metrics.as_ref().map(|metrics| Arc::new(meter(metrics, handles, &fifos, &store)));
        let sight = Sight { meter, explain };
        let reflectors = reflectors.into_iter().map(|reflector| reflector.with_sight(sight.clone())).collect();
        let processor = Processor::in_parts(fifos, writer, sight.clone());
        let (registry, errands) = (Arc::clone(&processor.registry), Arc::clone(&processor.errands));
        let ended = CancellationToken::new();
        let ends = ended.clone().drop_guard();
        let handle = InformerHandle { parts: parts.into(), store, registry, errands, sight, ended };
        Self { processor, reflectors, handle, ends }
    }

    /// Shares what may be asked of the server with other informers, so that they neither start nor list again together.
    /// Without it, this one has a budget of its own.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        let budgeted = self.reflectors.into_iter().map(|reflector| reflector.with_budget(budget.clone()));
        Self { reflectors: budgeted.collect(), ..self }
    }

    /// Begins with these objects, saved earlier (as JSON lines of what a [`Snapshot`](crate::Snapshot) shows, say, and read by a [`Decoder`]): a warm start. They are
    /// cached at once, and nothing is synced by that. The first list decodes only what has changed since, tells of the
    /// difference, and what isn't there any more is deleted, inferred. Of two states of one object the newer one counts. What doesn't belong to the
    /// scope is gone with the first list.
    ///
    /// Handlers hear of these objects first, as they were saved. A controller that waits for its informer to be synced, as
    /// [`InformerHandle::synced`] has it, never acts on them.
    #[must_use]
    pub fn begin_with(mut self, objects: impl IntoIterator<Item = Arc<K>>) -> Self {
        let changes = objects.into_iter().map(Change::applied).collect();
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

    /// Adds an index by the value of a label, which [`Lister::select`] uses by itself.
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
    /// If a source or an index function panicked: an event would be lost in silence otherwise.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { processor, reflectors, handle: _, ends: _ends } = self;
        let stop = shutdown.child_token();
        let _stops_when_dropped = stop.clone().drop_guard();
        let mut reflecting = JoinSet::new();
        for reflector in reflectors {
            reflecting.spawn(reflector.run(stop.clone()));
        }
        let reflected = async {
            let mut all = Vec::new();
            while let Some(ended) = reflecting.join_next().await {
                stop.cancel();
                all.push(ended);
            }
            all
        };
        let (ended, ()) = tokio::join!(reflected, processor.run(stop.clone()));
        ended.into_iter().for_each(rethrow);
    }
}

/// Looks at all parts together; their queues keep the ages of what waits from now on.
fn meter<K: Cached>(
    config: &MetricsConfig,
    reflectors: Vec<ReflectorHandle>,
    fifos: &[DeltaFifo<K>],
    store: &ThreadSafeStore<K>,
) -> Meter {
    fifos.iter().for_each(DeltaFifo::keep_ages);
    let (fifos, store, indexed) = (fifos.to_vec(), store.clone(), store.clone());
    let look = move || Look {
        queued_items: fifos.iter().map(DeltaFifo::depth).sum(),
        queued_bytes: fifos.iter().map(DeltaFifo::bytes).sum(),
        waiting_since: fifos.iter().filter_map(DeltaFifo::waiting_since).min(),
        coalesced: fifos.iter().map(DeltaFifo::coalesced).sum(),
        reached: store.reached().version,
        objects: store.len(),
        bytes: store.bytes(),
    };
    Meter::new(config, reflectors, look, move || indexed.indexes().iter().map(|index| index.panics).sum())
}

/// The informer has ended, so it can't be asked for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the informer has ended")]
pub struct Ended;

/// A source in use, see [`InformerHandle::add_source`].
pub struct SourceGuard {
    _active: Arc<()>,
}

impl std::fmt::Debug for SourceGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceGuard")
    }
}

/// Where a part of the cache comes from.
struct Part {
    namespace: Option<String>,
    list_watch: Arc<dyn ListWatch>,
    reflector: ReflectorHandle,
}

/// What an application holds of an informer; a cheap, cloneable handle. It keeps the cache alive, not the informer.
pub struct InformerHandle<K> {
    parts: Arc<[Part]>,
    store: ThreadSafeStore<K>,
    registry: Arc<Registry<K>>,
    errands: Arc<Errands<Told<K>>>,
    sight: Sight,
    /// Cancelled when `run` has ended, or the informer was dropped without having run.
    ended: CancellationToken,
}

impl<K> Clone for InformerHandle<K> {
    fn clone(&self) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            store: self.store.clone(),
            registry: Arc::clone(&self.registry),
            errands: Arc::clone(&self.errands),
            sight: self.sight.clone(),
            ended: self.ended.clone(),
        }
    }
}

impl<K: Cached> InformerHandle<K> {
    /// A view of the cached objects.
    pub fn lister(&self) -> Lister<K> {
        Lister::new(self.store.clone())
    }

    /// The keys of all cached objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.store.keys()
    }

    /// Registers a handler, before the informer runs or while it does; it first hears of everything that is there, as
    /// [`Event::Added`] with `initial`. Calls come one at a time, on a task of the handler's own; they must not block
    /// the thread. After the informer has ended it is never called. One that is slower than the changes hears of each object's
    /// newest state and of the end of each life it was told of, not of every state, whatever the
    /// [`DeltaOrder`]; a source ([`SharedInformer::add_source`]) hears of all that the store is given.
    pub fn add_handler(&self, handler: impl FnMut(Event<K>) + Send + 'static) -> Registration {
        self.add_handler_with(HandlerConfig::default(), handler)
    }

    /// The same with a name, or with resyncs.
    pub fn add_handler_with(
        &self,
        config: HandlerConfig,
        handler: impl FnMut(Event<K>) + Send + 'static,
    ) -> Registration {
        register(&self.registry, config, handler)
    }

    /// The same events to be pulled, from a mailbox of its own; any number of streams.
    ///
    /// ```
    /// # use k8s_openapi::api::core::v1::ConfigMap;
    /// # use watchkeeper_informer::InformerHandle;
    /// use futures::StreamExt;
    ///
    /// async fn print_names(informer: InformerHandle<ConfigMap>) {
    ///     let mut events = informer.events();
    ///     while let Some(event) = events.next().await {
    ///         println!("{:?}", event.object().metadata.name);
    ///     }
    /// }
    /// ```
    pub fn events(&self) -> EventStream<K> {
        self.events_with(HandlerConfig::default())
    }

    /// The same with a name, or with resyncs.
    pub fn events_with(&self, config: HandlerConfig) -> EventStream<K> {
        subscribe(&self.registry, config)
    }

    /// Adds an index while it runs, see [`StoreWriter::add_index`]: it is complete when this returns. Readers aren't held up, changes are
    /// for the time that it takes to go through what is cached. Waits for the informer to run. Cancel-safe, but the index may be added all
    /// the same.
    ///
    /// # Errors
    /// The informer has ended.
    pub async fn add_index<V: IndexValue, I: IntoIterator<Item = V> + 'static>(
        &self,
        name: &str,
        values: impl Fn(&K) -> I + Send + Sync + 'static,
    ) -> Result<Index<K, V>, Ended> {
        let name = name.to_owned();
        self.ask(move |told| told.writer.add_index(&name, values)).await
    }

    /// The same for an index by order, see [`StoreWriter::add_range_index`].
    ///
    /// # Errors
    /// The informer has ended.
    pub async fn add_range_index<V: IndexValue + Ord, I: IntoIterator<Item = V> + 'static>(
        &self,
        name: &str,
        values: impl Fn(&K) -> I + Send + Sync + 'static,
    ) -> Result<RangeIndex<K, V>, Ended> {
        let name = name.to_owned();
        self.ask(move |told| told.writer.add_range_index(&name, values)).await
    }

    /// The same for an index by label, see [`StoreWriter::add_label_index`].
    ///
    /// # Errors
    /// The informer has ended.
    pub async fn add_label_index(&self, key: &str) -> Result<Index<K, String>, Ended>
    where
        K: Labelled,
    {
        let key = key.to_owned();
        self.ask(move |told| told.writer.add_label_index(&key)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut Told<K>) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have gone.
        self.errands.ask(move |told| drop(answer.send(errand(told))));
        answered.await.map_err(|_| Ended)
    }

    /// Adds a source, before it runs or while it does: see [`SharedInformer::add_source`]. It first hears of everything that is there, as
    /// [`Event::Added`] with `initial`. It lasts until what is returned is dropped: from then on no batch is told, but one may be under way.
    #[must_use = "it ends when this is dropped"]
    pub fn add_source(&self, source: impl Fn(&Event<K>) + Send + Sync + 'static) -> SourceGuard {
        let active = Arc::new(());
        let (tell, lasting) = (Box::new(source), Arc::downgrade(&active));
        self.errands.ask(move |told| told.add_source(tell, lasting));
        SourceGuard { _active: active }
    }

    /// Whether the first complete list is in the store. Handlers may still be at work on it: ask their
    /// [`Registration`].
    pub fn has_synced(&self) -> bool {
        self.store.reached().replacements > 0
    }

    /// Whether it has been stopped, or was dropped without having run: nothing of what it shows changes any more.
    pub fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until it has listed and each handler has finished its first snapshot, or has ended; or the informer has. Cancel-safe.
    pub async fn settled(&self) {
        let settled = async {
            self.synced().await;
            self.registry.settled().await;
        };
        tokio::select! {
            biased;
            () = self.ended.cancelled() => {}
            () = settled => {}
        }
    }

    /// Waits for [`InformerHandle::has_synced`]. Never returns if the informer ends before: bound it. Cancel-safe.
    pub async fn synced(&self) {
        self.store.wait_until(|reached| reached.replacements > 0).await;
    }

    /// The objects that can't be decoded at the moment, at most
    /// [`QUARANTINE_LIMIT`](crate::reflector::QUARANTINE_LIMIT) a namespace watched: of what is cached of them, an older state
    /// stays.
    pub fn quarantine(&self) -> Vec<Undecodable> {
        self.parts.iter().flat_map(|part| part.reflector.quarantine()).collect()
    }

    /// Asks for a list that begins after this call; see [`ReflectorHandle::relist`].
    pub fn relist(&self) {
        self.parts.iter().for_each(|part| part.reflector.relist());
    }

    /// Whether the cache is what the server had at the version reached, but for what is in quarantine; see
    /// [`ReflectorHandle::audit`]. It comes while watching, so it waits for the first list and for backoffs: bound it.
    /// Cancel-safe.
    pub async fn audit(&self) -> Verdict {
        let audits = join_all(self.parts.iter().map(|part| part.reflector.audit()));
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Verdict::Unknown("the informer has ended".to_owned()),
            audits = audits => {
                let verdicts = audits.into_iter().map(|audit| audit.verdict);
                verdicts.reduce(Verdict::and).expect("there is at least one part")
            }
        }
    }

    /// What the last audits found, by namespace as in [`InformerHandle::sync_status`].
    pub fn last_audits(&self) -> Vec<Audit> {
        self.parts.iter().filter_map(|part| part.reflector.last_audit()).collect()
    }

    /// Who is synced, who isn't, and why.
    pub fn sync_status(&self) -> SyncStatus {
        SyncStatus {
            reached: self.store.reached(),
            objects: self.store.len(),
            bytes: self.store.bytes(),
            bytes_budget: self.store.bytes_budget(),
            quarantined: self.parts.iter().map(|part| part.reflector.quarantine().len()).sum(),
            ended: self.ended.is_cancelled(),
            reflectors: self.parts.iter().map(|part| (part.namespace.clone(), part.reflector.status())).collect(),
            handlers: self.registry.statuses(),
        }
    }

    /// Tells the informer's [`Metrics`](crate::Metrics) what changes by itself, the ages of what waits, and every gauge once more, since
    /// calls that tell them from several threads may have overtaken each other. Call it before each scrape, or every second. Without
    /// metrics it does nothing.
    pub fn observe(&self) {
        if let Some(meter) = &self.sight.meter {
            meter.observe(&self.registry.statuses(), sight::now());
        }
    }

    /// What happened to one object at each stage, the oldest first, as far back as [`ExplainConfig`](crate::ExplainConfig) reaches;
    /// nothing without that. As a text: [`Story`](crate::Story).
    pub fn explain(&self, key: &ObjectKey) -> Vec<Step> {
        self.sight.explain.of(key)
    }

    /// The resource version the cache stands at, or has passed; `None` before the first list.
    pub fn version(&self) -> Option<ResourceVersion> {
        self.store.reached().version
    }

    /// Waits until the cache stands at `version` or after it: read your own writes. A version that can't be compared
    /// is waited for as such. Never returns if it is never reached (a write outside the scope moves the version only
    /// with the next bookmark, within about a minute): bound it. Of several namespaces all must have reached it, so
    /// [`InformerHandle::wait_for_in`] is sooner there. Cancel-safe.
    pub async fn wait_for(&self, version: &ResourceVersion) {
        self.store.wait_until(|reached| reached.has_reached(version)).await;
    }

    /// The same for what is cached of one namespace. A namespace that this informer doesn't watch is not waited for.
    pub async fn wait_for_in(&self, namespace: &str, version: &ResourceVersion) {
        let holds = |part: &Part| part.namespace.as_deref().is_none_or(|own| own == namespace);
        if let Some(part) = self.parts.iter().position(holds) {
            self.store.wait_until_in(part, |reached| reached.has_reached(version)).await;
        }
    }

    /// Returns when the cache shows everything that was committed before this was called: the barrier between two
    /// leaders. It asks the server for its present version, and for a new list if the watch doesn't bring that version
    /// shortly. Waits for the first list as long as that takes: bound it. Cancel-safe.
    ///
    /// # Errors
    /// When the server can't be asked, or the informer has ended.
    pub async fn catch_up(&self) -> Result<(), RequestError> {
        // Biased: what was reached before the informer ended may be long ago.
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(RequestError::Unreachable("the informer has ended".to_owned())),
            caught_up = self.reach_present() => caught_up,
        }
    }

    async fn reach_present(&self) -> Result<(), RequestError> {
        self.synced().await;
        let reach = |(number, part)| self.reach_present_in(number, part);
        try_join_all(self.parts.iter().enumerate().map(reach)).await.map(|_| ())
    }

    async fn reach_present_in(&self, number: usize, part: &Part) -> Result<(), RequestError> {
        let present = part.list_watch.newest_version().await?;
        let has_reached = |reached: &Reached| reached.has_reached(&present);
        if tokio::time::timeout(CATCH_UP_PATIENCE, self.store.wait_until_in(number, has_reached)).await.is_ok() {
            return Ok(());
        }
        // A list that was under way may have begun before this call. The one after it has not, so it is the present
        // whatever its version says: after a restore of the server's storage versions start over.
        let before = self.store.reached_in(number).replacements;
        for lists in 1..=2 {
            part.reflector.relist();
            let enough = |reached: &Reached| has_reached(reached) || reached.replacements >= before + lists;
            self.store.wait_until_in(number, enough).await;
            if has_reached(&self.store.reached_in(number)) {
                break;
            }
        }
        Ok(())
    }
}
