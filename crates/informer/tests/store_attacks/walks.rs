//! Walks whose visitors change what they walk over, or panic.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use proptest::prelude::*;
use watchkeeper_informer::delta_fifo::{Change, Relisted, Replacement, Work};
use watchkeeper_informer::{Finality, Index, ObjectKey, RangeIndex, ResourceVersion, Snapshot, StoreWriter};

use crate::cases;
use crate::thing::{Maker, State, Thing, found_under, groups, groups_of, serials};

/// What a visitor does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    Touch(u16),
    Remove(u16),
    /// Goes, another takes its place, it comes back elsewhere.
    Move(u16),
    /// Two go and come back, each in the place of the other.
    Swap(u16, u16),
    Grow(u16),
    /// Everything anew, but for one of three.
    Replace(u16),
    Panic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    All,
    Index,
    Query,
    Snapshot,
}

fn deeds() -> impl Strategy<Value = Vec<(u8, Deed)>> {
    let name = 0u16..500;
    let deed = prop_oneof![
        6 => name.clone().prop_map(Deed::Touch),
        3 => name.clone().prop_map(Deed::Remove),
        4 => name.clone().prop_map(Deed::Move),
        4 => (name.clone(), name.clone()).prop_map(|(one, other)| Deed::Swap(one, other)),
        1 => (0u16..400).prop_map(Deed::Grow),
        1 => name.prop_map(Deed::Replace),
        1 => Just(Deed::Panic),
    ];
    proptest::collection::vec((0u8..40, deed), 0..20)
}

/// A store and everything that was ever in it.
pub(crate) struct World {
    pub maker: Maker,
    pub writer: StoreWriter<Thing>,
    pub by_group: Index<Thing, u16>,
    pub by_version: RangeIndex<Thing, u64>,
    present: BTreeMap<ObjectKey, State>,
    /// Each state, from when and until when it was there; in order of their beginnings.
    past: Vec<(State, u64, u64)>,
    now: u64,
    /// The next newcomer.
    next: u16,
}

/// Of a group that many are in.
pub(crate) const GROUP: u16 = 3;

/// Names from here on are of those who take a place.
const STRANGERS: u16 = 50_000;

impl World {
    pub(crate) fn new(objects: u16) -> Self {
        let mut writer = StoreWriter::default();
        let by_group = writer.add_index("group", groups_of);
        let by_version = writer.add_range_index("version", |thing: &Thing| thing.state.number());
        let (maker, present, past) = (Maker::default(), BTreeMap::new(), Vec::new());
        let mut world = Self { maker, writer, by_group, by_version, present, past, now: 0, next: 0 };
        world.grow(objects);
        world
    }

    fn put(&mut self, name: u16) -> Change<Thing> {
        let state = self.state(name);
        let object = self.maker.make(state);
        self.began(&object);
        Change::applied(object)
    }

    fn state(&self, name: u16) -> State {
        let (namespace, name_of) = (format!("ns{}", name % 2), format!("n{name}"));
        let (uid, version) = (format!("u{}", name % 5), (self.now + 1).to_string());
        let groups = groups((u64::from(name) + self.now / 3).to_le_bytes()[0]);
        State { namespace, name: name_of, uid, version, groups, serial: 0 }
    }

    fn began(&mut self, object: &Thing) {
        self.ended(&object.state.key());
        self.past.push((object.state.clone(), self.now, u64::MAX));
        self.present.insert(object.state.key(), object.state.clone());
    }

    fn ended(&mut self, key: &ObjectKey) {
        if let Some(old) = self.present.remove(key) {
            let entry = self.past.iter_mut().rev().find(|(state, ..)| state.serial == old.serial);
            entry.expect("it was there").2 = self.now;
        }
    }

    fn remove(&mut self, name: u16) -> Change<Thing> {
        let last = self.maker.make(self.state(name));
        self.ended(&last.state.key());
        Change::Deleted { last, finality: Finality::Observed }
    }

    fn apply(&mut self, work: Work<Thing>) {
        self.writer.apply(work, ResourceVersion::new(&self.now.to_string()));
    }

    fn grow(&mut self, by: u16) {
        let changes = (self.next..self.next + by).map(|name| self.put(name)).collect();
        self.next += by;
        self.apply(Work::Changes(changes));
    }

    pub(crate) fn deed(&mut self, deed: Deed) {
        self.now += 1;
        let changes = match deed {
            Deed::Touch(name) => vec![self.put(name)],
            Deed::Remove(name) => vec![self.remove(name)],
            Deed::Move(name) => {
                let other = STRANGERS + (self.now % 1_000) as u16;
                vec![self.remove(name), self.put(other), self.put(name)]
            }
            Deed::Swap(one, other) if one != other => {
                vec![self.remove(one), self.remove(other), self.put(one), self.put(other)]
            }
            Deed::Swap(..) => vec![],
            Deed::Grow(by) => return self.grow(by),
            Deed::Replace(without) => {
                let (mut items, keys) = (Vec::new(), self.present.keys().cloned().collect::<Vec<_>>());
                for (number, key) in (without..).zip(keys) {
                    match number % 3 {
                        0 => self.ended(&key),
                        1 => items.push(Relisted::Unchanged(self.writer.store().get(&key).expect("it is there"))),
                        _ => {
                            let state = State { version: (self.now + 1).to_string(), ..self.present[&key].clone() };
                            let object = self.maker.make(state);
                            self.began(&object);
                            items.push(Relisted::new(object));
                        }
                    }
                }
                return self.apply(Work::Replace(Replacement { items, version: ResourceVersion::new("1") }));
            }
            Deed::Panic => resume_unwind(Box::new("planted")),
        };
        self.apply(Work::Changes(changes));
    }

    /// What a walk in this way shows, and when; at each visit that is due, a deed is done. `None`: a visitor has panicked.
    fn walk(&mut self, way: Way, deeds: &[(u8, Deed)], kept: &Snapshot<Thing>) -> Option<Vec<(State, u64)>> {
        let (mut shown, mut deeds) = (Vec::new(), deeds.iter());
        let mut due = deeds.next();
        let mut wait = due.map_or(0, |(wait, _)| *wait);
        let (store, by_group) = (self.writer.store(), self.by_group.clone());
        let query = self.by_version.query(1..).and(self.by_group.query(GROUP));
        let visit = |thing: &Arc<Thing>| {
            shown.push((thing.state.clone(), self.now));
            while let Some((_, deed)) = due.filter(|_| wait == 0) {
                self.deed(*deed);
                due = deeds.next();
                wait = due.map_or(0, |(wait, _)| *wait);
            }
            wait = wait.saturating_sub(1);
        };
        let walked = catch_unwind(AssertUnwindSafe(|| match way {
            Way::All => store.for_each(visit),
            Way::Index => by_group.for_each(&GROUP, visit),
            Way::Query => query.for_each(visit),
            Way::Snapshot => kept.for_each(visit),
        }));
        walked.is_ok().then_some(shown)
    }

    pub(crate) fn check(&mut self) {
        let expected = |wanted: &dyn Fn(&State) -> bool| {
            let mut serials: Vec<u64> =
                self.present.values().filter(|state| wanted(state)).map(|state| state.serial).collect();
            serials.sort_unstable();
            serials
        };
        assert_eq!(serials(&self.writer.store().list()), expected(&|_| true));
        let (by_group, by_version) = (self.by_group.get(&GROUP), self.by_version.range(..));
        assert_eq!(serials(&by_group), expected(&|state| found_under(state).contains(&GROUP)));
        assert_eq!(serials(&by_version), expected(&|_| true));
        drop((by_group, by_version));
        self.apply(Work::Changes(Vec::new()));
        assert_eq!(self.maker.alive(), self.present.len(), "nobody else has any");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Goal: a walk shows only what was there since it began (and has the value that was asked for), of each key the older state first,
    /// and once each key that was there all the while; a snapshot shows its moment. Whatever visitors do, also if they panic,
    /// the store is whole afterwards and keeps nothing of the walk.
    #[test]
    fn visitors_may_change_everything(
        objects in prop_oneof![0u16..40, 100u16..500],
        first in deeds(),
        way in prop_oneof![Just(Way::All), Just(Way::Index), Just(Way::Query), Just(Way::Snapshot)],
        then in deeds(),
    ) {
        let mut world = World::new(objects);
        first.iter().filter(|(_, deed)| !matches!(deed, Deed::Panic)).for_each(|(_, deed)| world.deed(*deed));
        let (kept, was, began) = (world.writer.store().snapshot(), world.present.clone(), world.now);
        let is_wanted = |state: &State| matches!(way, Way::All | Way::Snapshot) || found_under(state).contains(&GROUP);
        if let Some(shown) = world.walk(way, &then, &kept) {
            if way == Way::Snapshot {
                let all: BTreeMap<ObjectKey, State> = shown.iter().map(|(state, _)| (state.key(), state.clone())).collect();
                prop_assert_eq!((all.len(), &all), (shown.len(), &was));
            }
            let mut newest: BTreeMap<ObjectKey, (u64, u32)> = BTreeMap::new();
            for (state, at) in &shown {
                prop_assert!(is_wanted(state), "{:?}", state);
                let (_, from, until) = world.past.iter().find(|(past, ..)| past == state).expect("it was made");
                prop_assert!(from <= at && *until >= began, "{:?} was there from {} until {}", state, from, until);
                let before = newest.entry(state.key()).or_insert((state.serial, 0));
                prop_assert!(before.1 == 0 || before.0 < state.serial, "older, or the same again: {:?}", state);
                *before = (state.serial, before.1 + 1);
            }
            let mut since: BTreeMap<ObjectKey, u64> = BTreeMap::new();
            // Until when each was there without a gap, of those that were when the walk began.
            for (state, from, until) in world.past.iter().filter(|(state, _, until)| is_wanted(state) && *until > began) {
                let is_first = *from <= began;
                match since.get_mut(&state.key()) {
                    Some(end) if *end == *from => *end = *until,
                    Some(_) => {}
                    None if is_first => drop(since.insert(state.key(), *until)),
                    None => {}
                }
            }
            for (key, end) in since {
                if end == u64::MAX {
                    let times = newest.get(&key).map_or(0, |(_, times)| *times);
                    prop_assert!(times >= 1 || was_moved(&key, &then), "{:?} was missed", key);
                    prop_assert!(times <= 1 || was_moved(&key, &then), "{:?} was shown {} times", key, times);
                }
            }
        }
        let expected = |key: &ObjectKey| was.get(key).map(|state| state.serial);
        for key in was.keys().chain(world.present.keys()) {
            prop_assert_eq!(kept.get(key).map(|thing| thing.state.serial), expected(key));
        }
        prop_assert_eq!(kept.list().len(), was.len());
        drop(kept);
        world.check();
    }
}

fn was_moved(key: &ObjectKey, deeds: &[(u8, Deed)]) -> bool {
    deeds.iter().any(|(_, deed)| {
        let is_it = |name: u16| *key == ObjectKey::new(&format!("ns{}", name % 2), &format!("n{name}"));
        match deed {
            Deed::Move(name) | Deed::Remove(name) => is_it(*name),
            Deed::Swap(one, other) => is_it(*one) || is_it(*other),
            _ => false,
        }
    })
}

/// Goal: who stands still in the middle of a walk keeps 128 objects and no more, however long the writer goes on; with the walk
/// they are gone, and so is the root it went through.
#[test]
fn a_walk_that_stands_still_keeps_little() {
    let mut world = World::new(1_000);
    let store = world.writer.store();
    let (mut visits, mut most) = (0, 0);
    store.for_each(|_| {
        visits += 1;
        if visits == 300 {
            for round in 0..5 {
                (0..1_000).for_each(|name| world.deed(Deed::Touch(name)));
                most = most.max(world.maker.alive() - 1_000);
                world.deed(Deed::Grow(round));
            }
        }
    });
    assert_eq!(visits, 1_000);
    assert!((1..=128 + 10).contains(&most), "{most}");
    world.check();
    let mut visits = 0;
    store.for_each(|_| {
        visits += 1;
        if visits == 1 {
            (0..3).for_each(|number| world.deed(Deed::Replace(number)));
        }
    });
    world.check();
}
