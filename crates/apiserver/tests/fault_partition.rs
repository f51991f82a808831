//! Goal: a client behind a partition, and everyone before a frozen server, waits as long as it should, and what was and
//! wasn't carried out is what the direction says. Method: two identities, paused time, the handle.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use common::{LEASES, Watch, create, request, server};
use faults::{RULE, add, named, outcome, rule};
use futures::FutureExt;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::fault::{Action, Budget, Matcher, Rule, Verb};

const SECOND: Duration = Duration::from_secs(1);

fn partition(action: Action, identity: &str, lasts: Duration) -> Rule {
    Rule {
        matcher: Matcher { identity: Some(identity.into()), ..Matcher::default() },
        budget: Budget { duration: Some(lasts), ..Budget::default() },
        ..rule(action)
    }
}

/// Whether it has nothing to say right now.
fn waits<F: Future + Unpin>(future: &mut F) -> bool {
    let waker = futures::task::noop_waker();
    matches!(future.poll_unpin(&mut Context::from_waker(&waker)), Poll::Pending)
}

#[tokio::test(start_paused = true)]
async fn requests_or_responses_are_lost_for_one_identity_and_a_while() {
    for (action, carried_out) in [(Action::RequestsLost, false), (Action::ResponsesLost, true)] {
        let server = server();
        add(&server, partition(action, "alice", 10 * SECOND));
        let before = server.version();
        assert_eq!(outcome(&server, "alice", "POST", LEASES, named("a")).await, "no answer");
        assert_eq!(server.version() > before, carried_out);
        assert_eq!(server.faults().fired().rule(RULE), 1);
        // An hour later it is long over; and it never was for bob.
        assert_eq!(outcome(&server, "alice", "POST", LEASES, named("b")).await, "201");
        assert_eq!(outcome(&server, "bob", "POST", LEASES, named("c")).await, "201");
        assert_eq!(server.faults().fired().rule(RULE), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_watch_falls_silent_and_goes_on() {
    for heal in [false, true] {
        let server = server();
        let uri = format!("{LEASES}?watch=true&resourceVersion={}", server.version());
        // Begun before there was any rule.
        let mut watch = Watch::start(&server, &uri).await;
        let a = create(&server, "a", Value::Null).await;
        assert_eq!(watch.short().await, format!("ADDED a {a}"));
        add(&server, partition(Action::ResponsesLost, "tester", 10 * SECOND));
        assert_eq!(outcome(&server, "bob", "POST", LEASES, named("b")).await, "201");
        let b = server.version();
        let start = Instant::now();
        assert!(timeout(9 * SECOND, watch.short()).await.is_err(), "silent");
        if heal {
            server.faults().clear();
        }
        assert_eq!(watch.short().await, format!("ADDED b {b}"), "sent again");
        assert_eq!(start.elapsed().as_secs(), if heal { 9 } else { 10 });
        assert_eq!(server.faults().fired().action("responsesLost"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_up_to_a_version_is_over_with_that_version() {
    let server = server();
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=true&resourceVersion={}", server.version())).await;
    let last = server.version() + 1;
    let matcher = Matcher { identity: Some("tester".into()), max_version: Some(last), ..Matcher::default() };
    add(&server, Rule { matcher, ..rule(Action::ResponsesLost) });
    assert_eq!(outcome(&server, "bob", "POST", LEASES, named("a")).await, "201");
    assert!(timeout(SECOND, watch.short()).await.is_err(), "silent");
    let mut event = Box::pin(watch.short());
    assert!(waits(&mut event));
    assert_eq!(outcome(&server, "bob", "POST", LEASES, named("b")).await, "201");
    assert_eq!(timeout(SECOND, event).await, Ok(format!("ADDED a {last}")));
    assert_eq!(watch.short().await, format!("ADDED b {}", last + 1));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_server_goes_on_step_by_step() {
    let server = server();
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=true&resourceVersion={}", server.version())).await;
    for name in ["a", "b", "c"] {
        create(&server, name, Value::Null).await;
    }
    let handle = server.faults();
    handle.freeze();
    assert!(!handle.step(), "nobody waits");
    let mut event = Box::pin(watch.short());
    assert!(waits(&mut event));
    let call = |name: &str| Box::pin(server.service("x").oneshot(request("POST", LEASES, named(name).to_string())));
    let (mut first, mut given_up, mut second) = (call("d"), call("e"), call("f"));
    assert!(waits(&mut first) && waits(&mut given_up) && waits(&mut second));
    assert_eq!(handle.waiting(), 4);
    drop(given_up);
    assert_eq!(handle.waiting(), 3);
    let version = server.version();
    // The one that waits longest goes first: the watch, with one of its three events.
    assert!(handle.step());
    assert!(event.await.starts_with("ADDED a "));
    assert!(waits(&mut first) && waits(&mut second));
    assert!(handle.step());
    assert_eq!(first.await.expect("answered").status(), 201);
    assert_eq!(server.version(), version + 1);
    let mut event = Box::pin(watch.short());
    assert!(waits(&mut event) && waits(&mut second));
    handle.thaw();
    assert_eq!(second.await.expect("answered").status(), 201);
    assert!(event.await.starts_with("ADDED b "));
    assert!(watch.short().await.starts_with("ADDED c "));
    assert!(watch.short().await.starts_with("ADDED d "));
    assert!(!handle.step());
    assert_eq!(handle.fired().total(), 0, "a freeze is no rule");
    let dropped = format!("#2 x create {LEASES} -> dropped");
    assert!(handle.log().iter().any(|line| line.ends_with(&dropped)));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hung_in_a_freeze_is_late_or_too_late() {
    let server = server();
    server.faults().freeze();
    let put = |uri: String| Box::pin(server.service("x").oneshot(request("POST", &uri, named("a").to_string())));
    let mut patient = put(format!("{LEASES}?timeout=30s"));
    let mut hasty = put(format!("{LEASES}?timeout=5s"));
    assert!(waits(&mut patient) && waits(&mut hasty));
    tokio::time::sleep(10 * SECOND).await;
    server.faults().thaw();
    assert_eq!(hasty.await.expect("answered").status(), 504, "its time was over");
    assert_eq!(patient.await.expect("answered").status(), 201);
}

#[tokio::test(start_paused = true)]
async fn storage_is_compacted_and_watches_are_closed_by_rule() {
    let server = server();
    let old = server.version();
    let mut running = Watch::start(&server, &format!("{LEASES}?watch=true&resourceVersion={old}")).await;
    create(&server, "a", Value::Null).await;
    create(&server, "b", Value::Null).await;
    assert!(running.short().await.starts_with("ADDED a"));
    assert!(running.short().await.starts_with("ADDED b"));
    let on_list = |action| Rule { matcher: Matcher { verbs: vec![Verb::List], ..Matcher::default() }, ..rule(action) };
    add(&server, on_list(Action::Compact));
    assert_eq!(outcome(&server, "a", "GET", LEASES, Value::Null).await, "200");
    let late = Watch::start(&server, &format!("{LEASES}?watch=true&resourceVersion={old}")).await;
    assert_eq!(late.rest().await, ["ERROR 410"]);
    add(&server, on_list(Action::CloseWatches));
    assert_eq!(outcome(&server, "a", "GET", LEASES, Value::Null).await, "200");
    assert_eq!(running.short().await, "end");
    let fired = server.faults().fired();
    assert_eq!((fired.action("compact"), fired.action("closeWatches")), (2, 1));
}

/// A stopped process keeps its sockets: nothing of a frozen server ends, not even a watch whose time is over.
#[tokio::test(start_paused = true)]
async fn nothing_ends_while_frozen() {
    let server: ApiServer = server();
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=true&timeoutSeconds=5")).await;
    server.faults().freeze();
    assert!(timeout(100 * SECOND, watch.short()).await.is_err());
    server.faults().thaw();
    assert_eq!(watch.short().await, "end");
}
