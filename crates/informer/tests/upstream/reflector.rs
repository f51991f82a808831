//! tools/cache, reflector_test.go: lists and watches, what is read of them, and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::core::DynamicObject;
use serde_json::json;
use tokio::time::{Instant, sleep};
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::request_error::RequestError;
use watchkeeper_informer::scripted::{Answer, Asked, Piece};
use watchkeeper_informer::{DeltaOrder, ObjectKey, ReflectorConfig};

use crate::rig::*;

/// TestCloseWatchChannelOnError: an ERROR event ends the stream, whatever object is in it: nobody reads on, and a list follows.
#[tokio::test(start_paused = true)]
async fn close_watch_channel_on_error() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_list(list(1, &[])).on_watch(answer).on_list(list(2, &[]));
    let rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    assert!(feed.text(event("ERROR", &object("bar", 2))));
    rig.until_asked(4).await;
    assert!(!feed.text(added("bar", 3)), "the stream is still read");
    assert_eq!(rig.asked(), ["list 500", "watch 1", "list 500", "watch 2"]);
    assert!(rig.cached().is_empty());
}

/// TestRunUntil: a cancelled run ends at once, with its stream.
#[tokio::test(start_paused = true)]
async fn run_until() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_list(list(1, &[])).on_watch(answer);
    let mut rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    feed.text(added("bar", 2));
    rig.until("bar", |rig| rig.cached() == ["bar=2"]).await;
    assert!(!rig.has_ended());
    rig.stop.cancel();
    sleep(MS).await;
    assert!(rig.has_ended() && !feed.text(added("baz", 3)));
}

/// TestReflectorWatchStoppedBefore: nothing is asked if it is cancelled before it runs.
#[tokio::test(start_paused = true)]
async fn reflector_watch_stopped_before() {
    let (server, setup) = (script(), Maps::paged());
    setup.stop.cancel();
    let mut rig = setup.start(&server);
    seconds(60).await;
    assert!(rig.has_ended());
    assert_eq!(rig.asked(), [""; 0]);
}

/// TestReflectorWatchStoppedAfter: cancelled during a watch that is silent, it has opened one and lets go of it.
#[tokio::test(start_paused = true)]
async fn reflector_watch_stopped_after() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_list(list(1, &[])).on_watch(answer);
    let mut rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    sleep(10 * MS).await;
    rig.stop.cancel();
    sleep(MS).await;
    assert!(rig.has_ended() && !feed.text(added("a", 2)));
    assert_eq!((rig.asked(), rig.status().failing), (vec!["list 500".to_owned(), "watch 1".to_owned()], None));
}

/// TestReflectorHandleWatchStoppedBefore: cancelled before the watch is answered, it waits for no answer.
#[tokio::test(start_paused = true)]
async fn reflector_handle_watch_stopped_before() {
    let server = script();
    server.on_list(list(1, &[])).on_watch(Answer::hang());
    let mut rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    rig.stop.cancel();
    sleep(MS).await;
    assert!(rig.has_ended());
    assert_eq!((rig.asked().len(), rig.version(), rig.status().failing), (2, "1".to_owned(), None));
}

/// TestReflectorHandleWatchStoppedAfter: cancelled while the stream is read, it keeps what was read before and lets go of the
/// stream.
#[tokio::test(start_paused = true)]
async fn reflector_handle_watch_stopped_after() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_list(list(1, &[])).on_watch(answer);
    let mut rig = Maps::paged().start(&server);
    feed.text(added("a", 2));
    seconds(1).await;
    rig.stop.cancel();
    sleep(MS).await;
    assert!(rig.has_ended() && !feed.text(added("b", 3)));
    assert_eq!((rig.cached(), rig.version()), (vec!["a=2".to_owned()], "2".to_owned()));
}

/// A watch that is answered so, and what is known of it 10 s later.
async fn very_short_watch(answer: Answer) {
    let server = script();
    server.on_list(list(1, &[])).on_watch(answer);
    let rig = Maps::paged().start(&server);
    rig.until("failing", |rig| rig.status().failing.is_some()).await;
    assert_eq!(rig.status().failing.expect("a failure").class, "short_watch");
    seconds(10).await;
    assert_eq!(rig.asked(), ["list 500", "watch 1", "watch 1"]);
    let waited = rig.times()[2] - rig.times()[1];
    assert!((800 * MS..=1_250 * MS).contains(&waited), "{waited:?}");
}

/// TestReflectorHandleWatchResultChanClosedBefore: a stream that has ended before it is read counts as a failure: after backoff
/// it is opened again, once.
#[tokio::test(start_paused = true)]
async fn reflector_handle_watch_result_chan_closed_before() {
    very_short_watch(Answer::body("")).await;
}

/// TestReflectorHandleWatchResultChanClosedAfter: so does one that ends soon after, without an event.
#[tokio::test(start_paused = true)]
async fn reflector_handle_watch_result_chan_closed_after() {
    very_short_watch(Answer::pieces([Piece::Silence(10 * MS)])).await;
}

/// TestReflectorWatchHandler: an object of another kind isn't cached, the others reach the store. The version reached is that
/// of the last event that was taken: one with a lower version is a replay here, which upstream takes for the newest; whether
/// it was is audited.
#[tokio::test(start_paused = true)]
async fn reflector_watch_handler() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_list(list(5, &[object("foo", 3), object("bar", 4)])).on_watch(answer);
    server.on_list(list(55, &[object("bar", 55)]));
    let rig = Maps::paged().start(&server);
    let mut service = object("rejected", 6);
    (service["apiVersion"], service["kind"]) = (json!("v1"), json!("Service"));
    feed.text(event("ADDED", &service) + &deleted("foo", 7) + &modified("bar", 55) + &added("baz", 32));
    seconds(1).await;
    assert_eq!((rig.cached(), rig.version()), (vec!["bar=55".to_owned()], "55".to_owned()));
    let counts = rig.status().counts;
    assert_eq!((counts.undecodable, counts.stale_dropped), (1, 1));
    assert_eq!(rig.handle.quarantine()[0].key, Some(ObjectKey::new("d", "rejected")));
    feed.text(added("baz", 56));
    seconds(1).await;
    assert_eq!((rig.cached(), rig.asked().len()), (vec!["bar=55".to_owned(), "baz=56".to_owned()], 3));
}

/// TestReflectorStopWatch: cancelled in the moment in which the watch is opened, it lets go of what it is given.
#[tokio::test(start_paused = true)]
async fn reflector_stop_watch() {
    let (server, setup) = (script(), Maps::paged());
    let (answer, feed) = Answer::live();
    let (stop, mut answer) = (setup.stop.clone(), Some(answer));
    server.on_list(list(1, &[])).otherwise(move |_| {
        stop.cancel();
        answer.take().expect("one watch")
    });
    let mut rig = setup.start(&server);
    seconds(60).await;
    assert!(rig.has_ended() && !feed.text(added("a", 2)));
    assert_eq!((rig.asked(), rig.status().failing), (vec!["list 500".to_owned(), "watch 1".to_owned()], None));
}

/// The five changes that both ways of listing go on with.
fn five_changes() -> String {
    modified("foo", 2) + &added("bar", 3) + &added("baz", 4) + &added("qux", 5) + &added("zoo", 6)
}

/// TestReflectorListAndWatch/UseWatchList enabled: one stream and no list; the changes come on the same stream.
#[tokio::test(start_paused = true)]
async fn reflector_list_and_watch_use_watch_list_enabled() {
    let server = script();
    server.on_watch(Answer::live_with(added("foo", 1) + &initial_end(1) + &five_changes()));
    let rig = Maps::streaming().start(&server);
    seconds(1).await;
    assert_eq!(rig.asked(), ["stream"]);
    assert_eq!(rig.cached(), ["bar=3", "baz=4", "foo=2", "qux=5", "zoo=6"]);
    assert_eq!(
        rig.heard(),
        ["initial foo=1", "updated foo=2", "added bar=3", "added baz=4", "added qux=5", "added zoo=6"]
    );
}

/// TestReflectorListAndWatch/UseWatchList disabled: a list in pages of 500, then a watch from its version. The list is
/// consistent, where upstream takes whatever a server has cached (version 0): a first list never shows less than what was
/// written before it.
#[tokio::test(start_paused = true)]
async fn reflector_list_and_watch_use_watch_list_disabled() {
    let server = script();
    server.on_list(list(1, &[object("foo", 1)])).on_watch(Answer::live_with(five_changes()));
    let rig = Maps::paged().start(&server);
    seconds(1).await;
    assert_eq!(rig.asked(), ["list 500", "watch 1"]);
    assert_eq!(rig.cached(), ["bar=3", "baz=4", "foo=2", "qux=5", "zoo=6"]);
}

/// TestReflectorListAndWatchWithErrors: through six rounds, two of them with an error, what is cached is what lists and events
/// imply: no later list changes anything. An error shows until it is over. A watch that isn't answered is opened again, where
/// upstream lists.
#[tokio::test(start_paused = true)]
async fn reflector_list_and_watch_with_errors() {
    let unreachable = |text: &str| Answer::error(RequestError::Unreachable(text.to_owned()));
    let (foo, bar, qux, baz) = (object("foo", 2), object("bar", 3), object("qux", 5), object("baz", 6));
    let server = script();
    server.on_list(list(1, &[])).on_watch(Answer::body(added("foo", 2) + &added("bar", 3) + &expired()));
    server.on_list(list(3, &[foo, bar.clone()]));
    server.on_watch(Answer::body(deleted("foo", 4) + &added("qux", 5) + &expired()));
    server.on_list(unreachable("a list error")).on_list(list(5, &[bar.clone(), qux.clone()]));
    server.on_watch(unreachable("a watch error")).on_watch(Answer::body(added("baz", 6) + &expired()));
    server.on_list(list(6, &[bar, qux, baz]));
    let rig = Maps::paged().start(&server);
    for text in ["no answer: a list error", "no answer: a watch error"] {
        rig.until(text, |rig| rig.status().failing.is_some_and(|failing| failing.message == text)).await;
    }
    seconds(120).await;
    let asked = [
        ["list 500", "watch 1"],
        ["list 500", "watch 3"],
        ["list 500", "list 500"],
        ["watch 5", "watch 5"],
        ["list 500", "watch 6"],
    ];
    assert_eq!(rig.asked(), asked.concat());
    assert_eq!(rig.heard(), ["added foo=2", "added bar=3", "deleted foo=4", "added qux=5", "added baz=6"]);
    assert_eq!((rig.cached().len(), rig.status().counts.unchanged, rig.status().failing), (3, 7, None));
}

/// TestWatchTimeout: what a watch asks for lies between a least and its double: 5 to 10 minutes unless configured. A range that
/// is configured is taken as it is, also a short one, which upstream takes for five minutes.
#[tokio::test(start_paused = true)]
async fn watch_timeout() {
    let default = ReflectorConfig::default().watch_timeout_seconds;
    for (configured, range) in [(None, 300..=600), (Some(1..=2), 1..=2), (Some(1_800..=3_600), 1_800..=3_600)] {
        let server = script();
        server.otherwise(|asked| match asked {
            Asked::List(_) => list(10, &[]),
            Asked::Watch(_) => Answer::body(bookmark(11)),
        });
        let mut setup = Maps::paged();
        setup.config.watch_timeout_seconds = configured.unwrap_or_else(|| default.clone());
        let rig = setup.start(&server);
        rig.until_asked(101).await;
        let timeouts: Vec<_> = server
            .asked()
            .iter()
            .filter_map(|(_, asked)| match asked {
                Asked::Watch(request) => Some(request.timeout_seconds),
                Asked::List(_) => None,
            })
            .collect();
        assert_eq!(timeouts.len(), 100);
        assert!(timeouts.iter().all(|seconds| range.contains(seconds)), "{timeouts:?}");
        assert!(timeouts.iter().any(|seconds| *seconds != timeouts[0]), "they don't end together");
    }
}

/// TestReflectorResourceVersionUpdate: the store is told each version reached, that of a bookmark included; an event at the
/// version of the list is a replay.
#[tokio::test(start_paused = true)]
async fn reflector_resource_version_update() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_list(list(10, &[object("a", 10)])).on_watch(answer);
    let rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    for text in [added("a", 10), modified("a", 20), bookmark(30), deleted("a", 40)] {
        feed.text(text);
        sleep(MS).await;
    }
    assert_eq!(rig.versions(), ["10", "20", "30", "40"]);
    assert_eq!(rig.heard(), ["initial a=10", "updated a=20", "deleted a=40"]);
}

/// TestReflectorRespectStoreTransformer: with either queue, and in either way of listing, each object is changed before
/// anybody sees it, once: three times for three objects (upstream's streaming lists: five).
#[tokio::test(start_paused = true)]
async fn reflector_respect_store_transformer() {
    for order in [DeltaOrder::Ordered, DeltaOrder::Coalescing] {
        for streaming in [true, false] {
            let server = script();
            let initial = added("foo-1", 1) + &added("foo-2", 2) + &initial_end(2);
            if streaming {
                server.on_watch(Answer::live_with(initial + &added("foo-3", 3)));
            } else {
                server.on_list(list(2, &[object("foo-1", 1), object("foo-2", 2)]));
                server.on_watch(Answer::live_with(added("foo-3", 3)));
            }
            let calls = Arc::new(AtomicUsize::new(0));
            let decoder = Decoder::new(DecoderConfig::default()).with_transform({
                let calls = Arc::clone(&calls);
                move |object: &mut ConfigMap| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    object.data = Some([("k".to_owned(), "transformed".to_owned())].into());
                }
            });
            let setup = if streaming { Maps::streaming() } else { Maps::paged() };
            let rig = Setup { decoder, order, ..setup }.start(&server);
            rig.until("at 3", |rig| rig.version() == "3").await;
            sleep(MS).await;
            assert_eq!(rig.cached(), ["foo-1=1", "foo-2=2", "foo-3=3"]);
            let is_changed = |object: &Arc<ConfigMap>| object.data.as_ref().unwrap()["k"] == "transformed";
            assert!(rig.store.list().iter().all(is_changed));
            assert_eq!(calls.load(Ordering::Relaxed), 3, "{order:?}, streaming {streaming}");
        }
    }
}

/// TestIsUnsupportedTableObject: a table isn't an object of the kind that is cached, nor a list of such: it says no name, and is
/// never cached; an object of another group's kind Table is like any other.
#[tokio::test(start_paused = true)]
async fn is_unsupported_table_object() {
    let table = |version: &str| {
        json!({"kind": "Table", "apiVersion": version, "metadata": {"resourceVersion": "6"}, "columnDefinitions": [],
            "rows": [{"cells": ["a"], "object": object("a", 6)}]})
    };
    let named = |kind: &str, version: &str| {
        let mut object = object("a", 6);
        (object["kind"], object["apiVersion"]) = (json!(kind), json!(version));
        object
    };
    for (object, is_table) in [
        (table("meta.k8s.io/v1"), true),
        (table("meta.k8s.io/v1beta1"), true),
        (named("Pod", "v1"), false),
        (named("Table", "custom.group/v1"), false),
    ] {
        let server = script();
        server.on_list(list(5, &[])).on_watch(Answer::live_with(event("ADDED", &object))).on_list(list(6, &[]));
        let rig = Setup::<DynamicObject>::paged().start(&server);
        seconds(60).await;
        if is_table {
            assert_eq!(rig.asked(), ["list 500", "watch 5", "list 500", "watch 6"]);
            assert_eq!((rig.heard(), rig.status().counts.undecodable), (vec![], 1));
        } else {
            assert_eq!((rig.asked().len(), rig.heard()), (2, vec!["added a=6".to_owned()]));
        }
    }
    let server = script();
    server.on_list(Answer::body(table("meta.k8s.io/v1").to_string())).on_list(list(7, &[]));
    let rig = Setup::<DynamicObject>::paged().start(&server);
    let begun = Instant::now();
    rig.until("failing", |rig| rig.status().failing.is_some()).await;
    assert_eq!((rig.status().failing.unwrap().class, begun.elapsed() < Duration::from_secs(1)), ("malformed", true));
    rig.until_asked(3).await;
    assert_eq!((rig.asked(), rig.heard()), (vec!["list 500".into(), "list 500".into(), "watch 7".into()], vec![]));
}
