//! What readers on other threads see while the writer works.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::core::Expression;
use watchkeeper_informer::delta_fifo::{Change, Relisted, Replacement, Work};
use watchkeeper_informer::{Finality, Lister, ObjectKey, ResourceVersion, Selection, Snapshot, StoreWriter};

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
    let by_prefix = writer.add_index("length", |thing: &Thing| [thing.name.len()]);
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
            let items = (0..NAMES).map(|name| Relisted::new(thing(name, 1, generation))).collect();
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
    let by_third = writer.add_index("third", |thing: &Thing| [version(thing) % 3]);
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
            let changes = vec![Change::applied(thing(1, 1, at)), Change::applied(thing(2, 1, at))];
            writer.apply(Work::Changes(changes), ResourceVersion::new(&at.to_string()));
        }
    });
    assert_eq!(by_third.get(&(10_000 % 3)).len(), 2);
}

/// What one reader has seen of each name: it must never see something older.
#[derive(Default)]
struct Seen(HashMap<String, u64>);

impl Seen {
    fn see(&mut self, objects: &[Arc<Thing>]) {
        let mut names = HashSet::new();
        for object in objects {
            assert!(names.insert(&object.name), "{} is there twice", object.name);
            let newest = self.0.entry(object.name.clone()).or_default();
            assert!(version(object) >= *newest, "{} went from {newest} back to {}", object.name, object.version);
            *newest = version(object);
        }
    }
}

/// Goal: whatever a reader asks, by key, list, index, range, query or snapshot, it never sees an object older than one it has seen, none
/// twice, and no snapshot that is half a batch or changes. Method: a writer changes pairs of objects in one batch each, ends lives
/// and begins others in vacant slots, replaces, and adds an index; four readers use everything in turn, while some snapshots are kept.
#[test]
fn readers_never_go_back() {
    const PAIRS: u64 = 20;
    let mut writer = StoreWriter::default();
    let by_group = writer.add_index("group", |thing: &Thing| thing.groups.clone());
    let by_version = writer.add_range_index("version", |thing: &Thing| [version(thing)]);
    let (store, done) = (writer.store(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for reader in 0..4u64 {
            let (store, done, by_group, by_version) = (&store, &done, &by_group, &by_version);
            scope.spawn(move || {
                let (mut seen, mut kept) = (Seen::default(), None::<(Snapshot<Thing>, Vec<String>)>);
                for turn in reader.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    match turn % 7 {
                        0 => seen.see(&store.list()),
                        1 => seen.see(&by_group.get(&((turn % 3) as u8))),
                        2 => seen.see(&by_version.range(..)),
                        3 => seen.see(&by_version.query(1..).and(by_group.query(1)).list()),
                        4 => {
                            let all =
                                (0..2 * PAIRS).filter_map(|name| store.get_named("ns1", &format!("n{}", 2 * name + 1)));
                            seen.see(&all.collect::<Vec<_>>());
                        }
                        5 => seen.see(&store.namespace("ns1")),
                        _ => {
                            let snapshot = store.snapshot();
                            let objects = snapshot.list();
                            assert_eq!(objects.len(), snapshot.len());
                            seen.see(&objects);
                            let of: HashMap<&str, &Arc<Thing>> =
                                objects.iter().map(|object| (object.name.as_str(), object)).collect();
                            for pair in 0..PAIRS {
                                let [one, other] =
                                    names_of(pair).map(|name| of.get(&*name).map(|thing| &thing.version));
                                assert_eq!(one, other, "half a batch");
                            }
                            let texts = |snapshot: &Snapshot<Thing>| {
                                let mut texts: Vec<_> = snapshot
                                    .list()
                                    .iter()
                                    .map(|thing| format!("{}@{}", thing.uid, thing.version))
                                    .collect();
                                texts.sort();
                                texts
                            };
                            if let Some((kept, then)) = &kept {
                                assert_eq!(texts(kept), *then, "a snapshot has changed");
                            }
                            if turn % 5 == 0 {
                                let texts = texts(&snapshot);
                                kept = Some((snapshot, texts));
                            }
                        }
                    }
                }
            });
        }
        let _done = Done(&done);
        let mut random = fastrand::Rng::with_seed(7);
        let at = |at: u64| ResourceVersion::new(&at.to_string());
        for now in 1..=20_000u64 {
            let pair = random.u64(..PAIRS);
            let things = names_of(pair).map(|name| named(&name, now));
            let work = match random.u8(..100) {
                0 => {
                    let all = (0..PAIRS).flat_map(names_of).map(|name| Relisted::new(named(&name, now)));
                    Work::Replace(Replacement { items: all.collect(), version: at(now) })
                }
                1..20 => {
                    let gone = |last| Change::Deleted { last, finality: Finality::Observed };
                    Work::Changes(things.into_iter().map(gone).collect())
                }
                _ => Work::Changes(things.into_iter().map(Change::applied).collect()),
            };
            writer.apply(work, at(now));
            if now == 10_000 {
                writer.add_index("late", |thing: &Thing| [thing.uid.clone()]);
            }
        }
    });
    assert_eq!(store.indexes().len(), 4);
}

/// The two names that change together, both in the namespace ns1.
fn names_of(pair: u64) -> [String; 2] {
    [format!("n{}", 4 * pair + 1), format!("n{}", 4 * pair + 3)]
}

fn named(name: &str, version: u64) -> Arc<Thing> {
    let (namespace, groups) = ("ns1".to_owned(), vec![(version % 3) as u8]);
    let (uid, version) = (format!("{name} of {}", version / 1_000), version.to_string());
    Arc::new(Thing { namespace, name: name.to_owned(), uid, version, groups })
}

/// Goal: a label that is indexed already isn't indexed again: both handles find what is cached.
#[test]
fn a_label_is_indexed_once() {
    let mut writer = StoreWriter::<ConfigMap>::default();
    let first = writer.add_label_index("app");
    let mut map = ConfigMap::default();
    map.metadata.name = Some("a".to_owned());
    map.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
    writer.apply(Work::Changes(vec![Change::applied(Arc::new(map))]), ResourceVersion::new("1"));
    let again = writer.add_label_index("app");
    assert_eq!((first.get("web").len(), again.get("web").len()), (1, 1));
    assert_eq!(writer.store().indexes().len(), 2, "beside the one by namespace");
}

/// Goal: an object that has one of two values all along is in every selection of both, and a range is in the order of its values,
/// while objects move. Method: a writer moves a few objects to and fro, readers select and read the range.
#[test]
fn selections_and_ranges_hold_while_objects_move() {
    let mut writer = StoreWriter::<ConfigMap>::default();
    let place = |map: &ConfigMap| map.metadata.labels.as_ref().and_then(|labels| labels["place"].parse::<u64>().ok());
    let by_place = writer.add_range_index("place", place);
    writer.add_label_index("place");
    let map = |name: u64, place: u64, version: u64| {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(format!("n{name}"));
        map.metadata.resource_version = Some(version.to_string());
        map.metadata.labels = Some([("place".to_owned(), place.to_string())].into());
        Change::applied(Arc::new(map))
    };
    let at = |version: u64| ResourceVersion::new(&version.to_string());
    writer.apply(Work::Changes((0..4).map(|name| map(name, name, 1)).collect()), at(1));
    let (lister, done) = (Lister::new(writer.store()), AtomicBool::new(false));
    let either = Expression::In("place".to_owned(), (0..8).map(|place| place.to_string()).collect());
    let wanted = Selection { labels: either.into(), ..Selection::default() };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(lister.select(&wanted).objects.len(), 4);
                    let range = by_place.range(..);
                    let places: Vec<_> = range.iter().map(|map| place(map)).collect();
                    assert!(places.is_sorted(), "{places:?}");
                    assert!(by_place.first(2.., 1).iter().all(|map| place(map) >= Some(2)));
                }
            });
        }
        let _done = Done(&done);
        for version in 2..20_000 {
            writer.apply(Work::Changes(vec![map(version % 4, version * 7 % 8, version)]), at(version));
        }
    });
}
