//! The cells that can't exist.
//!
//! Comes in: a fault and a state. Goes out: why it isn't played.

use crate::state::State;

const EXCLUDED: [(&str, State, &str); 3] = [
    ("answer lost after commit", State::Candidate, "a read commits nothing"),
    ("409", State::Candidate, "a read can't conflict"),
    ("stale read", State::Releasing, "a release reads nothing"),
];

/// Why there is no such cell.
pub(crate) fn excluded(fault: &str, state: State) -> Option<&'static str> {
    EXCLUDED.iter().find(|(name, at, _)| *name == fault && *at == state).map(|(_, _, reason)| *reason)
}
