//! Goal: what a cluster does that is restored from a backup: objects and versions go back, watches end, and what was written
//! since is unknown. Method: requests by hand.
#![allow(clippy::disallowed_methods)]

mod common;

use common::{LEASES, Watch, create, get, names, send, server, version};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn everything_goes_back_and_versions_are_used_again() {
    let server = server();
    let a = create(&server, "a", json!({})).await;
    let backup = server.snapshot();
    let b = create(&server, "b", json!({})).await;
    send(&server, "DELETE", &format!("{LEASES}/a"), Value::Null).await;
    let newest = server.version();
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=1&resourceVersion={newest}")).await;
    server.restore(&backup);
    assert_eq!(watch.next().await, None, "a clean end");
    let (_, list) = get(&server, LEASES).await;
    assert_eq!((names(&list).as_slice(), version(&list)), (["a"].as_slice(), a));
    // What clients remember lies in the future now.
    assert_eq!(get(&server, &format!("{LEASES}?resourceVersion={newest}")).await.0, 504);
    assert_eq!(get(&server, &format!("{LEASES}?resourceVersion={}&resourceVersionMatch=Exact", a - 1)).await.0, 410);
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=1&resourceVersion={a}")).await;
    let woken = tokio::spawn(async move { watch.short().await });
    tokio::task::yield_now().await;
    assert_eq!(create(&server, "c", json!({})).await, b, "the same version for another write");
    assert_eq!(woken.await.expect("no panic"), format!("ADDED c {b}"));
}

/// Goal: versions beyond 2^53, which are no longer exact as floating point numbers, are served digit by digit.
#[tokio::test(start_paused = true)]
async fn versions_may_be_large() {
    let server = server();
    let mut watch = Watch::start(&server, &format!("{LEASES}?watch=1&resourceVersion=0")).await;
    server.raise_version(1 << 60);
    let version = create(&server, "a", json!({})).await;
    assert!(version > 1 << 60);
    assert_eq!(watch.short().await, format!("ADDED a {version}"));
    assert_eq!(create(&server, "b", json!({})).await, version + 1);
    server.raise_version(u64::MAX);
    assert!(create(&server, "c", json!({})).await > version + 1, "cut, not wrapped around");
}
