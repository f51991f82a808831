//! Handlers: whoever wants to hear of changes registers here and gets a mailbox of its own.
//!
//! In: events from the store, in order. Out: calls of the handler, one at a time, on a task of its own that the
//! informer's `run` owns; or the same events from an [`EventStream`], when they are asked for. A slow, panicking or
//! stuck handler holds up neither the store nor another handler.
//!
//! A mailbox keeps per key what the handler was last told and, if that isn't the present, the present; a call tells
//! the difference. So it is bounded by what was told plus what lives, however slow the handler is, and for every uid
//! the handler hears Added, Updated*, Deleted, each end once and in order. Lives that began and ended while it lagged
//! vanish.
//!
//! A registration may ask to be told everything again, a key at a time, spread over a period
//! ([`HandlerConfig::resync`]). That is said as [`Event::Resync`], so it is never taken for a change.
//!
//! Handlers run on the runtime's threads: they compute and enqueue, they don't block. A panic is caught and counted,
//! the handler goes on with the next event. Every method may be called from within a handler, also those that would
//! wait for that very call: they say so, or don't wait. What a handler owns is never dropped under a lock.
//!
//! Upstream counterpart: `processorListener` of client-go's shared informer, whose buffer grows without bound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::event::Event;
use crate::explain::{Explainer, News, What};
use crate::key::ObjectKey;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;
use crate::store::sync::Mutex;

pub mod adapters;
mod call;
mod mailbox;
pub(crate) mod registry;
mod resync;
pub(crate) mod stream;
pub(crate) mod sync;

pub(crate) use call::survive;
use mailbox::Mailbox;
pub(crate) use registry::Registry;
pub use stream::EventStream;
use sync::{AtomicWaker, Notify};

/// A shorter period of resyncs is raised to this, as upstream does.
pub const SHORTEST_RESYNC: Duration = Duration::from_secs(1);

/// What a registration may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandlerConfig {
    /// What it is called in logs and in [`HandlerStatus`]. Default: empty, which stands for the name of its type.
    pub name: String,
    /// Once in each such period the handler is told again of everything it knows ([`Event::Resync`]), each key at a place of
    /// its own in the period, which begins when the first snapshot is finished; the first time therefore comes within
    /// a period. Of a key with news it is told the news instead. Turns that a slow handler misses are made up for once.
    ///
    /// Anything shorter than [`SHORTEST_RESYNC`] is raised to that; zero is none, as upstream has it. Default: none.
    /// Nothing gets lost that a resync could bring back, so it is for handlers that compare with a world outside.
    pub resync: Option<Duration>,
}

/// A handler in use. Dropping it leaves the handler registered; [`Registration::remove`] and [`Registration::end`] end it.
pub struct Registration {
    subscriber: Arc<dyn Subscriber>,
}

/// What can be seen of one registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerStatus {
    /// [`HandlerConfig::name`], or the name of the handler's type.
    pub name: Arc<str>,
    /// The handler has finished the first complete snapshot.
    pub synced: bool,
    /// The registration has ended, by itself or with the informer.
    pub ended: bool,
    /// Keys of which the handler has yet to hear. A resync that is due is not counted.
    pub pending: usize,
    /// Since when the first of them has been waiting: the handler's lag in time.
    pub pending_since: Option<Instant>,
    /// Events told since the beginning, the one in progress included.
    pub told: u64,
    /// Since when a call has been running, if one is. A handler that is stuck shows here.
    pub calling_since: Option<Instant>,
    /// Calls that panicked.
    pub panics: u64,
}

/// Why a registration isn't synced and won't be while one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSynced {
    /// It has ended, by itself or with the informer.
    #[error("the registration has ended before its handler had finished the first snapshot")]
    Ended,
    /// It was asked within a call of this very handler, which has to return first.
    #[error("the handler can't be waited for from within its own call")]
    WithinHandler,
}

impl Registration {
    /// Whether the handler has finished the first complete snapshot. That stays so, also where namespaces are added later.
    pub fn has_synced(&self) -> bool {
        self.subscriber.signals().progress.borrow().synced
    }

    /// Waits for [`Registration::has_synced`]; any number may wait. Never returns if the handler gets stuck: bound it.
    /// Cancel-safe.
    ///
    /// # Errors
    /// It can't become synced any more, or not while the caller waits.
    pub async fn synced(&self) -> Result<(), NotSynced> {
        let signals = self.subscriber.signals();
        let mut progress = signals.progress.subscribe();
        if !progress.borrow_and_update().synced && call::is_within(signals.id()) {
            return Err(NotSynced::WithinHandler);
        }
        // The sender lives in `self`, so the channel can't close while this waits.
        let settled = progress.wait_for(|progress| progress.synced || progress.ended).await;
        if settled.is_ok_and(|progress| progress.synced) { Ok(()) } else { Err(NotSynced::Ended) }
    }

    /// Keys of which the handler has yet to hear: its lag.
    pub fn pending(&self) -> usize {
        self.status().pending
    }

    /// All that can be seen of it, at one moment.
    pub fn status(&self) -> HandlerStatus {
        self.subscriber.status()
    }

    /// Ends the registration without waiting: no event is taken from its mailbox from now on, but a call may be running, or about to
    /// begin with one that was taken just before; [`Registration::remove`] waits for that. What was pending is dropped. Ending it again
    /// does nothing.
    pub fn end(&self) {
        self.subscriber.end();
    }

    /// Ends the registration. From the first poll on no call begins; when this has returned none is running. What was
    /// pending is dropped. It takes as long as the call that is running: bound it. Cancelled early, the registration is still ended, but a call
    /// may be running.
    ///
    /// Waited for from within a call of this very handler it returns at once: the call that asks is the only one left, and
    /// the last. That is known of the thread that makes the call, so a call that blocks until another thread or task has
    /// waited for this waits for itself.
    pub async fn remove(self) {
        let signals = self.subscriber.signals();
        self.end();
        loop {
            let idle = signals.idle.notified();
            if !self.subscriber.is_calling() || call::is_within(signals.id()) {
                return;
            }
            let idle = if is_planted(Mutant::LateListening) { signals.idle.notified() } else { idle };
            idle.await;
        }
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registration").field(&self.status()).finish()
    }
}

/// One registration, whatever it is told about.
trait Subscriber: Send + Sync {
    fn signals(&self) -> &Signals;
    fn status(&self) -> HandlerStatus;
    fn is_calling(&self) -> bool;
    fn end(&self);
}

/// What those who wait for a registration listen to.
struct Signals {
    progress: watch::Sender<Progress>,
    /// A call has returned.
    idle: Notify,
    /// Something is pending, or the registration has ended; whoever pulls the events alone waits for it.
    arrived: AtomicWaker,
    panics: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    synced: bool,
    ended: bool,
}

impl Signals {
    /// Tells registrations apart while they are there.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn advance(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_if_modified(|progress| {
            let before = *progress;
            change(progress);
            (before.synced, before.ended) != (progress.synced, progress.ended)
        });
    }
}

pub(crate) type Handler<K> = Box<dyn FnMut(Event<K>) + Send>;

/// Makes the type of a handler and its configuration those of a registry.
pub(crate) fn register<K: Cached, H: FnMut(Event<K>) + Send + 'static>(
    registry: &Arc<Registry<K>>,
    mut config: HandlerConfig,
    handler: H,
) -> Registration {
    if config.name.is_empty() {
        std::any::type_name::<H>().clone_into(&mut config.name);
    }
    Registration { subscriber: registry.add(config, Some(Box::new(handler))) }
}

/// The same for somebody who pulls.
pub(crate) fn subscribe<K: Cached>(registry: &Arc<Registry<K>>, mut config: HandlerConfig) -> EventStream<K> {
    if config.name.is_empty() {
        "event stream".clone_into(&mut config.name);
    }
    EventStream::new(registry.add(config, None))
}

/// What a batch has for every mailbox; keys are made once for all of them.
pub(crate) struct Mail<'a, K> {
    pub(crate) events: &'a [(ObjectKey, Event<K>)],
    /// The first complete snapshot ends with these.
    pub(crate) ends_snapshot: bool,
    pub(crate) now: Instant,
}

/// The informer's end of a registration.
pub(crate) struct Subscription<K> {
    name: Arc<str>,
    number: u64,
    registry: Weak<Registry<K>>,
    explain: Explainer,
    mailbox: Mutex<Mailbox<K>>,
    signals: Signals,
}

/// What somebody who looks into a mailbox finds.
enum Next<K> {
    Event(Event<K>),
    /// Nothing now, but at this moment a resync is due.
    Nothing {
        resync: Option<Instant>,
    },
    Ended,
}

impl<K: Cached> Subscription<K> {
    fn new(config: HandlerConfig, number: u64, registry: &Arc<Registry<K>>) -> Self {
        let resync = config.resync.filter(|period| !period.is_zero()).map(|period| period.max(SHORTEST_RESYNC));
        let signals = Signals {
            progress: watch::Sender::new(Progress::default()),
            idle: Notify::new(),
            arrived: AtomicWaker::new(),
            panics: AtomicU64::new(0),
        };
        let (registry, explain) = (Arc::downgrade(registry), registry.explain.clone());
        Self { name: config.name.into(), number, registry, explain, mailbox: Mutex::new(Mailbox::new(resync)), signals }
    }

    /// Takes up events in order.
    pub(crate) fn offer(&self, mail: &Mail<'_, K>) {
        let freed = {
            let mut mailbox = self.mailbox.lock();
            mail.events.iter().for_each(|(key, event)| mailbox.offer(key, event, mail.now));
            if mail.ends_snapshot {
                mailbox.end_snapshot();
            }
            mailbox.freed()
        };
        self.signals.arrived.wake();
        drop(freed); // Objects are freed outside the lock.
    }

    /// Takes the next thing to tell out of the mailbox; what was taken before has been told.
    fn next(&self) -> Next<K> {
        let now = now();
        let (next, freed, is_synced) = {
            let mut mailbox = self.mailbox.lock();
            mailbox.returned();
            let was_synced = mailbox.newly_synced();
            let next = if mailbox.is_retired() {
                Next::Ended
            } else {
                mailbox.next(now).map_or_else(|| Next::Nothing { resync: mailbox.next_resync() }, Next::Event)
            };
            // An event may turn out to be none, and so end the snapshot.
            let is_synced = was_synced || mailbox.newly_synced();
            if is_planted(Mutant::UnseenCall) {
                mailbox.returned();
            }
            (next, mailbox.freed(), is_synced)
        };
        if is_synced {
            self.signals.advance(|progress| progress.synced = true);
        }
        drop(freed);
        if let Next::Event(event) = &next {
            self.explain.note_object(&**event.object(), || What::Told(Arc::clone(&self.name), News::of(event)));
        }
        next
    }

    fn call(&self, handler: &mut Handler<K>, event: Event<K>) {
        let object = Arc::clone(event.object());
        if !call::call(self.signals.id(), || handler(event)) {
            let panics = self.signals.panics.fetch_add(1, Ordering::Relaxed) + 1;
            let key = ObjectKey::of(&*object);
            tracing::error!(handler = &*self.name, %key, panics, "an event handler panicked; it goes on with the next event");
        }
        let is_synced = {
            let mut mailbox = self.mailbox.lock();
            mailbox.returned();
            mailbox.newly_synced()
        };
        if is_synced {
            self.signals.advance(|progress| progress.synced = true);
        }
        self.signals.idle.notify_waiters();
    }

    /// Ends it on this side: the mailbox takes and gives nothing any more.
    fn retire(&self) {
        if is_planted(Mutant::EarlyEnd) {
            self.signals.advance(|progress| progress.ended = true);
        }
        let dropped = self.mailbox.lock().retire();
        self.signals.advance(|progress| progress.ended = true);
        self.signals.arrived.wake();
        drop(dropped); // Objects are freed outside the lock.
    }
}

impl<K: Cached> Subscriber for Subscription<K> {
    fn signals(&self) -> &Signals {
        &self.signals
    }

    fn status(&self) -> HandlerStatus {
        let progress = *self.signals.progress.borrow();
        let mailbox = self.mailbox.lock();
        HandlerStatus {
            name: Arc::clone(&self.name),
            synced: progress.synced,
            ended: progress.ended,
            pending: mailbox.pending(),
            pending_since: mailbox.pending_since(),
            told: mailbox.calls(),
            calling_since: mailbox.calling_since(),
            panics: self.signals.panics.load(Ordering::Relaxed),
        }
    }

    fn is_calling(&self) -> bool {
        self.mailbox.lock().calling_since().is_some()
    }

    fn end(&self) {
        self.retire();
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self.number);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "run modules read tokio's clock, which tests pause")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
