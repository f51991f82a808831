//! Recovery: what happens after something went wrong, as one pure function and one table.
//!
//! In: what happened and in which phase. Out: what to open next and how long to wait before. It never waits, counts or
//! remembers; the reflector does.
//!
//! | phase | what happened | next | wait |
//! | --- | --- | --- | --- |
//! | streaming list | 400, 405, 415, 422 | paged lists from now on | none |
//! | streaming list | silent or ended before its bookmark, after events | paged lists from now on | none |
//! | streaming list | the same before any event, first time / again | streaming list / paged lists from now on | backoff |
//! | streaming list | anything else | streaming list | backoff |
//! | list, a continued page | 410 | one unpaged list | none |
//! | list, a continued page | not JSON, or not a page of the same list | one unpaged list | backoff |
//! | list | 410, 504 too large version, anything else | list | backoff |
//! | watch refused or its ERROR event | 410 | list | none; backoff if the last list is recent |
//! | watch refused or its ERROR event | 504 too large version | list | the same |
//! | watch refused | 401, 403, 404, 429, 503, 5xx of a proxy (502) | watch | backoff |
//! | watch refused | any other code | list | backoff |
//! | its ERROR event | 429, 503 | watch | backoff |
//! | its ERROR event | any other code | list | backoff |
//! | watch | unreachable, cut, no answer | watch | backoff |
//! | watch | not JSON, too large | watch the first time, list again | backoff |
//! | watch | silent, with bookmarks or events before | watch | backoff |
//! | watch | silent from its start | ask for the newest version | backoff |
//! | watch | ended cleanly, something delivered | watch | none |
//! | watch | ended cleanly, nothing delivered, short / long | watch / ask for the newest version | backoff / none |
//! | watch | open beyond its own time | as if it had ended cleanly | the same |
//! | watch | a deletion that can't be decoded | list | backoff |
//! | newest version | it is behind ours (a restore) | list | none; backoff if the last list is recent |
//! | newest version | it is at or after ours | watch | none |
//! | newest version | failed | watch | backoff |
//!
//! Where a paged list is refused as well, the streaming one is tried again after the backoff: a bad selector gets 400 for either kind, and is no
//! sign of a server without streaming lists. So why it reads paged lists is said when the first of them has come.
//!
//! Where the server names a time (`Retry-After`), the wait is at least that, capped at [`RETRY_AFTER_CAP`]. Every list
//! is consistent (no version asked for), so a list never brings an older state than the server's present one.

use std::time::Duration;

use crate::frame::FrameError;
use crate::request_error::{Awaited, RequestError};

/// The longest that a server's `Retry-After` is followed.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(60);

/// What a reflector was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the initial events of a streaming list.
    StreamingList {
        /// At least one event has come.
        any_event: bool,
        /// It already ended without its bookmark once, with no success since.
        missed_before: bool,
    },
    /// Reading a list.
    List {
        /// At a page after the first.
        continued: bool,
    },
    /// Opening a watch, or reading it.
    Watch(WatchPhase),
    /// Asking for the newest version, because a watch has been silent for suspiciously long.
    NewestVersion {
        /// The last list began so recently that another at once could become a loop.
        listed_recently: bool,
    },
}

/// How a watch stood when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchPhase {
    /// The answer had begun: what refuses now is an ERROR event.
    pub open: bool,
    /// It brought at least one event or bookmark that was not a replay.
    pub delivered: bool,
    /// It lasted so short that opening it again at once could become a loop.
    pub short: bool,
    /// The last list began so recently that another at once could become a loop.
    pub listed_recently: bool,
    /// The watch before this one ended in a malformed frame, too.
    pub malformed_before: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A request or its stream failed.
    Failed(RequestError),
    /// The stream ended cleanly: every watch does, but a streaming list must not before its bookmark.
    Ended,
    /// A deletion that can't be decoded, or a change without name or version: only a list can now say what there is.
    UndecodableChange,
    /// The newest version is older than ours: the server has been restored from a backup.
    WentBackwards,
    /// The newest version is not older than ours: the silence was genuine.
    UpToDate,
}

/// What to open next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A watch from the version reached.
    Watch,
    /// A list, streaming or paged as remembered.
    List,
    /// A paged list, now and, once one has come, for the rest of this reflector's life.
    PagedListForGood,
    /// One list without pages, because its pages expire before they are read.
    UnpagedList,
    /// The newest version, to tell silence from a server that has lost our version.
    NewestVersion,
}

/// How long to wait before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all (the reflector's pace still holds).
    None,
    /// The backoff's next delay.
    Backoff,
    /// The backoff's next delay, and at least this.
    BackoffAndAtLeast(Duration),
}

/// The next step of a reflector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What to open.
    pub next: Next,
    /// After which wait.
    pub wait: Wait,
}

impl From<FrameError> for Trouble {
    fn from(error: FrameError) -> Self {
        Self::Failed(RequestError::Malformed(error))
    }
}

/// The decision table of this module.
pub fn next_step(trouble: &Trouble, phase: Phase) -> Step {
    let (next, backs_off) = match phase {
        Phase::StreamingList { any_event, missed_before } => streaming_list(trouble, any_event, missed_before),
        Phase::List { continued } => match trouble {
            Trouble::Failed(RequestError::Refused(refusal)) if continued && refusal.is_expired() => {
                (Next::UnpagedList, false)
            }
            Trouble::Failed(RequestError::Malformed(_)) if continued => (Next::UnpagedList, true),
            _ => (Next::List, true),
        },
        Phase::Watch(watch) => after_watch(trouble, watch),
        Phase::NewestVersion { listed_recently } => match trouble {
            Trouble::WentBackwards => (Next::List, listed_recently),
            Trouble::UpToDate => (Next::Watch, false),
            _ => (Next::Watch, true),
        },
    };
    let asked = match trouble {
        Trouble::Failed(RequestError::Refused(refusal)) => refusal.retry_after,
        _ => None,
    };
    let wait = match (backs_off, asked) {
        (false, _) => Wait::None,
        (true, None) => Wait::Backoff,
        (true, Some(asked)) => Wait::BackoffAndAtLeast(asked.min(RETRY_AFTER_CAP)),
    };
    Step { next, wait }
}

/// The stream was open and neither refused nor broken, but the bookmark that ends a streaming list did not come.
pub(crate) fn misses_bookmark(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Failed(RequestError::TimedOut { waited_for, .. }) => *waited_for != Awaited::Answer,
        Trouble::Ended => true,
        _ => false,
    }
}

/// The list was refused as such, see [`Refusal::is_unsupported`](crate::request_error::Refusal::is_unsupported).
pub(crate) fn is_unsupported(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Failed(RequestError::Refused(refusal)) if refusal.is_unsupported())
}

fn streaming_list(trouble: &Trouble, any_event: bool, missed_before: bool) -> (Next, bool) {
    if is_unsupported(trouble) {
        return (Next::PagedListForGood, false);
    }
    match (misses_bookmark(trouble), any_event) {
        (true, true) => (Next::PagedListForGood, false),
        // A server whose cache is not ready ends the stream at once and cleanly: that says nothing about its abilities.
        (true, false) if missed_before => (Next::PagedListForGood, true),
        _ => (Next::List, true),
    }
}

fn after_watch(trouble: &Trouble, watch: WatchPhase) -> (Next, bool) {
    match trouble {
        Trouble::Failed(RequestError::Refused(refusal)) => {
            if refusal.is_expired() || refusal.is_too_large_version() {
                return (Next::List, watch.listed_recently);
            }
            let resumes = match refusal.code {
                429 | 503 => true,
                401 | 403 | 404 | 502 => !watch.open,
                _ => false,
            };
            (if resumes { Next::Watch } else { Next::List }, true)
        }
        Trouble::Failed(RequestError::Malformed(_)) if watch.malformed_before => (Next::List, true),
        Trouble::Failed(RequestError::TimedOut { waited_for: Awaited::Data, .. }) if !watch.delivered => {
            (Next::NewestVersion, true)
        }
        Trouble::Failed(RequestError::TimedOut { waited_for: Awaited::End, .. }) => after_watch(&Trouble::Ended, watch),
        Trouble::Failed(_) => (Next::Watch, true),
        Trouble::UndecodableChange => (Next::List, true),
        Trouble::Ended if watch.delivered => (Next::Watch, false),
        Trouble::Ended if watch.short => (Next::Watch, true),
        Trouble::Ended => (Next::NewestVersion, false),
        Trouble::WentBackwards | Trouble::UpToDate => (Next::Watch, false),
    }
}
