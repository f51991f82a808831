//! An informer against a cluster of lagging replicas behind a bad network, in virtual time, for many seeds.
//!
//! Goal: whatever the replicas do, the cache converges (I2), each object's states come in order (I1), every life is told
//! to have begun and ended (I3), requests stay within a budget (I9), and nothing
//! is left after the stop (I10). Method: a thousand writes in a minute, twenty
//! faults, one informer; the judgements are those of the simulation library.
//!
//! `WATCHKEEPER_SEEDS=100000 cargo test --release -p watchkeeper-informer --test simulation -- --nocapture` is the long
//! campaign, `WATCHKEEPER_SEED=7` one seed again.
#![allow(clippy::disallowed_methods)]

mod fault;
mod informer;

use std::path::Path;

use fault::What;
use informer::Informer;
use watchkeeper_apiserver::simulate::Suite;
use watchkeeper_apiserver::simulate::suite::Regression;

fn suite() -> Suite {
    let replay = "WATCHKEEPER_SEED={seed} cargo test -p watchkeeper-informer --test simulation".to_owned();
    Suite { replay, ..Suite::new("informer") }
}

/// The main campaign, each kind of fault at least once.
#[test]
fn an_informer_keeps_its_promises() {
    let must_fire = What::NAMES.iter().chain(&What::ACTIONS).map(ToString::to_string).collect();
    let suite = Suite { seeds: 0..200, must_fire, ..suite() }.seeds_from_env().expect("numbers");
    let started = std::time::Instant::now();
    let report = suite.run(&Informer::default());
    println!("{report}{} seeds took {:?}", report.runs, started.elapsed());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    report.failures.iter().for_each(|failed| failed.store("informer", folder).expect("a writable folder"));
    assert!(report.is_green(), "{report}");
}

/// Goal: one seed decides everything. Method: each seed twice, and the traces compared byte by byte.
#[test]
fn two_runs_of_a_seed_are_alike() {
    let suite = Suite { seeds: 0..500, twice: true, ..suite() };
    let report = suite.run(&Informer { writes: 100, ..Informer::default() });
    assert!(report.is_green(), "{report}");
}

/// What has failed once is played for ever.
#[test]
fn regressions_stay_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/regressions");
    for regression in Regression::all(&folder).expect("readable regressions") {
        let verdict = suite().replay(&Informer::default(), &regression);
        assert_eq!(verdict, Ok(()), "{regression:?}");
    }
}

/// Goal: the judgements see an informer that breaks its promises. Method: a handler that loses, repeats or confuses what
/// it is told, and a cache that is looked at too early.
#[test]
fn planted_violations_are_caught() {
    use informer::Planted;
    let planted = [
        (Planted::LosesDeletions, "I3"),
        (Planted::RepeatsOlderStates, "I1"),
        (Planted::TellsAddedTwice, "I3"),
        (Planted::NeverHeals, "I2"),
        (Planted::LeavesATask, "I10"),
    ];
    for (planted, promise) in planted {
        let suite = Suite { seeds: 0..20, most_failures: 1, ..suite() };
        let report = suite.run(&Informer { writes: 200, planted: Some(planted) });
        let failed = report.failures.first().unwrap_or_else(|| panic!("{planted:?} was never seen"));
        assert!(failed.violation.promise == promise || promise == "I3" && failed.violation.promise == "I1", "{report}");
    }
}
