//! tools/cache, reflector_test.go: how long a reflector waits after a failure, and what it asks for then.

use std::time::Duration;

use watchkeeper_informer::backoff::BackoffConfig;
use watchkeeper_informer::reflector::Activity;
use watchkeeper_informer::scripted::Answer;
use watchkeeper_informer::{Budget, BudgetConfig, ReflectorConfig};

use crate::rig::*;

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
