//! Making a failing script small.
//!
//! In: a scenario that fails, and a way to find out whether another one does. Out: a scenario that fails too, of which no
//! single step can be left out. Scripts that can't be played, because they read what was never opened or wait for what is
//! never written, aren't tried.

use super::step::{Scenario, Step};

/// Leaves out steps, first many at once, then one by one, as long as what is left still fails.
pub async fn shrink(mut scenario: Scenario, fails: impl AsyncFn(&Scenario) -> bool) -> Scenario {
    let mut size = (scenario.steps.len() / 2).max(1);
    loop {
        let mut dropped = false;
        // From the end: what reads goes before what it reads.
        let mut end = scenario.steps.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let mut smaller = scenario.clone();
            smaller.steps.drain(start..end);
            if is_playable(&smaller.steps) && fails(&smaller).await {
                scenario = smaller;
                dropped = true;
            }
            end = start;
        }
        match size {
            1 if !dropped => return scenario,
            1 => {}
            _ => size /= 2,
        }
    }
}

fn is_playable(steps: &[Step]) -> bool {
    let opened = |read: usize, watch: &str| {
        steps[..read].iter().any(|step| matches!(step, Step::Watch { name, .. } if name == watch))
    };
    let written = |read: usize, marker: &str| {
        let text = format!("\"marker\":\"{marker}\"");
        steps[..read].iter().any(|step| matches!(step, Step::Ask { body, .. } if body.contains(&text)))
    };
    let saved = |used: usize, text: &str| {
        placeholders(text)
            .all(|wanted| steps[..used].iter().any(|step| matches!(step, Step::Save { name, .. } if name == wanted)))
    };
    steps.iter().enumerate().all(|(number, step)| match step {
        Step::Ask { path, body, .. } => saved(number, path) && saved(number, body),
        Step::Watch { path, .. } => saved(number, path),
        Step::Save { fallback, .. } => fallback.iter().all(|fallback| saved(number, fallback)),
        Step::Read { watch, .. } => opened(number, watch),
        Step::Until { watch, marker } => opened(number, watch) && written(number, marker),
    })
}

/// The names of saved values in a path or a body. Those in JSON can't be taken for one: a member's name has quotes.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    names.filter(|name| *name != "ns" && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
