//! Goal: each fault in the events of a watch comes where it should, once, and is counted then. Method: a table of rules
//! over one stream of five events and a bookmark, read event by event under paused time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::Duration;

use common::{LEASES, Watch, call, create, request, server};
use faults::{add, fired, leases, on, rule};
use futures::{StreamExt, pin_mut};
use http_body_util::BodyExt;
use kube_client::api::{WatchEvent, WatchParams};
use serde_json::Value;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::fault::{Action, Budget, Illegal, Refusal, Rule, Verb};

/// Each event in short, then how the stream ended.
async fn stream(server: &ApiServer, query: &str) -> Vec<String> {
    let uri = format!("{LEASES}?watch=true&timeoutSeconds=90{query}");
    let answer = call(server, request("GET", &uri, "")).await;
    assert_eq!(answer.status(), 200);
    let limit = Duration::from_secs(300);
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    let end = loop {
        match tokio::time::timeout(limit, body.frame()).await {
            Ok(Some(Ok(frame))) => bytes.extend_from_slice(&frame.into_data().expect("no trailers")),
            Ok(Some(Err(error))) => break error.to_string(),
            Ok(None) => break "end".to_owned(),
            Err(_) => break "silence".to_owned(),
        }
    };
    bytes.split_inclusive(|byte| *byte == b'\n').map(short).chain([end]).collect()
}

fn short(line: &[u8]) -> String {
    let Ok(event) = serde_json::from_slice::<Value>(line) else { return "garbage".to_owned() };
    let object = &event["object"];
    match event["type"].as_str().expect("a type") {
        "ERROR" => format!("ERROR {} {}", object["code"], object["reason"].as_str().unwrap_or("-")),
        "BOOKMARK" if object["metadata"]["annotations"].is_object() => "mark".to_owned(),
        "BOOKMARK" => "bookmark".to_owned(),
        "ADDED" => {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or("none");
            let version = if matches!(version, "1" | "none") { format!("@{version}") } else { String::new() };
            format!("{}{version}", object["metadata"]["name"].as_str().expect("a name"))
        }
        other => other.to_owned(),
    }
}

async fn stocked() -> ApiServer {
    let server = server();
    for name in ["a", "b", "c"] {
        create(&server, name, Value::Null).await;
    }
    server
}

const BOOKMARKS: &str = "&allowWatchBookmarks=true";

#[tokio::test(start_paused = true)]
async fn faults_come_where_they_should() {
    let error = |after_events, status| Action::ErrorEvent { after_events, status };
    let plain = ["a", "b", "c", "mark", "bookmark", "bookmark", "end"];
    let rows: Vec<(Action, u64, Vec<&str>)> = vec![
        (error(0, Refusal::of(410)), 1, vec!["ERROR 410 Expired", "end"]),
        (error(2, Refusal::of(410)), 1, vec!["a", "b", "ERROR 410 Expired", "end"]),
        (error(4, Refusal::of(500)), 1, vec!["a", "b", "c", "mark", "ERROR 500 InternalError", "end"]),
        (error(1, Refusal::of(504)), 1, vec!["a", "ERROR 504 Timeout", "end"]),
        (error(1, Refusal::of(429)), 1, vec!["a", "ERROR 429 TooManyRequests", "end"]),
        (error(1, Refusal::default()), 1, vec!["a", "ERROR null -", "end"]),
        (error(9, Refusal::of(410)), 0, plain.to_vec()),
        (Action::End { after_events: 0 }, 1, vec!["end"]),
        (Action::End { after_events: 3 }, 1, vec!["a", "b", "c", "end"]),
        (Action::Stall { after_events: 0 }, 1, vec!["silence"]),
        (Action::Stall { after_events: 2 }, 1, vec!["a", "b", "silence"]),
        (Action::SlowEvents { by: Duration::from_secs(3) }, 1, plain.to_vec()),
        (Action::HangAfterHeaders, 1, vec!["silence"]),
        (Action::DropBookmarks, 2, vec!["a", "b", "c", "mark", "end"]),
        (Action::HoldInitialEnd { by: None }, 1, vec!["a", "b", "c", "bookmark", "bookmark", "end"]),
        (Action::HoldInitialEnd { by: Some(Duration::from_secs(20)) }, 1, plain.to_vec()),
        (Action::BareInitialEnd, 1, vec!["a", "b", "c", "bookmark", "bookmark", "bookmark", "end"]),
        (Action::Garbage { after_events: 1 }, 1, vec!["a", "garbage", "b", "c", "mark", "bookmark", "bookmark", "end"]),
        (Action::UnknownEventType { after_events: 0 }, 1, [&["RESYNC"], &plain[..]].concat()),
        (Action::OtherKind { after_events: 3 }, 1, [&["a", "b", "c", "stranger@1"], &plain[3..]].concat()),
        (Action::MissingVersion { after_events: 1 }, 1, [&["a", "b@none"], &plain[2..]].concat()),
        (Action::Illegal(Illegal::Duplicate { after_events: 1 }), 1, [&["a", "b", "b"], &plain[2..]].concat()),
        (Action::Illegal(Illegal::Drop { after_events: 1 }), 1, [&["a"], &plain[2..]].concat()),
        (Action::Illegal(Illegal::Reorder { after_events: 0 }), 1, [&["b", "a"], &plain[2..]].concat()),
        (Action::Illegal(Illegal::StaleVersion { after_events: 2 }), 1, [&["a", "b", "c@1"], &plain[3..]].concat()),
        (Action::Illegal(Illegal::WrongType { after_events: 1 }), 1, [&["a", "MODIFIED"], &plain[2..]].concat()),
    ];
    assert_eq!(stream(&stocked().await, BOOKMARKS).await, plain);
    for (action, count, expected) in rows {
        let server = stocked().await;
        add(&server, rule(action.clone()));
        assert_eq!(stream(&server, BOOKMARKS).await, expected, "{action:?}");
        assert_eq!(fired(&server), count, "{action:?}");
        // A list isn't concerned, but by what bodies have in common.
        if !matches!(action, Action::Garbage { .. } | Action::OtherKind { .. } | Action::HangAfterHeaders) {
            assert_eq!(common::get(&server, LEASES).await.0, 200);
            assert_eq!(
                server.faults().fired().total() - count,
                u64::from(matches!(action, Action::MissingVersion { .. }))
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_mark_holds_what_follows_it() {
    let server = server();
    let once = Budget { count: Some(1), ..Budget::default() };
    add(&server, Rule { budget: once, ..rule(Action::HoldInitialEnd { by: Some(Duration::from_secs(20)) }) });
    // A watch that has no such mark isn't the one that is meant.
    let mut other =
        Watch::start(&server, &format!("{LEASES}?watch=true&allowWatchBookmarks=true&resourceVersion=1")).await;
    assert!(other.short().await.starts_with("BOOKMARK"));
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::start(&server, &format!("{LEASES}?{query}")).await;
    let start = tokio::time::Instant::now();
    assert!(watch.short().await.ends_with(" end"));
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn initial_events_are_ignored_or_refused() {
    let query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let server = stocked().await;
    let old = format!("{query}&resourceVersion={}", server.version());
    add(&server, rule(Action::IgnoreInitialEvents));
    // What is left is a watch from that version, as a server from before that parameter reads it.
    assert_eq!(stream(&server, &old).await, ["bookmark", "bookmark", "end"]);
    assert_eq!(fired(&server), 1);
    server.faults().clear();
    add(&server, rule(Action::RejectInitialEvents));
    let (code, status) = common::get(&server, &format!("{LEASES}?watch=true{query}")).await;
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")));
    assert_eq!(
        status["message"],
        "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch \
         unless the WatchList feature gate is enabled"
    );
    assert_eq!(server.faults().fired().action("rejectInitialEvents"), 1);
    // Who doesn't ask for them is not concerned.
    assert_eq!(stream(&server, "").await, ["a", "b", "c", "end"]);
    assert_eq!(server.faults().fired().total(), 2);
}

#[tokio::test(start_paused = true)]
async fn kube_client_sees_errors_before_and_in_a_stream() {
    let server = stocked().await;
    let api = leases(&server, "a");
    let status = Refusal { message: Some("too old".into()), ..Refusal::of(410) };
    add(&server, on(&[Verb::Watch], Action::ErrorEvent { after_events: 2, status }));
    let events = api.watch(&WatchParams::default(), "0").await.expect("watching");
    pin_mut!(events);
    assert!(matches!(events.next().await, Some(Ok(WatchEvent::Added(_)))));
    assert!(matches!(events.next().await, Some(Ok(WatchEvent::Added(_)))));
    match events.next().await {
        Some(Ok(WatchEvent::Error(status))) => assert_eq!((status.code, status.message.as_str()), (410, "too old")),
        other => panic!("not the error: {other:?}"),
    }
    assert!(events.next().await.is_none());
    assert_eq!(fired(&server), 1);
    server.faults().clear();
    for code in [401, 403, 410, 429, 500, 503] {
        let id = server.faults().add(on(&[Verb::Watch], Action::Answer(Refusal::of(code)))).expect("added");
        let failed = api.watch(&WatchParams::default(), "0").await.err().expect("refused");
        assert!(matches!(&failed, kube_client::Error::Api(status) if status.code == code), "{failed:?}");
        server.faults().remove(id);
    }
    assert_eq!(server.faults().fired().action("answer"), 6);
}
