//! tools/cache, reflector_watchlist_test.go: streaming lists, and what ends them.

use tokio::time::sleep;
use watchkeeper_informer::ReflectorConfig;
use watchkeeper_informer::reflector::Activity;
use watchkeeper_informer::request_error::RequestError;
use watchkeeper_informer::scripted::Answer;

use crate::rig::*;

/// TestNewReflectorWithDisablementWatchList: whether it begins with a streaming list is configured, and on unless it is turned
/// off. A client can't say that it doesn't know such lists: the server's refusal says so, once and for all.
#[tokio::test(start_paused = true)]
async fn new_reflector_with_disablement_watch_list() {
    assert!(ReflectorConfig::default().streaming_list);
    for (configured, supported, asked) in [
        (false, true, &["list 500", "watch 5", "list 500", "watch 5"][..]),
        (true, true, &["stream", "stream"]),
        (true, false, &["stream", "list 500", "watch 5", "list 500", "watch 5"]),
    ] {
        let server = script();
        server.on_list(list(5, &[])).on_list(list(5, &[]));
        if !supported {
            server.on_watch(Answer::refused(422, "Invalid"));
        } else if configured {
            server.on_watch(Answer::live_with(initial_end(5))).on_watch(Answer::live_with(initial_end(5)));
        }
        let rig = if configured { Maps::streaming() } else { Maps::paged() }.start(&server);
        seconds(10).await;
        rig.handle.relist();
        seconds(10).await;
        assert_eq!((rig.asked(), rig.version().as_str()), (asked.iter().map(ToString::to_string).collect(), "5"));
        assert_eq!(rig.status().paged_because.is_some(), !supported);
    }
}

/// TestInitialEventsEndBookmarkTicker: where the end of the initial events doesn't come, that is not warned of for ever: after
/// 30 s without any event the list is given up for pages, and why can be read. Each event begins the wait anew.
#[tokio::test(start_paused = true)]
async fn initial_events_end_bookmark_ticker() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_watch(answer).on_list(list(5, &[object("a", 3)]));
    let rig = Maps::streaming().start(&server);
    for version in 1..=3 {
        seconds(20).await;
        assert!(feed.text(modified("a", version)));
    }
    seconds(29).await;
    assert_eq!((rig.asked(), rig.status().activity), (vec!["stream".to_owned()], Activity::Listing));
    assert_eq!(rig.status().paged_because, None);
    seconds(2).await;
    assert_eq!(rig.asked(), ["stream", "list 500", "watch 5"]);
    let reason = "the bookmark at the end of the initial events did not come within 30s";
    assert_eq!(rig.status().paged_because.as_deref(), Some(reason));

    // Without any event the same wait says nothing of what the server knows: the list is asked for once more.
    let (server, (answer, feed)) = (script(), Answer::live());
    server.on_watch(answer).on_watch(Answer::live_with(initial_end(5)));
    let rig = Maps::streaming().start(&server);
    seconds(29).await;
    assert_eq!(rig.asked(), ["stream"]);
    seconds(5).await;
    assert_eq!((rig.asked(), rig.status().paged_because), (vec!["stream".to_owned(), "stream".to_owned()], None));
    assert_eq!((rig.version(), feed.text("")), ("5".to_owned(), false));
}

/// TestWatchListResourceVersion: initial events move no version; the bookmark that ends them does.
#[tokio::test(start_paused = true)]
async fn watch_list_resource_version() {
    for (text, version) in [(String::new(), ""), (added("p1", 1), ""), (added("p1", 1) + &initial_end(2), "2")] {
        let server = script();
        server.on_watch(Answer::live_with(text));
        let rig = Maps::streaming().start(&server);
        seconds(1).await;
        assert_eq!((rig.version().as_str(), rig.asked()), (version, vec!["stream".to_owned()]));
    }
}

/// TestWatchList/won't be synced without bookmark: until then nothing reaches the store.
#[tokio::test(start_paused = true)]
async fn watch_list_wont_be_synced_without_bookmark() {
    let server = script();
    server.on_watch(Answer::live_with(added("p1", 1)));
    let mut rig = Maps::streaming().start(&server);
    seconds(20).await;
    assert_eq!((rig.cached(), rig.versions(), rig.asked()), (vec![], vec![], vec!["stream".to_owned()]));
    rig.stop.cancel();
    sleep(MS).await;
    assert!(rig.has_ended());
    assert_eq!((rig.cached(), rig.status().counts.replacements), (vec![], 0));
}

/// TestWatchList/old semantics when off: a list, then a watch. The list is consistent, where upstream's is of version 0.
#[tokio::test(start_paused = true)]
async fn watch_list_old_semantics_when_off() {
    let server = script();
    server.on_list(list(1, &[object("p1", 1)]));
    let rig = Maps::paged().start(&server);
    rig.until_asked(2).await;
    assert_eq!((rig.asked(), rig.cached()), (vec!["list 500".into(), "watch 1".into()], vec!["p1=1".to_owned()]));
}

/// TestWatchList/any other error forces fallback: not here. An error that says nothing of streaming lists would make every
/// later list dear: it is waited out, and the streaming list is asked for again.
#[tokio::test(start_paused = true)]
async fn watch_list_any_other_error_forces_fallback() {
    let errors: [fn() -> Answer; 4] = [
        || Answer::refused(500, "InternalError"),
        || Answer::refused(403, "Forbidden"),
        refused_connection,
        || Answer::error(RequestError::Cut("reset".to_owned())),
    ];
    for error in errors {
        let server = script();
        server.on_watch(error()).on_watch(Answer::live_with(added("p1", 1) + &initial_end(1) + &added("p2", 2)));
        let rig = Maps::streaming().start(&server);
        rig.until("failing", |rig| rig.status().failing.is_some()).await;
        rig.until_asked(2).await;
        seconds(1).await;
        assert_eq!((rig.asked(), rig.status().paged_because), (vec!["stream".to_owned(), "stream".to_owned()], None));
        assert_eq!((rig.cached(), rig.status().counts.backoffs), (vec!["p1=1".to_owned(), "p2=2".to_owned()], 1));
    }
}

/// TestWatchList/server does not support streaming (Invalid): pages at once, in each of the ways in which a server says so.
#[tokio::test(start_paused = true)]
async fn watch_list_server_does_not_support_streaming_invalid() {
    for code in [422, 400, 405, 415] {
        let server = script();
        server.on_watch(Answer::refused(code, "Invalid")).on_list(list(1, &[object("p1", 1)]));
        server.on_watch(Answer::live_with(added("p2", 2)));
        let rig = Maps::streaming().start(&server);
        rig.until_asked(3).await;
        sleep(MS).await;
        assert_eq!(rig.asked(), ["stream", "list 500", "watch 1"]);
        assert_eq!((rig.cached(), rig.status().counts.backoffs), (vec!["p1=1".to_owned(), "p2=2".to_owned()], 0));
        assert!(rig.status().paged_because.unwrap().contains(&code.to_string()));
    }
}

/// TestWatchList/synced after bookmark: all of it at once, and the stream goes on.
#[tokio::test(start_paused = true)]
async fn watch_list_synced_after_bookmark() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let rig = Maps::streaming().start(&server);
    feed.text(added("p1", 1) + &added("p2", 2) + &initial_end(2));
    seconds(1).await;
    assert_eq!(
        (rig.heard(), rig.versions()),
        (vec!["initial p1=1".into(), "initial p2=2".into()], vec!["2".to_owned()])
    );
    assert_eq!((rig.status().counts.replacements, rig.status().activity), (1, Activity::Watching));
    assert!(feed.text(added("p3", 3)));
    seconds(1).await;
    assert_eq!((rig.cached().len(), rig.asked()), (3, vec!["stream".to_owned()]));
}

/// TestWatchList/updates and deletes during streaming: they change what is collected; handlers hear of the outcome alone.
#[tokio::test(start_paused = true)]
async fn watch_list_updates_and_deletes_during_streaming() {
    let server = script();
    let changes = [added("p1", 1), added("p2", 2), modified("p1", 3), added("p3", 4), deleted("p3", 5), initial_end(5)];
    server.on_watch(Answer::live_with(changes.concat()));
    let rig = Maps::streaming().start(&server);
    seconds(1).await;
    assert_eq!((rig.cached(), rig.version()), (vec!["p1=3".to_owned(), "p2=2".to_owned()], "5".to_owned()));
    assert_eq!((rig.heard(), rig.asked().len()), (vec!["initial p1=3".to_owned(), "initial p2=2".to_owned()], 1));
}

/// TestWatchList/retries 429: the same request again, until it is answered.
#[tokio::test(start_paused = true)]
async fn watch_list_retries_429() {
    let server = script();
    server.on_watch(Answer::refused(429, "TooManyRequests")).on_watch(Answer::refused(429, "TooManyRequests"));
    server.on_watch(Answer::live_with(added("p1", 1) + &initial_end(2)));
    let rig = Maps::streaming().start(&server);
    seconds(60).await;
    assert_eq!((rig.asked(), rig.cached()), (vec!["stream".to_owned(); 3], vec!["p1=1".to_owned()]));
    assert_eq!((rig.status().counts.backoffs, rig.status().failing), (2, None));
}

/// TestWatchList/stop before sync: a stream that breaks off before the bookmark is asked for again, and nothing of the first is
/// in the second. One that the server ends in good order after events has no bookmark to give: then pages follow, where
/// upstream would ask for a stream for ever.
#[tokio::test(start_paused = true)]
async fn watch_list_stop_before_sync() {
    for (cut, asked) in [(true, &["stream", "stream"][..]), (false, &["stream", "list 500", "watch 1"])] {
        let server = script();
        let (answer, feed) = Answer::live();
        server.on_watch(answer).on_list(list(1, &[object("p1", 1)]));
        if cut {
            server.on_watch(Answer::live_with(added("p1", 1) + &initial_end(1)));
        }
        let rig = Maps::streaming().start(&server);
        feed.text(added("p0", 1));
        seconds(1).await;
        if cut {
            feed.piece(watchkeeper_informer::scripted::Piece::Error(RequestError::Cut("reset".to_owned())));
        }
        drop(feed);
        seconds(10).await;
        assert_eq!(rig.asked(), asked);
        assert_eq!((rig.cached(), rig.heard()), (vec!["p1=1".to_owned()], vec!["initial p1=1".to_owned()]));
    }
}

/// TestWatchList/stop after sync: a plain watch from the last version follows.
#[tokio::test(start_paused = true)]
async fn watch_list_stop_after_sync() {
    let server = script();
    server.on_watch(Answer::body(added("p1", 1) + &added("p2", 2) + &initial_end(2) + &added("p3", 3)));
    server.on_watch(Answer::live_with(added("p4", 4)));
    let rig = Maps::streaming().start(&server);
    seconds(10).await;
    assert_eq!((rig.asked(), rig.version()), (vec!["stream".to_owned(), "watch 3".to_owned()], "4".to_owned()));
    assert_eq!(rig.cached(), ["p1=1", "p2=2", "p3=3", "p4=4"]);
}

/// TestWatchList/expired established watch: it shows as a failure, and what is cached stays until the list that follows.
#[tokio::test(start_paused = true)]
async fn watch_list_expired_established_watch() {
    let server = script();
    server.on_watch(Answer::body(added("p1", 1) + &initial_end(2) + &added("p3", 3)));
    server.on_watch(Answer::refused(410, "Expired"));
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let rig = Maps::streaming().start(&server);
    rig.until("failing", |rig| rig.status().failing.is_some()).await;
    assert_eq!(rig.status().failing.unwrap().class, "expired");
    rig.until_asked(3).await;
    seconds(5).await;
    assert_eq!(
        (rig.asked(), rig.version()),
        (vec!["stream".into(), "watch 3".into(), "stream".into()], "3".to_owned())
    );
    assert_eq!(rig.cached(), ["p1=1", "p3=3"]);
    feed.text(added("p3", 3) + &initial_end(9));
    seconds(1).await;
    assert_eq!((rig.cached(), rig.status().failing), (vec!["p3=3".to_owned()], None));
}

/// TestWatchList/annotation value checked: a bookmark whose mark is "false" ends no list. It is a plain one, whose place is
/// behind the one with the mark: that won't come any more, so pages follow at once.
#[tokio::test(start_paused = true)]
async fn watch_list_annotation_value_checked() {
    let server = script();
    let (answer, feed) = Answer::live();
    server.on_watch(answer).on_list(list(7, &[object("p1", 1)]));
    let rig = Maps::streaming().start(&server);
    feed.text(added("p1", 1) + &added("p2", 2));
    seconds(1).await;
    feed.text(marked(2, "false"));
    rig.until_asked(3).await;
    assert_eq!(rig.asked(), ["stream", "list 500", "watch 7"]);
    sleep(MS).await;
    assert_eq!((rig.heard(), rig.versions()), (vec!["initial p1=1".to_owned()], vec!["7".to_owned()]));
    assert!(rig.status().paged_because.is_some());
}
