//! A process that follows the rules (or breaks one, to be found out): the real cores, and around them what the elector and
//! a worker set as bad as the rules allow would do.
//!
//! In: answers and time. Out: requests. Never: decides by itself; that is [`Candidate`] and [`Tenure`].

use std::rc::Rc;

use super::facts::{Fact, Facts};
use super::process::{Ask, Moment, Verb, Why};
use super::work::Work;
use crate::clock::GateInstant;
use crate::election::{Candidate, Step};
use crate::lock::LockError;
use crate::record::Lease;
use crate::standpoint::Standpoint;
use crate::tenure::{Duty, Tenure, Verdict};

/// As the elector.
const RELEASE_TRIES: u8 = 3;

#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pub(crate) candidate: Candidate,
    pub(crate) release_before_stop: bool,
    term: Option<Term>,
    /// The work of an ended term, where it wasn't waited for.
    left: Option<Work>,
}

#[derive(Clone, Debug)]
struct Term {
    tenure: Tenure,
    work: Work,
    /// The gate closes then, if no renewal succeeds.
    deadline: GateInstant,
    /// An answer showed then that the Lease is lost.
    lost: Option<GateInstant>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Leading,
    /// The Lease is lost; the work may go on until the hard stop.
    Lost,
    /// The owner stops, and the Lease is renewed until the work has.
    Stopping,
    /// The work has stopped; the Lease is given back. How often it was tried, and when next.
    Releasing(u8, GateInstant),
}

impl Follower {
    pub(crate) fn new(fixed: Standpoint, release_before_stop: bool) -> Self {
        Self { candidate: Candidate::new(fixed, 1), release_before_stop, term: None, left: None }
    }

    fn fixed(&self) -> &Standpoint {
        self.candidate.fixed()
    }

    /// The gate of a term lapses by itself; the elector notices that here.
    pub(crate) fn tick(&mut self, at: Moment) {
        if let Some(term) = &mut self.term {
            term.lapse(at);
        }
    }

    /// What to ask next.
    pub(crate) fn turn(&mut self, at: Moment) -> Option<Ask> {
        self.left.take_if(|work| !work.is_active(at));
        if self.term.is_none() {
            return self.stand(at);
        }
        let (patience, before_stop) = (self.fixed().timings.request_timeout, self.release_before_stop);
        let term = self.term.as_mut()?;
        term.lapse(at);
        if term.phase == Phase::Leading {
            // Caught up with the cluster at once.
            term.work.opened = true;
        }
        if term.phase == Phase::Stopping && (before_stop || !term.work.is_active(at)) {
            term.phase = Phase::Releasing(0, at.local());
        }
        let ask = |why, verb| Some(Ask { why, verb, patience });
        match term.phase {
            Phase::Lost if term.work.is_active(at) => None,
            Phase::Lost => {
                self.end(at);
                self.stand(at)
            }
            Phase::Releasing(tries, _) if tries >= RELEASE_TRIES => {
                self.end(at);
                self.stand(at)
            }
            Phase::Releasing(_, next) if at.local() < next => None,
            Phase::Releasing(tries, _) => {
                term.phase = Phase::Releasing(tries + 1, at.local());
                ask(Why::Release, Verb::Update(Rc::new(term.tenure.release(None, at.wall()))))
            }
            Phase::Leading | Phase::Stopping => match term.tenure.decide(at.local(), at.wall()) {
                Duty::Wait(_) => None,
                Duty::Renew(object) => ask(Why::Renew, Verb::Update(Rc::new(object))),
                Duty::Read => ask(Why::Reread, Verb::Read),
            },
        }
    }

    fn stand(&mut self, at: Moment) -> Option<Ask> {
        let patience = self.fixed().timings.request_timeout;
        let (why, verb) = match self.candidate.decide(at.local(), at.wall()) {
            // None of these prefers to lead.
            Step::Wait(_) | Step::Ask(_) | Step::Keep(_) => return None,
            Step::Read => (Why::Look, Verb::Read),
            Step::PutDown(object) => (Why::PutDown, Verb::Create(Rc::new(object))),
            Step::Create(object) => {
                self.candidate.sending(&object, at.local());
                (Why::Claim, Verb::Create(Rc::new(object)))
            }
            Step::TakeOver(object) => {
                self.candidate.sending(&object, at.local());
                (Why::Claim, Verb::Update(Rc::new(object)))
            }
        };
        Some(Ask { why, verb, patience })
    }

    pub(crate) fn answered(&mut self, why: Why, answer: Result<Lease, LockError>, sent: GateInstant, at: Moment) {
        let received = at.local();
        match why {
            Why::Look => self.candidate.on_read(answer, received),
            Why::PutDown => self.candidate.on_put_down(answer, received),
            Why::Claim => {
                if let Some(lease) = self.candidate.on_claimed(answer, received) {
                    self.begin(lease, sent, at);
                }
            }
            Why::Renew | Why::Reread | Why::Release => self.served(why, answer, sent, at),
        }
    }

    fn begin(&mut self, lease: Lease, sent: GateInstant, at: Moment) {
        let fixed = self.fixed().clone();
        let from = if fixed.rules.count_from_answer { at.local() } else { sent };
        let deadline = from + fixed.timings.renew_deadline;
        let stop_bound = fixed.timings.stop_bound;
        let tenure = Tenure::new(fixed, lease, from);
        let goes_on = u32::try_from(stop_bound.as_secs()).unwrap_or(1);
        let work = Work { epoch: tenure.epoch(), opened: false, lapses: Some(deadline), closed: None, goes_on };
        self.term = Some(Term { tenure, work, deadline, lost: None, phase: Phase::Leading });
    }

    /// An answer to the holder.
    fn served(&mut self, why: Why, answer: Result<Lease, LockError>, sent: GateInstant, at: Moment) {
        let (hold, pause) = (self.fixed().timings.renew_deadline, self.fixed().timings.retry_period / 4);
        let Some(term) = &mut self.term else { return };
        term.lapse(at);
        if why == Why::Release {
            match answer {
                Ok(_) | Err(LockError::Conflict | LockError::Missing) => self.end(at),
                Err(_) => {
                    if let Phase::Releasing(_, next) = &mut term.phase {
                        *next = at.local() + pause;
                    }
                }
            }
            return;
        }
        let verdict = match why {
            Why::Renew => term.tenure.on_renewed(answer, sent, at.local()),
            _ => term.tenure.on_read(answer, at.local()),
        };
        if term.phase == Phase::Lost {
            return;
        }
        match verdict {
            Verdict::Open => {}
            Verdict::Renewed(sent) => {
                term.deadline = term.deadline.max(sent + hold);
                term.work.lapses = Some(term.deadline);
            }
            Verdict::Lost(_) => {
                term.work.closed = term.work.closed.or(Some(at.tick));
                term.lost = Some(at.local());
                term.phase = Phase::Lost;
            }
        }
    }

    /// The owner stops: the gate closes, and the work goes on for as long as it may.
    pub(crate) fn stop(&mut self, at: Moment) -> bool {
        match &mut self.term {
            Some(term) if term.phase == Phase::Leading && term.work.opened => {
                term.work.closed = Some(at.tick);
                term.phase = Phase::Stopping;
                true
            }
            _ => false,
        }
    }

    /// The term is over for the elector.
    fn end(&mut self, at: Moment) {
        let stop_bound = self.fixed().timings.stop_bound;
        let Some(term) = self.term.take() else { return };
        let closing = term.lost.map_or(term.deadline, |lost| lost.min(term.deadline));
        self.candidate.rest(at.local(), closing + stop_bound);
        self.left = Some(term.work).filter(|work| work.is_active(at));
    }

    pub(crate) fn works(&self) -> [Option<&Work>; 2] {
        [self.term.as_ref().map(|term| &term.work), self.left.as_ref()]
    }

    pub(crate) fn facts(&self, facts: &mut Facts, at: Moment) {
        self.candidate.facts(facts);
        facts.plain(self.fixed().timings.lease_duration.as_secs());
        facts.plain(u64::from(self.term.is_some()) * 2 + u64::from(self.left.is_some()));
        if let Some(term) = &self.term {
            term.tenure.facts(facts);
            term.work.facts(facts, at);
            facts.push(Fact::Local(term.deadline, at.length(term.work.goes_on)));
            if let Some(lost) = term.lost {
                facts.push(Fact::Local(lost, at.length(term.work.goes_on)));
            }
            match term.phase {
                Phase::Leading => facts.plain(0),
                Phase::Lost => facts.plain(1),
                Phase::Stopping => facts.plain(2),
                Phase::Releasing(tries, next) => {
                    facts.plain(3 + u64::from(tries));
                    facts.due(next);
                }
            }
        }
        if let Some(work) = &self.left {
            work.facts(facts, at);
        }
    }
}

impl Term {
    fn lapse(&mut self, at: Moment) {
        if at.local() >= self.deadline {
            self.phase = Phase::Lost;
        }
    }
}
