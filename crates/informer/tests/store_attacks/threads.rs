//! Readers on threads of their own, of which some panic, and objects that read the store as they are freed.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use watchkeeper_informer::{Index, ObjectKey, RangeIndex, ThreadSafeStore};

use crate::thing::{Thing, found_under, serials};
use crate::walks::{Deed, GROUP, World};

const OBJECTS: u16 = 300;

/// Sets it however its thread ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn each_once(things: &[Arc<Thing>]) {
    let keys: HashSet<ObjectKey> = things.iter().map(|thing| thing.state.key()).collect();
    assert_eq!(keys.len(), things.len(), "one is there twice");
}

fn read(way: u64, store: &ThreadSafeStore<Thing>, by_group: &Index<Thing, u16>, by_version: &RangeIndex<Thing, u64>) {
    let mut left = 150;
    let panics = |thing: &Arc<Thing>| {
        left -= 1;
        assert_ne!(thing.state.version, "");
        if left == 0 {
            resume_unwind(Box::new("planted"));
        }
    };
    match way {
        0 => each_once(&store.list()),
        1 => {
            let found = by_group.get(&GROUP);
            assert!(found.iter().all(|thing| found_under(&thing.state).contains(&GROUP)));
            each_once(&found);
        }
        2 => each_once(&by_version.range(5..)),
        3 => store.for_each(panics),
        4 => by_version.query(1..).and(by_group.query(GROUP)).for_each(panics),
        5 => store.snapshot().for_each(panics),
        6 => {
            let keys = store.keys();
            assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
            let snapshot = store.snapshot();
            let found = keys.iter().chain(&keys).filter_map(|key| snapshot.get(key)).count();
            assert!(found <= 2 * snapshot.len());
            assert_eq!(serials(&snapshot.list()), serials(&snapshot.list()));
        }
        _ => {
            let largest = store.largest(usize::MAX);
            assert_eq!(largest.iter().map(|(key, _)| key).collect::<HashSet<_>>().len(), largest.len());
        }
    }
}

/// Goal: whatever readers do meanwhile, each key is once in what they get, nobody waits for ever, and nothing of it is left. Method: one
/// writer and two readers, who do everything in turn; some of their walks end in a panic.
#[test]
fn readers_leave_nothing_behind() {
    let (mut world, done) = (World::new(OBJECTS), AtomicBool::new(false));
    let store = world.writer.store();
    world.maker.read_at_last(Some(store.clone()));
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (store, by_group, by_version, done) = (&store, world.by_group.clone(), world.by_version.clone(), &done);
            scope.spawn(move || {
                for turn in reader.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let ended = catch_unwind(AssertUnwindSafe(|| read(turn % 8, store, &by_group, &by_version)));
                    let planted = ended.err().is_none_or(|panic| panic.downcast_ref() == Some(&"planted"));
                    assert!(planted, "in turn {turn}");
                }
            });
        }
        let _done = Done(&done);
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..rounds() {
            let (one, other) = (random.u16(..OBJECTS), random.u16(..OBJECTS));
            world.deed(match random.u8(..100) {
                0 => Deed::Replace(one),
                1..10 => Deed::Remove(one),
                10..40 => Deed::Move(one),
                40..60 => Deed::Swap(one, other),
                _ => Deed::Touch(one),
            });
        }
    });
    world.maker.read_at_last(None);
    world.check();
}

/// Goal: a look-up in an old snapshot, which finds a newer state first and may be the last to have it, holds up neither itself nor the
/// writer with what the object does as it is freed. Method: one object that changes and changes, and takes snapshots when freed.
#[test]
fn an_old_snapshot_frees_under_no_lock() {
    let (mut world, done) = (World::new(1), AtomicBool::new(false));
    let (store, key) = (world.writer.store(), ObjectKey::new("ns0", "n0"));
    let snapshot = store.snapshot();
    let was = snapshot.get(&key).map(|thing| thing.state.serial);
    world.maker.read_at_last(Some(store));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(snapshot.get(&key).map(|thing| thing.state.serial), was);
            }
        });
        let _done = Done(&done);
        (0..rounds()).for_each(|_| world.deed(Deed::Touch(0)));
    });
    world.maker.read_at_last(None);
    drop(snapshot);
    world.check();
}

/// So many changes: `WATCHKEEPER_CASES`, else 1,500.
fn rounds() -> u32 {
    std::env::var("WATCHKEEPER_CASES").map_or(1_500, |cases| cases.parse().expect("WATCHKEEPER_CASES is a number"))
}
