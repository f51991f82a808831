//! A small model of client-go's elector, written from what its documentation and its behaviour say, to be judged by the
//! same judge.
//!
//! In: answers and time. Out: requests. Never: follows our rules.
//!
//! What differs: time counts from the answer, for the candidate and for the holder; a missing Lease is created, and a blank
//! one taken, at once; a holder that sees another one goes on trying until its deadline; on cancel the Lease is given back
//! inside the renew loop, before the context of the work is cancelled.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::facts::{Fact, Facts};
use super::process::{Ask, Moment, Verb, Why};
use super::work::Work;
use crate::clock::GateInstant;
use crate::lock::LockError;
use crate::record::Lease;

#[derive(Clone, Debug)]
pub(crate) struct ClientGo {
    identity: String,
    numbers: Numbers,
    pub(crate) work: Option<Work>,
    /// The record seen last, and when its answer came.
    observed: Option<Lease>,
    observed_at: GateInstant,
    phase: Phase,
    next: Next,
}

/// LeaseDuration, RenewDeadline, RetryPeriod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) lease_duration: Duration,
    pub(crate) renew_deadline: Duration,
    pub(crate) retry_period: Duration,
    /// How many ticks the work goes on after its context was cancelled.
    pub(crate) goes_on: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Acquiring,
    /// Until when it tries before it gives up; counted from the beginning of this round.
    Renewing(GateInstant),
    /// ReleaseOnCancel.
    Releasing,
    /// The elector has returned: it is one-shot.
    Stopped,
}

/// The next request of tryAcquireOrRenew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A new try then.
    Try(GateInstant),
    Get,
    Create,
    Update,
}

impl ClientGo {
    pub(crate) fn new(identity: String, numbers: Numbers) -> Self {
        let zero = GateInstant::from_nanos(0);
        Self {
            identity,
            numbers,
            work: None,
            observed: None,
            observed_at: zero,
            phase: Phase::Acquiring,
            next: Next::Try(zero),
        }
    }

    pub(crate) fn turn(&mut self, at: Moment) -> Option<Ask> {
        let now = at.local();
        let patience = match self.phase {
            Phase::Stopped => return None,
            Phase::Renewing(until) if now >= until => {
                self.cancel(at);
                return None;
            }
            Phase::Renewing(until) => now.until(until),
            Phase::Acquiring => self.numbers.renew_deadline,
            Phase::Releasing => {
                let object = self.observed.as_ref().map(|lease| self.blank(lease, at))?;
                return Some(Ask {
                    why: Why::Release,
                    verb: Verb::Update(Rc::new(object)),
                    patience: self.numbers.renew_deadline,
                });
            }
        };
        let (why, verb) = match self.next {
            Next::Try(then) if now < then => return None,
            // The fast path.
            Next::Try(_) if self.is_leader() && self.is_valid(now) => (Why::Renew, self.update(at)),
            Next::Try(_) | Next::Get => (Why::Look, Verb::Read),
            Next::Create => {
                let metadata = json!({"namespace": "default", "name": "the-lease"});
                let object = json!({"metadata": metadata, "spec": {}});
                (Why::PutDown, Verb::Create(Rc::new(self.held(object, 0, at))))
            }
            Next::Update => (Why::Claim, self.update(at)),
        };
        Some(Ask { why, verb, patience })
    }

    pub(crate) fn answered(&mut self, why: Why, answer: Result<Lease, LockError>, at: Moment) {
        let now = at.local();
        self.next = match (why, answer) {
            (Why::Release, _) => return self.cancel(at),
            (Why::Look, Ok(lease)) => {
                if self.observed.as_ref().is_none_or(|seen| seen.version() != lease.version()) {
                    self.observed_at = now;
                }
                let others = !lease.holder().is_empty() && lease.holder() != self.identity;
                self.observed = Some(lease);
                if others && self.is_valid(now) { Next::Try(now + self.numbers.retry_period) } else { Next::Update }
            }
            (Why::Look, Err(LockError::Missing)) => Next::Create,
            (Why::Renew, Err(_)) => Next::Get,
            (_, Err(_)) => Next::Try(now + self.numbers.retry_period),
            (_, Ok(lease)) => {
                let epoch = lease.version();
                self.observed = Some(lease);
                self.observed_at = now;
                self.succeeded(epoch, at)
            }
        };
    }

    /// Time counts from the answer.
    fn succeeded(&mut self, epoch: crate::record::Epoch, at: Moment) -> Next {
        let now = at.local();
        let next = if self.phase == Phase::Acquiring {
            let goes_on = self.numbers.goes_on;
            self.work = Some(Work { epoch, opened: true, lapses: None, closed: None, goes_on });
            now
        } else {
            now + self.numbers.retry_period
        };
        self.phase = Phase::Renewing(next + self.numbers.renew_deadline);
        Next::Try(next)
    }

    /// The context of the run is cancelled. False: there is no term to give up.
    pub(crate) fn stop(&mut self) -> bool {
        let leads = matches!(self.phase, Phase::Renewing(_));
        if leads {
            self.phase = if self.is_leader() { Phase::Releasing } else { Phase::Stopped };
        }
        leads
    }

    /// The context of the work is cancelled.
    fn cancel(&mut self, at: Moment) {
        self.phase = Phase::Stopped;
        if let Some(work) = &mut self.work {
            work.closed = work.closed.or(Some(at.tick));
        }
    }

    fn is_leader(&self) -> bool {
        self.observed.as_ref().is_some_and(|lease| lease.holder() == self.identity)
    }

    fn is_valid(&self, now: GateInstant) -> bool {
        let recorded = self.observed.as_ref().and_then(Lease::duration).unwrap_or_default();
        self.observed_at + recorded > now
    }

    fn update(&self, at: Moment) -> Verb {
        let (object, transitions) = match &self.observed {
            None => (Value::Null, 0),
            Some(lease) => (lease.object().clone(), lease.transitions() + i32::from(!self.is_leader())),
        };
        Verb::Update(Rc::new(self.held(object, transitions, at)))
    }

    fn held(&self, mut object: Value, transitions: i32, at: Moment) -> Value {
        let acquired =
            if self.is_leader() { object["spec"]["acquireTime"].clone() } else { json!(at.wall().to_string()) };
        object["spec"] = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.numbers.lease_duration.as_secs(),
            "acquireTime": acquired,
            "renewTime": at.wall().to_string(),
            "leaseTransitions": transitions,
        });
        object
    }

    fn blank(&self, lease: &Lease, at: Moment) -> Value {
        let mut object = lease.object().clone();
        object["spec"]["holderIdentity"] = json!("");
        object["spec"]["leaseDurationSeconds"] = json!(1);
        object["spec"]["renewTime"] = json!(at.wall().to_string());
        object
    }

    pub(crate) fn facts(&self, facts: &mut Facts, at: Moment) {
        if let Some(lease) = &self.observed {
            facts.record(lease.object());
        }
        facts.push(Fact::Local(self.observed_at, self.numbers.lease_duration));
        match self.phase {
            Phase::Acquiring => facts.plain(0),
            Phase::Renewing(until) => {
                facts.plain(1);
                facts.due(until);
            }
            Phase::Releasing => facts.plain(2),
            Phase::Stopped => facts.plain(3),
        }
        match self.next {
            Next::Try(then) => {
                facts.plain(4);
                facts.due(then);
            }
            Next::Get => facts.plain(5),
            Next::Create => facts.plain(6),
            Next::Update => facts.plain(7),
        }
        if let Some(work) = &self.work {
            work.facts(facts, at);
        }
    }
}
