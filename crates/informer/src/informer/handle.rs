//! InformerHandle: what an application holds of an informer.
//!
//! In: questions, and errands for the processor. Out: the cache, who is synced and why not, registrations, barriers. It never
//! writes to the store itself, and keeps the cache alive, not the informer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::errands::Errands;
use super::namespaces::NamespacesError;
use super::parts::{Part, Parts};
use super::told::Told;
use crate::decode::Undecodable;
use crate::event::Event;
use crate::explain::Step;
use crate::handler::{EventStream, HandlerConfig, Registration, Registry, register, subscribe};
use crate::index::{Index, IndexValue, RangeIndex};
use crate::key::ObjectKey;
use crate::lister::Lister;
use crate::object::{Cached, Labelled};
use crate::reflector::{Audit, Verdict};
use crate::request_error::RequestError;
use crate::sight::{self, Sight};
use crate::store::{Reached, ThreadSafeStore};
use crate::sync::SyncStatus;
use crate::version::ResourceVersion;

/// How long [`InformerHandle::catch_up`] waits for the watch to bring a version before it asks for a list. A busy kind
/// gets there in milliseconds; a quiet one never does, since bookmarks come once a minute.
const CATCH_UP_PATIENCE: Duration = Duration::from_millis(300);

/// The informer has ended, so it can't be asked for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the informer has ended")]
pub struct Ended;

/// Why a cache hasn't caught up, see [`InformerHandle::catch_up`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCaughtUp {
    /// The informer has ended: it never will.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The server couldn't be asked where it stands; it may be again.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// A source in use, see [`InformerHandle::add_source`].
pub struct SourceGuard {
    _active: Arc<()>,
}

impl std::fmt::Debug for SourceGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceGuard")
    }
}

/// What an application holds of an informer; a cheap, cloneable handle. It keeps the cache alive, not the informer.
pub struct InformerHandle<K> {
    pub(super) parts: Arc<Parts<K>>,
    pub(super) store: ThreadSafeStore<K>,
    pub(super) registry: Arc<Registry<K>>,
    pub(super) errands: Arc<Errands<Told<K>>>,
    pub(super) sight: Sight,
    pub(super) source_panic: Arc<OnceLock<ObjectKey>>,
    /// Cancelled when `run` has ended, or the informer was dropped without having run.
    pub(super) ended: CancellationToken,
}

impl<K> Clone for InformerHandle<K> {
    fn clone(&self) -> Self {
        Self {
            parts: Arc::clone(&self.parts),
            store: self.store.clone(),
            registry: Arc::clone(&self.registry),
            errands: Arc::clone(&self.errands),
            sight: self.sight.clone(),
            source_panic: Arc::clone(&self.source_panic),
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
    /// [`DeltaOrder`](crate::DeltaOrder); a source ([`SharedInformer::add_source`](crate::SharedInformer::add_source)) hears of all that the store is given.
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

    /// Adds an index while it runs, see [`StoreWriter::add_index`](crate::StoreWriter::add_index): it is complete when this returns. Readers aren't held up, changes are
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

    /// The same for an index by order, see [`StoreWriter::add_range_index`](crate::StoreWriter::add_range_index).
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

    /// The same for an index by label, see [`StoreWriter::add_label_index`](crate::StoreWriter::add_label_index).
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

    /// Adds a source, before it runs or while it does: see [`SharedInformer::add_source`](crate::SharedInformer::add_source). It first hears of everything that is there, as
    /// [`Event::Added`] with `initial`. It lasts until what is returned is dropped: from then on no batch is told, but one may be under way.
    /// After the informer has ended the source is dropped unheard.
    #[must_use = "it ends when this is dropped"]
    pub fn add_source(&self, source: impl Fn(&Event<K>) + Send + Sync + 'static) -> SourceGuard {
        let active = Arc::new(());
        let (tell, lasting) = (Box::new(source), Arc::downgrade(&active));
        self.errands.ask(move |told| told.add_source(tell, lasting));
        SourceGuard { _active: active }
    }

    /// Whether the first complete list is in the store, of several namespaces that of each; not any more while one that was added has
    /// not listed. Handlers may still be at work on it: ask their [`Registration`].
    pub fn has_synced(&self) -> bool {
        self.store.reached().replacements > 0
    }

    /// Whether it has been stopped, or was dropped without having run: nothing of what it shows changes any more.
    pub fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until it has listed and each handler has finished its first snapshot, or has ended; or the informer has, see
    /// [`InformerHandle::has_synced`]. Nothing is listed before somebody runs it. Cancel-safe.
    pub async fn settled(&self) {
        let settled = async {
            if self.synced().await.is_ok() {
                self.registry.settled().await;
            }
        };
        tokio::select! {
            biased;
            () = self.ended.cancelled() => {}
            () = settled => {}
        }
    }

    /// Waits for [`InformerHandle::has_synced`], which nothing has before somebody runs it; what was so before the informer ended stays so.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The informer has ended before.
    pub async fn synced(&self) -> Result<(), Ended> {
        self.unless_ended(self.store.wait_until(|reached| reached.replacements > 0)).await
    }

    /// What has come before the end counts.
    async fn unless_ended<T>(&self, awaited: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            biased;
            result = awaited => Ok(result),
            () = self.ended.cancelled() => Err(Ended),
        }
    }

    /// The objects that can't be decoded at the moment, at most
    /// [`QUARANTINE_LIMIT`](crate::reflector::QUARANTINE_LIMIT) a namespace watched: of what is cached of them, an older state
    /// stays.
    pub fn quarantine(&self) -> Vec<Undecodable> {
        self.parts.present().parts.iter().flat_map(|part| part.reflector.quarantine()).collect()
    }

    /// Asks for a list that begins after this call; see [`ReflectorHandle::relist`](crate::ReflectorHandle::relist).
    pub fn relist(&self) {
        self.parts.present().parts.iter().for_each(|part| part.reflector.relist());
    }

    /// Whether the cache is what the server had at the version reached, but for what is in quarantine; see
    /// [`ReflectorHandle::audit`](crate::ReflectorHandle::audit). It comes while watching, so it waits for the first list and for backoffs: bound it.
    /// Cancel-safe.
    pub async fn audit(&self) -> Verdict {
        let present = self.parts.present();
        let has_ended = || Verdict::Unknown(Ended.to_string());
        let audit = |part: &Arc<Part<K>>| {
            let part = Arc::clone(part);
            async move { part.unless_left(part.reflector.audit()).await }
        };
        let audits = join_all(present.parts.iter().map(audit));
        tokio::select! {
            biased;
            () = self.ended.cancelled() => has_ended(),
            audits = audits => {
                let verdict = |audit: Option<Audit>| audit.map_or_else(has_ended, |audit| audit.verdict);
                let verdicts = audits.into_iter().flatten().map(verdict);
                verdicts.reduce(Verdict::and).unwrap_or_else(|| Verdict::Unknown("the namespaces have changed".to_owned()))
            }
        }
    }

    /// The last audit of each namespace that has had one, in the order of the namespaces; it isn't said which is whose.
    pub fn last_audits(&self) -> Vec<Audit> {
        self.parts.present().parts.iter().filter_map(|part| part.reflector.last_audit()).collect()
    }

    /// Who is synced, who isn't, and why.
    pub fn sync_status(&self) -> SyncStatus {
        let parts = &self.parts.present().parts;
        SyncStatus {
            reached: self.store.reached(),
            objects: self.store.len(),
            bytes: self.store.bytes(),
            bytes_budget: self.store.bytes_budget(),
            quarantined: parts.iter().map(|part| part.reflector.quarantined()).sum(),
            ended: self.ended.is_cancelled(),
            source_panic: self.source_panic.get().cloned(),
            indexes: self.store.indexes(),
            reflectors: parts.iter().map(|part| (part.namespace.clone(), part.reflector.status())).collect(),
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

    /// The resource version the cache stands at, or has passed; `None` before the first list, and of several namespaces while one has none.
    pub fn version(&self) -> Option<ResourceVersion> {
        self.store.reached().version
    }

    /// Waits until the cache stands at `version` or after it: read your own writes. A version that can't be compared
    /// is waited for as such. Waits on as long as the informer runs and doesn't reach it (a write outside the scope moves the version only
    /// with the next bookmark, within about a minute): bound it. Of several namespaces all must have reached it, so
    /// [`InformerHandle::wait_for_in`] is sooner there. Cancel-safe.
    ///
    /// # Errors
    /// The informer has ended before.
    pub async fn wait_for(&self, version: &ResourceVersion) -> Result<(), Ended> {
        self.unless_ended(self.store.wait_until(|reached| reached.has_reached(version))).await
    }

    /// The same for what is cached of one namespace: bound it too. Cancel-safe.
    ///
    /// # Errors
    /// The namespace isn't watched, or no longer: it was removed meanwhile; or the informer has ended before.
    pub async fn wait_for_in(&self, namespace: &str, version: &ResourceVersion) -> Result<(), NamespacesError> {
        let not_watched = || NamespacesError::NotWatched(namespace.to_owned());
        let holds = |part: &&Arc<Part<K>>| part.namespace.as_deref().is_none_or(|own| own == namespace);
        let part = self.parts.present().parts.iter().find(holds).cloned().ok_or_else(not_watched)?;
        let reached = self.store.wait_until_in(part.number, |reached| reached.has_reached(version));
        let reached = self.unless_ended(part.unless_left(reached)).await.map_err(|Ended| NamespacesError::Ended)?;
        reached.ok_or_else(not_watched)
    }

    /// Returns when the cache shows everything that was committed before this was called: the barrier between two
    /// leaders. It asks the server for its present version, and for a new list if the watch doesn't bring that version
    /// shortly. Waits for the first list as long as that takes: bound it. Cancel-safe.
    ///
    /// # Errors
    /// When the server can't be asked, or the informer has ended.
    pub async fn catch_up(&self) -> Result<(), NotCaughtUp> {
        // Biased: what was reached before the informer ended may be long ago.
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(Ended.into()),
            caught_up = self.reach_present() => caught_up,
        }
    }

    async fn reach_present(&self) -> Result<(), NotCaughtUp> {
        self.synced().await?;
        let present = self.parts.present();
        // What leaves meanwhile has nothing to catch up with.
        let reach = |part: &Arc<Part<K>>| {
            let part = Arc::clone(part);
            async move { part.unless_left(self.reach_present_in(&part)).await.unwrap_or(Ok(())) }
        };
        try_join_all(present.parts.iter().map(reach)).await?;
        Ok(())
    }

    async fn reach_present_in(&self, part: &Part<K>) -> Result<(), RequestError> {
        let present = part.list_watch.newest_version().await?;
        let has_reached = |reached: &Reached| reached.has_reached(&present);
        if tokio::time::timeout(CATCH_UP_PATIENCE, self.store.wait_until_in(part.number, has_reached)).await.is_ok() {
            return Ok(());
        }
        // A list that was under way may have begun before this call. The one after it has not, so it is the present
        // whatever its version says: after a restore of the server's storage versions start over.
        let reached = || self.store.reached_in(part.number);
        let before = reached().map_or(0, |reached| reached.replacements);
        for lists in 1..=2 {
            part.reflector.relist();
            let enough = |reached: &Reached| has_reached(reached) || reached.replacements >= before + lists;
            self.store.wait_until_in(part.number, enough).await;
            if reached().as_ref().is_none_or(has_reached) {
                break;
            }
        }
        Ok(())
    }
}
