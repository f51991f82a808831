//! Fingerprint: 96 bits that stand for a key.
//!
//! In: namespace and name. Out: a number by which keys are found and told apart, without the text of any other. Its seeds are
//! drawn at random for each store, so names can't be chosen in advance to share one; that any two of a million do by chance, and
//! one hides the other, has a probability of 10^-17.

use ahash::RandomState;

/// Of one key, in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint {
    /// By this it is found.
    pub(super) hash: u64,
    pub(super) rest: u32,
}

impl Fingerprint {
    /// Of no key.
    pub(super) const NONE: Self = Self { hash: 0, rest: 0 };
}

/// What makes them.
#[derive(Clone)]
pub(super) struct Fingerprints([RandomState; 2]);

impl Fingerprints {
    pub(super) fn new() -> Self {
        Self([seeded(), seeded()])
    }

    pub(super) fn of(&self, namespace: &str, name: &str) -> Fingerprint {
        let [hash, rest] = [0, 1].map(|which: usize| self.0[which].hash_one((namespace, name)));
        Fingerprint { hash, rest: (rest >> 32) as u32 }
    }
}

/// Of a table of its own: names can't be chosen in advance to share a place in it.
pub(crate) fn seeded() -> RandomState {
    // A model checker repeats what it has seen.
    if cfg!(watchkeeper_shuttle) { RandomState::with_seed(1) } else { RandomState::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the two halves are of different seeds, and where a namespace ends matters.
    #[test]
    fn keys_differ() {
        let fingerprints = Fingerprints::new();
        let of = fingerprints.of("a", "bc");
        assert_ne!((of.hash >> 32) as u32, of.rest);
        assert_ne!(of, fingerprints.of("ab", "c"));
        assert_eq!(of, fingerprints.of("a", "bc"));
    }
}
