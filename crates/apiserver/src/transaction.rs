//! One mutation, decided and applied while the state is locked: create, and the steps that all mutations share.
//!
//! Comes in: an object that has been read, or the state that is to go. Goes out: the new state in the store, and what the
//! client is told. A mutation that is refused leaves nothing behind; one that changes nothing writes
//! nothing; a dry run does all checks and writes nothing either.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::audit::EPOCH_PREFIX;
use crate::kinds::{self, Generation, Kind, KindId, kind};
use crate::namespace;
use crate::object::{EventType, Stored, at, encode_plain, metadata_mut, text};
use crate::route::go_uint;
use crate::server::State;
use crate::status::{Cause, Failure};
use crate::store::Store;
use crate::validate;

/// Generated names end in so many characters that are no vowels and look like no others.
const GENERATED_LENGTH: usize = 5;
const GENERATED_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const NAME_LENGTH: usize = 63;
const GENERATE_ATTEMPTS: usize = 8;

/// What a successful mutation answers.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: u16,
    pub(crate) body: Bytes,
    pub(crate) name: String,
    /// `None` for a dry run.
    pub(crate) version: Option<u64>,
    pub(crate) epoch: Option<String>,
}

/// The locked state, for the length of one mutation.
pub(crate) struct Transaction<'a> {
    state: &'a mut State,
    /// What time it is for objects.
    pub(crate) now: Timestamp,
    /// And for timers.
    at: Instant,
    dry_run: bool,
    touched: Vec<KindId>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(state: &'a mut State, (now, at): (Timestamp, Instant), dry_run: bool) -> Self {
        Self { state, now, at, dry_run, touched: Vec::new() }
    }

    /// The kinds that have changed.
    pub(crate) fn touched(self) -> Vec<KindId> {
        self.touched
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    pub(crate) fn store(&self) -> &Store {
        &self.state.store
    }

    pub(crate) fn get(&self, id: KindId, key: &str) -> Option<Arc<Stored>> {
        self.state.store.get(id, key).cloned()
    }

    pub(crate) fn keys_with_prefix(&self, id: KindId, prefix: &str) -> Vec<Arc<str>> {
        let span = crate::store::Span { prefix, start: "" };
        self.state.store.range(id, span).map(|object| object.key.clone()).collect()
    }

    pub(crate) fn is_empty(&self, id: KindId, prefix: &str) -> bool {
        !self.state.store.any_with_prefix(id, prefix)
    }

    /// Creates an object whose metadata names it (or has a generateName).
    pub(crate) fn create(
        &mut self,
        id: KindId,
        namespace: &str,
        mut object: Map<String, Value>,
    ) -> Result<Outcome, Failure> {
        let row = kind(id);
        // What is no number is none.
        let sent = text(&object, &["metadata", "resourceVersion"]).unwrap_or_default();
        if go_uint(sent).is_ok_and(|version| version > 0) {
            return Err(Failure::unknown("resourceVersion should not be set on objects to be created"));
        }
        if row.namespaced {
            namespace::check_open(self, row, namespace, text(&object, &["metadata", "name"]).unwrap_or_default())?;
        }
        let name = self.choose_name(id, namespace, &object)?;
        self.initialise(row, namespace, &name, &mut object);
        validate::object(row, &name, &object, None)?;
        let key = key(namespace, &name);
        if let Some(existing) = self.get(id, &key) {
            let terminating = text(&existing.value(), &["metadata", "deletionTimestamp"]).is_some();
            return Err(Failure::already_exists(row, &name, terminating));
        }
        Ok(self.put(id, key.into(), object, 201))
    }

    /// Sets what says that an object is going.
    pub(crate) fn mark_terminating(&self, object: &mut Map<String, Value>) {
        let stamp = format!("{:.0}", self.now);
        let metadata = metadata_mut(object);
        metadata.insert("deletionTimestamp".to_owned(), Value::String(stamp));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|number| *number > 0) {
            metadata.insert("generation".to_owned(), json!(generation + 1));
        }
    }

    /// Stores a state under the next version.
    pub(crate) fn put(&mut self, id: KindId, key: Arc<str>, mut object: Map<String, Value>, code: u16) -> Outcome {
        let row = kind(id);
        let epoch = epoch(&object);
        let name = key.split_once('/').map_or(&*key, |(_, name)| name).to_owned();
        if self.dry_run {
            let body = encode_plain(row, &mut object);
            return Outcome { code, body, name, version: None, epoch };
        }
        let store = &mut self.state.store;
        let event = if store.get(id, &key).is_some() { EventType::Modified } else { EventType::Added };
        let state = Arc::new(Stored::new(row, key, event, store.next_version(), &mut object));
        let outcome = Outcome { code, body: state.bytes(), name, version: Some(state.version), epoch };
        store.put(id, state, self.at);
        self.touched.push(kinds::stored(id));
        outcome
    }

    /// Removes an object, and the namespace it was the last content of, if that is waiting for it.
    pub(crate) fn remove(&mut self, id: KindId, old: &Stored) -> Option<u64> {
        if self.dry_run {
            return None;
        }
        let store = &mut self.state.store;
        let last = Arc::new(old.deleted(kind(id), store.next_version()));
        let version = last.version;
        store.delete(id, last, self.at);
        self.touched.push(kinds::stored(id));
        if kind(id).namespaced {
            namespace::finish(self, old.namespace());
        }
        Some(version)
    }

    fn choose_name(&mut self, id: KindId, namespace: &str, object: &Map<String, Value>) -> Result<String, Failure> {
        let row = kind(id);
        if let Some(name) = text(object, &["metadata", "name"]).filter(|name| !name.is_empty()) {
            return Ok(name.to_owned());
        }
        let Some(base) = text(object, &["metadata", "generateName"]).filter(|base| !base.is_empty()) else {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(Failure::invalid(row, "", vec![cause]));
        };
        let length = NAME_LENGTH - GENERATED_LENGTH;
        let base = base.char_indices().nth(length).map_or(base, |(end, _)| &base[..end]);
        let mut name = String::new();
        for _ in 0..GENERATE_ATTEMPTS {
            name = base.to_owned();
            for _ in 0..GENERATED_LENGTH {
                let letter = self.state.random.usize(..GENERATED_ALPHABET.len());
                name.push(char::from(GENERATED_ALPHABET[letter]));
            }
            if self.state.store.get(id, &key(namespace, &name)).is_none() {
                return Ok(name);
            }
        }
        Err(Failure::generated_name_taken(row, &name))
    }

    /// Fills in what the server decides, and drops what a client may not say.
    fn initialise(&mut self, row: &Kind, namespace: &str, name: &str, object: &mut Map<String, Value>) {
        let uid = uuid(&mut self.state.random);
        let stamp = format!("{:.0}", self.now);
        drop_empty(object);
        let metadata = metadata_mut(object);
        for wiped in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            metadata.remove(wiped);
        }
        metadata.insert("name".to_owned(), json!(name));
        if row.namespaced {
            metadata.insert("namespace".to_owned(), json!(namespace));
        } else {
            metadata.remove("namespace");
        }
        metadata.insert("uid".to_owned(), Value::String(uid));
        metadata.insert("creationTimestamp".to_owned(), Value::String(stamp));
        if row.generation != Generation::Absent {
            metadata.insert("generation".to_owned(), json!(1));
        }
        (row.prepare)(object);
    }
}

/// `namespace/name`, or the name alone.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// Clients write nulls and empty collections where they mean nothing; upstream's types lose them when they are encoded.
pub(crate) fn drop_empty(object: &mut Map<String, Value>) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    metadata_mut(object).retain(|_, value| !is_empty(value));
    object.retain(|member, value| !(matches!(member.as_str(), "data" | "binaryData") && is_empty(value)));
}

pub(crate) fn finalizers(object: &Map<String, Value>) -> &[Value] {
    at(object, &["metadata", "finalizers"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn has_finalizers(object: &Map<String, Value>) -> bool {
    !finalizers(object).is_empty()
}

pub(crate) fn is_terminating(object: &Map<String, Value>) -> bool {
    text(object, &["metadata", "deletionTimestamp"]).is_some()
}

pub(crate) fn epoch(object: &Map<String, Value>) -> Option<String> {
    let mut annotations = object.get("metadata")?.get("annotations")?.as_object()?.iter();
    annotations.find(|(name, _)| name.starts_with(EPOCH_PREFIX))?.1.as_str().map(str::to_owned)
}

/// A version 4 UUID from the server's own randomness.
fn uuid(random: &mut fastrand::Rng) -> String {
    let bits = (random.u128(..) & !(0xf000 << 64) & !(0xc << 60)) | (0x4000 << 64) | (0x8 << 60);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
