//! The states that a fault can meet, and what must come of it.
//!
//! Comes in: a state and a fault. Goes out: what becomes of the gate that was open, who leads next, and how soon.

use std::time::Duration;

use crate::fault::Strike;

/// What A is, and which of its requests meets the fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It waits while B leads: a read.
    Candidate,
    /// B is dead, and its Lease has run out: the write that takes it over. C comes at that moment.
    Acquiring,
    /// It leads, and B waits: between two renewals, and then all of them.
    Leading,
    /// The same: one renewal.
    Renewing,
    /// The same, and it gives the Lease back: the write that does.
    Releasing,
}

impl State {
    pub(crate) const ALL: [Self; 5] =
        [Self::Candidate, Self::Acquiring, Self::Leading, Self::Renewing, Self::Releasing];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Acquiring => "acquiring",
            Self::Leading => "leading",
            Self::Renewing => "renewing",
            Self::Releasing => "releasing",
        }
    }
}

/// What becomes of the gate that was open when the fault struck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It stays open.
    Kept,
    /// It closes so soon.
    Closes(Duration),
    /// None was open, or its owner closes it.
    Free,
}

pub(crate) struct Expected {
    pub(crate) fate: Fate,
    /// Whose gate opens next, if it is sure, and how soon; nothing where the old one stays open.
    pub(crate) leads: Option<(Option<&'static str>, Duration)>,
    /// When the leader of then is killed, the other one leads so soon.
    pub(crate) after_a_crash: Duration,
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A look of the slowest candidate: R and the jitter by the slowest clock.
const LOOK: Duration = millis(2_700);
/// L by the slowest clock, a look, and a round: from the last renewal to the next gate (I14).
const FREE: Duration = millis(20_500);
/// A third party's change is met by two waits at worst: who has lost the Lease rests first.
const AFTER_A_CHANGE: Duration = millis(25_500);
/// H2: R by the slowest clock and T.
const SEEN: Duration = millis(5_500);
/// The same where the answer that shows it is under way.
const SEEN_AT_ONCE: Duration = millis(1_500);
/// D by the slowest clock.
const BY_TIME: Duration = millis(11_950);
/// A look after the release.
const HANDED_OVER: Duration = millis(4_500);
/// And a request that timed out before it.
const HANDED_OVER_LATE: Duration = millis(8_000);
/// A claim is tried again after T and a pause.
const CLAIMED_AGAIN: Duration = millis(5_000);

/// The longest wait that a record can impose, by the slowest clock.
fn waited_out(longest: Duration) -> Duration {
    longest.mul_f64(12.0 / 11.0) + LOOK + millis(6_000)
}

pub(crate) fn expected(state: State, strike: &Strike) -> Expected {
    let (fate, leads) = match strike {
        Strike::Once { action: _, commits } => passing(state, strike, *commits),
        Strike::Lasting { action: _, commits } => lasting(state, *commits),
        Strike::Delete => changed(state, true, AFTER_A_CHANGE),
        Strike::Edit { takes_holder, longest, .. } => {
            changed(state, *takes_holder, AFTER_A_CHANGE.max(waited_out(*longest)))
        }
        Strike::Stale(_) => match state {
            State::Candidate | State::Renewing => (Fate::Kept, None),
            State::Acquiring => (Fate::Free, Some((None, AFTER_A_CHANGE))),
            State::Leading => (Fate::Closes(BY_TIME), Some((Some("b"), FREE))),
            State::Releasing => (Fate::Free, Some((Some("b"), FREE))),
        },
    };
    let longest = match strike {
        Strike::Edit { longest, .. } => *longest,
        _ => millis(15_000),
    };
    Expected { fate, leads, after_a_crash: waited_out(longest) }
}

type Outcome = (Fate, Option<(Option<&'static str>, Duration)>);

/// One request fails.
fn passing(state: State, strike: &Strike, commits: bool) -> Outcome {
    let conflicts = matches!(strike, Strike::Once { action, .. } if action.kind() == "conflict");
    match state {
        State::Candidate | State::Leading | State::Renewing => (Fate::Kept, None),
        State::Acquiring => (Fate::Free, Some((Some("a"), CLAIMED_AGAIN))),
        // A conflict says that the Lease isn't A's to give. After a rest it may take up again what is still its own.
        State::Releasing if conflicts => (Fate::Free, Some((None, FREE))),
        State::Releasing if commits => (Fate::Free, Some((Some("b"), HANDED_OVER))),
        State::Releasing => (Fate::Free, Some((Some("b"), HANDED_OVER_LATE))),
    }
}

/// All of A's requests fail.
fn lasting(state: State, commits: bool) -> Outcome {
    match state {
        State::Candidate => (Fate::Kept, None),
        State::Acquiring => (Fate::Free, Some((Some("c"), FREE))),
        // Renewals that A doesn't hear of are renewals.
        State::Leading | State::Renewing if commits => (Fate::Closes(BY_TIME), Some((Some("b"), BY_TIME + FREE))),
        State::Leading | State::Renewing => (Fate::Closes(BY_TIME), Some((Some("b"), FREE))),
        State::Releasing if commits => (Fate::Free, Some((Some("b"), HANDED_OVER))),
        State::Releasing => (Fate::Free, Some((Some("b"), FREE))),
    }
}

/// A third party has changed the Lease.
fn changed(state: State, takes_holder: bool, within: Duration) -> Outcome {
    match state {
        State::Acquiring | State::Releasing => (Fate::Free, Some((None, within))),
        _ if !takes_holder => (Fate::Kept, None),
        State::Renewing => (Fate::Closes(SEEN_AT_ONCE), Some((None, within))),
        State::Candidate | State::Leading => (Fate::Closes(SEEN), Some((None, within))),
    }
}
