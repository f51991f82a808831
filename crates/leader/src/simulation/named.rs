//! The cases that other electors are known to get wrong, one test each, in the simulation.

use serde_json::{Value, json};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A world whose processes run on true clocks and good wires unless a test says otherwise.
struct Small(World);

impl Small {
    fn new(plan: Plan, rates: &[f64]) -> Self {
        let mut world = World::new(plan, 1);
        for rate in rates {
            world.start(*rate, Weather::calm());
        }
        Self(world)
    }

    fn openings(&self) -> Vec<Duration> {
        self.0.checker.borrow().openings()
    }

    fn now(&self) -> Duration {
        self.0.checker.borrow().now()
    }

    fn anybody_open(&self) -> bool {
        self.0.checker.borrow().anybody_open()
    }

    fn violations(&self) -> Vec<String> {
        let mut all = self.0.checker.borrow().violations.clone();
        all.extend(self.0.server.thefts());
        all
    }

    /// Waits for the opening number `count` (1 is the first), and says when it was.
    async fn opening(&self, count: usize) -> Duration {
        for _ in 0..100_000 {
            if let Some(at) = self.openings().get(count - 1) {
                return *at;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("opening {count} has not come: {:?}", self.0.server.object());
    }

    /// How long it takes until no gate is open.
    async fn closing(&self) -> Duration {
        let from = self.now();
        while self.anybody_open() {
            assert!(self.now() - from < 60 * SECOND, "the gate stays open");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.now() - from
    }
}

fn foreign(spec: Value) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": "default", "name": "the-lease", "labels": {"theirs": "1"}}, "spec": spec})
}

/// Goal: one slow answer followed by a cut makes no two leaders (client-go: up to 6 s of two). Method: a grid of delays and
/// phases, the holder's clock as slow and the rival's as fast as stated; the same grid overlaps if renewals counted from
/// their answers.
#[test]
fn slow_renewal_then_partition() {
    let rho = edge().clock_rate_error;
    let habits = Habits { prompt: true, ..Habits::default() };
    let overlaps = |rules: Rules| {
        let mut found = 0;
        for delay in (0..3000).step_by(450) {
            for phase in (0..2200).step_by(400) {
                found += simulate(async move {
                    let mut small = Small::new(Plan { rules, habits, ..Plan::new() }, &[1.0 - rho]);
                    small.opening(1).await;
                    for _ in 0..3 {
                        small.0.start(1.0 + rho, Weather::calm());
                    }
                    tokio::time::sleep(20 * SECOND + Duration::from_millis(phase)).await;
                    small.0.processes[0].wire.slow_answer_then_cut(Duration::from_millis(delay), 60 * SECOND);
                    small.opening(2).await;
                    usize::from(!small.violations().is_empty())
                });
            }
        }
        found
    };
    assert_eq!(overlaps(Rules::default()), 0);
    assert!(overlaps(Rules { count_from_answer: true, ..Rules::default() }) > 5);
}

/// Goal: a holder that sees another one stops at once, and doesn't take the Lease back (client-go: 11 s of two leaders).
/// Method: overwrite the holder, measure the closing, and the time until the record changes hands again.
#[test]
fn holder_overwritten() {
    simulate(async {
        let small = Small::new(Plan::new(), &[1.0, 1.0]);
        small.opening(1).await;
        tokio::time::sleep(7 * SECOND).await;
        small.0.server.edit(|lease| lease["spec"]["holderIdentity"] = "somebody-else".into());
        let overwritten = small.now();
        assert!(small.closing().await < 3 * SECOND);
        assert_eq!(small.0.server.object().unwrap()["spec"]["holderIdentity"], "somebody-else");
        let next = small.opening(2).await - overwritten;
        assert!(next > 15 * SECOND && next < 22 * SECOND, "{next:?}");
        assert!(small.violations().is_empty(), "{:?}", small.violations());
    });
}

/// Goal: deleting the Lease under its holder makes no two leaders (client-go: 11 s), and epochs go on increasing.
/// Method: delete, measure the closing, and the time until the next gate opens.
#[test]
fn lease_deleted_under_the_leader() {
    simulate(async {
        let small = Small::new(Plan::new(), &[1.0, 1.0, 1.0]);
        small.opening(1).await;
        tokio::time::sleep(7 * SECOND).await;
        small.0.server.delete();
        let deleted = small.now();
        assert!(small.closing().await < 3 * SECOND);
        let next = small.opening(2).await - deleted;
        assert!(next > 15 * SECOND && next < 22 * SECOND, "{next:?}");
        assert!(small.violations().is_empty(), "{:?}", small.violations());
        // One vacant Lease was put down after each of the two absences, whoever else tried.
        assert_eq!(small.0.server.object().unwrap()["metadata"]["uid"], "life-2");
    });
}

/// Goal: a Lease that is deleted, recreated and deleted again between two looks fools nobody. Method: delete twice around a
/// takeover by a rival that the other candidate can't see.
#[test]
fn two_deletions_between_two_looks() {
    simulate(async {
        let mut small = Small::new(Plan::new(), &[1.0, 1.0]);
        small.opening(1).await;
        for _ in 0..20 {
            small.0.server.delete();
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
        small.0.start(1.0, Weather::calm());
        small.opening(2).await;
        assert!(small.violations().is_empty(), "{:?}", small.violations());
    });
}

/// Goal: a label edited by a third party costs the holder one conflict and one read, not the term. Method: count requests.
#[test]
fn label_edit_costs_one_conflict_and_a_read() {
    simulate(async {
        let small = Small::new(Plan::new(), &[1.0]);
        small.opening(1).await;
        tokio::time::sleep(5 * SECOND).await;
        let before = small.0.server.counts();
        small.0.server.edit(|lease| lease["metadata"]["labels"] = json!({"touched": "yes"}));
        tokio::time::sleep(4 * SECOND).await;
        let after = small.0.server.counts();
        assert_eq!((after.conflicts - before.conflicts, after.reads - before.reads), (1, 1));
        assert_eq!(small.openings().len(), 1);
        assert!(small.anybody_open());
        assert_eq!(small.0.server.object().unwrap()["metadata"]["labels"]["touched"], "yes");
    });
}

/// Goal: two incarnations under one name are two candidates. Method: all seeds' misfortunes with one name for everybody.
#[test]
fn identity_reused_by_another_incarnation() {
    let plan = Plan { habits: Habits { same_identity: true, ..Habits::default() }, ..Plan::new() };
    for seed in 0..80 {
        let findings = explore(&plan, seed);
        assert!(findings.violations.is_empty(), "seed {seed}: {:#?}", findings.violations);
    }
}

/// Goal: whatever duration a foreign holder has recorded, it is waited for, at least a second and at most the longest lease.
/// Method: plant Leases of holders that never renew, and measure.
#[test]
fn odd_durations_are_waited_out() {
    for (recorded, expected) in [
        (json!(3), 3),
        (json!(1), 1),
        (json!(40), 40),
        (json!(0), 15),
        (json!(-7), 15),
        (json!(null), 15),
        (json!("x"), 15),
        (json!(1_000_000), 600),
    ] {
        simulate(async {
            let mut small = Small::new(Plan::new(), &[]);
            let spec = json!({"holderIdentity": "go", "leaseDurationSeconds": recorded, "renewTime": "2199-01-01T00:00:00.000000Z"});
            small.0.server.plant(foreign(spec));
            small.0.start(1.0, Weather::calm());
            let at = small.opening(1).await.as_secs_f64();
            // The opening comes up to two seconds (catching up) after the takeover.
            let least = f64::from(expected);
            assert!(at > least && at < least + 2.5, "{recorded}: {at}");
            assert_eq!(small.0.server.object().unwrap()["metadata"]["labels"]["theirs"], "1");
        });
    }
}

/// Goal: how a first term begins: a missing Lease and a blank one are waited out; a declared first install and a proper
/// release are not. Method: measure each.
#[test]
fn first_terms() {
    let install = Plan { habits: Habits { first_install: true, ..Habits::default() }, ..Plan::new() };
    // As client-go releases: blank, and a duration of one second.
    let blank = json!({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 4});
    let released = |transitions: &str, spec: &Value| {
        let mut object = foreign(spec.clone());
        object["metadata"]["annotations"] =
            json!({"watchkeeper.dev/released": "me 7", "watchkeeper.dev/released-transitions": transitions});
        Some(object)
    };
    for (what, plan, planted, least, most) in [
        ("missing", Plan::new(), None, 15, 18),
        ("first install", install.clone(), None, 0, 3),
        ("blank", Plan::new(), Some(foreign(blank.clone())), 15, 18),
        ("blank, first install", install, Some(foreign(blank.clone())), 15, 18),
        ("released", Plan::new(), released("4", &blank), 0, 3),
        ("released before a foreign term", Plan::new(), released("3", &blank), 15, 18),
    ] {
        simulate(async {
            let mut small = Small::new(plan, &[]);
            if let Some(object) = planted {
                small.0.server.plant(object);
            }
            small.0.start(1.0, Weather::calm());
            let at = small.opening(1).await;
            assert!(at >= least * SECOND && at < most * SECOND, "{what}: {at:?}");
        });
    }
}

/// Goal: I14, a crash leads to a new gate within the stated time. Method: crash at any phase, on clocks as slow as stated.
#[test]
fn takeover_after_a_crash_is_bounded() {
    let timings = edge();
    let (rho, retry) = (timings.clock_rate_error, timings.retry_period.as_secs_f64());
    let lease = timings.lease_duration.as_secs_f64();
    // Catching up takes up to two seconds here, a round trip is four ways of 21 ms.
    let bound = lease / (1.0 - rho) + retry * (1.0 + timings.jitter) / (1.0 - rho) + 2.0 + 0.1;
    for phase in 0..60 {
        simulate(async {
            let small = Small::new(Plan::new(), &[1.0, 1.0 - rho, 1.0 - rho]);
            small.opening(1).await;
            tokio::time::sleep(Duration::from_millis(7_000 + phase * 37)).await;
            // Whoever leads.
            let leader = small.0.server.object().unwrap()["spec"]["holderIdentity"].as_str().unwrap().to_owned();
            let number: usize = leader.split('_').nth(1).unwrap().parse().unwrap();
            small.0.processes[number - 1].crash();
            let crashed = small.now();
            let took = small.opening(2).await - crashed;
            assert!(took.as_secs_f64() < bound, "phase {phase}: {took:?}, bound {bound}");
            assert!(small.violations().is_empty(), "{:?}", small.violations());
        });
    }
}

/// Goal: after a proper release the next one begins soon, and it is another one. Method: hand over ten times.
#[test]
fn hand_over_is_fast_and_to_others() {
    simulate(async {
        let habits = Habits { prompt: true, ..Habits::default() };
        let small = Small::new(Plan { habits, ..Plan::new() }, &[1.0, 1.0]);
        let mut last = String::new();
        for turn in 1..=10 {
            small.opening(turn).await;
            let holder = small.0.server.object().unwrap()["spec"]["holderIdentity"].to_string();
            assert_ne!(holder, last, "turn {turn}");
            last = holder;
            // So that whoever led before has rested.
            tokio::time::sleep(10 * SECOND).await;
            let released = small.now();
            let leader: usize = last.split('_').nth(1).unwrap().parse().unwrap();
            small.0.processes[leader - 1].hand_over();
            // Draining takes up to three seconds here, stopping up to two, and the other's look one period.
            assert!(small.opening(turn + 1).await - released < 8 * SECOND);
        }
        assert!(small.violations().is_empty(), "{:?}", small.violations());
    });
}

/// Goal: losing the Lease ends the term, not the elector. Method: one process, fifty losses.
#[test]
fn lose_and_regain() {
    simulate(async {
        let small = Small::new(Plan::new(), &[1.0]);
        for turn in 1..=50 {
            small.opening(turn).await;
            match turn % 3 {
                0 => small.0.server.delete(),
                1 => small.0.server.edit(|lease| lease["spec"]["holderIdentity"] = "".into()),
                _ => small.0.processes[0].wire.cut(13 * SECOND, true, true),
            }
        }
        assert!(small.violations().is_empty(), "{:?}", small.violations());
    });
}

/// Goal: trouble that is shorter than D loses nothing. Method: throttling and errors for a while, on every request.
#[test]
fn short_trouble_is_survived() {
    simulate(async {
        let small = Small::new(Plan::new(), &[1.0]);
        small.opening(1).await;
        for _ in 0..20 {
            small.0.processes[0].wire.cut(4 * SECOND, true, false);
            tokio::time::sleep(12 * SECOND).await;
        }
        assert_eq!(small.openings().len(), 1);
        assert!(small.anybody_open());
    });
}
