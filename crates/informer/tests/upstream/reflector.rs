//! tools/cache, reflector_test.go: lists, watches, how they end, and what follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::core::DynamicObject;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use watchkeeper_informer::backoff::BackoffConfig;
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::reflector::Activity;
use watchkeeper_informer::request_error::{Refusal, RequestError};
use watchkeeper_informer::scripted::{Answer, Asked, Piece};
use watchkeeper_informer::{Budget, BudgetConfig, DeltaOrder, ObjectKey, ReflectorConfig};

use crate::rig::*;

type Maps = Setup<ConfigMap>;

const MS: Duration = Duration::from_millis(1);

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

/// A watch that is refused so often, and how long it took until it was open; after one list.
async fn refused(times: usize, config: ReflectorConfig) -> (Duration, Vec<Duration>) {
    let server = script();
    server.on_list(list(1, &[]));
    on_watches(&server, times, refused_connection);
    // Nothing but the backoff delays anything.
    let config = ReflectorConfig { pace: Duration::ZERO, ..config };
    let budget = Budget::new(BudgetConfig { spacing: Duration::ZERO, ..BudgetConfig::default() });
    let rig = Setup { config, budget, ..Maps::paged() }.start(&server);
    rig.until_asked(times + 2).await;
    assert_eq!((rig.lists(), rig.status().counts.backoffs), (1, times as u64));
    let opened = &rig.times()[1..];
    (opened[times] - opened[0], opened.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

/// TestReflectorListAndWatchInitConnBackoff: delays double with each refused connection, and are flat at their cap.
#[tokio::test(start_paused = true)]
async fn reflector_list_and_watch_init_conn_backoff() {
    let backoff = BackoffConfig { initial: MS, max: 50 * MS, jitter: 1.0, reset_after: Duration::from_millis(100) };
    let config = ReflectorConfig { backoff, streaming_list: false, ..ReflectorConfig::default() };
    // Each delay is doubled at most; a timer may be late by 1 ms.
    for (times, least) in [(5, 1 + 2 + 4 + 8 + 16), (40, 63 + 34 * 50)] {
        let (took, delays) = refused(times, config.clone()).await;
        let late = MS * u32::try_from(times).unwrap();
        assert!((least * MS..=2 * least * MS + late).contains(&took), "{times}: {took:?}");
        assert!(delays.iter().all(|delay| *delay <= 101 * MS), "{delays:?}");
    }
}

/// TestNewReflectorWithCustomBackoff: the default delays are 0.8 s and 1.6 s, with jitter; without jitter those of a
/// configuration are exact.
#[tokio::test(start_paused = true)]
async fn new_reflector_with_custom_backoff() {
    let paged = ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() };
    let (took, _) = refused(2, paged.clone()).await;
    assert!((2_400 * MS..=3_602 * MS).contains(&took), "{took:?}");
    let backoff = BackoffConfig { initial: 10 * MS, max: 100 * MS, jitter: 0.0, ..BackoffConfig::default() };
    let (took, delays) = refused(5, ReflectorConfig { backoff, ..paged }).await;
    assert_eq!(delays, [10, 20, 40, 80, 100].map(|delay| delay * MS));
    assert_eq!(took, 250 * MS);
}

/// TestBackoffOnTooManyRequests: 429 for a watch, and 429 in its stream, are a wait each and no list.
#[tokio::test(start_paused = true)]
async fn backoff_on_too_many_requests() {
    let server = script();
    server.on_list(list(1, &[])).on_watch(Answer::refused(429, "TooManyRequests"));
    server.on_watch(Answer::body(status_event(429, "TooManyRequests")));
    let rig = Maps::paged().start(&server);
    seconds(60).await;
    assert_eq!(rig.asked(), ["list 500", "watch 1", "watch 1", "watch 1"]);
    assert_eq!((rig.status().counts.backoffs, rig.status().activity), (2, Activity::Watching));
}

/// TestNoRelistOnTooManyRequests: four times 429 for a watch: one list, five watches.
#[tokio::test(start_paused = true)]
async fn no_relist_on_too_many_requests() {
    let server = script();
    server.on_list(list(1, &[]));
    on_watches(&server, 4, || Answer::refused(429, "TooManyRequests"));
    let rig = Maps::paged().start(&server);
    seconds(120).await;
    assert_eq!((rig.lists(), rig.asked().len() - rig.lists()), (1, 5));
    assert_eq!(rig.status().counts.backoffs, 4);
}

/// TestRetryInternalError: 500 in a stream is never tried again from the same version, as upstream's default is; there is no
/// window in which it would be. Each is followed by a wait, in the end at its cap, and one list.
#[tokio::test(start_paused = true)]
async fn retry_internal_error() {
    for errors in [1, 31] {
        let server = script();
        for version in 1..=errors {
            server.on_list(list(version, &[])).on_watch(Answer::body(status_event(500, "InternalError")));
        }
        server.on_list(list(100, &[]));
        let rig = Maps::paged().start(&server);
        rig.until("at 100", |rig| rig.asked().last().is_some_and(|last| last == "watch 100")).await;
        assert_eq!((rig.lists() as u64, rig.status().counts.backoffs), (errors + 1, errors));
        let times = rig.times();
        let before_lists: Vec<_> = times.chunks(2).map(|pair| pair[0]).collect();
        let waits: Vec<_> = before_lists.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.iter().all(|wait| *wait >= 800 * MS), "{waits:?}");
        assert!(waits.iter().skip(6).all(|wait| *wait >= Duration::from_secs(30)), "{waits:?}");
    }
}

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
