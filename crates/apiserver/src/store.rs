//! The revisioned store: one counter over all kinds, and for each kind its objects and a bounded log of its writes. A kind
//! that is a view of another has none of its own: what it reads and writes is that one's, converted here and nowhere else.
//!
//! Comes in: states under the version of their write, with its time. Goes out: objects, ranges at the present or at an
//! earlier version, and changes after a version. An earlier state is the present with the log undone, so a snapshot copies no objects.
//! Never does I/O, never reads a clock, never waits; whoever owns it puts a lock around it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use crate::kinds::{self, KindId};
use crate::object::{Change, EventType, Stored};

/// A read asked for a version that the log no longer reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// The oldest version that can still be read.
    pub(crate) oldest: u64,
}

/// What a range covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    /// Keys begin with this: `namespace/`, or nothing for all.
    pub(crate) prefix: &'a str,
    /// Keys from here on, counted after the prefix.
    pub(crate) start: &'a str,
}

/// All state of a server.
#[derive(Debug)]
pub(crate) struct Store {
    version: u64,
    history: usize,
    kinds: Vec<KindLog>,
    /// Every write there ever was, if that is wanted.
    chronicle: Option<Vec<Written>>,
}

/// A state of everything that can be gone back to.
#[derive(Clone, Debug)]
pub struct Snapshot {
    version: u64,
    objects: Vec<BTreeMap<Arc<str>, Arc<Stored>>>,
}

/// A write, without its content.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) kind: KindId,
    pub(crate) key: Arc<str>,
    pub(crate) uid: Box<str>,
    pub(crate) version: u64,
    pub(crate) event: EventType,
}

#[derive(Clone, Debug, Default)]
struct KindLog {
    objects: BTreeMap<Arc<str>, Arc<Stored>>,
    /// Ascending versions, at most `history` of them.
    log: VecDeque<Arc<Change>>,
    /// Reads and watches from below this are refused.
    floor: u64,
    /// The newest change that has left the log.
    evicted: u64,
}

impl Store {
    /// An empty store for so many kinds, each with a log of at most `history` changes (at least one).
    pub(crate) fn new(kinds: usize, history: usize) -> Self {
        let kinds = (0..kinds).map(|_| KindLog::default()).collect();
        Self { version: 0, history: history.max(1), kinds, chronicle: None }
    }

    /// The present state, sharing all objects.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let objects = self.kinds.iter().map(|log| log.objects.clone()).collect();
        Snapshot { version: self.version, objects }
    }

    /// Everything is as it was, the version too, and nothing before that can be read.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        self.version = snapshot.version;
        for (log, objects) in self.kinds.iter_mut().zip(&snapshot.objects) {
            *log = KindLog {
                objects: objects.clone(),
                log: VecDeque::new(),
                floor: snapshot.version,
                evicted: snapshot.version,
            };
        }
    }

    /// The next write's version is so much higher than it would be.
    pub(crate) fn jump(&mut self, by: u64) {
        self.version = self.version.saturating_add(by).min(u64::MAX / 2);
    }

    /// Remembers all writes from now on.
    pub(crate) fn remember(&mut self) {
        self.chronicle.get_or_insert_default();
    }

    /// Every write since [`Store::remember`], oldest first.
    pub(crate) fn chronicle(&self) -> &[Written] {
        self.chronicle.as_deref().unwrap_or_default()
    }

    /// The version of the newest write.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The version the next write will have.
    pub(crate) fn next_version(&self) -> u64 {
        self.version + 1
    }

    pub(crate) fn get(&self, kind: KindId, key: &str) -> Option<&Arc<Stored>> {
        self.kind(kind).objects.get(key).map(|object| object.shown(kind))
    }

    /// Whether any object of `kind` has this prefix.
    pub(crate) fn any_with_prefix(&self, kind: KindId, prefix: &str) -> bool {
        self.range_from(kind, Span { prefix, start: "" }).next().is_some()
    }

    /// Puts a state whose version is [`Store::next_version`]; its key says whose it is.
    pub(crate) fn put(&mut self, kind: KindId, state: Arc<Stored>, now: Instant) {
        let (kind, state) = (kinds::stored(kind), state.kept(kind));
        let log = &mut self.kinds[kind.0];
        let previous = log.objects.insert(state.key.clone(), state.clone());
        let event = if previous.is_some() { EventType::Modified } else { EventType::Added };
        self.append(kind, Change::new(previous, state, event, now));
    }

    /// Removes the object that `last` (its last state under the deletion's version) names.
    pub(crate) fn delete(&mut self, kind: KindId, last: Arc<Stored>, now: Instant) {
        let (kind, last) = (kinds::stored(kind), last.kept(kind));
        let previous = self.kinds[kind.0].objects.remove(&last.key);
        self.append(kind, Change::new(previous, last, EventType::Deleted, now));
    }

    fn append(&mut self, kind: KindId, change: Change) {
        debug_assert_eq!(change.version, self.version + 1, "every write takes the next version");
        self.version = change.version;
        if let Some(chronicle) = &mut self.chronicle {
            let (key, uid) = (change.key().clone(), change.state.uid.clone());
            chronicle.push(Written { kind, key, uid, version: change.version, event: change.event });
        }
        let history = self.history;
        let log = &mut self.kinds[kind.0];
        log.log.push_back(Arc::new(change));
        while log.log.len() > history {
            log.evict_oldest();
        }
    }

    /// Forgets everything that is only needed to read below `version` (at most the present one).
    pub(crate) fn compact(&mut self, version: u64) {
        let version = version.min(self.version);
        for log in &mut self.kinds {
            while log.log.front().is_some_and(|change| change.version <= version) {
                log.evict_oldest();
            }
            log.floor = log.floor.max(version);
        }
    }

    /// The oldest version from which `kind` can be read or watched.
    pub(crate) fn floor(&self, kind: KindId) -> u64 {
        self.kind(kind).floor
    }

    /// The objects of a span in key order, as they are now.
    pub(crate) fn range<'a>(&'a self, kind: KindId, span: Span<'a>) -> impl Iterator<Item = &'a Arc<Stored>> {
        self.range_from(kind, span)
    }

    /// The objects of a span in key order, as they were at `version` (not newer than the present).
    pub(crate) fn range_at(&self, kind: KindId, span: Span<'_>, version: u64) -> Result<Vec<Arc<Stored>>, Compacted> {
        let log = self.kind(kind);
        if version < log.floor {
            return Err(Compacted { oldest: log.floor });
        }
        // Undo: for each key changed since, the state before its first change.
        let mut before: BTreeMap<&Arc<str>, Option<&Arc<Stored>>> = BTreeMap::new();
        for change in log.log.range(log.after(version)..) {
            if change.key().starts_with(span.prefix) && change.key()[span.prefix.len()..] >= *span.start {
                before.entry(change.key()).or_insert(change.previous.as_ref());
            }
        }
        let shown = |state: &Arc<Stored>| state.shown(kind).clone();
        let mut undone = before.into_iter().peekable();
        let mut objects = Vec::new();
        for object in self.range_from(kind, span) {
            while let Some((_, state)) = undone.next_if(|(key, _)| **key < object.key) {
                objects.extend(state.map(shown));
            }
            match undone.next_if(|(key, _)| **key == object.key) {
                Some((_, state)) => objects.extend(state.map(shown)),
                None => objects.push(object.clone()),
            }
        }
        objects.extend(undone.filter_map(|(_, state)| state.map(shown)));
        Ok(objects)
    }

    /// One object as it was at `version` (not newer than the present).
    pub(crate) fn get_at(&self, kind: KindId, key: &str, version: u64) -> Result<Option<&Arc<Stored>>, Compacted> {
        let log = self.kind(kind);
        if version < log.floor {
            return Err(Compacted { oldest: log.floor });
        }
        let undone = log.log.range(log.after(version)..).find(|change| **change.key() == *key);
        let object = undone.map_or_else(|| log.objects.get(key), |change| change.previous.as_ref());
        Ok(object.map(|object| object.shown(kind)))
    }

    /// The oldest version at which every kind can be read.
    pub(crate) fn oldest(&self) -> u64 {
        self.kinds.iter().map(|log| log.floor).max().unwrap_or(0)
    }

    /// The changes of `kind` after `position` and up to `until`, oldest first. `None`: some of them are gone.
    pub(crate) fn changes(
        &self,
        kind: KindId,
        (position, until): (u64, u64),
    ) -> Option<impl Iterator<Item = &Arc<Change>>> {
        let log = self.kind(kind);
        let first = log.after(position);
        let end = log.after(until).max(first);
        (position >= log.evicted).then(|| log.log.range(first..end).map(move |change| change.shown(kind)))
    }

    /// When `kind` was first changed at `version` or above, if it was.
    pub(crate) fn written(&self, kind: KindId, version: u64) -> Option<Instant> {
        let log = self.kind(kind);
        log.log.get(log.after(version.saturating_sub(1))).map(|change| change.written)
    }

    fn kind(&self, kind: KindId) -> &KindLog {
        &self.kinds[kinds::stored(kind).0]
    }

    fn range_from<'a>(&'a self, kind: KindId, span: Span<'a>) -> impl Iterator<Item = &'a Arc<Stored>> {
        let from = [span.prefix, span.start].concat();
        let prefix = span.prefix;
        self.kind(kind)
            .objects
            .range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded))
            .map(move |(_, object)| object.shown(kind))
            .take_while(move |object| object.key.starts_with(prefix))
    }
}

impl KindLog {
    /// Index of the first change after `version`.
    fn after(&self, version: u64) -> usize {
        self.log.partition_point(|change| change.version <= version)
    }

    fn evict_oldest(&mut self) {
        if let Some(change) = self.log.pop_front() {
            self.evicted = change.version;
            self.floor = self.floor.max(change.version);
        }
    }
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
