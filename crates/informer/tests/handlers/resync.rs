//! Being told again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use watchkeeper_informer::{Cached, Event, HandlerConfig};

use crate::rig::{Rig, settle, take_sorted};

fn every(seconds: f64) -> HandlerConfig {
    HandlerConfig { resync: Some(Duration::from_secs_f64(seconds)), ..HandlerConfig::default() }
}

/// Goal: each registration has a period of its own, or none; a period is that of one registration and concerns no other; a
/// key that changes is told the change, one that is gone nothing.
#[tokio::test(start_paused = true)]
async fn each_its_own_period() {
    let rig = Rig::with(&["a", "b"]).await;
    let (_never, never) = rig.listen(HandlerConfig::default());
    let (_zero, zero) = rig.listen(every(0.0));
    let (_short, short) = rig.listen(every(10.0));
    let (_long, long) = rig.listen(every(30.0));
    settle().await;
    for heard in [&never, &zero, &short, &long] {
        assert_eq!(take_sorted(heard), ["initial a", "initial b"]);
    }
    sleep(Duration::from_secs(30)).await;
    assert!(never.lock().is_empty() && zero.lock().is_empty());
    assert_eq!(take_sorted(&short), ["resync a", "resync a", "resync a", "resync b", "resync b", "resync b"]);
    assert_eq!(take_sorted(&long), ["resync a", "resync b"]);
    rig.send("DELETED", "a");
    rig.send("MODIFIED", "b");
    settle().await;
    assert_eq!(take_sorted(&short), ["deleted a", "updated b"]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(take_sorted(&short), ["resync b"]);
    rig.stop().await;
}

/// Goal: a period that is too short is raised to a second, as upstream does.
#[tokio::test(start_paused = true)]
async fn no_period_is_shorter_than_a_second() {
    let rig = Rig::with(&["a"]).await;
    let (_registration, heard) = rig.listen(every(0.001));
    settle().await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(heard.lock().len(), 1 + 10);
    rig.stop().await;
}

/// Goal: no burst, and no key is forgotten. Method: a thousand keys and a minute; in no second more than three times its
/// share, each key exactly once a minute, at the same distance.
#[tokio::test(start_paused = true)]
async fn the_period_is_filled_evenly() {
    let names: Vec<String> = (0..1_000).map(|number| format!("n{number}")).collect();
    let rig = Rig::with(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let told = std::sync::Arc::new(parking_lot::Mutex::new(BTreeMap::<String, Vec<Duration>>::new()));
    let begun = Instant::now();
    let registration = rig.handle.add_handler_with(every(60.0), {
        let told = std::sync::Arc::clone(&told);
        move |event| {
            if let Event::Resync { object } = event {
                told.lock().entry(object.name().to_owned()).or_default().push(begun.elapsed());
            }
        }
    });
    settle().await;
    sleep(Duration::from_secs(180)).await;
    let told = std::mem::take(&mut *told.lock());
    assert_eq!(told.len(), 1_000);
    let mut seconds = [0; 181];
    for times in told.values() {
        assert_eq!(times.len(), 3);
        for two in times.windows(2) {
            let apart = two[1] - two[0];
            assert!(apart.abs_diff(Duration::from_secs(60)) <= Duration::from_millis(2), "{apart:?}");
        }
        times.iter().for_each(|time| seconds[usize::try_from(time.as_secs()).expect("few")] += 1);
    }
    assert!(seconds.iter().all(|count| *count <= 50), "{seconds:?}");
    assert_eq!(registration.status().told, 4_000);
    rig.stop().await;
}

/// Goal: who is too slow for the period isn't told twice of what it missed, and what happens meanwhile comes first.
/// Method: a stream that nobody pulls for ten periods, then in one go.
#[tokio::test(start_paused = true)]
async fn a_slow_handler_makes_up_for_one_period() {
    use futures::{FutureExt, StreamExt};
    let rig = Rig::with(&["a", "b", "c"]).await;
    let mut events = rig.handle.events_with(every(10.0));
    settle().await;
    let mut pull = || -> Vec<String> {
        std::iter::from_fn(|| events.next().now_or_never().flatten()).map(|event| crate::rig::text(&event)).collect()
    };
    assert_eq!(pull().len(), 3);
    sleep(Duration::from_secs(100)).await;
    rig.send("MODIFIED", "b");
    settle().await;
    let mut told = pull();
    assert_eq!(told.remove(0), "updated b");
    told.sort();
    // Of b it was told at the same moment; its turn was in the period that is made up for, and it had no news any more.
    assert_eq!(told, ["resync a", "resync b", "resync c"]);
    assert!(pull().is_empty());
    rig.stop().await;
}

/// Goal: I5: nothing is told again before the first snapshot is finished, however long that takes.
#[tokio::test(start_paused = true)]
async fn not_before_the_first_snapshot() {
    let rig = Rig::start();
    let (registration, heard) = rig.listen(every(1.0));
    rig.send("ADDED", "a");
    sleep(Duration::from_secs(20)).await;
    assert!(heard.lock().is_empty() && !registration.has_synced());
    rig.end_list();
    settle().await;
    assert_eq!(*heard.lock(), ["initial a"]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*heard.lock(), ["initial a", "resync a"]);
    rig.stop().await;
}

/// Goal: a relist is no resync (kubernetes/kubernetes PR #86015): of what hasn't changed nobody is told anything, of what
/// has, everybody is told the change.
#[tokio::test(start_paused = true)]
async fn a_relist_is_no_resync() {
    let rig = Rig::start();
    let (same, _) = (rig.send("ADDED", "same"), rig.send("ADDED", "other"));
    rig.end_list();
    let (_plain, plain) = rig.listen(HandlerConfig::default());
    let (_patient, patient) = rig.listen(every(3_600.0));
    settle().await;
    assert_eq!((take_sorted(&plain).len(), take_sorted(&patient).len()), (2, 2));
    rig.expire();
    rig.send_at("ADDED", "same", same);
    rig.send("ADDED", "other");
    rig.end_list();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((take_sorted(&plain), plain.lock().len()), (vec!["updated other".to_owned()], 0));
    let told = take_sorted(&patient);
    assert!(told.contains(&"updated other".to_owned()), "{told:?}");
    sleep(Duration::from_secs(3_540)).await;
    let resyncs = told.into_iter().chain(take_sorted(&patient)).filter(|told| told.starts_with("resync")).count();
    assert_eq!(resyncs, 2);
    rig.stop().await;
}
