//! Goal: the store shows the present, every earlier version it still reaches, and what came after any version, exactly as a
//! plain list of all writes says. Method: random writes, history bounds and compactions against that list.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::kinds::{KINDS, kind};

#[derive(Clone, Debug)]
enum Step {
    Put(usize, String),
    Delete(usize, String),
    Compact(u64),
}

/// Everything that was ever written, in order: version, kind, key, and whether the object is there afterwards.
#[derive(Default)]
struct Model {
    writes: Vec<(u64, usize, String, bool)>,
    compacted: u64,
    history: usize,
}

impl Model {
    fn at(&self, kind: usize, prefix: &str, version: u64) -> Vec<(String, u64)> {
        let mut state = BTreeMap::new();
        for (at, of, key, there) in self.writes.iter().filter(|(at, of, ..)| *at <= version && *of == kind) {
            if *there {
                state.insert(key.clone(), *at)
            } else {
                state.remove(key)
            };
            let _ = of;
        }
        state.into_iter().filter(|(key, _)| key.starts_with(prefix)).collect()
    }

    fn after(&self, kind: usize, version: u64) -> Vec<(u64, String, bool)> {
        let of_kind = self.writes.iter().filter(|(at, of, ..)| *of == kind && *at > version);
        of_kind.map(|(at, _, key, there)| (*at, key.clone(), *there)).collect()
    }

    /// The newest write of the kind that has been forgotten.
    fn evicted(&self, kind: usize) -> u64 {
        let all: Vec<u64> = self.writes.iter().filter(|(_, of, ..)| *of == kind).map(|(at, ..)| *at).collect();
        let by_count = all.len().checked_sub(self.history + 1).map_or(0, |index| all[index]);
        let by_version = all.iter().rev().find(|at| **at <= self.compacted).copied().unwrap_or(0);
        by_count.max(by_version)
    }

    fn floor(&self, kind: usize) -> u64 {
        self.evicted(kind).max(self.compacted)
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = (0..3_u8, 0..4_u8).prop_map(|(namespace, name)| format!("ns{namespace}/name{name}"));
    prop_oneof![
        6 => (0..2_usize, key.clone()).prop_map(|(kind, key)| Step::Put(kind, key)),
        3 => (0..2_usize, key).prop_map(|(kind, key)| Step::Delete(kind, key)),
        1 => (0..60_u64).prop_map(Step::Compact),
    ]
}

#[expect(clippy::disallowed_methods, reason = "the test's own time")]
fn apply(store: &mut Store, model: &mut Model, step: &Step) {
    let now = Instant::now();
    match step {
        Step::Put(id, key) => {
            let version = store.next_version();
            let mut object = Map::new();
            object.insert("data".to_owned(), json!(version));
            let state = Stored::new(kind(KindId(*id)), key.as_str().into(), EventType::Added, version, &mut object);
            store.put(KindId(*id), Arc::new(state), now);
            model.writes.push((version, *id, key.clone(), true));
        }
        Step::Delete(id, key) => {
            let Some(old) = store.get(KindId(*id), key).cloned() else { return };
            let version = store.next_version();
            store.delete(KindId(*id), Arc::new(old.deleted(kind(KindId(*id)), version)), now);
            model.writes.push((version, *id, key.clone(), false));
        }
        Step::Compact(version) => {
            store.compact(*version);
            model.compacted = model.compacted.max((*version).min(store.version()));
        }
    }
}

fn shown<'a>(objects: impl Iterator<Item = &'a Arc<Stored>>) -> Vec<(String, u64)> {
    objects.map(|object| (object.key.to_string(), object.version)).collect()
}

fn check(store: &Store, model: &Model) {
    for id in 0..2 {
        let floor = model.floor(id);
        assert_eq!(store.floor(KindId(id)), floor);
        for prefix in ["", "ns1/"] {
            let span = Span { prefix, start: "" };
            assert_eq!(shown(store.range(KindId(id), span)), model.at(id, prefix, store.version()));
            for version in 0..=store.version() {
                let read = store.range_at(KindId(id), span, version).map(|objects| shown(objects.iter()));
                let expected =
                    if version < floor { Err(Compacted { oldest: floor }) } else { Ok(model.at(id, prefix, version)) };
                assert_eq!(read, expected, "kind {id} at {version}");
            }
        }
        // From the middle of a namespace on.
        let span = Span { prefix: "ns1/", start: "name1\0" };
        let expected =
            model.at(id, "ns1/", store.version()).into_iter().filter(|(key, _)| **key > *"ns1/name1").collect();
        let read = store.range_at(KindId(id), span, store.version()).map(|objects| shown(objects.iter()));
        assert_eq!(read, if store.version() < floor { Err(Compacted { oldest: floor }) } else { Ok(expected) });
        for position in 0..=store.version() + 1 {
            let there = |change: &Change| change.event != EventType::Deleted;
            let short = |change: &Arc<Change>| (change.version, change.key().to_string(), there(change));
            let changes = store.changes(KindId(id), (position, u64::MAX)).map(|changes| changes.map(short).collect());
            let all = model.after(id, position);
            assert_eq!(changes, (position >= model.evicted(id)).then_some(all), "kind {id} after {position}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_agrees_with_a_list_of_all_writes(
        history in 1..12_usize,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut store = Store::new(KINDS.len(), history);
        let mut model = Model { history, ..Model::default() };
        for (index, step) in steps.iter().enumerate() {
            apply(&mut store, &mut model, step);
            if index % 8 == 7 {
                check(&store, &model);
            }
        }
        check(&store, &model);
    }
}
