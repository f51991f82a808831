//! Goal: each fault of connections and answers is seen by a client as what it stands for, and counted. Method: one rule, one
//! request by hand or through kube-client, paused time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::Duration;

use common::{LEASES, call, create, request, server, server_with};
use faults::{add, fired, lease, leases, named, on, outcome, rule};
use http_body_util::BodyExt;
use kube_client::api::{ListParams, PostParams};
use serde_json::Value;
use tokio::time::Instant;
use watchkeeper_apiserver::fault::{Action, Refusal, Verb};

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[tokio::test(start_paused = true)]
async fn connections_break_and_hang() {
    let rows = [
        (Action::Refuse, "connection refused", false),
        (Action::ResetBeforeHeaders, "connection reset by peer", false),
        (Action::HangBeforeHeaders, "no answer", false),
        (Action::HangAfterHeaders, "201, then silence", true),
        (Action::Html { code: 502 }, "502", false),
        (Action::Html { code: 503 }, "503", false),
        (Action::EmptyBody, "200", false),
        (Action::Answer(Refusal::of(401)), "401", false),
        (Action::Truncate { after_bytes: 5 }, "201, then connection closed before the message was complete", true),
        (Action::Truncate { after_bytes: 0 }, "201, then connection closed before the message was complete", true),
    ];
    for (action, expected, carried_out) in rows {
        let server = server();
        let before = server.version();
        add(&server, rule(action.clone()));
        assert_eq!(outcome(&server, "a", "POST", LEASES, named("x")).await, expected, "{action:?}");
        assert_eq!(fired(&server), 1, "{action:?}");
        assert_eq!(server.version() > before, carried_out, "{action:?}");
        server.faults().clear();
        assert_eq!(outcome(&server, "a", "GET", LEASES, Value::Null).await, "200", "healed of {action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn kube_client_sees_what_it_would_see_of_a_network() {
    let rows = [
        (Action::Refuse, "connection refused"),
        (Action::ResetBeforeHeaders, "connection reset by peer"),
        (Action::Truncate { after_bytes: 20 }, "connection closed before the message was complete"),
        (Action::Html { code: 502 }, "502"),
        (Action::EmptyBody, "EOF"),
        (Action::Garbage { after_events: 0 }, "utf-8"),
        (Action::Answer(Refusal::of(500)), "etcdserver: request timed out"),
        (Action::Answer(Refusal { text: true, ..Refusal::of(429) }), "Too many requests"),
    ];
    for (action, expected) in rows {
        let server = server();
        let api = leases(&server, "a");
        add(&server, on(&[Verb::List], action.clone()));
        let error = api.list(&ListParams::default()).await.expect_err("a fault");
        let mut text = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text} {inner}");
            source = inner.source();
        }
        assert!(text.contains(expected), "{action:?}: {text}");
        assert_eq!(fired(&server), 1, "{action:?}");
        // Nothing is wrong with anything else.
        api.create(&PostParams::default(), &lease("x")).await.expect("created");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_say_what_upstream_says() {
    let rows = [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (409, "Conflict"),
        (410, "Expired"),
        (422, "Invalid"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
    ];
    for (code, reason) in rows {
        for text in [false, true] {
            for retry in [None, Some(7)] {
                let server = server();
                let refusal = Refusal { retry_after_seconds: retry, text, ..Refusal::of(code) };
                add(&server, rule(Action::Answer(refusal)));
                let answer = call(&server, request("GET", LEASES, "")).await;
                let header = answer.headers().get("retry-after").map(|value| value.to_str().expect("text").to_owned());
                assert_eq!((answer.status().as_u16(), header.as_deref()), (code, retry.map(|_| "7")));
                let media = answer.headers()["content-type"].clone();
                let body = answer.into_body().collect().await.expect("whole").to_bytes();
                assert_eq!(fired(&server), 1);
                if text {
                    assert_eq!(media, "text/plain; charset=utf-8");
                    continue;
                }
                let status: Value = serde_json::from_slice(&body).expect("a Status");
                assert_eq!((status["code"].as_u64(), status["reason"].as_str()), (Some(code.into()), Some(reason)));
                assert_eq!(status["details"]["retryAfterSeconds"].as_u64(), retry.map(u64::from));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn delays_are_as_long_as_they_say() {
    let jitter = milliseconds(100);
    let rows = [
        (Action::Delay { by: milliseconds(300), jitter }, true),
        (Action::DelayAnswer { by: milliseconds(300), jitter }, true),
        (Action::DelayBeforeCommit { by: milliseconds(300), jitter }, true),
        (Action::DelayBeforeCommit { by: milliseconds(5000), jitter }, false),
    ];
    for (action, carried_out) in rows {
        let server = server();
        let before = server.version();
        add(&server, rule(action.clone()));
        let start = Instant::now();
        let seen = outcome(&server, "a", "POST", &format!("{LEASES}?timeout=1s"), named("x")).await;
        let took = start.elapsed();
        assert_eq!(fired(&server), 1, "{action:?}");
        assert_eq!(server.version() > before, carried_out, "{action:?}");
        if carried_out {
            assert_eq!(seen, "201", "{action:?}");
            // Timers are as fine as a millisecond.
            assert!((milliseconds(300)..=milliseconds(402)).contains(&took), "{action:?}: {took:?}");
        } else {
            assert_eq!(seen, "504", "the time the request gave was over");
            assert!((milliseconds(1000)..=milliseconds(1002)).contains(&took), "{took:?}");
        }
    }
    let took = |seed: u64| async move {
        let server = server_with(|config| config.seed = seed);
        add(&server, rule(Action::Delay { by: Duration::ZERO, jitter: Duration::from_secs(10) }));
        let start = Instant::now();
        outcome(&server, "a", "GET", LEASES, Value::Null).await;
        start.elapsed()
    };
    assert_eq!(took(1).await, took(1).await, "jitter comes from the seed");
    assert_ne!(took(1).await, took(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_thin_line_takes_its_time() {
    let server = server();
    create(&server, "x", Value::Null).await;
    let whole = common::get(&server, LEASES).await.1.to_string().len() as u64;
    add(&server, rule(Action::Bandwidth { bytes_per_second: 100 }));
    let start = Instant::now();
    assert_eq!(outcome(&server, "a", "GET", LEASES, Value::Null).await, "200");
    let (took, ideal) = (start.elapsed(), Duration::from_secs_f64(whole as f64 / 100.0));
    assert!(took.abs_diff(ideal) < milliseconds(200), "{took:?} for {ideal:?}");
    assert_eq!(fired(&server), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_content_type_leaves_the_body_alone() {
    let server = server();
    add(&server, rule(Action::ContentType { value: "text/html".into() }));
    let answer = call(&server, request("GET", LEASES, "")).await;
    assert_eq!(answer.headers()["content-type"], "text/html");
    let body = answer.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["kind"], "LeaseList");
    assert_eq!(fired(&server), 1);
}
