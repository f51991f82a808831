//! Memory follows the keys that are in the queue, not those that have ever been: 10 million of them leave it within
//! twice its start.
//!
//! Method: each case runs in a process of its own, in which the resident memory is read when a queue has seen its
//! first key, and again when all keys have gone. `WATCHKEEPER_KEYS` is the number of keys; where it isn't set, the
//! slower cases take fewer.
#![cfg(target_os = "linux")]
#![allow(missing_docs, reason = "a test")]

use std::process::Command;
use std::time::Duration;

use futures::FutureExt;
use watchkeeper_workqueue::{Ageing, Ask, Config, Policy, Retried, WorkItem, WorkQueue};

type Queue = WorkQueue<u64>;

const HOUR: Duration = Duration::from_secs(3600);
const ALONE: &str = "WATCHKEEPER_MEMORY_ALONE";
/// glibc keeps freed memory for later, the more the more it has seen; without that, what is measured is what the queue
/// keeps.
const TUNABLES: &str = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072:glibc.malloc.mxfast=0:\
                        glibc.malloc.tcache_count=0";

/// The resident memory of this process, in pages.
fn resident() -> u64 {
    let seen = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    seen.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second number")
}

/// Runs the case on `keys` keys in a process of its own.
fn leaves_nothing_behind(keys: u64, config: fn() -> Config<u64>, case: fn(&Queue, u64)) {
    let name = std::thread::current().name().expect("tests have names").to_owned();
    if std::env::var_os(ALONE).is_some() {
        let keys = std::env::var("WATCHKEEPER_KEYS").map_or(keys, |keys| keys.parse().expect("a number"));
        return measure(&name, keys, &Queue::new(config()), case);
    }
    let mut child = Command::new(std::env::current_exe().expect("a running program"));
    child.args([&name, "--exact", "--nocapture"]).env(ALONE, "yes");
    child.env("GLIBC_TUNABLES", TUNABLES);
    let output = child.output().expect("the program runs again");
    let seen = String::from_utf8_lossy(&output.stderr);
    eprint!("{seen}");
    assert!(output.status.success() && seen.contains(" pages"), "{name} failed, or didn't run");
}

fn measure(name: &str, keys: u64, queue: &Queue, case: fn(&Queue, u64)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    queue.add(0);
    work_up(queue);
    let start = resident();
    case(queue, keys);
    let end = resident();
    eprintln!("{name}, {keys} keys: {start} pages, then {end}");
    assert!(end <= 2 * start, "memory is left behind: {start} pages became {end}");
}

fn take(queue: &Queue) -> Option<WorkItem<u64>> {
    queue.next().now_or_never().flatten()
}

fn work_up(queue: &Queue) {
    while let Some(item) = take(queue) {
        item.done();
    }
}

/// Goal: keys that come one by one.
#[test]
fn a_stream() {
    leaves_nothing_behind(10_000_000, Config::default, |queue, keys| {
        for key in 0..keys {
            queue.add(key);
            work_up(queue);
        }
    });
}

/// Goal: keys that come all at once.
#[test]
fn a_flood() {
    leaves_nothing_behind(10_000_000, Config::default, |queue, keys| {
        for key in 0..keys {
            queue.add(key);
        }
        work_up(queue);
    });
}

/// Goal: keys of which more is remembered: flow, priority, reason, and the end of the minimum interval.
#[test]
fn a_flood_under_rules() {
    let config = || {
        let policy = Policy {
            ageing: Some(Ageing::default()),
            flow: Some(Box::new(|key| key % 1000)),
            min_interval: Duration::from_millis(1),
            reasons: 2,
            ..Policy::default()
        };
        Config { policy, ..Config::default() }
    };
    leaves_nothing_behind(1_000_000, config, |queue, keys| {
        for key in 0..keys {
            queue.add_with(key, Ask { priority: 7, reason: Some("flood".into()), ..Ask::default() });
        }
        work_up(queue);
        queue.shut_down();
    });
}

/// Goal: keys that wait and are withdrawn.
#[test]
fn a_flood_of_delayed_keys() {
    leaves_nothing_behind(2_000_000, Config::default, |queue, keys| {
        for key in 0..keys {
            queue.add_after(key, HOUR + Duration::from_millis(key));
        }
        for key in 0..keys {
            assert!(queue.withdraw(&key));
        }
    });
}

/// Goal: keys that fail and are withdrawn, so that no success ever ends them.
#[test]
fn a_flood_of_failing_keys() {
    leaves_nothing_behind(2_000_000, Config::default, |queue, keys| {
        for key in 0..keys {
            queue.add(key);
            assert!(matches!(take(queue).expect("ready").retry(), Retried::In(_)));
        }
        for key in 0..keys {
            assert!(queue.withdraw(&key));
        }
        assert_eq!(queue.snapshot().failing, 0);
    });
}

/// Goal: one key that stays, from before the flood, doesn't keep the flood's memory.
#[test]
fn a_flood_around_a_key_that_stays() {
    leaves_nothing_behind(2_000_000, Config::default, |queue, keys| {
        queue.add_after(keys, HOUR);
        for key in 0..keys {
            queue.add(key);
        }
        work_up(queue);
        assert_eq!(queue.snapshot().waiting, 1);
    });
}
