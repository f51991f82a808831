//! A way through a small world, in lines to read.
//!
//! In: a world and choices. Out: one line a step. Never: leaves a step out, or tells what didn't happen.

use super::process::{Process, Verb, Why};
use super::world::{Choice, World, name};
use crate::record::Lease;

/// The steps of a way, one line each, and what each has brought about.
pub(crate) fn tell(start: &World, steps: &[Choice]) -> Vec<String> {
    let mut world = start.clone();
    let mut lines = Vec::with_capacity(steps.len());
    for step in steps {
        let what = what(&world, *step);
        match world.take(*step) {
            Ok(Some(next)) => {
                lines.push(format!("tick {:>2}: {what}{}", next.tick - start.tick, news(&world, &next)));
                world = next;
            }
            Ok(None) => {}
            Err(broken) => lines.push(format!("tick {:>2}: {what} => {broken}", world.tick - start.tick)),
        }
    }
    lines
}

fn what(world: &World, step: Choice) -> String {
    let who = |process: u8| name(world.processes[usize::from(process)].number);
    let ask = |process: u8, message: u8| {
        let held = &world.processes[usize::from(process)].wire[usize::from(message)];
        let answer = if held.verb.is_none() { "the answer to " } else { "" };
        let late = if held.fresh { "" } else { "late, " };
        let aim = match (held.why, &held.verb) {
            (Why::Look, _) => "read",
            (Why::PutDown, _) => "create",
            (Why::Claim, _) => "takeover",
            (Why::Renew, _) => "renewal",
            (Why::Reread, _) => "re-read",
            (Why::Release, _) => "release",
        };
        let result = match &held.verb {
            Some(Verb::Update(object)) => {
                let stale = world.lease.as_ref().is_none_or(|lease| {
                    lease.object()["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"]
                });
                if stale { " is refused" } else { " is committed" }
            }
            Some(Verb::Create(_)) if world.lease.is_some() => " is refused",
            Some(Verb::Create(_)) => " is committed",
            _ => "",
        };
        (format!("{late}{answer}{}'s {aim}", who(process)), result)
    };
    match step {
        Choice::Deliver(process, message) => {
            let (ask, result) = ask(process, message);
            format!("{ask}{result}{}", if result.is_empty() { " is answered" } else { "" })
        }
        Choice::AnswerLate(process, message) => {
            let (ask, result) = ask(process, message);
            format!("{ask}{result}, its answer takes longer")
        }
        Choice::AnswerLost(process, message) => {
            let (ask, result) = ask(process, message);
            format!("{ask}{result}, its answer is lost")
        }
        Choice::Lose(process, message) => format!("{} is lost", ask(process, message).0),
        Choice::Arrive(process, message) => format!("{} arrives", ask(process, message).0),
        Choice::Tick => "time passes".to_owned(),
        Choice::Pause(process, length) => {
            format!("time passes; {} stands still for {} ticks", who(process), world.limits.pauses[usize::from(length)])
        }
        Choice::Cut(process) => format!("time passes; {} is cut off for {} ticks", who(process), world.limits.cut),
        Choice::Delete => "a third party deletes the Lease".to_owned(),
        Choice::Blank => "a third party blanks the holder".to_owned(),
        Choice::Shorten => "a third party shortens the recorded duration to one tick".to_owned(),
        Choice::Overwrite => "a third party writes somebody else as the holder".to_owned(),
        Choice::Stop(process) => format!("{} is asked to give its term up", who(process)),
    }
}

/// What has changed: the record's holder, and who may act.
fn news(before: &World, after: &World) -> String {
    let holder = |world: &World| world.lease.as_deref().map(Lease::holder).map(super::facts::number_of);
    let mut news = String::new();
    if holder(before) != holder(after) {
        let now = holder(after).map_or("no Lease".to_owned(), |number| format!("held by {}", name(number)));
        news.push_str(&format!("; the Lease: {now}"));
    }
    for (before_state, after_state) in before.processes.iter().zip(&after.processes) {
        let acts =
            |state: &Process, tick| state.works().find(|work| work.is_active(state.at(tick))).map(|work| work.epoch);
        match (acts(before_state, before.tick), acts(after_state, after.tick)) {
            (None, Some(epoch)) => news.push_str(&format!("; {} may act (epoch {epoch})", name(after_state.number))),
            (Some(_), None) => news.push_str(&format!("; {} acts no more", name(after_state.number))),
            _ => {}
        }
    }
    news
}
