//! How long a candidate waits: before it takes over (rules C1 and C2), for others' sake, and between its looks.

use std::time::Duration;

use super::Candidate;
use crate::clock::GateInstant;
use crate::lock::LockError;
use crate::record::{Lease, means};
use crate::standpoint::Stance;

impl Candidate {
    /// C1 and C2: from when on the Lease may be taken over as it is shown at `now`.
    pub(super) fn takeover_at(&self, lease: &Lease, now: GateInstant) -> GateInstant {
        let own = self.fixed.timings.lease_duration;
        let courtesy = self.courtesy(lease);
        if self.fixed.rules.skip_the_wait || self.own_claim(lease, now).is_some() || self.released_properly(lease) {
            return self.since + courtesy;
        }
        let recorded = lease.duration().unwrap_or(own);
        let wait = match &self.last_term {
            _ if self.fixed.rules.wait_own_duration => own,
            Some(_) if self.fixed.rules.believe_shortened && self.same_term(lease) => recorded,
            Some(last) if self.same_term(lease) => recorded.max(last.longest),
            // Nobody holds it: what is recorded may be the one second of upstream's release.
            _ => recorded.max(own),
        };
        (self.since + wait).max(self.not_before) + courtesy
    }

    /// How much longer this candidate leaves the Lease to others than it must: one lease duration, if it was released for somebody else,
    /// or if somebody else is better placed; after a release that named nobody, that one need only have had a look.
    fn courtesy(&self, lease: &Lease) -> Duration {
        let timings = &self.fixed.timings;
        let for_me = lease.handed_to().map(|to| means(to, self.fixed.identity.as_str()));
        match (for_me, self.stance) {
            (Some(false), _) => timings.lease_duration,
            (None, Some(Stance::Reserve)) if self.released_properly(lease) => {
                timings.retry_period.mul_f64(2.0 * (1.0 + timings.jitter)).min(timings.lease_duration)
            }
            (None, Some(Stance::Reserve)) => timings.lease_duration,
            _ => Duration::ZERO,
        }
    }

    /// The first refusal is looked into at once. Where reads go on showing what isn't there any more (a lagging replica), or
    /// somebody else writes again and again, that must not become a storm of ours.
    pub(super) fn look_after_refusal(&mut self, received: GateInstant) -> GateInstant {
        let period = self.fixed.timings.retry_period;
        let again = self.refused_at.is_some_and(|last| last.until(received) < period);
        self.refused_at = Some(received);
        if again { received + self.pause() } else { received }
    }

    /// For the record of a vacant Lease, which every other candidate will wait out.
    pub(super) fn longest_wait(&self) -> Duration {
        let own = self.fixed.timings.lease_duration;
        self.last_term.as_ref().map_or(own, |last| last.longest.max(own))
    }

    pub(super) fn pause(&mut self) -> Duration {
        let jitter = self.fixed.timings.jitter * self.random.f64();
        self.fixed.timings.retry_period.mul_f64(1.0 + jitter)
    }

    /// How long to leave the server alone after an error: what it asks for, but not so long that a free Lease would be
    /// missed.
    pub(super) fn patience(&mut self, error: &LockError) -> Duration {
        let pause = self.pause();
        error.retry_after().map_or(pause, |asked| asked.min(pause).max(self.fixed.timings.retry_period / 4))
    }
}
