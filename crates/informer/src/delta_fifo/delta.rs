//! Deltas: what goes into the queue, what comes out, and what it may ask of the store.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::event::Finality;
use crate::object::Cached;
use crate::version::{self, ResourceVersion};

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
    /// Decoded from the list, and how many bytes it had there.
    New(Arc<K>, u32),
    /// The cached object ([`Known`] had it after [`DeltaFifo::consumed`](super::DeltaFifo::consumed)), for the item is this state of it, and wasn't decoded; or
    /// couldn't be decoded, and what is cached of this life stays.
    Unchanged(Arc<K>),
}

impl<K> Relisted<K> {
    /// An object whose size isn't known.
    pub fn new(object: Arc<K>) -> Self {
        Self::New(object, 0)
    }

    /// The object it is about.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::New(object, _) | Self::Unchanged(object) => object,
        }
    }
}

/// A complete list: whatever is not in `items` does not exist at `version`.
#[derive(Debug)]
pub struct Replacement<K> {
    /// Every object of the scope.
    pub items: Vec<Relisted<K>>,
    /// The resource version of the list.
    pub version: ResourceVersion,
}

/// What is cached, as far as the reflector may know it. Only the whole truth when the consumer has caught up
/// ([`DeltaFifo::consumed`](super::DeltaFifo::consumed)): a pending delta may be about to change it.
pub trait Known<K: Cached>: Send + Sync + 'static {
    /// The object that is cached under this name.
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>>;

    /// How many objects are cached.
    fn count(&self) -> usize;

    /// This life of the object, if it is cached, at whatever version.
    fn life(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<K>> {
        self.get(namespace, name).filter(|cached| cached.uid() == uid)
    }

    /// Exactly this state of the object, if it is what is cached.
    fn current(&self, namespace: &str, name: &str, uid: &str, version: &str) -> Option<Arc<K>> {
        let is_it = |cached: &Arc<K>| version::compare(cached.version(), version) == Some(Ordering::Equal);
        self.life(namespace, name, uid).filter(is_it)
    }
}

/// What the store has to do for one key.
#[derive(Debug)]
pub enum Change<K> {
    /// Make this the present state; it had so many bytes as it arrived.
    Applied(Arc<K>, u32),
    /// This life has ended.
    Deleted {
        /// The last state the queue has seen of it.
        last: Arc<K>,
        /// Whether the watch said so, or the queue concluded it from a new uid under the same name.
        finality: Finality,
    },
}

impl<K> Change<K> {
    /// Make this the present state; how large it is isn't known.
    pub fn applied(object: Arc<K>) -> Self {
        Self::Applied(object, 0)
    }

    /// The object it is about.
    pub fn object(&self) -> &Arc<K> {
        let (Self::Applied(object, _) | Self::Deleted { last: object, .. }) = self;
        object
    }

    /// What is to be done about a delta whose object had so many bytes as it arrived.
    pub fn of(delta: Delta<K>, bytes: usize) -> Self {
        match delta {
            Delta::Applied(object) => Self::Applied(object, u32::try_from(bytes).unwrap_or(u32::MAX)),
            Delta::Deleted(last) => Self::Deleted { last, finality: Finality::Observed },
        }
    }
}

/// What a [`Batch`](super::Batch) asks for.
#[derive(Debug)]
pub enum Work<K> {
    /// Changes in order of arrival; where they were coalesced, those of one key stand together and are at most `Deleted`,
    /// `Applied`.
    Changes(Vec<Change<K>>),
    /// Make the store exactly this.
    Replace(Replacement<K>),
}
