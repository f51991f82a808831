//! The way between the informer and the server: counts what is open, and does what no server can do to an answer.
//!
//! Comes in: the informer's requests. Goes out: the server's answers, as they are or tampered with. Every request reaches
//! the server, so the server's log has them all.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tower::Service as _;
use watchkeeper_apiserver::service::BoxError;
use watchkeeper_apiserver::{Body, Service};

use crate::heap::Heap;

/// A bookmark ahead of the data is so far ahead.
const AHEAD: u64 = 1000;

type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// What is done to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tamper {
    /// The connection breaks at the piece after the first.
    Break,
    /// A piece ends after so many bytes, and the body with it, cleanly. So many pieces pass first.
    CleanEnd { pieces: u64, bytes: usize },
    /// A page of HTML comes between the first event and the next.
    HtmlBetween,
    /// Bookmarks are ahead of the data.
    BookmarksAhead,
    /// Bookmarks have no version.
    BookmarksBare,
    /// The answer is a redirect to somewhere else.
    Redirect,
    /// The answer is a page of HTML, with 200.
    Html,
}

/// Whose answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Lists,
    ContinuedLists,
    Watches,
}

impl Whose {
    fn are(self, query: &str) -> bool {
        let watch = query.contains("watch=true");
        match self {
            Self::Lists => !watch,
            Self::ContinuedLists => !watch && query.contains("continue="),
            Self::Watches => watch,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Wire {
    service: Service,
    state: Arc<Mutex<State>>,
    /// Whoever reads a body hears here that its connection is cut.
    cuts: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    tamper: Option<(Tamper, Whose)>,
    fired: u64,
    open: usize,
}

/// A request under way, or its body.
struct Open(Arc<Mutex<State>>);

impl Open {
    fn new(state: &Arc<Mutex<State>>) -> Self {
        state.lock().open += 1;
        Self(state.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
    }
}

impl Wire {
    pub(crate) fn new(service: Service) -> Self {
        Self { service, state: Arc::default(), cuts: Arc::new(watch::Sender::new(0)) }
    }

    pub(crate) fn client(&self) -> kube_client::Client {
        let wire = self.clone();
        let service = tower::service_fn(move |request| wire.clone().carry(request));
        kube_client::Client::new(service, "default")
    }

    pub(crate) fn tamper(&self, how: Option<(Tamper, Whose)>) {
        self.state.lock().tamper = how;
    }

    /// How many answers were tampered with.
    pub(crate) fn fired(&self) -> u64 {
        self.state.lock().fired
    }

    /// Requests and bodies that are still there.
    pub(crate) fn open(&self) -> usize {
        self.state.lock().open
    }

    /// Breaks every body that is open, as a network that is mended has cut its connections.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    async fn carry(mut self, request: Request<kube_client::client::Body>) -> Result<Response<Answer>, BoxError> {
        let open = Open::new(&self.state);
        let query = request.uri().query().unwrap_or_default().to_owned();
        let answer = self.service.call(request).await?;
        if let Some(other) = self.instead(&query) {
            return Ok(other);
        }
        let cut = self.cuts.subscribe();
        let (parts, body) = answer.into_parts();
        let passage = Passage { wire: self, query, body, cut, pieces: 0, spoilt: false, _open: open };
        let pieces = stream::unfold(Some(passage), |passage| async { passage?.next().await });
        Ok(Response::from_parts(parts, StreamBody::new(pieces).boxed_unsync()))
    }

    /// An answer that takes the place of the server's.
    fn instead(&self, query: &str) -> Option<Response<Answer>> {
        let mut state = self.state.lock();
        let (tamper, _) = state.tamper.filter(|(_, whose)| whose.are(query))?;
        let (code, body) = match tamper {
            Tamper::Redirect => (302, ""),
            Tamper::Html => (200, HTML),
            _ => return None,
        };
        state.fired += 1;
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let answer = Response::builder().status(code).header("location", "/login").header("content-type", "text/html");
        Some(answer.body(body).expect("a sound answer"))
    }
}

const HTML: &str = "<html><body>Please log in.</body></html>\n";

/// One body on its way.
struct Passage {
    wire: Wire,
    query: String,
    body: Body,
    cut: watch::Receiver<u64>,
    pieces: u64,
    spoilt: bool,
    _open: Open,
}

type Passed = (Result<Frame<Bytes>, BoxError>, Option<Passage>);

impl Passage {
    async fn next(mut self) -> Option<Passed> {
        let frame = tokio::select! {
            biased;
            _ = self.cut.changed() => return Some((Err(broken()), None)),
            frame = self.body.frame() => {
                Heap::look();
                frame?
            }
        };
        let piece = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return Some((Err(error.into()), None)),
        };
        let tamper = self.wire.state.lock().tamper.filter(|(_, whose)| whose.are(&self.query));
        let pieces = self.pieces;
        self.pieces += 1;
        let changed = match tamper.map(|(tamper, _)| tamper) {
            Some(Tamper::Break) if pieces > 0 => {
                self.fire();
                return Some((Err(broken()), None));
            }
            Some(Tamper::CleanEnd { pieces: first, bytes }) if pieces >= first && piece.len() > bytes => {
                self.fire();
                return Some((Ok(Frame::data(piece.slice(..bytes))), None));
            }
            Some(Tamper::HtmlBetween) if pieces > 0 && !self.spoilt => {
                self.spoilt = true;
                Some([HTML.as_bytes(), &piece[..]].concat().into())
            }
            Some(Tamper::BookmarksAhead) => bookmarks(&piece, |version| Some(version + AHEAD)),
            Some(Tamper::BookmarksBare) => bookmarks(&piece, |_| None),
            _ => None,
        };
        if changed.is_some() {
            self.fire();
        }
        Some((Ok(Frame::data(changed.unwrap_or(piece))), Some(self)))
    }

    fn fire(&self) {
        self.wire.state.lock().fired += 1;
    }
}

fn broken() -> BoxError {
    std::io::Error::from(ErrorKind::ConnectionReset).into()
}

/// The events with other versions in their bookmarks. `None`: there is no bookmark among them.
fn bookmarks(events: &Bytes, version: impl Fn(u64) -> Option<u64>) -> Option<Bytes> {
    let (mut changed, mut any) = (Vec::new(), false);
    for line in events.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(br#"{"type":"BOOKMARK""#) {
            changed.extend_from_slice(line);
            continue;
        }
        let mut event: Value = serde_json::from_slice(line).expect("the server's bookmarks are JSON");
        let metadata = event["object"]["metadata"].as_object_mut().expect("a bookmark has metadata");
        let number = metadata["resourceVersion"].as_str().and_then(|version| version.parse().ok());
        match version(number.expect("this server's versions are numbers")) {
            Some(version) => _ = metadata.insert("resourceVersion".to_owned(), version.to_string().into()),
            None => _ = metadata.remove("resourceVersion"),
        }
        changed.extend_from_slice(format!("{event}\n").as_bytes());
        any = true;
    }
    any.then(|| changed.into())
}
