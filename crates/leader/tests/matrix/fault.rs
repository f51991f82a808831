//! The faults: how each is brought about, and what the elector says of it.
//!
//! Comes in: a state. Goes out: the variants of a fault in it. What can't be brought about there is excluded in `excluded`.

use std::time::Duration;

use serde_json::{Value, json};
use watchkeeper_apiserver::fault::{Action, Refusal};

use crate::state::State;

/// An answer after the renew deadline.
const LATE: Duration = Duration::from_secs(12);

/// A fault of the matrix.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) variants: fn(State) -> Vec<Variant>,
}

/// One way in which a fault shows.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) strike: Strike,
    /// A part of a line in the log; empty: nothing need be said.
    pub(crate) tells: &'static str,
}

/// What happens.
#[derive(Clone)]
pub(crate) enum Strike {
    /// A's next request meets this.
    Once { action: Action, commits: bool },
    /// All of A's requests meet this, until it is healed.
    Lasting { action: Action, commits: bool },
    /// A third party deletes the Lease.
    Delete,
    /// A third party changes the Lease.
    Edit { patch: Value, takes_holder: bool, longest: Duration },
    /// A third party changes a label, and A's reads show what was so long ago.
    Stale(Duration),
}

pub(crate) const FAULTS: [Fault; 14] = [
    Fault { name: "connection refused", variants: |state| same(state, &Action::Refuse, "connection refused") },
    Fault { name: "reset", variants: |state| same(state, &Action::ResetBeforeHeaders, "connection reset") },
    Fault {
        name: "hang before headers",
        variants: |state| same(state, &Action::HangBeforeHeaders, "no answer within 3s"),
    },
    Fault {
        name: "answer after D",
        variants: |state| {
            let late = Action::DelayAnswer { by: LATE, jitter: Duration::ZERO };
            rules(state, (&late, &late), true, "", "no answer within 3s")
        },
    },
    Fault {
        name: "answer lost after commit",
        variants: |state| {
            let (once, lasting) = (Action::ResetAfterCommit, Action::ResponsesLost);
            rules(state, (&once, &lasting), true, "", "no usable answer")
        },
    },
    Fault { name: "409", variants: |state| same(state, &Action::Conflict, "") },
    Fault {
        name: "429",
        variants: |state| {
            let patient = Action::Answer(Refusal { retry_after_seconds: Some(7), ..Refusal::of(429) });
            let mut variants = same(state, &Action::Answer(Refusal::of(429)), "refused the request to the Lease: 429");
            variants.extend(rules(state, (&patient, &patient), false, " with Retry-After", "Lease: 429"));
            variants
        },
    },
    Fault { name: "500", variants: |state| same(state, &Action::Answer(Refusal::of(500)), "about the Lease: 500") },
    Fault { name: "503", variants: |state| same(state, &Action::Answer(Refusal::of(503)), "about the Lease: 503") },
    Fault {
        name: "401",
        variants: |state| same(state, &Action::Answer(Refusal::of(401)), "401: the credentials were not accepted"),
    },
    Fault {
        name: "403",
        variants: |state| same(state, &Action::Answer(Refusal::of(403)), "verbs [get, create, update]"),
    },
    Fault { name: "Lease deleted", variants: |_| vec![Variant { name: "", strike: Strike::Delete, tells: "" }] },
    Fault { name: "Lease edited by a third party", variants: |_| edits() },
    Fault {
        name: "stale read",
        variants: |state| {
            let seconds = |name, seconds| {
                let strike = Strike::Stale(Duration::from_secs(seconds));
                Variant { name, strike, tells: "" }
            };
            match state {
                // What lasts longer than D can't be told from no answer at all.
                State::Renewing => vec![seconds("5 s ago", 5)],
                State::Leading => vec![seconds("30 s ago", 30)],
                _ => vec![seconds("5 s ago", 5), seconds("30 s ago", 30)],
            }
        },
    },
];

/// Nothing is carried out.
fn same(state: State, action: &Action, tells: &'static str) -> Vec<Variant> {
    rules(state, (action, action), false, "", tells)
}

/// A leader between two renewals meets what lasts, one that renews what passes; the others meet both.
fn rules(
    state: State,
    (once, lasting): (&Action, &Action),
    commits: bool,
    how: &'static str,
    tells: &'static str,
) -> Vec<Variant> {
    let once = Strike::Once { action: once.clone(), commits };
    let lasting = Strike::Lasting { action: lasting.clone(), commits };
    let named = |strike: &Strike| match (strike, how.is_empty()) {
        (Strike::Once { .. }, true) => "once",
        (Strike::Once { .. }, false) => "once with Retry-After",
        (_, true) => "lasting",
        (_, false) => "lasting with Retry-After",
    };
    let strikes = match state {
        State::Leading => vec![lasting],
        State::Renewing => vec![once],
        State::Candidate | State::Acquiring | State::Releasing => vec![once, lasting],
    };
    strikes.into_iter().map(|strike| Variant { name: named(&strike), strike, tells }).collect()
}

fn edits() -> Vec<Variant> {
    let edit = |name, patch, takes_holder, longest| Variant {
        name,
        strike: Strike::Edit { patch, takes_holder, longest: Duration::from_secs(longest) },
        tells: "",
    };
    vec![
        edit("a label", json!({ "metadata": { "labels": { "more": "1" } } }), false, 15),
        edit("another holder", json!({ "spec": { "holderIdentity": "somebody-else" } }), true, 15),
        edit("no holder", json!({ "spec": { "holderIdentity": "" } }), true, 15),
        edit("duration 1 s", json!({ "spec": { "leaseDurationSeconds": 1 } }), false, 15),
        edit("duration 10^6 s", json!({ "spec": { "leaseDurationSeconds": 1_000_000 } }), false, 600),
        edit("renewed in the future", json!({ "spec": { "renewTime": "2099-01-01T00:00:00.000000Z" } }), false, 15),
    ]
}
