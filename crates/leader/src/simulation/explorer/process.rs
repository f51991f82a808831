//! One process of a small world: what it is waiting for, its wire, and the mind that decides.
//!
//! In: answers, time, faults. Out: requests. Never: decides anything about the Lease by itself.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::client_go::ClientGo;
use super::facts::{Fact, Facts};
use super::follower::Follower;
use super::work::Work;
use crate::clock::GateInstant;
use crate::lock::LockError;
use crate::record::Lease;

/// What time it is: in ticks of true time, and on a process's own clock, which passes `rate` nanoseconds a tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) tick: u32,
    pub(crate) rate: u64,
}

impl Moment {
    pub(crate) fn local(self) -> GateInstant {
        self.local_at(self.tick)
    }

    pub(crate) fn local_at(self, tick: u32) -> GateInstant {
        GateInstant::from_nanos(self.rate * u64::from(tick))
    }

    /// The own clock, this many ticks ago.
    pub(crate) fn before(self, ticks: u32) -> GateInstant {
        self.local_at(self.tick.saturating_sub(ticks))
    }

    /// How far the own clock moves in this many ticks.
    pub(crate) fn length(self, ticks: u32) -> Duration {
        Duration::from_nanos(self.rate * u64::from(ticks))
    }

    /// A wall time that no other tick has.
    pub(crate) fn wall(self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_700_000_000 + i64::from(self.tick)).expect("a date in range")
    }
}

/// A request of a process.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) why: Why,
    pub(crate) verb: Verb,
    pub(crate) patience: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Verb {
    Read,
    Create(Rc<Value>),
    Update(Rc<Value>),
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Look,
    PutDown,
    Claim,
    Renew,
    Reread,
    Release,
}

/// A request under way, or its answer.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) why: Why,
    /// What is asked; None: it is the answer that is under way.
    pub(crate) verb: Option<Verb>,
    pub(crate) answer: Option<Result<Lease, LockError>>,
    pub(crate) born: u32,
    /// It was sent, or committed, in this tick.
    pub(crate) fresh: bool,
    /// Its sender still waits for it.
    pub(crate) awaited: bool,
}

/// What a process waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) why: Why,
    pub(crate) sent: GateInstant,
    pub(crate) until: GateInstant,
}

#[derive(Clone, Debug)]
pub(crate) enum Mind {
    Follower(Box<Follower>),
    ClientGo(Box<ClientGo>),
}

#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) number: u8,
    pub(crate) rate: u64,
    pub(crate) mind: Mind,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) wire: Vec<Message>,
    /// An answer that came while the process was stopped.
    pub(crate) inbox: Option<Result<Lease, LockError>>,
    /// Stopped (its clock and its work go on) before this tick.
    pub(crate) paused: u32,
    /// Cut off from the server before this tick.
    pub(crate) cut: u32,
    pub(crate) facts: Facts,
}

impl Process {
    pub(crate) fn at(&self, tick: u32) -> Moment {
        Moment { tick, rate: self.rate }
    }

    /// Does all there is to do now.
    pub(crate) fn settle(&mut self, tick: u32) {
        let at = self.at(tick);
        while tick >= self.paused {
            if let Some(answer) = self.inbox.take() {
                self.answered(answer, at);
                continue;
            }
            if let Some(waiting) = self.waiting {
                // An answer that comes just in time still counts.
                let coming = self.wire.iter().any(|message| message.awaited);
                if at.local() < waiting.until || (coming && at.local() == waiting.until) {
                    self.idle(at);
                    break;
                }
                self.wire.iter_mut().for_each(|message| message.awaited = false);
                self.wire.retain(|message| message.verb.is_some());
                self.answered(Err(LockError::unknown("late")), at);
                continue;
            }
            let ask = match &mut self.mind {
                Mind::Follower(follower) => follower.turn(at),
                Mind::ClientGo(elector) => elector.turn(at),
            };
            let Some(Ask { why, verb, patience }) = ask else { break };
            self.waiting = Some(Waiting { why, sent: at.local(), until: at.local() + patience });
            if tick >= self.cut {
                let message = Message { why, verb: Some(verb), answer: None, born: tick, fresh: true, awaited: true };
                self.wire.push(message);
            }
        }
        self.note(at);
    }

    /// What is noticed while a request is waited for.
    fn idle(&mut self, at: Moment) {
        if let Mind::Follower(follower) = &mut self.mind {
            follower.tick(at);
        }
    }

    /// An answer has come (or the time for it has run out).
    pub(crate) fn answered(&mut self, answer: Result<Lease, LockError>, at: Moment) {
        let Some(Waiting { why, sent, .. }) = self.waiting.take() else { return };
        match &mut self.mind {
            Mind::Follower(follower) => follower.answered(why, answer, sent, at),
            Mind::ClientGo(elector) => elector.answered(why, answer, at),
        }
    }

    /// The process is asked to give its term up. False: it has none to give.
    pub(crate) fn stop(&mut self, at: Moment) -> bool {
        match &mut self.mind {
            Mind::Follower(follower) => follower.stop(at),
            Mind::ClientGo(elector) => {
                let stops = elector.stop();
                if stops {
                    self.waiting = None;
                    self.wire.iter_mut().for_each(|message| message.awaited = false);
                    self.wire.retain(|message| message.verb.is_some());
                }
                stops
            }
        }
    }

    pub(crate) fn works(&self) -> impl Iterator<Item = &Work> {
        let both = match &self.mind {
            Mind::Follower(follower) => follower.works(),
            Mind::ClientGo(elector) => [elector.work.as_ref(), None],
        };
        both.into_iter().flatten()
    }

    fn note(&mut self, at: Moment) {
        let mut facts = Facts(Vec::with_capacity(self.facts.0.len() + 8));
        match &self.mind {
            Mind::Follower(follower) => follower.facts(&mut facts, at),
            Mind::ClientGo(elector) => elector.facts(&mut facts, at),
        }
        facts.plain(self.rate);
        facts.plain(self.waiting.map_or(0, |waiting| 1 + waiting.why as u64));
        if let Some(waiting) = self.waiting {
            facts.push(Fact::Local(waiting.sent, Duration::from_secs(100)));
            facts.due(waiting.until);
        }
        facts.due(at.local_at(self.paused));
        facts.due(at.local_at(self.cut));
        answer(&mut facts, self.inbox.as_ref());
        for message in &self.wire {
            let verb = message.verb.as_ref().map_or(0, |verb| match verb {
                Verb::Read => 1,
                Verb::Create(_) => 2,
                Verb::Update(_) => 3,
            });
            facts.plain(
                100 + verb * 64 + message.why as u64 * 4 + u64::from(message.fresh) * 2 + u64::from(message.awaited),
            );
            facts.push(Fact::Local(at.local_at(message.born), Duration::from_secs(100)));
            match &message.verb {
                None | Some(Verb::Read) => {}
                Some(Verb::Create(object) | Verb::Update(object)) => facts.record(object),
            }
            answer(&mut facts, message.answer.as_ref());
        }
        self.facts = facts;
    }
}

fn answer(facts: &mut Facts, answer: Option<&Result<Lease, LockError>>) {
    match answer {
        None => facts.plain(0),
        Some(Ok(lease)) => facts.record(lease.object()),
        Some(Err(LockError::Missing)) => facts.plain(1),
        Some(Err(LockError::Conflict)) => facts.plain(2),
        Some(Err(_)) => facts.plain(3),
    }
}
