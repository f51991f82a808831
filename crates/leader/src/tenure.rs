//! The holder's part of the election, pure: renew in time, notice a loss at once, release properly.
//!
//! In: answers of the server to renewals and re-reads, with the gate clock just before the request was sent. Out: a
//! [`Duty`]. Never: reads a clock, sends anything, or takes an unknown outcome for a success.
//!
//! * **H1** The gate counts from the clock read just before the request was *sent*. An unknown outcome extends nothing.
//! * **H2** An answer that shows another holder, another uid or no Lease ends the term at once. A conflict whose re-read
//!   still shows the own identity and uid is a third party's edit (or an own renewal whose answer was lost): renew again
//!   on top of it. Renewals of somebody else with the own identity, time after time, are a twin's, and end the term too.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::clock::GateInstant;
use crate::gate::Loss;
use crate::lock::LockError;
use crate::record::{Ended, Epoch, Lease, means};
use crate::standpoint::Standpoint;

/// What a holder does next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Duty {
    /// Nothing before this time.
    Wait(GateInstant),
    /// Replace the Lease with this.
    Renew(Value),
    /// See what the Lease is now.
    Read,
}

/// What an answer means for the term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The renewal sent at this time has succeeded.
    Renewed(GateInstant),
    /// Nothing is known that ends the term, nor that extends it.
    Open,
    /// The term is over.
    Lost(Loss),
}

/// One term of the holder.
#[derive(Clone, Debug)]
pub(crate) struct Tenure {
    fixed: Standpoint,
    lease: Lease,
    epoch: Epoch,
    next_at: GateInstant,
    read_next: bool,
    /// Conflicts since the last renewal.
    conflicts: u32,
    /// A renewal without an answer may have been committed.
    unanswered: bool,
    /// What somebody else has renewed it with, since the last renewal that met no conflict.
    stranger: Option<String>,
}

impl Tenure {
    /// The term won with `lease`, the answer to a write sent at `sent`.
    pub(crate) fn new(fixed: Standpoint, lease: Lease, sent: GateInstant) -> Self {
        let epoch = lease.version();
        let next_at = sent + fixed.timings.retry_period;
        Self { fixed, lease, epoch, next_at, read_next: false, conflicts: 0, unanswered: false, stranger: None }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What to do at `now`.
    pub(crate) fn decide(&self, now: GateInstant, wall: Timestamp) -> Duty {
        if now < self.next_at {
            Duty::Wait(self.next_at)
        } else if self.read_next {
            Duty::Read
        } else {
            Duty::Renew(self.lease.renewed(&self.fixed.claim(wall)))
        }
    }

    /// A renewal sent at `sent` was answered at `received`.
    pub(crate) fn on_renewed(
        &mut self,
        answer: Result<Lease, LockError>,
        sent: GateInstant,
        received: GateInstant,
    ) -> Verdict {
        match answer {
            Ok(lease) => {
                if let Some(loss) = self.loss_in(&lease) {
                    return Verdict::Lost(loss);
                }
                // Unless the version has moved, others have seen no renewal.
                let moved = lease.version() > self.lease.version();
                self.lease = lease;
                if !moved {
                    self.next_at = received + self.short_pause();
                    return Verdict::Open;
                }
                if self.conflicts == 0 {
                    self.stranger = None;
                }
                (self.conflicts, self.unanswered) = (0, false);
                self.next_at = received.max(sent + self.fixed.timings.retry_period);
                Verdict::Renewed(if self.fixed.rules.count_from_answer { received } else { sent })
            }
            Err(LockError::Conflict) => {
                self.read_next = true;
                self.conflicts = self.conflicts.saturating_add(1);
                // The first is answered at once; a storm of edits must not become a storm of ours.
                self.next_at = if self.conflicts == 1 { received } else { received + self.short_pause() };
                Verdict::Open
            }
            Err(error) => {
                self.unanswered |= matches!(error, LockError::Unknown { .. });
                self.on_error(&error, received)
            }
        }
    }

    /// A re-read after a conflict was answered at `received`.
    pub(crate) fn on_read(&mut self, answer: Result<Lease, LockError>, received: GateInstant) -> Verdict {
        match answer {
            Ok(lease) => {
                if let Some(loss) = self.loss_in(&lease).or_else(|| self.twin_in(&lease)) {
                    return Verdict::Lost(loss);
                }
                self.lease = lease;
                (self.read_next, self.unanswered) = (false, false);
                self.next_at = received;
                Verdict::Open
            }
            Err(error) => self.on_error(&error, received),
        }
    }

    /// The write that releases the Lease, for `to` or for whoever comes first. To be sent only after all work of the term has stopped.
    pub(crate) fn release(&self, to: Option<&str>, wall: Timestamp) -> Value {
        self.lease.released(&Ended { identity: self.fixed.identity.as_str(), epoch: self.epoch }, to, wall)
    }

    /// To whom this holder is asked to hand over, by people or by the server that names holders, unless that is itself.
    pub(crate) fn asked_for(&self) -> Option<&str> {
        let preferred = self.lease.preferred_holder().filter(|_| self.fixed.coordinated);
        let other = |to: &&str| !means(to, self.fixed.identity.as_str());
        self.lease.hand_over().filter(other).or(preferred.filter(other))
    }

    /// The Lease as last seen.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Renew at once: the gate is shut until the server has been asked.
    pub(crate) fn hurry(&mut self, now: GateInstant) {
        self.next_at = self.next_at.min(now);
    }

    fn on_error(&mut self, error: &LockError, received: GateInstant) -> Verdict {
        if *error == LockError::Missing && !self.fixed.rules.ignore_other_holders {
            return Verdict::Lost(Loss::Deleted);
        }
        // An error leaves less time than a success: try again soon, but not at once.
        let pause = self.short_pause();
        let asked = error.retry_after().map_or(pause, |asked| asked.clamp(pause, self.fixed.timings.retry_period));
        self.next_at = received + asked;
        Verdict::Open
    }

    fn loss_in(&self, lease: &Lease) -> Option<Loss> {
        if self.fixed.rules.ignore_other_holders {
            return None;
        }
        if lease.uid() != self.lease.uid() {
            return Some(Loss::Recreated);
        }
        (lease.holder() != self.fixed.identity.as_str()).then(|| Loss::Overwritten(lease.holder().to_owned()))
    }

    /// One foreign renewTime is an edit; another one as soon as this holder has renewed is somebody who renews, too.
    fn twin_in(&mut self, lease: &Lease) -> Option<Loss> {
        if self.unanswered || lease.renew_time() == self.lease.renew_time() || self.fixed.rules.ignore_other_holders {
            return None;
        }
        let last = self.stranger.replace(lease.renew_time().to_owned());
        last.is_some_and(|last| last != lease.renew_time()).then_some(Loss::Twin)
    }

    fn short_pause(&self) -> Duration {
        self.fixed.timings.retry_period / 4
    }
}

#[cfg(test)]
#[path = "simulation/explorer/holder.rs"]
mod explored;

#[cfg(test)]
#[path = "tenure_tests.rs"]
mod tests;
