//! Sync: who is synced, who isn't, and why not.
//!
//! In: what store, reflector and registry know at one moment. Out: a value that says it in one line.
//! [`SyncStatus::is_synced`] waits for handlers; [`SyncStatus::is_listed`], [`InformerHandle::has_synced`](crate::InformerHandle::has_synced) and
//! [`InformerHandle::synced`](crate::InformerHandle::synced) are about the store alone.
//!
//! Upstream counterpart: `HasSynced`, which is a bare bool.

use std::fmt;

use crate::handler::HandlerStatus;
use crate::index::IndexSummary;
use crate::key::ObjectKey;
use crate::reflector::{Activity, ReflectorStatus};
use crate::store::Reached;

/// One informer's state of synchronisation.
#[derive(Debug, Clone)]
pub struct SyncStatus {
    /// The version of the cache and the number of complete lists it has taken.
    pub reached: Reached,
    /// Objects cached.
    pub objects: usize,
    /// How many bytes they hold, see [`ThreadSafeStore::bytes`](crate::ThreadSafeStore::bytes).
    pub bytes: u64,
    /// How many they should hold at most.
    pub bytes_budget: Option<u64>,
    /// Objects that can't be decoded at the moment.
    pub quarantined: usize,
    /// It has been stopped: nothing of this changes any more.
    pub ended: bool,
    /// The object at which a source panicked, which has stopped it.
    pub source_panic: Option<ObjectKey>,
    /// Every index in order, the one by namespace first, and how often its function has panicked.
    pub indexes: Vec<IndexSummary>,
    /// What the reflectors are up against, one a namespace; an informer over its whole scope has one, under `None`.
    pub reflectors: Vec<(Option<String>, ReflectorStatus)>,
    /// Every registration that hasn't ended, in order of registration.
    pub handlers: Vec<HandlerStatus>,
}

impl SyncStatus {
    /// The only reflector; of several, the first that fails, else the first that has not listed, else the first.
    ///
    /// # Panics
    /// Never: an informer has at least one.
    pub fn reflector(&self) -> &ReflectorStatus {
        self.foremost().1
    }

    fn foremost(&self) -> (Option<&str>, &ReflectorStatus) {
        let trouble = |(_, status): &&(Option<String>, ReflectorStatus)| match (&status.failing, &status.version) {
            (Some(_), _) => 0,
            (None, None) => 1,
            (None, Some(_)) => 2,
        };
        let (namespace, status) = self.reflectors.iter().min_by_key(trouble).expect("there is at least one reflector");
        (namespace.as_deref(), status)
    }

    fn describe_busy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let busy: Vec<_> = self.handlers.iter().filter(|handler| !handler.synced).collect();
        let pending: usize = busy.iter().map(|handler| handler.pending).sum();
        write!(f, "listed, {} of {} handlers at work on the first snapshot", busy.len(), self.handlers.len())?;
        write!(f, " with {pending} keys pending")?;
        let Some((slowest, since)) =
            busy.iter().filter_map(|one| Some((one, one.calling_since?))).min_by_key(|(_, since)| *since)
        else {
            return Ok(());
        };
        write!(f, ", {} in a call for {:?}", slowest.name, since.elapsed())
    }

    /// The first complete list is in the store.
    pub fn is_listed(&self) -> bool {
        self.reached.replacements > 0
    }

    /// Listed, and every handler has finished the first complete snapshot.
    pub fn is_synced(&self) -> bool {
        self.is_listed() && self.handlers.iter().all(|handler| handler.synced)
    }
}

/// One line for people: what is waited for, the error in the way, and for how long it has been.
impl fmt::Display for SyncStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, reflector) = self.foremost();
        if !self.is_listed() {
            match reflector.activity {
                Activity::Waiting => f.write_str("not listed yet (not running)")?,
                activity => write!(f, "not listed yet ({activity:?})")?,
            }
        } else if self.is_synced() {
            write!(f, "synced, {} objects", self.objects)?;
        } else {
            self.describe_busy(f)?;
        }
        if self.quarantined > 0 {
            write!(f, "; {} in quarantine, they can't be decoded", self.quarantined)?;
        }
        if let Some(budget) = self.bytes_budget.filter(|budget| self.bytes > *budget) {
            write!(f, "; {} bytes cached, more than the {budget} it should", self.bytes)?;
        }
        for index in self.indexes.iter().filter(|index| index.panics > 0) {
            write!(f, "; index {index}")?;
        }
        if let Some(key) = &self.source_panic {
            write!(f, "; a source panicked at {key}")?;
        }
        if self.ended {
            write!(f, "; stopped")?;
        }
        if let Some(failing) = &reflector.failing {
            let place = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
            write!(
                f,
                "; {} failures in a row{place} for {:?}, the last: {}",
                failing.failures,
                failing.since.elapsed(),
                failing.message
            )?;
        }
        Ok(())
    }
}
