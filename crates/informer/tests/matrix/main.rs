//! The matrix of faults: 24 faults, 6 phases, 3 sizes, in virtual time against the embedded API server.
//!
//! Goal: whatever goes wrong, whenever, the informer says so, asks no more than its table of requests allows, holds no more
//! than a bound, is right again in time, and stops at once. Method: one table of faults, one of phases; each cell that can
//! exist is played, one after another, and all that fail are named.
//!
//! `WATCHKEEPER_CELL="undecodable/steady watch/10" cargo test -p watchkeeper-informer --test matrix -- --nocapture`
//! plays one.
#![allow(clippy::disallowed_methods)]

mod cell;
mod excluded;
mod fault;
mod heap;
mod phase;
mod story;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cell::{Cell, Figures};
use excluded::excluded;
use fault::FAULTS;
use phase::{Phase, SIZES};
use world::Stock;

const CELLS: usize = 432;

/// A runtime of its own whose time stands still while anything can be done.
fn in_virtual_time<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(what)
}

#[test]
fn every_fault_in_every_phase_at_every_size() {
    let started = std::time::Instant::now();
    let only = std::env::var("WATCHKEEPER_CELL").ok();
    let stock = in_virtual_time(Stock::filled());
    let cells = FAULTS
        .iter()
        .flat_map(|fault| Phase::ALL.into_iter().flat_map(move |phase| SIZES.map(|size| Cell { fault, phase, size })));
    let (mut run, mut out, mut failures) = (0, BTreeMap::<_, usize>::new(), Vec::new());
    for cell in cells.filter(|cell| only.as_ref().is_none_or(|only| *only == cell.to_string())) {
        if let Some(reason) = excluded(cell.fault.name, cell.phase, cell.size) {
            *out.entry(reason).or_default() += 1;
            continue;
        }
        run += 1;
        let begun = std::time::Instant::now();
        // One that panics doesn't keep the others from being played.
        let played = catch_unwind(AssertUnwindSafe(|| in_virtual_time(cell.play(&stock))));
        let (complaints, figures) = played.unwrap_or_else(|_| (vec!["it panicked".to_owned()], Figures::default()));
        summary(&cell, &figures, begun.elapsed());
        if !complaints.is_empty() {
            failures.push(format!("{cell}: {}", complaints.join("; ")));
        }
    }
    out.iter().for_each(|(reason, cells)| println!("{cells} cells excluded: {reason}"));
    let out: usize = out.values().sum();
    println!("{run} cells run, {out} excluded, in {:?}", started.elapsed());
    assert_eq!(run + out, if only.is_some() { 1 } else { CELLS });
    assert!(failures.is_empty(), "{} cells:\n{}", failures.len(), failures.join("\n"));
}

fn summary(cell: &Cell, figures: &Figures, took: std::time::Duration) {
    let Figures { healed, requests, retained, most } = figures;
    println!(
        "{cell}: healed after {healed:?}, {requests} requests a minute, kept {retained}, held {most}, took {took:?}"
    );
}
