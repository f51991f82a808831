//! Watch events and what bookmarks say.
//!
//! In: the bytes of one event. Out: its type and its object, still as bytes; of a bookmark, its version and its mark.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::frame::{Frame, FrameError};
use crate::scan::{member, members, value_end};
use crate::version::ResourceVersion;

/// The annotation on the bookmark that ends the initial events of a streaming list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

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
pub fn watch_frame<'a>(frame: Frame<'a>) -> Result<WatchFrame<'a>, FrameError> {
    let (mut event_type, mut object) = (None, None);
    let bytes = frame.bytes();
    let mut members = members(bytes);
    while let Some((key, value)) = members.head() {
        let Some(end) = frame.known_end(value).or_else(|| value_end(bytes, value)) else { break };
        match &bytes[key.start + 1..key.end - 1] {
            b"type" => event_type = Some(&bytes[value..end]),
            b"object" => object = Some(&bytes[value..end]),
            _ => {}
        }
        members.go_on_at(end);
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
