//! Processor: the loop that moves batches from the queue into the store and tells those who want to know.
//!
//! In: batches of the DeltaFIFO, newcomers of the registry. Out: changes in the store, then calls of the inline
//! sources, then mail for the handlers, in this order; so whoever hears of an event finds the store and the indexes
//! showing it, or what came after it in the same batch. It owns the store's writer, the list of subscriptions and the tasks that
//! deliver, and holds no lock while foreign code runs.
//!
//! A newcomer is taken up between two batches. That makes its snapshot and the changes after it one seamless story,
//! without a lock that both sides would have to hold.
//!
//! A [`SharedInformer`](crate::SharedInformer) runs one behind its reflectors. It stands alone too, for those who bring
//! a producer of their own.
//!
//! Upstream counterpart: the low-level `Controller` of client-go's tools/cache, and `sharedProcessor`.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::errands::Errands;
use super::told::{Left, Source, Told};
use crate::delta_fifo::{Batch, DeltaFifo, Work};
use crate::event::Event;
use crate::explain::Asked;
use crate::handler::registry::Newcomer;
use crate::handler::stream::deliver;
use crate::handler::sync::Deliveries;
use crate::handler::{EventStream, HandlerConfig, Mail, Registration, Registry, Subscription, now, register};
use crate::key::ObjectKey;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;
use crate::sight::Sight;
use crate::store::{StoreWriter, ThreadSafeStore};

/// The stages after the queue without a reflector before it: a queue that somebody fills, a store, sources, handlers.
///
/// It is set up first and consumed by [`Processor::run`]. Upstream counterpart: `cache.New(&Config{Queue, ...})`, a
/// `Controller` over a queue of one's own.
///
/// ```
/// use std::sync::{Arc, Weak};
/// use tokio_util::sync::CancellationToken;
/// use watchkeeper_informer::delta_fifo::{Delta, Relisted, Replacement};
/// use watchkeeper_informer::{Cached, DeltaFifo, Event, ObjectKey, Processor, ResourceVersion};
///
/// struct Reading { name: String, version: String }
///
/// impl Cached for Reading {
///     fn namespace(&self) -> &str { "" }
///     fn name(&self) -> &str { &self.name }
///     fn uid(&self) -> &str { &self.name }
///     fn version(&self) -> &str { &self.version }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let reading = |version: &str| Arc::new(Reading { name: "mast".to_owned(), version: version.to_owned() });
/// let fifo = DeltaFifo::new();
/// let mut processor = Processor::new(fifo.clone());
/// processor.add_source(|event: &Event<Reading>| println!("{}", ObjectKey::of(&**event.object())));
/// let handler = processor.add_handler(|event| println!("now at {}", event.object().version));
/// let (store, stop) = (processor.store(), CancellationToken::new());
/// let running = tokio::spawn(processor.run(stop.clone()));
/// // The producer: first everything there is, then what changes.
/// let all = vec![Relisted::new(reading("1"))];
/// fifo.replace(Replacement { items: all, version: ResourceVersion::new("1") });
/// handler.synced().await.expect("it runs");
/// fifo.room().await;
/// fifo.push(Delta::Applied(reading("2")), 100, ResourceVersion::new("2"));
/// fifo.consumed().await;
/// assert_eq!(store.get(&ObjectKey::new("", "mast")).expect("it is there").version, "2");
/// stop.cancel();
/// running.await.expect("it ends");
/// # }
/// ```
pub struct Processor<K: Cached> {
    told: Told<K>,
    pub(super) registry: Arc<Registry<K>>,
    pub(super) errands: Arc<Errands<Told<K>>>,
    sight: Sight,
}

struct Running<K: Cached> {
    processor: Processor<K>,
    /// By number, which is the order of registration.
    subscriptions: BTreeMap<u64, Arc<Subscription<K>>>,
    deliveries: Deliveries,
    stop: CancellationToken,
    /// The queue that is looked at first.
    turn: usize,
}

impl<K: Cached> Processor<K> {
    /// Over this queue, with an empty store. Nothing happens before [`Processor::run`].
    pub fn new(fifo: DeltaFifo<K>) -> Self {
        Self::in_parts(vec![fifo], StoreWriter::default(), Sight::default())
    }

    /// The same for a store that is filled in parts, from a queue each; they are numbered as the writer's are.
    pub(super) fn in_parts(fifos: Vec<DeltaFifo<K>>, writer: StoreWriter<K>, sight: Sight) -> Self {
        let (registry, errands) = (Arc::new(Registry::new(sight.explain.clone())), Arc::new(Errands::new()));
        Self { told: Told::new(fifos, writer), registry, errands, sight }
    }

    /// The store's writer, to add indexes. What else is written before it runs is there when it begins; nobody is told
    /// of it but by a handler's first snapshot.
    pub fn writer(&mut self) -> &mut StoreWriter<K> {
        &mut self.told.writer
    }

    /// A handle on the store.
    pub fn store(&self) -> ThreadSafeStore<K> {
        self.told.writer.store()
    }

    /// Adds a function that is called inline with every event; see
    /// [`SharedInformer::add_source`](crate::SharedInformer::add_source).
    pub fn add_source(&mut self, source: impl Fn(&Event<K>) + Send + Sync + 'static) {
        self.told.sources.push(Source::lasting(Box::new(source)));
    }

    /// Set with the object at which a source panics.
    pub(super) fn source_panic(&self) -> Arc<OnceLock<ObjectKey>> {
        Arc::clone(&self.told.source_panic)
    }

    /// Registers a handler; see [`InformerHandle::add_handler`](crate::InformerHandle::add_handler).
    pub fn add_handler(&self, handler: impl FnMut(Event<K>) + Send + 'static) -> Registration {
        register(&self.registry, HandlerConfig::default(), handler)
    }

    /// Registers handlers while it runs: of the model checks, as others have a handle of an informer.
    #[cfg(watchkeeper_shuttle)]
    #[doc(hidden)]
    pub fn registrar(&self) -> impl Fn(Box<dyn FnMut(Event<K>) + Send>) -> Registration + Clone + Send + 'static {
        let registry = Arc::clone(&self.registry);
        move |handler| register(&registry, HandlerConfig::default(), handler)
    }

    /// The same for those who pull.
    #[cfg(watchkeeper_shuttle)]
    #[doc(hidden)]
    pub fn subscriber(&self) -> impl Fn() -> EventStream<K> + Clone + Send + 'static {
        let registry = Arc::clone(&self.registry);
        move || crate::handler::subscribe(&registry, HandlerConfig::default())
    }

    /// Moves batches into the store and tells of them, until `stop`, or until the queue is closed, which cancels `stop`.
    /// When it has returned, the queue is closed and no source and no handler is being called.
    ///
    /// Not cancel-safe: dropped early, its tasks are aborted at their next await, and a call may still be running.
    ///
    /// # Panics
    /// If a source panicked.
    pub async fn run(self, stop: CancellationToken) {
        let mut running = Running {
            processor: self,
            subscriptions: BTreeMap::new(),
            deliveries: Deliveries::new(),
            stop: stop.clone(),
            turn: 0,
        };
        running.process().await;
        stop.cancel();
        running.processor.close();
        if is_planted(Mutant::LeftRunning) {
            return;
        }
        while let Some(ended) = running.deliveries.join_next().await {
            rethrow(ended);
        }
    }

    /// Nobody pushes and nobody is told any more.
    fn close(&self) {
        self.registry.close();
        self.errands.close();
        self.told.close();
    }
}

/// A processor that never runs, or whose run is dropped, ends all the same: handlers may own what leads back to it.
impl<K: Cached> Drop for Processor<K> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<K: Cached> Running<K> {
    async fn process(&mut self) {
        self.processor.told.tell_what_is_there();
        loop {
            self.turn = self.turn.wrapping_add(1);
            // Biased: stopping comes first. Then batches, so that those who come and go can't keep them waiting; who came
            // before a batch was pushed hears of it, since it is taken up before the batch is applied.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                (part, batch) = self.processor.told.next_batch(self.turn) => match batch {
                    Some(batch) => self.apply(part, batch),
                    None => return,
                },
                () = self.processor.registry.changed.notified() => self.take_up(),
                () = self.processor.errands.arrived.notified() => self.run_errands(),
                Some(ended) = self.deliveries.join_next() => rethrow(ended),
            }
        }
    }

    fn run_errands(&mut self) {
        let errands = self.processor.errands.take();
        if errands.is_empty() {
            return;
        }
        for errand in errands {
            errand(&mut self.processor.told);
            if let Some(Left { events, told }) = self.processor.told.left.take() {
                events.iter().for_each(|event| self.processor.sight.explain.unwatched(event));
                // Of the parts that stay, each may be listed.
                self.tell(events, self.is_listed(), usize::MAX);
                drop(told);
            }
        }
        self.processor.sight.meter.iter().for_each(|meter| meter.changed());
    }

    fn is_listed(&self) -> bool {
        self.processor.told.writer.store().reached().replacements > 0
    }

    /// Follows those who have come and gone.
    fn take_up(&mut self) {
        if !self.deliveries.is_empty() {
            while let Some(ended) = self.deliveries.try_join_next() {
                rethrow(ended);
            }
        }
        let changes = self.processor.registry.changes();
        for number in changes.gone {
            self.subscriptions.remove(&number);
        }
        if changes.newcomers.is_empty() {
            return;
        }
        let store = self.processor.told.writer.store();
        let present = store.list().into_iter().map(|object| Event::Added { object, initial: true });
        let (events, ends_snapshot) =
            (with_keys(present), store.reached().replacements > 0 || is_planted(Mutant::EmptySnapshot));
        let mail = Mail { events: &events, ends_snapshot, now: now() };
        for (number, Newcomer { subscription, handler }) in changes.newcomers {
            if !events.is_empty() || ends_snapshot {
                subscription.offer(&mail);
            }
            if let Some(handler) = handler {
                self.deliveries.spawn(deliver(EventStream::new(Arc::clone(&subscription)), handler));
            }
            self.subscriptions.insert(number, subscription);
        }
    }

    fn apply(&mut self, part: usize, batch: Batch<K>) {
        let metered = self.processor.sight.meter.clone().map(|meter| (meter, now()));
        let stale = self.apply_and_tell(part, batch);
        if let Some((meter, began)) = metered {
            meter.applied(now().saturating_duration_since(began), stale);
        }
    }

    /// Returns how many changes were older than what was cached.
    fn apply_and_tell(&mut self, part: usize, batch: Batch<K>) -> usize {
        let known = self.subscriptions.len();
        self.run_errands();
        self.take_up();
        if !self.processor.told.has_part(part) {
            // It has just left, and what it had with it.
            return 0;
        }
        let told = if is_planted(Mutant::MissedBatch) { known } else { usize::MAX };
        let Batch { work, version, receipt } = batch;
        let explain = &self.processor.sight.explain;
        let asked = explain.is_on().then(|| (Asked::of(&work, &self.processor.told.writer.store()), version.clone()));
        let is_list = matches!(work, Work::Replace(_));
        let applied = self.processor.told.writer.apply_to(part, work, version);
        if let Some((asked, version)) = asked {
            explain.answered(asked, &applied.events, &version);
        }
        if applied.unwanted > 0 {
            let (objects, of) = (applied.unwanted, std::any::type_name::<K>());
            tracing::warn!(objects, of, "passed over, for the decoder has put them into another namespace than theirs");
        }
        let ends_snapshot = is_list && self.is_listed();
        receipt.applied();
        self.tell(applied.events, ends_snapshot, told);
        applied.stale
    }

    /// Tells all sources, and the first so many subscriptions.
    fn tell(&mut self, events: Vec<Event<K>>, ends_snapshot: bool, told: usize) {
        self.processor.told.sources.retain(Source::is_active);
        events.iter().for_each(|event| self.processor.told.tell_sources(event));
        if self.subscriptions.is_empty() || (events.is_empty() && !ends_snapshot) {
            return;
        }
        let events = with_keys(events.into_iter());
        let mail = Mail { events: &events, ends_snapshot, now: now() };
        self.subscriptions.values().take(told).for_each(|subscription| subscription.offer(&mail));
    }
}

/// One key an event, however many mailboxes take it up.
fn with_keys<K: Cached>(events: impl Iterator<Item = Event<K>>) -> Vec<(ObjectKey, Event<K>)> {
    events.map(|event| (ObjectKey::of(&**event.object()), event)).collect()
}

/// A panic that wasn't a handler's own is a bug of ours or of a source: it ends the informer loudly.
pub(crate) fn rethrow(ended: Result<(), JoinError>) {
    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests;
