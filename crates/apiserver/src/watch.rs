//! Watches: what a stream begins with, what it goes on with, when it ends.
//!
//! Comes in: parameters, then the log. Goes out: newline-delimited events as bytes, each encoded once for all watchers.
//! A watcher holds a position in the log and no queue, and never makes anyone wait. One that doesn't read is cut as if it
//! had a queue: found when it reads again, by the times at which changes were shown to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::form::Form;
use crate::kinds::{KindId, kind};
use crate::list::CHUNK;
use crate::object::{Change, Stored};
use crate::route::{Query, Target};
use crate::select::Selector;
use crate::server::{Limits, Shared, State};
use crate::signal::Listener;
use crate::status::{Cause, Failure};
use crate::store::Span;

/// Changes for one watcher taken from the log at once.
const BATCH: usize = 256;
/// A watch that names no timeout gets between this and twice this, so that watches don't end all at once.
const DEFAULT_TIMEOUT_SECONDS: u64 = 1800;
/// The last bookmark comes so long before the timeout.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// What a watch begins with.
enum Begin {
    /// Everything there is as ADDED.
    Initial(Freshness),
    /// What happens from now on.
    Now,
    After(u64),
}

/// How new the state must be that a watch begins with.
#[derive(Clone, Copy)]
enum Freshness {
    Newest,
    Any,
    AtLeast(u64),
}

/// A running watch.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    replica: usize,
    kind: KindId,
    prefix: String,
    selector: Selector,
    form: Form,
    phase: Phase,
    /// Everything up to this version has been seen.
    position: u64,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    changed: Listener,
    closing: Listener,
    control: Listener,
    /// When the replica shows more by itself.
    coming: Option<Instant>,
    stop: CancellationToken,
}

enum Phase {
    Initial(std::vec::IntoIter<Arc<Stored>>),
    /// Changes up to this version, which were there when it began. They wait for it.
    Replay(u64),
    Live,
    /// It was too slow: changes up to this version, for which there was room, then the end.
    Cut(u64),
    /// One more event, then the end.
    Last(Bytes),
    Ended,
}

enum Woken {
    Look,
    End,
}

/// Starts a watch on a collection. Errors are answers before the stream begins; a version too old is an event in it.
pub(crate) async fn start(
    (shared, replica): (Arc<Shared>, usize),
    target: &Target,
    (query, form): (&Query, Form),
    stop: CancellationToken,
) -> Result<Watcher, Failure> {
    query.check_numbers()?;
    let selector = Selector::parse(kind(target.kind), query.text("labelSelector"), query.text("fieldSelector"))?;
    let begin = begin(query, shared.limits.streaming_lists)?;
    let timeout = match query.number("timeoutSeconds")?.unwrap_or(0) {
        0 => DEFAULT_TIMEOUT_SECONDS + shared.state.lock().random.u64(..DEFAULT_TIMEOUT_SECONDS),
        // A year is more than any timer of ours can be asked for.
        seconds => seconds.min(365 * 24 * 3600),
    };
    shared.check_ready(replica)?;
    let now = shared.clock.now();
    let mut watcher = Watcher {
        replica,
        kind: target.kind,
        prefix: target.prefix(),
        selector,
        form,
        phase: Phase::Live,
        position: 0,
        bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
        next_bookmark: now,
        deadline: now + Duration::from_secs(timeout),
        changed: shared.changed(target.kind),
        closing: shared.closing(replica),
        control: shared.control(),
        coming: None,
        stop,
        shared,
    };
    watcher.schedule_bookmark(now);
    watcher.open(begin).await;
    Ok(watcher)
}

/// The decision table of a watch's parameters.
fn begin(query: &Query, streaming_lists: bool) -> Result<Begin, Failure> {
    let initial = query.flag("sendInitialEvents");
    let matching = query.text("resourceVersionMatch");
    let field = "resourceVersionMatch";
    let mut causes = Vec::new();
    if initial.is_some() {
        if matching != "NotOlderThan" {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(field, detail));
        }
        if !streaming_lists {
            let detail = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            causes.push(Cause::forbidden("sendInitialEvents", detail));
        }
    }
    if !matching.is_empty() {
        if initial.is_none() {
            let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(Cause::forbidden(field, detail));
        }
        if matching != "NotOlderThan" {
            causes.push(Cause::not_supported(field, matching, &["NotOlderThan"]));
        }
        if !query.text("continue").is_empty() {
            causes.push(Cause::forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
        }
    }
    if !causes.is_empty() {
        return Err(Failure::invalid_options(causes));
    }
    // A malformed version is an internal error here, unlike in a list: seen on a 1.36 server.
    let asked = query.version()?;
    Ok(match (initial, asked) {
        (Some(true) | None, None) => Begin::Initial(Freshness::Newest),
        (Some(true) | None, Some(0)) => Begin::Initial(Freshness::Any),
        (Some(true), Some(version)) => Begin::Initial(Freshness::AtLeast(version)),
        (Some(false), None | Some(0)) => Begin::Now,
        (_, Some(version)) => Begin::After(version),
    })
}

impl Watcher {
    async fn open(&mut self, begin: Begin) {
        let fresh = match begin {
            Begin::Initial(Freshness::Newest) => self.shared.catch_up(self.replica).await,
            Begin::Initial(Freshness::AtLeast(version)) => self.shared.reach(self.replica, version).await,
            Begin::Initial(Freshness::Any) | Begin::Now | Begin::After(_) => Ok(()),
        };
        if let Err(failure) = fresh {
            self.phase = Phase::Last(error_event(&failure));
            return;
        }
        let now = self.shared.clock.now();
        let mut state = self.shared.state.lock();
        let shown = state.shown(self.replica, now);
        match begin {
            Begin::Now => self.position = shown,
            Begin::After(version) => {
                self.position = version;
                self.phase = Phase::Replay(shown);
                let oldest = state.store.floor(self.kind).max(state.views[self.replica].floor());
                if version < oldest {
                    let failure = Failure::expired(format!("too old resource version: {version} ({oldest})"));
                    self.phase = Phase::Last(error_event(&failure));
                }
            }
            Begin::Initial(_) => {
                self.position = shown;
                let span = Span { prefix: &self.prefix, start: "" };
                let objects = state.store.range_at(self.kind, span, shown);
                let mut objects = objects.expect("no view is older than the log");
                objects.retain(|object| self.selector.matches(object));
                self.phase = Phase::Initial(objects.into_iter());
            }
        }
    }

    /// The next piece of the stream: one event or several. Cancel safe: nothing is taken before it is returned.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Ended from outside, also while there is much to send.
            if self.is_closed() {
                self.phase = Phase::Ended;
            }
            match std::mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Ended => return None,
                Phase::Last(event) => return Some(event),
                Phase::Initial(objects) => {
                    if let Some(chunk) = self.initial_chunk(objects) {
                        return Some(chunk);
                    }
                }
                running => {
                    self.phase = running;
                    match self.running_chunk() {
                        Ok(None) => {}
                        Ok(chunk) => return chunk,
                        Err(()) => {
                            self.phase = Phase::Ended;
                            return None;
                        }
                    }
                }
            }
            if let Woken::End = self.wait().await {
                self.phase = Phase::Ended;
                return None;
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.stop.is_cancelled() || self.closing.has_rung()
    }

    /// Initial events, and after the last of them the bookmark that says so. `None`: there was nothing to say.
    fn initial_chunk(&mut self, mut objects: std::vec::IntoIter<Arc<Stored>>) -> Option<Bytes> {
        let mut chunk = BytesMut::with_capacity(4096);
        while chunk.len() < CHUNK {
            let Some(object) = objects.next() else {
                if self.bookmarks {
                    chunk.extend_from_slice(&self.bookmark(true));
                }
                self.phase = Phase::Live;
                return (!chunk.is_empty()).then(|| chunk.freeze());
            };
            object.write_added(&mut chunk, self.form);
        }
        self.phase = Phase::Initial(objects);
        Some(chunk.freeze())
    }

    /// What has happened since, and a bookmark if one is due. `Err`: the stream ends here.
    fn running_chunk(&mut self) -> Result<Option<Bytes>, ()> {
        let now = self.shared.clock.now();
        if now >= self.deadline {
            return Err(());
        }
        // Marked before looking: a change that comes in between wakes the next wait.
        self.changed.hear();
        self.control.hear();
        let (changes, until) = self.look(now).ok_or(())?;
        let row = kind(self.kind);
        let drained = changes.len() < BATCH;
        let mut single: Option<Bytes> = None;
        let mut several = BytesMut::new();
        let mut full = false;
        for change in changes {
            self.position = change.version;
            let Some(frame) = change.frame(row, &self.selector, self.form) else { continue };
            match single.take() {
                None if several.is_empty() => single = Some(frame),
                first => {
                    several.extend_from_slice(first.as_deref().unwrap_or_default());
                    several.extend_from_slice(&frame);
                }
            }
            if several.len() >= CHUNK {
                full = true;
                break;
            }
        }
        if drained && !full {
            self.position = self.position.max(until);
        }
        let mut chunk = single.unwrap_or_else(|| several.freeze());
        if chunk.is_empty() && self.bookmarks && now >= self.next_bookmark {
            // A watch from a version not reached yet stays silent until then, but its timer goes on.
            if self.position <= until {
                chunk = self.bookmark(false);
            }
            self.schedule_bookmark(now);
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// The next changes for it, at most [`BATCH`], and up to which version fewer than that are all. `None`: here it ends.
    fn look(&mut self, now: Instant) -> Option<(Vec<Arc<Change>>, u64)> {
        let shared = self.shared.clone();
        let Limits { watch_buffer, watch_patience, .. } = shared.limits;
        let mut state = shared.state.lock();
        let shown = state.shown(self.replica, now);
        self.coming = state.views[self.replica].next();
        if let Phase::Replay(until) = self.phase {
            let changes = self.take(&state, until)?;
            if !changes.is_empty() {
                return Some((changes, until));
            }
            self.position = self.position.max(until);
            self.phase = Phase::Live;
        }
        if let Phase::Live = self.phase {
            let waiting = self.unread(&state, shown)?.map(|change| change.version);
            let edge: Vec<u64> = waiting.skip(watch_buffer - 1).take(2).collect();
            if let [last, next] = edge[..]
                && state.shown_for(self.replica, (self.kind, next), now) > watch_patience
            {
                self.phase = Phase::Cut(last);
            }
        }
        let Phase::Cut(last) = self.phase else { return Some((self.take(&state, shown)?, shown)) };
        let changes = self.take(&state, last)?;
        (!changes.is_empty()).then_some((changes, last))
    }

    fn take(&self, state: &State, until: u64) -> Option<Vec<Arc<Change>>> {
        Some(self.unread(state, until)?.take(BATCH).cloned().collect())
    }

    /// The changes for it from its position up to a version. `None`: some are gone.
    fn unread<'a>(&'a self, state: &'a State, until: u64) -> Option<impl Iterator<Item = &'a Arc<Change>>> {
        let changes = state.store.changes(self.kind, (self.position, until))?;
        Some(
            changes.filter(|change| change.key().starts_with(&self.prefix) && change.seen_as(&self.selector).is_some()),
        )
    }

    /// About each minute, and once shortly before the timeout.
    fn schedule_bookmark(&mut self, now: Instant) {
        let regular = now + self.shared.limits.bookmark_interval;
        let last = self.deadline.checked_sub(LAST_BOOKMARK).filter(|last| *last > now);
        self.next_bookmark = last.map_or(regular, |last| last.min(regular));
    }

    fn bookmark(&self, end_of_initial: bool) -> Bytes {
        let row = kind(self.kind);
        let (kind, api_version) = self.form.object_type(row);
        let empty = if self.form == Form::Whole { row.empty } else { "" };
        let annotations = if end_of_initial { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
        Bytes::from(format!(
            concat!(
                r#"{{"type":"BOOKMARK","object":{{"kind":"{}","apiVersion":"{}","#,
                r#""metadata":{{"resourceVersion":"{}"{}}}{}}}}}"#,
                "\n"
            ),
            kind, api_version, self.position, annotations, empty
        ))
    }

    async fn wait(&mut self) -> Woken {
        let timer = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
        let timer = self.coming.map_or(timer, |coming| coming.min(timer));
        // In this order: what ends the stream comes before what it would bring.
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Woken::End,
            () = self.closing.rung() => Woken::End,
            () = self.changed.rung() => Woken::Look,
            () = self.control.rung() => Woken::Look,
            () = sleep_until(timer) => Woken::Look,
        }
    }
}

fn error_event(failure: &Failure) -> Bytes {
    let mut event = BytesMut::from(&br#"{"type":"ERROR","object":"#[..]);
    event.extend_from_slice(&failure.encode());
    event.extend_from_slice(b"}\n");
    event.freeze()
}
