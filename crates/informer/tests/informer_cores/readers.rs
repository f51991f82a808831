//! What readers on other threads see while the writer works.

use std::sync::atomic::{AtomicBool, Ordering};

use watchkeeper_informer::delta_fifo::{Change, Relisted, Replacement, Work};
use watchkeeper_informer::{ObjectKey, ResourceVersion, StoreWriter};

use crate::thing::{Thing, thing, version};

const NAMES: u8 = 100;

/// Sets `done` also when the thread panics, so that the others end.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Goal: no reader sees half a replacement (I4), by list, namespace or index. Method: the writer replaces all 100
/// objects by the next generation, 300 times; readers check that whatever they get is whole and of one generation.
#[test]
fn a_replacement_is_seen_whole_or_not_at_all() {
    let mut writer = StoreWriter::default();
    let by_prefix = writer.add_index(|thing: &Thing| vec![thing.name.len()]);
    let store = writer.store();
    let done = AtomicBool::new(false);
    let whole = |seen: Vec<u64>, count: usize| {
        assert!(seen.is_empty() || seen.len() == count, "{} of {count}", seen.len());
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "two generations at once");
        seen.first().copied().unwrap_or_default()
    };
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (store, done, by_prefix) = (&store, &done, &by_prefix);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let (objects, count) = match reader {
                        0 => (store.list(), NAMES as usize),
                        1 => (store.namespace("ns1"), NAMES as usize / 2),
                        _ => (by_prefix.get(&3), 90),
                    };
                    let generation = whole(objects.iter().map(|object| version(object)).collect(), count);
                    assert!(generation >= newest, "went back");
                    newest = generation;
                }
            });
        }
        let _done = Done(&done);
        for generation in 1..=300 {
            let items = (0..NAMES).map(|name| Relisted::New(thing(name, 1, generation))).collect();
            let at = ResourceVersion::new(&generation.to_string());
            writer.apply(Work::Replace(Replacement { items, version: at.clone() }), at);
        }
    });
}

/// Goal: an index never shows an object that doesn't have the value, and an object is never seen going back, while it
/// moves between values. Method: one writer, three readers, 20,000 updates of two objects.
#[test]
fn an_index_has_no_false_hits() {
    let mut writer = StoreWriter::default();
    let by_third = writer.add_index(|thing: &Thing| vec![version(thing) % 3]);
    let done = AtomicBool::new(false);
    let store = writer.store();
    std::thread::scope(|scope| {
        for third in 0..3 {
            let (by_third, done, store) = (&by_third, &done, &store);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    for object in by_third.get(&third) {
                        assert_eq!(version(&object) % 3, third);
                    }
                    if let Some(object) = store.get(&ObjectKey::new("ns1", "n1")) {
                        assert!(version(&object) >= newest);
                        newest = version(&object);
                    }
                }
            });
        }
        let _done = Done(&done);
        for at in 1..=10_000 {
            let changes = vec![Change::Applied(thing(1, 1, at)), Change::Applied(thing(2, 1, at))];
            writer.apply(Work::Changes(changes), ResourceVersion::new(&at.to_string()));
        }
    });
    assert_eq!(by_third.get(&(10_000 % 3)).len(), 2);
}
