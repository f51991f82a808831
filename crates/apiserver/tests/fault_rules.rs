//! Goal: a rule fires for exactly the requests it is for, as often and as long as it says; a server with rules that match
//! nothing answers as one without; two runs of one seed are one. Method: tables, and the log compared byte by byte.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::Duration;

use common::{ALL_LEASES, LEASES, create, server, server_with};
use faults::{add, fired, named, outcome, rule};
use serde_json::{Value, json};
use tokio::time::sleep;
use watchkeeper_apiserver::fault::{Action, Budget, Illegal, Matcher, RULE_LIMIT, Refusal, Rule, Verb};
use watchkeeper_apiserver::{AccessRule, ApiServer, Effect};

const SECOND: Duration = Duration::from_secs(1);

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

async fn get(server: &ApiServer, uri: &str) -> String {
    outcome(server, "alice", "GET", uri, Value::Null).await
}

#[tokio::test(start_paused = true)]
async fn each_part_of_a_matcher_decides() {
    let any = Matcher::default;
    // The request is alice's GET of the status of the Lease a; each matcher with whether it is for it.
    let rows = [
        (any(), true),
        (Matcher { identity: text("alice"), ..any() }, true),
        (Matcher { identity: text("bob"), ..any() }, false),
        (Matcher { verbs: vec![Verb::Create, Verb::Get], ..any() }, true),
        (Matcher { verbs: vec![Verb::List, Verb::Watch, Verb::DeleteCollection], ..any() }, false),
        (Matcher { resource: text("leases"), ..any() }, true),
        (Matcher { resource: text("pods"), ..any() }, false),
        (Matcher { group: text("coordination.k8s.io"), ..any() }, true),
        (Matcher { group: text(""), ..any() }, false),
        (Matcher { namespace: text("default"), ..any() }, true),
        (Matcher { namespace: text(""), ..any() }, false),
        (Matcher { name: text("a"), ..any() }, true),
        (Matcher { name: text("b"), ..any() }, false),
        (Matcher { subresource: text(""), ..any() }, true),
        (Matcher { subresource: text("status"), ..any() }, false),
        (Matcher { min_version: Some(1), max_version: Some(1000), ..any() }, true),
        (Matcher { min_version: Some(1000), ..any() }, false),
        (Matcher { max_version: Some(1), ..any() }, false),
        (Matcher { probability: Some(1.0), ..any() }, true),
        (Matcher { probability: Some(0.0), ..any() }, false),
        (Matcher { from: Some(SECOND), ..any() }, false),
        (Matcher { until: Some(SECOND), ..any() }, true),
    ];
    for (matcher, matches) in rows {
        let server = server();
        create(&server, "a", Value::Null).await;
        add(&server, Rule { matcher: matcher.clone(), ..rule(Action::Refuse) });
        let expected = if matches { "connection refused" } else { "200" };
        assert_eq!(get(&server, &format!("{LEASES}/a")).await, expected, "{matcher:?}");
        assert_eq!(fired(&server), u64::from(matches));
    }
}

#[tokio::test(start_paused = true)]
async fn budgets_and_windows_end() {
    let server = server();
    let matcher = Matcher { skip: 2, ..Matcher::default() };
    add(&server, Rule { matcher, budget: Budget { count: Some(2), duration: None }, ..rule(Action::Refuse) });
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(get(&server, LEASES).await == "200");
    }
    assert_eq!(seen, [true, true, false, false, true, true]);
    server.faults().clear();

    // Added ten seconds after the start: `from` is in the past and doesn't count, `duration` counts from now.
    sleep(10 * SECOND).await;
    let matcher = Matcher { from: Some(5 * SECOND), until: Some(14 * SECOND), ..Matcher::default() };
    let short = Budget { count: None, duration: Some(2 * SECOND) };
    add(&server, Rule { matcher: matcher.clone(), budget: short, ..rule(Action::Refuse) });
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(get(&server, LEASES).await == "200");
        sleep(SECOND).await;
    }
    assert_eq!(seen, [false, false, true]);
    let long = Budget { count: None, duration: Some(100 * SECOND) };
    add(&server, Rule { matcher, budget: long, ..rule(Action::Refuse) });
    assert_eq!(get(&server, LEASES).await, "connection refused");
    sleep(SECOND).await;
    assert_eq!(get(&server, LEASES).await, "200", "the window is over, whatever the budget");
}

#[tokio::test(start_paused = true)]
async fn rules_are_asked_in_order_up_to_the_end_of_a_request() {
    let server = server();
    let by = SECOND;
    for (name, action) in [
        ("slow", Action::Delay { by, jitter: Duration::ZERO }),
        ("busy", Action::Answer(Refusal::of(503))),
        ("never", Action::Refuse),
    ] {
        server.faults().add(Rule::new(name, action)).expect("added");
    }
    assert_eq!(get(&server, LEASES).await, "503");
    assert_eq!(
        server.faults().log(),
        [
            format!("0 #1 alice list {LEASES} ! \"slow\" delay"),
            format!("1000 #1 alice list {LEASES} ! \"busy\" answer"),
            format!("1000 #1 alice list {LEASES} -> 503"),
        ]
    );
    assert_eq!(server.faults().fired().rule("never"), 0);
    assert!(server.faults().never_fired().contains(&"never".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn rules_that_make_no_sense_are_refused_in_words() {
    let with = |action| rule(action);
    let matching = |matcher| Rule { matcher, ..rule(Action::Refuse) };
    let any = Matcher::default;
    let rows = [
        (Rule::new("", Action::Refuse), "a name has 1 to 200 bytes"),
        (Rule::new("a\nb", Action::Refuse), "no control characters"),
        (matching(Matcher { probability: Some(1.5), ..any() }), "probability must be between 0 and 1"),
        (matching(Matcher { probability: Some(f64::NAN), ..any() }), "probability must be between 0 and 1"),
        (matching(Matcher { from: Some(SECOND), until: Some(SECOND), ..any() }), "from must be before until"),
        (matching(Matcher { min_version: Some(2), max_version: Some(1), ..any() }), "must not be above maxVersion"),
        (Rule { budget: Budget { count: Some(0), duration: None }, ..rule(Action::Refuse) }, "leave the rule out"),
        (with(Action::Html { code: 200 }), "code 200 of html must be from 500 to 599"),
        (with(Action::Answer(Refusal::default())), "answer needs a code"),
        (with(Action::Deny { code: 500, message: String::new() }), "from 400 to 499"),
        (with(Action::Bandwidth { bytes_per_second: 0 }), "at least 1 byte per second"),
        (with(Action::ContentType { value: "a\nb".into() }), "can't be the value of a header"),
    ];
    let server = server();
    for (rule, expected) in rows {
        let error = server.faults().add(rule).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    for _ in 0..RULE_LIMIT {
        add(&server, rule(Action::Conflict));
    }
    assert!(server.faults().add(rule(Action::Conflict)).expect_err("full").to_string().contains("1024 rules already"));
}

#[tokio::test(start_paused = true)]
async fn the_log_is_bounded() {
    let server = server_with(|config| config.fault_log = 3);
    server.faults().record();
    for _ in 0..5 {
        get(&server, "/readyz").await;
    }
    let numbers: Vec<String> =
        server.faults().log().iter().map(|line| line.split(' ').nth(1).expect("a number").to_owned()).collect();
    assert_eq!(numbers, ["#3", "#4", "#5"]);
}

/// What a client sees of a little of everything, as text.
async fn conversation(server: &ApiServer) -> Vec<String> {
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        all.push(format!("{:?}", common::send(server, "POST", LEASES, named(name)).await));
    }
    all.push(format!(
        "{:?}",
        common::send(server, "PATCH", &format!("{LEASES}/a"), json!({ "spec": { "x": 1 } })).await
    ));
    all.push(format!("{:?}", common::send(server, "DELETE", &format!("{LEASES}/b"), Value::Null).await));
    for uri in [
        format!("{LEASES}?limit=1"),
        format!("{LEASES}/none"),
        ALL_LEASES.to_owned(),
        "/version".to_owned(),
        "/nothing".to_owned(),
    ] {
        let answer = common::call(server, common::request("GET", &uri, "")).await;
        all.push(format!("{:?} {:?}", answer.status(), answer.headers()));
        all.push(format!("{:?}", faults::pieces(answer.into_body()).await));
    }
    let query = "watch=true&timeoutSeconds=100&allowWatchBookmarks=true&sendInitialEvents=true\
                 &resourceVersionMatch=NotOlderThan";
    let watch = common::call(server, common::request("GET", &format!("{LEASES}?{query}"), "")).await;
    all.push(format!("{:?}", watch.headers()));
    all.push(format!("{:?}", faults::pieces(watch.into_body()).await));
    all
}

#[tokio::test(start_paused = true)]
async fn rules_that_match_nothing_change_nothing() {
    let plain = conversation(&server()).await;
    let server = server();
    let nobody = Matcher { identity: text("nobody"), ..Matcher::default() };
    for action in [
        Action::Refuse,
        Action::SplitBytes,
        Action::Stall { after_events: 0 },
        Action::RequestsLost,
        Action::Delay { by: SECOND, jitter: SECOND },
        Action::Illegal(Illegal::Drop { after_events: 0 }),
    ] {
        add(&server, Rule { matcher: nobody.clone(), ..rule(action) });
    }
    add(&server, Rule { matcher: Matcher { probability: Some(0.0), ..Matcher::default() }, ..rule(Action::Conflict) });
    server.access().add(AccessRule::new(Effect::Deny, "nobody")).expect("added");
    assert_eq!(conversation(&server).await, plain);
    assert_eq!(server.faults().fired().total(), 0);
    assert_eq!(server.faults().log().len(), 11);
}

/// Several clients at once under rules of chance; the log.
async fn run(seed: u64) -> Vec<String> {
    let server = server_with(|config| config.seed = seed);
    let chance = |verbs: &[Verb], probability, action| Rule {
        matcher: Matcher { verbs: verbs.to_vec(), probability: Some(probability), ..Matcher::default() },
        ..rule(action)
    };
    let millisecond = Duration::from_millis(1);
    for rule in [
        chance(&[], 0.5, Action::Delay { by: millisecond, jitter: 200 * millisecond }),
        chance(&[], 0.05, Action::Refuse),
        chance(&[Verb::Create], 0.3, Action::LoseAnswer { code: 504 }),
        chance(&[Verb::List], 0.2, Action::Truncate { after_bytes: 300 }),
        chance(&[Verb::Watch], 0.3, Action::ErrorEvent { after_events: 2, status: Refusal::of(410) }),
        chance(&[Verb::Watch], 0.3, Action::End { after_events: 3 }),
        chance(&[Verb::Watch], 0.2, Action::Illegal(Illegal::Reorder { after_events: 1 })),
        chance(&[Verb::Delete], 0.2, Action::CloseWatches),
    ] {
        add(&server, rule);
    }
    let client = |identity: &'static str| {
        let server = server.clone();
        async move {
            for turn in 0..8 {
                let name = format!("{identity}-{turn}");
                outcome(&server, identity, "POST", LEASES, named(&name)).await;
                outcome(&server, identity, "GET", LEASES, Value::Null).await;
                outcome(&server, identity, "GET", &format!("{LEASES}?watch=1&timeoutSeconds=2"), Value::Null).await;
                outcome(&server, identity, "DELETE", &format!("{LEASES}/{name}"), Value::Null).await;
            }
        }
    };
    tokio::join!(client("a"), client("b"), client("c"));
    server.faults().log()
}

#[tokio::test(start_paused = true)]
async fn two_runs_of_one_seed_have_one_log() {
    let mut different = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let log = run(seed).await;
        assert_eq!(log.join("\n"), run(seed).await.join("\n"), "seed {seed}");
        assert!(log.len() >= 96, "seed {seed}: every request is in the log: {}", log.len());
        different.insert(log);
    }
    assert_eq!(different.len(), 50, "chance depends on the seed");
}
