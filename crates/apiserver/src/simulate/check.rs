//! What must hold of a run: pure judgements over what was seen.
//!
//! Comes in: what an observer was told, what the log really was, requests, terms, writes. Goes out: nothing, or the first
//! [`Violation`]. The names I1 to I13 are those of the promises in ARCHITECTURE.md. Each judgement has a test with a
//! planted violation.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use crate::audit::WriteRecord;
use crate::simulate::truth::Truth;

/// What was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise: `I1`.
    pub promise: &'static str,
    /// What was seen, in one line.
    pub what: String,
}

impl Violation {
    /// A violation of a promise.
    pub fn new(promise: &'static str, what: impl Into<String>) -> Self {
        Self { promise, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

impl std::error::Error for Violation {}

/// What an observer was told of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is there.
    Added,
    /// It is different.
    Updated,
    /// It is gone.
    Deleted,
}

/// One thing that an observer (a handler) was told, in the order in which it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What.
    pub told: Told,
    /// `namespace/name`, or the name alone.
    pub key: String,
    /// The object's uid.
    pub uid: String,
    /// The resourceVersion of the state it was given.
    pub version: u64,
    /// Whether the deletion was only inferred, so that the state is the last one known.
    pub inferred: bool,
}

/// I1: per uid the states come in the order of the log, never an older one after a newer one, and each is one of the log.
/// A deletion may carry the last state known instead of the last one there was.
///
/// # Errors
///
/// The first thing told that is out of order, or was never so.
pub fn subsequence(seen: &[Seen], truth: &Truth) -> Result<(), Violation> {
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for (place, event) in seen.iter().enumerate() {
        let wrong = |what: String| Err(Violation::new("I1", format!("event {place}, {event:?}: {what}")));
        if !truth.has(&event.uid, event.version) {
            return wrong("the object was never so".into());
        }
        let before = newest.insert(&event.uid, event.version).unwrap_or(0);
        let older = if event.told == Told::Deleted { event.version < before } else { event.version <= before };
        if older {
            return wrong(format!("version {before} was told before"));
        }
    }
    Ok(())
}

/// I3: of every uid told of, Added comes first and once, Deleted last and once; a name is told to be another object only
/// after the one before was told to be deleted; and what is gone in the end was told to be gone.
///
/// # Errors
///
/// The first event out of place, or an object that is gone without having been told so.
pub fn delete_completeness(seen: &[Seen], truth: &Truth) -> Result<(), Violation> {
    let mut alive: BTreeMap<&str, &str> = BTreeMap::new();
    let mut over: BTreeSet<&str> = BTreeSet::new();
    for (place, event) in seen.iter().enumerate() {
        let wrong = |what: &str| Err(Violation::new("I3", format!("event {place}, {event:?}: {what}")));
        let present = alive.get(event.key.as_str()).copied();
        match event.told {
            Told::Added if over.contains(event.uid.as_str()) => return wrong("it was told to be deleted before"),
            Told::Added if present.is_some() => return wrong("the name is told to be there already"),
            Told::Added => _ = alive.insert(&event.key, &event.uid),
            Told::Updated | Told::Deleted if present != Some(&event.uid) => {
                return wrong("it was never told to be there, or no longer is");
            }
            Told::Updated => {}
            Told::Deleted => {
                alive.remove(event.key.as_str());
                over.insert(&event.uid);
            }
        }
    }
    match alive.iter().find(|(key, uid)| !truth.is_alive(key, uid)) {
        Some((key, uid)) => Err(Violation::new("I3", format!("{key} ({uid}) is gone and was never told to be"))),
        None => Ok(()),
    }
}

/// I2: after healing, the cache is what the server has. `cache` are keys with uid and version.
///
/// # Errors
///
/// The first key that is missing, too much, or another state.
pub fn convergence<'a>(
    cache: impl IntoIterator<Item = (&'a str, &'a str, u64)>,
    truth: &Truth,
) -> Result<(), Violation> {
    let cache: BTreeMap<&str, (&str, u64)> =
        cache.into_iter().map(|(key, uid, version)| (key, (uid, version))).collect();
    let present: BTreeMap<&str, (&str, u64)> = truth.present().collect();
    let keys: BTreeSet<&&str> = cache.keys().chain(present.keys()).collect();
    for key in keys {
        let (cached, there) = (cache.get(*key), present.get(*key));
        if cached != there {
            return Err(Violation::new("I2", format!("{key}: the cache has {cached:?}, the server {there:?}")));
        }
    }
    Ok(())
}

/// I9: in no window of this length more than so many requests. `requests` are their times, ascending.
///
/// # Errors
///
/// The first window that has more.
pub fn request_budget(requests: &[Duration], window: Duration, most: usize) -> Result<(), Violation> {
    let mut first = 0;
    for (place, at) in requests.iter().enumerate() {
        while *at - requests[first] >= window {
            first += 1;
        }
        let count = place - first + 1;
        if count > most {
            let what = format!("{count} requests within {window:?} until {at:?}, at most {most} were to come");
            return Err(Violation::new("I9", what));
        }
    }
    Ok(())
}

/// I10: no more tasks are alive than before the start. Counts of tokio's `RuntimeMetrics::num_alive_tasks`.
///
/// # Errors
///
/// Some are left.
pub fn no_tasks_left(before: usize, after: usize) -> Result<(), Violation> {
    if after <= before {
        return Ok(());
    }
    Err(Violation::new("I10", format!("{} tasks are alive after the stop", after - before)))
}

/// One stay at the gate: who might act, from when until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Who.
    pub identity: String,
    /// The epoch of the term.
    pub epoch: u64,
    /// Since when the gate was open.
    pub opened: Duration,
    /// Until when effects could happen.
    pub closed: Duration,
}

/// I11: no two stays overlap. I13: their epochs strictly increase in the order of their opening. A stay of no length is
/// none.
///
/// # Errors
///
/// The first two that break either.
pub fn exclusive(stays: &[Stay]) -> Result<(), Violation> {
    let mut ordered: Vec<&Stay> = stays.iter().filter(|stay| stay.closed > stay.opened).collect();
    ordered.sort_by_key(|stay| (stay.opened, stay.closed));
    for pair in ordered.windows(2) {
        let [first, second] = pair else { continue };
        if second.opened < first.closed {
            return Err(Violation::new("I11", format!("{first:?} and {second:?} were open at once")));
        }
        if second.epoch <= first.epoch {
            return Err(Violation::new("I13", format!("{second:?} came after {first:?}")));
        }
    }
    Ok(())
}

/// I12: on no object does a write of an older epoch commit after one of a newer epoch. I13, if there were stays: an epoch
/// is written by its own identity only.
///
/// # Errors
///
/// The first write that breaks either.
pub fn epochs(stays: &[Stay], writes: &[WriteRecord]) -> Result<(), Violation> {
    let owners: HashMap<u64, &str> = stays.iter().map(|stay| (stay.epoch, stay.identity.as_str())).collect();
    let mut committed: Vec<(&WriteRecord, u64)> = (writes.iter().filter(|write| write.version.is_some()))
        .filter_map(|write| Some((write, write.epoch.as_ref()?.parse().ok()?)))
        .collect();
    committed.sort_by_key(|(write, _)| write.version);
    let mut newest: HashMap<(&str, &str, &str), u64> = HashMap::new();
    for (write, epoch) in committed {
        if owners.get(&epoch).is_some_and(|owner| *owner != write.identity) {
            return Err(Violation::new("I13", format!("{write:?} is of an epoch of {:?}", owners[&epoch])));
        }
        let object = (write.resource.as_str(), write.namespace.as_str(), write.name.as_str());
        let before = newest.insert(object, epoch).unwrap_or(0);
        if epoch < before {
            return Err(Violation::new("I12", format!("{write:?} came after a write of epoch {before}")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "check_test.rs"]
mod tests;
