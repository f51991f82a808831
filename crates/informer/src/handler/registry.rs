//! Registry: where handlers register and end, and the processor learns of both.
//!
//! In: handlers, from any thread and from within calls, at any time. Out: to the processor, who has come and who has gone
//! since it last looked. Coming and going cost the logarithm of how many there are. Nothing of a handler is called or
//! dropped under its lock.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use crate::explain::Explainer;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;
use crate::store::sync::Mutex;

use super::call::discard;
use super::sync::Notify;
use super::{Handler, HandlerConfig, HandlerStatus, Registration, Subscriber, Subscription};

pub(crate) struct Registry<K> {
    entries: Mutex<Entries<K>>,
    /// Somebody has come or gone.
    pub(crate) changed: Notify,
    /// Where it is noted what handlers are told.
    pub(super) explain: Explainer,
}

/// A registration that the informer has not yet taken up.
pub(crate) struct Newcomer<K> {
    pub(crate) subscription: Arc<Subscription<K>>,
    /// `None`: somebody pulls the events.
    pub(crate) handler: Option<Handler<K>>,
}

/// Who has come and who has gone, in this order.
pub(crate) struct Changes<K> {
    pub(crate) newcomers: BTreeMap<u64, Newcomer<K>>,
    pub(crate) gone: Vec<u64>,
}

struct Entries<K> {
    /// By number, which is the order of registration.
    all: BTreeMap<u64, Arc<Subscription<K>>>,
    changes: Changes<K>,
    next_number: u64,
    closed: bool,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self { newcomers: BTreeMap::new(), gone: Vec::new() }
    }
}

impl<K: Cached> Registry<K> {
    pub(crate) fn new(explain: Explainer) -> Self {
        let entries = Entries { all: BTreeMap::new(), changes: Changes::default(), next_number: 0, closed: false };
        Self { entries: Mutex::new(entries), changed: Notify::new(), explain }
    }

    /// Registers a handler, or somebody who pulls. After the informer has ended the registration has ended too.
    pub(crate) fn add(self: &Arc<Self>, config: HandlerConfig, handler: Option<Handler<K>>) -> Arc<Subscription<K>> {
        if is_planted(Mutant::EarlyAnnouncement) {
            self.changed.notify_one();
        }
        let (subscription, refused) = {
            let mut entries = self.entries.lock();
            let number = entries.next_number;
            entries.next_number += 1;
            let subscription = Arc::new(Subscription::new(config, number, self));
            let newcomer = Newcomer { subscription: Arc::clone(&subscription), handler };
            let refused = if entries.closed {
                Some(newcomer)
            } else {
                entries.all.insert(number, Arc::clone(&subscription));
                entries.changes.newcomers.insert(number, newcomer);
                None
            };
            (subscription, refused)
        };
        match refused {
            Some(newcomer) => {
                newcomer.subscription.retire();
                discard(newcomer.handler);
            }
            None if is_planted(Mutant::EarlyAnnouncement) => {}
            None => self.changed.notify_one(),
        }
        subscription
    }

    /// A registration has ended. It was taken up, and the processor will hear of it, or it never will be.
    pub(super) fn forget(&self, number: u64) {
        let never_taken_up = {
            let mut entries = self.entries.lock();
            if entries.all.remove(&number).is_none() {
                return;
            }
            let never_taken_up = entries.changes.newcomers.remove(&number);
            if never_taken_up.is_none() {
                entries.changes.gone.push(number);
            }
            never_taken_up
        };
        match never_taken_up {
            Some(newcomer) => discard(newcomer.handler),
            None => self.changed.notify_one(),
        }
    }

    /// Who has come and gone since this was last asked.
    pub(crate) fn changes(&self) -> Changes<K> {
        mem::take(&mut self.entries.lock().changes)
    }

    /// Waits until all that are registered now have finished their first snapshots, or have ended. Cancel-safe.
    pub(crate) async fn settled(&self) {
        let all: Vec<_> = self.entries.lock().all.values().cloned().collect();
        for one in all {
            // Whether it is synced or has ended is the same here.
            let _ = Registration { subscriber: one }.synced().await;
        }
    }

    /// Those registered and not ended, in order of registration.
    pub(crate) fn statuses(&self) -> Vec<HandlerStatus> {
        let all: Vec<_> = self.entries.lock().all.values().cloned().collect();
        all.iter().map(|one| one.status()).collect()
    }

    /// The informer has ended: so has every registration, and nobody is taken up any more.
    pub(crate) fn close(&self) {
        let (all, changes) = {
            let mut entries = self.entries.lock();
            entries.closed = !is_planted(Mutant::LeftOpen);
            (mem::take(&mut entries.all), mem::take(&mut entries.changes))
        };
        all.values().for_each(|subscription| subscription.retire());
        changes.newcomers.into_values().for_each(|newcomer| discard(newcomer.handler));
    }
}
