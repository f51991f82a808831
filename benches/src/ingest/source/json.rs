//! Pods as JSON: what a server sends of them.
//!
//! In: the Pods, and what of each is sent. Out: the bytes of lists, of the events of a streaming list, and of the event that
//! ends a watch. Nothing is held: a list is rendered when it is asked for, the events piece by piece.

use std::sync::Arc;

use bytes::Bytes;

use super::{PIECE, VERSION};
use crate::pods::Pod;

/// Of everything, events included.
pub(super) const MEDIA_TYPE: &str = "application/json";
/// What a watch ends with once its version is compacted.
pub(crate) const EXPIRED: &[u8] = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
)
.as_bytes();

/// What of each object is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    Metadata,
}

impl Form {
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("as=PartialObjectMetadata") { Self::Metadata } else { Self::Whole }
    }

    fn object_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Whole => ("Pod", "v1"),
            Self::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1"),
        }
    }

    /// The members of an object behind its kind and apiVersion, and the closing brace.
    fn members(self, pod: &Pod) -> [&[u8]; 2] {
        match self {
            Self::Whole => [&pod.item.as_bytes()[1..], b""],
            Self::Metadata => [&pod.item.as_bytes()[1..pod.metadata_end], b"}"],
        }
    }
}

/// All objects as ADDED events, and the mark behind them, in pieces.
pub(super) fn initial(pods: Arc<[Pod]>, form: Form) -> impl Iterator<Item = Bytes> + Send {
    let mut at = 0;
    let pieces = std::iter::from_fn(move || {
        let mut piece = Vec::with_capacity(PIECE + 20_000);
        while piece.len() < PIECE {
            let Some(pod) = pods.get(at) else { break };
            at += 1;
            event(&mut piece, "ADDED", pod, form);
        }
        (!piece.is_empty()).then(|| Bytes::from(piece))
    });
    let (kind, api_version) = form.object_type();
    let mark = format!(
        concat!(
            r#"{{"type":"BOOKMARK","object":{{"kind":"{}","apiVersion":"{}","metadata":{{"resourceVersion":"{}","#,
            r#""annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#,
            "\n"
        ),
        kind, api_version, VERSION
    );
    pieces.chain(std::iter::once(Bytes::from(mark)))
}

/// The event that an object has changed.
pub(crate) fn modified(pod: &Pod) -> Vec<u8> {
    let mut piece = Vec::with_capacity(pod.item.len() + 100);
    event(&mut piece, "MODIFIED", pod, Form::Whole);
    piece
}

fn event(piece: &mut Vec<u8>, event_type: &str, pod: &Pod, form: Form) {
    let (kind, api_version) = form.object_type();
    let head = format!(r#"{{"type":"{event_type}","object":{{"kind":"{kind}","apiVersion":"{api_version}","#);
    piece.extend_from_slice(head.as_bytes());
    form.members(pod).iter().for_each(|part| piece.extend_from_slice(part));
    piece.extend_from_slice(b"}\n");
}

/// A list; with `next` a page of one, which goes on there.
pub(crate) fn list(pods: &[Pod], form: Form, next: Option<usize>) -> Vec<u8> {
    let length: usize = pods.iter().map(|pod| pod.item.len() + 100).sum();
    let mut list = Vec::with_capacity(length + 200);
    let token = next.map(|next| format!(r#","continue":"{next}""#)).unwrap_or_default();
    let (kind, api_version) = form.object_type();
    let head = format!(
        r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{VERSION}"{token}}},"items":["#
    );
    list.extend_from_slice(head.as_bytes());
    for (index, pod) in pods.iter().enumerate() {
        let separator = if index > 0 { "," } else { "" };
        // Of a list's items only those of metadata say what they are.
        let says = match form {
            Form::Whole => String::new(),
            Form::Metadata => format!(r#""kind":"{kind}","apiVersion":"{api_version}","#),
        };
        list.extend_from_slice(format!("{separator}{{{says}").as_bytes());
        form.members(pod).iter().for_each(|part| list.extend_from_slice(part));
    }
    list.extend_from_slice(b"]}\n");
    list
}
