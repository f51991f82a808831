//! Model: the store as one would explain it.

use std::collections::BTreeMap;

use watchkeeper_informer::{Event, Finality, ObjectKey};

use crate::thing::{State, Thing};

#[derive(Default, Clone)]
pub(crate) struct Model {
    pub objects: BTreeMap<ObjectKey, State>,
    /// How large each is said to be.
    pub bytes: BTreeMap<ObjectKey, u32>,
}

/// What a change or a list amounts to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub events: Vec<String>,
    pub stale: usize,
}

/// An item of a list.
pub(crate) enum Item {
    New(State),
    Unchanged(State),
}

impl Model {
    pub(crate) fn put(&mut self, new: &State, outcome: &mut Outcome) {
        match self.objects.get(&new.key()) {
            Some(old) if is_older(new, old) => return outcome.stale += 1,
            Some(old) if is_same(old, new) => return,
            old => tell(old, new, false, outcome),
        }
        self.objects.insert(new.key(), new.clone());
        self.bytes.insert(new.key(), new.bytes());
    }

    pub(crate) fn remove(&mut self, last: &State, finality: Finality, outcome: &mut Outcome) {
        let Some(old) = self.objects.get(&last.key()) else { return };
        if is_older(last, old) {
            return outcome.stale += 1;
        }
        outcome.events.push(match old.uid == last.uid {
            true => format!("D {} {finality:?}", last.serial),
            false => format!("D {} Inferred", old.serial),
        });
        self.objects.remove(&last.key());
        self.bytes.remove(&last.key());
    }

    /// A list of one namespace, or of everything.
    pub(crate) fn replace(&mut self, namespace: Option<&str>, items: Vec<Item>, initial: bool, outcome: &mut Outcome) {
        let mut listed: Vec<(State, u32)> = Vec::new();
        for item in items {
            let item = match item {
                Item::New(new) => {
                    let bytes = new.bytes();
                    (self.objects.get(&new.key()).filter(|old| is_same(old, &new)).cloned().unwrap_or(new), bytes)
                }
                Item::Unchanged(same) => {
                    let stays = |old: &&State| old.uid == same.uid && !is_older(old, &same);
                    match self.objects.get(&same.key()).filter(stays) {
                        Some(old) => (old.clone(), self.bytes[&old.key()]),
                        None => (same, 0),
                    }
                }
            };
            match listed.iter_mut().find(|(earlier, _)| earlier.key() == item.0.key()) {
                Some((earlier, _)) if is_older(&item.0, earlier) => outcome.stale += 1,
                Some(earlier) => *earlier = item,
                None => listed.push(item),
            }
        }
        let is_replaced = |state: &State| namespace.is_none_or(|namespace| namespace == state.namespace);
        for (key, old) in &self.objects {
            if is_replaced(old) && !listed.iter().any(|(item, _)| item.key() == *key) {
                outcome.events.push(format!("D {} Inferred", old.serial));
            }
        }
        for (new, _) in &listed {
            match self.objects.get(&new.key()) {
                Some(old) if old.serial == new.serial => {}
                old => tell(old, new, initial, outcome),
            }
        }
        self.objects.retain(|_, old| !is_replaced(old));
        self.bytes.extend(listed.iter().map(|(item, bytes)| (item.key(), *bytes)));
        self.objects.extend(listed.into_iter().map(|(item, _)| (item.key(), item)));
        self.bytes.retain(|key, _| self.objects.contains_key(key));
    }

    /// The numbers of those that are wanted, in order.
    pub(crate) fn serials(&self, wanted: impl Fn(&State) -> bool) -> Vec<u64> {
        let mut serials: Vec<u64> =
            self.objects.values().filter(|state| wanted(state)).map(|state| state.serial).collect();
        serials.sort_unstable();
        serials
    }
}

fn tell(old: Option<&State>, new: &State, initial: bool, outcome: &mut Outcome) {
    match old {
        Some(old) if old.uid == new.uid => outcome.events.push(format!("U {} {}", old.serial, new.serial)),
        old => {
            outcome.events.extend(old.map(|old| format!("D {} Inferred", old.serial)));
            outcome.events.push(format!("A {} {initial}", new.serial));
        }
    }
}

pub(crate) fn told(event: &Event<Thing>) -> String {
    match event {
        Event::Added { object, initial } => format!("A {} {initial}", object.state.serial),
        Event::Updated { old, new } => format!("U {} {}", old.state.serial, new.state.serial),
        Event::Deleted { last, finality } => format!("D {} {finality:?}", last.state.serial),
        Event::Resync { .. } => unreachable!("nobody asked for it"),
    }
}

/// Where versions are numbers.
fn is_older(a: &State, b: &State) -> bool {
    a.number().zip(b.number()).is_some_and(|(a, b)| a < b)
}

fn is_same(a: &State, b: &State) -> bool {
    a.uid == b.uid && a.version == b.version && !a.version.is_empty()
}
