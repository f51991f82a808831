//! What really happened to the objects of one resource: the log of the server itself, for checkers to compare with.

use std::collections::{BTreeMap, BTreeSet};

use crate::kinds;
use crate::object::EventType;
use crate::server::ApiServer;

/// All states that the objects of a resource have had. Needs a server with
/// [`Config::chronicle`](crate::Config::chronicle); of another one, nothing is known.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    states: BTreeSet<(String, u64)>,
    present: BTreeMap<String, (String, u64)>,
}

impl Truth {
    /// Reads the log of a resource, `("coordination.k8s.io", "v1", "leases")`. Nothing where there is no such resource.
    pub fn of(server: &ApiServer, (group, version, plural): (&str, &str, &str)) -> Self {
        let mut truth = Self::default();
        let Some(kind) = kinds::find(group, version, plural).map(kinds::stored) else { return truth };
        let state = server.shared.state.lock();
        for written in state.store.chronicle().iter().filter(|written| written.kind == kind) {
            truth.note(&written.key, &written.uid, written.version, written.event);
        }
        truth
    }

    fn note(&mut self, key: &str, uid: &str, version: u64, event: EventType) {
        self.states.insert((uid.to_owned(), version));
        if event == EventType::Deleted {
            self.present.remove(key);
        } else {
            self.present.insert(key.to_owned(), (uid.to_owned(), version));
        }
    }

    /// Whether the object has been in this state. A deletion has a version of its own.
    pub fn has(&self, uid: &str, version: u64) -> bool {
        self.states.contains(&(uid.to_owned(), version))
    }

    /// Whether this is the object of that name now.
    pub fn is_alive(&self, key: &str, uid: &str) -> bool {
        self.present.get(key).is_some_and(|(present, _)| present == uid)
    }

    /// What is there now: keys with uid and version, in order.
    pub fn present(&self) -> impl Iterator<Item = (&str, (&str, u64))> {
        self.present.iter().map(|(key, (uid, version))| (key.as_str(), (uid.as_str(), *version)))
    }

    /// For tests of checkers: states by hand, `None` is a deletion.
    #[cfg(test)]
    pub(crate) fn by_hand(log: &[(&str, &str, u64, bool)]) -> Self {
        let mut truth = Self::default();
        for (key, uid, version, deleted) in log {
            truth.note(key, uid, *version, if *deleted { EventType::Deleted } else { EventType::Modified });
        }
        truth
    }
}
