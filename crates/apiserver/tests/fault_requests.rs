//! Goal: lists and writes fail in the ways that pagers and writers must live with. Method: one rule, kube-client or requests
//! by hand, and the server's own state as the judge of what was carried out.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::Duration;

use common::{LEASES, create, get, names, server};
use faults::{add, fired, lease, leases, named, outcome, rule};
use kube_client::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::Instant;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::fault::{Action, Budget, Rule};

async fn stocked() -> ApiServer {
    let server = server();
    for name in ["a", "b", "c"] {
        create(&server, name, json!({ "braces": "x" })).await;
    }
    server
}

async fn second_page(server: &ApiServer) -> String {
    let (_, page) = get(server, &format!("{LEASES}?limit=1")).await;
    format!("{LEASES}?limit=1&continue={}", page["metadata"]["continue"].as_str().expect("more"))
}

#[tokio::test(start_paused = true)]
async fn a_page_expires_with_and_without_a_way_on() {
    for with_token in [false, true] {
        let server = stocked().await;
        add(&server, rule(Action::ExpireContinue { with_token }));
        let next = second_page(&server).await;
        let (code, status) = get(&server, &next).await;
        assert_eq!((code, status["reason"].as_str(), fired(&server)), (410, Some("Expired"), 1));
        let message = status["message"].as_str().expect("a message");
        assert_eq!(message.contains("or use the continue token in this response"), with_token, "{message}");
        let token = status["metadata"]["continue"].as_str();
        assert_eq!(token.is_some(), with_token);
        server.faults().clear();
        if let Some(token) = token {
            let (code, rest) = get(&server, &format!("{LEASES}?continue={token}")).await;
            assert_eq!((code, names(&rest)), (200, vec!["b", "c"]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lists_are_too_early_whole_or_broken() {
    let server = stocked().await;
    add(&server, rule(Action::VersionTooLarge));
    let (code, status) = get(&server, LEASES).await;
    assert_eq!((code, &status["details"]["causes"][0]["reason"]), (504, &json!("ResourceVersionTooLarge")));
    assert_eq!(fired(&server), 1);

    let server = stocked().await;
    add(&server, rule(Action::IgnoreLimit));
    let page = leases(&server, "a").list(&ListParams::default().limit(1)).await.expect("listed");
    assert_eq!((page.items.len(), page.metadata.continue_, fired(&server)), (3, None, 1));

    for items in [0, 1, 2, 3] {
        let server = stocked().await;
        add(&server, rule(Action::PartialPage { after_items: items }));
        let answer = common::call(&server, common::request("GET", LEASES, "")).await;
        let (pieces, error) = faults::pieces(answer.into_body()).await;
        assert_eq!((error.is_some(), fired(&server)), (true, 1));
        let text = String::from_utf8(pieces.concat()).expect("cut between characters");
        assert_eq!(text.matches("\"uid\"").count() as u64, items, "{text}");
        if items > 0 {
            serde_json::from_str::<Value>(&format!("{text}]}}")).expect("cut at the end of an item");
        }
    }
}

/// Goal: a pager that goes on as long as there is a token sees all items once, and one empty page more.
#[tokio::test(start_paused = true)]
async fn the_last_page_is_empty() {
    let one = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    for (collection, limit, pages) in [
        (one, 2, vec![vec!["a", "b"], vec!["c"], vec![]]),
        (one, 3, vec![vec!["a", "b", "c"], vec![]]),
        ("/apis/coordination.k8s.io/v1/leases", 500, vec![vec!["a", "b", "c"], vec![]]),
        ("/api/v1/namespaces", 500, vec![vec!["default", "kube-node-lease", "kube-public", "kube-system"], vec![]]),
        // Nothing to come after.
        ("/api/v1/nodes", 500, vec![vec![]]),
    ] {
        let server = stocked().await;
        add(&server, rule(Action::EmptyLastPage));
        let (mut token, mut seen, mut version) = (String::new(), Vec::new(), None);
        loop {
            let (code, page) = get(&server, &format!("{collection}?limit={limit}&continue={token}")).await;
            assert_eq!(code, 200, "{page}");
            seen.push(names(&page).iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(*version.get_or_insert(common::version(&page)), common::version(&page), "one list");
            create(&server, &format!("z{}", seen.len()), Value::Null).await;
            match page["metadata"]["continue"].as_str() {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, pages, "{collection}");
        assert_eq!(fired(&server), u64::from(pages.len() > 1));
        // Who doesn't page isn't concerned.
        assert_eq!(get(&server, collection).await.1["metadata"]["continue"], Value::Null);
    }
}

#[tokio::test(start_paused = true)]
async fn writes_are_refused_lost_or_broken() {
    let rows = [
        (Action::Conflict, "409", false),
        (Action::LoseAnswer { code: 500 }, "500", true),
        (Action::LoseAnswer { code: 504 }, "504", true),
        (Action::ResetAfterCommit, "connection reset by peer", true),
        (Action::ResetBeforeCommit, "connection reset by peer", false),
        (Action::Deny { code: 403, message: "no".into() }, "403", false),
        (Action::Deny { code: 422, message: "no".into() }, "422", false),
    ];
    for (action, expected, carried_out) in rows {
        for (method, path, body) in [
            ("POST", LEASES.to_owned(), named("x")),
            ("PATCH", format!("{LEASES}/a"), json!({ "metadata": { "labels": { "y": "z" } } })),
            ("DELETE", format!("{LEASES}/a"), Value::Null),
        ] {
            let server = stocked().await;
            let before = server.version();
            add(&server, rule(action.clone()));
            assert_eq!(outcome(&server, "a", method, &path, body.clone()).await, expected, "{method} {action:?}");
            assert_eq!((server.version() > before, fired(&server)), (carried_out, 1), "{method} {action:?}");
            // The record of writes tells what happened, not what the client heard.
            let heard = server.writes().last().map_or(0, |write| write.code);
            assert_eq!(server.writes().len(), 3 + usize::from(carried_out), "{heard}");
            assert_eq!(outcome(&server, "a", "GET", LEASES, Value::Null).await, "200", "reads are not concerned");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_no_is_not_lost() {
    let server = stocked().await;
    add(&server, rule(Action::LoseAnswer { code: 504 }));
    assert_eq!(outcome(&server, "a", "POST", LEASES, named("a")).await, "409");
    assert_eq!(fired(&server), 0);
}

#[tokio::test(start_paused = true)]
async fn kube_client_hears_conflicts_and_denials_in_upstream_words() {
    let server = stocked().await;
    let api = leases(&server, "a");
    add(&server, rule(Action::Conflict));
    let patch = json!({ "metadata": { "labels": { "y": "z" } } });
    let failed = api.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.expect_err("a conflict");
    let kube_client::Error::Api(status) = failed else { panic!("not a Status: {failed}") };
    assert_eq!(status.reason, "Conflict");
    let message = "Operation cannot be fulfilled on leases.coordination.k8s.io \"a\": the object has been modified; please \
                   apply your changes to the latest version and try again";
    assert_eq!(status.message, message);
    server.faults().clear();
    add(&server, rule(Action::Deny { code: 403, message: "not on Fridays".into() }));
    let failed = api.create(&PostParams::default(), &lease("x")).await.expect_err("denied");
    let kube_client::Error::Api(status) = failed else { panic!("not a Status: {failed}") };
    assert_eq!(status.message, "admission webhook \"policy.example.com\" denied the request: not on Fridays");
    let counts = server.faults().fired();
    assert_eq!((counts.action("conflict"), counts.action("deny")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_straggler_arrives_with_or_without_its_client() {
    let second = Duration::from_secs(1);
    let server = stocked().await;
    let before = server.version();
    let once = Budget { count: Some(2), ..Budget::default() };
    add(&server, Rule { budget: once, ..rule(Action::Straggle { by: 10 * second, jitter: Duration::ZERO }) });
    // One client waits and hears of it.
    let start = Instant::now();
    assert_eq!(outcome(&server, "a", "POST", LEASES, named("patient")).await, "201");
    assert_eq!((start.elapsed(), server.version()), (10 * second, before + 1));
    // The other gives up; until the request is due nothing has happened, then it has, before anyone can look.
    let call = outcome(&server, "a", "POST", LEASES, named("hasty"));
    assert!(tokio::time::timeout(3 * second, call).await.is_err());
    let hasty = format!("{LEASES}/hasty");
    assert_eq!(outcome(&server, "b", "GET", &hasty, Value::Null).await, "404");
    tokio::time::sleep(7 * second).await;
    assert_eq!(outcome(&server, "b", "GET", &hasty, Value::Null).await, "200");
    let last = server.writes().pop().expect("a write");
    assert_eq!((last.identity.as_str(), last.code, fired(&server)), ("a", 201, 2));
    let ends: Vec<String> = server
        .faults()
        .log()
        .iter()
        .filter_map(|line| line.split_once(" -> ").map(|(_, end)| end.to_owned()))
        .collect();
    assert_eq!(ends, ["201", "dropped", "404", "201 late", "200"]);
}
