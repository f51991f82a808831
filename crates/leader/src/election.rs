//! A candidate's part of the election, pure: what was observed and what time it is go in, what to do next comes out.
//!
//! In: answers of the server, each with the gate clock at its receipt (reads) or just before its sending (writes). Out: a
//! [`Step`]. Never: reads a clock, sends anything, or compares a time written by another process.
//!
//! The rules (the holder's, H1 and H2, are in `tenure.rs`):
//!
//! * **C1** Take over only what has not changed for L on the own clock, counted from the *receipt* of the read that first
//!   showed its present uid and version. A takeover is a compare-and-swap against exactly that version.
//! * **C2** L is the recorded duration, clamped; the longest one seen in this holder's term, so that an edit can't cut a
//!   wait short; the own one where none is recorded. Times written by others are never read.
//! * **C3** Without waiting only after a proper release, see [`Candidate::released_properly`]. A blank holder without
//!   marker (client-go's release, which may come before its work has stopped, or an edit by hand), a missing Lease, and a
//!   new uid are interference, and waited out: the last holder seen could have renewed until just before.
//!
//! A missing Lease is put down vacant at once and then waited out. So every takeover is a compare-and-swap: waiting for
//! a mere absence couldn't see a Lease that was created, won, and deleted again between two reads.
//!
//! How long a wait is stands in `waits.rs`; where the server names who is to lead, see `naming.rs`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::clock::GateInstant;
use crate::lock::LockError;
use crate::record::{Epoch, Lease, Release, held, means, vacant};
use crate::standpoint::{Stance, Standpoint};

/// How many claims with unknown outcome are remembered. A forgotten one only costs time: its record is waited out.
const MOST_CLAIMS: usize = 4;

/// What a candidate does next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing before this time.
    Wait(GateInstant),
    /// Read the Lease.
    Read,
    /// Create the Lease, held by nobody.
    PutDown(Value),
    /// Create the Lease, held by this candidate (first install).
    Create(Value),
    /// Replace the Lease with one that this candidate holds.
    TakeOver(Value),
    /// Ask the holder to hand over, by an annotation on its Lease.
    Ask(Value),
    /// Renew the Lease that names this candidate, without beginning a term.
    Keep(Value),
}

/// A candidate: what it has seen, since when, and when it looks again.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    fixed: Standpoint,
    random: fastrand::Rng,
    seen: Seen,
    since: GateInstant,
    /// The holder seen last, also if it holds no more.
    last_term: Option<LastTerm>,
    /// What was interfered with is over by then.
    not_before: GateInstant,
    /// Claims of this candidate whose outcome isn't known, the latest last.
    own: Vec<Own>,
    look_at: GateInstant,
    rest_until: GateInstant,
    /// None: claims nothing.
    stance: Option<Stance>,
    /// The last holder asked to hand over, by uid and transitions.
    asked: Option<(String, i32)>,
    /// What was seen must be read again before anything is claimed.
    stale: bool,
    /// Whether any answer has ever shown a Lease.
    met: bool,
    /// The newest version that any answer has shown.
    newest: Epoch,
    /// When a claim or a wish was last refused because the Lease wasn't as it had been shown.
    refused_at: Option<GateInstant>,
    /// When the last read was sent.
    asked_at: GateInstant,
    /// When the last read was sent that showed again what had been seen.
    confirmed: GateInstant,
    /// The Lease names this candidate.
    naming: Option<Naming>,
}

#[derive(Clone, Debug)]
enum Seen {
    Nothing,
    Missing,
    Present(Box<Lease>),
}

#[derive(Clone, Debug)]
struct LastTerm {
    uid: String,
    holder: String,
    transitions: i32,
    /// Its beginning, word for word: a holder that takes up its own Lease again counts no transition.
    acquire_time: String,
    /// The newest version seen before this term was: its epoch is a later one.
    before: Epoch,
    /// The last version seen in this term.
    version: Epoch,
    /// The longest duration recorded in this term.
    longest: Duration,
}

impl LastTerm {
    /// Whether the marker is of the holder and of an epoch that this term may have.
    fn wrote(&self, marker: &Release) -> bool {
        marker.identity == self.holder && self.before < marker.epoch && marker.epoch <= self.version
    }
}

/// How to recognise the own write in a record: a word-for-word comparison, no clock.
#[derive(Clone, Debug, PartialEq)]
struct Own {
    uid: Option<String>,
    acquire_time: String,
    transitions: i32,
    /// Nobody else can have held the Lease between this claim and then.
    until: GateInstant,
}

impl Candidate {
    pub(crate) fn new(fixed: Standpoint, seed: u64) -> Self {
        let zero = GateInstant::from_nanos(0);
        Self {
            fixed,
            random: fastrand::Rng::with_seed(seed),
            seen: Seen::Nothing,
            since: zero,
            last_term: None,
            not_before: zero,
            own: Vec::new(),
            look_at: zero,
            rest_until: zero,
            stance: Some(Stance::Stand),
            asked: None,
            stale: false,
            met: false,
            newest: Epoch::new(0),
            refused_at: None,
            asked_at: zero,
            confirmed: zero,
            naming: None,
        }
    }

    pub(crate) fn fixed(&self) -> &Standpoint {
        &self.fixed
    }

    /// The holder as last seen, empty if there is none.
    pub(crate) fn holder(&self) -> &str {
        self.lease().map_or("", Lease::holder)
    }

    /// Whom the Lease as last seen was handed over to, if it wasn't this candidate.
    pub(crate) fn absentee(&self) -> Option<&str> {
        self.lease()?.handed_to().filter(|to| !means(to, self.fixed.identity.as_str()))
    }

    pub(crate) fn set_stance(&mut self, stance: Option<Stance>) {
        self.stance = stance;
    }

    /// The Lease as last seen, if there is one.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        match &self.seen {
            Seen::Present(lease) => Some(lease),
            Seen::Nothing | Seen::Missing => None,
        }
    }

    /// What to do at `now`.
    pub(crate) fn decide(&self, now: GateInstant, wall: Timestamp) -> Step {
        if now >= self.look_at {
            return Step::Read;
        }
        let ready = match &self.seen {
            _ if self.stale => return Step::Wait(self.look_at),
            Seen::Nothing => return Step::Wait(self.look_at),
            Seen::Missing => self.rest_until,
            Seen::Present(lease) => self.takeover_at(lease, now).max(self.rest_until),
        };
        if matches!(self.stance, None | Some(Stance::Aside)) {
            return Step::Wait(self.look_at);
        }
        if self.fixed.coordinated {
            return self.decide_named(now, wall);
        }
        if let Some(lease) = self.lease().filter(|lease| self.asks(lease, now)) {
            return Step::Ask(lease.asked(self.fixed.identity.as_str()));
        }
        if now < ready {
            return Step::Wait(ready.min(self.look_at));
        }
        let claim = self.fixed.claim(wall);
        match &self.seen {
            Seen::Present(lease) => Step::TakeOver(lease.taken_over(&claim)),
            _ if (self.fixed.first_install && !self.met) || self.fixed.rules.create_at_once => {
                Step::Create(held(&self.fixed.namespace, &self.fixed.name, &claim))
            }
            _ => Step::PutDown(vacant(&self.fixed.namespace, &self.fixed.name, self.longest_wait())),
        }
    }

    /// A read is sent at `now`.
    pub(crate) fn reading(&mut self, now: GateInstant) {
        self.asked_at = now;
    }

    /// A read was answered at `received`.
    pub(crate) fn on_read(&mut self, answer: Result<Lease, LockError>, received: GateInstant) {
        match answer {
            Ok(lease) => self.saw(lease, received),
            Err(LockError::Missing) => self.saw_nothing(received),
            Err(error) => return self.look_at = received + self.patience(&error),
        }
        self.stale = false;
        self.look_at = received + self.pause();
    }

    /// The creation of a vacant Lease was answered at `received`. It is waited out like any other, from now.
    pub(crate) fn on_put_down(&mut self, answer: Result<Lease, LockError>, received: GateInstant) {
        if answer.is_ok() {
            return self.on_read(answer, received);
        }
        self.stale = true;
        self.look_at = match answer {
            // Somebody else was first: see what it says.
            Err(LockError::Conflict) => self.look_after_refusal(received),
            Err(error) => received + self.patience(&error),
            Ok(_) => received,
        };
    }

    /// A write that claims the Lease is sent at `now`: for a renew deadline from then, a record of it is recognised as the own. One that
    /// claims an own record again is recognised for no longer, or a candidate without answers would keep others off for ever.
    pub(crate) fn sending(&mut self, claim: &Value, now: GateInstant) {
        let before = self.lease().and_then(|lease| self.own_claim(lease, now)).map(|own| own.until);
        let until = before.unwrap_or(now + self.fixed.timings.renew_deadline);
        let uid = claim["metadata"]["uid"].as_str().map(str::to_owned);
        let acquire_time = claim["spec"]["acquireTime"].as_str().unwrap_or_default().to_owned();
        let transitions = claim["spec"]["leaseTransitions"].as_i64().unwrap_or(0);
        if self.own.len() == MOST_CLAIMS {
            self.own.remove(0);
        }
        self.own.push(Own { uid, acquire_time, transitions: i32::try_from(transitions).unwrap_or(i32::MAX), until });
    }

    /// A write that claims the Lease was answered at `received`. Some(lease): the term is won.
    pub(crate) fn on_claimed(&mut self, answer: Result<Lease, LockError>, received: GateInstant) -> Option<Lease> {
        self.stale = true;
        match answer {
            Ok(lease) => {
                let won = self.is_won(&lease);
                self.saw(lease.clone(), received);
                // Its outcome is known.
                self.own.clear();
                self.look_at = received;
                return won.then_some(lease);
            }
            Err(LockError::Missing) => {
                self.saw_nothing(received);
                self.look_at = self.look_after_refusal(received);
            }
            // Changed meanwhile: see what it is now. This claim was not committed, so no record of it can be met.
            Err(LockError::Conflict) => {
                self.own.pop();
                self.look_at = self.look_after_refusal(received);
            }
            // Not sent: the old lock has to be watched first.
            Err(LockError::OldLock { .. }) => {
                self.own.pop();
                self.look_at = received + self.pause();
            }
            // Perhaps committed: the next read shows it.
            Err(error) => self.look_at = received + self.patience(&error) / 4,
        }
        None
    }

    /// The wish for a hand-over was answered at `received`.
    pub(crate) fn on_asked(&mut self, answer: Result<Lease, LockError>, received: GateInstant) {
        // Once a term: whether the holder follows is its business.
        self.asked = self.lease().map(|lease| (lease.uid().to_owned(), lease.transitions()));
        match answer {
            Ok(lease) => self.saw(lease, received),
            // It has been renewed meanwhile, mostly. See what it is now, and ask again.
            Err(LockError::Conflict) => {
                self.asked = None;
                self.stale = true;
                self.look_at = self.look_after_refusal(received);
            }
            Err(error) => self.look_at = received + self.patience(&error),
        }
    }

    /// A term of this candidate has ended at `now`; its last effect is over at `hard_stop`. It claims the Lease again
    /// only after a rest, which is longer than any other candidate's period of looks, so that others come first.
    pub(crate) fn rest(&mut self, now: GateInstant, hard_stop: GateInstant) {
        let period = self.fixed.timings.retry_period;
        let rest = period.mul_f64(1.0 + self.fixed.timings.jitter) + self.pause();
        self.rest_until = hard_stop.max(now + rest);
        self.look_at = now;
        self.stale = true;
        // Its record may be put back after somebody else's whole term, which this candidate hasn't seen: it is waited out as any other.
        self.own.clear();
        if self.fixed.coordinated {
            self.naming = None;
            self.seen = Seen::Nothing;
        }
    }

    /// A holder that renews is asked to hand over, once a term, unless it was asked already. One that doesn't renew is about to be
    /// succeeded, and a write to its Lease would only make everybody wait for longer.
    fn asks(&self, lease: &Lease, now: GateInstant) -> bool {
        let renews = self.since.until(now) < self.fixed.timings.retry_period;
        let told = self.asked.as_ref().is_some_and(|(uid, count)| uid == lease.uid() && *count == lease.transitions());
        let another = !lease.holder().is_empty() && lease.holder() != self.fixed.identity.as_str();
        self.stance == Some(Stance::Prefer)
            && another
            && renews
            && !told
            && now >= self.rest_until
            && lease.hand_over().is_none()
    }

    /// This candidate has stepped down: it claims nothing for so long.
    pub(crate) fn cool_down(&mut self, now: GateInstant, time: Duration) {
        self.rest_until = self.rest_until.max(now + time);
    }

    /// An answer to a claim wins only if it shows what was sent, in the Lease it was sent for, as a new version. Another
    /// holder or uid means that something has rewritten it; an old version means that others have seen no change.
    fn is_won(&self, lease: &Lease) -> bool {
        let mine = lease.holder() == self.fixed.identity.as_str();
        match &self.seen {
            Seen::Present(base) => mine && base.uid() == lease.uid() && base.version() < lease.version(),
            Seen::Nothing | Seen::Missing => mine,
        }
    }

    fn saw_nothing(&mut self, received: GateInstant) {
        self.naming = None;
        if !matches!(self.seen, Seen::Missing) {
            self.interfered(received);
            self.seen = Seen::Missing;
            self.since = received;
        }
    }

    fn saw(&mut self, lease: Lease, received: GateInstant) {
        let met = std::mem::replace(&mut self.met, true);
        if let Seen::Present(before) = &self.seen
            && before.uid() == lease.uid()
            && before.version() == lease.version()
        {
            self.confirmed = self.asked_at;
            return;
        }
        if self.fixed.coordinated && lease.holder() == self.fixed.identity.as_str() {
            self.saw_named(&lease, met, received);
        } else if self.same_term(&lease) {
            let last = self.last_term.as_mut().expect("same_term found it");
            last.version = lease.version();
            last.longest = last.longest.max(lease.duration().unwrap_or(self.fixed.timings.lease_duration));
        } else {
            if self.released_properly(&lease) {
                self.not_before = received;
            } else {
                self.interfered(received);
            }
            if !lease.holder().is_empty() {
                self.last_term = Some(LastTerm {
                    uid: lease.uid().to_owned(),
                    holder: lease.holder().to_owned(),
                    transitions: lease.transitions(),
                    acquire_time: lease.acquire_time().to_owned(),
                    before: self.newest,
                    version: lease.version(),
                    longest: lease.duration().unwrap_or(self.fixed.timings.lease_duration),
                });
            }
        }
        if lease.holder() != self.fixed.identity.as_str() {
            self.naming = None;
        }
        self.newest = self.newest.max(lease.version());
        // What was ours is no more once another record has been seen.
        if self.own_claim(&lease, received).is_none() {
            self.own.clear();
        }
        self.seen = Seen::Present(Box::new(lease));
        self.since = received;
    }

    /// The term seen last is not shown any more, and nothing proves that its work has stopped. Its holder may have
    /// renewed until just now.
    fn interfered(&mut self, received: GateInstant) {
        if let Some(last) = &self.last_term
            && self.holder() == last.holder
        {
            self.not_before = self.not_before.max(received + last.longest);
        }
    }

    fn same_term(&self, lease: &Lease) -> bool {
        self.last_term.as_ref().is_some_and(|last| {
            last.uid == lease.uid()
                && last.holder == lease.holder()
                && last.transitions == lease.transitions()
                && last.acquire_time == lease.acquire_time()
        })
    }

    /// C3. The marker was written by the releasing holder's compare-and-swap, after its work had stopped, and a takeover
    /// by these rules removes it; [`Lease::release`] refuses one that a foreign holder has carried on. So marker and
    /// blank holder prove that the last term is over, also to a candidate that never saw that term: it may go ahead. One
    /// that did see a term holds the marker against it: it must be of that term, or of a later one, in the same Lease. A
    /// restored backup of a released Lease, put in the place of a held one, fails that.
    fn released_properly(&self, lease: &Lease) -> bool {
        if self.fixed.rules.trust_blank_holder && lease.holder().is_empty() {
            return true;
        }
        let Some(marker) = lease.release() else { return false };
        match &self.last_term {
            None => true,
            Some(last) => {
                // An earlier term of the same holder proves nothing of this one. A release keeps what tells them apart.
                let its_own = lease.transitions() == last.transitions && lease.acquire_time() == last.acquire_time;
                let same = last.wrote(&marker) && its_own;
                last.uid == lease.uid() && (same || marker.epoch > last.version)
            }
        }
    }

    /// The claim of this very candidate, its answer lost, that the Lease shows at `now`. Others wait for longer than until then before
    /// they take it over, so that nobody else has held it since, and there is nothing to wait for.
    fn own_claim(&self, lease: &Lease, now: GateInstant) -> Option<&Own> {
        let mine = lease.holder() == self.fixed.identity.as_str();
        self.own.iter().find(|own| {
            mine && now < own.until
                && own.uid.as_deref().is_none_or(|uid| uid == lease.uid())
                && own.acquire_time == lease.acquire_time()
                && own.transitions == lease.transitions()
        })
    }
}

#[path = "naming.rs"]
mod naming;
use naming::Naming;

#[path = "waits.rs"]
mod waits;

#[cfg(test)]
#[path = "simulation/explorer/candidate.rs"]
mod explored;

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
