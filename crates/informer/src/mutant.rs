//! Planted faults: each breaks the store in one way, to prove that the checks would see it. In a normal build every
//! question here is a constant no.
//!
//! A fault is planted in a whole process, by its name in `WATCHKEEPER_MUTANT`.

/// A fault that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(watchkeeper_mutants), expect(unreachable_pub, reason = "the checks see it under that cfg"))]
pub enum Mutant {
    /// What enters a value or leaves it isn't announced.
    SilentMove,
    /// An object enters its new values after it was swapped.
    LateEntry,
    /// A key that was seen in two slots stays in the list twice.
    SeenTwice,
    /// A snapshot taken in the middle of a batch doesn't wait for its end.
    HalfABatch,
    /// What is overwritten isn't set aside for snapshots.
    NothingAside,
    /// It is set aside after it was overwritten.
    LateAside,
    /// A replacement is filled after it was published.
    EmptyRoot,
}

#[cfg(watchkeeper_mutants)]
mod planted {
    use std::sync::OnceLock;

    use super::Mutant;

    /// Names the fault of this process.
    pub const VARIABLE: &str = "WATCHKEEPER_MUTANT";

    impl Mutant {
        /// All of them.
        pub const ALL: [Self; 7] = [
            Self::SilentMove,
            Self::LateEntry,
            Self::SeenTwice,
            Self::HalfABatch,
            Self::NothingAside,
            Self::LateAside,
            Self::EmptyRoot,
        ];
    }

    pub(crate) fn is_planted(mutant: Mutant) -> bool {
        static PLANTED: OnceLock<Option<String>> = OnceLock::new();
        let planted = PLANTED.get_or_init(|| std::env::var(VARIABLE).ok());
        planted.as_ref().is_some_and(|name| *name == format!("{mutant:?}"))
    }
}

#[cfg(watchkeeper_mutants)]
pub use planted::VARIABLE;
#[cfg(watchkeeper_mutants)]
pub(crate) use planted::is_planted;

#[cfg(not(watchkeeper_mutants))]
pub(crate) const fn is_planted(_: Mutant) -> bool {
    false
}
