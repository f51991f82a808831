//! Many registrations, and many that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use watchkeeper_informer::HandlerConfig;

use crate::rig::{Rig, settle, synced};

/// Goal: 10,000 registrations come, are told, and go while the informer runs, in any order, and nothing of them is left.
#[tokio::test(start_paused = true)]
async fn ten_thousand() {
    let rig = Rig::with(&["a"]).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let mut all: Vec<_> = (0..10_000)
        .map(|_| {
            let calls = Arc::clone(&calls);
            rig.handle.add_handler(move |_| {
                calls.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    settle().await;
    assert_eq!(calls.load(Ordering::Relaxed), 10_000);
    assert!(rig.handle.sync_status().is_synced());
    rig.send("MODIFIED", "a");
    settle().await;
    assert_eq!(calls.load(Ordering::Relaxed), 20_000);
    // From the middle outwards, and each seen to be gone before the next, half of them.
    while all.len() > 5_000 {
        all.swap_remove(all.len() / 2).remove().await;
        tokio::task::yield_now().await;
    }
    rig.send("MODIFIED", "a");
    settle().await;
    assert_eq!(calls.load(Ordering::Relaxed), 25_000);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    all.drain(..).for_each(|registration| registration.end());
    settle().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks - 5_000);
    rig.send("MODIFIED", "a");
    settle().await;
    assert_eq!(calls.load(Ordering::Relaxed), 25_000);
    assert!(rig.handle.sync_status().handlers.is_empty());
    rig.stop().await;
}

/// Upstream's TestSharedInformerHandlerAbuse: 100 tasks add and remove handlers and streams while 10,000 events come. Every
/// synced registration has heard the snapshot; in the end the one that stayed knows the present, and nobody hangs.
async fn abuse() {
    let rig = Rig::with(&["a"]).await;
    let (stayed, heard) = rig.listen(HandlerConfig::default());
    let handle = rig.handle.clone();
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let handle = handle.clone();
        tasks.spawn(async move {
            for round in 0..20 {
                let calls = Arc::new(AtomicUsize::new(0));
                let registration = handle.add_handler({
                    let calls = Arc::clone(&calls);
                    move |_| {
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                });
                match (number + round) % 4 {
                    0 => registration.end(),
                    1 => drop(handle.events()),
                    2 => tokio::task::yield_now().await,
                    _ => {
                        registration.synced().await.expect("the informer runs");
                        assert!(calls.load(Ordering::Relaxed) >= 1);
                    }
                }
                registration.remove().await;
                let after = calls.load(Ordering::Relaxed);
                tokio::task::yield_now().await;
                assert_eq!(calls.load(Ordering::Relaxed), after, "a call after the removal");
            }
        });
    }
    for number in 0..10_000 {
        rig.send("MODIFIED", if number % 2 == 0 { "a" } else { "b" });
        if number % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    rig.send("ADDED", "last");
    timeout(Duration::from_secs(60), async {
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no assertion failed");
        }
        while heard.lock().last().is_none_or(|last| last != "added last") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("nobody hangs");
    assert_eq!(synced(&stayed).await, Ok(()));
    assert_eq!(handle.sync_status().handlers.len(), 1);
    rig.stop().await;
    assert!(handle.sync_status().handlers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn abuse_on_one_thread() {
    abuse().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abuse_on_several_threads() {
    abuse().await;
}
