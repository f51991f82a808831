//! Events, pulled.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::time::{sleep, timeout};
use watchkeeper_informer::{EventStream, HandlerConfig};

use k8s_openapi::api::core::v1::ConfigMap;

use crate::rig::{Rig, settle, text};

/// Everything that is there to pull.
fn pull(events: &mut EventStream<ConfigMap>) -> Vec<String> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).map(|event| text(&event)).collect()
}

/// Goal: several streams hear the same story, each at its own pace, from a snapshot on; what isn't pulled is coalesced.
#[tokio::test(start_paused = true)]
async fn each_at_its_own_pace() {
    let rig = Rig::with(&["a"]).await;
    let (mut eager, mut lazy) = (rig.handle.events(), rig.handle.events());
    settle().await;
    assert_eq!(pull(&mut eager), ["initial a"]);
    for _ in 0..100 {
        rig.send("MODIFIED", "a");
        settle().await;
        assert_eq!(pull(&mut eager), ["updated a"]);
    }
    rig.send("ADDED", "b");
    settle().await;
    assert_eq!(lazy.status().pending, 2);
    assert_eq!(pull(&mut lazy), ["initial a", "added b"]);
    rig.send("DELETED", "a");
    let waiting = timeout(Duration::from_secs(60), eager.by_ref().skip(1).next()).await.expect("it is woken");
    assert_eq!(waiting.map(|event| text(&event)).as_deref(), Some("deleted a"), "after b, which it skips");
    rig.stop().await;
}

/// Goal: I5: the snapshot of a stream is finished when more is asked for after the last event of it.
#[tokio::test(start_paused = true)]
async fn synced_when_the_next_is_asked_for() {
    let rig = Rig::with(&["a", "b"]).await;
    let mut events = rig.handle.events_with(HandlerConfig { name: "pulled".to_owned(), ..HandlerConfig::default() });
    settle().await;
    for _ in 0..2 {
        assert!(!events.has_synced());
        assert!(events.next().now_or_never().flatten().is_some());
    }
    assert!(!events.has_synced() && !rig.handle.sync_status().is_synced());
    assert!(events.status().calling_since.is_some(), "the last one is being worked on");
    assert!(events.next().now_or_never().is_none());
    assert!(events.has_synced() && rig.handle.sync_status().is_synced());
    assert_eq!(&*events.status().name, "pulled");
    rig.stop().await;
}

/// Goal: cancel-safe: giving up a wait loses nothing. Method: every wait is given up after a millisecond, events come
/// in between; all of them are heard.
#[tokio::test(start_paused = true)]
async fn a_wait_given_up_loses_nothing() {
    let rig = Rig::with(&[]).await;
    let mut events = rig.handle.events();
    let mut heard = Vec::new();
    for number in 0..50 {
        rig.send("ADDED", &format!("n{number}"));
        while let Ok(event) = timeout(Duration::from_millis(number % 3), events.next()).await {
            heard.extend(event.map(|event| text(&event)));
        }
    }
    settle().await;
    heard.extend(pull(&mut events));
    assert_eq!(heard, (0..50).map(|number| format!("added n{number}")).collect::<Vec<_>>());
    rig.stop().await;
}

/// Goal: I10, I8: it ends with the informer and wakes whoever waits for it; dropping it ends the registration at once;
/// after the end, and from an informer that never ran, a stream is at its end.
#[tokio::test(start_paused = true)]
async fn ends() {
    let rig = Rig::with(&["a"]).await;
    let dropped = rig.handle.events();
    settle().await;
    assert_eq!(rig.handle.sync_status().handlers.len(), 1);
    drop(dropped);
    assert_eq!(rig.handle.sync_status().handlers.len(), 0);
    let mut events = rig.handle.events();
    let waiting = tokio::spawn(async move { events.by_ref().count().await });
    sleep(Duration::from_secs(1)).await;
    let handle = rig.handle.clone();
    rig.stop().await;
    let count = timeout(Duration::from_secs(1), waiting).await.expect("it is woken").expect("it ends");
    assert_eq!(count, 1);
    let mut late = handle.events();
    assert!(late.next().now_or_never().expect("at once").is_none());
    assert!(late.status().ended && !late.has_synced());
}
