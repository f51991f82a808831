//! Reading a watch, and a streaming list, which is a watch that begins with the present state.
//!
//! In: events. Out: deltas in their order; for a streaming list first one replacement, at the bookmark that ends it.
//! What is not newer than what is cached of its object (a replay) is dropped and counted.

use std::cmp::Ordering;

use futures::StreamExt;
use tokio::time::Instant;

use super::initial::{InitialItem, InitialItems};
use super::{Activity, Ended, Run, now, pace};
use crate::budget::later;
use crate::decode::{Bookmark, EventType, Identity, Undecodable, WatchFrame, bookmark, identity, watch_frame, who};
use crate::delta_fifo::Delta;
use crate::explain::What;
use crate::frame::{Frame, WatchSplitter};
use crate::list_watch::{ByteStream, WatchRequest, WatchStart};
use crate::object::Cached;
use crate::recovery::{Phase, Trouble, WatchPhase};
use crate::request_error::{Awaited, Refusal, RequestError};
use crate::version::{self, ResourceVersion};

/// What somebody has asked a reflector for, or what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Relist,
    Audit,
}

/// One watch request and what has come of it.
struct Session<K> {
    opened: Instant,
    open: bool,
    delivered: bool,
    /// Events, bookmarks aside.
    items: usize,
    initial: Option<Initial<K>>,
}

/// The initial events of a streaming list. They come in key order, not in the order of their versions, so they move no
/// version; changes in between replace or remove them.
struct Initial<K> {
    items: InitialItems<K>,
    any_event: bool,
    ask_known: bool,
    deadline: Instant,
}

impl<K: Cached> Run<K> {
    /// Watches from the version reached, until the stream ends one way or another.
    pub(super) async fn watch(&mut self) -> Ended {
        let Some(version) = self.version.clone() else { return Ended::RelistAsked };
        pace(&mut self.last_watch, self.given.config.pace).await;
        self.given.budget.turn().await;
        let mut session = Session { opened: now(), open: false, delivered: false, items: 0, initial: None };
        self.run_session(&mut session, WatchStart::After(version)).await
    }

    /// Lists by a watch with initial events and goes on with the same stream as the watch.
    pub(super) async fn streaming_list(&mut self) -> Ended {
        let ask_known = self.begin_list().await;
        let opened = now();
        self.last_watch = Some(opened);
        let initial = Initial { items: InitialItems::default(), any_event: false, ask_known, deadline: opened };
        let mut session = Session { opened, open: false, delivered: false, items: 0, initial: Some(initial) };
        self.run_session(&mut session, WatchStart::InitialEvents).await
    }

    async fn run_session(&mut self, session: &mut Session<K>, start: WatchStart) -> Ended {
        let timeout_seconds = self.timeout_seconds();
        if let Some(initial) = &mut session.initial {
            // A server that ignores `sendInitialEvents` may also ignore the time it was given.
            let timeout = std::time::Duration::from_secs(timeout_seconds.into());
            initial.deadline = later(later(session.opened, timeout), self.given.config.initial_events_silence);
        }
        {
            let mut status = self.given.shared.status.lock();
            status.counts.watches += 1;
            status.activity = if session.initial.is_some() { Activity::Listing } else { Activity::Watching };
        }
        if let Some(meter) = &self.given.sight.meter {
            meter.watch_begun();
        }
        let request = WatchRequest { start, timeout_seconds };
        let opened = tokio::select! {
            biased;
            () = self.given.shared.relist_asked(), if session.initial.is_none() => return Ended::RelistAsked,
            opened = self.given.list_watch.watch(&request) => opened,
        };
        let result = match opened {
            Ok(body) => {
                session.open = true;
                self.read(session, body).await
            }
            Err(error) => Err(Trouble::Failed(error)),
        };
        self.watched(session);
        match result {
            Ok(()) => Ended::RelistAsked,
            Err(trouble) => Ended::Trouble(trouble, self.phase(session)),
        }
    }

    fn watched(&self, session: &Session<K>) {
        if let Some(meter) = &self.given.sight.meter
            && session.open
        {
            let lasted = now().duration_since(session.opened);
            let is_list = session.initial.is_some();
            let is_short = !session.delivered && !is_list && lasted < self.given.config.suspicious;
            meter.watched(lasted, session.items, is_short);
            meter.changed();
        }
    }

    /// From a range that may stand the wrong way round; 0 would leave the time to the server.
    fn timeout_seconds(&mut self) -> u32 {
        let (a, b) = (*self.given.config.watch_timeout_seconds.start(), *self.given.config.watch_timeout_seconds.end());
        self.random.u32(a.min(b)..=a.max(b)).max(1)
    }

    fn phase(&self, session: &Session<K>) -> Phase {
        match &session.initial {
            Some(initial) => Phase::StreamingList { any_event: initial.any_event, missed_before: self.missed_bookmark },
            None => Phase::Watch(WatchPhase {
                open: session.open,
                delivered: session.delivered,
                short: now().duration_since(session.opened) < self.given.config.suspicious,
                listed_recently: self.listed_recently(),
                malformed_before: self.malformed_before,
            }),
        }
    }

    /// Reads to the end of the stream; `Ok`: left because a list was asked for.
    async fn read(&mut self, session: &mut Session<K>, mut body: ByteStream) -> Result<(), Trouble> {
        let mut splitter = WatchSplitter::new(self.given.config.limits);
        loop {
            let chunk = match &session.initial {
                Some(initial) => self.next_initial(initial.deadline, &mut body).await,
                None => {
                    // Biased: a stream that is never empty must not keep a request for a list waiting.
                    tokio::select! {
                        biased;
                        asked = self.asked() => {
                            match asked {
                                Asked::Relist => return Ok(()),
                                Asked::Audit => self.audit().await,
                            }
                            continue;
                        }
                        chunk = self.next_changes(&mut body) => chunk,
                    }
                }
            };
            let Some(chunk) = chunk else { break };
            let read = splitter.push(&chunk.map_err(Trouble::Failed)?, |frame| self.event(session, frame));
            self.arrived();
            read?;
            tokio::task::coop::consume_budget().await;
        }
        splitter.finish()?;
        Err(Trouble::Ended)
    }

    /// What somebody asks for, or the audit that is due.
    async fn asked(&self) -> Asked {
        let due = async |at: Option<Instant>| match at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        };
        // Between two audits the watch is read for as long as the pace says.
        let audit = async {
            tokio::select! {
                biased;
                () = self.given.shared.audit_asked() => {}
                () = due(self.audits.next) => {}
            }
            due(Some(self.audits.last.map_or_else(now, |last| later(last, self.given.config.pace)))).await;
        };
        tokio::select! {
            biased;
            () = self.given.shared.relist_asked() => Asked::Relist,
            () = due(self.relist_at) => Asked::Relist,
            () = audit => Asked::Audit,
        }
    }

    /// The next bytes of a watch, once there is room for what they bring: until then they stay with the connection, which
    /// makes the server wait, or give this watch up; then it is opened again from the version reached.
    async fn next_changes(&self, body: &mut ByteStream) -> Option<Result<bytes::Bytes, RequestError>> {
        if self.given.fifo.room().await {
            self.given.shared.status.lock().counts.held_up += 1;
        }
        body.next().await
    }

    /// The next bytes of a streaming list, for which shorter deadlines hold than for a quiet watch.
    async fn next_initial(
        &self,
        deadline: Instant,
        body: &mut ByteStream,
    ) -> Option<Result<bytes::Bytes, RequestError>> {
        let bound = self.given.config.initial_events_silence;
        let until = deadline.min(later(now(), bound));
        match tokio::time::timeout_at(until, body.next()).await {
            Ok(chunk) => chunk,
            Err(_) => Some(Err(RequestError::TimedOut { waited_for: Awaited::EndOfInitialEvents, bound })),
        }
    }

    fn event(&mut self, session: &mut Session<K>, frame: Frame<'_>) -> Result<(), Trouble> {
        let WatchFrame { event_type, object } = watch_frame(frame)?;
        session.items += usize::from(!matches!(event_type, EventType::Error | EventType::Bookmark));
        match (event_type, &mut session.initial) {
            (EventType::Error, _) => Err(Trouble::Failed(RequestError::Refused(Refusal::from_status(object)))),
            (EventType::Bookmark, _) => self.bookmark(session, bookmark(object)?),
            (_, Some(initial)) => {
                self.initial(initial, event_type, object);
                Ok(())
            }
            (_, None) => self.change(session, event_type, object),
        }
    }

    fn bookmark(&mut self, session: &mut Session<K>, bookmark: Bookmark) -> Result<(), Trouble> {
        if let Some(initial) = &mut session.initial {
            initial.any_event = true;
            if !bookmark.ends_initial_events {
                // The first bookmark has the mark; where it hasn't, the mark was lost, or the server knows of none.
                let bound = self.given.config.initial_events_silence;
                let waited_for = Awaited::EndOfInitialEvents;
                return Err(Trouble::Failed(RequestError::TimedOut { waited_for, bound }));
            }
            let items = std::mem::take(&mut initial.items).settled();
            session.initial = None;
            session.delivered = true;
            self.replace(items, bookmark.version);
            self.given.shared.status.lock().activity = Activity::Watching;
            return Ok(());
        }
        let order = self.version.as_ref().and_then(|version| bookmark.version.compare(version));
        if order == Some(Ordering::Less) {
            self.given.shared.status.lock().counts.stale_dropped += 1;
            return Ok(());
        }
        self.given.fifo.reached(bookmark.version.clone());
        self.advance(session, bookmark.version);
        Ok(())
    }

    fn initial(&mut self, initial: &mut Initial<K>, event_type: EventType, object: &[u8]) {
        initial.any_event = true;
        if event_type == EventType::Deleted {
            if let Ok(identity) = who(object) {
                self.note(&identity, || What::Read(event_type));
                self.release(&identity);
                initial.items.push(InitialItem::Gone(identity.key()));
            } else {
                // Whatever it was, another list won't show it.
                self.note_undecodable(Undecodable::nameless());
                self.relist_later();
            }
            return;
        }
        if let Some(item) = self.relisted(object, initial.ask_known) {
            initial.items.push(InitialItem::There(item));
        }
    }

    /// One change behind the version reached.
    fn change(&mut self, session: &mut Session<K>, event_type: EventType, object: &[u8]) -> Result<(), Trouble> {
        let is_deletion = event_type == EventType::Deleted;
        let Ok(identity) = identity(object) else {
            // It can't be recorded at its version, so the version can't go beyond it.
            self.note_undecodable(Undecodable::nameless());
            return Err(Trouble::UndecodableChange);
        };
        let version = ResourceVersion::new(&identity.version);
        if !self.wants(&identity) {
            self.given.fifo.reached(version.clone());
            self.advance(session, version);
            return Ok(());
        }
        self.note(&identity, || What::Read(event_type));
        if self.is_stale(&identity, is_deletion) {
            self.note(&identity, || What::DroppedAsStale);
            self.given.shared.status.lock().counts.stale_dropped += 1;
            return Ok(());
        }
        let bytes = object.len();
        match self.given.decoder.object(object, &identity) {
            Ok(object) => {
                self.release(&identity);
                let delta = if is_deletion { Delta::Deleted(object) } else { Delta::Applied(object) };
                self.note(&identity, || What::Pushed);
                self.given.fifo.push(delta, bytes, version.clone());
            }
            Err(fault) => {
                self.note_undecodable(Undecodable::known(&identity, fault));
                if is_deletion {
                    return Err(Trouble::UndecodableChange);
                }
                self.given.fifo.reached(version.clone());
            }
        }
        self.given.shared.status.lock().counts.events += 1;
        self.advance(session, version);
        Ok(())
    }

    /// A change that isn't newer than the version reached is a replay if something as new is cached of its object. If something
    /// older is, the server sent it out of order, and it counts. If nothing is, the object may have been deleted since, or its
    /// change may be the one that was overtaken; and while the store has yet to take what was pushed, nobody knows what is
    /// cached. Then it is left out, and an audit tells.
    ///
    /// A replayed deletion finds the state that it ended no longer cached: where that is cached, it counts.
    fn is_stale(&mut self, identity: &Identity<'_>, is_deletion: bool) -> bool {
        let Identity { namespace, name, uid, version, .. } = identity;
        let order = self.version.as_ref().and_then(|reached| version::compare(version, reached.as_str()));
        if !matches!(order, Some(Ordering::Less | Ordering::Equal)) {
            return false;
        }
        let held = if self.given.fifo.is_consumed() { self.given.known.life(namespace, name, uid) } else { None };
        match held {
            Some(held) => match version::compare(held.version(), version) {
                Some(Ordering::Less) => false,
                Some(Ordering::Equal) => !is_deletion,
                _ => true,
            },
            None => {
                self.suspect();
                true
            }
        }
    }

    /// Everything up to `version` has been pushed or recorded, or what had been overtaken has come.
    fn advance(&mut self, session: &mut Session<K>, version: ResourceVersion) {
        if !std::mem::replace(&mut session.delivered, true) {
            self.note_success();
        }
        if self.version.as_ref().is_some_and(|reached| version.compare(reached) == Some(Ordering::Less)) {
            return;
        }
        self.given.shared.status.lock().version = Some(version.clone());
        self.version = Some(version);
    }
}
