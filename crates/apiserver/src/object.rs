//! An object as it is stored: its bytes, written once, and what selectors look at.
//!
//! Comes in: a JSON value that has passed all checks, and the version of its write. Goes out: one allocation that holds
//! the complete watch event; the object, the list item and the event are slices of it. Never changes afterwards.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::form::{Form, PARTIAL_LENGTH, write_partial};
use crate::kinds::{self, Kind, KindId};
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
    /// What announced this state.
    event: EventType,
    /// The event frame that announced this state; `object` is a slice of it.
    frame: Bytes,
    object: Bytes,
    layout: Layout,
    /// The same as the view of its kind shows it, made for the first who looks through it.
    view: OnceLock<Arc<Self>>,
}

/// Where things are in the encoded object.
#[derive(Clone, Debug)]
struct Layout {
    /// The object's own members, after kind and apiVersion, begin here.
    members: usize,
    metadata: Range<usize>,
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
        let (frame, start, layout) = encode(kind, event, value);
        let object = frame.slice(start..frame.len() - 2);
        Self {
            version,
            key,
            uid: text(value, &["metadata", "uid"]).unwrap_or_default().into(),
            labels: labels(value),
            fields: fields(kind, value),
            event,
            frame,
            object,
            layout,
            view: OnceLock::new(),
        }
    }

    /// What is stored, as `id` shows it.
    pub(crate) fn shown(self: &Arc<Self>, id: KindId) -> &Arc<Self> {
        let row = kinds::kind(id);
        let Some(view) = &row.view else { return self };
        self.view.get_or_init(|| {
            let mut object = view.show(self.value());
            (row.convert)(&mut object);
            Arc::new(Self::new(row, self.key.clone(), self.event, self.version, &mut object))
        })
    }

    /// What `id` was given, as it is stored.
    pub(crate) fn kept(self: Arc<Self>, id: KindId) -> Arc<Self> {
        let row = kinds::kind(id);
        let Some(view) = &row.view else { return self };
        let mut object = view.store(self.value());
        (row.stored().convert)(&mut object);
        let stored = Self::new(row.stored(), self.key.clone(), self.event, self.version, &mut object);
        Arc::new(Self { view: OnceLock::from(self), ..stored })
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

    /// The object in this form, with kind and apiVersion.
    pub(crate) fn bytes_as(&self, form: Form) -> Bytes {
        match form {
            Form::Whole => self.bytes(),
            Form::Metadata => {
                let mut buffer = BytesMut::with_capacity(self.item_len(form));
                write_partial(&mut buffer, self.metadata());
                buffer.freeze()
            }
        }
    }

    /// How many bytes the object has as an item of a list.
    pub(crate) fn item_len(&self, form: Form) -> usize {
        match form {
            Form::Whole => self.object.len() - self.layout.members + 1,
            Form::Metadata => self.metadata().len() + PARTIAL_LENGTH,
        }
    }

    /// The encoded metadata.
    fn metadata(&self) -> &[u8] {
        &self.object[self.layout.metadata.clone()]
    }

    /// The object parsed again. What the server wrote itself can be read.
    pub(crate) fn value(&self) -> Map<String, Value> {
        serde_json::from_slice(&self.object).expect("stored objects are JSON objects the server encoded itself")
    }

    /// Appends the object as an item of a list: without kind and apiVersion, unless it is metadata alone.
    pub(crate) fn write_item(&self, buffer: &mut BytesMut, form: Form) {
        match form {
            Form::Whole => {
                buffer.put_u8(b'{');
                buffer.put_slice(&self.object[self.layout.members..]);
            }
            Form::Metadata => write_partial(buffer, self.metadata()),
        }
    }

    /// Appends the object as a synthetic ADDED event.
    pub(crate) fn write_added(&self, buffer: &mut BytesMut, form: Form) {
        self.write_frame(buffer, EventType::Added, form);
    }

    fn write_frame(&self, buffer: &mut BytesMut, event: EventType, form: Form) {
        buffer.put_slice(event.head().as_bytes());
        match form {
            Form::Whole => buffer.put_slice(&self.object),
            Form::Metadata => write_partial(buffer, self.metadata()),
        }
        buffer.put_slice(b"}\n");
    }

    /// The last state under the version of its deletion, as DELETED events carry it.
    pub(crate) fn deleted(&self, kind: &Kind, version: u64) -> Self {
        Self::new(kind, self.key.clone(), EventType::Deleted, version, &mut self.value())
    }

    fn framed(&self, event: EventType, form: Form) -> Bytes {
        let mut buffer = BytesMut::with_capacity(self.item_len(form) + 160);
        self.write_frame(&mut buffer, event, form);
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
    pub(crate) written: Instant,
    /// Encoded for the first watcher whose selector the object entered or left, then shared.
    crossing: OnceLock<Bytes>,
    /// The same for watchers of metadata alone.
    partial: OnceLock<Bytes>,
    /// The same as the view of its kind shows it.
    view: OnceLock<Arc<Self>>,
}

impl Change {
    pub(crate) fn new(previous: Option<Arc<Stored>>, state: Arc<Stored>, event: EventType, written: Instant) -> Self {
        let (crossing, partial, view) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { version: state.version, previous, state, event, written, crossing, partial, view }
    }

    /// What happened, as `id` shows it.
    pub(crate) fn shown(self: &Arc<Self>, id: KindId) -> &Arc<Self> {
        if kinds::kind(id).view.is_none() {
            return self;
        }
        self.view.get_or_init(|| {
            let previous = self.previous.as_ref().map(|previous| previous.shown(id).clone());
            Arc::new(Self::new(previous, self.state.shown(id).clone(), self.event, self.written))
        })
    }

    /// The key of the object that changed.
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.state.key
    }

    /// The event a watcher with `selector` sees, if any: entering a selector is ADDED, leaving it is DELETED.
    pub(crate) fn frame(&self, kind: &Kind, selector: &Selector, form: Form) -> Option<Bytes> {
        let event = self.seen_as(selector)?;
        Some(match form {
            Form::Whole if event == self.event => self.state.frame.clone(),
            Form::Whole => self.shared(&self.crossing, kind, (event, form)),
            Form::Metadata => self.shared(&self.partial, kind, (event, form)),
        })
    }

    /// The type of that event.
    pub(crate) fn seen_as(&self, selector: &Selector) -> Option<EventType> {
        if selector.is_everything() {
            return Some(self.event);
        }
        let before = self.previous.as_deref().is_some_and(|object| selector.matches(object));
        match self.event {
            EventType::Deleted => before.then_some(EventType::Deleted),
            EventType::Added => selector.matches(&self.state).then_some(EventType::Added),
            EventType::Modified => match (before, selector.matches(&self.state)) {
                (true, true) => Some(EventType::Modified),
                (false, true) => Some(EventType::Added),
                (true, false) => Some(EventType::Deleted),
                (false, false) => None,
            },
        }
    }

    /// An object does not enter one selector and leave another in one change often enough to keep a frame for each: the first
    /// is shared, a different one is encoded for its watcher.
    fn shared(&self, slot: &OnceLock<Bytes>, kind: &Kind, (event, form): (EventType, Form)) -> Bytes {
        let encode = || match (&self.previous, event) {
            // Who leaves is shown as it was, under the version of the change.
            (Some(previous), EventType::Deleted) if self.event == EventType::Modified => {
                previous.deleted(kind, self.version).framed(event, form)
            }
            _ => self.state.framed(event, form),
        };
        let shared = slot.get_or_init(encode);
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

/// The frame, where the object starts in it, and where things are in the object.
fn encode(kind: &Kind, event: EventType, object: &mut Map<String, Value>) -> (Bytes, usize, Layout) {
    const INFALLIBLE: &str = "writing JSON to memory does not fail";
    // There is always a member to begin with.
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
    let mut layout = Layout { members: buffer.len() + 1 - start, metadata: 0..0 };
    for (name, value) in object {
        buffer.push(b',');
        serde_json::to_writer(&mut buffer, name).expect(INFALLIBLE);
        buffer.push(b':');
        let from = buffer.len() - start;
        serde_json::to_writer(&mut buffer, value).expect(INFALLIBLE);
        if name == "metadata" {
            layout.metadata = from..buffer.len() - start;
        }
    }
    buffer.extend_from_slice(b"}}\n");
    // Kept for long: without what the buffer grew too much, which may be as much again.
    (Bytes::from(buffer.into_boxed_slice()), start, layout)
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
