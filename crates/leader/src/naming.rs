//! Coordinated election, a candidate's part: the server names who is to lead, and only the one it names claims. Pure.
//!
//! In: sights of the Lease, as in `election.rs`. Out: when to keep a Lease that names this candidate, and when to claim it.
//! Never: claims a Lease that names another or nobody, or begins a term sooner than C1 to C3 allow. Coordination chooses who, not when.
//!
//! The server calls a Lease expired by its own wall clock and the holder's `renewTime`, and names the next: it writes the
//! `holderIdentity`, five seconds as the duration and no `acquireTime`, and leaves count and annotations alone. So a holder whose wall
//! clock lags is replaced while its gate is open. What is promised must not rest on that, and doesn't:
//!
//! * A naming is no term. The named candidate waits until the last holder is over, then claims by its own compare-and-swap on exactly the
//!   version it has seen last; the version of that write is the epoch. Whoever held the Lease before the naming can't renew past it.
//! * The wait is L from the receipt of the first sight of the naming, since the last holder may have renewed until just before. L is the
//!   longest duration seen of that holder, at least the own one: what the naming records says nothing.
//! * There is no wait if the last holder was over already: it has released properly, and this candidate has seen its term; or its record
//!   had been seen unchanged for L by a later read (which was *sent* then) before the naming; or the first look showed no Lease and that
//!   was declared to be a first install. In each case the count of transitions shows that no term was begun since: every claim counts one.
//! * While it waits it renews the Lease in its own name, or the server would name another after five seconds, and so for ever. Its first
//!   renewal sets `acquireTime` to a mark that all later ones carry. A record without that mark is another naming (somebody else may have
//!   led before it), and the wait begins anew. The server doesn't name anew where the Lease is renewed, so that the wait comes to an end.
//!
//! What is left to wall clocks is who leads and when: a holder with a clock far behind the server's is replaced again and again. Candidates
//! of other kinds count no transition, and don't wait: with client-go's in one election its own promises hold, not these.

use jiff::Timestamp;
use serde_json::Value;

use super::{Candidate, Seen, Step};
use crate::clock::GateInstant;
use crate::lock::LockError;
use crate::record::{Lease, micro_time};

/// The Lease names this candidate.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    uid: String,
    /// The last holder is over by then.
    until: GateInstant,
    /// `acquireTime` of the renewals while it waits, once one was sent.
    mark: Option<String>,
    keep_at: GateInstant,
}

impl Candidate {
    /// What to do at `now`, instead of taking the Lease.
    pub(super) fn decide_named(&self, now: GateInstant, wall: Timestamp) -> Step {
        let (Some(lease), Some(naming)) = (self.lease(), &self.naming) else { return Step::Wait(self.look_at) };
        if now < self.rest_until {
            return Step::Wait(self.rest_until.min(self.look_at));
        }
        let claim = self.fixed.claim(wall);
        if now >= naming.until {
            return Step::TakeOver(lease.taken_up(&claim));
        }
        if now < naming.keep_at {
            return Step::Wait(naming.until.min(naming.keep_at).min(self.look_at));
        }
        let fresh = micro_time(wall);
        let mark = naming.mark.as_deref().or(fresh.as_str()).unwrap_or_default();
        Step::Keep(lease.kept(&claim, mark))
    }

    /// A write that keeps the Lease is about to be sent.
    pub(crate) fn keeping(&mut self, object: &Value) {
        if let Some(naming) = &mut self.naming {
            naming.mark = object["spec"]["acquireTime"].as_str().map(str::to_owned);
        }
    }

    /// A write that keeps the Lease was answered at `received`.
    pub(crate) fn on_kept(&mut self, answer: Result<Lease, LockError>, received: GateInstant) {
        let pause = self.pause();
        if let Some(naming) = &mut self.naming {
            naming.keep_at = received + self.fixed.timings.retry_period;
        }
        match answer {
            Ok(lease) => {
                self.saw(lease, received);
                self.look_at = received + pause;
            }
            Err(error) => {
                self.stale = true;
                self.look_at = match error {
                    LockError::Conflict => self.look_after_refusal(received),
                    LockError::Missing => received,
                    error => received + self.patience(&error) / 4,
                };
            }
        }
    }

    /// A changed Lease that names this candidate was received. `met`: a Lease had been shown before.
    pub(super) fn saw_named(&mut self, lease: &Lease, met: bool, received: GateInstant) {
        let goes_on = |naming: &Naming| {
            naming.uid == lease.uid() && naming.mark.as_deref().is_some_and(|mark| mark == lease.acquire_time())
        };
        if self.naming.as_ref().is_some_and(goes_on) {
            return;
        }
        let over = self.own_claim(lease, received).is_some() || self.is_over(lease, met, received);
        if over {
            self.not_before = received;
        } else {
            self.interfered(received);
        }
        let wait = self.longest_wait().max(lease.duration().unwrap_or_default());
        let until = if over { received } else { self.not_before.max(received + wait) };
        self.naming = Some(Naming { uid: lease.uid().to_owned(), until, mark: None, keep_at: received });
    }

    /// Whether the last holder's work was over before the Lease was made to name this candidate, and no term was begun since.
    fn is_over(&self, lease: &Lease, met: bool, received: GateInstant) -> bool {
        let released = lease.marker().is_some_and(|marker| {
            self.last_term.as_ref().is_some_and(|last| {
                last.wrote(&marker) && last.uid == lease.uid() && last.transitions == lease.transitions()
            })
        });
        let waited_out = match &self.seen {
            Seen::Nothing => false,
            Seen::Missing => self.fixed.first_install && !met && lease.transitions() == 0,
            Seen::Present(before) => {
                before.holder() != self.fixed.identity.as_str()
                    && before.uid() == lease.uid()
                    && before.transitions() == lease.transitions()
                    && self.confirmed >= self.takeover_at(before, received).max(self.since + self.longest_wait())
            }
        };
        released || waited_out
    }
}

#[cfg(test)]
#[path = "naming_tests.rs"]
mod tests;
