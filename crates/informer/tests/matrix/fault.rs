//! The faults: how each is brought about in each place, what the informer says of it, what it may ask while it lasts.
//!
//! Comes in: a place. Goes out: steps, one after the other. What can't be brought about there is excluded in `excluded`.

use std::time::Duration;

use watchkeeper_apiserver::fault::{Action, Illegal, Refusal};
use watchkeeper_informer::reflector::Counts;

use crate::phase::Place;
use crate::wire::Tamper;

/// A fault of the matrix.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) steps: fn(Place) -> Vec<Step>,
    /// Where the informer is told to stop while the fault is active.
    pub(crate) at_shutdown: Place,
    pub(crate) heals: Heals,
    /// Classes of errors that may be told besides, while it heals.
    pub(crate) also: &'static [&'static str],
    /// From its end, the cache is right again within this time.
    pub(crate) within: Duration,
}

/// One thing that goes wrong, for as long as a step lasts.
pub(crate) struct Step {
    pub(crate) inject: Inject,
    pub(crate) tells: Tells,
    pub(crate) row: Row,
}

pub(crate) enum Inject {
    /// A rule of the server, for all requests of the place.
    Rule(Action),
    /// The way between tampers with the answers of the place.
    Wire(Tamper),
    /// An object whose fields don't fit its type, until it is mended.
    Undecodable,
    /// An object beyond the limit, until it is mended.
    Oversize,
    /// The storage is restored to an older state under lower versions.
    Restore,
}

/// How the informer says so.
#[derive(Clone, Copy)]
pub(crate) enum Tells {
    /// `failing` has this class.
    Class(&'static str),
    /// No error: a count does, from the step's begin to now.
    Counts(&'static str, fn(&Counts, &Counts) -> bool),
    /// The object is in quarantine, and all others are there.
    Quarantine,
    /// Nothing went wrong that it could see.
    Nothing,
}

/// Rows of the table of requests in `reflector`: requests in any minute, at most.
#[derive(Clone, Copy)]
pub(crate) enum Row {
    /// Nothing is asked but what the phase itself asks.
    Quiet,
    /// Failing in any way.
    Failing,
    /// The same, where the server asks to stay away for so many seconds.
    StayAway(u32),
    /// A list succeeds and its watch then fails.
    ListThenWatch,
    /// Changes come behind the version reached.
    Audited,
}

/// A list, its watch, and another watch: what a phase itself asks.
const OF_THE_PHASE: usize = 3;
/// Twice, and once more at the edge of a minute: an audit, and where that proves a loss a list and its watch.
const AUDITED: usize = 7;
/// Failures in the first minute of the backoff, at the shortest: after 0, 0.8, 2.4, 5.6, 12, 24.8 and 50.4 s.
const CLIMB: usize = 7;
/// Failures after which the backoff is at its cap: the delays before are 0.8, 1.6, 3.2, 6.4, 12.8 and 25.6 s and some more.
pub(crate) const CLIMBED: u64 = 7;

impl Row {
    /// While the backoff climbs.
    pub(crate) fn climbing(self) -> usize {
        match self {
            Self::Quiet => OF_THE_PHASE,
            Self::Failing => CLIMB,
            Self::StayAway(seconds) => 60_usize.div_ceil(seconds as usize),
            Self::ListThenWatch => 2 * CLIMB,
            Self::Audited => AUDITED,
        }
    }

    /// Once at the cap.
    pub(crate) fn at_cap(self) -> usize {
        match self {
            Self::Quiet => 1,
            Self::Failing | Self::StayAway(_) => 2,
            Self::ListThenWatch => 4,
            Self::Audited => AUDITED,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heals {
    Alone,
    /// What creeps over the wire goes on creeping: it is cut, and that is told.
    WhenCut,
    /// Nothing tells the informer of what it has missed but a list.
    ByRelist,
}

const SECOND: Duration = Duration::from_secs(1);
/// A backoff at its cap.
const CAP: u32 = 45;
/// A backoff, a list or watch, and again where the other fails as well.
const SOON: Duration = Duration::from_secs(2 * CAP as u64);
/// A request without headers ends by its deadline before that.
const AFTER_ANSWER: Duration = Duration::from_secs(60 + 2 * CAP as u64);
/// A silent watch ends by its deadline, and the newest version is asked for.
const AFTER_SILENCE: Duration = Duration::from_secs(180 + 2 * CAP as u64);
/// A watch ends by its timeout, and the one after it is silent.
const AFTER_TIMEOUT: Duration = Duration::from_secs(600 + 180 + 2 * CAP as u64);

fn rule(action: Action, class: &'static str, row: Row) -> Step {
    Step { inject: Inject::Rule(action), tells: Tells::Class(class), row }
}

fn wire(tamper: Tamper, class: &'static str, row: Row) -> Step {
    Step { inject: Inject::Wire(tamper), tells: Tells::Class(class), row }
}

/// A refusal: the answer, or an ERROR event in a watch that runs. After some the watch is opened again, after others a list
/// comes first.
fn refusal(place: Place, refusal: Refusal, class: &'static str) -> Step {
    let resumes = match refusal.code {
        Some(429 | 503) => true,
        Some(401 | 403 | 404) => place == Place::Opening,
        _ => false,
    };
    let row = match refusal.retry_after_seconds {
        Some(seconds) => Row::StayAway(seconds),
        None if place.is_early() || resumes => Row::Failing,
        None => Row::ListThenWatch,
    };
    let action = match place {
        Place::Running => Action::ErrorEvent { after_events: 2, status: refusal },
        _ => Action::Answer(refusal),
    };
    rule(action, class, row)
}

fn code(place: Place, code: u16, class: &'static str) -> Step {
    refusal(place, Refusal::of(code), class)
}

/// Events in a watch that pass before something happens to the next.
fn first(place: Place) -> u64 {
    u64::from(place == Place::Running)
}

const STALE: Tells = Tells::Counts("stale_dropped", |begun, now| now.stale_dropped > begun.stale_dropped);

fn illegal(illegal: Illegal, tells: Tells) -> Vec<Step> {
    vec![Step { inject: Inject::Rule(Action::Illegal(illegal)), tells, row: Row::Quiet }]
}

pub(crate) const FAULTS: [Fault; 24] = [
    Fault {
        name: "connect refused",
        steps: |_| vec![rule(Action::Refuse, "unreachable", Row::Failing)],
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "reset",
        steps: |place| match place {
            Place::Running => vec![wire(Tamper::Break, "cut", Row::Failing)],
            _ => vec![rule(Action::ResetBeforeHeaders, "unreachable", Row::Failing)],
        },
        at_shutdown: Place::Running,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "hang before headers",
        steps: |_| vec![rule(Action::HangBeforeHeaders, "timed_out", Row::Failing)],
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &[],
        within: AFTER_ANSWER,
    },
    Fault {
        name: "hang in body",
        steps: |place| match place {
            Place::Running => vec![rule(Action::Stall { after_events: 2 }, "timed_out", Row::Failing)],
            _ => vec![rule(Action::HangAfterHeaders, "timed_out", Row::Failing)],
        },
        at_shutdown: Place::List,
        heals: Heals::Alone,
        also: &[],
        within: AFTER_SILENCE,
    },
    Fault {
        name: "slow 1 B/s",
        // A line that is slow but alive is no error.
        steps: |_| {
            let inject = Inject::Rule(Action::Bandwidth { bytes_per_second: 1 });
            vec![Step { inject, tells: Tells::Nothing, row: Row::Quiet }]
        },
        at_shutdown: Place::List,
        heals: Heals::WhenCut,
        also: &["cut"],
        within: SOON,
    },
    Fault {
        name: "cut at a byte",
        steps: |place| {
            let after_bytes = if place == Place::Running { 500 } else { 40 };
            vec![rule(Action::Truncate { after_bytes }, "cut", Row::Failing)]
        },
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "truncated line",
        steps: |place| {
            let tamper = Tamper::CleanEnd { pieces: first(place), bytes: 40 };
            vec![wire(tamper, "malformed", if place.is_early() { Row::Failing } else { Row::ListThenWatch })]
        },
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "duplicate events",
        steps: |place| {
            let tells = if place == Place::Initial { Tells::Nothing } else { STALE };
            illegal(Illegal::Duplicate { after_events: first(place) }, tells)
        },
        at_shutdown: Place::Running,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "reordered",
        steps: |place| {
            let tells = if place == Place::Initial { Tells::Nothing } else { STALE };
            let mut steps = illegal(Illegal::Reorder { after_events: first(place) }, tells);
            steps.iter_mut().for_each(|step| step.row = Row::Audited);
            steps
        },
        at_shutdown: Place::Running,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "lost event",
        steps: |place| illegal(Illegal::Drop { after_events: first(place) }, Tells::Nothing),
        at_shutdown: Place::Running,
        heals: Heals::ByRelist,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "410 event",
        steps: |place| {
            let after_events = 2 * first(place);
            let action = Action::ErrorEvent { after_events, status: Refusal::of(410) };
            vec![rule(action, "expired", if place.is_early() { Row::Failing } else { Row::ListThenWatch })]
        },
        at_shutdown: Place::Running,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "410 status",
        steps: |place| vec![code(place, 410, "expired")],
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "410 on continue",
        steps: |_| {
            // Two pages, the refused one, and the list without pages: no wait, so nothing fails.
            let tells = Tells::Counts("lists", |_, now| now.lists == 4 && now.backoffs == 0);
            let inject = Inject::Rule(Action::ExpireContinue { with_token: true });
            vec![Step { inject, tells, row: Row::Quiet }]
        },
        at_shutdown: Place::Page,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "504 too-large version",
        steps: |place| {
            let message = Some("Timeout: Too large resource version: 9000000, current: 7".to_owned());
            match place {
                Place::List | Place::Page => vec![rule(Action::VersionTooLarge, "too_large_version", Row::Failing)],
                _ => vec![refusal(place, Refusal { message, ..Refusal::of(504) }, "too_large_version")],
            }
        },
        at_shutdown: Place::List,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "429 with and without Retry-After",
        steps: |place| {
            let with = Refusal { retry_after_seconds: Some(20), ..Refusal::of(429) };
            [with, Refusal::of(429)].map(|status| refusal(place, status, "too_many_requests")).into()
        },
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "500",
        steps: |place| vec![code(place, 500, "server_error")],
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "503",
        steps: |place| vec![code(place, 503, "unavailable")],
        at_shutdown: Place::Initial,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "401",
        steps: |place| vec![code(place, 401, "unauthorized")],
        at_shutdown: Place::List,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "403 and 404",
        steps: |place| vec![code(place, 403, "forbidden"), code(place, 404, "not_found")],
        at_shutdown: Place::Initial,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "undecodable",
        steps: |_| vec![Step { inject: Inject::Undecodable, tells: Tells::Quarantine, row: Row::Quiet }],
        at_shutdown: Place::Running,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "oversize",
        steps: |place| {
            let row = if place.is_early() { Row::Failing } else { Row::ListThenWatch };
            vec![Step { inject: Inject::Oversize, tells: Tells::Class("malformed"), row }]
        },
        at_shutdown: Place::Running,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
    Fault {
        name: "version reset",
        steps: |place| {
            let class = match place {
                // Its continue token is of the future.
                Place::Page => "too_large_version",
                // It is ended before its bookmark.
                Place::Initial => "short_watch",
                // Its watch is silent from its start, which is not believed.
                _ => "timed_out",
            };
            vec![Step { inject: Inject::Restore, tells: Tells::Class(class), row: Row::Failing }]
        },
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &["short_watch"],
        within: AFTER_SILENCE,
    },
    Fault {
        name: "bookmark wrong",
        steps: |place| {
            let bare_row = if place.is_early() { Row::Failing } else { Row::ListThenWatch };
            let ahead = Step { inject: Inject::Wire(Tamper::BookmarksAhead), tells: STALE, row: Row::Audited };
            vec![wire(Tamper::BookmarksBare, "malformed", bare_row), ahead]
        },
        at_shutdown: Place::Running,
        heals: Heals::Alone,
        also: &["timed_out"],
        within: AFTER_TIMEOUT,
    },
    Fault {
        name: "redirect or HTML body",
        steps: |place| match place {
            Place::Running => vec![wire(Tamper::HtmlBetween, "malformed", Row::ListThenWatch)],
            _ => {
                let row = if place.is_early() { Row::Failing } else { Row::ListThenWatch };
                // A page that isn't one is followed by a list without pages, and that by its watch.
                let html_row = if place == Place::Page { Row::ListThenWatch } else { row };
                vec![wire(Tamper::Redirect, "refused", row), wire(Tamper::Html, "malformed", html_row)]
            }
        },
        at_shutdown: Place::Opening,
        heals: Heals::Alone,
        also: &[],
        within: SOON,
    },
];

/// How long a step lasts.
pub(crate) const LASTS: Duration = SECOND.saturating_mul(200);

impl std::fmt::Display for Tells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Class(class) => write!(f, "{class}"),
            Self::Counts(count, _) => write!(f, "by its count of {count}"),
            Self::Quarantine => write!(f, "of one object in quarantine and all others cached"),
            Self::Nothing => write!(f, "anything"),
        }
    }
}
