//! Items to identity, then to objects.
//!
//! In: the bytes of one item or one watch event. Out: first who it is (borrowed from the bytes, nothing decoded), then,
//! if wanted, the object, whose `metadata.managedFields` were cut out before the JSON decoder saw them. It is pure and
//! keeps nothing. What can't be decoded is a value ([`Undecodable`]), not the end of a stream, and never shows content.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::frame::FrameError;
use crate::key::ObjectKey;
use crate::scan::{member, members, skip_whitespace};
use crate::version::ResourceVersion;

/// The annotation on the bookmark that ends the initial events of a streaming list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// How bytes become objects of one type.
pub struct Decoder<K> {
    object: fn(&[u8]) -> Result<K, serde_json::Error>,
    keep_managed_fields: bool,
}

impl<K> Clone for Decoder<K> {
    fn clone(&self) -> Self {
        Self { object: self.object, keep_managed_fields: self.keep_managed_fields }
    }
}

impl<K> fmt::Debug for Decoder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("keep_managed_fields", &self.keep_managed_fields).finish_non_exhaustive()
    }
}

/// What a decoder keeps of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecoderConfig {
    /// Keep `metadata.managedFields`. Default false: they are a third of a typical object's JSON, nearly half of its
    /// memory, and of use to hardly any controller.
    pub managed_fields: bool,
}

impl<K: DeserializeOwned> Decoder<K> {
    /// Decodes JSON with serde.
    pub fn new(config: DecoderConfig) -> Self {
        Self { object: |item| serde_json::from_slice(item), keep_managed_fields: config.managed_fields }
    }
}

impl<K> Decoder<K> {
    /// The object. `scratch` is overwritten; hand in the same one again and it is allocated once.
    ///
    /// # Errors
    /// The class of what is wrong, nothing of the content.
    pub fn object(&self, item: &[u8], scratch: &mut Vec<u8>) -> Result<Arc<K>, DecodeFault> {
        let item = if self.keep_managed_fields { item } else { without_managed_fields(item, scratch) };
        (self.object)(item).map(Arc::new).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => DecodeFault::Shape,
            _ => DecodeFault::Syntax,
        })
    }
}

/// Who an item is. Missing fields are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    /// `metadata.namespace`.
    pub namespace: Cow<'a, str>,
    /// `metadata.name`.
    pub name: Cow<'a, str>,
    /// `metadata.uid`.
    pub uid: Cow<'a, str>,
    /// `metadata.resourceVersion`.
    pub version: Cow<'a, str>,
}

impl Identity<'_> {
    /// The key of the object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }
}

/// Who an item is, without decoding it and, as a rule, without reading beyond its metadata.
///
/// # Errors
/// No metadata, a field of it that isn't a string, or no name or no version: such an item can't be cached.
pub fn identity(item: &[u8]) -> Result<Identity<'_>, DecodeFault> {
    who(item).and_then(|found| if found.version.is_empty() { Err(DecodeFault::Identity) } else { Ok(found) })
}

/// Who an item is, even if it doesn't say at which version.
///
/// # Errors
/// No metadata, a field of it that isn't a string, or no name.
pub(crate) fn who(item: &[u8]) -> Result<Identity<'_>, DecodeFault> {
    let metadata = member(item, "metadata").ok_or(DecodeFault::Identity)?;
    let mut found = Identity {
        namespace: Cow::Borrowed(""),
        name: Cow::Borrowed(""),
        uid: Cow::Borrowed(""),
        version: Cow::Borrowed(""),
    };
    for member in members(metadata) {
        let field = match member.key {
            b"namespace" => &mut found.namespace,
            b"name" => &mut found.name,
            b"uid" => &mut found.uid,
            b"resourceVersion" => &mut found.version,
            _ => continue,
        };
        *field = text(&metadata[member.value])?;
    }
    if found.name.is_empty() { Err(DecodeFault::Identity) } else { Ok(found) }
}

/// A JSON string, borrowed unless it holds escapes; null counts as missing.
fn text(value: &[u8]) -> Result<Cow<'_, str>, DecodeFault> {
    match value {
        b"null" => Ok(Cow::Borrowed("")),
        [b'"', inner @ .., b'"'] if memchr::memchr(b'\\', inner).is_none() => {
            std::str::from_utf8(inner).map(Cow::Borrowed).map_err(|_| DecodeFault::Identity)
        }
        _ => serde_json::from_slice(value).map(Cow::Owned).map_err(|_| DecodeFault::Identity),
    }
}

/// The item without its top-level `metadata.managedFields`, and nothing else of that name: a copy in `scratch` if
/// there was something to cut out.
fn without_managed_fields<'a>(item: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(metadata) = members(item).find(|member| member.key == b"metadata") else { return item };
    let base = metadata.value.start;
    let inner = &item[metadata.value];
    let Some(fields) = members(inner).find(|member| member.key == b"managedFields") else { return item };
    let (mut start, mut end) = (fields.start, skip_whitespace(inner, fields.value.end));
    if inner.get(end) == Some(&b',') {
        end += 1;
    } else {
        // The last member: the comma before it goes, if it isn't the only one.
        let before = inner[..start].iter().rposition(|byte| !byte.is_ascii_whitespace()).unwrap_or_default();
        if inner[before] == b',' {
            start = before;
        }
    }
    scratch.clear();
    scratch.extend_from_slice(&item[..base + start]);
    scratch.extend_from_slice(&item[base + end..]);
    scratch
}

/// Why an item can't become an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// It doesn't say who it is.
    #[error("it has no readable name or resource version")]
    Identity,
    /// It isn't JSON, or nested deeper than the decoder follows (128 levels).
    #[error("it is not JSON, or nested too deep")]
    Syntax,
    /// It is JSON, but not of the type that the informer caches.
    #[error("its fields do not fit the type")]
    Shape,
}

/// An object that couldn't be decoded: which, at which version, and the class of the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Its key, if it could be read.
    pub key: Option<ObjectKey>,
    /// Its uid, empty if it couldn't be read.
    pub uid: String,
    /// Its version, if it could be read.
    pub version: Option<ResourceVersion>,
    /// What is wrong.
    pub fault: DecodeFault,
}

impl Undecodable {
    /// An item that is known by name.
    pub fn known(identity: &Identity<'_>, fault: DecodeFault) -> Self {
        Self {
            key: Some(identity.key()),
            uid: identity.uid.to_string(),
            version: (!identity.version.is_empty()).then(|| ResourceVersion::new(&identity.version)),
            fault,
        }
    }

    /// An item that doesn't say who it is.
    pub fn nameless() -> Self {
        Self { key: None, uid: String::new(), version: None, fault: DecodeFault::Identity }
    }
}

/// The five types of a watch event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// `ADDED`.
    Added,
    /// `MODIFIED`.
    Modified,
    /// `DELETED`: the object is the last state, with the version of the deletion.
    Deleted,
    /// `BOOKMARK`: nothing but a version, see [`bookmark`].
    Bookmark,
    /// `ERROR`: the object is a Status.
    Error,
}

/// One watch event, its object still as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchFrame<'a> {
    /// What happened.
    pub event_type: EventType,
    /// To what.
    pub object: &'a [u8],
}

/// Type and object of a watch event, in either order.
///
/// # Errors
/// One of them is missing, or the type is none of the five.
pub fn watch_frame(frame: &[u8]) -> Result<WatchFrame<'_>, FrameError> {
    let (mut event_type, mut object) = (None, None);
    for member in members(frame) {
        match member.key {
            b"type" => event_type = Some(&frame[member.value]),
            b"object" => object = Some(&frame[member.value]),
            _ => {}
        }
    }
    let event_type = match event_type.ok_or(FrameError::NotAnEvent("it has no type"))? {
        b"\"ADDED\"" => EventType::Added,
        b"\"MODIFIED\"" => EventType::Modified,
        b"\"DELETED\"" => EventType::Deleted,
        b"\"BOOKMARK\"" => EventType::Bookmark,
        b"\"ERROR\"" => EventType::Error,
        _ => return Err(FrameError::NotAnEvent("its type is unknown")),
    };
    Ok(WatchFrame { event_type, object: object.ok_or(FrameError::NotAnEvent("it has no object"))? })
}

/// What a bookmark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// Everything up to this version has been sent.
    pub version: ResourceVersion,
    /// It also ends the initial events of a streaming list.
    pub ends_initial_events: bool,
}

/// Reads the object of a BOOKMARK event.
///
/// # Errors
/// It has no version.
pub fn bookmark(object: &[u8]) -> Result<Bookmark, FrameError> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "resourceVersion")]
        version: String,
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    let unreadable = FrameError::NotAnEvent("its bookmark has no version");
    let metadata = member(object, "metadata").ok_or(unreadable.clone())?;
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(|_| unreadable.clone())?;
    if metadata.version.is_empty() {
        return Err(unreadable);
    }
    let mark = metadata.annotations.as_ref().and_then(|annotations| annotations.get(INITIAL_EVENTS_END));
    Ok(Bookmark {
        version: ResourceVersion::new(&metadata.version),
        ends_initial_events: mark.is_some_and(|value| value == "true"),
    })
}
