//! The quarantine: which objects can't be decoded, until they can.
//!
//! In: what couldn't be decoded, what could, and where lists begin and end. Out: the objects that can't be at the moment, by
//! key; in the log a few lines, however many there are, since a bad definition of a kind breaks thousands at once. Bounded: beyond
//! [`QUARANTINE_LIMIT`] keys an object is still counted and logged, but not listed. It holds no values of content.

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
    list: u64,
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
        let key = what.key.clone();
        if self.held.len() < QUARANTINE_LIMIT || self.held.contains_key(&key) {
            self.held.insert(key, Held { what, list: self.list });
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
        let was_held = self.held.remove(&Some(key())).is_some();
        if self.held.is_empty() {
            self.told = 0;
        }
        was_held
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
    pub(super) fn is_full(&self) -> bool {
        self.len() >= QUARANTINE_LIMIT
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn list_begins(&mut self) {
        self.list += 1;
    }

    /// What the list that began last hasn't shown is gone, or wasn't in the scope any more. Returns how many, and whether the log wasn't
    /// told of all that stay.
    pub(super) fn list_ends(&mut self) -> (usize, bool) {
        let before = self.held.len();
        let list = self.list;
        self.held.retain(|_, held| held.list == list);
        let told = std::mem::replace(&mut self.told, self.held.len());
        (before - self.held.len(), self.held.len() > told)
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
        let (healed, left) = {
            let mut quarantine = self.given.shared.quarantine.lock();
            (quarantine.release(|| identity.key()), quarantine.len())
        };
        if healed {
            tracing::debug!(reflector = self.given.config.name, key = %identity.key(), left, "decoded again, or gone");
            self.given.shared.status.lock().counts.healed += 1;
            self.note_healed(left);
        }
    }

    /// A list is complete. Returns how many have left the quarantine by that.
    pub(super) fn end_quarantine(&self) -> usize {
        let (gone, is_news, quarantined) = {
            let mut quarantine = self.given.shared.quarantine.lock();
            let (gone, is_news) = quarantine.list_ends();
            (gone, is_news, quarantine.len())
        };
        if is_news {
            tracing::warn!(reflector = self.given.config.name, quarantined, "listed; so many objects can't be decoded");
        }
        if gone > 0 {
            self.note_healed(quarantined);
        }
        gone
    }

    fn note_healed(&self, left: usize) {
        if left == 0 {
            tracing::info!(
                reflector = self.given.config.name,
                "all objects that couldn't be decoded can be, or are gone"
            );
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

    /// Goal: any number of broken objects takes a bounded place.
    #[test]
    fn it_is_bounded() {
        let mut quarantine = Quarantine::default();
        (0..2 * QUARANTINE_LIMIT).for_each(|number| _ = quarantine.note(broken(&format!("n{number}"))));
        quarantine.note(broken("n0"));
        assert_eq!(quarantine.all().len(), QUARANTINE_LIMIT);
    }
}
