//! The matrix of a Lease's faults: 14 faults in 5 states of a candidate, in virtual time against the embedded API server.
//!
//! Goal: whatever goes wrong with whichever request, no two gates are open at once, effects included (I11); a gate that must
//! close does so in time, and one that need not stays open; somebody leads in time (I14); requests stay within a budget (I9);
//! transitions count changes of the holder, and what others wrote stays; nothing is left after the stop (I10). Method: one
//! table of faults, one of what must come of them; each cell that can exist is played in all variants, and all that fail are
//! named. The holder's clock is as slow and its rival's as fast as stated, the timings are on the edge of what is safe.
//!
//! `WATCHKEEPER_CELL="500/renewing" cargo test -p watchkeeper-leader --test matrix -- --nocapture` plays one.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

mod breach;
mod cell;
#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/config.rs"]
mod config;
mod docs;
mod excluded;
mod fault;
mod grid;
mod log;
mod process;
mod rows;
#[path = "../support/scripted.rs"]
mod scripted;
mod state;
#[path = "../support/terms.rs"]
mod terms;
mod wire;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use breach::Breach;
use cell::Cell;
use excluded::excluded;
use fault::{FAULTS, Variant};
use log::Log;
use state::State;

const CELLS: usize = 70;

/// Plays a variant in a runtime of its own whose time stands still while anything can be done.
fn play(fault: &'static str, state: State, variant: &Variant, breach: Option<Breach>) -> (String, Vec<String>) {
    let (cell, log) = (Cell { fault, state, variant, breach }, Log::new());
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    // One that panics doesn't keep the others from being played.
    let played = catch_unwind(AssertUnwindSafe(|| {
        tracing::subscriber::with_default(log.clone(), || runtime.block_on(cell.play(log)))
    }));
    (cell.to_string(), played.unwrap_or_else(|_| vec!["it panicked".to_owned()]))
}

#[test]
fn every_fault_in_every_state() {
    let started = std::time::Instant::now();
    let only = std::env::var("WATCHKEEPER_CELL").ok();
    let cells = FAULTS.iter().flat_map(|fault| State::ALL.into_iter().map(move |state| (fault, state)));
    let cells = cells
        .filter(|(fault, state)| only.as_ref().is_none_or(|only| *only == format!("{}/{}", fault.name, state.name())));
    let (mut run, mut played, mut out, mut failures) = (0, 0, BTreeMap::<_, usize>::new(), Vec::new());
    for (fault, state) in cells {
        if let Some(reason) = excluded(fault.name, state) {
            *out.entry(reason).or_default() += 1;
            continue;
        }
        run += 1;
        for variant in (fault.variants)(state) {
            played += 1;
            let (name, complaints) = play(fault.name, state, &variant, None);
            if !complaints.is_empty() {
                failures.push(format!("{name}: {}", complaints.join("; ")));
            }
        }
    }
    out.iter().for_each(|(reason, cells)| println!("{cells} cells excluded: {reason}"));
    let out: usize = out.values().sum();
    println!("{run} cells run in {played} variants, {out} excluded, in {:?}", started.elapsed());
    assert_eq!(run + out, if only.is_some() { 1 } else { CELLS });
    assert!(failures.is_empty(), "{} variants:\n{}", failures.len(), failures.join("\n"));
}

/// Goal: the matrix sees candidates that break the rules. Method: one breach at a time, in a cell that shows it.
#[test]
fn planted_breaches_are_seen() {
    let planted = [
        (Breach::TakesSilenceForSuccess, "connection refused", State::Leading, "I11"),
        (Breach::StandingClock, "hang before headers", State::Leading, "I11"),
        (Breach::ReleasesBeforeTheStop, "answer after D", State::Releasing, "I11"),
        (Breach::SeesNoOtherHolder, "Lease edited by a third party", State::Leading, "was to close"),
        (Breach::HiddenRetries, "500", State::Leading, "I9"),
        (Breach::DropsWhatOthersWrote, "500", State::Renewing, "what others wrote"),
        (Breach::LeavesATask, "500", State::Candidate, "I10"),
    ];
    for (breach, fault, state, seen) in planted {
        let fault = FAULTS.iter().find(|known| known.name == fault).expect("a known fault");
        let complaints: Vec<_> = (fault.variants)(state)
            .iter()
            .flat_map(|variant| play(fault.name, state, variant, Some(breach)).1)
            .collect();
        assert!(complaints.iter().any(|what| what.contains(seen)), "{breach:?} was not seen: {complaints:#?}");
    }
}
