//! Where a candidate stands: what is fixed about it, and how it stands in the election for now.
//!
//! In: the configuration. Out: the claim that it would write.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::identity::Identity;
use crate::record::Claim;
use crate::rules::Rules;
use crate::timings::Timings;

/// How a candidate stands in the election. None of it bears on safety: a stance only makes a candidate wait longer, or ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stance {
    /// Takes the Lease as soon as it may.
    #[default]
    Stand,
    /// As [`Stance::Stand`], and asks a holder to hand over, once a term (upstream's coordinated election has `preferredHolder` for that).
    Prefer,
    /// Leaves the Lease to others first, one lease duration longer than it must, or two looks after a release: the next best.
    Reserve,
    /// Claims nothing. It still looks.
    Aside,
}

/// The fixed part of a candidate.
#[derive(Clone, Debug)]
pub(crate) struct Standpoint {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) timings: Timings,
    pub(crate) first_install: bool,
    pub(crate) labels: BTreeMap<String, String>,
    /// The server names who claims.
    pub(crate) coordinated: bool,
    pub(crate) rules: Rules,
}

impl Standpoint {
    /// The default timings without jitter, and names.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            namespace: "ns".to_owned(),
            name: "n".to_owned(),
            identity: Identity::from_parts("me", 1, 1).expect("a good name"),
            timings: Timings { jitter: 0.0, ..Timings::default() },
            first_install: false,
            labels: BTreeMap::new(),
            coordinated: false,
            rules: Rules::default(),
        }
    }

    pub(crate) fn claim(&self, wall: Timestamp) -> Claim<'_> {
        let Self { identity, timings, labels, .. } = self;
        Claim { identity: identity.as_str(), duration: timings.lease_duration, wall, labels }
    }
}
