//! How often it asks, and how it stops.

use super::*;

/// Goal: an absurd Retry-After neither panics nor keeps it away for more than the cap and its jitter.
#[tokio::test(start_paused = true)]
async fn absurd_retry_after() {
    for phase in ["list", "watch", "event"] {
        let server = ScriptedListWatch::new();
        server.otherwise(move |asked| {
            let refusal = Refusal { code: 429, retry_after: Some(Duration::MAX), ..Refusal::default() };
            let refused = Answer::error(RequestError::Refused(refusal));
            match (phase, asked) {
                ("list", _) => refused,
                (_, Asked::List(_)) => list(5, &[], ""),
                ("watch", _) => refused,
                _ => {
                    Answer::body(event("ERROR", r#"{"code":429,"details":{"retryAfterSeconds":18446744073709551615}}"#))
                }
            }
        });
        let rig = Rig::start(&server, ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() });
        seconds(3600).await;
        let (times, asked) = (rig.times(), rig.asked().len());
        assert!((40..=62).contains(&asked), "{phase}: {asked}");
        let gaps: Vec<_> = times.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (59.9..91.1).contains(gap)), "{phase}: {gaps:?}");
    }
}

/// Goal: the stated request rates hold, for an hour, whatever the server does wrong all the time.
#[tokio::test(start_paused = true)]
async fn no_failure_is_a_hot_loop() {
    type Server = fn(&Asked) -> Answer;
    fn or_list(asked: &Asked, watch: Answer) -> Answer {
        if matches!(asked, Asked::List(_)) { list(5, &[object("a", 1)], "") } else { watch }
    }
    let servers: [(&str, Server, usize); 11] = [
        ("unreachable", |_| Answer::error(RequestError::Unreachable("refused".to_owned())), 126),
        ("hung", |_| Answer::hang(), 126),
        ("forbidden", |_| Answer::refused(403, "Forbidden"), 126),
        ("not there", |_| Answer::refused(404, ""), 126),
        ("garbage", |_| Answer::body("<html>"), 126),
        ("not a list", |_| Answer::body("{\"kind\":\"Status\"}"), 252),
        ("watch always expired", |asked| or_list(asked, Answer::refused(410, "Expired")), 252),
        ("watch always 500", |asked| or_list(asked, Answer::refused(500, "")), 252),
        ("watch ends at once", |asked| or_list(asked, Answer::body("")), 126),
        ("watch silent", |asked| or_list(asked, Answer::pieces([Piece::Silence(Duration::from_secs(9999))])), 60),
        (
            "watch ends after a bookmark",
            |asked| match asked {
                Asked::Watch(_) => Answer::body(bookmark(6, true)),
                Asked::List(_) => Answer::hang(),
            },
            3601,
        ),
    ];
    for (name, server, most) in servers {
        for streaming_list in [false, true] {
            let script = ScriptedListWatch::new();
            script.otherwise(server);
            let rig = Rig::start(&script, ReflectorConfig { streaming_list, ..ReflectorConfig::default() });
            seconds(3600).await;
            let asked = rig.asked().len();
            assert!(asked <= most, "{name}, streaming {streaming_list}: {asked} requests in an hour");
            rig.stop.cancel();
            rig.run.await.unwrap();
        }
    }
}

/// Goal: failures are visible by class with their start, and gone with the first success.
#[tokio::test(start_paused = true)]
async fn failures_show_and_go() {
    let server = ScriptedListWatch::new();
    server.on_list(Answer::refused(403, "Forbidden")).on_list(Answer::refused(403, "Forbidden"));
    server.on_list(list(5, &[], ""));
    let rig = Rig::paged(&server);
    seconds(1).await;
    let failing = rig.status().failing.unwrap();
    assert_eq!((failing.class, failing.message.as_str()), ("forbidden", "the server answered 403 Forbidden"));
    assert_eq!((failing.since, rig.status().activity), (rig.started, Activity::BackingOff));
    seconds(10).await;
    assert_eq!((rig.status().failing, rig.version()), (None, "5".to_owned()));
}

/// Goal: requests for a list while one is read are served by one more; none is lost.
#[tokio::test(start_paused = true)]
async fn asked_relists_coalesce() {
    let server = ScriptedListWatch::new();
    server.on_list(Answer::pieces([
        Piece::Silence(Duration::from_secs(10)),
        Piece::Bytes(r#"{"metadata":{"resourceVersion":"5"},"items":[]}"#.into()),
    ]));
    server.on_list(list(6, &[], ""));
    let rig = Rig::paged(&server);
    seconds(5).await;
    rig.handle.relist();
    rig.handle.relist();
    seconds(15).await;
    assert_eq!(rig.asked().iter().filter(|asked| asked.starts_with("list")).count(), 2);
    assert_eq!(rig.version(), "6");
}

/// Goal: shutdown ends the run at once, whatever it waits for, and drops the request.
#[tokio::test(start_paused = true)]
async fn stops_at_once() {
    let silent = Answer::pieces([Piece::Silence(Duration::from_secs(9999))]);
    for (on_list, on_watch) in [
        (Answer::hang(), Answer::hang()),
        (Answer::refused(500, ""), Answer::hang()),
        (list(5, &[], ""), Answer::hang()),
        (list(5, &[], ""), silent),
    ] {
        let server = ScriptedListWatch::new();
        server.on_list(on_list).on_watch(on_watch);
        let rig = Rig::paged(&server);
        sleep(Duration::from_millis(500)).await;
        let before = Instant::now();
        rig.stop.cancel();
        rig.run.await.unwrap();
        assert_eq!((before.elapsed(), rig.handle.status().activity), (Duration::ZERO, Activity::Stopped));
    }
}

/// Goal: a consumer that stands still makes the reading stop at the limits, of keys or of bytes; a list may still be asked for;
/// when it goes on, everything arrives.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_lags_holds_the_reading_up() {
    let large = object("large", 4).len();
    for limits in [FifoLimits { len: 5, bytes: usize::MAX }, FifoLimits { len: usize::MAX, bytes: 5 * large }] {
        let server = ScriptedListWatch::new();
        let events = (0..20).map(|n| Piece::Bytes(event("ADDED", &object(&format!("large-{n}"), 10 + n)).into()));
        let silence = Piece::Silence(Duration::from_secs(1_000));
        server.on_list(list(5, &[], "")).on_watch(Answer::pieces(events.chain([silence])));
        server.on_list(list(30, &[object("large-0", 10)], ""));
        Rig::quiet(&server);
        let fifo = DeltaFifo::with_queue(Coalescing::default(), limits);
        let config = ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() };
        let rig = Rig::without_consumer(&server, config, fifo.clone());
        seconds(100).await;
        assert_eq!((fifo.pop().await.map(|batch| batch.receipt.applied()), fifo.depth()), (Some(()), 5));
        assert_eq!((rig.status().counts.events, rig.asked().len()), (5, 2), "{limits:?}");
        if limits.len == 5 {
            rig.consume(fifo);
            seconds(1).await;
            assert_eq!((rig.cached().len(), rig.status().counts.events), (20, 20));
            assert!(rig.status().counts.held_up > 0);
            continue;
        }
        rig.handle.relist();
        seconds(30).await;
        assert_eq!(rig.asked()[2..], ["list 500", "watch 30"]);
        rig.consume(fifo);
        seconds(1).await;
        assert_eq!(rig.cached(), ["d/large-0=10"]);
        assert!(rig.status().failing.is_none());
    }
}

/// Goal: a hundred reflectors that are told to stay away for five seconds, for a minute, do so, and don't come back together.
/// The naive count is a request each 5 s for each of them.
#[tokio::test(start_paused = true)]
async fn a_throttled_herd_spreads() {
    let server = ScriptedListWatch::new();
    let begun = Instant::now();
    server.otherwise(move |asked| match asked {
        _ if begun.elapsed() < Duration::from_secs(60) => {
            let retry_after = Some(Duration::from_secs(5));
            Answer::error(RequestError::Refused(Refusal { code: 429, retry_after, ..Refusal::default() }))
        }
        Asked::List(_) => list(5, &[], ""),
        Asked::Watch(_) => Answer::live_with(bookmark(5, true)),
    });
    let rigs: Vec<_> =
        (0..100).map(|seed| Rig::start(&server, ReflectorConfig { seed, ..ReflectorConfig::default() })).collect();
    seconds(180).await;
    assert!(rigs.iter().all(|rig| rig.status().version.is_some()));
    let times = rigs[0].times();
    let throttled = times.iter().filter(|time| **time < 60.0).count();
    assert!(throttled <= 100 * 12, "{throttled}");
    let busiest = (5..60)
        .map(|second| times.iter().filter(|time| (f64::from(second)..f64::from(second + 1)).contains(*time)).count());
    assert!(busiest.max() <= Some(60), "they come together");
}

/// Goal: fifty reflectors with one budget neither start together nor list again together when all their watches expire at
/// once; without it they do. Method: lists that take a second; the most that are read at once.
#[tokio::test(start_paused = true)]
async fn a_shared_budget_spreads_lists() {
    for shared in [true, false] {
        let server = ScriptedListWatch::new();
        let reading = Arc::new(Mutex::new((0_usize, 0_usize)));
        let (open, expire) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        server.otherwise({
            let (reading, open) = (reading.clone(), open.clone());
            move |asked| {
                let (answer, feed) = Answer::live();
                if !matches!(asked, Asked::Watch(request) if request.start == WatchStart::InitialEvents) {
                    return Answer::live_with("");
                }
                {
                    let mut reading = reading.lock();
                    *reading = (reading.0 + 1, reading.1.max(reading.0 + 1));
                }
                let (reading, open) = (reading.clone(), open.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_secs(1)).await;
                    // Not counted any more once the mark is on its way.
                    reading.lock().0 -= 1;
                    feed.text(bookmark(5, true));
                    open.lock().push(feed);
                });
                answer
            }
        });
        let budget = Budget::new(BudgetConfig { lists: 4, spacing: Duration::from_millis(20) });
        for seed in 0..50 {
            let (config, fifo) = (ReflectorConfig { seed, ..ReflectorConfig::default() }, DeltaFifo::new());
            let budget = if shared { budget.clone() } else { Budget::default() };
            let rig = Rig::budgeted(&server, config, fifo.clone(), budget);
            rig.consume(fifo);
            expire.lock().push(rig);
        }
        for round in 1..=2 {
            seconds(100).await;
            let synced = |rig: &Rig| rig.status().counts.replacements == round;
            assert!(expire.lock().iter().all(synced), "round {round}");
            let most = std::mem::take(&mut reading.lock().1);
            assert_eq!(most, if shared { 4 } else { 50 }, "round {round}");
            std::mem::take(&mut *open.lock()).iter().for_each(|feed| assert!(feed.text(expired_event())));
        }
    }
}

/// Goal: a range of watch timeouts that stands the wrong way round, or begins at nothing, is no panic and no endless request.
#[tokio::test(start_paused = true)]
async fn odd_ranges_of_timeouts() {
    #[expect(clippy::reversed_empty_ranges, reason = "that is the point")]
    for (range, allowed) in [(600..=300, 300..=600), (0..=0, 1..=1)] {
        let server = ScriptedListWatch::new();
        Rig::quiet(&server);
        let config = ReflectorConfig { watch_timeout_seconds: range, ..ReflectorConfig::default() };
        let _rig = Rig::start(&server, config);
        seconds(1).await;
        let asked = server.asked();
        let Some((_, Asked::Watch(request))) = asked.first() else { panic!("nothing was asked") };
        assert!(allowed.contains(&request.timeout_seconds), "{}", request.timeout_seconds);
    }
}

/// Goal: tokens that go round end a list as malformed, with backoff, whether two or three take turns.
#[tokio::test(start_paused = true)]
async fn tokens_that_go_round() {
    for cycle in [2, 3] {
        let server = ScriptedListWatch::new();
        let mut pages = 0;
        server.otherwise(move |_| {
            pages += 1;
            list(5, &[object("a", 3)], &format!("token-{}", pages % cycle))
        });
        let rig = Rig::start(&server, ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() });
        seconds(600).await;
        assert!(rig.asked().len() < 100, "{}", rig.asked().len());
        assert_eq!(rig.status().failing.expect("it fails").class, "malformed");
    }
}

/// Goal: a list with an item that never says its version is read again, but not all the time. (It was once a second.)
#[tokio::test(start_paused = true)]
async fn what_never_says_its_version_is_no_loop() {
    let unversioned = r#"{"metadata":{"name":"u","namespace":"d"}}"#;
    for streaming_list in [true, false] {
        let server = ScriptedListWatch::new();
        server.otherwise(move |asked| match asked {
            Asked::List(_) => list(5, &[unversioned.to_owned()], ""),
            Asked::Watch(_) => Answer::live_with(event("ADDED", unversioned) + &bookmark(5, true)),
        });
        let rig = Rig::start(&server, ReflectorConfig { streaming_list, ..ReflectorConfig::default() });
        seconds(600).await;
        assert!((2..=45).contains(&rig.asked().len()), "{}", rig.asked().len());
    }
}

/// Goal: the largest and the oddest settings are no panic, and what can't be waited for is waited for without end.
#[tokio::test(start_paused = true)]
async fn absurd_settings() {
    let max = Duration::MAX;
    let default = ReflectorConfig::default();
    let backoff = |initial, max, jitter| BackoffConfig { initial, max, jitter, ..BackoffConfig::default() };
    let second = Duration::from_secs(1);
    let configs = [
        ReflectorConfig { audit: Some(max), ..default.clone() },
        ReflectorConfig { initial_events_silence: max, ..default.clone() },
        ReflectorConfig { suspicious: max, pace: max, catch_up: max, ..default.clone() },
        ReflectorConfig { backoff: backoff(max, max, 0.5), ..default.clone() },
        ReflectorConfig { backoff: backoff(second, second, f64::NAN), ..default.clone() },
        ReflectorConfig { page_size: 0, ..default },
    ];
    for config in configs {
        let server = ScriptedListWatch::new();
        server.otherwise(|asked| match asked {
            Asked::List(_) => list(5, &[object("a", 3)], ""),
            Asked::Watch(_) => Answer::live_with(event("ADDED", &object("a", 3)) + &bookmark(5, true) + "!"),
        });
        let rig = Rig::start(&server, config.clone());
        seconds(100).await;
        assert_eq!(rig.cached(), ["d/a=3"], "{config:?}");
        rig.stop.cancel();
        tokio::time::timeout(second, rig.run).await.expect("it stops").expect("no panic");
    }
    let budget = Budget::new(BudgetConfig { lists: 0, spacing: max });
    budget.turn().await;
    assert!(tokio::time::timeout(Duration::from_secs(1_000), budget.turn()).await.is_err());
}

/// Goal: limits of nothing still let one change through at a time.
#[tokio::test(start_paused = true)]
async fn limits_of_nothing() {
    let server = ScriptedListWatch::new();
    server.on_list(list(5, &[], ""));
    let events = (10..20).map(|n| Piece::Bytes(event("ADDED", &object(&format!("o-{n}"), n)).into()));
    server.on_watch(Answer::pieces(events.chain([Piece::Silence(Duration::from_secs(1_000))])));
    let fifo = DeltaFifo::with_queue(Coalescing::default(), FifoLimits { len: 0, bytes: 0 });
    let config = ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() };
    let rig = Rig::without_consumer(&server, config, fifo.clone());
    rig.consume(fifo);
    seconds(1).await;
    assert_eq!(rig.cached().len(), 10);
}
