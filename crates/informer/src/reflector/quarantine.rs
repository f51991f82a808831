//! The quarantine: which objects can't be decoded, until they can.
//!
//! In: what couldn't be decoded, what could, and where lists begin and end. Out: the objects that can't be at the moment, by
//! key; in the log a few lines, however many there are, since a bad definition of a kind breaks thousands at once. Bounded: beyond
//! [`QUARANTINE_LIMIT`] keys (and, while a list is read, as many of before it) an object is still counted, and logged at debug, but
//! not listed. It holds no values of content.

use std::collections::BTreeMap;

use super::Run;
use crate::decode::{Identity, Undecodable};
use crate::explain::What;
use crate::key::ObjectKey;
use crate::object::Cached;

/// Objects that are listed at most.
pub const QUARANTINE_LIMIT: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Quarantine {
    /// Those that don't say who they are share a place: the newest of them is kept.
    held: BTreeMap<Option<ObjectKey>, Held>,
    /// How many of them were seen since the list that began last.
    seen: usize,
    /// The number of the list that began last, and of the last that ended.
    list: u64,
    complete: u64,
    /// During or after which list one was seen last for which there was no place.
    left_out: Option<u64>,
    /// Of how many the log was told last.
    told: usize,
}

#[derive(Debug)]
struct Held {
    what: Undecodable,
    /// The list during which it was last seen, or after which.
    list: u64,
}

impl Quarantine {
    /// `true`: it is the first, or there are twice as many as the log was told of last.
    pub(super) fn note(&mut self, what: Undecodable) -> bool {
        let was_seen = self.held.get(&what.key).is_some_and(|held| held.list == self.list);
        if was_seen || !self.is_full() {
            self.seen += usize::from(!was_seen);
            self.held.insert(what.key.clone(), Held { what, list: self.list });
        } else {
            self.left_out = Some(self.list);
        }
        let is_news = self.held.len() >= 2 * self.told;
        if is_news {
            self.told = self.held.len();
        }
        is_news
    }

    /// It has been decoded, or is gone. `true`: it was held.
    pub(super) fn release(&mut self, key: impl FnOnce() -> ObjectKey) -> bool {
        // Nearly always there is nothing to look up.
        if self.held.is_empty() {
            return false;
        }
        let Some(held) = self.held.remove(&Some(key())) else { return false };
        self.seen -= usize::from(held.list == self.list);
        // Where most have left, more are news again; where one comes and goes, they aren't.
        if self.held.len() <= self.told / 4 {
            self.told = self.held.len();
        }
        true
    }

    /// Whether it is this very state of the object that couldn't be decoded.
    pub(super) fn holds(&self, identity: &Identity<'_>) -> bool {
        let is_it = |held: &Held| {
            let version = held.what.version.as_ref().map_or("", |version| version.as_str());
            held.what.uid == *identity.uid && version == identity.version
        };
        !self.held.is_empty() && self.held.get(&Some(identity.key())).is_some_and(is_it)
    }

    /// Beyond this, not all are listed.
    fn is_full(&self) -> bool {
        self.seen >= QUARANTINE_LIMIT
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there may be more than are held.
    pub(super) fn leaves_out(&self) -> bool {
        self.left_out.is_some_and(|list| list >= self.complete)
    }

    pub(super) fn list_begins(&mut self) {
        self.list += 1;
        self.seen = 0;
    }

    /// What the list that began last hasn't shown is gone, or wasn't in the scope any more. Returns how many, and whether the log wasn't
    /// told of all that stay.
    pub(super) fn list_ends(&mut self) -> (usize, bool) {
        let before = self.held.len();
        let list = self.list;
        self.held.retain(|_, held| held.list == list);
        self.complete = list;
        let all = self.held.len() + usize::from(self.leaves_out());
        let told = std::mem::replace(&mut self.told, all);
        (before - self.held.len(), all > told)
    }

    pub(super) fn all(&self) -> Vec<Undecodable> {
        self.held.values().map(|held| held.what.clone()).collect()
    }
}

impl<K: Cached> Run<K> {
    pub(super) fn note_undecodable(&self, undecodable: Undecodable) {
        let Undecodable { key, uid, version, fault } = undecodable.clone();
        if let Some(key) = &key {
            let version = version.as_ref().map_or("", |version| version.as_str());
            self.given.sight.explain.note(key.parts(), &uid, version, || What::Undecodable(fault.clone()));
        }
        self.given.shared.status.lock().counts.undecodable += 1;
        let (is_news, quarantined) = {
            let mut quarantine = self.given.shared.quarantine.lock();
            (quarantine.note(undecodable), quarantine.len())
        };
        let reflector = &self.given.config.name;
        let (key, version) = (key.map(tracing::field::display), version.map(tracing::field::display));
        if is_news {
            tracing::warn!(reflector, key, version, %fault, quarantined, "an object can't be decoded; the others go on");
        } else {
            tracing::debug!(reflector, key, version, %fault, quarantined, "another object can't be decoded, or the same again");
        }
    }

    /// It could be decoded, or is gone: if it was in quarantine, it isn't any more.
    pub(super) fn release(&self, identity: &Identity<'_>) {
        let healed = self.given.shared.quarantine.lock().release(|| identity.key());
        if healed {
            tracing::debug!(reflector = self.given.config.name, key = %identity.key(), "decoded again, or gone");
            self.given.shared.status.lock().counts.healed += 1;
            self.note_healed();
        }
    }

    /// A list is complete. Returns how many have left the quarantine by that.
    pub(super) fn end_quarantine(&self) -> usize {
        let (gone, is_news, quarantined, and_more) = {
            let mut quarantine = self.given.shared.quarantine.lock();
            let (gone, is_news) = quarantine.list_ends();
            (gone, is_news, quarantine.len(), quarantine.leaves_out())
        };
        if is_news {
            let reflector = &self.given.config.name;
            tracing::warn!(reflector, quarantined, and_more, "listed; so many objects can't be decoded");
        }
        if gone > 0 {
            self.note_healed();
        }
        gone
    }

    fn note_healed(&self) {
        let quarantine = self.given.shared.quarantine.lock();
        let all_are_well = quarantine.len() == 0 && !quarantine.leaves_out();
        drop(quarantine);
        if all_are_well {
            let reflector = &self.given.config.name;
            tracing::info!(reflector, "all objects that couldn't be decoded can be, or are gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeFault, identity};

    fn broken(name: &str) -> Undecodable {
        let item = format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"5"}}}}"#);
        Undecodable::known(
            &identity(item.as_bytes()).unwrap(),
            DecodeFault::Shape("data: a string, expected a map".into()),
        )
    }

    /// Goal: held until decoded, or until a whole list doesn't show it; a list that breaks off ends nothing.
    #[test]
    fn what_can_be_decoded_or_is_gone_leaves() {
        let mut quarantine = Quarantine::default();
        for one in [broken("a"), broken("b"), Undecodable::nameless()] {
            quarantine.note(one);
        }
        assert_eq!(quarantine.all().len(), 3);
        assert!(quarantine.release(|| ObjectKey::new("", "a")) && !quarantine.release(|| ObjectKey::new("", "a")));
        quarantine.list_begins();
        quarantine.list_begins();
        quarantine.note(broken("c"));
        assert_eq!((quarantine.list_ends().0, quarantine.all()), (2, vec![broken("c")]));
    }

    /// Goal: the log is told of the first, when there are twice as many, and of the rest when a list ends; after the last has left,
    /// again of the first.
    #[test]
    fn the_log_is_told_once() {
        let mut quarantine = Quarantine::default();
        let note = |quarantine: &mut Quarantine, number: usize| quarantine.note(broken(&format!("n{number}")));
        quarantine.list_begins();
        let told: Vec<usize> = (1..=11).filter(|number| note(&mut quarantine, *number)).collect();
        assert_eq!(told, [1, 2, 4, 8]);
        assert_eq!(quarantine.list_ends(), (0, true));
        assert!(!(1..=11).any(|number| note(&mut quarantine, number)), "the same at each change");
        quarantine.list_begins();
        assert!(!note(&mut quarantine, 1));
        assert_eq!(quarantine.list_ends(), (10, false));
        assert!(quarantine.release(|| ObjectKey::new("", "n1")) && note(&mut quarantine, 5));
    }

    /// Goal: after most have left, more are news again; one that comes and goes isn't.
    #[test]
    fn the_log_is_told_again() {
        let mut quarantine = Quarantine::default();
        let named = |number: usize| ObjectKey::new("", &format!("n{number}"));
        (0..16).for_each(|number| _ = quarantine.note(broken(&format!("n{number}"))));
        assert!(quarantine.release(|| named(0)) && !quarantine.note(broken("n0")));
        (1..16).for_each(|number| assert!(quarantine.release(|| named(number))));
        let told: Vec<usize> = (20..27).filter(|number| quarantine.note(broken(&format!("n{number}")))).collect();
        assert_eq!(told, [20, 22, 26], "beside the one that stayed");
    }

    /// Goal: what there was no place for isn't forgotten: nobody says that all are well, until a list has shown it.
    #[test]
    fn more_than_are_held_are_not_forgotten() {
        let mut quarantine = Quarantine::default();
        let note = |quarantine: &mut Quarantine, from: usize, to: usize| {
            (from..to).for_each(|number| _ = quarantine.note(broken(&format!("n{number}"))));
        };
        quarantine.list_begins();
        note(&mut quarantine, 0, QUARANTINE_LIMIT + 1);
        assert!(quarantine.is_full() && quarantine.leaves_out());
        assert_eq!(quarantine.list_ends(), (0, true), "and one more");
        (0..QUARANTINE_LIMIT).for_each(|number| _ = quarantine.release(|| ObjectKey::new("", &format!("n{number}"))));
        assert!(quarantine.len() == 0 && quarantine.leaves_out());
        // A whole list of others, while those of before are still held.
        note(&mut quarantine, 0, QUARANTINE_LIMIT);
        quarantine.list_begins();
        note(&mut quarantine, 2 * QUARANTINE_LIMIT, 3 * QUARANTINE_LIMIT);
        assert_eq!((quarantine.list_ends().0, quarantine.len()), (QUARANTINE_LIMIT, QUARANTINE_LIMIT));
        assert!(!quarantine.leaves_out());
    }

    /// Goal: any number of broken objects takes a bounded place.
    #[test]
    fn it_is_bounded() {
        let mut quarantine = Quarantine::default();
        (0..2 * QUARANTINE_LIMIT).for_each(|number| _ = quarantine.note(broken(&format!("n{number}"))));
        quarantine.note(broken("n0"));
        assert_eq!(quarantine.all().len(), QUARANTINE_LIMIT);
    }
}
