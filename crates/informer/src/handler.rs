//! Handlers: whoever wants to hear of changes registers here and gets a mailbox of its own.
//!
//! In: events from the store, in order. Out: calls of the handler, one at a time, on a task of its own that the
//! informer's `run` owns. A slow, panicking or stuck handler holds up neither the store nor another handler.
//!
//! A mailbox keeps per key what the handler was last told and, if that isn't the present, the present; a call tells
//! the difference. So it is bounded by what was told plus what lives, however slow the handler is, and for every uid
//! the handler hears Added, Updated*, Deleted, each end once and in order. Lives that began and ended while it lagged
//! vanish.
//!
//! Handlers run on the runtime's threads: they compute and enqueue, they don't block. A panic is caught and counted,
//! the handler goes on with the next event.
//!
//! Upstream counterpart: `processorListener` of client-go's shared informer, whose buffer grows without bound.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::object::Cached;

mod mailbox;

use mailbox::Mailbox;

/// A handler in use. Dropping it leaves the handler registered; [`Registration::remove`] ends it.
pub struct Registration {
    subscriber: Arc<dyn Subscriber>,
}

/// What can be seen of one registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerStatus {
    /// The handler has finished the first complete snapshot.
    pub synced: bool,
    /// Keys of which the handler has yet to hear.
    pub pending: usize,
    /// Calls that panicked.
    pub panics: u64,
}

impl Registration {
    /// Whether the handler has finished the first complete snapshot.
    pub fn has_synced(&self) -> bool {
        *self.subscriber.signals().synced.borrow()
    }

    /// Waits for [`Registration::has_synced`]; any number may wait. Never returns if the informer ends before, or the
    /// handler gets stuck: bound it. Cancel-safe.
    pub async fn synced(&self) {
        let mut synced = self.subscriber.signals().synced.subscribe();
        // The sender lives in `self`, so the channel can't close while this waits.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Keys of which the handler has yet to hear: its lag.
    pub fn pending(&self) -> usize {
        self.subscriber.status().pending
    }

    /// Synced, lag and panics at once.
    pub fn status(&self) -> HandlerStatus {
        self.subscriber.status()
    }

    /// Ends the registration. From the first poll on no call begins; when this has returned none is running. What was
    /// pending is dropped. Cancelled early, the registration is still ended, but a call may be running.
    ///
    /// Waits for the call in progress, so it must not be waited for from within the handler.
    pub async fn remove(self) {
        self.subscriber.retire();
        loop {
            let idle = self.subscriber.signals().idle.notified();
            if !self.subscriber.is_calling() {
                return;
            }
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
    fn retire(&self);
}

/// What those who wait for a registration listen to.
struct Signals {
    synced: watch::Sender<bool>,
    /// A call has returned.
    idle: Notify,
    /// Something is pending, or the registration was ended; the delivering task alone waits for it.
    arrived: Notify,
    panics: AtomicU64,
}

type Handler<K> = Box<dyn FnMut(Event<K>) + Send>;

/// A registration that the informer has not yet taken up.
pub(crate) struct Newcomer<K> {
    pub(crate) subscription: Arc<Subscription<K>>,
    handler: Handler<K>,
}

/// The informer's end of a registration.
pub(crate) struct Subscription<K> {
    mailbox: Mutex<Mailbox<K>>,
    signals: Signals,
}

impl<K: Cached> Subscription<K> {
    /// Takes up events in order; with `snapshot` the first complete snapshot ends with them.
    pub(crate) fn offer(&self, events: impl Iterator<Item = Event<K>>, snapshot: bool) {
        {
            let mut mailbox = self.mailbox.lock();
            events.for_each(|event| mailbox.offer(event));
            if snapshot {
                mailbox.end_snapshot();
            }
        }
        self.signals.arrived.notify_one();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.mailbox.lock().is_retired()
    }
}

impl<K: Cached> Subscriber for Subscription<K> {
    fn signals(&self) -> &Signals {
        &self.signals
    }

    fn status(&self) -> HandlerStatus {
        HandlerStatus {
            synced: *self.signals.synced.borrow(),
            pending: self.mailbox.lock().pending(),
            panics: self.signals.panics.load(Ordering::Relaxed),
        }
    }

    fn is_calling(&self) -> bool {
        self.mailbox.lock().is_calling()
    }

    fn retire(&self) {
        let dropped = self.mailbox.lock().retire();
        self.signals.arrived.notify_one();
        drop(dropped); // Objects are freed outside the lock.
    }
}

impl<K: Cached> Newcomer<K> {
    /// Calls the handler until the registration or the informer ends; what is then pending is dropped.
    pub(crate) async fn deliver(self, shutdown: CancellationToken) {
        /// Handlers that never lack events let others run now and then.
        const CALLS_BETWEEN_YIELDS: u32 = 32;
        let Self { subscription, mut handler } = self;
        let mut calls: u32 = 0;
        while !shutdown.is_cancelled() {
            let arrived = subscription.signals.arrived.notified();
            let next = {
                let mut mailbox = subscription.mailbox.lock();
                if mailbox.is_retired() {
                    return;
                }
                let next = mailbox.next();
                if next.is_none() && mailbox.has_finished_snapshot() {
                    subscription.signals.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
                }
                next
            };
            match next {
                Some(event) => {
                    subscription.call(&mut handler, event);
                    calls = calls.wrapping_add(1);
                    if calls.is_multiple_of(CALLS_BETWEEN_YIELDS) {
                        tokio::task::yield_now().await;
                    }
                }
                None => tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    () = arrived => {}
                },
            }
        }
        subscription.retire();
    }
}

impl<K: Cached> Subscription<K> {
    fn call(&self, handler: &mut Handler<K>, event: Event<K>) {
        // The handler may be left in any state by its own panic; that is its author's to know, nothing of ours breaks.
        if catch_unwind(AssertUnwindSafe(|| handler(event))).is_err() {
            let panics = self.signals.panics.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(panics, "an event handler panicked; it goes on with the next event");
        }
        let synced = {
            let mut mailbox = self.mailbox.lock();
            mailbox.returned();
            mailbox.has_finished_snapshot()
        };
        if synced {
            self.signals.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
        }
        self.signals.idle.notify_waiters();
    }
}

/// Where handlers register and the informer takes them up.
pub(crate) struct Registry<K> {
    entries: Mutex<Entries<K>>,
    /// A newcomer waits to be taken up.
    pub(crate) arrived: Notify,
}

struct Entries<K> {
    newcomers: Vec<Newcomer<K>>,
    all: Vec<Arc<Subscription<K>>>,
    closed: bool,
}

impl<K: Cached> Registry<K> {
    pub(crate) fn new() -> Self {
        let entries = Entries { newcomers: Vec::new(), all: Vec::new(), closed: false };
        Self { entries: Mutex::new(entries), arrived: Notify::new() }
    }

    /// Registers a handler. After the informer has ended it is never called.
    pub(crate) fn add(&self, handler: Handler<K>) -> Registration {
        let signals = Signals {
            synced: watch::Sender::new(false),
            idle: Notify::new(),
            arrived: Notify::new(),
            panics: AtomicU64::new(0),
        };
        let subscription = Arc::new(Subscription { mailbox: Mutex::new(Mailbox::new()), signals });
        {
            let mut entries = self.entries.lock();
            if !entries.closed {
                entries.all.retain(|other| !other.is_retired());
                entries.all.push(Arc::clone(&subscription));
                entries.newcomers.push(Newcomer { subscription: Arc::clone(&subscription), handler });
            }
        }
        self.arrived.notify_one();
        Registration { subscriber: subscription }
    }

    pub(crate) fn newcomers(&self) -> Vec<Newcomer<K>> {
        std::mem::take(&mut self.entries.lock().newcomers)
    }

    /// Those registered and not ended, in order of registration.
    pub(crate) fn statuses(&self) -> Vec<HandlerStatus> {
        let entries = self.entries.lock();
        entries.all.iter().filter(|one| !one.is_retired()).map(|one| one.status()).collect()
    }

    /// The informer has ended: nobody is taken up any more.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut entries = self.entries.lock();
            entries.closed = true;
            (std::mem::take(&mut entries.newcomers), std::mem::take(&mut entries.all))
        };
        drop(dropped); // What handlers own is freed outside the lock.
    }
}
