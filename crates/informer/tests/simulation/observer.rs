//! An observer: whoever sees the cached objects, by being told or by looking.
//!
//! Comes in: events, or lists. Goes out: the states in the order in which they were seen, what is believed to be there, and
//! whether that is a story that the server's log allows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use watchkeeper_apiserver::simulate::Violation;
use watchkeeper_apiserver::simulate::check::{self, Seen, Told};
use watchkeeper_apiserver::simulate::truth::Truth;
use watchkeeper_informer::{Cached, Event, Finality};

/// Keys with uid and version.
pub(crate) type Present = BTreeMap<String, (String, u64)>;

pub(crate) fn present<'a>(objects: impl IntoIterator<Item = &'a ConfigMap>) -> Present {
    objects.into_iter().map(|object| (key(object), (object.uid().to_owned(), number(object)))).collect()
}

pub(crate) fn key(object: &ConfigMap) -> String {
    format!("{}/{}", object.namespace(), object.name())
}

pub(crate) fn number(object: &ConfigMap) -> u64 {
    object.version().parse().expect("this server's versions are numbers")
}

/// What an observer gets wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    LosesDeletions,
    RepeatsOlderStates,
    IsAddedTwice,
    StopsListening,
    IsRemindedOfAnOlderState,
    SeesAnOldList,
}

#[derive(Default)]
pub(crate) struct Observer {
    pub(crate) name: String,
    pub(crate) seen: Vec<Seen>,
    pub(crate) present: Present,
    pub(crate) flaw: Option<Flaw>,
    /// Nothing may be told any more.
    pub(crate) ended: bool,
    /// How much had been seen when the server went back to a backup.
    pub(crate) restored: Option<usize>,
    pub(crate) resyncs: u64,
    pub(crate) inferred: u64,
    wrong: Option<Violation>,
    before: Option<Vec<Arc<ConfigMap>>>,
}

pub(crate) type Shared = Arc<Mutex<Observer>>;

impl Observer {
    pub(crate) fn shared(name: &str, flaw: Option<Flaw>) -> Shared {
        Arc::new(Mutex::new(Self { name: name.to_owned(), flaw, ..Self::default() }))
    }

    /// It is told.
    pub(crate) fn hear(&mut self, event: &Event<ConfigMap>) {
        if self.ended {
            return self.accuse("I10", format!("told after its end: {event:?}"));
        }
        if self.flaw == Some(Flaw::StopsListening) && self.seen.len() > 20 {
            return;
        }
        let object = event.object();
        let state = (object.uid().to_owned(), number(object));
        let (told, inferred) = match event {
            Event::Added { .. } => (Told::Added, false),
            Event::Updated { old, .. } => {
                if self.present.get(&key(old)) != Some(&(old.uid().to_owned(), number(old))) {
                    self.accuse("I3", format!("the old state isn't the one told: {event:?}"));
                }
                (Told::Updated, false)
            }
            Event::Deleted { finality, .. } => (Told::Deleted, *finality == Finality::Inferred),
            Event::Resync { .. } => {
                self.resyncs += 1;
                let version = state.1 - u64::from(self.flaw == Some(Flaw::IsRemindedOfAnOlderState));
                if self.present.get(&key(object)) != Some(&(state.0, version)) {
                    self.accuse("I3", format!("a resync of what isn't the state told: {event:?}"));
                }
                return;
            }
        };
        self.inferred += u64::from(inferred);
        match (self.flaw, told, event) {
            (Some(Flaw::LosesDeletions), Told::Deleted, _) => return,
            (Some(Flaw::RepeatsOlderStates), _, Event::Updated { old, new }) => {
                self.note(Told::Updated, new, false);
                return self.note(Told::Updated, old, false);
            }
            (Some(Flaw::IsAddedTwice), Told::Updated, _) => return self.note(Told::Added, object, false),
            _ => {}
        }
        self.note(told, object, inferred);
    }

    /// It looks at all there is: what differs from the last time has happened in between.
    pub(crate) fn look(&mut self, objects: &[Arc<ConfigMap>]) {
        if self.flaw == Some(Flaw::SeesAnOldList) && !objects.is_empty() {
            let old = self.before.get_or_insert_with(|| objects.to_vec()).clone();
            return self.compare(if self.seen.len() > 40 { &old } else { objects });
        }
        self.compare(objects);
    }

    fn compare(&mut self, objects: &[Arc<ConfigMap>]) {
        let now = present(objects.iter().map(|object| &**object));
        if now.len() != objects.len() {
            self.accuse("I4", format!("a name twice among {:?}", now.keys()));
        }
        for (key, (uid, version)) in std::mem::take(&mut self.present) {
            if now.get(&key).is_none_or(|(other, _)| *other != uid) {
                self.seen.push(Seen { told: Told::Deleted, key, uid, version, inferred: true });
            } else {
                self.present.insert(key, (uid, version));
            }
        }
        for object in objects {
            match self.present.get(&key(object)) {
                None => self.note(Told::Added, object, false),
                Some((_, version)) if *version != number(object) => self.note(Told::Updated, object, false),
                Some(_) => {}
            }
        }
    }

    fn note(&mut self, told: Told, object: &ConfigMap, inferred: bool) {
        let (key, uid, version) = (key(object), object.uid().to_owned(), number(object));
        if told == Told::Deleted {
            self.present.remove(&key);
        } else {
            self.present.insert(key.clone(), (uid.clone(), version));
        }
        self.seen.push(Seen { told, key, uid, version, inferred });
    }

    pub(crate) fn accuse(&mut self, promise: &'static str, what: String) {
        self.wrong.get_or_insert(Violation::new(promise, what));
    }

    /// I1 and I3: per uid the states are a subsequence of the log, and each life has one beginning and at most one end. A server
    /// that went back to a backup tells a second story, which begins with what the first has come to.
    pub(crate) fn judge(&self, truth: &Truth) -> Result<(), Violation> {
        let named =
            |violation: Violation| Violation::new(violation.promise, format!("{}: {}", self.name, violation.what));
        let (first, second) = self.seen.split_at(self.turn());
        let mut alive = BTreeMap::new();
        for story in [first, second] {
            check::subsequence(story, truth).map_err(named)?;
            // What is there at the end of a story, and what was at its beginning, need not be told of.
            let mut whole: Vec<Seen> =
                alive.values().map(|seen: &Seen| Seen { told: Told::Added, ..seen.clone() }).collect();
            whole.extend_from_slice(story);
            for seen in story {
                match seen.told {
                    Told::Deleted => _ = alive.remove(&seen.key),
                    _ => _ = alive.insert(seen.key.clone(), seen.clone()),
                }
            }
            whole.extend(alive.values().map(|seen| Seen { told: Told::Deleted, ..seen.clone() }));
            check::delete_completeness(&whole, truth).map_err(named)?;
        }
        self.wrong.clone().map_or(Ok(()), Err).map_err(named)
    }

    /// Where what was seen first goes back, after the server did; for one who has missed what came in between, it comes to where it
    /// was.
    fn turn(&self) -> usize {
        let Some(restored) = self.restored else { return self.seen.len() };
        let (mut newest, mut over) = (HashMap::new(), HashSet::new());
        for (place, seen) in self.seen.iter().enumerate() {
            let goes_back = newest.get(&seen.uid).is_some_and(|newest| match seen.told {
                Told::Deleted => seen.version < *newest,
                _ => seen.version <= *newest,
            });
            if place >= restored && (goes_back || over.contains(&seen.uid)) {
                return place;
            }
            newest.insert(&seen.uid, seen.version);
            if seen.told == Told::Deleted {
                over.insert(&seen.uid);
            }
        }
        self.seen.len()
    }
}
