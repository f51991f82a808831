#![allow(clippy::disallowed_methods, reason = "the test's own tasks")]

use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;

use super::*;

/// Goal: a ring is heard once by each listener that was there, rings in a row as one, and none is lost between two waits.
#[tokio::test]
async fn each_listener_hears_a_ring_once() {
    let signal = Signal::new(None);
    let (mut one, mut other) = (signal.listen(), signal.listen());
    signal.ring();
    signal.ring();
    assert!(one.has_rung() && other.has_rung() && !signal.listen().has_rung());
    one.rung().await;
    assert!(one.rung().now_or_never().is_none(), "heard already");
    other.hear();
    assert!(other.rung().now_or_never().is_none());
    let waiting = tokio::spawn(async move { one.rung().await });
    tokio::task::yield_now().await;
    signal.ring();
    waiting.await.expect("no panic");
}

/// Goal: a listener that is gone leaves nothing behind.
#[tokio::test]
async fn who_is_gone_is_forgotten() {
    let signal = Signal::new(None);
    let mut listener = signal.listen();
    assert!(listener.rung().now_or_never().is_none());
    assert_eq!(signal.inner.state.lock().waiting.len(), 1);
    drop(listener);
    assert!(signal.inner.state.lock().waiting.is_empty());
}

/// In which order eight listeners are woken by each of three rings.
async fn order(shuffle: Option<fastrand::Rng>) -> Vec<usize> {
    let (signal, woken) = (Signal::new(shuffle), Arc::new(Mutex::new(Vec::new())));
    for number in 0..8 {
        let (mut listener, woken) = (signal.listen(), woken.clone());
        tokio::spawn(async move {
            loop {
                listener.rung().await;
                woken.lock().push(number);
            }
        });
    }
    for _ in 0..3 {
        tokio::task::yield_now().await;
        signal.ring();
    }
    tokio::task::yield_now().await;
    let woken = woken.lock();
    woken.clone()
}

/// Goal: the order is that of the listeners' making, or one that the seed alone decides, another one each time.
#[tokio::test]
async fn a_seed_decides_the_order() {
    let plain: Vec<usize> = (0..8).collect();
    assert_eq!(order(None).await, plain.repeat(3));
    let seeded = |seed| order(Some(fastrand::Rng::with_seed(seed)));
    let first = seeded(1).await;
    assert_eq!(first, seeded(1).await);
    assert_ne!(first, seeded(2).await);
    assert_ne!(first[..8], first[8..16]);
    for ring in first.chunks(8) {
        let mut sorted = ring.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, plain, "everyone is woken once");
    }
}
