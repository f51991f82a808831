//! The quarantine: which objects can't be decoded, until they can.
//!
//! In: what couldn't be decoded, what could, and where lists begin and end. Out: the objects that can't be at the moment, by
//! key. Bounded: beyond [`QUARANTINE_LIMIT`] keys an object is still counted and logged, but not listed. It holds no content.

use std::collections::BTreeMap;

use crate::decode::{Identity, Undecodable};
use crate::key::ObjectKey;

/// Objects that are listed at most.
pub const QUARANTINE_LIMIT: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Quarantine {
    /// Those that don't say who they are share a place: the newest of them is kept.
    held: BTreeMap<Option<ObjectKey>, Held>,
    list: u64,
}

#[derive(Debug)]
struct Held {
    what: Undecodable,
    /// The list during which it was last seen, or after which.
    list: u64,
}

impl Quarantine {
    pub(super) fn note(&mut self, what: Undecodable) {
        let key = what.key.clone();
        if self.held.len() < QUARANTINE_LIMIT || self.held.contains_key(&key) {
            self.held.insert(key, Held { what, list: self.list });
        }
    }

    /// It has been decoded, or is gone. `true`: it was held.
    pub(super) fn release(&mut self, key: impl FnOnce() -> ObjectKey) -> bool {
        // Nearly always there is nothing to look up.
        !self.held.is_empty() && self.held.remove(&Some(key())).is_some()
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

    /// What the list that began last hasn't shown is gone, or wasn't in the scope any more. Returns how many.
    pub(super) fn list_ends(&mut self) -> usize {
        let before = self.held.len();
        let list = self.list;
        self.held.retain(|_, held| held.list == list);
        before - self.held.len()
    }

    pub(super) fn all(&self) -> Vec<Undecodable> {
        self.held.values().map(|held| held.what.clone()).collect()
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
        quarantine.note(broken("a"));
        quarantine.note(broken("b"));
        quarantine.note(Undecodable::nameless());
        assert_eq!(quarantine.all().len(), 3);
        assert!(quarantine.release(|| ObjectKey::new("", "a")) && !quarantine.release(|| ObjectKey::new("", "a")));
        quarantine.list_begins();
        quarantine.list_begins();
        quarantine.note(broken("c"));
        assert_eq!((quarantine.list_ends(), quarantine.all()), (2, vec![broken("c")]));
    }

    /// Goal: any number of broken objects takes a bounded place.
    #[test]
    fn it_is_bounded() {
        let mut quarantine = Quarantine::default();
        (0..2 * QUARANTINE_LIMIT).for_each(|number| quarantine.note(broken(&format!("n{number}"))));
        quarantine.note(broken("n0"));
        assert_eq!(quarantine.all().len(), QUARANTINE_LIMIT);
    }
}
