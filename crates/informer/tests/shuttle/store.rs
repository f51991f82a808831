//! The store's one writer and its readers. Method: readers see, on threads of their own, what the writer does meanwhile.

use std::collections::HashSet;
use std::sync::Arc;

use shuttle::thread::spawn;
use watchkeeper_informer::delta_fifo::{Change, Relisted, Replacement, Work};
use watchkeeper_informer::mutant::Mutant;
use watchkeeper_informer::{Cached, Finality, Index, ResourceVersion, Snapshot, StoreWriter, ThreadSafeStore};

use crate::thing::Thing;
use crate::{explore, find};

fn thing(name: &str, version: u64, group: u8) -> Arc<Thing> {
    let (namespace, name, version) = ("n".to_owned(), name.to_owned(), version.to_string());
    Arc::new(Thing { namespace, name, uid: "u".to_owned(), version, groups: vec![group] })
}

fn at(version: u64) -> ResourceVersion {
    ResourceVersion::new(&version.to_string())
}

struct Store {
    writer: StoreWriter<Thing>,
    by_group: Index<Thing, u8>,
}

/// Two objects that always change together, and how they stand at a version.
fn pair(version: u64) -> [Arc<Thing>; 2] {
    ["a", "b"].map(|name| thing(name, version, (version % 2) as u8))
}

impl Store {
    /// Both objects at version 1.
    fn new() -> Self {
        let mut writer = StoreWriter::default();
        let by_group = writer.add_index("group", |thing: &Thing| thing.groups.clone());
        let mut store = Self { writer, by_group };
        store.replace(1);
        store
    }

    fn replace(&mut self, version: u64) {
        let items = pair(version).into_iter().map(Relisted::new).collect();
        self.writer.apply(Work::Replace(Replacement { items, version: at(version) }), at(version));
    }

    fn change(&mut self, version: u64) {
        self.writer.apply(Work::Changes(pair(version).into_iter().map(Change::applied).collect()), at(version));
    }

    /// Both go, and come back where the other was.
    fn swap(&mut self, version: u64) {
        let gone = |last| Change::Deleted { last, finality: Finality::Observed };
        let [a, b] = pair(version);
        self.writer.apply(Work::Changes(vec![gone(Arc::clone(&a)), gone(Arc::clone(&b))]), at(version));
        self.writer.apply(Work::Changes(vec![Change::applied(a), Change::applied(b)]), at(version));
    }
}

/// What one reader has seen.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    /// Of each name one, and nothing older than before.
    fn see(&mut self, objects: &[Arc<Thing>]) {
        let mut names: Vec<&str> = objects.iter().map(|object| object.name()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
        let versions = objects.iter().filter(|object| object.name == "a").map(|object| object.version.parse());
        for version in versions.map(|version| version.expect("a number")) {
            assert!(version >= self.0, "back from {} to {version}", self.0);
            self.0 = version;
        }
    }
}

fn versions(objects: &[Arc<Thing>]) -> Vec<&str> {
    let mut versions: Vec<&str> = objects.iter().map(|object| object.version()).collect();
    versions.sort_unstable();
    versions
}

fn read_by_index(store: &ThreadSafeStore<Thing>, by_group: &Index<Thing, u8>, seen: &mut Seen) {
    for group in [0, 1] {
        let objects = by_group.get(&group);
        assert!(objects.iter().all(|object| object.groups == [group]), "a false hit");
        seen.see(&objects);
    }
    let Some(before) = store.get_named("n", "a") else { return };
    seen.see(&[Arc::clone(&before)]);
    let is_found = by_group.get(&before.groups[0]).iter().any(|object| object.name == "a");
    let is_as_before = || store.get_named("n", "a").is_some_and(|now| Arc::ptr_eq(&now, &before));
    assert!(is_found || !is_as_before(), "the index is behind the object");
}

/// Goal: look-ups by index and by key show no false hit, nothing twice and nothing older, while objects move, go and come back.
#[test]
fn look_ups() {
    explore("look_ups", || {
        let mut store = Store::new();
        let (handle, by_group) = (store.writer.store(), store.by_group.clone());
        let reader = spawn(move || {
            let mut seen = Seen::default();
            read_by_index(&handle, &by_group, &mut seen);
            seen.see(&handle.list());
            read_by_index(&handle, &by_group, &mut seen);
        });
        store.change(2);
        store.swap(3);
        reader.join().expect("the reader");
    });
}

/// Goal: a list of many objects shows none twice that goes and comes back elsewhere meanwhile. Method: so many others lie between
/// the two places that they are read one after the other.
#[test]
fn walks() {
    explore("walks", || {
        let mut store = Store::new();
        let [a, b] = pair(2);
        let others = (0..20).map(|number| thing(&format!("other-{number}"), 1, 9));
        let items = [a].into_iter().chain(others).chain([b]).map(Relisted::new).collect();
        store.writer.apply(Work::Replace(Replacement { items, version: at(2) }), at(2));
        let handle = store.writer.store();
        let reader = spawn(move || {
            let mut seen = Seen::default();
            seen.see(&handle.list());
            seen.see(&handle.snapshot().list());
        });
        store.swap(3);
        reader.join().expect("the reader");
    });
}

/// Goal: neither a list nor the largest show a key twice that goes and comes back further on, while nothing else goes. Method: a place further on is vacant,
/// and another object takes the one that it leaves.
#[test]
fn a_walk_and_one_that_moves() {
    explore("a_walk_and_one_that_moves", || {
        let mut store = Store::new();
        let [a, vacated] = pair(2);
        let others = (0..20).map(|number| thing(&format!("other-{number}"), 1, 9));
        let items = [a].into_iter().chain(others).chain([Arc::clone(&vacated)]).map(Relisted::new).collect();
        let gone = |last| Change::Deleted { last, finality: Finality::Observed };
        store.writer.apply(Work::Replace(Replacement { items, version: at(2) }), at(2));
        store.writer.apply(Work::Changes(vec![gone(vacated)]), at(2));
        let handle = store.writer.store();
        let reader = spawn(move || {
            Seen::default().see(&handle.list());
            let largest = handle.largest(usize::MAX);
            assert_eq!(largest.iter().map(|(key, _)| key).collect::<HashSet<_>>().len(), largest.len());
        });
        let [a, _] = pair(3);
        let changes = vec![gone(Arc::clone(&a)), Change::applied(thing("newcomer", 3, 9)), Change::applied(a)];
        store.writer.apply(Work::Changes(changes), at(3));
        reader.join().expect("the reader");
    });
}

/// Goal: a list shows all of a replacement or nothing of it, while one comes.
#[test]
fn replacements() {
    explore("replacements", || {
        let mut store = Store::new();
        let (handle, by_group) = (store.writer.store(), store.by_group.clone());
        let reader = spawn(move || {
            let mut seen = Seen::default();
            for _ in 0..2 {
                let objects = handle.list();
                assert!(
                    [["1", "1"], ["2", "2"], ["3", "3"]].iter().any(|whole| versions(&objects) == *whole),
                    "half of it"
                );
                seen.see(&objects);
                read_by_index(&handle, &by_group, &mut seen);
            }
        });
        store.replace(2);
        store.replace(3);
        reader.join().expect("the reader");
    });
}

/// Goal: a snapshot is whole batches, of one moment, that of its version, and stays so; it isn't older than what was read before.
#[test]
fn snapshots() {
    explore("snapshots", || {
        let mut store = Store::new();
        let handle = store.writer.store();
        let check = |snapshot: &Snapshot<Thing>| {
            let (objects, version) = (snapshot.list(), snapshot.version().expect("listed").to_string());
            assert_eq!(objects.len(), snapshot.len());
            assert!(
                objects.is_empty() || versions(&objects) == [&*version, &*version],
                "{:?} at {version}",
                versions(&objects)
            );
        };
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let handle = handle.clone();
                spawn(move || {
                    let mut seen = Seen::default();
                    seen.see(&handle.get_named("n", "a").into_iter().collect::<Vec<_>>());
                    let first = handle.snapshot();
                    seen.see(&first.list());
                    check(&first);
                    let second = handle.snapshot();
                    seen.see(&second.list());
                    check(&first);
                    check(&second);
                })
            })
            .collect();
        store.change(2);
        store.swap(3);
        store.replace(4);
        readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
    });
}

/// Goal: an index that is added while readers read shows everything at once, and disturbs nobody.
#[test]
fn late_indexes() {
    explore("late_indexes", || {
        let mut store = Store::new();
        let (handle, by_group) = (store.writer.store(), store.by_group.clone());
        let reader = spawn(move || {
            let mut seen = Seen::default();
            read_by_index(&handle, &by_group, &mut seen);
            read_by_index(&handle, &by_group, &mut seen);
        });
        let late = store.writer.add_index("name", |thing: &Thing| [thing.name.clone()]);
        assert_eq!(late.get("a").len(), 1);
        store.change(2);
        assert_eq!(late.get("b").len(), 1);
        reader.join().expect("the reader");
    });
}

/// Goal: each fault planted in the store is seen by one of the scenes.
#[test]
fn planted_faults() {
    find(&Mutant::STORE, &["store::look_ups", "store::walks", "store::replacements", "store::snapshots"]);
}
