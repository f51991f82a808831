//! Whatever a Lease says, and however its requests are answered, in any order.
//!
//! Goal: no content of a Lease and no order of answers makes an elector panic, ask without pause, or drop what others wrote;
//! and as long as the server is honest and nobody forges what only a holder may say, no two gates are open, effects included.
//! Method: two electors on clocks at the stated error, one server in memory, a script drawn from a seed: mutations of a true
//! Lease put in its place at any time, older states of it restored, and errors, lost answers and hangs for any request. A
//! failure prints its seed.
//!
//! `WATCHKEEPER_FUZZ_SECONDS` says how long it runs (default: [`ROUNDS`] rounds), `WATCHKEEPER_FUZZ_SEED` where it begins.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/config.rs"]
mod config;
mod content;
mod round;
#[path = "../support/scripted.rs"]
mod scripted;
#[path = "../support/terms.rs"]
mod terms;

use std::time::{Duration, Instant};

use round::{Findings, Forge, Plan, play};

/// Rounds where no time is given.
const ROUNDS: u64 = 2_000;

/// Plays rounds for as long as is asked, each from a seed of its own.
fn rounds(plan: Plan) -> Findings {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let first = number("WATCHKEEPER_FUZZ_SEED").unwrap_or(0);
    let (started, lasts) = (Instant::now(), number("WATCHKEEPER_FUZZ_SECONDS").map(Duration::from_secs));
    let (mut seed, mut all) = (first, Findings::default());
    while lasts.map_or(seed - first < ROUNDS, |lasts| started.elapsed() < lasts) {
        let found = std::panic::catch_unwind(|| play(plan, seed)).unwrap_or_else(|panic| {
            eprintln!("again with WATCHKEEPER_FUZZ_SEED={seed}");
            std::panic::resume_unwind(panic)
        });
        assert!(found.wrong.is_empty(), "{plan:?}: again with WATCHKEEPER_FUZZ_SEED={seed}: {:#?}", found.wrong);
        all.terms += found.terms;
        all.changes += found.changes;
        seed += 1;
    }
    println!("{plan:?}: {} rounds, {} terms, {} changes by others", seed - first, all.terms, all.changes);
    all
}

/// Changes cost time, not safety.
#[test]
fn contents() {
    let all = rounds(Plan { forge: Forge::Nothing, ..Plan::default() });
    assert!(all.terms > 100 && all.changes > 1_000, "{all:?}");
}

/// The same, where older states of the Lease are put back as from a backup.
#[test]
fn backups() {
    rounds(Plan { forge: Forge::Backups, ..Plan::default() });
}

/// What only a holder may say is said by others too: then nothing is promised of the gates, but all else is.
#[test]
fn forgeries() {
    let all = rounds(Plan { forge: Forge::Anything, ..Plan::default() });
    assert!(all.terms > 100 && all.changes > 1_000, "{all:?}");
}

/// Goal: the judgements see what they are for. Method: one breach at a time, until it is seen.
#[test]
fn planted_breaches_are_seen() {
    for (breach, seen) in
        [(round::Breach::StandingClock, "I11"), (round::Breach::Hasty, "I9"), (round::Breach::Forgetful, "dropped")]
    {
        let plan = Plan { forge: Forge::Nothing, breach: Some(breach) };
        let found = (0..ROUNDS).find(|seed| play(plan, *seed).wrong.iter().any(|wrong| wrong.starts_with(seen)));
        println!("{breach:?}: seen by seed {found:?}");
        assert!(found.is_some(), "{breach:?} was never seen");
    }
}
