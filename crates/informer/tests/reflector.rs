//! The reflector against a scripted source, in paused time: what it asks, when, and what comes out.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::config::ReflectorConfig;
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::delta_fifo::{Change, DeltaFifo, Known, Relisted, Work};
use watchkeeper_informer::list_watch::{ListRequest, WatchStart};
use watchkeeper_informer::object::Cached;
use watchkeeper_informer::reflector::{Activity, Reflector, ReflectorHandle, ReflectorStatus};
use watchkeeper_informer::request_error::{Refusal, RequestError};
use watchkeeper_informer::scripted::{Answer, Asked, Piece, ScriptedListWatch};

/// A naive store: key to uid and version.
#[derive(Default)]
struct Model {
    cached: Mutex<BTreeMap<String, (String, String)>>,
    reached: Mutex<Vec<String>>,
    unchanged: Mutex<usize>,
}

impl Model {
    fn apply(&self, work: Work<ConfigMap>) {
        let mut cached = self.cached.lock();
        let put = |cached: &mut BTreeMap<_, _>, object: &ConfigMap| {
            cached.insert(key(object), (object.uid().to_owned(), object.version().to_owned()));
        };
        match work {
            Work::Changes(changes) => {
                for change in changes {
                    match change {
                        Change::Applied(object) => put(&mut cached, &object),
                        Change::Deleted { last, .. } => drop(cached.remove(&key(&last))),
                    }
                }
            }
            Work::Replace(replacement) => {
                let before = std::mem::take(&mut *cached);
                for item in replacement.items {
                    match item {
                        Relisted::New(object) => put(&mut cached, &object),
                        Relisted::Unchanged(key) => {
                            *self.unchanged.lock() += 1;
                            cached.insert(key.to_string(), before[&key.to_string()].clone());
                        }
                    }
                }
            }
        }
    }
}

impl Known for Model {
    fn is_current(&self, namespace: &str, name: &str, uid: &str, version: &str) -> bool {
        let cached = self.cached.lock();
        cached.get(&format!("{namespace}/{name}")).is_some_and(|found| found.0 == uid && found.1 == version)
    }

    fn holds(&self, namespace: &str, name: &str, uid: &str) -> bool {
        self.cached.lock().get(&format!("{namespace}/{name}")).is_some_and(|found| found.0 == uid)
    }
}

fn key(object: &ConfigMap) -> String {
    format!("{}/{}", object.namespace(), object.name())
}

struct Rig {
    server: ScriptedListWatch,
    model: Arc<Model>,
    handle: ReflectorHandle,
    stop: CancellationToken,
    started: Instant,
    run: JoinHandle<()>,
}

impl Rig {
    fn start(server: &ScriptedListWatch, config: ReflectorConfig) -> Self {
        let (model, fifo, stop) = (Arc::new(Model::default()), DeltaFifo::new(), CancellationToken::new());
        let (reflector, handle) = Reflector::new(
            Arc::new(server.clone()),
            Decoder::new(DecoderConfig::default()),
            model.clone(),
            fifo.clone(),
            config,
        );
        let consumer = model.clone();
        tokio::spawn(async move {
            while let Some(batch) = fifo.pop().await {
                consumer.apply(batch.work);
                consumer.reached.lock().push(batch.version.to_string());
                batch.receipt.applied();
            }
        });
        let run = tokio::spawn(reflector.run(stop.clone()));
        Self { server: server.clone(), model, handle, stop, started: Instant::now(), run }
    }

    /// Watches beyond the script stay open and silent.
    fn quiet(server: &ScriptedListWatch) {
        server.otherwise(|asked| match asked {
            Asked::List(_) => Answer::hang(),
            Asked::Watch(_) => Answer::live_with(""),
        });
    }

    fn streaming(server: &ScriptedListWatch) -> Self {
        Self::quiet(server);
        Self::start(server, ReflectorConfig::default())
    }

    fn paged(server: &ScriptedListWatch) -> Self {
        Self::quiet(server);
        Self::start(server, ReflectorConfig { streaming_list: false, ..ReflectorConfig::default() })
    }

    /// `name=version`, sorted.
    fn cached(&self) -> Vec<String> {
        self.model.cached.lock().iter().map(|(key, (_, version))| format!("{key}={version}")).collect()
    }

    /// What was asked, in short.
    fn asked(&self) -> Vec<String> {
        self.server.asked().iter().map(|(_, asked)| short(asked)).collect()
    }

    fn status(&self) -> ReflectorStatus {
        self.handle.status()
    }

    fn version(&self) -> String {
        self.status().version.map(|version| version.to_string()).unwrap_or_default()
    }

    /// Seconds from the start to each request.
    fn times(&self) -> Vec<f64> {
        self.server.asked().iter().map(|(at, _)| at.duration_since(self.started).as_secs_f64()).collect()
    }
}

fn short(asked: &Asked) -> String {
    match asked {
        Asked::List(ListRequest { limit, continue_token, .. }) => match (limit, continue_token) {
            (Some(1), None) => "newest".to_owned(),
            (None, _) => "list".to_owned(),
            (Some(limit), None) => format!("list {limit}"),
            (Some(limit), Some(token)) => format!("list {limit} {token}"),
        },
        Asked::Watch(request) => match &request.start {
            WatchStart::InitialEvents => "stream".to_owned(),
            WatchStart::After(version) => format!("watch {version}"),
        },
    }
}

fn object(name: &str, version: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"d","uid":"{name}","resourceVersion":"{version}"}},"data":{{"k":"v"}}}}"#
    )
}

/// An object whose data can't be that of a ConfigMap.
fn poison(name: &str, version: u64) -> String {
    object(name, version).replace(r#"{"k":"v"}"#, "7")
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn bookmark(version: u64, ends: bool) -> String {
    let mark = if ends { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    event("BOOKMARK", &format!(r#"{{"metadata":{{"resourceVersion":"{version}"{mark}}}}}"#))
}

fn list(version: u64, items: &[String], token: &str) -> Answer {
    Answer::body(format!(
        r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{}]}}"#,
        items.join(",")
    ))
}

fn expired_event() -> String {
    event("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version: 1 (9)"}"#)
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

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

/// Goal: undecodable objects are reported by key and version and never stop the others; what was cached of one stays
/// through a list; a later version heals it; a deletion that can't be decoded is settled by a list.
#[tokio::test(start_paused = true)]
async fn undecodable_objects() {
    let server = ScriptedListWatch::new();
    server.on_list(list(5, &[poison("p", 1), object("a", 2), "{\"data\":{}}".to_owned()], ""));
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    let rig = Rig::paged(&server);
    seconds(1).await;
    assert_eq!(rig.cached(), ["d/a=2"]);
    feed.text(event("MODIFIED", &poison("a", 6)) + &event("MODIFIED", &object("p", 7)));
    seconds(1).await;
    assert_eq!((rig.cached(), rig.version()), (vec!["d/a=2".to_owned(), "d/p=7".to_owned()], "7".to_owned()));
    let names: Vec<_> = rig
        .status()
        .undecodable
        .iter()
        .map(|found| {
            found.key.as_ref().map_or("?".to_owned(), |key| format!("{key}@{}", found.version.as_ref().unwrap()))
        })
        .collect();
    assert_eq!(names, ["d/p@1", "?", "d/a@6"]);
    // The list shows `a` still undecodable: it stays as it was, and nobody hears of a deletion.
    server.on_list(list(8, &[poison("a", 6), object("p", 7)], ""));
    let (answer, feed) = Answer::live();
    server.on_watch(answer);
    rig.handle.relist();
    seconds(2).await;
    assert_eq!(rig.cached(), ["d/a=2", "d/p=7"]);
    server.on_list(list(10, &[object("p", 7)], ""));
    feed.text(event("DELETED", &poison("a", 9)));
    seconds(3).await;
    assert_eq!(rig.cached(), ["d/p=7"]);
    assert_eq!(rig.asked().last().unwrap(), "watch 10");
}

/// Goal: a relist of unchanged data decodes nothing. Method: the second list's items can't be decoded at all.
#[tokio::test(start_paused = true)]
async fn unchanged_relist_decodes_nothing() {
    let server = ScriptedListWatch::new();
    server.on_watch(Answer::live_with(
        event("ADDED", &object("a", 1)) + &event("ADDED", &object("b", 2)) + &bookmark(5, true),
    ));
    server.on_watch(Answer::live_with(
        event("ADDED", &poison("a", 1)) + &event("ADDED", &poison("b", 2)) + &bookmark(6, true),
    ));
    let rig = Rig::streaming(&server);
    seconds(1).await;
    rig.handle.relist();
    seconds(2).await;
    let counts = rig.status().counts;
    assert_eq!((counts.replacements, counts.unchanged, counts.undecodable), (2, 2, 0));
    assert_eq!((rig.cached(), rig.asked().len()), (vec!["d/a=1".to_owned(), "d/b=2".to_owned()], 2));
}

/// Goal: after a restore from a backup the server's version is behind ours and its watch is silent for ever: that is
/// found out, and the older state is taken.
#[tokio::test(start_paused = true)]
async fn versions_that_went_backwards() {
    let server = ScriptedListWatch::new();
    server.on_list(list(50, &[object("a", 40)], ""));
    server.on_watch(Answer::pieces([Piece::Silence(Duration::from_secs(3600))]));
    server.on_list(list(20, &[], "")).on_list(list(20, &[object("a", 10)], ""));
    let rig = Rig::paged(&server);
    seconds(300).await;
    assert_eq!(rig.asked(), ["list 500", "watch 50", "newest", "list 500", "watch 20"]);
    assert_eq!(rig.cached(), ["d/a=10"]);
}

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
        assert!((55..=62).contains(&asked), "{phase}: {asked}");
        let gaps: Vec<_> = times.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (59.9..61.1).contains(gap)), "{phase}: {gaps:?}");
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
