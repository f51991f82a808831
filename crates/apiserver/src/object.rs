//! An object as it is stored: its bytes, written once, and what selectors look at.
//!
//! Comes in: a JSON value that has passed all checks, and the version of its write. Goes out: one allocation that holds
//! the complete watch event; the object, the list item and the event are slices of it. Never changes afterwards.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

use crate::kinds::Kind;
use crate::select::Selector;

/// The type of a watch event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    Added,
    Modified,
    Deleted,
}

impl EventType {
    fn head(self) -> &'static str {
        match self {
            Self::Added => r#"{"type":"ADDED","object":"#,
            Self::Modified => r#"{"type":"MODIFIED","object":"#,
            Self::Deleted => r#"{"type":"DELETED","object":"#,
        }
    }
}

/// One state of one object.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The version of the write that made this state.
    pub(crate) version: u64,
    /// `namespace/name`, or the name alone for a cluster-scoped object: the order of these bytes is the order of lists.
    pub(crate) key: Arc<str>,
    pub(crate) uid: Box<str>,
    /// Sorted by key.
    pub(crate) labels: Box<[(Box<str>, Box<str>)]>,
    /// In the order of the kind's row.
    pub(crate) fields: Box<[Box<str>]>,
    /// The event frame that announced this state; `object` is a slice of it.
    frame: Bytes,
    object: Bytes,
    /// Where the object's own members begin, after kind and apiVersion.
    members: usize,
}

impl Stored {
    /// Encodes `value` (whose kind and apiVersion, if any, are dropped) as the state of `version`.
    pub(crate) fn new(
        kind: &Kind,
        key: Arc<str>,
        event: EventType,
        version: u64,
        value: &mut Map<String, Value>,
    ) -> Self {
        set_version(value, version);
        value.remove("kind");
        value.remove("apiVersion");
        let (frame, start, members) = encode(kind, event, value);
        let object = frame.slice(start..frame.len() - 2);
        Self {
            version,
            key,
            uid: text(value, &["metadata", "uid"]).unwrap_or_default().into(),
            labels: labels(value),
            fields: fields(kind, value),
            frame,
            object,
            members,
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    pub(crate) fn name(&self) -> &str {
        self.key.split_once('/').map_or(&self.key, |(_, name)| name)
    }

    /// The object with kind and apiVersion, as a get answers it.
    pub(crate) fn bytes(&self) -> Bytes {
        self.object.clone()
    }

    /// How many bytes the object has as an item of a list.
    pub(crate) fn item_len(&self) -> usize {
        self.object.len() - self.members + 1
    }

    /// The object parsed again. What the server wrote itself can be read.
    pub(crate) fn value(&self) -> Map<String, Value> {
        serde_json::from_slice(&self.object).expect("stored objects are JSON objects the server encoded itself")
    }

    /// Appends the object as an item of a list: without kind and apiVersion.
    pub(crate) fn write_item(&self, buffer: &mut BytesMut) {
        buffer.put_u8(b'{');
        buffer.put_slice(&self.object[self.members..]);
    }

    /// Appends the object as a synthetic ADDED event.
    pub(crate) fn write_added(&self, buffer: &mut BytesMut) {
        buffer.put_slice(EventType::Added.head().as_bytes());
        buffer.put_slice(&self.object);
        buffer.put_slice(b"}\n");
    }

    /// The last state under the version of its deletion, as DELETED events carry it.
    pub(crate) fn deleted(&self, kind: &Kind, version: u64) -> Self {
        Self::new(kind, self.key.clone(), EventType::Deleted, version, &mut self.value())
    }

    fn framed(&self, event: EventType) -> Bytes {
        let mut buffer = BytesMut::with_capacity(self.object.len() + 40);
        buffer.put_slice(event.head().as_bytes());
        buffer.put_slice(&self.object);
        buffer.put_slice(b"}\n");
        buffer.freeze()
    }
}

/// One write as the log keeps it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    /// The state before, absent for a create.
    pub(crate) previous: Option<Arc<Stored>>,
    /// The state after. For a deletion the last state under the deletion's version.
    pub(crate) state: Arc<Stored>,
    pub(crate) event: EventType,
    /// Encoded for the first watcher whose selector the object entered or left, then shared.
    crossing: OnceLock<Bytes>,
}

impl Change {
    pub(crate) fn new(previous: Option<Arc<Stored>>, state: Arc<Stored>, event: EventType) -> Self {
        Self { version: state.version, previous, state, event, crossing: OnceLock::new() }
    }

    /// The key of the object that changed.
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.state.key
    }

    /// The event a watcher with `selector` sees, if any: entering a selector is ADDED, leaving it is DELETED.
    pub(crate) fn frame(&self, kind: &Kind, selector: &Selector) -> Option<Bytes> {
        if selector.is_everything() {
            return Some(self.state.frame.clone());
        }
        let before = self.previous.as_deref().is_some_and(|object| selector.matches(object));
        match self.event {
            EventType::Deleted => before.then(|| self.state.frame.clone()),
            EventType::Added => selector.matches(&self.state).then(|| self.state.frame.clone()),
            EventType::Modified => match (before, selector.matches(&self.state)) {
                (true, true) => Some(self.state.frame.clone()),
                // An object cannot enter one selector and leave another in one change often enough to keep both frames:
                // the first crossing is shared, a different one is encoded for its watcher.
                (false, true) => Some(self.crossed(kind, EventType::Added)),
                (true, false) => Some(self.crossed(kind, EventType::Deleted)),
                (false, false) => None,
            },
        }
    }

    fn crossed(&self, kind: &Kind, event: EventType) -> Bytes {
        let encode = || match (&self.previous, event) {
            (Some(previous), EventType::Deleted) => previous.deleted(kind, self.version).frame,
            _ => self.state.framed(event),
        };
        let shared = self.crossing.get_or_init(encode);
        if shared.starts_with(event.head().as_bytes()) { shared.clone() } else { encode() }
    }
}

/// The text at `path`, if it is a text.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, path: &[&str]) -> Option<&'a str> {
    at(object, path).and_then(Value::as_str)
}

/// The value at `path`.
pub(crate) fn at<'a>(object: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(object.get(*first)?, |value, member| value.get(member))
}

/// The metadata of an object, made if it was missing (a null counts as missing).
pub(crate) fn metadata_mut(object: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("just made sure")
}

/// Writes the version an object carries.
pub(crate) fn set_version(object: &mut Map<String, Value>, version: u64) {
    metadata_mut(object).insert("resourceVersion".to_owned(), Value::String(version.to_string()));
}

/// Encodes an answer that isn't stored (a dry run), with kind and apiVersion in front.
pub(crate) fn encode_plain(kind: &Kind, object: &mut Map<String, Value>) -> Bytes {
    object.remove("kind");
    object.remove("apiVersion");
    let (frame, start, _) = encode(kind, EventType::Added, object);
    frame.slice(start..frame.len() - 2)
}

/// The frame, where the object starts in it, and where in the object its own members start.
fn encode(kind: &Kind, event: EventType, object: &mut Map<String, Value>) -> (Bytes, usize, usize) {
    // An object without members has no comma to put after the apiVersion; metadata is always there.
    metadata_mut(object);
    let mut buffer = Vec::with_capacity(512);
    buffer.extend_from_slice(event.head().as_bytes());
    let start = buffer.len();
    buffer.extend_from_slice(br#"{"kind":""#);
    buffer.extend_from_slice(kind.kind.as_bytes());
    buffer.extend_from_slice(br#"","apiVersion":""#);
    if !kind.group.is_empty() {
        buffer.extend_from_slice(kind.group.as_bytes());
        buffer.push(b'/');
    }
    buffer.extend_from_slice(kind.version.as_bytes());
    buffer.push(b'"');
    let opening = buffer.len();
    serde_json::to_writer(&mut buffer, object).expect("writing JSON to memory does not fail");
    if let Some(brace) = buffer.get_mut(opening) {
        *brace = b',';
    }
    buffer.extend_from_slice(b"}\n");
    (Bytes::from(buffer), start, opening + 1 - start)
}

fn labels(object: &Map<String, Value>) -> Box<[(Box<str>, Box<str>)]> {
    let Some(Value::Object(labels)) = at(object, &["metadata", "labels"]) else { return Box::default() };
    let mut labels: Vec<(Box<str>, Box<str>)> =
        labels.iter().filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect();
    labels.sort();
    labels.into()
}

fn fields(kind: &Kind, object: &Map<String, Value>) -> Box<[Box<str>]> {
    let value = |field: &crate::kinds::SelectableField| match at(object, field.path).or(at(object, field.otherwise)) {
        Some(Value::String(text)) if !text.is_empty() => text.as_str().into(),
        Some(Value::Bool(flag)) => flag.to_string().into(),
        Some(Value::Number(number)) => number.to_string().into(),
        _ => field.default.into(),
    };
    kind.fields.iter().map(value).collect()
}
