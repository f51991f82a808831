//! Event: what a handler is told, in the words the store chose.
//!
//! Only the store makes events from changes, and only a mailbox makes them anew for a handler that lagged. For every
//! uid a handler hears `Added`, `Updated`*, `Deleted`, each end exactly once and in this order; the same name with a
//! new uid is `Deleted` then `Added`. An object that leaves an informer with its namespace has ended there; if the namespace comes back, it
//! begins anew.
//!
//! Upstream counterpart: `OnAdd`, `OnUpdate`, `OnDelete` and `DeletedFinalStateUnknown` of client-go's
//! `ResourceEventHandler`, which reports a new uid under an old name as an update, and so it does a resync.

use std::sync::Arc;

/// One transition of one object.
#[derive(Debug)]
pub enum Event<K> {
    /// The object is new to whoever is told.
    Added {
        /// Its present state.
        object: Arc<K>,
        /// Part of the first complete snapshot (the object may be old), not news.
        initial: bool,
    },
    /// The object, known under the same uid, has changed.
    Updated {
        /// The state last told.
        old: Arc<K>,
        /// The present state.
        new: Arc<K>,
    },
    /// The object is gone.
    Deleted {
        /// The last state known of it.
        last: Arc<K>,
        /// How that is known.
        finality: Finality,
    },
    /// Nothing has happened: the object, of which the handler knows, is still in the state it was told last. Only who
    /// has asked for it is told ([`HandlerConfig::resync`](crate::handler::HandlerConfig::resync)).
    Resync {
        /// Its present state.
        object: Arc<K>,
    },
}

impl<K> Event<K> {
    /// The object the event is about: the present state, or the last one known.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added { object, .. } | Self::Resync { object } => object,
            Self::Updated { new, .. } => new,
            Self::Deleted { last, .. } => last,
        }
    }
}

impl<K> Clone for Event<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added { object, initial } => Self::Added { object: Arc::clone(object), initial: *initial },
            Self::Updated { old, new } => Self::Updated { old: Arc::clone(old), new: Arc::clone(new) },
            Self::Deleted { last, finality } => Self::Deleted { last: Arc::clone(last), finality: *finality },
            Self::Resync { object } => Self::Resync { object: Arc::clone(object) },
        }
    }
}

/// How the end of an object is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// The watch said so, and `last` is the state it ended in.
    Observed,
    /// It was missing from a list, or its name came back with another uid: the end was missed, `last` may be stale. Or its namespace is watched no more,
    /// and it may go on unseen.
    Inferred,
}
