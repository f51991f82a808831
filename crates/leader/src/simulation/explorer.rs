//! Every way that small worlds can go: three processes, one Lease, whole ticks, and a few faults at any time.
//!
//! In: which rules hold, how many of which faults. Out: the number of states without a broken promise, or the shortest way
//! to one. Never: chance; where the random simulation looks at some long ways, this looks at all short ones.
//!
//! The processes are the real cores (`election.rs`, `tenure.rs`). What is discrete is time: a tick is a second, and all
//! durations are on the edge of the arithmetic in `timings.rs`. What can't be told apart by the future counts as one state
//! (`explorer/facts.rs`), so that a world in which nothing happens any more has an end, and all of it can be looked at.
//!
//! H2 alone protects nobody from another follower: whoever takes a Lease over has waited until the holder's time has run
//! out, whatever it sees. It protects who was put into the Lease by others, and so breaking it shows as a theft.

mod client_go;
pub(crate) mod facts;
mod follower;
mod process;
mod search;
mod trace;
mod work;
mod world;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use client_go::{ClientGo, Numbers};
use facts::Facts;
use follower::Follower;
use process::{Mind, Process};
use search::{Found, search};
use world::{Budget, Limits, World};

use crate::identity::Identity;
use crate::rules::Rules;
use crate::standpoint::Standpoint;
use crate::timings::Timings;

/// A tick of a clock that is right, in nanoseconds.
const TICK: u64 = 1_000_000_000;

fn identity(number: u8) -> Identity {
    Identity::from_parts("sim", u32::from(number), u128::from(number)).expect("a good name")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// L 4, D 3, J 1, R 1, T 1: the longest D that is safe.
fn edge(lease: u64) -> Timings {
    let timings = Timings {
        lease_duration: seconds(lease),
        renew_deadline: seconds(lease - 1),
        retry_period: seconds(1),
        request_timeout: seconds(1),
        stop_bound: seconds(1),
        clock_rate_error: 0.0,
        jitter: 0.0,
    };
    assert_eq!(timings.longest_renew_deadline(), timings.renew_deadline);
    assert_eq!(timings.check(), Ok(()));
    timings
}

/// A process at the beginning of a world.
fn process(number: u8, rate: u64, mind: Mind) -> Process {
    Process {
        number,
        rate,
        mind,
        waiting: None,
        wire: Vec::new(),
        inbox: None,
        paused: 0,
        cut: 0,
        facts: Facts::default(),
    }
}

/// A small world of followers.
#[derive(Clone)]
struct Small {
    rules: Rules,
    release_before_stop: bool,
    /// Of each process; the first one's may be longer than the others'.
    timings: [Timings; 3],
    rates: [u64; 3],
    budget: Budget,
}

impl Small {
    fn new(budget: Budget) -> Self {
        Self {
            rules: Rules::default(),
            release_before_stop: false,
            timings: [edge(4), edge(4), edge(4)],
            rates: [TICK; 3],
            budget,
        }
    }

    fn world(&self) -> World {
        let processes = (1..).zip(self.timings.iter().zip(self.rates)).map(|(number, (timings, rate))| {
            let fixed = Standpoint {
                namespace: "default".to_owned(),
                name: "the-lease".to_owned(),
                identity: identity(number),
                timings: timings.clone(),
                first_install: false,
                labels: BTreeMap::new(),
                coordinated: false,
                rules: self.rules,
            };
            process(number, rate, Mind::Follower(Box::new(Follower::new(fixed, self.release_before_stop))))
        });
        let limits = Limits {
            longest_delay: 2,
            pauses: &[2, 5],
            cut: 5,
            fastest: self.rates.into_iter().max().unwrap_or(TICK),
            judge_writes: true,
        };
        World::new(limits, self.budget, processes.collect())
    }
}

fn print(what: &str, found: &Found) {
    let end = if found.complete { "all there are" } else { "so far" };
    println!("{what}: {} states ({end}), up to {} steps", found.states, found.depth);
    if let Some((broken, steps)) = &found.violation {
        println!("  {broken}");
        steps.iter().for_each(|step| println!("  {step}"));
    }
}

/// Goal: I11, I13 and no theft, in every state of the worlds within these budgets. Method: a million states at least, with
/// nothing left to look at.
#[test]
fn a_million_states_keep_the_promises() {
    let mut states = 0;
    for (what, small) in worlds() {
        let found = search(&small.world(), 5_000_000);
        print(what, &found);
        assert!(found.violation.is_none() && found.complete, "{what}");
        states += found.states;
    }
    println!("explored: {states} states");
    assert!(states >= 1_000_000, "only {states}");
}

fn worlds() -> Vec<(&'static str, Small)> {
    let none = Budget::default();
    let skewed = Small {
        timings: [skewed(), skewed(), skewed()],
        rates: [TICK * 3 / 4, TICK * 5 / 4, TICK],
        ..Small::new(Budget { delays: 1, pauses: 1, ..none })
    };
    let mixed = Small {
        timings: [edge(4), edge(5), edge(5)],
        ..Small::new(Budget { cuts: 1, stops: 1, shortenings: 1, ..none })
    };
    vec![
        ("late, lost, stopped", Small::new(Budget { delays: 1, losses: 1, pauses: 1, ..none })),
        ("late, deleted, blanked", Small::new(Budget { delays: 1, deletions: 1, blankings: 1, ..none })),
        ("stopped, deleted, given up", Small::new(Budget { pauses: 1, deletions: 1, stops: 1, ..none })),
        ("cut off, lost, given up", Small::new(Budget { cuts: 1, losses: 1, stops: 1, ..none })),
        ("two longer leases; cut off, shortened, given up", mixed),
        ("clocks of three rates; late, stopped", skewed),
    ]
}

/// Clocks at 3/4 and 5/4 of the true rate: L 5, J 1, so D 2.25, which is three ticks of the slow one.
fn skewed() -> Timings {
    let timings = Timings {
        lease_duration: seconds(5),
        renew_deadline: Duration::from_millis(2250),
        retry_period: Duration::from_millis(750),
        request_timeout: Duration::from_millis(750),
        stop_bound: seconds(1),
        clock_rate_error: 0.25,
        jitter: 0.0,
    };
    assert_eq!(timings.longest_renew_deadline(), timings.renew_deadline);
    assert_eq!(timings.check(), Ok(()));
    timings
}

/// Goal: each rule is needed, and the explorer sees it. Method: break one at a time; print the shortest way.
#[test]
fn each_broken_rule_has_a_shortest_way() {
    let none = Budget::default();
    let rules = Rules::default();
    let broken = |rules: Rules, budget: Budget| Small { rules, ..Small::new(budget) };
    let cases = [
        (
            "H1, counted from the answer",
            "I11",
            broken(Rules { count_from_answer: true, ..rules }, Budget { delays: 1, cuts: 1, ..none }),
        ),
        (
            "H2, other holders ignored",
            "theft",
            broken(Rules { ignore_other_holders: true, ..rules }, Budget { overwritings: 1, ..none }),
        ),
        ("C1, no wait", "I11", broken(Rules { skip_the_wait: true, ..rules }, none)),
        (
            "C2, the own duration instead of the recorded one",
            "I11",
            Small {
                // The short one leads first, and a long one after it.
                timings: [edge(4), edge(5), edge(5)],
                ..broken(Rules { wait_own_duration: true, ..rules }, Budget { cuts: 1, stops: 1, ..none })
            },
        ),
        (
            "C2, an edit cuts the wait short",
            "I11",
            broken(Rules { believe_shortened: true, ..rules }, Budget { shortenings: 1, cuts: 1, ..none }),
        ),
        (
            "C3, a blank holder is a release",
            "I11",
            broken(Rules { trust_blank_holder: true, ..rules }, Budget { blankings: 1, ..none }),
        ),
        (
            "released before the work has stopped",
            "I11",
            Small { release_before_stop: true, ..Small::new(Budget { stops: 1, ..none }) },
        ),
    ];
    for (what, promise, small) in cases {
        let sound = search(&Small { rules, release_before_stop: false, ..small.clone() }.world(), 1_000_000);
        assert!(sound.violation.is_none() && sound.complete, "{what}: the rules as they are");
        let mut world = small.world();
        Rc::make_mut(&mut world.limits).judge_writes = promise == "theft";
        let found = search(&world, 1_000_000);
        print(what, &found);
        let (violation, _) = found.violation.unwrap_or_else(|| panic!("{what}: not found"));
        assert!(violation.starts_with(promise), "{what}: {violation}");
    }
}

/// Goal: H2 is about others than followers: without it there is still no overlap. Method: faults that show it others, thefts aside.
#[test]
fn h2_alone_makes_no_overlap() {
    let none = Budget::default();
    let rules = Rules { ignore_other_holders: true, ..Rules::default() };
    for budget in [
        Budget { cuts: 1, deletions: 1, ..none },
        Budget { pauses: 1, overwritings: 1, ..none },
        Budget { delays: 1, blankings: 1, ..none },
    ] {
        let mut world = Small { rules, ..Small::new(budget) }.world();
        Rc::make_mut(&mut world.limits).judge_writes = false;
        let found = search(&world, 1_000_000);
        print("H2 broken, thefts aside", &found);
        assert!(found.violation.is_none() && found.complete);
    }
}

/// Goal: client-go's rules lead two leaders, in the ways that are known. Method: a model of its elector in the same worlds
/// and under the same judge; its work stops the moment its context is cancelled, but for the third.
#[test]
fn client_go_overlaps() {
    let none = Budget::default();
    for (what, goes_on, budget) in [
        ("client-go, an answer late, then cut off", 0, Budget { delays: 1, cuts: 1, ..none }),
        ("client-go, the Lease deleted", 0, Budget { deletions: 1, ..none }),
        ("client-go, released on cancel before the work has stopped", 1, Budget { stops: 1, ..none }),
    ] {
        let found = search(&client_go(goes_on, budget), 1_000_000);
        print(what, &found);
        let (violation, _) = found.violation.unwrap_or_else(|| panic!("{what}: not found"));
        assert!(violation.starts_with("I11"), "{what}: {violation}");
    }
    // Cut off without a late answer, it is safe.
    let found = search(&client_go(0, Budget { cuts: 1, ..none }), 1_000_000);
    print("client-go, only cut off", &found);
    assert!(found.violation.is_none() && found.complete);
}

/// L 5 > D 3 > 1.2 R, R 1, and so a margin of a tick, as 15/10/2 has one of three seconds; a request lasts as long as D.
fn client_go(goes_on: u32, budget: Budget) -> World {
    let numbers = Numbers { lease_duration: seconds(5), renew_deadline: seconds(3), retry_period: seconds(1), goes_on };
    let processes = (1..=3).map(|number| {
        process(number, TICK, Mind::ClientGo(Box::new(ClientGo::new(identity(number).to_string(), numbers))))
    });
    let limits = Limits { longest_delay: 2, pauses: &[], cut: 7, fastest: TICK, judge_writes: false };
    World::new(limits, budget, processes.collect())
}
