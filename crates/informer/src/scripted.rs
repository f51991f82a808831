//! `ScriptedListWatch`: a [`ListWatch`] that answers from a script, for tests of anything that list-watches.
//!
//! In: answers, in the order in which requests of their kind will come. Out: bytes, silence, errors, as scripted, under
//! the same deadlines as the real thing; and a record of what was asked. Time is tokio's, so paused tests are exact. What isn't scripted
//! is never answered; and by default an informer's first request is a watch, a streaming list: script that with
//! [`ScriptedListWatch::on_watch`], or set [`ReflectorConfig::streaming_list`](crate::ReflectorConfig::streaming_list) to `false`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::Deadlines;
use crate::list_watch::{ByteStream, ListRequest, ListWatch, WatchRequest, within};
use crate::request_error::{Awaited, Refusal, RequestError};

/// Longer than any deadline.
const FOREVER: Duration = Duration::from_secs(100_000_000);

/// One thing that happens in a scripted body.
#[derive(Debug, Clone)]
pub enum Piece {
    /// These bytes arrive.
    Bytes(Bytes),
    /// Nothing happens for this long.
    Silence(Duration),
    /// The stream breaks off.
    Error(RequestError),
}

/// The answer to one request.
#[derive(Debug)]
pub struct Answer(Kind);

#[derive(Debug)]
enum Kind {
    Body(Vec<Piece>),
    Live(mpsc::UnboundedReceiver<Piece>),
    Error(RequestError),
    Hang,
}

impl Answer {
    /// A body in one piece that ends cleanly.
    pub fn body(text: impl Into<String>) -> Self {
        Self::pieces([Piece::Bytes(Bytes::from(text.into()))])
    }

    /// A body in pieces that ends cleanly, unless its last piece says otherwise.
    pub fn pieces(pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self(Kind::Body(pieces.into_iter().collect()))
    }

    /// A body that begins with `text` and then stays open, silent.
    pub fn live_with(text: impl Into<String>) -> Self {
        Self::pieces([Piece::Bytes(Bytes::from(text.into())), Piece::Silence(FOREVER)])
    }

    /// A body that is fed while the test runs; it ends cleanly when the [`Feed`] is dropped.
    pub fn live() -> (Self, Feed) {
        let (feed, pieces) = mpsc::unbounded_channel();
        (Self(Kind::Live(pieces)), Feed(feed))
    }

    /// The request fails.
    pub fn error(error: RequestError) -> Self {
        Self(Kind::Error(error))
    }

    /// The server refuses with this status and reason.
    pub fn refused(code: u16, reason: &str) -> Self {
        Self::error(RequestError::Refused(Refusal { code, reason: reason.to_owned(), ..Refusal::default() }))
    }

    /// No answer, ever.
    pub fn hang() -> Self {
        Self(Kind::Hang)
    }
}

/// Feeds a live body.
#[derive(Debug, Clone)]
pub struct Feed(mpsc::UnboundedSender<Piece>);

impl Feed {
    /// Sends one piece; `false`: nobody reads any more.
    pub fn piece(&self, piece: Piece) -> bool {
        self.0.send(piece).is_ok()
    }

    /// Sends bytes.
    pub fn text(&self, text: impl Into<String>) -> bool {
        self.piece(Piece::Bytes(Bytes::from(text.into())))
    }
}

/// A request as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A list.
    List(ListRequest),
    /// A watch.
    Watch(WatchRequest),
}

/// What answers a request that the script has no answer for.
type Otherwise = Box<dyn FnMut(&Asked) -> Answer + Send>;

/// A list-watch that follows a script. Cloning gives another handle on the same script.
#[derive(Clone, Default)]
pub struct ScriptedListWatch(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    lists: VecDeque<Answer>,
    watches: VecDeque<Answer>,
    otherwise: Option<Otherwise>,
    asked: Vec<(Instant, Asked)>,
    deadlines: Deadlines,
}

impl std::fmt::Debug for ScriptedListWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedListWatch").field("asked", &self.0.lock().asked).finish_non_exhaustive()
    }
}

impl ScriptedListWatch {
    /// An empty script: every request hangs, up to the default deadlines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the next list that has no answer yet.
    pub fn on_list(&self, answer: Answer) -> &Self {
        self.0.lock().lists.push_back(answer);
        self
    }

    /// Answers the next watch that has no answer yet, streaming lists included.
    pub fn on_watch(&self, answer: Answer) -> &Self {
        self.0.lock().watches.push_back(answer);
        self
    }

    /// Answers whatever the script has no answer for.
    pub fn otherwise(&self, answer: impl FnMut(&Asked) -> Answer + Send + 'static) -> &Self {
        self.0.lock().otherwise = Some(Box::new(answer));
        self
    }

    /// Every request so far, with its time on tokio's clock.
    pub fn asked(&self) -> Vec<(Instant, Asked)> {
        self.0.lock().asked.clone()
    }

    /// Records the request and takes its answer; the lock is not held over a wait.
    #[expect(clippy::disallowed_methods, reason = "a test double: the time of a request is part of what it records")]
    fn take(&self, asked: Asked) -> (Answer, Deadlines) {
        let mut script = self.0.lock();
        script.asked.push((Instant::now(), asked.clone()));
        let answer = match &asked {
            Asked::List(_) => script.lists.pop_front(),
            Asked::Watch(_) => script.watches.pop_front(),
        };
        let answer = answer.or_else(|| script.otherwise.as_mut().map(|otherwise| otherwise(&asked)));
        (answer.unwrap_or(Answer(Kind::Hang)), script.deadlines.clone())
    }
}

async fn play(answer: Answer, bound: Duration, silence: Duration) -> Result<ByteStream, RequestError> {
    let pieces = match answer.0 {
        Kind::Error(error) => return Err(error),
        Kind::Hang => return within(bound, Awaited::Answer, std::future::pending()).await,
        Kind::Body(pieces) => stream::iter(pieces).boxed(),
        Kind::Live(receiver) => {
            stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) })
                .boxed()
        }
    };
    let next = move |pieces: Option<stream::BoxStream<'static, Piece>>| async move {
        let mut pieces = pieces?;
        let piece = async {
            loop {
                return match pieces.next().await {
                    None => Ok(None),
                    Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
                    Some(Piece::Error(error)) => Err(error),
                    Some(Piece::Silence(time)) => {
                        tokio::time::sleep(time).await;
                        continue;
                    }
                };
            }
        };
        match within(silence, Awaited::Data, piece).await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some((Ok(bytes), Some(pieces))),
            Err(error) => Some((Err(error), None)),
        }
    };
    Ok(stream::unfold(Some(pieces), next).boxed())
}

#[async_trait]
impl ListWatch for ScriptedListWatch {
    async fn list(&self, request: &ListRequest) -> Result<ByteStream, RequestError> {
        let (answer, deadlines) = self.take(Asked::List(request.clone()));
        play(answer, deadlines.list_answer, deadlines.list_silence).await
    }

    async fn watch(&self, request: &WatchRequest) -> Result<ByteStream, RequestError> {
        let (answer, deadlines) = self.take(Asked::Watch(request.clone()));
        let timeout = Duration::from_secs(request.timeout_seconds.into());
        let silence = deadlines.watch_silence.min(timeout.saturating_add(deadlines.watch_margin));
        play(answer, deadlines.watch_answer, silence).await
    }
}
