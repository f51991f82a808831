//! Gets and lists: which version a read is answered at, pages, tokens, and the bytes of a list.
//!
//! Comes in: parameters. Goes out: a body that is put together from the objects' own bytes, chunk by chunk, while it is
//! sent. Never encodes an object, and never holds the whole body of a long list.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::form::Form;
use crate::kinds::{KindId, kind};
use crate::object::Stored;
use crate::route::{Query, Target};
use crate::select::Selector;
use crate::server::Shared;
use crate::status::{Cause, Failure};
use crate::store::{Span, Store};

/// A body is sent in pieces of about this size.
pub(crate) const CHUNK: usize = 64 * 1024;

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
const EXPIRED_LIST: &str = "The resourceVersion for the provided list is too old.";
pub(crate) const EXPIRED_TOKEN: &str = "The provided continue parameter is too old to display a consistent list result. You can \
start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of \
the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
deleted between the time the first chunk was returned and now may show up in the list.";

/// The state a read is answered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The present one.
    Present,
    /// Whatever the replica has.
    Any,
    AtLeast(u64),
    Exactly(u64),
    /// The rest of an earlier list; without a version, whatever is there now.
    Rest {
        version: Option<u64>,
        start: String,
    },
}

/// Which state, and at most how many objects of it; zero is no limit.
pub(crate) type Plan = (Read, usize);

#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    /// −1: the present, whatever it is.
    rv: i64,
    /// The first key of the next page after the common prefix.
    start: String,
}

/// One page.
pub(crate) struct Page {
    objects: Vec<Arc<Stored>>,
    version: u64,
    next: Option<String>,
    remaining: Option<usize>,
}

impl Page {
    pub(crate) fn objects(&self) -> &[Arc<Stored>] {
        &self.objects
    }
}

/// One object, at least as new as `resourceVersion` asks for.
pub(crate) async fn get(
    (shared, replica): (&Shared, usize),
    (target, name): (&Target, &str),
    query: &Query,
    form: Form,
) -> Result<Bytes, Failure> {
    let asked = query.version()?;
    if let Some(version) = asked.filter(|version| *version > 0) {
        shared.reach(replica, version).await?;
    }
    let now = shared.clock.now();
    let mut state = shared.state.lock();
    let at = if asked.is_some() { state.shown(replica, now) } else { state.store.version() };
    let object = state.store.get_at(target.kind, &target.key(name), at);
    let object = object.expect("no view is older than the log");
    object.map(|object| object.bytes_as(form)).ok_or_else(|| Failure::not_found(kind(target.kind), name))
}

/// A collection, or one page of it.
pub(crate) async fn list(
    (shared, replica): (&Shared, usize),
    target: &Target,
    query: &Query,
    form: Form,
) -> Result<ListBody, Failure> {
    query.check_numbers()?;
    let row = kind(target.kind);
    let selector = Selector::parse(row, query.text("labelSelector"), query.text("fieldSelector"))?;
    let plan = plan(target, query, &selector)?;
    await_state((shared, replica), &plan, &selector).await?;
    let read = &plan.0;
    let prefix = target.prefix();
    let now = shared.clock.now();
    let mut state = shared.state.lock();
    let shown = match read {
        Read::Any | Read::AtLeast(_) => state.shown(replica, now),
        Read::Present | Read::Exactly(_) | Read::Rest { .. } => state.store.version(),
    };
    let page = page(&state.store, target.kind, &prefix, &selector, &plan, shown)?;
    drop(state);
    Ok(ListBody::new(target.kind, page, form))
}

/// Waits until a replica can answer, if it ever can.
pub(crate) async fn await_state(
    (shared, replica): (&Shared, usize),
    (read, limit): &Plan,
    selector: &Selector,
) -> Result<(), Failure> {
    match read {
        Read::Exactly(_) | Read::Rest { .. } => Ok(()),
        // Without a cache, a page is read from storage.
        Read::Present if *limit > 0 && selector.is_everything() && shared.check_ready(replica).is_err() => Ok(()),
        Read::Any => shared.check_ready(replica),
        Read::Present => {
            shared.check_ready(replica)?;
            // A cache that stays behind is passed over.
            _ = shared.catch_up(replica).await;
            Ok(())
        }
        Read::AtLeast(version) => {
            shared.check_ready(replica)?;
            shared.reach(replica, *version).await
        }
    }
}

/// The decision table of `resourceVersion`, `resourceVersionMatch`, `limit` and `continue`.
pub(crate) fn plan(target: &Target, query: &Query, selector: &Selector) -> Result<Plan, Failure> {
    let asked = query.text("resourceVersion");
    let matching = query.text("resourceVersionMatch");
    let token = query.text("continue");
    let limit = query.number("limit")?.unwrap_or(0);
    check_options(query, asked, matching, token)?;
    // Where one object is looked for no list is walked: there are no pages, and a limit doesn't make a version exact.
    let one = selector.names_one() && (!kind(target.kind).namespaced || !target.namespace.is_empty());
    let limit = if one { 0 } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    if !token.is_empty() {
        let rest = decode_token(token)?;
        if !matches!(asked, "" | "0") {
            let message = "specifying resource version is not allowed when using continue";
            return Err(Failure::bad_request(message));
        }
        // "Any age" ignores the limit, here too.
        return Ok((rest, if asked == "0" { 0 } else { limit }));
    }
    let version = query.version();
    let version =
        version.map_err(|failure| Failure::bad_request(format!("invalid resource version: {}", failure.message)))?;
    Ok(match (version, matching) {
        (None, _) => (Read::Present, limit),
        // "Any age" ignores the limit: upstream's cache answers it whole. It knows it by its text.
        (Some(0), _) => (Read::Any, if asked == "0" { 0 } else { limit }),
        (Some(version), "Exact") => (Read::Exactly(version), limit),
        (Some(version), "") if limit > 0 => (Read::Exactly(version), limit),
        (Some(version), _) => (Read::AtLeast(version), limit),
    })
}

fn check_options(query: &Query, asked: &str, matching: &str, token: &str) -> Result<(), Failure> {
    let field = "resourceVersionMatch";
    let mut causes = Vec::new();
    if !matching.is_empty() {
        if asked.is_empty() {
            causes
                .push(Cause::forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if !token.is_empty() {
            causes.push(Cause::forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            causes.push(Cause::not_supported(field, matching, &["Exact", "NotOlderThan", ""]));
        }
        if matching == "Exact" && asked == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(field, detail));
        }
    }
    if query.flag("sendInitialEvents").is_some() {
        causes.push(Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if causes.is_empty() { Ok(()) } else { Err(Failure::invalid_options(causes)) }
}

fn decode_token(token: &str) -> Result<Read, Failure> {
    let invalid = |why: &str| Failure::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let json = URL_SAFE_NO_PAD.decode(token).map_err(|error| invalid(&error.to_string()))?;
    let token: Token = serde_json::from_slice(&json).map_err(|error| invalid(&error.to_string()))?;
    if token.v != TOKEN_VERSION {
        return Err(invalid(&format!("server does not recognize this encoded version {:?}", token.v)));
    }
    if token.rv == 0 || token.rv < -1 {
        return Err(invalid(&format!("incorrect encoded start resourceVersion (version {TOKEN_VERSION})")));
    }
    // Upstream refuses keys that lead out of the prefix.
    if token.start.is_empty() || token.start.starts_with('/') || token.start.split('/').any(|part| part == "..") {
        return Err(invalid(&token.start));
    }
    Ok(Read::Rest { version: u64::try_from(token.rv).ok(), start: token.start })
}

/// The token of a page that begins at `start`, of the list as it was at `version` or is by then.
pub(crate) fn encode_token(version: Option<u64>, start: String) -> String {
    let rv = version.map_or(-1, |version| i64::try_from(version).unwrap_or(i64::MAX));
    let token = Token { v: TOKEN_VERSION.to_owned(), rv, start };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token has only text and numbers"))
}

pub(crate) fn page(
    store: &Store,
    id: KindId,
    prefix: &str,
    selector: &Selector,
    (read, limit): &Plan,
    shown: u64,
) -> Result<Page, Failure> {
    let limit = *limit;
    let present = store.version();
    let (version, start) = match read {
        Read::Present | Read::Any | Read::AtLeast(_) => (shown, ""),
        Read::Exactly(version) => (*version, ""),
        Read::Rest { version, start } => (version.unwrap_or(present), start.as_str()),
    };
    if version > present {
        // An exact read is answered by storage, which doesn't wait.
        return Err(Failure::too_large_version(version, present));
    }
    let span = Span { prefix, start };
    if version == present {
        return Ok(collect(store.range(id, span).cloned(), prefix, selector, (version, limit)));
    }
    match store.range_at(id, span, version) {
        Ok(objects) => Ok(collect(objects.into_iter(), prefix, selector, (version, limit))),
        Err(_) => Err(match read {
            Read::Rest { start, .. } => {
                let mut failure = Failure::expired(EXPIRED_TOKEN);
                failure.continue_token = Some(encode_token(None, start.clone()));
                failure
            }
            _ => Failure::expired(EXPIRED_LIST),
        }),
    }
}

fn collect(
    mut objects: impl Iterator<Item = Arc<Stored>>,
    prefix: &str,
    selector: &Selector,
    (version, limit): (u64, usize),
) -> Page {
    let mut page = Page { objects: Vec::new(), version, next: None, remaining: None };
    while let Some(object) = objects.next() {
        if !selector.matches(&object) {
            continue;
        }
        page.objects.push(object);
        if limit == 0 || page.objects.len() < limit {
            continue;
        }
        // Like upstream, look whether there is another key, not whether it matches: a selective list may end empty.
        if objects.next().is_some() {
            let last = page.objects.last().map_or("", |object| &object.key[prefix.len()..]);
            page.next = Some(encode_token(Some(version), format!("{last}\0")));
            page.remaining = selector.is_everything().then(|| 1 + objects.count());
        }
        break;
    }
    page
}

/// The bytes of a list, made while they are sent.
pub(crate) struct ListBody {
    head: Option<Bytes>,
    objects: std::vec::IntoIter<Arc<Stored>>,
    form: Form,
    first: bool,
    tail: Option<&'static [u8]>,
    length: usize,
}

impl ListBody {
    pub(crate) fn new(id: KindId, page: Page, form: Form) -> Self {
        let (kind, api_version) = form.list_type(kind(id));
        let mut metadata = serde_json::json!({ "resourceVersion": page.version.to_string() });
        if let Some(next) = page.next {
            metadata["continue"] = next.into();
        }
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        let head = format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#);
        let items: usize = page.objects.iter().map(|object| object.item_len(form) + 1).sum();
        let length = head.len() + items.saturating_sub(usize::from(items > 0)) + TAIL.len();
        let objects = page.objects.into_iter();
        Self { head: Some(Bytes::from(head)), objects, form, first: true, tail: Some(TAIL), length }
    }

    /// Bytes of the whole body.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

const TAIL: &[u8] = b"]}\n";

impl Iterator for ListBody {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let tail = self.tail?;
        let mut chunk = BytesMut::with_capacity(self.length.min(CHUNK + 4096));
        if let Some(head) = self.head.take() {
            chunk.extend_from_slice(&head);
        }
        while chunk.len() < CHUNK {
            let Some(object) = self.objects.next() else {
                chunk.extend_from_slice(tail);
                self.tail = None;
                break;
            };
            if !std::mem::take(&mut self.first) {
                chunk.extend_from_slice(b",");
            }
            object.write_item(&mut chunk, self.form);
        }
        Some(chunk.freeze())
    }
}
