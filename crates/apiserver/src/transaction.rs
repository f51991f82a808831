//! One mutation, decided and applied while the state is locked: create, replace, delete.
//!
//! Comes in: an object that has been read and, for a replacement, the state it replaces. Goes out: the new state in the
//! store, and what the client is told. A mutation that is refused leaves nothing behind; one that changes nothing writes
//! nothing; a dry run does all checks and writes nothing either.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::audit::EPOCH_ANNOTATION;
use crate::kinds::{Kind, KindId, NAMESPACES, kind};
use crate::namespace;
use crate::object::{EventType, Stored, at, encode_plain, metadata_mut, text};
use crate::server::State;
use crate::status::{Cause, Failure};
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
    pub(crate) now: Timestamp,
    dry_run: bool,
    touched: Vec<KindId>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(state: &'a mut State, now: Timestamp, dry_run: bool) -> Self {
        Self { state, now, dry_run, touched: Vec::new() }
    }

    /// The kinds that have changed.
    pub(crate) fn touched(self) -> Vec<KindId> {
        self.touched
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
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
        if !text(&object, &["metadata", "resourceVersion"]).unwrap_or_default().trim_start_matches('0').is_empty() {
            return Err(Failure::unknown("resourceVersion should not be set on objects to be created"));
        }
        if row.namespaced {
            namespace::check_open(self, row, namespace, text(&object, &["metadata", "name"]).unwrap_or_default())?;
        }
        let name = self.choose_name(id, namespace, &object)?;
        self.initialise(row, namespace, &name, &mut object);
        validate::object(row, &name, &object)?;
        let key = key(namespace, &name);
        if let Some(existing) = self.get(id, &key) {
            let terminating = text(&existing.value(), &["metadata", "deletionTimestamp"]).is_some();
            return Err(Failure::already_exists(row, &name, terminating));
        }
        Ok(self.put(id, key.into(), object, 201))
    }

    /// Puts `object` in the place of `old`, as PUT and PATCH do, after restoring what a client may not change.
    pub(crate) fn replace(
        &mut self,
        id: KindId,
        old: &Stored,
        mut object: Map<String, Value>,
        status: bool,
    ) -> Result<Outcome, Failure> {
        let row = kind(id);
        let before = old.value();
        check_version(row, old, &object)?;
        restore(row, &before, &mut object, status);
        check_finalizers(row, old.name(), &before, &object)?;
        if row.generation && !status && before.get("spec") != object.get("spec") {
            let generation = at(&before, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
            metadata_mut(&mut object).insert("generation".to_owned(), json!(generation + 1));
        }
        validate::object(row, old.name(), &object)?;
        crate::object::set_version(&mut object, old.version);
        if same(&before, &object) {
            return Ok(Outcome {
                code: 200,
                body: old.bytes(),
                name: old.name().to_owned(),
                version: (!self.dry_run).then_some(old.version),
                epoch: epoch(&object),
            });
        }
        if is_terminating(&object) && !has_finalizers(&object) && id != NAMESPACES {
            // The update is never stored: it becomes the deletion.
            let body = encode_plain(row, &mut object);
            let version = self.remove(id, old);
            return Ok(Outcome { code: 200, body, name: old.name().to_owned(), version, epoch: None });
        }
        Ok(self.put(id, old.key.clone(), object, 200))
    }

    /// Deletes, or marks as being deleted where finalizers hold the object.
    pub(crate) fn delete(&mut self, id: KindId, old: &Stored) -> Outcome {
        let row = kind(id);
        let name = old.name().to_owned();
        let mut object = old.value();
        if !has_finalizers(&object) {
            let version = self.remove(id, old);
            let body =
                if row.delete_returns_object { old.bytes() } else { crate::status::deleted(row, &name, &old.uid) };
            return Outcome { code: 200, body, name, version, epoch: None };
        }
        if is_terminating(&object) {
            let version = (!self.dry_run).then_some(old.version);
            return Outcome { code: 200, body: old.bytes(), name, version, epoch: epoch(&object) };
        }
        self.mark_terminating(&mut object);
        self.put(id, old.key.clone(), object, 200)
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
        store.put(id, state);
        self.touched.push(id);
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
        store.delete(id, last);
        self.touched.push(id);
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
        let metadata = metadata_mut(object);
        drop_nulls(metadata);
        for wiped in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
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
        if row.generation {
            metadata.insert("generation".to_owned(), json!(1));
        }
        (row.prepare)(object);
    }
}

/// `namespace/name`, or the name alone.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// The resourceVersion a client sent is a precondition; some kinds demand one.
fn check_version(row: &Kind, old: &Stored, object: &Map<String, Value>) -> Result<(), Failure> {
    match text(object, &["metadata", "resourceVersion"]).unwrap_or_default() {
        "" | "0" if row.unconditional_update => Ok(()),
        "" | "0" => {
            let cause = Cause {
                reason: "FieldValueInvalid",
                message: "Invalid value: 0x0: must be specified for an update".to_owned(),
                field: "metadata.resourceVersion".to_owned(),
            };
            Err(Failure::invalid(row, old.name(), vec![cause]))
        }
        sent => match sent.parse::<u64>() {
            Ok(sent) if sent == old.version => Ok(()),
            Ok(_) => Err(Failure::modified(row, old.name())),
            Err(_) => {
                let cause = Cause::invalid("metadata.resourceVersion", sent, "must be a number");
                Err(Failure::invalid(row, old.name(), vec![cause]))
            }
        },
    }
}

/// Go clients write nulls where they mean nothing; upstream's types lose them when they are decoded.
fn drop_nulls(metadata: &mut Map<String, Value>) {
    metadata.retain(|_, value| !value.is_null());
}

/// Puts back what an update may not change. The main path leaves the status alone, the status path the spec.
fn restore(row: &Kind, before: &Map<String, Value>, object: &mut Map<String, Value>, status: bool) {
    object.remove("kind");
    object.remove("apiVersion");
    let restored = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let metadata = metadata_mut(object);
    drop_nulls(metadata);
    for member in restored {
        match at(before, &["metadata", member]) {
            Some(value) => metadata.insert(member.to_owned(), value.clone()),
            None => metadata.remove(member),
        };
    }
    let kept = match (row.status, status) {
        (true, true) => "spec",
        (true, false) => "status",
        (false, _) => return,
    };
    match before.get(kept) {
        Some(value) => object.insert(kept.to_owned(), value.clone()),
        None => object.remove(kept),
    };
}

fn check_finalizers(
    row: &Kind,
    name: &str,
    before: &Map<String, Value>,
    object: &Map<String, Value>,
) -> Result<(), Failure> {
    if !is_terminating(before) {
        return Ok(());
    }
    let known = finalizers(before);
    let added: Vec<&Value> = finalizers(object).iter().filter(|finalizer| !known.contains(finalizer)).collect();
    if added.is_empty() {
        return Ok(());
    }
    let added: Vec<String> = added.iter().map(|finalizer| finalizer.to_string()).collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    Err(Failure::invalid(row, name, vec![Cause::forbidden("metadata.finalizers", &detail)]))
}

fn finalizers(object: &Map<String, Value>) -> &[Value] {
    at(object, &["metadata", "finalizers"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn has_finalizers(object: &Map<String, Value>) -> bool {
    !finalizers(object).is_empty()
}

pub(crate) fn is_terminating(object: &Map<String, Value>) -> bool {
    text(object, &["metadata", "deletionTimestamp"]).is_some()
}

/// Equal but for kind and apiVersion, which the new one no longer has.
fn same(before: &Map<String, Value>, object: &Map<String, Value>) -> bool {
    let typed = before.keys().filter(|member| matches!(member.as_str(), "kind" | "apiVersion")).count();
    before.len() - typed == object.len() && object.iter().all(|(member, value)| before.get(member) == Some(value))
}

fn epoch(object: &Map<String, Value>) -> Option<String> {
    text(object, &["metadata", "annotations", EPOCH_ANNOTATION]).map(str::to_owned)
}

/// A version 4 UUID from the server's own randomness.
fn uuid(random: &mut fastrand::Rng) -> String {
    let bits = (random.u128(..) & !(0xf000 << 64) & !(0xc << 60)) | (0x4000 << 64) | (0x8 << 60);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
