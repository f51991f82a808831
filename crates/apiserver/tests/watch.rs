//! Goal: watches begin, go on and end as upstream's do, in all their forms. Method: requests by hand against the service,
//! streams read event by event, paused time.
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use common::{ALL_LEASES, LEASES, Watch, call, create, get, request, send, server, server_with};
use serde_json::{Value, json};
use tokio::time::sleep;

async fn label(server: &watchkeeper_apiserver::ApiServer, name: &str, labels: Value) -> u64 {
    let patch = json!({ "metadata": { "labels": labels } });
    let (code, lease) = send(server, "PATCH", &format!("{LEASES}/{name}"), patch).await;
    assert_eq!(code, 200, "{lease}");
    common::version(&lease)
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_version_shows_what_came_after() {
    let server = server();
    let first = create(&server, "a", Value::Null).await;
    let second = create(&server, "b", Value::Null).await;
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=true&resourceVersion={first}")).await;
    assert_eq!(watch.short().await, format!("ADDED b {second}"));
    let third = label(&server, "a", json!({ "x": "1" })).await;
    // Nothing changes, so nothing is written and nothing is heard.
    assert_eq!(label(&server, "a", json!({ "x": "1" })).await, third);
    send(&server, "DELETE", &format!("{LEASES}/a"), Value::Null).await;
    let fourth = server.version();
    // The deletion has the version of the deletion, above all the object had.
    assert_eq!(watch.take(2).await, [format!("MODIFIED a {third}"), format!("DELETED a {fourth}")]);
    assert_eq!(fourth, third + 1);
    // Other kinds and namespaces are not heard of.
    send(&server, "POST", "/api/v1/nodes", json!({ "metadata": { "name": "n" } })).await;
    let elsewhere = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    send(&server, "POST", elsewhere, json!({ "metadata": { "name": "z" } })).await;
    let last = create(&server, "c", Value::Null).await;
    assert_eq!(watch.short().await, format!("ADDED c {last}"));
    let event = {
        let mut all = Watch::start(&server, &format!("{ALL_LEASES}?watch=1&resourceVersion={}", last - 1)).await;
        all.next().await.expect("an event")
    };
    assert_eq!(
        (event["object"]["kind"].as_str(), event["object"]["apiVersion"].as_str()),
        (Some("Lease"), Some("coordination.k8s.io/v1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_version_begins_with_what_there_is() {
    let server = server();
    let b = create(&server, "b", Value::Null).await;
    let a = create(&server, "a", Value::Null).await;
    for version in ["", "&resourceVersion=0"] {
        let watch = Watch::start(&server, &format!("{LEASES}?watch=true&timeoutSeconds=1{version}")).await;
        assert_eq!(watch.rest().await, [format!("ADDED a {a}"), format!("ADDED b {b}")]);
        let uri = format!("{LEASES}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true{version}");
        let watch = Watch::start(&server, &uri).await;
        assert_eq!(watch.rest().await, [format!("ADDED a {a}"), format!("ADDED b {b}"), format!("BOOKMARK {a} end")]);
    }
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_their_mark_only_where_bookmarks_are_allowed() {
    let server = server();
    let base = format!("{LEASES}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    let mut empty = Watch::start(&server, &format!("{base}&allowWatchBookmarks=true")).await;
    assert_eq!(empty.short().await, format!("BOOKMARK {} end", server.version()));
    let a = create(&server, "a", Value::Null).await;
    assert_eq!(empty.short().await, format!("ADDED a {a}"));
    for version in ["", "&resourceVersion=0", "&resourceVersion=1"] {
        let mut watch = Watch::start(&server, &format!("{base}&allowWatchBookmarks=true{version}")).await;
        assert_eq!(watch.take(2).await, [format!("ADDED a {a}"), format!("BOOKMARK {a} end")]);
    }
    let mut plain = Watch::start(&server, &base).await;
    assert_eq!(plain.short().await, format!("ADDED a {a}"));
    let mut now = Watch::start(&server, &base.replace("sendInitialEvents=true", "sendInitialEvents=false")).await;
    let b = create(&server, "b", Value::Null).await;
    assert_eq!(plain.short().await, format!("ADDED b {b}"));
    assert_eq!(now.short().await, format!("ADDED b {b}"));
}

#[tokio::test(start_paused = true)]
async fn many_initial_events_come_whole_and_in_key_order() {
    let server = server();
    for number in 0..700 {
        create(&server, &format!("lease-{number:03}"), json!({ "padding": "x".repeat(63) })).await;
    }
    let uri = format!("{LEASES}?watch=true&allowWatchBookmarks=true&resourceVersion=0");
    let mut watch = Watch::start(&server, &uri).await;
    // What happens meanwhile comes after the mark.
    let first = watch.short().await;
    assert!(first.starts_with("ADDED lease-000 "));
    let late = create(&server, "a", Value::Null).await;
    let rest = watch.take(701).await;
    assert!(rest[698].starts_with("ADDED lease-699 "));
    assert_eq!(rest[699], format!("BOOKMARK {} end", late - 1));
    assert_eq!(rest[700], format!("ADDED a {late}"));
}

#[tokio::test(start_paused = true)]
async fn illegal_combinations_are_refused() {
    let server = server();
    let old = server_with(|config| config.streaming_lists = false);
    let rows = [
        (&server, "sendInitialEvents=true", 422, "requires setting resourceVersionMatch to NotOlderThan"),
        (&server, "sendInitialEvents=false", 422, "requires setting resourceVersionMatch to NotOlderThan"),
        (&server, "resourceVersionMatch=NotOlderThan", 422, "forbidden for watch unless sendInitialEvents"),
        (&server, "sendInitialEvents=true&resourceVersionMatch=Exact", 422, "supported values: \"NotOlderThan\""),
        (
            &old,
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            422,
            "unless the WatchList feature gate is enabled",
        ),
        (&server, "resourceVersion=abc", 500, "Invalid value: \"abc\""),
        (&server, "timeoutSeconds=soon", 400, "strconv.ParseInt"),
    ];
    for (server, query, code, text) in rows {
        let (answered, status) = get(server, &format!("{LEASES}?watch=true&{query}")).await;
        assert_eq!(answered, code, "{query}: {status}");
        assert!(status["message"].as_str().expect("a message").contains(text), "{query}: {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_compacted_version_is_an_error_event_and_the_end() {
    let server = server();
    let first = create(&server, "a", Value::Null).await;
    create(&server, "b", Value::Null).await;
    let mut running = Watch::start(&server, &format!("{LEASES}?watch=true&resourceVersion={}", server.version())).await;
    server.compact(server.version());
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=true&resourceVersion={first}")).await;
    let event = watch.next().await.expect("an event");
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(event["object"]["message"], format!("too old resource version: {first} ({})", server.version()));
    assert_eq!(watch.next().await, None);
    // A quiet kind is refused too: compaction is of everything.
    let mut nodes = Watch::start(&server, "/api/v1/nodes?watch=true&resourceVersion=1").await;
    assert_eq!(nodes.take(2).await, ["ERROR 410", "end"]);
    // A watcher that has seen what was compacted goes on.
    let last = create(&server, "c", Value::Null).await;
    assert_eq!(running.short().await, format!("ADDED c {last}"));
}

#[tokio::test(start_paused = true)]
async fn a_future_version_is_silence_or_after_three_seconds_an_error() {
    let server = server();
    let future = server.version() + 2;
    let uri = format!("{LEASES}?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion={future}");
    let mut silent = Watch::start(&server, &uri).await;
    let quiet = tokio::time::timeout(Duration::from_secs(120), silent.next()).await;
    assert!(quiet.is_err(), "no bookmark below the version that was asked for");
    create(&server, "a", Value::Null).await;
    create(&server, "b", Value::Null).await;
    let c = create(&server, "c", Value::Null).await;
    assert_eq!(silent.short().await, format!("ADDED c {c}"));
    let uri = format!(
        "{LEASES}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion={}",
        server.version() + 1
    );
    let mut initial = Watch::start(&server, &uri).await;
    assert_eq!(initial.take(2).await, ["ERROR 504", "end"]);
}

#[tokio::test(start_paused = true)]
async fn entering_and_leaving_a_selector_look_like_creation_and_deletion() {
    let server = server();
    let start = server.version();
    let mut watch =
        Watch::start(&server, &format!("{LEASES}?watch=true&labelSelector=in%3Dyes&resourceVersion={start}")).await;
    let mut other =
        Watch::start(&server, &format!("{LEASES}?watch=true&labelSelector=in%3Dno&resourceVersion={start}")).await;
    create(&server, "a", json!({ "in": "no" })).await;
    let entered = label(&server, "a", json!({ "in": "yes" })).await;
    let stayed = label(&server, "a", json!({ "more": "1" })).await;
    let left = label(&server, "a", json!({ "in": "no" })).await;
    create(&server, "b", json!({ "in": "yes" })).await;
    send(&server, "DELETE", &format!("{LEASES}/b"), Value::Null).await;
    let end = server.version();
    assert_eq!(watch.take(2).await, [format!("ADDED a {entered}"), format!("MODIFIED a {stayed}")]);
    let event = watch.next().await.expect("an event");
    // The old object under the version of the change.
    assert_eq!((event["type"].as_str(), common::version(&event["object"])), (Some("DELETED"), left));
    assert_eq!(event["object"]["metadata"]["labels"]["in"], "yes");
    assert_eq!(watch.take(2).await, [format!("ADDED b {}", end - 1), format!("DELETED b {end}")]);
    let seen = other.take(3).await;
    assert_eq!(seen, [format!("ADDED a {}", start + 1), format!("DELETED a {entered}"), format!("ADDED a {left}")]);
    let mut named = Watch::start(&server, &format!("{LEASES}?watch=true&fieldSelector=metadata.name%3Da")).await;
    assert_eq!(named.short().await, format!("ADDED a {left}"));
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_each_minute_and_before_the_end() {
    let server = server();
    let begin = tokio::time::Instant::now();
    let start = server.version();
    let uri = format!("{LEASES}?watch=true&allowWatchBookmarks=true&timeoutSeconds=90&resourceVersion={start}");
    let mut watch = Watch::start(&server, &uri).await;
    assert_eq!(watch.short().await, format!("BOOKMARK {start}"));
    assert_eq!(begin.elapsed().as_secs(), 60);
    // A bookmark speaks for all kinds: the counter is one.
    send(&server, "POST", "/api/v1/nodes", json!({ "metadata": { "name": "n" } })).await;
    assert_eq!(watch.short().await, format!("BOOKMARK {}", start + 1));
    assert_eq!(begin.elapsed().as_secs(), 88);
    assert_eq!(watch.short().await, "end");
    assert_eq!(begin.elapsed().as_secs(), 90);
    // Nobody gets bookmarks unasked, and without a timeout a watch ends within an hour.
    let quiet = Watch::start(&server, &format!("{LEASES}?watch=true&resourceVersion={start}")).await;
    let begin = tokio::time::Instant::now();
    assert!(quiet.rest().await.is_empty());
    assert!((1800..3600).contains(&begin.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_does_not_read_is_cut_and_nobody_else() {
    let server = server_with(|config| config.watch_buffer = 7);
    let start = server.version();
    let uri = format!("{LEASES}?watch=true&resourceVersion={start}");
    let mut slow = Watch::start(&server, &uri).await;
    let mut fast = Watch::start(&server, &uri).await;
    // For these there is room, however long they wait.
    let mut few = Watch::start(&server, &format!("{uri}&labelSelector=few")).await;
    for number in 0..100 {
        let labels = if number % 15 == 0 { json!({ "few": "" }) } else { Value::Null };
        let version = create(&server, &format!("lease-{number}"), labels).await;
        assert_eq!(fast.short().await, format!("ADDED lease-{number} {version}"));
        sleep(Duration::from_millis(10)).await;
    }
    let room: Vec<_> = (0..7).map(|number| format!("ADDED lease-{number} {}", start + 1 + number)).collect();
    assert_eq!(slow.take(7).await, room);
    assert_eq!(slow.short().await, "end");
    assert_eq!(few.take(7).await.last(), Some(&format!("ADDED lease-90 {}", start + 91)));
    let last = create(&server, "last", json!({ "few": "" })).await;
    assert_eq!(few.short().await, format!("ADDED last {last}"));
    // What was there when a watch began waits for it: from where it stood the slow one may try again, and again be slow.
    let again = Watch::start(&server, &uri).await;
    for number in 0..50 {
        create(&server, &format!("more-{number}"), Value::Null).await;
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(again.rest().await.len(), 101 + 7);
}

/// Goal: initial events wait for their reader, and beside them as much as beside no others.
#[tokio::test(start_paused = true)]
async fn a_watcher_that_does_not_read_gets_its_initial_events() {
    let server = server();
    for number in 0..50 {
        create(&server, &format!("lease-{number}"), Value::Null).await;
    }
    let uri = format!("{LEASES}?watch=true&allowWatchBookmarks=true&resourceVersion=0");
    let watch = Watch::start(&server, &uri).await;
    for number in 0..21 {
        create(&server, &format!("late-{number}"), Value::Null).await;
    }
    sleep(Duration::from_millis(101)).await;
    let events = watch.rest().await;
    assert_eq!(events.len(), 50 + 1 + 20);
    assert_eq!(events[50], format!("BOOKMARK {} end", server.version() - 21));
    assert_eq!(events[70], format!("ADDED late-19 {}", server.version() - 1));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_reads_gets_any_burst_whole() {
    let server = server();
    let uri = format!("{LEASES}?watch=true&resourceVersion={}", server.version());
    let mut watch = Watch::start(&server, &uri).await;
    for burst in 0..3 {
        for number in 0..1000 {
            create(&server, &format!("lease-{burst}-{number}"), json!({ "padding": "x".repeat(63) })).await;
        }
        // Within its patience it may do something else.
        sleep(Duration::from_millis(100)).await;
        let events = watch.take(1000).await;
        assert_eq!(events[999], format!("ADDED lease-{burst}-999 {}", server.version()));
    }
}

#[tokio::test(start_paused = true)]
async fn all_watches_can_be_closed_at_once() {
    let server = server();
    let uri = format!("{LEASES}?watch=true&resourceVersion={}", server.version());
    let watch = Watch::start(&server, &uri).await;
    let (rest, ()) = tokio::join!(watch.rest(), async { server.close_watches() });
    assert!(rest.is_empty());
    let mut later = Watch::start(&server, &uri).await;
    let version = create(&server, "a", Value::Null).await;
    assert_eq!(later.short().await, format!("ADDED a {version}"));
}

#[tokio::test(start_paused = true)]
async fn one_event_is_encoded_once_for_all_watchers() {
    use http_body_util::BodyExt;
    let server = server();
    let uri = format!("{LEASES}?watch=true&resourceVersion={}", server.version());
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(call(&server, request("GET", &uri, "")).await.into_body());
    }
    create(&server, "a", Value::Null).await;
    let mut places = Vec::new();
    for body in &mut bodies {
        let frame = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        places.push(frame.as_ptr());
    }
    assert!(places.iter().all(|place| *place == places[0]), "the same bytes in memory");
}
