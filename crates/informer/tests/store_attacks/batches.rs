//! What the writer is given: batches, lists, and index functions.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use proptest::prelude::*;
use watchkeeper_informer::delta_fifo::{Change, Relisted, Replacement, Work};
use watchkeeper_informer::store::Applied;
use watchkeeper_informer::{
    Finality, Index, ObjectKey, RangeIndex, ResourceVersion, Snapshot, StoreWriter, ThreadSafeStore,
};

use crate::cases;
use crate::model::{Item, Model, Outcome, told};
use crate::thing::{Maker, State, Thing, found_under, groups, groups_of, serials};

/// One object of a change or of a list, in terms of what is there.
#[derive(Debug, Clone, Copy)]
struct Pick {
    name: u8,
    /// 0: of another uid.
    life: u8,
    version: u8,
    groups: u8,
    /// What becomes of it.
    what: u8,
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Pick>),
    List(Vec<Pick>),
    Again(u8),
    /// A snapshot, or its end.
    Keep,
    /// One index more, like another.
    Index,
}

fn picks(names: u8, most: usize) -> impl Strategy<Value = Vec<Pick>> {
    let pick = (0..names, 0u8..6, 0u8..12, any::<u8>(), any::<u8>());
    let pick = pick.prop_map(|(name, life, version, groups, what)| Pick { name, life, version, groups, what });
    proptest::collection::vec(pick, 0..most)
}

/// Of few names, so that a batch has many changes of each, or of many, so that the sixteen ahead are all of them different.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![Just(2u8), Just(5), Just(17), Just(60)].prop_flat_map(|names| {
        let step = prop_oneof![
            6 => picks(names, 40).prop_map(Step::Batch),
            3 => picks(names, 40).prop_map(Step::List),
            1 => any::<u8>().prop_map(Step::Again),
            1 => Just(Step::Keep),
            1 => Just(Step::Index),
        ];
        proptest::collection::vec(step, 1..12)
    })
}

/// What an index function that looks may see, as long as it may, and what it has seen last: a snapshot, and what was in it.
#[derive(Default)]
struct Seen {
    store: Option<ThreadSafeStore<Thing>>,
    last: Option<(Snapshot<Thing>, Vec<u64>)>,
}

/// A store with indexes of every kind, beside a model.
struct World {
    maker: Maker,
    writer: StoreWriter<Thing>,
    by_group: Index<Thing, u16>,
    by_version: RangeIndex<Thing, u64>,
    looking: Index<Thing, String>,
    /// By a function that says something else each time.
    fickle: Index<Thing, u64>,
    seen: Arc<Mutex<Seen>>,
    model: Model,
    kept: Option<(Snapshot<Thing>, Model)>,
    /// A namespace is a part each.
    in_parts: bool,
    lists: [usize; 2],
    now: u64,
}

impl World {
    fn new(in_parts: bool) -> Self {
        let parts = if in_parts { vec![Some("ns0".to_owned()), Some("ns1".to_owned())] } else { vec![None] };
        let mut writer = StoreWriter::in_parts(parts);
        let by_group = writer.add_index("group", groups_of);
        let by_version = writer.add_range_index("version", |thing: &Thing| thing.state.number());
        let seen = Arc::new(Mutex::new(Seen { store: Some(writer.store()), last: None }));
        let looking = writer.add_index("looking", {
            let seen = Arc::clone(&seen);
            move |thing: &Thing| {
                let store = seen.lock().store.clone();
                if let Some(store) = store.filter(|_| thing.state.serial.is_multiple_of(3)) {
                    let snapshot = store.snapshot();
                    let all = serials(&snapshot.list());
                    assert_eq!(all, serials(&store.list()));
                    assert_eq!(all.len(), snapshot.len());
                    seen.lock().last = Some((snapshot, all));
                }
                [thing.state.uid.clone()]
            }
        });
        let calls = AtomicU64::new(0);
        let fickle = writer.add_index("fickle", move |_: &Thing| match calls.fetch_add(1, Ordering::Relaxed) % 7 {
            0 => resume_unwind(Box::new("planted")),
            call => [call % 3, call % 3, call % 2],
        });
        let (maker, model) = (Maker::default(), Model::default());
        Self {
            maker,
            writer,
            by_group,
            by_version,
            looking,
            fickle,
            seen,
            model,
            kept: None,
            in_parts,
            lists: [0; 2],
            now: 0,
        }
    }

    fn state(&self, pick: Pick, part: usize) -> State {
        let namespace = if self.in_parts { format!("ns{part}") } else { format!("ns{}", pick.name % 2) };
        let mut state = State {
            namespace,
            name: format!("n{}", pick.name),
            uid: "first".to_owned(),
            version: "10".to_owned(),
            groups: groups(pick.groups),
            serial: 0,
        };
        if let Some(there) = self.model.objects.get(&state.key()) {
            state.uid.clone_from(&there.uid);
            let number = there.number().unwrap_or(10);
            state.version = match pick.version {
                0 => String::new(),
                1 => "odd".to_owned(),
                2 => (number - 1).max(1).to_string(),
                3 => there.version.clone(),
                _ => (number + u64::from(pick.version) - 3).to_string(),
            };
        }
        if pick.life == 0 {
            state.uid = format!("{}-{}", pick.name, self.now);
        }
        state
    }

    fn apply(&mut self, part: usize, work: Work<Thing>) -> Applied<Thing> {
        self.now += 1;
        self.writer.apply_to(part, work, ResourceVersion::new(&self.now.to_string()))
    }

    fn batch(&mut self, part: usize, picks: Vec<Pick>) {
        let (mut changes, mut expected) = (Vec::new(), Outcome::default());
        for pick in picks {
            let object = self.maker.make(self.state(pick, part));
            changes.push(match pick.what % 8 {
                0..5 => {
                    self.model.put(&object.state, &mut expected);
                    let bytes = object.state.bytes();
                    Change::Applied(object, bytes)
                }
                what => {
                    let finality = if what == 5 { Finality::Inferred } else { Finality::Observed };
                    self.model.remove(&object.state, finality, &mut expected);
                    Change::Deleted { last: object, finality }
                }
            });
        }
        let applied = self.apply(part, Work::Changes(changes));
        assert_eq!(outcome(&applied), expected);
    }

    fn list(&mut self, part: usize, picks: Vec<Pick>) {
        let (mut items, mut plain) = (Vec::new(), Vec::new());
        for pick in picks {
            let object = self.maker.make(self.state(pick, part));
            let cached = self.writer.store().get(&object.state.key());
            let (item, state) = match (pick.what % 4, cached) {
                (0, Some(cached)) => (Relisted::Unchanged(Arc::clone(&cached)), Item::Unchanged(cached.state.clone())),
                (1, _) => (Relisted::Unchanged(Arc::clone(&object)), Item::Unchanged(object.state.clone())),
                _ => (Relisted::New(Arc::clone(&object), object.state.bytes()), Item::New(object.state.clone())),
            };
            items.push(item);
            plain.push(state);
        }
        self.relist(part, items, plain);
    }

    /// What is cached once more, in order and unchanged; or without one, or with another twice in its place.
    fn again(&mut self, part: usize, how: u8) {
        let is_here = |state: &&State| !self.in_parts || state.namespace == format!("ns{part}");
        let mut states: Vec<State> = self.model.objects.values().filter(is_here).cloned().collect();
        let at = usize::from(how / 3) % states.len().max(1);
        match how % 3 {
            1 if !states.is_empty() => drop(states.remove(at)),
            2 if at > 0 => states[at] = states[at - 1].clone(),
            _ => {}
        }
        let cached = |state: &State| self.writer.store().get(&state.key()).expect("it is there");
        let items = states.iter().map(|state| Relisted::Unchanged(cached(state))).collect();
        self.relist(part, items, states.into_iter().map(Item::Unchanged).collect());
    }

    fn relist(&mut self, part: usize, items: Vec<Relisted<Thing>>, plain: Vec<Item>) {
        let mut expected = Outcome::default();
        let namespace = self.in_parts.then(|| format!("ns{part}"));
        self.model.replace(namespace.as_deref(), plain, self.lists[part] == 0, &mut expected);
        self.lists[part] += 1;
        let version = ResourceVersion::new(&(self.now + 1).to_string());
        let applied = self.apply(part, Work::Replace(Replacement { items, version }));
        assert_eq!(outcome(&applied), expected);
    }

    fn check(&mut self) {
        let (store, model) = (self.writer.store(), &self.model);
        if let Some((snapshot, all)) = self.seen.lock().last.take() {
            assert_eq!(serials(&snapshot.list()), all, "what an index function has taken stays");
        }
        let all = model.serials(|_| true);
        assert_eq!((serials(&store.list()), store.len()), (all.clone(), all.len()));
        assert_eq!(store.bytes(), model.bytes.values().map(|bytes| u64::from(*bytes)).sum::<u64>());
        let largest: BTreeMap<ObjectKey, u32> = store.largest(usize::MAX).into_iter().collect();
        assert_eq!(largest, model.bytes);
        assert_eq!(store.snapshot().reached(), &store.reached());
        let mut walked = Vec::new();
        store.for_each(|thing| walked.push(Arc::clone(thing)));
        assert_eq!(serials(&walked), all);
        drop(walked);
        for (key, state) in &model.objects {
            assert_eq!(store.get(key).map(|thing| thing.state.clone()).as_ref(), Some(state));
            let of_uid = self.looking.get(&state.uid);
            assert_eq!(serials(&of_uid), model.serials(|other| other.uid == state.uid));
        }
        for namespace in ["ns0", "ns1"] {
            let there = store.namespace(namespace);
            assert_eq!(serials(&there), model.serials(|state| state.namespace == namespace));
            assert_eq!(store.by_namespace().count(namespace), there.len());
        }
        for value in 0..3 {
            let found = serials(&self.fickle.get(&value));
            assert!(found.is_sorted_by(|a, b| a < b) && found.iter().all(|serial| all.contains(serial)));
        }
        for group in 0..40 {
            let expected = model.serials(|state| found_under(state).contains(&group));
            assert_eq!(serials(&self.by_group.get(&group)), expected, "group {group}");
            assert_eq!(self.by_group.count(&group), expected.len());
            if group % 8 == 3 {
                let (mut visited, is_late) = (Vec::new(), |state: &State| state.number() > Some(12));
                self.by_group.for_each(&group, |thing| visited.push(Arc::clone(thing)));
                assert_eq!(serials(&visited), expected);
                let both = self.by_version.query(13..).and(self.by_group.query(group));
                let expected = model.serials(|state| found_under(state).contains(&group) && is_late(state));
                assert_eq!(serials(&both.list()), expected);
            }
        }
        let mut values = self.by_group.values();
        values.sort_unstable();
        let mut expected: Vec<u16> = model.objects.values().flat_map(found_under).copied().collect();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(values, expected);
        let range = self.by_version.range(..);
        assert!(range.is_sorted_by_key(|thing| thing.state.number()));
        assert_eq!(serials(&range), model.serials(|state| state.number().is_some()));
        drop(range);
        match &self.kept {
            Some((snapshot, then)) => {
                assert_eq!((serials(&snapshot.list()), snapshot.len()), (then.serials(|_| true), then.objects.len()));
                for key in then.objects.keys().chain(model.objects.keys()) {
                    let expected = then.objects.get(key).map(|state| state.serial);
                    assert_eq!(snapshot.get(key).map(|thing| thing.state.serial), expected);
                }
            }
            None => {
                // Roots that were replaced while a snapshot was there are freed with the next batch.
                self.apply(0, Work::Changes(Vec::new()));
                assert_eq!(self.maker.alive(), all.len(), "nobody else has any");
            }
        }
    }

    fn end(mut self) {
        self.kept = None;
        self.check();
        self.maker.read_at_last(None);
        self.seen.lock().store = None;
        let maker = std::mem::take(&mut self.maker);
        drop(self);
        assert_eq!(maker.alive(), 0, "all are freed with the store");
    }
}

fn outcome(applied: &Applied<Thing>) -> Outcome {
    Outcome { events: applied.events.iter().map(told).collect(), stale: applied.stale }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Goal: whatever is in a batch or a list, twice or more and across the border of sixteen, without versions, of other uids, with
    /// index functions that panic, return some values twice or take snapshots, and objects that read the store as they are freed: the
    /// store is a plain map, tells what that would, and keeps nothing that it doesn't show. What an index function gets wrong is wrong in
    /// its index only.
    #[test]
    fn batches_and_lists_are_a_plain_map(steps in steps(), in_parts in any::<bool>(), at_last in any::<bool>()) {
        let mut world = World::new(in_parts);
        world.maker.read_at_last(at_last.then(|| world.writer.store()));
        for (number, step) in steps.into_iter().enumerate() {
            let part = if in_parts { number / 2 % 2 } else { 0 };
            match step {
                Step::Batch(picks) => world.batch(part, picks),
                Step::List(picks) => world.list(part, picks),
                Step::Keep if world.kept.is_some() => world.kept = None,
                Step::Again(how) => world.again(part, how),
                Step::Index => world.by_group = world.writer.add_index("group again", groups_of),
                Step::Keep => world.kept = Some((world.writer.store().snapshot(), world.model.clone())),
            }
            world.check();
        }
        world.end();
    }
}
