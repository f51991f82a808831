//! The store against a plain map.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use watchkeeper_informer::delta_fifo::{Change, Known, Relisted, Replacement, Work};
use watchkeeper_informer::{Event, Finality, Index, ObjectKey, RangeIndex, ResourceVersion, Snapshot, StoreWriter};

use crate::thing::{Thing, key, thing, version};

/// The store as one would explain it.
#[derive(Default, Clone)]
struct Model {
    objects: BTreeMap<ObjectKey, Arc<Thing>>,
    replaced: bool,
}

impl Model {
    fn put(&mut self, new: &Arc<Thing>, events: &mut Vec<String>) {
        match self.objects.get(&key(new)).cloned() {
            Some(old) if version(new) < version(&old) => return,
            Some(old) if old.uid == new.uid && old.version == new.version => return,
            Some(old) if old.uid == new.uid => events.push(format!("U {} {}", text(&old), text(new))),
            Some(old) => events.extend([format!("D {} Inferred", text(&old)), format!("A {} false", text(new))]),
            None => events.push(format!("A {} false", text(new))),
        }
        self.objects.insert(key(new), Arc::clone(new));
    }

    fn remove(&mut self, last: &Arc<Thing>, events: &mut Vec<String>) {
        let Some(old) = self.objects.get(&key(last)).cloned() else { return };
        if version(last) < version(&old) {
            return;
        }
        self.objects.remove(&key(last));
        events.push(match old.uid == last.uid {
            true => format!("D {} Observed", text(last)),
            false => format!("D {} Inferred", text(&old)),
        });
    }

    fn replace(&mut self, items: &[Arc<Thing>], events: &mut Vec<String>) {
        let mut order: Vec<Arc<Thing>> = Vec::new();
        for item in items {
            match order.iter_mut().find(|other| key(other) == key(item)) {
                Some(other) if version(item) < version(other) => {}
                Some(other) => *other = Arc::clone(item),
                None => order.push(Arc::clone(item)),
            }
        }
        for (key_of, old) in &self.objects {
            if !order.iter().any(|item| key(item) == *key_of) {
                events.push(format!("D {} Inferred", text(old)));
            }
        }
        for new in &order {
            match self.objects.get(&key(new)) {
                Some(old) if old.uid == new.uid && old.version == new.version => {}
                Some(old) if old.uid == new.uid => events.push(format!("U {} {}", text(old), text(new))),
                old => {
                    events.extend(old.map(|old| format!("D {} Inferred", text(old))));
                    events.push(format!("A {} {}", text(new), !self.replaced));
                }
            }
        }
        self.objects = order.into_iter().map(|item| (key(&item), item)).collect();
        self.replaced = true;
    }
}

fn text(thing: &Thing) -> String {
    format!("{}@{}", thing.uid, thing.version)
}

fn told(event: &Event<Thing>) -> String {
    match event {
        Event::Added { object, initial } => format!("A {} {initial}", text(object)),
        Event::Updated { old, new } => format!("U {} {}", text(old), text(new)),
        Event::Deleted { last, finality } => format!("D {} {finality:?}", text(last)),
        Event::Resync { .. } => unreachable!("nobody asked for it"),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u64, u64),
    Remove(u8, u64, u64),
    Replace(Vec<(u8, u64, u64)>),
}

/// Not a sane history: versions and lives go back and forth.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let item = (0u8..6, 0u64..3, 1u64..12);
    let step = prop_oneof![
        5 => item.clone().prop_map(|(name, life, version)| Step::Put(name, life, version)),
        3 => item.clone().prop_map(|(name, life, version)| Step::Remove(name, life, version)),
        1 => proptest::collection::vec(item, 0..8).prop_map(Step::Replace),
    ];
    proptest::collection::vec(step, 1..50)
}

fn names(objects: &[Arc<Thing>]) -> Vec<String> {
    let mut names: Vec<_> = objects.iter().map(|object| text(object)).collect();
    names.sort();
    names
}

/// A store with every kind of index, and a snapshot that is kept for a while.
struct Real {
    writer: StoreWriter<Thing>,
    by_group: Index<Thing, u8>,
    by_version: RangeIndex<Thing, u64>,
    by_namespace_and_life: Index<Thing, (String, String)>,
    kept: Option<(Snapshot<Thing>, Model)>,
}

impl Real {
    fn new() -> Self {
        let mut writer = StoreWriter::default();
        let by_group = writer.add_index("group", |thing: &Thing| thing.groups.clone());
        let by_version = writer.add_range_index("version", |thing: &Thing| [version(thing)]);
        let life = |thing: &Thing| [(thing.namespace.clone(), thing.uid.split_once('-').expect("a life").1.to_owned())];
        let by_namespace_and_life = writer.add_index("life", life);
        Self { writer, by_group, by_version, by_namespace_and_life, kept: None }
    }
}

/// What a snapshot shows is what the model was.
fn snapshot_agrees(snapshot: &Snapshot<Thing>, model: &Model) {
    let all: Vec<Arc<Thing>> = model.objects.values().cloned().collect();
    assert_eq!(names(&snapshot.list()), names(&all));
    assert_eq!((snapshot.len(), snapshot.is_empty()), (all.len(), all.is_empty()));
    for name in 0..6 {
        let probe = key(&thing(name, 0, 1));
        assert_eq!(snapshot.get(&probe), model.objects.get(&probe).cloned());
    }
}

/// Queries over several indexes, and ranges, against the filtered model.
fn queries_agree(real: &Real, all: &[Arc<Thing>]) {
    let matching = |wanted: &dyn Fn(&Thing) -> bool| {
        names(&all.iter().filter(|object| wanted(object)).cloned().collect::<Vec<_>>())
    };
    for (low, high) in [(0, 4), (3, 9), (5, 5), (9, 2)] {
        let is_within = |object: &Thing| (low..high).contains(&version(object));
        let range = real.by_version.range(low..high);
        assert!(range.windows(2).all(|pair| version(&pair[0]) <= version(&pair[1])), "in the order of the values");
        assert_eq!(names(&range), matching(&is_within));
        let first = real.by_version.first(low..high, 2);
        assert!(range.starts_with(&first) && first.len() == range.len().min(2));
        for group in 0..3 {
            let both = real.by_version.query(low..high).and(real.by_group.query(group));
            assert_eq!(names(&both.list()), matching(&|object| is_within(object) && object.groups.contains(&group)));
            let in_place = real.writer.store().by_namespace().query("ns1".to_owned());
            let mut three = Vec::new();
            both.and(in_place).for_each(|object| three.push(Arc::clone(object)));
            let expected =
                |object: &Thing| is_within(object) && object.groups.contains(&group) && object.namespace == "ns1";
            assert_eq!(names(&three), matching(&expected));
        }
    }
    let composed = real.by_namespace_and_life.get(&("ns0".to_owned(), "1".to_owned()));
    assert_eq!(names(&composed), matching(&|object| object.namespace == "ns0" && object.uid.ends_with("-1")));
    let mut values = real.by_version.values();
    values.dedup();
    assert_eq!(
        values,
        all.iter().map(|object| version(object)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
}

fn agree(real: &Real, model: &Model) {
    let (writer, by_group) = (&real.writer, &real.by_group);
    let store = writer.store();
    let all: Vec<_> = model.objects.values().cloned().collect();
    assert_eq!(names(&store.list()), names(&all));
    assert_eq!(store.len(), all.len());
    assert_eq!(store.is_empty(), all.is_empty());
    let mut sizes: Vec<u32> = all.iter().map(|object| bytes(version(object))).collect();
    assert_eq!(store.bytes(), sizes.iter().map(|bytes| u64::from(*bytes)).sum::<u64>());
    sizes.sort_unstable_by_key(|bytes| Reverse(*bytes));
    sizes.truncate(2);
    assert_eq!(store.largest(2).iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), sizes);
    let mut keys = store.keys();
    keys.sort();
    assert!(keys.iter().eq(model.objects.keys()));
    for name in 0..6 {
        let probe = key(&thing(name, 0, 1));
        assert_eq!(store.get(&probe), model.objects.get(&probe).cloned());
    }
    for object in &all {
        let current = |uid: &str, version: &str| store.current(&object.namespace, &object.name, uid, version);
        assert_eq!(current(&object.uid, &object.version), Some(Arc::clone(object)));
        assert_eq!((current("other", &object.version), current(&object.uid, "99")), (None, None));
    }
    for namespace in ["ns0", "ns1", "other"] {
        let expected: Vec<_> = all.iter().filter(|object| object.namespace == namespace).cloned().collect();
        assert_eq!(names(&store.namespace(namespace)), names(&expected));
    }
    for group in 0..4 {
        let expected: Vec<_> = all.iter().filter(|object| object.groups.contains(&group)).cloned().collect();
        assert_eq!(names(&by_group.get(&group)), names(&expected));
        assert_eq!(by_group.count(&group), expected.len());
    }
    let mut walked = Vec::new();
    store.for_each(|object| walked.push(Arc::clone(object)));
    assert_eq!(names(&walked), names(&all));
    snapshot_agrees(&store.snapshot(), model);
    if let Some((kept, then)) = &real.kept {
        snapshot_agrees(kept, then);
    }
    queries_agree(real, &all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Goal: objects, indexes, ranges, queries, snapshots, namespaces, `Known` and events are those of a plain map, whatever
    /// comes. Method: random steps that are not a sane history; now and then a snapshot is kept while they go on.
    #[test]
    fn the_store_is_a_plain_map(steps in steps()) {
        let (mut real, mut model) = (Real::new(), Model::default());
        for (at, step) in steps.into_iter().enumerate() {
            let mut expected = Vec::new();
            let work = match step {
                Step::Put(name, life, version) => {
                    let object = thing(name, life, version);
                    model.put(&object, &mut expected);
                    Work::Changes(vec![Change::Applied(object, bytes(version))])
                }
                Step::Remove(name, life, version) => {
                    let last = thing(name, life, version);
                    model.remove(&last, &mut expected);
                    Work::Changes(vec![Change::Deleted { last, finality: Finality::Observed }])
                }
                Step::Replace(items) => {
                    let items: Vec<_> = items.into_iter().map(|(name, life, version)| thing(name, life, version)).collect();
                    model.replace(&items, &mut expected);
                    let items = items.into_iter().map(|item| { let bytes = bytes(version(&item)); Relisted::New(item, bytes) }).collect();
                    Work::Replace(Replacement { items, version: ResourceVersion::new("1") })
                }
            };
            let reached = ResourceVersion::new(&(at + 1).to_string());
            let applied = real.writer.apply(work, reached.clone());
            prop_assert_eq!(applied.events.iter().map(told).collect::<Vec<_>>(), expected);
            if at % 5 == 0 {
                agree(&real, &model);
            }
            if at % 13 == 3 {
                let snapshot = real.writer.store().snapshot();
                prop_assert_eq!(snapshot.version(), Some(&reached));
                real.kept = Some((snapshot, model.clone()));
            }
        }
    }
}

/// How large an object of this version is said to be.
fn bytes(version: u64) -> u32 {
    u32::try_from(version).expect("small") * 10
}

/// So many cases: `WATCHKEEPER_CASES`, else 10,000.
fn cases() -> u32 {
    std::env::var("WATCHKEEPER_CASES").map_or(10_000, |cases| cases.parse().expect("WATCHKEEPER_CASES is a number"))
}

/// Goal: "unchanged" keeps the very same allocation, and never brings back what is older than what has come since.
#[test]
fn unchanged_items_stay_as_they_are() {
    let mut writer = StoreWriter::default();
    let object = thing(1, 1, 5);
    let items = vec![Relisted::new(Arc::clone(&object))];
    writer.apply(Work::Replace(Replacement { items, version: ResourceVersion::new("5") }), ResourceVersion::new("5"));
    let items = vec![Relisted::Unchanged(Arc::clone(&object))];
    let work = Work::Replace(Replacement { items, version: ResourceVersion::new("7") });
    let applied = writer.apply(work, ResourceVersion::new("7"));
    assert!(applied.events.is_empty());
    let cached = writer.store().get(&key(&object)).expect("still there");
    assert!(Arc::ptr_eq(&cached, &object));
    // The same state decoded once more is no reason to let go of the first.
    let work =
        Work::Replace(Replacement { items: vec![Relisted::new(thing(1, 1, 5))], version: ResourceVersion::new("8") });
    assert!(writer.apply(work, ResourceVersion::new("8")).events.is_empty());
    assert!(Arc::ptr_eq(&writer.store().get(&key(&object)).expect("still there"), &object));
    writer.apply(Work::Changes(vec![Change::applied(thing(1, 1, 9))]), ResourceVersion::new("9"));
    let items = vec![Relisted::Unchanged(object)];
    let work = Work::Replace(Replacement { items, version: ResourceVersion::new("8") });
    assert!(writer.apply(work, ResourceVersion::new("8")).events.is_empty());
    assert_eq!(writer.store().list()[0].version, "9");
}

/// Goal: an index added late knows what was there before, and one added twice doesn't disturb the other.
#[test]
fn indexes_can_be_added_over_objects() {
    let mut writer = StoreWriter::default();
    let first = writer.add_index("uid", |thing: &Thing| [thing.uid.clone()]);
    writer.apply(Work::Changes(vec![Change::applied(thing(1, 1, 5))]), ResourceVersion::new("5"));
    let second = writer.add_index("version", |thing: &Thing| [thing.version.clone()]);
    assert_eq!(first.get("u1-1").len(), 1);
    assert_eq!(second.get("5").len(), 1);
    assert_eq!(writer.store().namespace("ns1").len(), 1);
}

/// Goal: the version only goes back with a replacement, and waiting for one ends when it is reached.
#[tokio::test(start_paused = true)]
async fn versions_are_reached() {
    let mut writer = StoreWriter::<Thing>::default();
    let store = writer.store();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move {
            let wanted = ResourceVersion::new("10");
            store.wait_until(|reached| reached.version.as_ref().is_some_and(|at| at.has_reached(&wanted))).await;
            store.reached()
        }
    });
    writer.apply(Work::Changes(Vec::new()), ResourceVersion::new("9"));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    writer.apply(Work::Changes(Vec::new()), ResourceVersion::new("12"));
    assert_eq!(waiting.await.expect("reached").version, Some(ResourceVersion::new("12")));
    writer.apply(Work::Changes(Vec::new()), ResourceVersion::new("11"));
    assert_eq!(store.reached().version, Some(ResourceVersion::new("12")));
    let replacement = Replacement { items: Vec::new(), version: ResourceVersion::new("3") };
    writer.apply(Work::Replace(replacement), ResourceVersion::new("3"));
    assert_eq!(store.reached().version, Some(ResourceVersion::new("3")));
    assert_eq!(store.reached().replacements, 1);
}

/// Goal: a list in which everything is unchanged tells nothing; one that only looks like it (as many items, but one twice) tells what
/// is gone.
#[test]
fn an_unchanged_list_is_one_in_every_item() {
    let version = |at: u64| ResourceVersion::new(&at.to_string());
    let replace =
        |items: Vec<Relisted<Thing>>, at| (Work::Replace(Replacement { items, version: version(at) }), version(at));
    let mut writer = StoreWriter::default();
    let (work, at) = replace((1..=3).map(|name| Relisted::new(thing(name, 1, 1))).collect(), 5);
    assert_eq!(writer.apply(work, at).events.len(), 3);
    let cached = |name: u8| writer.store().get(&key(&thing(name, 1, 1))).expect("listed");
    let cached = [cached(1), cached(2), cached(3)];
    let unchanged =
        |names: &[usize]| names.iter().map(|name| Relisted::Unchanged(Arc::clone(&cached[name - 1]))).collect();
    let cases: [(&[usize], usize); 5] = [(&[1, 2, 3], 0), (&[3, 1, 2], 0), (&[1, 2, 2], 1), (&[1, 1, 2], 0), (&[1], 1)];
    for (number, (names, gone)) in (6..).zip(cases) {
        let (work, at) = replace(unchanged(names), number);
        let applied = writer.apply(work, at.clone());
        assert_eq!(applied.events.len(), gone, "{names:?}");
        assert_eq!(writer.store().reached().version, Some(at));
    }
}

/// Goal: a budget smaller than one object is only told of, nothing is dropped, and the store weighs what there is.
#[test]
fn a_budget_is_told_of_and_drops_nothing() {
    let mut writer = StoreWriter::default().with_bytes_budget(5);
    let (store, at) = (writer.store(), ResourceVersion::new("1"));
    assert!(!store.is_over_budget());
    writer.apply(
        Work::Changes(vec![Change::Applied(thing(1, 1, 1), 10), Change::Applied(thing(2, 1, 1), 30)]),
        at.clone(),
    );
    assert_eq!((store.len(), store.bytes(), store.is_over_budget()), (2, 40, true));
    assert_eq!(store.largest(1), [(key(&thing(2, 1, 1)), 30)]);
    let last = thing(2, 1, 2);
    writer.apply(Work::Changes(vec![Change::Deleted { last, finality: Finality::Observed }]), at.clone());
    writer.apply(Work::Changes(vec![Change::Applied(thing(1, 1, 2), 4)]), at.clone());
    assert_eq!((store.bytes(), store.is_over_budget()), (4, false));
    writer.apply(Work::Replace(Replacement { items: vec![Relisted::New(thing(3, 1, 3), 7)], version: at.clone() }), at);
    assert_eq!((store.bytes(), store.is_over_budget()), (7, true));
}

/// Goal: a function that panics keeps its objects out of its index and harms nothing else; one that returns thousands of values, some
/// twice, works.
#[test]
fn index_functions_may_be_bad() {
    let mut writer = StoreWriter::default();
    let panicking =
        writer.add_index("panicking", |thing: &Thing| [if version(thing) == 2 { panic!("planted") } else { 1 }]);
    let many = writer.add_index("many", |thing: &Thing| {
        let at = version(thing);
        (0..5_000).map(move |value| value * at).chain([0, 0])
    });
    let put = |writer: &mut StoreWriter<Thing>, at: u64| {
        writer.apply(Work::Changes(vec![Change::applied(thing(1, 1, at))]), ResourceVersion::new(&at.to_string()))
    };
    for (at, found) in [(1, 1), (2, 0), (3, 1)] {
        assert_eq!(put(&mut writer, at).events.len(), 1);
        assert_eq!(panicking.get(&1).len(), found, "at {at}");
        assert_eq!(many.get(&(4_999 * at)).len(), 1);
        assert_eq!((many.get(&0).len(), many.values().len()), (1, 5_000));
    }
    let summaries = writer.store().indexes();
    assert!(summaries[1].panics > 0, "{}", summaries[1]);
    assert_eq!((&*summaries[2].name, summaries[2].panics), ("many", 0));
}

/// Goal: what a part is given of another namespace is passed over and counted, by a list and by changes; what is cached of it stays, and
/// nobody is told anything.
#[test]
fn a_part_keeps_to_its_namespace() {
    let mut writer = StoreWriter::in_parts(vec![Some("ns0".to_owned()), Some("ns1".to_owned())]);
    let at = |version: u64| ResourceVersion::new(&version.to_string());
    let list = |items: &[Arc<Thing>]| {
        let items = items.iter().cloned().map(Relisted::new).collect();
        Work::Replace(Replacement { items, version: at(1) })
    };
    assert_eq!(writer.apply_to(1, list(&[thing(1, 1, 1)]), at(1)).events.len(), 1);
    let listed = writer.apply_to(0, list(&[thing(0, 1, 1), thing(1, 2, 9), thing(3, 1, 1)]), at(1));
    assert_eq!((listed.events.len(), listed.unwanted), (1, 2));
    let deleted = Change::Deleted { last: thing(1, 1, 9), finality: Finality::Observed };
    let changes = vec![Change::applied(thing(1, 1, 9)), deleted, Change::applied(thing(2, 1, 9))];
    let changed = writer.apply_to(0, Work::Changes(changes), at(9));
    assert_eq!((changed.events.len(), changed.unwanted), (1, 2));
    let mut cached: Vec<_> = writer.store().list().iter().map(|thing| (thing.name.clone(), version(thing))).collect();
    cached.sort();
    assert_eq!(cached, [("n0".to_owned(), 1), ("n1".to_owned(), 1), ("n2".to_owned(), 9)]);
}

/// Goal: building an index over n objects calls its function n times, and a change at most for the state before and the one after;
/// a replacement once for each object. So no start-up takes the square of the objects. Method: the calls are counted.
#[test]
fn an_index_looks_at_an_object_once() {
    const OBJECTS: u8 = 200;
    let calls = Arc::new(AtomicUsize::new(0));
    let take = || calls.swap(0, Ordering::Relaxed);
    let at = |version: u64| ResourceVersion::new(&version.to_string());
    let list = |version: u64| {
        let items = (0..OBJECTS).map(|name| Relisted::new(thing(name, 1, version))).collect();
        Work::Replace(Replacement { items, version: at(version) })
    };
    let mut writer = StoreWriter::default();
    writer.apply(list(1), at(1));
    let counted = Arc::clone(&calls);
    writer.add_index("counted", move |thing: &Thing| {
        counted.fetch_add(1, Ordering::Relaxed);
        [version(thing)]
    });
    assert_eq!(take(), usize::from(OBJECTS));
    writer.apply(Work::Changes(vec![Change::applied(thing(7, 1, 2))]), at(2));
    assert!(take() <= 2);
    writer.apply(list(3), at(3));
    assert!(take() <= usize::from(OBJECTS));
}

/// Goal: whoever waits for a version may take its time without holding up the writer. Method: the question applies a batch.
#[tokio::test]
async fn waiting_holds_up_nobody() {
    let mut writer = StoreWriter::<Thing>::default();
    let store = writer.store();
    let mut asked = 0;
    store
        .wait_until(|reached| {
            asked += 1;
            writer.apply(Work::Changes(Vec::new()), ResourceVersion::new(&asked.to_string()));
            reached.version.is_some()
        })
        .await;
    assert_eq!(asked, 2);
}
