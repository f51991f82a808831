//! Planted faults: each breaks the gate in one way, to prove that the models would see it. In a normal build every question here is a
//! constant no.
//!
//! A fault is planted in a whole process, by its name in `WATCHKEEPER_MUTANT`. (The rules of the election are broken by `rules.rs`.)

/// A fault that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(watchkeeper_mutants), expect(unreachable_pub, reason = "the models see it under that cfg"))]
pub enum Mutant {
    /// The token is cancelled before the gate has closed.
    CancelledFirst,
    /// A closing bears the time at which it was asked for, and not that from which on nothing passes.
    EarlyStamp,
    /// A renewal looks whether the term lives, and moves the deadline later.
    TwoSteps,
    /// The deadline follows the renewal that was answered last, and not the one that was sent last.
    LastAnswer,
    /// The last reason to close is kept.
    LastReason,
    /// Who comes upon a closed gate tells so again.
    ToldAgain,
    /// Opening isn't asked whether the gate has closed.
    OpenedUnasked,
    /// Any renewal ends a doubt.
    OldRenewal,
}

#[cfg(watchkeeper_mutants)]
mod planted {
    use std::sync::OnceLock;

    use super::Mutant;

    /// Names the fault of this process.
    pub const VARIABLE: &str = "WATCHKEEPER_MUTANT";

    impl Mutant {
        /// All of them.
        pub const ALL: [Self; 8] = [
            Self::CancelledFirst,
            Self::EarlyStamp,
            Self::TwoSteps,
            Self::LastAnswer,
            Self::LastReason,
            Self::ToldAgain,
            Self::OpenedUnasked,
            Self::OldRenewal,
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
