//! What of a candidate makes a difference to what happens next, for the explorer.
//!
//! In: a candidate. Out: facts. Never: its random numbers (the explorer's jitter is zero) and its stance, which is always the same; what is only of a coordinated election.

use super::{Candidate, LastTerm, Own, Seen};
use crate::simulation::explorer::facts::{Fact, Facts};

impl Candidate {
    /// All fields by name, so that none is forgotten here.
    pub(crate) fn facts(&self, facts: &mut Facts) {
        let Self {
            fixed,
            random: _,
            seen,
            since,
            last_term,
            not_before,
            own,
            look_at,
            rest_until,
            stance: _,
            asked: _,
            stale,
            met,
            newest,
            refused_at,
            asked_at: _,
            confirmed: _,
            naming: _,
        } = self;
        let timings = &fixed.timings;
        let longest = last_term.as_ref().map_or(timings.lease_duration, |last| last.longest);
        match seen {
            Seen::Nothing => facts.plain(0),
            Seen::Missing => facts.plain(1),
            Seen::Present(lease) => {
                facts.plain(2);
                facts.record(lease.object());
            }
        }
        facts.push(Fact::Local(*since, longest.max(timings.lease_duration)));
        for at in [*not_before, *look_at, *rest_until] {
            facts.due(at);
        }
        facts.plain(u64::from(*stale) * 2 + u64::from(*met));
        facts.push(Fact::Version(newest.number()));
        match refused_at {
            None => facts.plain(0),
            Some(at) => facts.push(Fact::Local(*at, timings.retry_period)),
        }
        facts.plain(u64::from(last_term.is_some()));
        if let Some(last) = last_term {
            let LastTerm { uid, holder, transitions, acquire_time, before, version, longest } = last;
            facts.uid(uid);
            facts.name(holder);
            facts.plain(u64::from(transitions.unsigned_abs()));
            facts.stamp(acquire_time);
            facts.push(Fact::Version(before.number()));
            facts.push(Fact::Version(version.number()));
            facts.plain(longest.as_secs());
        }
        facts.plain(own.len() as u64);
        for Own { uid, acquire_time, transitions, until } in own {
            facts.uid(uid.as_deref().unwrap_or_default());
            facts.stamp(acquire_time);
            facts.plain(u64::from(transitions.unsigned_abs()));
            facts.due(*until);
        }
    }

    /// Whether the candidate has seen the present term of the Lease.
    pub(crate) fn knows_term(&self, lease: &crate::record::Lease) -> bool {
        self.same_term(lease)
    }
}
