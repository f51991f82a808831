//! In which form an answer goes out: objects as they are, or their metadata alone.
//!
//! Comes in: the Accept header and what is asked for. Goes out: the form, or 406; and the form's fixed parts. Where a client
//! names several, the one it likes best decides of those this server has. Tables are none of them, so whoever asks for one gets the next it names.

use std::cmp::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http::header::ACCEPT;
use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::status::Failure;

/// The group and version of what this module answers.
const VERSION: &str = "meta.k8s.io/v1";
const OBJECT: &str = "PartialObjectMetadata";
const LIST: &str = "PartialObjectMetadataList";

/// The form of objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// PartialObjectMetadata: what metadata informers ask for.
    Metadata,
}

/// What an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// One object, or events of which each has one.
    Object,
    List,
}

/// One of the types of an Accept header.
struct Clause<'a> {
    media: (&'a str, &'a str),
    quality: f32,
    /// `as`, `g` and `v`.
    form: [&'a str; 3],
}

impl<'a> Clause<'a> {
    fn parse(item: &'a str) -> Self {
        let mut parts = item.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let mut clause = Self { media: media.split_once('/').unwrap_or((media, "")), quality: 1.0, form: [""; 3] };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim();
            match name.trim() {
                "q" => clause.quality = value.parse().unwrap_or(0.0),
                "as" => clause.form[0] = value,
                "g" => clause.form[1] = value,
                "v" => clause.form[2] = value,
                _ => {}
            }
        }
        clause
    }

    /// The liked best first, and what is named before wildcards.
    fn order(&self, other: &Self) -> Ordering {
        let wild = |clause: &Self| (clause.media.0 == "*", clause.media.1 == "*");
        other.quality.total_cmp(&self.quality).then_with(|| wild(self).cmp(&wild(other)))
    }

    fn fits(&self) -> bool {
        matches!(self.media, ("application", "json" | "*") | ("*", "*"))
    }
}

impl Form {
    /// What a request with these headers gets.
    pub(crate) fn negotiate(headers: &HeaderMap, row: &Kind, asked: Asked) -> Result<Self, Failure> {
        let accepted: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let accepted = accepted.join(",");
        if accepted.is_empty() {
            return Ok(Self::Whole);
        }
        // Upstream looks twice: whether there is a type it writes at all, in which case matters and half a wildcard is none;
        // then for the one it likes best.
        let media = |item: &str| item.split(';').next().unwrap_or_default().trim().to_owned();
        if !accepted.split(',').any(|item| matches!(media(item).as_str(), "*/*" | "application/json")) {
            return Err(Failure::not_acceptable());
        }
        let mut clauses: Vec<Clause<'_>> = accepted.split(',').map(Clause::parse).collect();
        clauses.sort_by(Clause::order);
        for clause in clauses.iter().filter(|clause| clause.fits()) {
            let [transformed, group, version] = clause.form;
            if clause.form == ["", "", ""] {
                return Ok(Self::Whole);
            }
            if (group, version) != ("meta.k8s.io", "v1") {
                continue;
            }
            match (transformed, asked) {
                (OBJECT, Asked::Object) | (LIST, Asked::List) => return Ok(Self::Metadata),
                (OBJECT, Asked::List) => {
                    let why = format!("is a list (*{}.{}List)", row.internal_package(), row.kind);
                    return Err(Failure::not_acceptable_as(OBJECT, &why));
                }
                (LIST, Asked::Object) => {
                    let why = format!("is not a list (*{}.{})", row.internal_package(), row.kind);
                    return Err(Failure::not_acceptable_as(LIST, &why));
                }
                _ => {}
            }
        }
        Err(Failure::no_such_form())
    }

    /// The kind and apiVersion that objects of `row` carry.
    pub(crate) fn object_type(self, row: &Kind) -> (String, String) {
        match self {
            Self::Whole => (row.kind.to_owned(), row.api_version()),
            Self::Metadata => (OBJECT.to_owned(), VERSION.to_owned()),
        }
    }

    /// The kind and apiVersion that lists of `row` carry.
    pub(crate) fn list_type(self, row: &Kind) -> (String, String) {
        match self {
            Self::Whole => (format!("{}List", row.kind), row.api_version()),
            Self::Metadata => (LIST.to_owned(), VERSION.to_owned()),
        }
    }

    /// The answer to a write in this form. A Status stays what it is.
    pub(crate) fn shape(self, body: Bytes) -> Bytes {
        if self == Self::Whole {
            return body;
        }
        let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(&body) else { return body };
        if object.get("kind").is_some_and(|kind| kind == "Status") {
            return body;
        }
        let metadata = object.remove("metadata").unwrap_or_default();
        let shaped = match object.remove("items") {
            Some(Value::Array(items)) => {
                let items: Vec<Value> = items.into_iter().map(|mut item| partial(item["metadata"].take())).collect();
                json!({ "kind": LIST, "apiVersion": VERSION, "metadata": metadata, "items": items })
            }
            _ => partial(metadata),
        };
        Bytes::from(shaped.to_string())
    }
}

fn partial(metadata: Value) -> Value {
    json!({ "kind": OBJECT, "apiVersion": VERSION, "metadata": metadata })
}

/// How many bytes [`write_partial`] takes beside the metadata.
pub(crate) const PARTIAL_LENGTH: usize = PARTIAL_HEAD.len() + 1;
const PARTIAL_HEAD: &[u8] = br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;

/// Appends an object that is its encoded metadata alone.
pub(crate) fn write_partial(buffer: &mut BytesMut, metadata: &[u8]) {
    buffer.put_slice(PARTIAL_HEAD);
    buffer.put_slice(metadata);
    buffer.put_u8(b'}');
}
