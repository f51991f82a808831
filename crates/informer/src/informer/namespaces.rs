//! Namespaces: which of them an informer watches, changed before it runs or while it does.
//!
//! In: a namespace to be added or removed. Out: it is watched from now on, or its objects leave the cache and whoever was told of them is told of their end. An
//! informer over its whole scope has no namespaces to be changed, and one over namespaces always has one: it would know no version otherwise.
//! It never looks whether a namespace exists.
//!
//! What happens in which order:
//!
//! | | added | removed |
//! | --- | --- | --- |
//! | at once | [`InformerHandle::sync_status`] has it, [`InformerHandle::has_synced`] says no until it has listed | the status has it no more, who waits in it is sent away, its reflector drops its request |
//! | between two batches | its queue is read, its reflector starts | what waits in its queue is dropped; its objects leave store and indexes in one step, then sources and handlers hear [`Event::Deleted`](crate::Event::Deleted), inferred, since nobody knows that they were deleted |
//! | later | its objects are told of as added | [`Removal::finished`] |
//!
//! A registration that was synced stays so: its handler has finished a complete first snapshot, which was that of the namespaces there were. One that comes, or isn't synced yet,
//! waits for the new namespace too. A namespace that is added again while its removal is under way is another one: it is
//! read when the old one has gone, and its objects are told of as added. Only a handler that lags so far that it hasn't heard of the end of an object when that is
//! back hears of an update instead, or of nothing.
//!
//! Upstream has no counterpart: the namespaces of controller-runtime's `cache.Options` are fixed, and so is an informer of client-go.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::InformerHandle;
use super::parts::{Part, Sources};
use super::told::Told;
use crate::list_watch::ListWatch;
use crate::object::Cached;

/// An informer can't be over these namespaces, or not be asked this of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespacesError {
    /// There are none, or would be none left.
    #[error("an informer needs at least one namespace")]
    None,
    /// One is the empty text, which is no namespace: an informer over everything is [`SharedInformer::new`](crate::SharedInformer::new).
    #[error("the empty text is no namespace; leave the namespaces out to mean all of them")]
    Empty,
    /// One is there twice, or already: its objects would be told of twice.
    #[error("the namespace {0:?} is given twice, or watched already")]
    Twice(String),
    /// It isn't watched, or not any more.
    #[error("the namespace {0:?} isn't watched")]
    NotWatched(String),
    /// The informer is over its whole scope, and has no namespaces to be changed.
    #[error("the informer watches its whole scope, not namespaces")]
    WholeScope,
    /// Nobody has said how to make a source of the namespace: [`SharedInformer::with_sources`](crate::SharedInformer::with_sources).
    #[error("the informer doesn't know how to list and watch a namespace that it is only told the name of")]
    NoSources,
    /// The informer has ended.
    #[error("the informer has ended")]
    Ended,
}

/// A namespace that is being removed; it is removed also if this is dropped.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Store, sources and mailboxes have been told.
    told: CancellationToken,
    /// Its reflector has stopped.
    stopped: CancellationToken,
}

impl Removal {
    /// Waits until nothing of it is left: no request, no task, no object in the cache; and what handlers have to hear of it is in their mailboxes. It waits for
    /// the informer to run, and returns when that has ended. Cancel-safe.
    pub async fn finished(&self) {
        tokio::join!(self.told.cancelled(), self.stopped.cancelled());
    }
}

impl<K: Cached> InformerHandle<K> {
    /// The namespaces that are watched, in the order in which they came; none where the whole scope is.
    pub fn namespaces(&self) -> Vec<String> {
        self.parts.present().parts.iter().filter_map(|part| part.namespace.clone()).collect()
    }

    /// Watches one namespace more, from a source that is made as [`SharedInformer::with_sources`](crate::SharedInformer::with_sources) says
    /// (informers over namespaces of a `Connection` of the crate watchkeeper know how). See [`NamespacesError`] for when it can't be, and
    /// the table of [`crate::informer::namespaces`] for what happens when.
    ///
    /// # Errors
    /// An empty name, one that is watched already, an informer over its whole scope, one that has ended, or one that
    /// was made without a function for sources.
    pub fn add_namespace(&self, namespace: &str) -> Result<(), NamespacesError> {
        let sources = {
            let making = self.parts.changing();
            self.may_add(namespace)?;
            making.sources.clone()
        };
        let sources: Sources = sources.ok_or(NamespacesError::NoSources)?;
        self.add_namespace_from(namespace, sources(namespace))
    }

    /// The same from this source, which should list and watch nothing else; what it sends of other namespaces is passed over.
    ///
    /// # Errors
    /// As above, but that it needs no function.
    pub fn add_namespace_from(&self, namespace: &str, source: Arc<dyn ListWatch>) -> Result<(), NamespacesError> {
        let mut making = self.parts.changing();
        self.may_add(namespace)?;
        let start = self.parts.make(&mut making, Some(namespace.to_owned()), source);
        let (part, reflecting) = (Arc::clone(&start.part), Arc::clone(&self.parts.reflecting));
        // Whoever looks from now on waits for it; the errand comes after that of a part that is leaving this namespace.
        self.store.expect_part(part.number);
        let refused = self.errands.try_ask(move |told: &mut Told<K>| {
            told.add_part(&start.part);
            reflecting.ask(move |reflecting| reflecting.start(start));
        });
        if refused.is_err() {
            self.store.forget_part(part.number);
            drop(making); // What the source owns is freed outside the lock.
            return Err(NamespacesError::Ended);
        }
        self.parts.show(&making, part);
        Ok(())
    }

    /// Watches one namespace less: its objects leave the cache, and whoever was told of them hears
    /// [`Event::Deleted`](crate::Event::Deleted) with [`Finality::Inferred`](crate::Finality::Inferred). The last one stays: a set is changed by adding first. When it is over says
    /// what is returned; it needn't be kept.
    ///
    /// # Errors
    /// A namespace that isn't watched, or the only one that is; an informer over its whole scope, or one that has ended.
    pub fn remove_namespace(&self, namespace: &str) -> Result<Removal, NamespacesError> {
        let making = self.parts.changing();
        self.may_change()?;
        let present = self.parts.present();
        let part = present.of(namespace).ok_or_else(|| NamespacesError::NotWatched(namespace.to_owned()))?;
        if present.parts.len() == 1 {
            return Err(NamespacesError::None);
        }
        let (number, told) = (part.number, CancellationToken::new());
        let tells = told.clone().drop_guard();
        let errand = move |told: &mut Told<K>| told.remove_part(number, tells);
        self.errands.try_ask(errand).map_err(|_| NamespacesError::Ended)?;
        self.parts.hide(&making, part);
        drop(making); // What the source owns is freed outside the lock.
        part.left.cancel();
        Ok(Removal { told, stopped: part.stopped.clone() })
    }

    fn may_add(&self, namespace: &str) -> Result<(), NamespacesError> {
        self.may_change()?;
        if namespace.is_empty() {
            return Err(NamespacesError::Empty);
        }
        let is_there = self.parts.present().of(namespace).is_some();
        if is_there { Err(NamespacesError::Twice(namespace.to_owned())) } else { Ok(()) }
    }

    fn may_change(&self) -> Result<(), NamespacesError> {
        let is_over_all = |part: &Arc<Part<K>>| part.namespace.is_none();
        if self.parts.present().parts.iter().any(is_over_all) {
            return Err(NamespacesError::WholeScope);
        }
        if self.has_ended() { Err(NamespacesError::Ended) } else { Ok(()) }
    }
}
