//! A small world: one Lease, three processes, whole ticks of time, and everything that can happen next.
//!
//! In: a choice. Out: the next world, or the promise that it breaks. Never: chance; where something may go one way or
//! another, that is a choice.
//!
//! Within a tick each process does at once what it has to do; what is open is the order in which requests reach the server,
//! and what goes wrong. Calm is that each request is committed and answered in the tick in which it was sent. Everything
//! else is counted against a [`Budget`].

use std::rc::Rc;

use serde_json::{Value, json};

use super::facts::{Fact, Facts, Part, mark, number_of};
use super::process::{Message, Mind, Process, Verb, Why};
use crate::lock::LockError;
use crate::record::{Epoch, Lease};

/// How often each thing may still go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    /// A request, or its answer, is on its way beyond the tick.
    pub(crate) delays: u8,
    pub(crate) losses: u8,
    pub(crate) pauses: u8,
    /// A process is cut off from the server.
    pub(crate) cuts: u8,
    pub(crate) deletions: u8,
    /// A third party blanks the holder.
    pub(crate) blankings: u8,
    /// A third party writes a duration of one second (where all candidates know the term).
    pub(crate) shortenings: u8,
    /// A third party writes a holder that isn't of this world.
    pub(crate) overwritings: u8,
    /// A leader is asked to give its term up.
    pub(crate) stops: u8,
}

/// What doesn't change in a world.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How long, in ticks, a request may be under way until its answer is there, and longer than its sender waits for it.
    pub(crate) longest_delay: u32,
    /// How long, in ticks, a process is stopped.
    pub(crate) pauses: &'static [u32],
    /// How long, in ticks, a process is cut off.
    pub(crate) cut: u32,
    /// The fastest clock, in nanoseconds a tick.
    pub(crate) fastest: u64,
    /// What is judged beside I11.
    pub(crate) judge_writes: bool,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A request is committed and answered.
    Deliver(u8, u8),
    /// A request is committed, its answer takes longer.
    AnswerLate(u8, u8),
    /// A request is committed, its answer is lost.
    AnswerLost(u8, u8),
    /// A request, or an answer, is lost.
    Lose(u8, u8),
    /// A late answer arrives.
    Arrive(u8, u8),
    Tick,
    /// Time passes, and a process stands still for so many ticks.
    Pause(u8, u8),
    Cut(u8),
    Delete,
    Blank,
    Shorten,
    Overwrite,
    Stop(u8),
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) limits: Rc<Limits>,
    pub(crate) tick: u32,
    pub(crate) processes: Vec<Rc<Process>>,
    pub(crate) lease: Option<Rc<Lease>>,
    version: u64,
    lives: u32,
    /// The tick of the Lease's last change.
    changed: u32,
    /// The highest epoch that was ever opened.
    highest: u128,
    budget: Budget,
}

impl World {
    pub(crate) fn new(limits: Limits, budget: Budget, processes: Vec<Process>) -> Self {
        let mut world = Self {
            limits: Rc::new(limits),
            tick: 100,
            processes: processes.into_iter().map(Rc::new).collect(),
            lease: None,
            version: 100,
            lives: 0,
            changed: 0,
            highest: 0,
            budget,
        };
        world.settle_all();
        world
    }

    /// All that can happen next; what is calm first.
    pub(crate) fn choices(&self, choices: &mut Vec<Choice>) {
        let budget = self.budget;
        choices.clear();
        for (process, message, held) in self.messages() {
            match &held.verb {
                Some(_) => {
                    choices.push(Choice::Deliver(process, message));
                    if held.awaited && budget.delays > 0 && self.tick < held.born + self.limits.longest_delay {
                        choices.push(Choice::AnswerLate(process, message));
                    }
                    if held.awaited && budget.losses > 0 && !matches!(held.verb, Some(Verb::Read)) {
                        choices.push(Choice::AnswerLost(process, message));
                    }
                }
                None if !held.fresh => choices.push(Choice::Arrive(process, message)),
                None => {}
            }
            if budget.losses > 0 {
                choices.push(Choice::Lose(process, message));
            }
        }
        if self.may_pass() {
            choices.push(Choice::Tick);
            for (process, state) in (0..).zip(&self.processes) {
                if budget.pauses > 0 && self.tick >= state.paused {
                    choices.extend((0..self.limits.pauses.len() as u8).map(|length| Choice::Pause(process, length)));
                }
                if budget.cuts > 0 && self.tick >= state.cut {
                    choices.push(Choice::Cut(process));
                }
            }
        }
        if self.lease.is_some() {
            let holder = self.lease.as_ref().map_or("", |lease| lease.holder());
            choices.extend((budget.deletions > 0).then_some(Choice::Delete));
            choices.extend((budget.blankings > 0 && !holder.is_empty()).then_some(Choice::Blank));
            choices.extend((budget.overwritings > 0).then_some(Choice::Overwrite));
            choices.extend((budget.shortenings > 0 && self.all_know_the_term()).then_some(Choice::Shorten));
        }
        if budget.stops > 0 {
            let leading =
                (0..).zip(&self.processes).filter(|(_, state)| state.works().any(|work| work.closed.is_none()));
            choices.extend(leading.map(|(process, _)| Choice::Stop(process)));
        }
    }

    /// What the world is after the choice. None: the choice makes no difference.
    pub(crate) fn take(&self, choice: Choice) -> Result<Option<Self>, String> {
        let mut next = self.clone();
        match choice {
            Choice::Deliver(process, message) => next.deliver(process, message)?,
            Choice::AnswerLate(process, message) => {
                next.budget.delays -= 1;
                let (asked, answer) = next.commit(process, message)?;
                let late = Message { verb: None, answer: Some(answer), fresh: true, ..asked };
                next.change(process, |state, _| state.wire.push(late));
            }
            Choice::AnswerLost(process, message) => {
                next.budget.losses -= 1;
                let _ = next.commit(process, message)?;
                next.change(process, |_, _| {});
            }
            Choice::Lose(process, message) => {
                next.budget.losses -= 1;
                next.change(process, |state, _| drop(state.wire.remove(usize::from(message))));
            }
            Choice::Arrive(process, message) => {
                let tick = next.tick;
                next.change(process, |state, at| {
                    let answer = state.wire.remove(usize::from(message)).answer;
                    match answer {
                        Some(answer) if tick < state.paused => state.inbox = Some(answer),
                        Some(answer) => state.answered(answer, at),
                        None => {}
                    }
                });
            }
            Choice::Tick => next.pass(None, None),
            Choice::Pause(process, length) => {
                next.budget.pauses -= 1;
                next.pass(Some((process, self.limits.pauses[usize::from(length)])), None);
            }
            Choice::Cut(process) => {
                next.budget.cuts -= 1;
                next.pass(None, Some(process));
            }
            Choice::Delete => {
                next.budget.deletions -= 1;
                next.version += 1;
                next.lease = None;
            }
            Choice::Blank => {
                next.budget.blankings -= 1;
                next.edit("holderIdentity", json!(""));
            }
            Choice::Overwrite => {
                next.budget.overwritings -= 1;
                next.edit("holderIdentity", json!("somebody-else"));
            }
            Choice::Shorten => {
                next.budget.shortenings -= 1;
                next.edit("leaseDurationSeconds", json!(1));
            }
            Choice::Stop(process) => {
                next.budget.stops -= 1;
                let mut stops = false;
                next.change(process, |state, at| stops = state.stop(at));
                if !stops {
                    return Ok(None);
                }
            }
        }
        next.judge()?;
        Ok(Some(next))
    }

    /// A mark that is equal for worlds with the same future.
    pub(crate) fn mark(&self) -> u128 {
        let mut common = Facts::default();
        let zero = crate::clock::GateInstant::from_nanos(0);
        match &self.lease {
            Some(lease) => common.record(lease.object()),
            None => common.plain(0),
        }
        common.plain(u64::from(self.lives));
        common.push(Fact::Version(self.highest));
        if self.limits.judge_writes {
            common.plain(u64::from(self.tick - self.changed.max(self.tick - 10)));
        }
        let budget = self.budget;
        for left in [budget.delays, budget.losses, budget.pauses, budget.cuts, budget.deletions, budget.blankings] {
            common.plain(u64::from(left));
        }
        for left in [budget.shortenings, budget.overwritings, budget.stops] {
            common.plain(u64::from(left));
        }
        let parts: Vec<Part<'_>> = self
            .processes
            .iter()
            .map(|state| Part {
                facts: &state.facts,
                number: state.number,
                now: if state.facts.0.is_empty() { zero } else { state.at(self.tick).local() },
            })
            .collect();
        mark(&common, &parts)
    }

    fn messages(&self) -> impl Iterator<Item = (u8, u8, &Message)> {
        (0..)
            .zip(&self.processes)
            .flat_map(|(process, state)| (0..).zip(&state.wire).map(move |(message, held)| (process, message, held)))
    }

    /// Whether the tick may end: what is still under way may take longer.
    fn may_pass(&self) -> bool {
        let fresh = self.messages().filter(|(_, _, held)| held.fresh && held.verb.is_some()).count();
        let old = self.messages().any(|(_, _, held)| self.tick >= held.born + self.limits.longest_delay);
        fresh <= usize::from(self.budget.delays) && !old
    }

    fn pass(&mut self, pause: Option<(u8, u32)>, cut: Option<u8>) {
        let fresh = self.messages().filter(|(_, _, held)| held.fresh && held.verb.is_some()).count();
        self.budget.delays -= u8::try_from(fresh).unwrap_or(u8::MAX);
        self.tick += 1;
        let tick = self.tick;
        if let Some((process, length)) = pause {
            Rc::make_mut(&mut self.processes[usize::from(process)]).paused = tick + length;
        }
        if let Some(process) = cut {
            let length = self.limits.cut;
            let state = Rc::make_mut(&mut self.processes[usize::from(process)]);
            state.cut = tick + length;
            state.wire.clear();
        }
        self.settle_all();
    }

    fn settle_all(&mut self) {
        let tick = self.tick;
        for state in &mut self.processes {
            let state = Rc::make_mut(state);
            state.wire.iter_mut().for_each(|held| held.fresh = false);
            state.settle(tick);
        }
    }

    fn change(&mut self, process: u8, change: impl FnOnce(&mut Process, super::process::Moment)) {
        let tick = self.tick;
        let state = Rc::make_mut(&mut self.processes[usize::from(process)]);
        change(state, state.at(tick));
        state.settle(tick);
    }

    fn deliver(&mut self, process: u8, message: u8) -> Result<(), String> {
        let (asked, answer) = self.commit(process, message)?;
        let tick = self.tick;
        self.change(process, |state, at| {
            if !asked.awaited {
            } else if tick < state.paused {
                state.inbox = Some(answer);
            } else {
                state.answered(answer, at);
            }
        });
        Ok(())
    }

    /// A request reaches the server.
    fn commit(&mut self, process: u8, message: u8) -> Result<(Message, Result<Lease, LockError>), String> {
        let state = Rc::make_mut(&mut self.processes[usize::from(process)]);
        let asked = state.wire.remove(usize::from(message));
        let number = state.number;
        let answer = match &asked.verb {
            None | Some(Verb::Read) => match &self.lease {
                Some(lease) => Ok(Lease::clone(lease)),
                None => Err(LockError::Missing),
            },
            Some(Verb::Create(_)) if self.lease.is_some() => Err(LockError::Conflict),
            Some(Verb::Create(object)) => {
                let mut object = Value::clone(object);
                self.lives += 1;
                object["metadata"]["uid"] = json!(format!("life-{}", self.lives));
                Ok(self.put(object))
            }
            Some(Verb::Update(object)) => match self.lease.clone() {
                None => Err(LockError::Missing),
                Some(stored) => {
                    let same = |field: &str| stored.object()["metadata"][field] == object["metadata"][field];
                    if same("uid") && same("resourceVersion") {
                        self.judge_write(number, asked.why, &stored, object)?;
                        Ok(self.put(Value::clone(object)))
                    } else {
                        Err(LockError::Conflict)
                    }
                }
            },
        };
        Ok((asked, answer))
    }

    fn put(&mut self, mut object: Value) -> Lease {
        self.version += 1;
        self.changed = self.tick;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let lease = Lease::parse(object).expect("a proper object");
        self.lease = Some(Rc::new(lease.clone()));
        lease
    }

    fn edit(&mut self, field: &str, value: Value) {
        if let Some(lease) = &self.lease {
            let mut object = lease.object().clone();
            object["spec"][field] = value;
            self.put(object);
        }
    }

    fn all_know_the_term(&self) -> bool {
        let Some(lease) = &self.lease else { return false };
        !lease.holder().is_empty()
            && self.processes.iter().all(|state| match &state.mind {
                Mind::Follower(follower) => {
                    state.number == number_of(lease.holder()) || follower.candidate.knows_term(lease)
                }
                Mind::ClientGo(_) => false,
            })
    }

    /// What no write of a follower may do: give back what is another's, or take it before its time.
    fn judge_write(&self, number: u8, why: Why, stored: &Lease, object: &Value) -> Result<(), String> {
        let (before, after) = (stored.holder(), object["spec"]["holderIdentity"].as_str().unwrap_or_default());
        if !self.limits.judge_writes || before.is_empty() || number_of(before) == number {
            return Ok(());
        }
        if why == Why::Release {
            return Err(format!("theft: {} gives back what {} holds", name(number), name(number_of(before))));
        }
        let age = u64::from(self.tick - self.changed) * self.limits.fastest;
        let recorded = stored.duration().unwrap_or_default();
        if after != before && u128::from(age) < recorded.as_nanos() {
            return Err(format!(
                "theft: {} takes from {}, whose record is {} ticks old",
                name(number),
                name(number_of(before)),
                self.tick - self.changed
            ));
        }
        Ok(())
    }

    /// I11: no effects of two terms at once. I13: epochs increase from one opening to the next.
    fn judge(&mut self) -> Result<(), String> {
        let mut active: Option<(u8, Epoch)> = None;
        let mut highest = self.highest;
        for state in &self.processes {
            let at = state.at(self.tick);
            for work in state.works().filter(|work| work.is_active(at)) {
                let epoch = work.epoch;
                if let Some((other, theirs)) = active {
                    return Err(format!(
                        "I11: {} (epoch {theirs}) and {} (epoch {epoch}) may both act",
                        name(other),
                        name(state.number)
                    ));
                }
                active = Some((state.number, epoch));
                if epoch.number() < self.highest {
                    return Err(format!("I13: epoch {epoch} acts after epoch {}", self.highest));
                }
                highest = highest.max(epoch.number());
            }
        }
        self.highest = highest;
        Ok(())
    }
}

/// The processes' names in traces.
pub(crate) fn name(number: u8) -> String {
    match number {
        0 => "nobody".to_owned(),
        1..=8 => char::from(b'A' + number - 1).to_string(),
        _ => "somebody else".to_owned(),
    }
}
