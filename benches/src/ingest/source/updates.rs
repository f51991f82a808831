//! Updates of Pods on a watch, at a pace, each told when it is sent.
//!
//! In: Pods at later versions, whose annotation says that they were never sent. Out: their MODIFIED events, the moment written
//! into the bytes as they are handed to the socket. Whoever watches before [`Rendered::begin`] is sent them all, once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::watch;
use watchkeeper::BoxError;

use super::json;
use super::protobuf;
use crate::latency::sent;
use crate::pods::Pod;

/// What is sent, and how fast.
pub(crate) struct Updates {
    pub(crate) pods: Vec<Pod>,
    pub(crate) pause: Duration,
}

/// An event, and where in it the moment goes.
struct Event {
    bytes: Bytes,
    place: usize,
}

impl Event {
    fn new(bytes: Bytes) -> Result<Self, BoxError> {
        let place = sent::place(&bytes).ok_or("an update without a place for its moment")?;
        Ok(Self { bytes, place })
    }

    /// The event as it is sent now.
    fn now(&self) -> Bytes {
        let mut bytes = self.bytes.to_vec();
        let value = &mut bytes[self.place..self.place + sent::NEVER.len()];
        value.copy_from_slice(sent::digits(sent::now()).as_bytes());
        bytes.into()
    }
}

/// All of them, made beforehand.
pub(super) struct Rendered {
    json: Vec<Event>,
    protobuf: Vec<Event>,
    pause: Duration,
    /// When it changes, who watches is sent them.
    begun: watch::Sender<u64>,
    sent: AtomicUsize,
}

impl Rendered {
    pub(super) fn of(updates: &Updates, renderer: Option<&Path>) -> Result<Self, BoxError> {
        let json = updates.pods.iter().map(|pod| Event::new(json::modified(pod).into())).collect::<Result<_, _>>()?;
        let frames = match renderer {
            Some(program) => protobuf::modified(program, &updates.pods)?,
            None => Vec::new(),
        };
        let protobuf = frames.into_iter().map(Event::new).collect::<Result<_, _>>()?;
        let (begun, sent) = (watch::Sender::new(0), AtomicUsize::new(0));
        Ok(Self { json, protobuf, pause: updates.pause, begun, sent })
    }

    pub(super) fn begin(&self) {
        self.begun.send_modify(|count| *count += 1);
    }

    /// How many were sent, to whomever.
    pub(super) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    fn event(&self, protobuf: bool, index: usize) -> Option<Bytes> {
        let event = if protobuf { self.protobuf.get(index) } else { self.json.get(index) }?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        Some(event.now())
    }
}

/// What a watch is sent; nothing before they have begun. The pace is kept: what the machine delays is made up for.
pub(super) fn stream(updates: Arc<Rendered>, protobuf: bool) -> impl Stream<Item = Bytes> + Send {
    let (mut begun, pause) = (updates.begun.subscribe(), updates.pause);
    let ticks = stream::once(async move {
        _ = begun.changed().await;
        tokio::time::interval(pause)
    });
    ticks.flat_map(move |ticks| {
        let updates = updates.clone();
        stream::unfold((ticks, 0), move |(mut ticks, index)| {
            let updates = updates.clone();
            async move {
                ticks.tick().await;
                Some((updates.event(protobuf, index)?, (ticks, index + 1)))
            }
        })
    })
}
