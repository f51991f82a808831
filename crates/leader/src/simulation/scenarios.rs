//! The simulation's tests: many seeds under the real rules, and each broken rule caught.

use super::*;

/// Seeds of an ordinary test run; `WATCHKEEPER_SEEDS` asks for more.
const SEEDS: u64 = 500;

fn seeds() -> u64 {
    std::env::var("WATCHKEEPER_SEEDS").ok().map_or(SEEDS, |text| text.parse().expect("a number of seeds"))
}

/// Goal: I11 to I13 and recovery (I14) hold for any seed. Method: three to five processes on clocks at the stated error, timings on
/// the edge, delays, losses, cuts, pauses, suspensions, crashes, hand-overs, deletions and edits; a judge in true time, and one of the
/// object that all leaders write behind their fences.
#[test]
fn no_two_gates_are_open_in_any_seed() {
    let (mut terms, mut writes) = (0, 0);
    for seed in 0..seeds() {
        let findings = explore(&Plan::new(), seed);
        assert!(findings.violations.is_empty(), "seed {seed}: {:#?}", findings.violations);
        terms += findings.terms;
        writes += findings.writes;
    }
    // Otherwise the runs show little.
    assert!(terms as u64 > 4 * seeds(), "only {terms} terms in {} seeds", seeds());
    println!("{terms} terms, {writes} writes");
    assert!(writes > 15 * seeds(), "only {writes} writes in {} seeds", seeds());
}

/// Goal: what the rules are worth, in one line. Method: the same seeds by these rules, on the edge of their arithmetic, and by
/// client-go's at its 15 s, 10 s and 2 s, without a fence; those count in which the effects of two terms overlap, and those in which an
/// older term writes after a newer one.
#[test]
fn overlaps_beside_client_go() {
    let habits = Habits { release_before_stop: true, unfenced: true, ..Habits::default() };
    let client_go = Plan { timings: Timings::default(), rules: Rules::CLIENT_GO, habits, ..Plan::new() };
    let breaches = |plan: &Plan| {
        let (mut overlaps, mut overwrites) = (0, 0);
        for seed in 0..seeds() {
            let violations = explore(plan, seed).violations;
            let broken = |promise: &str| u64::from(violations.iter().any(|broken| broken.starts_with(promise)));
            overlaps += broken("I11");
            overwrites += broken("I12");
        }
        (overlaps, overwrites)
    };
    let (ours, theirs) = (breaches(&Plan::new()), breaches(&client_go));
    println!("watchkeeper: {} of {} seeds with overlap; client-go's rules: {}", ours.0, seeds(), theirs.0);
    println!(
        "watchkeeper: {} of {} seeds with an older term's write; client-go's rules: {}",
        ours.1,
        seeds(),
        theirs.1
    );
    assert_eq!(ours, (0, 0));
    assert!(theirs.0 > 0 && theirs.1 > 0);
}

/// Goal: I12 rests on fence and versions alone, whatever the clocks and the election do, and the judge would see it broken. Method:
/// client-go's rules, so that leaders overlap, behind the fence; then without the fence, then without versions.
#[test]
fn the_fence_holds_when_leaders_overlap() {
    let plan = |unfenced, unversioned| {
        let habits = Habits { release_before_stop: true, unfenced, unversioned, ..Habits::default() };
        Plan { timings: Timings::default(), rules: Rules::CLIENT_GO, habits, ..Plan::new() }
    };
    let found = |plan: &Plan, promise: &str| {
        (0..100).filter(|seed| explore(plan, *seed).violations.iter().any(|broken| broken.starts_with(promise))).count()
    };
    let fenced = plan(false, false);
    assert!(found(&fenced, "I11") > 50, "the leaders don't overlap");
    assert_eq!(found(&fenced, "I12"), 0);
    for (what, plan) in [("no fence", plan(true, false)), ("no versions", plan(false, true))] {
        let seen = found(&plan, "I12");
        println!("{what}: seen in {seen} of 100 seeds");
        assert!(seen > 0, "{what}");
    }
}

/// Goal: the simulation can find an overlap. Method: break one rule at a time, and look for the first seed that shows it.
#[test]
fn each_broken_rule_is_found() {
    let rules = Rules::default();
    let edge = Plan::new();
    let long = edge.timings.renew_deadline + Duration::from_millis(1500);
    let broken = [
        ("C1: no wait", Plan { rules: Rules { skip_the_wait: true, ..rules }, ..edge.clone() }),
        (
            "C3: a blank holder is a release",
            Plan { rules: Rules { trust_blank_holder: true, ..rules }, ..edge.clone() },
        ),
        ("H1: counted from the answer", Plan { rules: Rules { count_from_answer: true, ..rules }, ..edge.clone() }),
        ("H2: other holders ignored", Plan { rules: Rules { ignore_other_holders: true, ..rules }, ..edge.clone() }),
        ("D too long", Plan { timings: Timings { renew_deadline: long, ..edge.timings.clone() }, ..edge.clone() }),
        (
            "released before the stop",
            Plan { habits: Habits { release_before_stop: true, ..edge.habits }, ..edge.clone() },
        ),
    ];
    for (name, plan) in broken {
        let found = (0..SEEDS).find(|seed| {
            explore(&plan, *seed)
                .violations
                .iter()
                .any(|violation| violation.starts_with("I11") || violation.starts_with("theft"))
        });
        println!("{name}: found by seed {found:?}");
        assert!(found.is_some(), "{name}: no overlap found in {SEEDS} seeds");
    }
}

/// Goal: a run is a function of its seed. Method: run twice and compare.
#[test]
fn runs_repeat() {
    let run = |seed| {
        simulate(async move {
            let world = World::new(Plan::new(), seed);
            let (checker, server, object) = (world.checker.clone(), world.server.clone(), world.object.clone());
            world.run().await;
            (checker.borrow().openings(), server.counts(), server.object(), object.writes())
        })
    };
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
