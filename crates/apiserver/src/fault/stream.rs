//! A body with faults in it.
//!
//! Comes in: a body and the rules its request has met. Goes out: a body that waits, breaks, falls silent and ends where the
//! rules say. Runs only while it is polled; holds what one piece has become and, where pieces are merged, at most
//! [`MERGE_LIMIT`] bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::sleep;

use super::action::Action;
use super::bytes::ByteStage;
use super::error::TransportError;
use super::event::{EventStage, Part};
use super::facts::Facts;
use super::faults::{Chosen, Core};
use super::rule::Rule;
use crate::service::Body;

/// So much is merged at most.
const MERGE_LIMIT: usize = 1024 * 1024;

enum Stage {
    Event(EventStage),
    Bytes(ByteStage),
}

struct Faulted {
    core: Arc<Core>,
    facts: Arc<Facts>,
    is_stream: bool,
    inner: Body,
    stages: Vec<Stage>,
    merge: Option<(Arc<Rule>, Duration)>,
    parts: VecDeque<Part>,
    /// What came while pieces were merged, but isn't one of them.
    held: Option<Result<Bytes, TransportError>>,
    /// Whoever sends has had the time to send what came before a break.
    flushed: bool,
    ended: bool,
}

/// The body as those rules leave it; as it is if none is about bodies.
/// `is_stream`: the body is the events of a watch.
pub(super) fn with_faults(
    (core, facts, is_stream): (&Arc<Core>, &Arc<Facts>, bool),
    chosen: &[Chosen],
    inner: Body,
) -> Body {
    let rules = || chosen.iter().map(|chosen| &chosen.rule);
    // Events first, whatever the order of the rules: they need whole lines.
    let events = rules().filter(|_| is_stream).filter_map(EventStage::new).map(Stage::Event);
    let stages: Vec<Stage> = events.chain(rules().filter_map(ByteStage::new).map(Stage::Bytes)).collect();
    let merge = rules().find_map(|rule| match rule.action {
        Action::Merge { within } => Some((rule.clone(), within)),
        _ => None,
    });
    if stages.is_empty() && merge.is_none() {
        return inner;
    }
    let mut faulted = Faulted {
        core: core.clone(),
        facts: facts.clone(),
        is_stream,
        inner,
        stages,
        merge,
        parts: VecDeque::new(),
        held: None,
        flushed: false,
        ended: false,
    };
    faulted.open();
    Body::streamed(stream::unfold(faulted, |mut faulted| async move {
        let piece = faulted.next().await?;
        Some((piece.map(Frame::data), faulted))
    }))
}

impl Stage {
    fn open(&mut self, out: &mut Vec<Part>) {
        match self {
            Self::Event(stage) => stage.open(out),
            Self::Bytes(stage) => stage.open(out),
        }
    }

    fn take(&mut self, part: Part, out: &mut Vec<Part>) {
        match self {
            Self::Event(stage) => stage.take(part, out),
            Self::Bytes(stage) => stage.take(part, out),
        }
    }
}

impl Faulted {
    fn open(&mut self) {
        for first in 0..self.stages.len() {
            let mut parts = Vec::new();
            self.stages[first].open(&mut parts);
            self.run(first + 1, parts);
        }
    }

    /// Sends parts through the stages from `first` on.
    fn run(&mut self, first: usize, mut parts: Vec<Part>) {
        for stage in self.stages.iter_mut().skip(first) {
            let mut out = Vec::new();
            for part in parts {
                stage.take(part, &mut out);
            }
            parts = out;
        }
        self.parts.extend(parts);
    }

    async fn next(&mut self) -> Option<Result<Bytes, TransportError>> {
        let first = match self.held.take() {
            Some(held) => held,
            None => self.part().await?,
        };
        let (piece, (rule, within)) = match (first, self.merge.clone()) {
            (Ok(piece), Some(merge)) => (piece, merge),
            (first, _) => return Some(first),
        };
        let over = sleep(within);
        tokio::pin!(over);
        let mut merged = BytesMut::from(&piece[..]);
        loop {
            // Dropping the future loses nothing: a part is taken only when it is returned.
            let more = tokio::select! {
                biased;
                more = self.part() => more,
                () = over.as_mut() => break,
            };
            match more {
                Some(Ok(more)) if merged.len() + more.len() <= MERGE_LIMIT => merged.extend_from_slice(&more),
                // Nothing can come any more: who collects hands on what there is.
                None => break,
                other => {
                    // What came before it has its time all the same.
                    self.held = other;
                    over.await;
                    break;
                }
            }
        }
        if merged.len() > piece.len() {
            self.core.fire(&self.facts, &rule);
        }
        Some(Ok(merged.freeze()))
    }

    /// The next piece. Cancel safe but for a wait that is cut short, which begins anew.
    async fn part(&mut self) -> Option<Result<Bytes, TransportError>> {
        loop {
            match self.parts.front() {
                None if self.ended => return None,
                None => self.read().await,
                Some(Part::Silence) => std::future::pending::<()>().await,
                Some(Part::Break(_)) if !self.flushed => {
                    // hyper forgets what it hasn't written yet when a body fails.
                    self.flushed = true;
                    tokio::task::yield_now().await;
                }
                Some(Part::Wait(time)) => {
                    sleep(*time).await;
                    self.parts.pop_front();
                }
                Some(_) => match self.parts.pop_front()? {
                    Part::Data(data) if data.is_empty() => {}
                    Part::Data(data) => return Some(Ok(data)),
                    Part::Fire(rule) => self.core.fire(&self.facts, &rule),
                    Part::Break(error) => {
                        self.finish();
                        return Some(Err(error));
                    }
                    _ => {
                        self.finish();
                        return None;
                    }
                },
            }
        }
    }

    fn finish(&mut self) {
        self.parts.clear();
        self.ended = true;
    }

    async fn read(&mut self) {
        let part = match self.inner.frame().await {
            None => Part::End,
            Some(Err(error)) => Part::Break(error),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return self.run_data(&data),
                Err(_) => return,
            },
        };
        self.run(0, vec![part]);
    }

    fn run_data(&mut self, data: &Bytes) {
        if !self.is_stream {
            return self.run(0, vec![Part::Data(data.clone())]);
        }
        // A server's own pieces hold whole events.
        let mut events = Vec::new();
        let mut start = 0;
        for event in data.split_inclusive(|byte| *byte == b'\n') {
            events.push(Part::Data(data.slice(start..start + event.len())));
            start += event.len();
        }
        self.run(0, events);
    }
}
