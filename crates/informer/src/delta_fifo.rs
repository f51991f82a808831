//! DeltaFIFO: what has happened, in order of arrival, until the store has taken it.
//!
//! In: deltas, bookmarks and whole replacements from the reflector. Out: batches for the one consumer, the store's
//! writer. `push` never waits; whoever reads a socket asks [`DeltaFifo::room`] before it reads on, so a consumer that can't
//! keep up is felt by the server's side of the connection, and memory stays within [`FifoLimits`].
//!
//! What is kept of the deltas that wait is the business of a [`DeltaQueue`], of which there are two: [`Coalescing`] keeps of
//! each key at most "the old life is gone, then this is there" once many wait, so that a busy object costs no more than a quiet
//! one; [`Ordered`] keeps every delta as it came, so that the store sees each change that was read between two lists. A replacement is one barrier
//! in both: it supersedes everything that was still pending, an older replacement included, because a list is the whole truth
//! at its version. What vanished in between is worked out by the store, which alone knows what it holds.
//!
//! It is neither a ring nor does it overwrite: a delete of something the store may hold is never lost.
//! It never decides whether something was added or updated and never compares with the store.
//!
//! Upstream counterpart: `DeltaFIFO` (coalescing by key) and `RealFIFO` (ordered, the default since 1.34) in client-go's
//! tools/cache, with atomic events.

use std::cmp::Ordering;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::object::Cached;
use crate::sight;
use crate::version::ResourceVersion;

mod coalescing;
mod delta;
mod ordered;

pub use coalescing::Coalescing;
pub(crate) use coalescing::is_older;
pub use delta::{Change, Delta, Known, Relisted, Replacement, Work};
pub use ordered::Ordered;

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
        {
            let mut state = self.fifo.shared.state.lock();
            state.in_hand = false;
            state.ages.in_hand = None;
        }
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

/// What is kept of the deltas that wait for the store.
///
/// Whatever it leaves out, what it hands out must lead the store to the same state, and end each life that the store may
/// hold: `Deleted` of a key comes out unless the store can't have heard of that life.
pub trait DeltaQueue<K>: Send {
    /// Takes one delta, which came behind all others; `bytes`: how large its object was as it arrived.
    fn push(&mut self, delta: Delta<K>, bytes: usize);

    /// Hands everything out, in order of arrival (of the keys, where the deltas of one are kept together).
    fn drain(&mut self) -> Vec<Change<K>>;

    /// Forgets everything.
    fn clear(&mut self) {
        drop(self.drain());
    }

    /// How many deltas or keys wait.
    fn len(&self) -> usize;

    /// Whether none does.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the objects that wait had as they arrived.
    fn bytes(&self) -> usize;

    /// How many deltas were left out since the start because newer ones made them superfluous.
    fn coalesced(&self) -> u64 {
        0
    }
}

/// Beyond these there is no room, unless nothing waits at all. They are exceeded by what was read at once, a piece of a body, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FifoLimits {
    /// Deltas or keys that wait. Default 100,000.
    pub len: usize,
    /// Bytes of the objects that wait, as they arrived. Default 64 MiB.
    pub bytes: usize,
}

impl Default for FifoLimits {
    fn default() -> Self {
        Self { len: 100_000, bytes: 64 << 20 }
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
    limits: FifoLimits,
    /// A list that comes before everything in `pending`.
    barrier: Option<Replacement<K>>,
    pending: Box<dyn DeltaQueue<K>>,
    /// The newest version pushed since the last pop, or since the barrier if there is one.
    version: Option<ResourceVersion>,
    /// A batch has been handed out and its receipt not yet returned.
    in_hand: bool,
    ages: Ages,
    closed: bool,
}

/// Since when what is there has been so.
#[derive(Default)]
struct Ages {
    /// Somebody wants to know.
    kept: bool,
    pending: Option<Instant>,
    in_hand: Option<Instant>,
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
            (state.barrier.take(), state.pending.drain())
        };
        self.shared.changed.notify_waiters();
        drop(dropped); // Objects are freed outside the lock.
    }

    /// What waits, a pending replacement counted as its items.
    pub fn depth(&self) -> usize {
        let state = self.shared.state.lock();
        state.pending.len() + state.barrier.as_ref().map_or(0, |replacement| replacement.items.len())
    }

    /// How many bytes the objects that wait had as they arrived; a pending replacement is not counted.
    pub fn bytes(&self) -> usize {
        self.shared.state.lock().pending.bytes()
    }

    /// How many deltas were left out since the start because newer ones made them superfluous.
    pub fn coalesced(&self) -> u64 {
        self.shared.state.lock().pending.coalesced()
    }

    /// From now on, [`DeltaFifo::waiting_since`] is known.
    pub(crate) fn keep_ages(&self) {
        self.shared.state.lock().ages.kept = true;
    }

    /// Since when the oldest thing that isn't applied has been here.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        let state = self.shared.state.lock();
        state.ages.in_hand.or(state.ages.pending)
    }

    /// Waits until more may be pushed, or the queue is closed; `true`: it had to wait. Cancel-safe: it changes nothing.
    pub async fn room(&self) -> bool {
        let mut waited = false;
        loop {
            let changed = self.shared.changed.notified();
            if self.shared.state.lock().has_room() {
                return waited;
            }
            changed.await;
            waited = true;
        }
    }
}

impl<K: Cached> DeltaFifo<K> {
    /// An empty, open queue that coalesces, with the default limits.
    pub fn new() -> Self {
        Self::with_queue(Coalescing::default(), FifoLimits::default())
    }

    /// An empty, open queue that keeps of its deltas what `pending` does.
    pub fn with_queue(pending: impl DeltaQueue<K> + 'static, limits: FifoLimits) -> Self {
        let pending = Box::new(pending);
        let state = State {
            limits,
            barrier: None,
            pending,
            version: None,
            in_hand: false,
            ages: Ages::default(),
            closed: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Adds one delta, whose object had so many bytes as it arrived; `version` is the resource version the watch stands at
    /// after it. Never waits, see [`DeltaFifo::room`].
    pub fn push(&self, delta: Delta<K>, bytes: usize, version: ResourceVersion) {
        self.change(|state| {
            state.pending.push(delta, bytes);
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
            state.version = None;
            state.barrier = Some(replacement);
        });
        // There is room again.
        self.shared.changed.notify_waiters();
    }

    /// Waits until everything pushed so far has been applied (or superseded), or the queue is closed. From then on,
    /// until the next push, [`Known`] tells the whole truth. Cancel-safe: it changes nothing.
    pub async fn consumed(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if self.is_consumed() {
                return;
            }
            changed.await;
        }
    }

    /// Whether everything pushed so far has been applied, see [`DeltaFifo::consumed`].
    pub fn is_consumed(&self) -> bool {
        let state = self.shared.state.lock();
        state.closed || (state.is_empty() && !state.in_hand)
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
                    state.ages.in_hand = state.ages.pending.take();
                    let receipt = Receipt { fifo: self.clone(), settled: false };
                    return Some(Batch { work, version, receipt });
                }
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State<K>)) {
        let was_empty = {
            let mut state = self.shared.state.lock();
            if state.closed {
                return;
            }
            let was_empty = state.is_empty();
            if was_empty && state.ages.kept {
                state.ages.pending = Some(sight::now());
            }
            change(&mut state);
            was_empty
        };
        // Who waits for something to be there has been told of the first, and who waits for nothing to be there hears of none.
        if was_empty {
            self.shared.changed.notify_waiters();
        }
    }
}

impl<K> State<K> {
    fn is_empty(&self) -> bool {
        self.barrier.is_none() && self.version.is_none()
    }

    fn has_room(&self) -> bool {
        let fits = |pending: &dyn DeltaQueue<K>| pending.len() < self.limits.len && pending.bytes() < self.limits.bytes;
        self.closed || self.pending.is_empty() || fits(&*self.pending)
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

    fn take(&mut self) -> Option<(Work<K>, ResourceVersion)> {
        if let Some(replacement) = self.barrier.take() {
            let version = replacement.version.clone();
            return Some((Work::Replace(replacement), version));
        }
        let version = self.version.take()?;
        Some((Work::Changes(self.pending.drain()), version))
    }
}
