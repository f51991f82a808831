//! Ends: an informer that is stopped or dropped in any state, what its handles say afterwards, and a handler that never returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::scripted::{Answer, Feed, ScriptedListWatch};
use watchkeeper_informer::{
    Ended, HandlerConfig, InformerConfig, InformerHandle, NamespacesError, NotCaughtUp, NotSynced, ObjectKey,
    ReflectorConfig, Registration, ResourceVersion, SharedInformer, Verdict,
};

use crate::rig::{Rig, settle, synced};

fn object(name: &str) -> String {
    format!(r#"{{"metadata":{{"namespace":"n","name":"{name}","uid":"{name}","resourceVersion":"1"}}}}"#)
}

fn page(token: &str) -> Answer {
    let metadata = format!(r#"{{"resourceVersion":"5","continue":"{token}"}}"#);
    Answer::body(format!(r#"{{"metadata":{metadata},"items":[{}]}}"#, object("a")))
}

fn event(kind: &str, object: &str) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#) + "\n"
}

fn initial_end() -> String {
    let annotations = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;
    event("BOOKMARK", &format!(r#"{{"metadata":{{"resourceVersion":"5",{annotations}}}}}"#))
}

/// How far an informer has come when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    NoAnswer,
    MidStream,
    MidObject,
    BetweenPages,
    MidPage,
    BackingOff,
    Watching,
    MidEvent,
    Relisting,
}

impl Phase {
    const ALL: [Self; 9] = [
        Self::NoAnswer,
        Self::MidStream,
        Self::MidObject,
        Self::BetweenPages,
        Self::MidPage,
        Self::BackingOff,
        Self::Watching,
        Self::MidEvent,
        Self::Relisting,
    ];

    fn is_paged(self) -> bool {
        matches!(self, Self::BetweenPages | Self::MidPage)
    }

    fn is_synced(self) -> bool {
        matches!(self, Self::Watching | Self::MidEvent | Self::Relisting)
    }

    /// A server that takes an informer there and no further. The feed is to be kept.
    fn script(self) -> (ScriptedListWatch, Feed) {
        let (server, (answer, feed)) = (ScriptedListWatch::new(), Answer::live());
        let added = event("ADDED", &object("a"));
        match self {
            Self::NoAnswer => {}
            Self::BackingOff => _ = server.otherwise(|_| Answer::refused(500, "InternalError")),
            Self::BetweenPages => _ = server.on_list(page("more")),
            Self::MidPage => {
                server.on_list(page("more"));
                server.on_list(answer);
                feed.text(r#"{"metadata":{"resourceVersion":"5"},"items":[{"metadata":"#);
            }
            _ => {
                server.on_watch(answer);
                feed.text(match self {
                    Self::MidObject => r#"{"type":"ADDED","object":{"metadata":{"name":"#.to_owned(),
                    Self::Watching => added + &initial_end(),
                    Self::MidEvent => added + &initial_end() + r#"{"type":"MODIFIED","obj"#,
                    Self::Relisting => {
                        let expired = r#"{"kind":"Status","code":410,"reason":"Expired"}"#;
                        added + &initial_end() + &event("ERROR", expired)
                    }
                    _ => added,
                });
            }
        }
        (server, feed)
    }
}

fn informer(server: &ScriptedListWatch, streaming_list: bool) -> SharedInformer<ConfigMap> {
    let reflector = ReflectorConfig { streaming_list, page_size: 1, ..ReflectorConfig::default() };
    SharedInformer::new(Arc::new(server.clone()), InformerConfig { reflector, ..InformerConfig::default() })
}

/// Everything that can be asked of a handle once the informer has ended: each returns at once.
async fn assert_ended(handle: &InformerHandle<ConfigMap>, registration: Registration, is_synced: bool, what: &str) {
    let expected = if is_synced { Ok(()) } else { Err(NotSynced::Ended) };
    assert_eq!(synced(&registration).await, expected, "{what}");
    let status = registration.status();
    assert!(status.ended && status.pending == 0 && status.calling_since.is_none(), "{what}: {status:?}");
    registration.end();
    registration.remove().now_or_never().expect("nothing is called");
    assert!(handle.sync_status().ended && handle.sync_status().handlers.is_empty(), "{what}");
    assert_eq!(handle.has_synced(), is_synced, "{what}");
    assert_eq!(handle.synced().now_or_never(), Some(if is_synced { Ok(()) } else { Err(Ended) }), "{what}");
    assert_eq!(handle.wait_for(&ResourceVersion::new("99")).now_or_never(), Some(Err(Ended)), "{what}");
    let waited = handle.wait_for_in("n", &ResourceVersion::new("99")).now_or_never();
    assert_eq!(waited, Some(Err(NamespacesError::Ended)), "{what}");
    handle.settled().now_or_never().expect("at once");
    assert_eq!(handle.lister().len(), usize::from(is_synced), "{what}: what was listed can still be read");
    assert_eq!(
        (handle.keys().len(), handle.lister().snapshot().len()),
        (usize::from(is_synced), usize::from(is_synced))
    );
    assert_eq!((handle.version().is_some(), handle.quarantine().len()), (is_synced, 0), "{what}");
    handle.relist();
    let verdict = handle.audit().now_or_never().expect("at once");
    assert!(matches!(verdict, Verdict::Unknown(_)), "{what}: {verdict:?}");
    assert_eq!(handle.catch_up().now_or_never(), Some(Err(NotCaughtUp::Ended(Ended))), "{what}");
    assert!(
        timeout(Duration::from_secs(1), handle.add_index("late", |_: &ConfigMap| [0])).await.expect("at once").is_err()
    );
    let late = handle.add_handler(|_| panic!("never called"));
    assert_eq!(late.synced().now_or_never(), Some(Err(NotSynced::Ended)), "{what}");
    drop(handle.add_source(|_| panic!("never called")));
    assert!(handle.events().next().now_or_never().expect("at once").is_none(), "{what}");
    settle().await;
    assert_eq!(late.status().told, 0, "{what}");
}

/// Goal: I10: an informer may be stopped, or its `run` dropped, at every phase of syncing and after it: it ends, no task is left, and
/// its handle says so, whatever it is asked. Method: a script that takes it to each phase and no further.
#[tokio::test(start_paused = true)]
async fn at_every_phase() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    for phase in Phase::ALL {
        for is_dropped in [false, true] {
            let what = format!("{phase:?}, {}", if is_dropped { "dropped" } else { "stopped" });
            let before = tasks();
            let (server, feed) = phase.script();
            let informer = informer(&server, !phase.is_paged());
            let (handle, stop) = (informer.handle(), CancellationToken::new());
            let registration = handle.add_handler(|_| {});
            let run = tokio::spawn(informer.run(stop.clone()));
            tokio::time::sleep(Duration::from_secs(3)).await;
            let requests = server.asked().len();
            let expected = match phase {
                Phase::BetweenPages | Phase::MidPage | Phase::Relisting => 2..=2,
                Phase::BackingOff => 2..=10,
                _ => 1..=1,
            };
            assert!(expected.contains(&requests), "{what}: {requests} requests");
            assert_eq!(handle.has_synced(), phase.is_synced(), "{what}");
            let waiting = tokio::spawn({
                let (handle, never) = (handle.clone(), ResourceVersion::new("99"));
                async move { tokio::join!(handle.synced(), handle.wait_for(&never)) }
            });
            settle().await;
            assert!(!waiting.is_finished(), "{what}");
            if is_dropped {
                run.abort();
                assert!(run.await.is_err_and(|error| error.is_cancelled()), "{what}");
            } else {
                stop.cancel();
                timeout(Duration::from_millis(1), run).await.expect("at once").expect("no panic");
            }
            let (synced, reached) =
                timeout(Duration::from_millis(1), waiting).await.expect("at once").expect("no panic");
            assert_eq!((synced.is_ok(), reached), (phase.is_synced(), Err(Ended)), "{what}");
            settle().await;
            assert_eq!(tasks(), before, "{what}");
            assert_ended(&handle, registration, phase.is_synced(), &what).await;
            assert_eq!(server.asked().len(), requests, "{what}: it asks on");
            drop(feed);
        }
    }
}

/// Goal: the same of one that never ran, or was told to stop before.
#[tokio::test(start_paused = true)]
async fn before_it_ran() {
    let server = ScriptedListWatch::new();
    let never_run = informer(&server, true);
    let (handle, registration) = (never_run.handle(), never_run.handle().add_handler(|_| panic!("never called")));
    drop(never_run);
    assert_ended(&handle, registration, false, "never run").await;

    let never_polled = informer(&server, true);
    let (handle, registration) = (never_polled.handle(), never_polled.handle().add_handler(|_| panic!("never called")));
    drop(never_polled.run(CancellationToken::new()));
    assert_ended(&handle, registration, false, "never polled").await;
    assert!(server.asked().is_empty());

    let stopped = informer(&server, true);
    let (handle, registration) = (stopped.handle(), stopped.handle().add_handler(|_| panic!("never called")));
    let stop = CancellationToken::new();
    stop.cancel();
    timeout(Duration::from_millis(1), stopped.run(stop)).await.expect("at once");
    assert_ended(&handle, registration, false, "stopped before").await;
}

/// Goal: I4, I10: a handler that never returns keeps `run` from returning, as documented, and nothing else: others hear on, its own
/// mailbox stays bounded, a stop ends every registration at once, and `run` returns with the call. Method: a call that waits for
/// the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_never_returns() {
    let rig = Rig::start();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (calls, returned) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stuck = rig.handle.add_handler({
        let (calls, returned) = (Arc::clone(&calls), Arc::clone(&returned));
        move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
            let _ = wait.recv();
            returned.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (calm, heard) = rig.listen(HandlerConfig::default());
    rig.send("ADDED", "a");
    rig.end_list();
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(synced(&calm).await, Ok(()));
    for _ in 0..100 {
        let told = heard.lock().len();
        rig.send("MODIFIED", "a");
        while heard.lock().len() == told {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!((stuck.status().pending, stuck.has_synced()), (1, false), "one key, however many changes");
    rig.stop.cancel();
    while !calm.status().ended || !stuck.status().ended {
        tokio::task::yield_now().await;
    }
    assert_eq!(synced(&stuck).await, Err(NotSynced::Ended));
    let mut removal = Box::pin(stuck.remove());
    assert!(futures::poll!(removal.as_mut()).is_pending(), "a call is running");
    assert!(!rig.run.is_finished() && rig.handle.lister().get(&ObjectKey::new("n", "a")).is_some());
    assert_eq!(returned.load(Ordering::SeqCst), 0);
    drop(release);
    rig.run.await.expect("it ends with the call");
    removal.await;
    assert_eq!((calls.load(Ordering::SeqCst), returned.load(Ordering::SeqCst)), (1, 1), "what was pending is dropped");
}
