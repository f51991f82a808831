//! What is asked and in which order, whatever ends a stream.

use super::*;

/// Goal: the first sync is one streaming list, in any order of versions, and its stream goes on as the watch.
#[tokio::test(start_paused = true)]
async fn first_sync_is_one_stream() {
    let server = ScriptedListWatch::new();
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let rig = Rig::streaming(&server);
    feed.text(event("ADDED", &object("b", 9)) + &event("ADDED", &object("a", 3)));
    seconds(1).await;
    assert_eq!((rig.cached().len(), rig.version()), (0, String::new()), "nothing before the bookmark");
    feed.text(event("MODIFIED", &object("a", 10)) + &event("DELETED", &object("b", 11)) + &bookmark(11, true));
    feed.text(event("ADDED", &object("c", 12)));
    seconds(1).await;
    assert_eq!(rig.cached(), ["d/a=10", "d/c=12"]);
    assert_eq!((rig.version(), rig.asked()), ("12".to_owned(), vec!["stream".to_owned()]));
    assert_eq!(rig.status().activity, Activity::Watching);
}

/// Goal: a clean end resumes at the last version, bookmarks included, and a replay is dropped and counted.
#[tokio::test(start_paused = true)]
async fn clean_ends_resume() {
    let server = ScriptedListWatch::new();
    server.on_watch(Answer::body(bookmark(5, true) + &event("ADDED", &object("a", 6)) + &bookmark(8, false)));
    server.on_watch(Answer::body(event("MODIFIED", &object("a", 6)) + &event("MODIFIED", &object("a", 9))));
    let rig = Rig::streaming(&server);
    seconds(5).await;
    assert_eq!(rig.asked(), ["stream", "watch 8", "watch 9"]);
    assert_eq!((rig.cached(), rig.status().counts.stale_dropped), (vec!["d/a=9".to_owned()], 1));
}

/// Goal: a refused streaming list falls back to pages at once, for good, with the reason visible.
#[tokio::test(start_paused = true)]
async fn refused_streaming_falls_back_for_good() {
    let server = ScriptedListWatch::new();
    server.on_watch(Answer::refused(422, "Invalid"));
    server.on_list(list(5, &[object("a", 1)], "t")).on_list(list(5, &[object("b", 2)], ""));
    server.on_watch(Answer::pieces([Piece::Silence(Duration::from_secs(60)), Piece::Bytes(expired_event().into())]));
    server.on_list(list(7, &[object("b", 2)], ""));
    let rig = Rig::streaming(&server);
    seconds(70).await;
    assert_eq!(rig.asked(), ["stream", "list 500", "list 500 t", "watch 5", "list 500", "watch 7"]);
    assert_eq!((rig.cached(), *rig.model.unchanged.lock()), (vec!["d/b=2".to_owned()], 1));
    assert!(rig.status().paged_because.unwrap().contains("422"));
}

/// Goal: what is refused to either kind of list, as a bad selector is, isn't taken for a lack of streaming lists; the log has the real reason,
/// once; when it is mended, the list is a streaming one.
#[tokio::test(start_paused = true)]
async fn a_bad_selector_is_no_lack_of_streaming() {
    let (lines, _logging) = Lines::logged(LevelFilter::INFO);
    let server = ScriptedListWatch::new();
    for _ in 0..3 {
        server.on_watch(Answer::refused(400, "BadRequest"));
        server.on_list(Answer::refused(400, "BadRequest"));
    }
    server.on_watch(Answer::body(bookmark(5, true) + &event("ADDED", &object("a", 6))));
    let rig = Rig::streaming(&server);
    rig.until_asked(6).await;
    assert_eq!(rig.status().paged_because, None);
    assert_eq!(rig.status().failing.expect("it fails").message, "the server answered 400 BadRequest");
    let text = lines.text();
    assert!(!text.contains("streaming"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("WARN") && line.contains("400")).count(), 1, "{text}");
    seconds(60).await;
    assert_eq!(rig.asked()[..7], ["stream", "list 500", "stream", "list 500", "stream", "list 500", "stream"]);
    assert_eq!((rig.cached(), rig.status().paged_because), (vec!["d/a=6".to_owned()], None));
}

/// Goal: a server that ignores `sendInitialEvents` (events, then silence, or a clean end) doesn't block for ever; one
/// whose stream only ended early, before any event, is given another chance.
#[tokio::test(start_paused = true)]
async fn missing_bookmark_falls_back() {
    let added = event("ADDED", &object("a", 1));
    let silent = Answer::pieces([Piece::Bytes(added.clone().into()), Piece::Silence(Duration::from_secs(3600))]);
    for (first, again) in [(Answer::body(added), false), (silent, false), (Answer::body(""), true)] {
        let server = ScriptedListWatch::new();
        server.on_watch(first);
        if again {
            server.on_watch(Answer::body(""));
        }
        server.on_list(list(5, &[object("a", 1)], ""));
        let rig = Rig::streaming(&server);
        seconds(40).await;
        let streams = if again { vec!["stream", "stream"] } else { vec!["stream"] };
        assert_eq!(rig.asked(), [&streams[..], &["list 500", "watch 5"]].concat());
        assert_eq!(rig.cached(), ["d/a=1"]);
    }
}

/// Goal: 410 in each form is followed by exactly one list; at once if the last list is not recent, else after backoff.
#[tokio::test(start_paused = true)]
async fn expired_versions_are_listed_once() {
    let late = [Piece::Silence(Duration::from_secs(60)), Piece::Bytes(expired_event().into())];
    for (answer, waits) in [
        (Answer::refused(410, "Expired"), true),
        (Answer::refused(410, "Gone"), true),
        (Answer::body(expired_event()), true),
        (Answer::pieces(late), false),
    ] {
        let server = ScriptedListWatch::new();
        server.on_list(list(5, &[object("a", 1)], "")).on_watch(answer);
        server.on_list(list(9, &[object("a", 8)], ""));
        let rig = Rig::paged(&server);
        seconds(70).await;
        assert_eq!(rig.asked(), ["list 500", "watch 5", "list 500", "watch 9"]);
        assert_eq!(rig.status().counts.backoffs, u64::from(waits));
        assert_eq!(rig.cached(), ["d/a=8"]);
    }
}

/// Goal: 410 on a continued page leads to one list without pages, and pages of two versions are never mixed.
#[tokio::test(start_paused = true)]
async fn expired_continue_token() {
    let server = ScriptedListWatch::new();
    server.on_list(list(5, &[object("a", 1)], "t")).on_list(Answer::refused(410, "Expired"));
    server.on_list(list(9, &[object("b", 8)], ""));
    let rig = Rig::paged(&server);
    seconds(2).await;
    assert_eq!(rig.asked(), ["list 500", "list 500 t", "list", "watch 9"]);
    assert_eq!(rig.cached(), ["d/b=8"]);

    let server = ScriptedListWatch::new();
    server.on_list(list(5, &[object("a", 1)], "t")).on_list(list(6, &[object("b", 6)], ""));
    server.on_list(list(9, &[object("b", 8)], ""));
    let rig = Rig::paged(&server);
    seconds(3).await;
    assert_eq!((rig.asked()[2].as_str(), rig.cached()), ("list", vec!["d/b=8".to_owned()]));
}

/// Goal: requests that hang, as a list, as a watch, in the middle of either, end by their deadlines and recover.
#[tokio::test(start_paused = true)]
async fn hung_requests_recover() {
    let server = ScriptedListWatch::new();
    server.on_list(Answer::hang());
    server.on_list(Answer::pieces([Piece::Bytes("{\"items\":[".into()), Piece::Silence(Duration::from_secs(100_000))]));
    server.on_list(list(5, &[object("a", 1)], "")).on_watch(Answer::hang());
    server.on_watch(Answer::pieces([
        Piece::Bytes(event("MODIFIED", &object("a", 6)).into()),
        Piece::Silence(Duration::from_secs(100_000)),
    ]));
    let rig = Rig::paged(&server);
    seconds(350).await;
    assert_eq!(rig.asked(), ["list 500", "list 500", "list 500", "watch 5", "watch 5", "watch 6"]);
    assert_eq!((rig.cached(), rig.status().failing.unwrap().class), (vec!["d/a=6".to_owned()], "timed_out"));
}

/// Goal: a stream cut at every single byte loses and doubles nothing: the version resumed from is that of the last
/// complete event.
#[tokio::test(start_paused = true)]
async fn cut_at_every_byte() {
    let events =
        [event("MODIFIED", &object("a", 6)), event("ADDED", &object("b", 7)), event("DELETED", &object("a", 8))];
    let body: String = events.concat();
    for cut in 0..=body.len() {
        let server = ScriptedListWatch::new();
        server.on_list(list(5, &[object("a", 1)], ""));
        let broken = Piece::Error(RequestError::Cut("reset".to_owned()));
        server.on_watch(Answer::pieces([Piece::Bytes(body.clone().into_bytes()[..cut].to_vec().into()), broken]));
        // The newline behind an event adds nothing to it.
        let ends = [0, events[0].len() - 1, events[0].len() + events[1].len() - 1, body.len() - 1];
        let complete = ends.iter().rposition(|&end| end <= cut).unwrap();
        server.on_watch(Answer::body(events[complete..].concat()));
        let rig = Rig::paged(&server);
        seconds(4).await;
        assert_eq!(rig.asked()[2], format!("watch {}", 5 + complete), "cut at {cut}");
        assert_eq!((rig.cached(), rig.status().counts.events), (vec!["d/b=7".to_owned()], 3), "cut at {cut}");
        assert_eq!(rig.status().counts.stale_dropped, 0, "cut at {cut}");
    }
}

/// Goal: garbage ends a watch; the version holds, and after a second time a list is read.
#[tokio::test(start_paused = true)]
async fn garbage_frames() {
    let server = ScriptedListWatch::new();
    server.on_list(list(5, &[object("a", 1)], ""));
    let garbage = || Answer::body(event("MODIFIED", &object("a", 6)) + "<html>oops</html>\n");
    server.on_watch(garbage()).on_watch(garbage());
    server.on_list(list(9, &[object("a", 9)], ""));
    let rig = Rig::paged(&server);
    seconds(10).await;
    assert_eq!(rig.asked(), ["list 500", "watch 5", "watch 6", "list 500", "watch 9"]);
    assert_eq!(rig.cached(), ["d/a=9"]);
}

/// Goal: where plain bookmarks come and the mark never does, the fallback doesn't wait for the end of the stream. (Found
/// by a simulation: each bookmark began the wait anew.)
#[tokio::test(start_paused = true)]
async fn bookmarks_without_the_mark_fall_back() {
    let server = ScriptedListWatch::new();
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    server.on_list(list(7, &[object("a", 2)], ""));
    let rig = Rig::streaming(&server);
    feed.text(event("ADDED", &object("a", 2)));
    seconds(20).await;
    feed.text(bookmark(6, false));
    seconds(15).await;
    assert_eq!(rig.cached(), ["d/a=2"]);
    assert!(rig.status().paged_because.is_some(), "{:?}", rig.status());
}
