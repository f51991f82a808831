//! Goal: what happens to the bytes of a body happens exactly there: in an event, in a character, in each byte. Method: one
//! rule, pieces compared with the body without it, paused time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/faults.rs"]
mod faults;

use std::time::Duration;

use common::{LEASES, call, create, request, server};
use faults::{add, fired, leases, on, pieces, rule};
use futures::{StreamExt, pin_mut};
use kube_client::api::WatchParams;
use serde_json::{Value, json};
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::fault::{Action, Verb};

async fn stocked() -> ApiServer {
    let server = server();
    for name in ["a", "b", "c"] {
        let body = json!({ "metadata": { "name": name, "annotations": { "who": "Zoë" } } });
        assert_eq!(common::send(&server, "POST", LEASES, body).await.0, 201);
    }
    server
}

const WATCH: &str = "watch=true&timeoutSeconds=5&allowWatchBookmarks=true";

async fn seen(server: &ApiServer, uri: &str) -> (Vec<bytes::Bytes>, Option<String>) {
    pieces(call(server, request("GET", uri, "")).await.into_body()).await
}

#[tokio::test(start_paused = true)]
async fn a_body_can_be_cut_anywhere() {
    let uri = format!("{LEASES}?{WATCH}");
    let whole = seen(&stocked().await, &uri).await.0.concat();
    let character = whole.windows(2).position(|pair| pair == "ë".as_bytes()).expect("a character of two bytes") + 1;
    for after in [0, 1, 40, character, whole.len() - 1] {
        let server = stocked().await;
        add(&server, rule(Action::Truncate { after_bytes: after as u64 }));
        let (pieces, error) = seen(&server, &uri).await;
        let cut = pieces.concat();
        // Uids are drawn from the seed, times stand still: the same server writes the same bytes.
        assert_eq!((cut.as_slice(), fired(&server)), (&whole[..after], 1));
        assert_eq!(error.as_deref(), Some("connection closed before the message was complete"));
        assert_eq!(std::str::from_utf8(&cut).is_err(), after == character);
    }
    // A cut after the end never comes.
    let server = stocked().await;
    add(&server, rule(Action::Truncate { after_bytes: 1_000_000 }));
    assert_eq!((seen(&server, &uri).await.1, fired(&server)), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn bytes_come_alone_and_pieces_together() {
    let server = stocked().await;
    for uri in [LEASES.to_owned(), format!("{LEASES}?{WATCH}")] {
        let whole = seen(&server, &uri).await.0.concat();
        add(&server, rule(Action::SplitBytes));
        let before = fired(&server);
        let (split, error) = seen(&server, &uri).await;
        assert!(split.iter().all(|piece| piece.len() == 1) && error.is_none());
        assert_eq!((split.concat(), fired(&server)), (whole, before + 1));
        server.faults().clear();
    }
    let merge = Action::Merge { within: Duration::from_millis(100) };
    let server = stocked().await;
    add(&server, on(&[Verb::Watch], merge));
    add(&server, on(&[Verb::Watch], Action::Stall { after_events: 4 }));
    let version = server.version();
    let uri = format!("{LEASES}?{WATCH}&resourceVersion={version}");
    let mut body = call(&server, request("GET", &uri, "")).await.into_body();
    let piece = async {
        let frame = http_body_util::BodyExt::frame(&mut body).await.expect("open").expect("whole");
        frame.into_data().expect("data")
    };
    let writes = async {
        for name in ["d", "e", "f"] {
            create(&server, name, Value::Null).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (piece, ()) = tokio::join!(piece, writes);
    assert_eq!(
        piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(),
        3,
        "three events in one piece"
    );
    assert_eq!(server.faults().fired().action("merge"), 1);
    // A body that has ended is waited for no longer.
    add(&server, on(&[Verb::List], Action::Merge { within: Duration::from_secs(60) }));
    let start = tokio::time::Instant::now();
    let (list, error) = seen(&server, LEASES).await;
    assert_eq!((list.len(), error.is_none(), start.elapsed()), (1, true, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn answers_are_not_what_they_should_be() {
    let rows = [
        (Action::Garbage { after_events: 0 }, "not JSON"),
        (Action::OtherKind { after_events: 0 }, "Stranger"),
        (Action::MissingVersion { after_events: 0 }, "Lease"),
    ];
    for (action, expected) in rows {
        let server = stocked().await;
        add(&server, rule(action.clone()));
        for (uri, list) in [(LEASES.to_owned(), "List"), (format!("{LEASES}/a"), "")] {
            let (pieces, error) = seen(&server, &uri).await;
            assert_eq!(error, None);
            let value: Value =
                serde_json::from_slice(&pieces.concat()).unwrap_or_else(|_| json!({ "kind": "not JSON" }));
            let expected = if expected == "Lease" { format!("Lease{list}") } else { expected.to_owned() };
            assert_eq!(value["kind"], expected.as_str());
            if let Action::MissingVersion { .. } = action {
                assert_eq!(value["metadata"]["resourceVersion"], Value::Null);
            }
        }
        assert_eq!(fired(&server), 2, "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn kube_client_reads_through_split_bytes_and_fails_at_a_cut() {
    let server = stocked().await;
    add(&server, on(&[Verb::Watch], Action::SplitBytes));
    add(&server, on(&[Verb::Watch], Action::Truncate { after_bytes: 700 }));
    let api = leases(&server, "a");
    let events = api.watch(&WatchParams::default(), "0").await.expect("watching");
    pin_mut!(events);
    let mut whole = 0;
    let error = loop {
        match events.next().await.expect("an error comes first") {
            Ok(_) => whole += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(whole, 2, "{error}");
    let fired = server.faults().fired();
    assert_eq!((fired.action("splitBytes"), fired.action("truncate")), (1, 1));
}
