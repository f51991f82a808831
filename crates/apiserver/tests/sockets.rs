//! Goal: whatever a client does to its connection, it gets upstream's answer, or none, and nobody else notices.
//! Method: loopback and raw bytes; beside each odd client a healthy one, who is answered. Whatever has to come is waited for
//! with much slack, and nothing is measured.
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::Duration;

use common::socket::{self, Served, get, post};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use watchkeeper_apiserver::Config;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const READY: &str = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
const MIB: usize = 1024 * 1024;

fn head(extra: &str) -> String {
    format!("POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{extra}\r\n")
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_closed() {
    let served = Served::start().await;
    let rows: Vec<(Vec<u8>, u16)> = vec![
        (b"what\r\n\r\n".into(), 400),
        ((0..=255).cycle().take(2000).collect(), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".into(), 400),
        (b"BR(EW / HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
        (b"GET /readyz HTTP/9.1\r\nHost: x\r\n\r\n".into(), 400),
        (b"GET /readyz HTTP/1.1\r\n\r\n".into(), 400),
        (b"GET /readyz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\nb ad: y\r\n\r\n".into(), 400),
        (head("Content-Length: x\r\n").into(), 400),
        (head("Content-Length: -1\r\n").into(), 400),
        (head("Content-Length: 2\r\nContent-Length: 3\r\n").into(), 400),
        (head("Content-Length: 1000000000000000000000000000000\r\n").into(), 400),
        (head("Transfer-Encoding: gzip\r\n").into(), 400),
        (head("Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n").into(), 400),
        (head("Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n").into(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(70_000)).into(), 414),
        (format!("GET /readyz HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: y\r\n".repeat(2000)).into(), 431),
        (format!("GET /readyz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(2 * MIB)).into(), 431),
    ];
    for (bytes, code) in rows {
        let shown = bytes[..bytes.len().min(60)].escape_ascii().to_string();
        let mut client = served.connect().await;
        client.send(&bytes).await;
        let (got, _) = client.answer().await.unwrap_or_else(|| panic!("no answer to {shown}"));
        assert_eq!(got, code, "{shown}");
        assert!(client.answer().await.is_none(), "closed after {shown}");
        served.check_healthy().await;
    }
    assert!(served.server.writes().iter().all(|write| write.version.is_none()));
    served.end().await;
}

#[tokio::test]
async fn heads_and_bodies_that_never_come_hold_nobody_up() {
    let served = Served::start().await;
    let before = served.server.version();
    let mut silent = Vec::new();
    let halves =
        ["", "G", "GET /api/v1/pods HT", "GET /readyz HTTP/1.1\r\nHost: x\r\nX-", &head("Content-Length: 20\r\n")];
    for half in halves {
        for _ in 0..20 {
            let mut client = served.connect().await;
            client.send(half.as_bytes()).await;
            silent.push(client);
        }
    }
    // A head that doesn't end is cut off at its largest size.
    let mut endless = served.connect().await;
    endless.send(b"GET /readyz HTTP/1.1\r\n").await;
    while endless.try_send(format!("X-A: {}\r\n", "y".repeat(8000)).as_bytes()).await {}
    served.check_healthy().await;
    // A body that doesn't come is waited for as long as the request may take.
    let mut slow = served.connect().await;
    let uri = format!("{MAPS}?timeout=1s");
    slow.send(head("Content-Length: 20\r\n").replace(MAPS, &uri).as_bytes()).await;
    slow.send(b"{").await;
    let (code, status) = slow.answer().await.expect("an answer");
    assert_eq!((code, &status["reason"]), (504, &json!("Timeout")));
    served.check_healthy().await;
    assert_eq!(served.server.version(), before);
    drop(silent);
    served.end().await;
}

#[tokio::test]
async fn a_body_in_single_bytes_is_a_body() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for byte in post(MAPS, &json!({ "metadata": { "name": "bytes" } }).to_string()).bytes() {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.expect("an answer").0, 201);
    let chunked: String = r#"{"metadata":{"name":"chunks"}}"#.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    client.send(head("Transfer-Encoding: chunked\r\n").as_bytes()).await;
    client.send(format!("{chunked}0\r\n\r\n").as_bytes()).await;
    assert_eq!(client.answer().await.expect("an answer").0, 201);
    served.end().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_has_come() {
    let served = Served::start().await;
    let before = served.server.version();
    let message = json!("Request entity too large: limit is 3145728");
    let announced = head("Content-Length: 4194304\r\n");
    let chunks = format!("10000\r\n{}\r\n", "y".repeat(65_536)).repeat(64);
    let rows = [
        // Not a byte of it is waited for.
        announced.clone(),
        head("Expect: 100-continue\r\nContent-Length: 4194304\r\n"),
        announced + &"y".repeat(4 * MIB),
        head("Transfer-Encoding: chunked\r\n") + &chunks,
        // And it needn't ever end.
        head("Transfer-Encoding: chunked\r\n") + &chunks.repeat(4),
    ];
    for row in rows {
        let mut client = served.connect().await;
        // The server may have answered and closed before all is sent.
        client.try_send(row.as_bytes()).await;
        let (code, status) = client.answer().await.expect("an answer");
        assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
        assert_eq!(status["message"], message);
        served.check_healthy().await;
    }
    assert_eq!(served.server.version(), before);
    served.end().await;
}

#[tokio::test]
async fn who_leaves_within_a_body_has_written_nothing() {
    let served = Served::start().await;
    let before = served.server.version();
    let body = r#"{"metadata":{"name":"left"}}"#;
    for end in [1, body.len() / 2, body.len() - 1] {
        let mut client = served.connect().await;
        client.send(head(&format!("Content-Length: {}\r\n", body.len())).as_bytes()).await;
        client.send(&body.as_bytes()[..end]).await;
        drop(client);
        // The same, with the other direction still open: whoever is told something isn't told that it worked.
        let mut client = served.connect().await;
        client.send(head(&format!("Content-Length: {}\r\n", body.len())).as_bytes()).await;
        client.send(&body.as_bytes()[..end]).await;
        client.finish().await;
        assert!(client.answer().await.is_none_or(|(code, _)| code >= 400));
        served.check_healthy().await;
    }
    assert_eq!(served.server.version(), before);
    served.end().await;
}

#[tokio::test]
async fn who_has_said_all_is_still_answered() {
    let served = Served::start().await;
    // More than the buffers of a connection take.
    for count in 0..40 {
        let text = "y".repeat(200_000);
        let object = json!({ "metadata": { "name": format!("big-{count}") }, "data": { "text": text } });
        served.check(&post(MAPS, &object.to_string()), 201).await;
    }
    for (request, code) in [
        (READY.to_owned(), 200),
        (get("/api/v1/namespaces/default"), 200),
        (post(MAPS, r#"{"metadata":{"name":"said"}}"#), 201),
        (get(&format!("{MAPS}/missing")), 404),
    ] {
        let mut client = served.connect().await;
        client.send(request.as_bytes()).await;
        client.finish().await;
        assert_eq!(client.answer().await.expect("an answer").0, code, "{request}");
        assert!(client.answer().await.is_none());
    }
    let mut client = served.connect().await;
    client.send(get(MAPS).as_bytes()).await;
    client.finish().await;
    let (code, list) = client.answer().await.expect("an answer");
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(41)));
    // A watch is over with its client's side, as upstream's.
    let mut client = served.connect().await;
    client.send(get("/api/v1/namespaces?watch=1").as_bytes()).await;
    client.finish().await;
    assert_eq!(client.stream_head().await, 200);
    while client.event().await.is_some() {}
    served.check_healthy().await;
    served.end().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let requests: String = (0..200)
        .map(|count| match count % 4 {
            0 => post(MAPS, &json!({ "metadata": { "name": format!("p-{count}") } }).to_string()),
            1 => get(&format!("{MAPS}/p-{}", count - 1)),
            2 => get(&format!("{MAPS}/missing-{count}")),
            _ => get("/readyz"),
        })
        .collect();
    // Sent while the answers are read: two hundred don't fit into what a connection buffers.
    let (reader, writer) = client.split();
    let sending = async {
        writer.send(requests.as_bytes()).await;
    };
    let reading = async {
        for count in 0..200 {
            let (code, body) = reader.answer().await.expect("an answer");
            match count % 4 {
                0 | 1 => {
                    assert_eq!(code, if count % 4 == 0 { 201 } else { 200 });
                    assert_eq!(body["metadata"]["name"], format!("p-{}", count / 4 * 4));
                }
                2 => assert_eq!((code, &body["details"]["name"]), (404, &json!(format!("missing-{count}")))),
                _ => assert_eq!((code, body), (200, json!("ok"))),
            }
        }
    };
    tokio::join!(sending, reading);
    served.end().await;
}

/// What waits for clients that don't read is bounded by the buffers of their connections.
#[tokio::test]
async fn clients_that_never_read_hold_a_bounded_amount() {
    const CLIENTS: usize = 50;
    const WRITES: usize = 100;
    let served = Served::start().await;
    let mut silent = Vec::new();
    let text = "y".repeat(100_000);
    for count in 0..CLIENTS {
        let mut client = served.connect().await;
        let path = if count % 2 == 0 { MAPS.to_owned() } else { format!("{MAPS}?watch=1") };
        client.send(get(&path).as_bytes()).await;
        silent.push(client);
    }
    let resident = socket::resident_kib();
    for count in 0..WRITES {
        let object = json!({ "metadata": { "name": format!("w-{count}") }, "data": { "text": text } });
        served.check(&post(MAPS, &object.to_string()), 201).await;
    }
    for _ in 0..CLIENTS {
        let mut client = served.connect().await;
        client.send(get(MAPS).as_bytes()).await;
        silent.push(client);
    }
    served.check_healthy().await;
    // 10 MB were written, once. A copy for each of a hundred clients would be a gigabyte.
    if let (Some(before), Some(after)) = (resident, socket::resident_kib()) {
        assert!(after < before + 600 * 1024, "{before} KiB before, {after} KiB after");
    }
    // Who reads at last gets all, whole.
    let mut late = silent.pop().expect("a client");
    let (code, list) = late.answer().await.expect("an answer");
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(WRITES)));
    drop(silent);
    served.end().await;
}

/// More idle connections than there are places: the longest idle make room, and whoever has something to say is heard.
#[tokio::test]
async fn idle_connections_keep_nobody_out() {
    const IDLE: usize = 5000;
    socket::raise_file_limit();
    let served = Served::start().await;
    // Older than all others, and never idle.
    let mut watcher = served.connect().await;
    watcher.send(get(&format!("{MAPS}?watch=1")).as_bytes()).await;
    assert_eq!(watcher.stream_head().await, 200);
    let mut kept = served.connect().await;
    kept.send(READY.as_bytes()).await;
    assert_eq!(kept.answer().await.expect("an answer").0, 200);
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(served.address).await.expect("connects"));
    }
    for _ in 0..20 {
        served.check_healthy().await;
    }
    served.check(&post(MAPS, r#"{"metadata":{"name":"heard"}}"#), 201).await;
    let event = watcher.event().await.expect("goes on");
    assert_eq!(event["object"]["metadata"]["name"], "heard");
    assert!(kept.answer().await.is_none(), "idle longest, it has made room");
    drop(idle);
    served.end().await;
}

/// Many at once: every watcher sees every write, once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_watchers_see_what_two_hundred_write() {
    const WATCHERS: usize = 2000;
    const WRITERS: usize = 200;
    socket::raise_file_limit();
    // Two thousand on a busy machine are slow readers, which would be cut.
    let served = Served::start_with(Config { watch_buffer: WRITERS, ..Config::default() }).await;
    let version = served.server.version();
    let path = format!("{MAPS}?watch=1&resourceVersion={version}");
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut client = served.connect().await;
        client.send(get(&path).as_bytes()).await;
        assert_eq!(client.stream_head().await, 200);
        watchers.spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < WRITERS {
                let event = client.event().await.expect("goes on");
                assert_eq!(event["type"], "ADDED");
                seen.push(event["object"]["metadata"]["resourceVersion"].as_str().expect("a version").to_owned());
            }
            seen
        });
    }
    let writes = join_all((0..WRITERS).map(|count| {
        let served = &served;
        async move {
            let body = json!({ "metadata": { "name": format!("w-{count}") } }).to_string();
            served.check(&post(MAPS, &body), 201).await
        }
    }));
    let mut written: Vec<u64> = writes.await.iter().map(common::version).collect();
    written.sort_unstable();
    let expected: Vec<String> = written.iter().map(u64::to_string).collect();
    let all = async {
        while let Some(seen) = watchers.join_next().await {
            assert_eq!(seen.expect("no panic"), expected);
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("in time");
    served.end().await;
}

#[tokio::test]
async fn a_client_of_http_1_0_is_answered_and_left() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    client.send(b"GET /readyz HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await, Some((200, Value::from("ok"))));
    assert!(client.answer().await.is_none());
    served.end().await;
}
