//! tools/cache, reflector_test.go: lists in pages and later lists: what they ask for, and what they leave in the store.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use tokio::time::sleep;
use watchkeeper_informer::request_error::{Refusal, RequestError};
use watchkeeper_informer::scripted::{Answer, Piece};

use crate::rig::*;

/// Ten objects in pages of four, at 10.
fn ten_in_pages() -> [Answer; 3] {
    let all: Vec<_> = (0..10).map(|number| object(&format!("pod-{number}"), number + 1)).collect();
    [page(10, &all[..4], "C1"), page(10, &all[4..8], "C2"), page(10, &all[8..], "")]
}

/// TestReflectorWatchListPageSize: every page has the configured size and the token of the one before, in the first list and
/// in one by a reflector that already stands at 10.
#[tokio::test(start_paused = true)]
async fn reflector_watch_list_page_size() {
    let server = script();
    on_lists(&server, ten_in_pages().into_iter().chain(ten_in_pages()));
    let rig = Maps::paged().page_size(4).start(&server);
    for round in 1..=2 {
        rig.until_asked(4 * round).await;
        assert_eq!(rig.asked()[4 * (round - 1)..], ["list 4", "list 4 C1", "list 4 C2", "watch 10"]);
        assert_eq!((rig.cached().len(), rig.status().counts.replacements), (10, round as u64));
        rig.handle.relist();
    }
}

/// TestReflectorNotPaginatingNotConsistentReads: there are no reads that aren't consistent: a reflector that stands at 10 lists
/// the newest state, not "10 or later", so it is also free to list in pages.
#[tokio::test(start_paused = true)]
async fn reflector_not_paginating_not_consistent_reads() {
    let server = script();
    let all: Vec<_> = (0..10).map(|number| object(&format!("pod-{number}"), number + 1)).collect();
    server.on_list(list(10, &[])).on_list(list(10, &all));
    let rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    rig.handle.relist();
    rig.until_asked(4).await;
    assert_eq!(rig.asked(), ["list 500", "watch 10", "list 500", "watch 10"]);
    assert_eq!(rig.cached().len(), 10);
}

/// TestReflectorPaginatingNonConsistentReadsIfWatchCacheDisabled: once a list came in pages, so does the next.
#[tokio::test(start_paused = true)]
async fn reflector_paginating_non_consistent_reads_if_watch_cache_disabled() {
    let server = script();
    on_lists(&server, ten_in_pages().into_iter().chain(ten_in_pages()));
    let rig = Maps::paged().start(&server);
    rig.until_asked(4).await;
    assert_eq!(rig.cached().len(), 10);
    rig.handle.relist();
    rig.until_asked(8).await;
    assert_eq!(rig.asked()[4..], ["list 500", "list 500 C1", "list 500 C2", "watch 10"]);
    assert_eq!((rig.cached().len(), rig.status().counts.unchanged), (10, 10));
}

/// The objects `pod-0` to `pod-7`.
fn eight() -> Vec<Value> {
    (0..8).map(|number| object(&format!("pod-{number}"), number + 1)).collect()
}

/// TestReflectorResyncWithResourceVersion: a later list must not lead back in time. Upstream asks for "not older than" the
/// version reached; here each list is consistent, which is at least as new.
#[tokio::test(start_paused = true)]
async fn reflector_resync_with_resource_version() {
    let server = script();
    server.on_list(list(10, &eight()[..4])).on_watch(Answer::body(expired())).on_list(list(11, &eight()));
    let rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    assert_eq!((rig.cached().len(), rig.version()), (4, "10".to_owned()));
    rig.until_asked(4).await;
    assert_eq!(rig.asked(), ["list 500", "watch 10", "list 500", "watch 11"]);
    assert_eq!((rig.cached().len(), rig.version()), (8, "11".to_owned()));
}

/// TestReflectorExpiredExactResourceVersion: a later list that is answered with Expired is asked for again, after backoff; none
/// of them names a version that could have expired.
#[tokio::test(start_paused = true)]
async fn reflector_expired_exact_resource_version() {
    let server = script();
    server.on_list(list(10, &eight()[..4])).on_watch(Answer::body(expired()));
    server.on_list(Answer::refused(410, "Expired")).on_list(list(11, &eight()));
    let rig = Maps::paged().start(&server);
    rig.until_asked(5).await;
    assert_eq!(rig.asked(), ["list 500", "watch 10", "list 500", "list 500", "watch 11"]);
    assert_eq!((rig.cached().len(), rig.status().counts.backoffs), (8, 2));
}

/// TestReflectorFullListIfExpired: where the second page has expired, one list without pages follows at once.
#[tokio::test(start_paused = true)]
async fn reflector_full_list_if_expired() {
    let server = script();
    server.on_list(list(10, &eight()[..4])).on_list(page(11, &eight()[..4], "C1"));
    server.on_list(Answer::refused(410, "Expired")).on_list(list(11, &eight()));
    let rig = Maps::paged().page_size(4).start(&server);
    rig.until_asked(2).await;
    assert_eq!(rig.cached().len(), 4);
    rig.handle.relist();
    rig.until_asked(6).await;
    assert_eq!(rig.asked(), ["list 4", "watch 10", "list 4", "list 4 C1", "list", "watch 11"]);
    assert_eq!((rig.cached().len(), rig.status().counts.backoffs), (8, 0));
}

fn too_large(message: &str, details: Value) -> Value {
    json!({"kind": "Status", "code": 504, "reason": "Timeout", "message": message, "details": details})
}

/// TestReflectorFullListIfTooLarge: no list names a version, so only a watch can be told that its version lies in the server's
/// future. In each of the three forms that servers have used, as an answer and as an event, a consistent list follows: at once,
/// unless the last one is recent, as it is where the first watch behind it is refused.
#[tokio::test(start_paused = true)]
async fn reflector_full_list_if_too_large() {
    let forms = [
        too_large("later", json!({"causes": [{"reason": "ResourceVersionTooLarge"}]})),
        too_large("later", json!({"causes": [{"message": "Too large resource version"}]})),
        too_large("Too large resource version", json!({})),
    ];
    for as_event in [false, true] {
        let server = script();
        server.on_list(list(20, &[]));
        for (form, version) in forms.iter().zip([30, 40, 50]) {
            let refusal = Refusal::from_answer(504, None, form.to_string().as_bytes());
            server.on_watch(if as_event {
                let late = Piece::Silence(Duration::from_secs(60));
                Answer::pieces([late, Piece::Bytes(event("ERROR", form).into())])
            } else {
                Answer::error(RequestError::Refused(refusal))
            });
            server.on_list(list(version, &[object("a", version)]));
        }
        let rig = Maps::paged().start(&server);
        for refused in 1..=3 {
            rig.until_asked(2 * refused).await;
            if !as_event {
                let failing = rig.status().failing.expect("a refused watch");
                assert_eq!((failing.class, failing.failures), ("too_large_version", 1), "form {refused}");
            }
            rig.until_asked(2 * refused + 2).await;
        }
        let watches = ["watch 20", "watch 30", "watch 40", "watch 50"];
        assert_eq!(rig.asked(), watches.map(|watch| ["list 500", watch]).concat());
        assert_eq!((rig.cached(), rig.version()), (vec!["a=50".to_owned()], "50".to_owned()));
        assert_eq!(rig.status().counts.backoffs, if as_event { 0 } else { 3 });
    }
}

/// TestReflectorListExtract: an object that is gone takes no memory: what else came with its page doesn't hold it.
#[tokio::test(start_paused = true)]
async fn reflector_list_extract() {
    let server = script();
    let name = |number: u64| format!("pod-{number}");
    for number in 0..5_u64 {
        let items: Vec<_> = (0..100).map(|item| object(&name(100 * number + item), 1)).collect();
        let token = if number == 4 { String::new() } else { format!("t{number}") };
        server.on_list(page(10, &items, &token));
    }
    let exempt: Vec<_> = (0..5).map(|number| object(&name(100 * number + 25), 1)).collect();
    server.on_list(list(20, &exempt));
    let rig = Maps::paged().page_size(100).start(&server);
    rig.until_asked(6).await;
    let alive: Vec<_> = rig.store.list().iter().map(Arc::downgrade).collect();
    let held = |alive: &[std::sync::Weak<ConfigMap>]| alive.iter().filter(|object| object.upgrade().is_some()).count();
    assert_eq!((alive.len(), held(&alive)), (500, 500));
    rig.handle.relist();
    rig.until("at 20", |rig| rig.cached().len() == 5).await;
    sleep(MS).await;
    assert_eq!(held(&alive), 5);
    assert_eq!(rig.status().counts.unchanged, 5, "what stayed is the same allocation");
}

/// TestReflectorReplacesStoreOnUnsafeDelete: the event with which a server tells that an object that it can't read was deleted
/// leads to a list: that object is gone, once, and the others were never touched.
#[tokio::test(start_paused = true)]
async fn reflector_replaces_store_on_unsafe_delete() {
    let server = script();
    let all = [object("foo-1", 1), object("foo-2", 2), object("foo-3", 3)];
    server.on_list(list(3, &all));
    server.on_watch(Answer::body(added("foo", 4) + &status_event(500, "StorageReadError")));
    server.on_list(list(5, &all));
    let rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    let before = rig.get("foo-1");
    rig.until("foo", |rig| rig.cached().len() == 4).await;
    rig.until_asked(4).await;
    assert_eq!(rig.asked(), ["list 500", "watch 3", "list 500", "watch 5"]);
    assert_eq!((rig.cached(), rig.version()), (vec!["foo-1=1".into(), "foo-2=2".into(), "foo-3=3".into()], "5".into()));
    assert_eq!(rig.heard()[3..], ["added foo=4", "missed foo=4"]);
    assert!(Arc::ptr_eq(&before, &rig.get("foo-1")));
    assert_eq!((rig.status().counts.replacements, rig.versions()), (2, vec!["3".into(), "4".into(), "5".into()]));
}
