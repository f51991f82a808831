//! What a rule does to a request: a closed list, each with what it stands for in the field.
//!
//! Comes in: nothing. Goes out: values and their names. Carries nothing out: `before` and `after` do that around a request,
//! `event` and `bytes` in a body.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens to a request. `after_events` counts the events of one watch, bookmarks included; 0 is before the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Nobody listens: a server that restarts.
    Refuse,
    /// The connection breaks before the request is read: a load balancer that drops it.
    ResetBeforeHeaders,
    /// No answer, ever, and nothing is carried out: a server out of memory.
    HangBeforeHeaders,
    /// Headers, then silence; the request is carried out: a proxy that lost its upstream.
    HangAfterHeaders,
    /// The request arrives later, by `by` and up to `jitter` more: a slow network.
    Delay {
        /// At least so much.
        #[serde(with = "super::duration")]
        by: Duration,
        /// Up to so much more, from the seed.
        #[serde(default, with = "super::duration")]
        jitter: Duration,
    },
    /// Carried out at once, answered later: a slow network on the way back.
    DelayAnswer {
        /// At least so much.
        #[serde(with = "super::duration")]
        by: Duration,
        /// Up to so much more, from the seed.
        #[serde(default, with = "super::duration")]
        jitter: Duration,
    },
    /// A body at so many bytes a second: a thin line.
    Bandwidth {
        /// At least 1.
        bytes_per_second: u64,
    },
    /// The connection breaks after so many bytes of the body, wherever that is: in an event, in a character.
    Truncate {
        /// This many arrive.
        after_bytes: u64,
    },
    /// Each byte of the body arrives alone: TCP may do that.
    SplitBytes,
    /// What comes within `within` of a body's piece, and before the body's end, arrives with it as one: TCP, proxies that
    /// collect.
    Merge {
        /// How long pieces are collected.
        #[serde(with = "super::duration")]
        within: Duration,
    },
    /// A line that is neither JSON nor UTF-8; where it is no watch, a body of it: a broken proxy.
    Garbage {
        /// In a watch, after so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// An event of a type nobody has heard of: a newer server.
    UnknownEventType {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// An object of another kind among the events, or instead of the answer: a wrong route behind a proxy.
    OtherKind {
        /// In a watch, after so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// An object, or a list, without a resourceVersion: an aggregated server that keeps none.
    MissingVersion {
        /// In a watch, after so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// A proxy's page of HTML: 502 or 503.
    Html {
        /// 500 to 599.
        code: u16,
    },
    /// 200 and no body: a proxy that lost it. The request isn't carried out.
    EmptyBody,
    /// The right body under another `Content-Type`: a proxy that knows better.
    ContentType {
        /// The header's value.
        value: String,
    },
    /// The answer says `Connection: close`, and behind a listener the connection ends after it: a server that sheds
    /// connections.
    CloseConnection,
    /// An error instead of an answer, before anything is carried out: 429 of flow control, 410, 401 of a token that runs
    /// out, 500, 503 of a server that goes down.
    Answer(Refusal),

    /// An ERROR event, then the end: 410 of a compacted version, 500, 504, 429.
    ErrorEvent {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
        /// What it says; without `code`, a Status that names none.
        status: Refusal,
    },
    /// Each event comes so much after the one before: a slow dispatcher.
    SlowEvents {
        /// The pause before each event.
        #[serde(with = "super::duration")]
        by: Duration,
    },
    /// Silence on an open connection: a dead peer, a stopped process.
    Stall {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// A clean end: a cache that starts anew, a watcher that was too slow.
    End {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// No bookmarks but the end mark of initial events: a server that doesn't send them.
    DropBookmarks,
    /// The end mark of initial events comes so much later, and what follows it too: a cache that waits for its storage.
    /// Without `by` it never comes, and what follows does.
    HoldInitialEnd {
        /// How much later; left out: never.
        #[serde(default, with = "super::duration::optional")]
        by: Option<Duration>,
    },
    /// The end mark of initial events comes as a plain bookmark: a proxy that drops annotations.
    BareInitialEnd,
    /// `sendInitialEvents` is not heard: a server from before streaming lists.
    IgnoreInitialEvents,
    /// 422 to `sendInitialEvents`: a server with the feature switched off.
    RejectInitialEvents,
    /// What a correct server never does. For tests of what is noticed.
    Illegal(Illegal),

    /// 410 to a page asked for by token: the version was compacted.
    ExpireContinue {
        /// Whether the answer has a token to go on with.
        #[serde(default)]
        with_token: bool,
    },
    /// 504 to a list: the version isn't there yet.
    VersionTooLarge,
    /// `limit` is not heard, and the list comes whole: a cache that answers.
    IgnoreLimit,
    /// The last page of a list has a token all the same, and the page behind that is empty: a server that looks whether there
    /// are more keys, not whether they match.
    EmptyLastPage,
    /// The connection breaks after so many items of a list.
    PartialPage {
        /// This many arrive.
        after_items: u64,
    },

    /// 409 though nothing has changed: somebody else was faster.
    Conflict,
    /// Carried out, but answered with an error: storage that answered too late. 500 or 504.
    LoseAnswer {
        /// 500 to 599.
        code: u16,
    },
    /// Carried out, then the connection breaks.
    ResetAfterCommit,
    /// The connection breaks, and nothing is carried out.
    ResetBeforeCommit,
    /// An admission webhook says no: 403, or 422.
    Deny {
        /// 400 to 499.
        code: u16,
        /// What the webhook says.
        #[serde(default)]
        message: String,
    },
    /// A slow admission webhook: time runs, and a request whose `timeout` is over is answered 504 and not carried out.
    DelayBeforeCommit {
        /// At least so much.
        #[serde(with = "super::duration")]
        by: Duration,
        /// Up to so much more, from the seed.
        #[serde(default, with = "super::duration")]
        jitter: Duration,
    },

    /// The request arrives so much later, even if its client has given up by then: a packet that a network held back. The
    /// next request of anyone after that time finds it carried out.
    Straggle {
        /// At least so much.
        #[serde(with = "super::duration")]
        by: Duration,
        /// Up to so much more, from the seed.
        #[serde(default, with = "super::duration")]
        jitter: Duration,
    },

    /// History is compacted to the present, then the request goes on.
    Compact,
    /// All running watches end, then the request goes on: a new definition of a kind, a cache that starts anew.
    CloseWatches,

    /// The way to the server is cut: new requests hang and are never carried out. Running watches fall silent until the
    /// rule is over, and then go on, as TCP sends again.
    RequestsLost,
    /// The way back is cut: new requests are carried out, then hang. Running watches as above.
    ResponsesLost,
}

/// An error as an API server says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Refusal {
    /// The HTTP status, from 400 to 599.
    pub code: Option<u16>,
    /// Left out: upstream's for the code.
    pub reason: Option<String>,
    /// Left out: upstream's for the code.
    pub message: Option<String>,
    /// The header `Retry-After`, and the same in the Status.
    pub retry_after_seconds: Option<u32>,
    /// Plain text rather than a Status.
    pub text: bool,
}

impl Refusal {
    /// Upstream's error of this code.
    pub fn of(code: u16) -> Self {
        Self { code: Some(code), ..Self::default() }
    }
}

/// What a correct server never does to the events of a watch, once in each stream, to the first event after
/// `after_events` that is no bookmark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Illegal {
    /// It comes twice.
    Duplicate {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// It never comes.
    Drop {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// It comes after the one that follows it.
    Reorder {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// Its object says version 1.
    StaleVersion {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
    },
    /// It says MODIFIED, whatever it is: of an object nobody has heard of, or of one that is gone.
    WrongType {
        /// After so many events.
        #[serde(default)]
        after_events: u64,
    },
}

impl Action {
    /// The name of the action in scripts, logs and counts; of an illegal one, `illegal.` and its name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::ResetBeforeHeaders => "resetBeforeHeaders",
            Self::HangBeforeHeaders => "hangBeforeHeaders",
            Self::HangAfterHeaders => "hangAfterHeaders",
            Self::Delay { .. } => "delay",
            Self::DelayAnswer { .. } => "delayAnswer",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Truncate { .. } => "truncate",
            Self::SplitBytes => "splitBytes",
            Self::Merge { .. } => "merge",
            Self::Garbage { .. } => "garbage",
            Self::UnknownEventType { .. } => "unknownEventType",
            Self::OtherKind { .. } => "otherKind",
            Self::MissingVersion { .. } => "missingVersion",
            Self::Html { .. } => "html",
            Self::EmptyBody => "emptyBody",
            Self::ContentType { .. } => "contentType",
            Self::CloseConnection => "closeConnection",
            Self::Answer(_) => "answer",
            Self::ErrorEvent { .. } => "errorEvent",
            Self::SlowEvents { .. } => "slowEvents",
            Self::Stall { .. } => "stall",
            Self::End { .. } => "end",
            Self::DropBookmarks => "dropBookmarks",
            Self::HoldInitialEnd { .. } => "holdInitialEnd",
            Self::BareInitialEnd => "bareInitialEnd",
            Self::IgnoreInitialEvents => "ignoreInitialEvents",
            Self::RejectInitialEvents => "rejectInitialEvents",
            Self::Illegal(Illegal::Duplicate { .. }) => "illegal.duplicate",
            Self::Illegal(Illegal::Drop { .. }) => "illegal.drop",
            Self::Illegal(Illegal::Reorder { .. }) => "illegal.reorder",
            Self::Illegal(Illegal::StaleVersion { .. }) => "illegal.staleVersion",
            Self::Illegal(Illegal::WrongType { .. }) => "illegal.wrongType",
            Self::ExpireContinue { .. } => "expireContinue",
            Self::VersionTooLarge => "versionTooLarge",
            Self::IgnoreLimit => "ignoreLimit",
            Self::EmptyLastPage => "emptyLastPage",
            Self::PartialPage { .. } => "partialPage",
            Self::Conflict => "conflict",
            Self::LoseAnswer { .. } => "loseAnswer",
            Self::ResetAfterCommit => "resetAfterCommit",
            Self::ResetBeforeCommit => "resetBeforeCommit",
            Self::Deny { .. } => "deny",
            Self::DelayBeforeCommit { .. } => "delayBeforeCommit",
            Self::Straggle { .. } => "straggle",
            Self::Compact => "compact",
            Self::CloseWatches => "closeWatches",
            Self::RequestsLost => "requestsLost",
            Self::ResponsesLost => "responsesLost",
        }
    }

    /// Whether a correct server never does it.
    pub fn is_illegal(&self) -> bool {
        matches!(self, Self::Illegal(_))
    }
}
