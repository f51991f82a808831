//! Bytes to items: cuts a list body into its items and a watch body into its events, while they arrive.
//!
//! In: chunks with their boundaries anywhere. Out: one item or event at a time, as a slice of the chunk where it lies
//! whole in one, else from a scratch buffer that is used again. The list's own metadata is found before or after the
//! items. It never holds a body whole, never decodes, and no error carries a byte of content.

use std::ops::Range;

use serde::Deserialize;

use crate::scan::{MAX_DEPTH, ScanError, ValueScan};
use crate::version::ResourceVersion;

/// Scratch beyond this is given back after the object that needed it.
const KEPT_SCRATCH: usize = 1 << 20;

/// Largest sizes that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of one list item or one watch event. Default 16 MiB, as client-go's frame reader; etcd holds no object
    /// beyond 1.5 MiB unless configured to.
    pub item: usize,
    /// Bytes of the list's `metadata` member, continue token included. Default 1 MiB.
    pub list_metadata: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { item: 16 << 20, list_metadata: 1 << 20 }
    }
}

/// What is wrong with a body. Offsets count bytes from the start of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The text isn't JSON where a certain thing had to stand.
    #[error("not what Kubernetes sends: expected {expected} at byte {offset}")]
    Unexpected {
        /// What had to stand there.
        expected: &'static str,
        /// Where.
        offset: u64,
    },
    /// An item, event or metadata member is over its limit.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// The limit in bytes ([`FrameLimits`]).
        limit: usize,
    },
    /// Nested deeper than any Kubernetes object may be.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The body ended in the middle of something.
    #[error("the body ended in the middle of {0}")]
    Truncated(&'static str),
    /// A list without items or without a resource version: a table, a status, or something else altogether.
    #[error("the body is not a list: it has no {0}")]
    NotAList(&'static str),
    /// A watch event that can't be understood.
    #[error("not a watch event: {0}")]
    NotAnEvent(&'static str),
}

/// What a list says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEnd {
    /// The version at which the list is the whole truth.
    pub version: ResourceVersion,
    /// The token for the next page; `None`: this was the last.
    pub continue_token: Option<String>,
    /// How many items this body held.
    pub items: u64,
}

/// Collects one value from chunks, without a copy where it lies in one.
#[derive(Debug, Default)]
struct Collector {
    scan: ValueScan,
    scratch: Vec<u8>,
    used: bool,
}

/// A finished value.
struct Collected<'a> {
    bytes: &'a [u8],
    /// How many bytes of the chunk it took.
    used: usize,
    /// See [`ValueScan::only_inner`].
    only_inner: Option<Range<usize>>,
}

impl Collector {
    /// `limit`: `Some((what, bytes))` keeps the value, `None` only skips it.
    fn feed<'a>(
        &'a mut self,
        bytes: &'a [u8],
        limit: Option<(&'static str, usize)>,
        offset: u64,
    ) -> Result<Option<Collected<'a>>, FrameError> {
        if std::mem::take(&mut self.used) {
            self.reset();
        }
        // Never further than it may be long: what is wrong first is then the same however the bytes were cut.
        let most = limit.map_or(usize::MAX, |(_, limit)| limit.saturating_sub(self.scratch.len()).saturating_add(1));
        let bytes = &bytes[..bytes.len().min(most)];
        let end = self.scan.advance(bytes).map_err(|error| match error {
            ScanError::TooDeep => FrameError::TooDeep,
            ScanError::NotJson => FrameError::Unexpected { expected: "a JSON value", offset },
        })?;
        let taken = &bytes[..end.unwrap_or(bytes.len())];
        if let Some((what, limit)) = limit {
            if self.scratch.len() + taken.len() > limit {
                return Err(FrameError::TooLarge { what, limit });
            }
            if end.is_none() || !self.scratch.is_empty() {
                self.scratch.extend_from_slice(taken);
            }
        }
        let Some(used) = end else { return Ok(None) };
        self.used = true;
        let bytes = if self.scratch.is_empty() { taken } else { &self.scratch };
        Ok(Some(Collected { bytes, used, only_inner: self.scan.only_inner() }))
    }

    fn reset(&mut self) {
        self.scan = ValueScan::default();
        self.scratch.clear();
        if self.scratch.capacity() > KEPT_SCRATCH {
            self.scratch = Vec::new();
        }
    }
}

/// A member of the list object that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Metadata,
    Items,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    /// Before a key; `true`: a brace may close the list here.
    Key(bool),
    InKey,
    Colon(Field),
    Value(Field),
    InValue(Field),
    AfterValue,
    /// Before an item; `true`: a bracket may close the items here.
    Item(bool),
    InItem,
    AfterItem,
    End,
}

/// Cuts one list body into items.
#[derive(Debug)]
pub struct ListSplitter {
    limits: FrameLimits,
    collector: Collector,
    at: At,
    offset: u64,
    items: u64,
    has_items: bool,
    metadata: ListMetadata,
}

#[derive(Debug, Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "resourceVersion")]
    version: Option<String>,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
}

impl ListSplitter {
    /// A splitter for one body.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            collector: Collector::default(),
            at: At::Start,
            offset: 0,
            items: 0,
            has_items: false,
            metadata: ListMetadata::default(),
        }
    }

    /// Takes the next chunk and hands each item that is complete with it to `item`, whose error ends the reading.
    pub fn push<E: From<FrameError>>(
        &mut self,
        chunk: &[u8],
        mut item: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let used = match self.at {
                At::InItem => {
                    let limit = Some(("a list item", self.limits.item));
                    let Some(collected) = self.collector.feed(rest, limit, self.offset)? else { break };
                    let used = collected.used;
                    item(collected.bytes)?;
                    self.items += 1;
                    self.at = At::AfterItem;
                    used
                }
                At::InKey | At::InValue(_) => match self.collect(rest)? {
                    Some(used) => used,
                    None => break,
                },
                _ => self.step(rest[0])?,
            };
            self.offset += used as u64;
            rest = &rest[used..];
        }
        self.offset += rest.len() as u64;
        Ok(())
    }

    /// The body is complete: what the list said of itself.
    ///
    /// # Errors
    /// Truncated, or no list at all: then nothing may be concluded from the items seen.
    pub fn finish(self) -> Result<ListEnd, FrameError> {
        if self.at != At::End {
            return Err(FrameError::Truncated("a list"));
        }
        if !self.has_items {
            return Err(FrameError::NotAList("items"));
        }
        let version = self.metadata.version.filter(|version| !version.is_empty());
        Ok(ListEnd {
            version: ResourceVersion::new(&version.ok_or(FrameError::NotAList("metadata.resourceVersion"))?),
            continue_token: self.metadata.continue_token.filter(|token| !token.is_empty()),
            items: self.items,
        })
    }

    /// Inside a key or a value that isn't an item: `None` asks for more bytes.
    fn collect(&mut self, rest: &[u8]) -> Result<Option<usize>, FrameError> {
        let limit = match self.at {
            At::InKey => Some(("a key of the list", self.limits.list_metadata)),
            At::InValue(Field::Metadata) => Some(("the list's metadata", self.limits.list_metadata)),
            At::InValue(Field::Items) => Some(("the list's items", 8)),
            _ => None,
        };
        let Some(Collected { bytes, used, .. }) = self.collector.feed(rest, limit, self.offset)? else {
            return Ok(None);
        };
        self.at = match self.at {
            At::InKey => At::Colon(match bytes {
                b"\"metadata\"" => Field::Metadata,
                b"\"items\"" => Field::Items,
                _ => Field::Other,
            }),
            At::InValue(Field::Metadata) => {
                self.metadata = serde_json::from_slice(bytes).map_err(|_| FrameError::NotAList("readable metadata"))?;
                At::AfterValue
            }
            // Some servers write an empty list as null.
            At::InValue(Field::Items) if bytes == b"null" => At::AfterValue,
            At::InValue(Field::Items) => return Err(FrameError::NotAList("array of items")),
            _ => At::AfterValue,
        };
        Ok(Some(used))
    }

    /// Between the values: one byte of structure. Returns how many bytes it took (0: a value begins with it).
    fn step(&mut self, byte: u8) -> Result<usize, FrameError> {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            return Ok(1);
        }
        let (next, used) = match (self.at, byte) {
            (At::Start, b'{') => (At::Key(true), 1),
            (At::Key(true), b'}') => (At::End, 1),
            (At::Key(_), b'"') => (At::InKey, 0),
            (At::Colon(field), b':') => (At::Value(field), 1),
            (At::Value(Field::Items), _) if std::mem::replace(&mut self.has_items, true) => {
                return Err(FrameError::NotAList("single member `items`"));
            }
            (At::Value(Field::Items), b'[') => (At::Item(true), 1),
            (At::Value(field), _) => (At::InValue(field), 0),
            (At::AfterValue, b',') => (At::Key(false), 1),
            (At::AfterValue, b'}') => (At::End, 1),
            (At::Item(true), b']') => (At::AfterValue, 1),
            (At::Item(_), b'{') => (At::InItem, 0),
            (At::AfterItem, b',') => (At::Item(false), 1),
            (At::AfterItem, b']') => (At::AfterValue, 1),
            (at, _) => return Err(FrameError::Unexpected { expected: expected(at), offset: self.offset }),
        };
        self.at = next;
        Ok(used)
    }
}

fn expected(at: At) -> &'static str {
    match at {
        At::Start => "the list object",
        At::Key(_) | At::InKey => "a key",
        At::Colon(_) => "a colon",
        At::Value(_) | At::InValue(_) => "a value",
        At::AfterValue => "a comma or the end of the list",
        At::Item(_) | At::InItem => "an object in the items",
        At::AfterItem => "a comma or the end of the items",
        At::End => "nothing more",
    }
}

/// The bytes of one watch event. Where its object stands is known from the cutting, as a rule, so that nobody has to look for
/// its end again.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    only_inner: Option<Range<usize>>,
}

impl<'a> Frame<'a> {
    /// All of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the object or array ends that begins at `start`, if the cutting knows it.
    pub(crate) fn known_end(&self, start: usize) -> Option<usize> {
        self.only_inner.as_ref().filter(|place| place.start == start).map(|place| place.end)
    }
}

impl<'a> From<&'a [u8]> for Frame<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, only_inner: None }
    }
}

/// Cuts one watch body into events. Newlines between them are the custom, not needed: a pretty-printed status that
/// some proxy sends is one frame too.
#[derive(Debug)]
pub struct WatchSplitter {
    limits: FrameLimits,
    collector: Collector,
    in_event: bool,
    offset: u64,
}

impl WatchSplitter {
    /// A splitter for one body.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, collector: Collector::default(), in_event: false, offset: 0 }
    }

    /// Takes the next chunk and hands each event that is complete with it to `event`, whose error ends the reading.
    pub fn push<E: From<FrameError>>(
        &mut self,
        chunk: &[u8],
        mut event: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = chunk;
        while let Some(&byte) = rest.first() {
            let mut used = 1;
            if self.in_event || byte == b'{' {
                self.in_event = true;
                let limit = Some(("a watch event", self.limits.item));
                let Some(collected) = self.collector.feed(rest, limit, self.offset)? else { break };
                used = collected.used;
                self.in_event = false;
                event(Frame { bytes: collected.bytes, only_inner: collected.only_inner })?;
            } else if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                let (expected, offset) = ("a watch event", self.offset);
                return Err(FrameError::Unexpected { expected, offset }.into());
            }
            self.offset += used as u64;
            rest = &rest[used..];
        }
        self.offset += rest.len() as u64;
        Ok(())
    }

    /// The body is complete.
    ///
    /// # Errors
    /// It ended inside an event, which is then lost; the ones before it were handed out.
    pub fn finish(self) -> Result<(), FrameError> {
        if self.in_event { Err(FrameError::Truncated("a watch event")) } else { Ok(()) }
    }
}
