//! An informer against a cluster of lagging replicas behind a bad network, in virtual time, for many seeds.
//!
//! Goal: whatever the replicas do, the cache converges (I2), each object's states come in order (I1), every life is told
//! to have begun and ended (I3), requests stay within a budget (I9), and nothing
//! is left after the stop (I10). Method: a thousand writes in a minute, twenty
//! faults, one informer; the judgements are those of the simulation library.
//!
//! A second scenario has a crowd that sees what is cached: handlers, streams, sources, readers, indexes. Each of them has to
//! have seen, of each object, a subsequence of what it was (I1), lives from beginning to end (I3), and in the end what there is (I2, I4).
//!
//! In a third one a namespace leaves the informer and comes back, again and again.
//!
//! `WATCHKEEPER_SEEDS=100000 cargo test --release -p watchkeeper-informer --test simulation -- --nocapture` is the long
//! campaign, `WATCHKEEPER_SEED=7` one seed again.
#![allow(clippy::disallowed_methods)]

mod crowd;
mod fault;
mod informer;
mod nomads;
mod observer;
mod setting;

use std::path::Path;

use crowd::Crowd;
use fault::What;
use informer::Informer;
use nomads::Nomads;
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

fn crowd_suite() -> Suite {
    let replay = "WATCHKEEPER_SEED={seed} cargo test -p watchkeeper-informer --test simulation crowd".to_owned();
    Suite { replay, ..Suite::new("crowd") }
}

/// Goal: whatever the server does, and who comes, goes, panics or takes long, each who sees the cache sees the truth, if late.
/// Each kind of fault, and each thing that the crowd does, at least once.
#[test]
fn a_crowd_sees_the_truth() {
    let must_fire = What::NAMES.iter().chain(&What::ACTIONS).chain(&crowd::DOINGS).map(ToString::to_string).collect();
    let suite = Suite { seeds: 0..500, must_fire, ..crowd_suite() }.seeds_from_env().expect("numbers");
    let started = std::time::Instant::now();
    let report = suite.run(&Crowd { writes: 300, breach: None });
    println!("{report}{} seeds took {:?}", report.runs, started.elapsed());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    report.failures.iter().for_each(|failed| failed.store("crowd", folder).expect("a writable folder"));
    assert!(report.is_green(), "{report}");
}

/// Goal: the judgements of the crowd see each kind of breach. Method: one who is in the crowd gets one thing wrong.
#[test]
fn planted_breaches_of_a_crowd_are_caught() {
    use crowd::Breach;
    use observer::Flaw;
    let planted = [
        (Breach::Source(Flaw::LosesDeletions), "I3"),
        (Breach::Handler(Flaw::RepeatsOlderStates), "I1"),
        (Breach::Stream(Flaw::IsAddedTwice), "I3"),
        (Breach::Handler(Flaw::StopsListening), "I2"),
        (Breach::Lister(Flaw::SeesAnOldList), "I1"),
        (Breach::Resync(Flaw::IsRemindedOfAnOlderState), "I3"),
        (Breach::CallAfterTheEnd, "I10"),
        (Breach::IndexMisses, "I4"),
        (Breach::SnapshotOfBefore, "I4"),
    ];
    for (breach, promise) in planted {
        let report =
            Suite { seeds: 0..20, most_failures: 1, ..crowd_suite() }.run(&Crowd { writes: 200, breach: Some(breach) });
        let failed = report.failures.first().unwrap_or_else(|| panic!("{breach:?} was never seen"));
        assert_eq!(failed.violation.promise, promise, "{breach:?}: {report}");
    }
}

fn nomads_suite() -> Suite {
    let replay = "WATCHKEEPER_SEED={seed} cargo test -p watchkeeper-informer --test simulation nomads".to_owned();
    Suite { replay, ..Suite::new("nomads") }
}

/// Goal: a namespace that leaves and comes back is told of as it is, whenever it is there, and not at all when it isn't.
#[test]
fn nomads_come_and_go() {
    let must_fire = What::NAMES.iter().chain(&nomads::DOINGS).map(ToString::to_string).collect();
    let suite = Suite { seeds: 0..200, must_fire, ..nomads_suite() }.seeds_from_env().expect("numbers");
    let started = std::time::Instant::now();
    let report = suite.run(&Nomads { planted: None });
    println!("{report}{} seeds took {:?}", report.runs, started.elapsed());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    report.failures.iter().for_each(|failed| failed.store("nomads", folder).expect("a writable folder"));
    assert!(report.is_green(), "{report}");
}

/// Goal: the judgements of the nomads see each kind of violation.
#[test]
fn planted_violations_of_nomads_are_caught() {
    use nomads::Planted;
    let planted = [
        (Planted::LosesEnds, "I3"),
        (Planted::RepeatsOlderStates, "I1"),
        (Planted::StaysAway, "I2"),
        (Planted::OnlyPretendsToLeave, "I4"),
        (Planted::LeavesATask, "I10"),
    ];
    for (planted, promise) in planted {
        let report = Suite { seeds: 0..20, most_failures: 1, ..nomads_suite() }.run(&Nomads { planted: Some(planted) });
        let failed = report.failures.first().unwrap_or_else(|| panic!("{planted:?} was never seen"));
        assert_eq!(failed.violation.promise, promise, "{planted:?}: {report}");
    }
}
