//! Candidates for one Lease on a simulated cluster behind a bad network, in virtual time, for many seeds.
//!
//! Goal: at most one gate is open (I11), no write of an older epoch follows one of a newer (I12), epochs increase and are
//! written by their owners only (I13), whoever is left leads after healing (I14), requests stay within a budget (I9), and
//! nothing is left after the stop (I10). Method: three processes, each with a clock of its own at up to the stated error and
//! its own way to the server; freezes, crashes, hand-overs, partitions and lost answers; the judgements are those of the
//! simulation library, in true time.
//!
//! `src/simulation` breaks the rules of the election one by one, on a Lease of its own; here everything is as in a program,
//! down to HTTP.
//!
//! `WATCHKEEPER_SEEDS=5000 cargo test -p watchkeeper-leader --test simulation candidates -- --nocapture` is the long
//! campaign, `WATCHKEEPER_SEED=7` one seed again.
#![allow(clippy::disallowed_methods)]

mod candidates;
#[path = "../support/clock.rs"]
mod clock;
mod fault;
mod process;
#[path = "../support/terms.rs"]
mod terms;

use candidates::Candidates;
use fault::What;
use process::Planted;
use watchkeeper_apiserver::simulate::Suite;

fn suite() -> Suite {
    let replay = "WATCHKEEPER_SEED={seed} cargo test -p watchkeeper-leader --test simulation".to_owned();
    Suite { replay, ..Suite::new("candidates") }
}

/// The main campaign, each kind of fault at least once.
#[test]
fn candidates_keep_their_promises() {
    let must_fire = What::NAMES.iter().chain(&What::ACTIONS).map(ToString::to_string).collect();
    let suite = Suite { seeds: 0..150, must_fire, ..suite() }.seeds_from_env().expect("numbers");
    let report = suite.run(&Candidates::default());
    println!("{report}");
    assert!(report.is_green(), "{report}");
}

/// Goal: one seed decides everything. Method: each seed twice, and the traces compared byte by byte.
#[test]
fn two_runs_of_a_seed_are_alike() {
    let report = Suite { seeds: 0..30, twice: true, ..suite() }.run(&Candidates::default());
    assert!(report.is_green(), "{report}");
}

/// Goal: the judgements see candidates that break the rules. Method: one breach at a time.
#[test]
fn planted_violations_are_caught() {
    let planted = [
        (Planted::SlowClock, "I11"),
        (Planted::ReleasesTooEarly, "I11"),
        (Planted::WritesWithoutFence, "I12"),
        (Planted::BorrowsAnEpoch, "I13"),
        (Planted::NeverHeals, "I14"),
        (Planted::LeavesATask, "I10"),
    ];
    for (planted, promise) in planted {
        let suite = Suite { seeds: 0..100, most_failures: 1, ..suite() };
        let report = suite.run(&Candidates { planted: Some(planted) });
        let failed = report.failures.first().unwrap_or_else(|| panic!("{planted:?} was never seen"));
        assert_eq!(failed.violation.promise, promise, "{planted:?}: {report}");
    }
}
