//! DeltaFIFO: what has happened, in order of arrival, until the store has taken it.
//!
//! In: deltas, bookmarks and whole replacements from the reflector. Out: batches for the one consumer, the store's
//! writer. `push` never waits, so a busy store never holds up the reading of a watch.
//!
//! Memory is bounded by keys, not by events: where the consumer lags, the deltas of a key are coalesced to at most
//! "the old life is gone, then this is there". A replacement is one barrier: it supersedes everything that was still
//! pending, an older replacement included, because a list is the whole truth at its version. What vanished in between
//! is worked out by the store, which alone knows what it holds.
//!
//! It is neither a ring nor does it overwrite: a delete of something the store may hold is never lost.
//! It never decides whether something was added or updated and never compares with the store.
//!
//! Upstream counterpart: `DeltaFIFO` and `RealFIFO` in client-go's tools/cache, with atomic events.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::event::Finality;
use crate::key::ObjectKey;
use crate::object::Cached;
use crate::version::ResourceVersion;

mod pending;

use pending::Pending;
pub(crate) use pending::is_older;

/// One thing that happened to one object, as the watch told it.
#[derive(Debug)]
pub enum Delta<K> {
    /// The object is there and looks like this: added or modified, which of them the store decides.
    Applied(Arc<K>),
    /// The object is gone (or no longer matches the selectors); this is the last state the server showed.
    Deleted(Arc<K>),
}

/// One item of a list that replaces what is cached.
#[derive(Debug)]
pub enum Relisted<K> {
    /// Decoded from the list.
    New(Arc<K>),
    /// The store holds exactly this state ([`Known`] said so after [`DeltaFifo::consumed`]), so it wasn't decoded.
    Unchanged(ObjectKey),
}

/// A complete list: whatever is not in `items` does not exist at `version`.
#[derive(Debug)]
pub struct Replacement<K> {
    /// Every object of the scope.
    pub items: Vec<Relisted<K>>,
    /// The resource version of the list.
    pub version: ResourceVersion,
}

/// What is cached, as far as the reflector may know it.
pub trait Known: Send + Sync + 'static {
    /// Whether the cached object under this name is of this uid and exactly this version. Only true to the whole
    /// truth when the consumer has caught up ([`DeltaFifo::consumed`]): a pending delta may be about to change it.
    fn is_current(&self, namespace: &str, name: &str, uid: &str, version: &str) -> bool;

    /// Whether this life of the object is cached at all, at whatever version. An item of a list that can't be decoded
    /// keeps its cached state, rather than appear to be gone.
    fn holds(&self, namespace: &str, name: &str, uid: &str) -> bool {
        let _ = (namespace, name, uid);
        false
    }
}

/// What the store has to do for one key.
#[derive(Debug)]
pub enum Change<K> {
    /// Make this the present state.
    Applied(Arc<K>),
    /// This life has ended.
    Deleted {
        /// The last state the queue has seen of it.
        last: Arc<K>,
        /// Whether the watch said so, or the queue concluded it from a new uid under the same name.
        finality: Finality,
    },
}

/// What a [`Batch`] asks for.
#[derive(Debug)]
pub enum Work<K> {
    /// Changes in order of arrival of their keys; those of one key are at most `Deleted`, `Applied`.
    Changes(Vec<Change<K>>),
    /// Make the store exactly this.
    Replace(Replacement<K>),
}

/// Everything that was pending up to a barrier, in one piece.
#[derive(Debug)]
pub struct Batch<K> {
    /// What to do.
    pub work: Work<K>,
    /// The version the store stands at when the work is done.
    pub version: ResourceVersion,
    /// To be handed back when the work is done.
    pub receipt: Receipt<K>,
}

/// The obligation to say that a batch has been applied. Dropping it instead closes the queue: what the consumer lost
/// can't be had again, so nothing pushed after it could be right.
pub struct Receipt<K> {
    fifo: DeltaFifo<K>,
    settled: bool,
}

impl<K> Receipt<K> {
    /// The batch is in the store, readers can see it.
    pub fn applied(mut self) {
        self.settled = true;
        self.fifo.shared.state.lock().in_hand = false;
        self.fifo.shared.changed.notify_waiters();
    }
}

impl<K> Drop for Receipt<K> {
    fn drop(&mut self) {
        if !self.settled {
            self.fifo.close();
        }
    }
}

impl<K> std::fmt::Debug for Receipt<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receipt")
    }
}

/// The queue between reflector and store; a cheap handle.
pub struct DeltaFifo<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    /// Something was pushed, a batch was applied, or the queue was closed.
    changed: Notify,
}

struct State<K> {
    /// A list that comes before everything in `pending`.
    barrier: Option<Replacement<K>>,
    /// In order of arrival of the keys.
    pending: Vec<Pending<K>>,
    places: HashMap<ObjectKey, usize, ahash::RandomState>,
    /// The newest version pushed since the last pop, or since the barrier if there is one.
    version: Option<ResourceVersion>,
    /// A batch has been handed out and its receipt not yet returned.
    in_hand: bool,
    closed: bool,
}

impl<K> Clone for DeltaFifo<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> std::fmt::Debug for DeltaFifo<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeltaFifo").field("depth", &self.depth()).finish()
    }
}

impl<K: Cached> Default for DeltaFifo<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> DeltaFifo<K> {
    /// Ends the queue: what is pending is dropped, `pop` and `consumed` return at once, pushes are ignored.
    pub fn close(&self) {
        let dropped = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            (state.barrier.take(), std::mem::take(&mut state.pending))
        };
        self.shared.changed.notify_waiters();
        drop(dropped); // Objects are freed outside the lock.
    }

    /// Keys with pending changes, a pending replacement counted as its items.
    pub fn depth(&self) -> usize {
        let state = self.shared.state.lock();
        state.pending.len() + state.barrier.as_ref().map_or(0, |replacement| replacement.items.len())
    }
}

impl<K: Cached> DeltaFifo<K> {
    /// An empty, open queue.
    pub fn new() -> Self {
        let state = State {
            barrier: None,
            pending: Vec::new(),
            places: HashMap::default(),
            version: None,
            in_hand: false,
            closed: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Adds one delta; `version` is the resource version the watch stands at after it. Never waits.
    pub fn push(&self, delta: Delta<K>, version: ResourceVersion) {
        self.change(|state| {
            state.merge(delta);
            state.advance(version);
        });
    }

    /// Nothing has changed up to this version (a bookmark).
    pub fn reached(&self, version: ResourceVersion) {
        self.change(|state| state.advance(version));
    }

    /// Puts a complete list in the place of everything pending.
    pub fn replace(&self, replacement: Replacement<K>) {
        self.change(|state| {
            state.pending.clear();
            state.places.clear();
            state.version = None;
            state.barrier = Some(replacement);
        });
    }

    /// Waits until everything pushed so far has been applied (or superseded), or the queue is closed. From then on,
    /// until the next push, [`Known`] tells the whole truth. Cancel-safe: it changes nothing.
    pub async fn consumed(&self) {
        loop {
            let changed = self.shared.changed.notified();
            {
                let state = self.shared.state.lock();
                if state.closed || (state.is_empty() && !state.in_hand) {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Takes everything pending up to a barrier, waiting for something to be there and for the receipt of the batch
    /// before; `None` once the queue is closed. Cancel-safe: a batch is only taken when it is returned.
    ///
    /// There is one consumer. It must hand back (or drop) a receipt before it pops again.
    pub async fn pop(&self) -> Option<Batch<K>> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut state = self.shared.state.lock();
                if state.closed {
                    return None;
                }
                if !state.in_hand
                    && let Some((work, version)) = state.take()
                {
                    state.in_hand = true;
                    let receipt = Receipt { fifo: self.clone(), settled: false };
                    return Some(Batch { work, version, receipt });
                }
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State<K>)) {
        {
            let mut state = self.shared.state.lock();
            if state.closed {
                return;
            }
            change(&mut state);
        }
        self.shared.changed.notify_waiters();
    }
}

impl<K> State<K> {
    fn is_empty(&self) -> bool {
        self.barrier.is_none() && self.version.is_none()
    }
}

impl<K: Cached> State<K> {
    /// Versions only move forward between two replacements; one that can't be compared is taken as newer, because it
    /// came later.
    fn advance(&mut self, version: ResourceVersion) {
        match &self.version {
            Some(present) if version.compare(present) == Some(Ordering::Less) => {}
            _ => self.version = Some(version),
        }
    }

    fn merge(&mut self, delta: Delta<K>) {
        let (Delta::Applied(object) | Delta::Deleted(object)) = &delta;
        match self.places.entry(ObjectKey::of(&**object)) {
            Entry::Occupied(place) => self.pending[*place.get()].merge(delta),
            Entry::Vacant(place) => {
                place.insert(self.pending.len());
                self.pending.push(Pending::new(delta));
            }
        }
    }

    fn take(&mut self) -> Option<(Work<K>, ResourceVersion)> {
        if let Some(replacement) = self.barrier.take() {
            let version = replacement.version.clone();
            return Some((Work::Replace(replacement), version));
        }
        let version = self.version.take()?;
        self.places.clear();
        let pending = std::mem::take(&mut self.pending);
        let mut changes = Vec::with_capacity(pending.len());
        for Pending { gone, here } in pending {
            changes.extend(gone.map(|(last, finality)| Change::Deleted { last, finality }));
            changes.extend(here.map(Change::Applied));
        }
        Some((Work::Changes(changes), version))
    }
}
