//! Planted faults: each breaks the queue in one way, to prove that the checks would see it. In a normal build every
//! question here is a constant no.
//!
//! A fault is planted in a whole process, by its name in `WATCHKEEPER_MUTANT`: a check that fails leaves its checker
//! in no state to go on with.

/// A fault that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(watchkeeper_mutants), expect(unreachable_pub, reason = "the checks see it under that cfg"))]
pub enum Mutant {
    /// An add wakes nobody.
    LostNotification,
    /// A key stays in its lane when it is handed out.
    DoubleHandOut,
    /// An add of a key in flight is forgotten.
    LostReAdd,
    /// The end of the work wakes one of those who wait for it.
    OneDrainer,
    /// The waiting call that keeps the time goes away without a word.
    LostTimeKeeper,
    /// An item dropped without an outcome is done.
    DropIsDone,
}

#[cfg(watchkeeper_mutants)]
mod planted {
    use std::sync::OnceLock;

    use super::Mutant;

    /// Names the fault of this process.
    pub const VARIABLE: &str = "WATCHKEEPER_MUTANT";

    impl Mutant {
        /// All of them.
        pub const ALL: [Self; 6] = [
            Self::LostNotification,
            Self::DoubleHandOut,
            Self::LostReAdd,
            Self::OneDrainer,
            Self::LostTimeKeeper,
            Self::DropIsDone,
        ];

        /// What it is called in [`VARIABLE`].
        #[must_use]
        pub fn name(self) -> String {
            format!("{self:?}")
        }
    }

    pub(crate) fn is_planted(mutant: Mutant) -> bool {
        static PLANTED: OnceLock<Option<Mutant>> = OnceLock::new();
        *PLANTED.get_or_init(named) == Some(mutant)
    }

    fn named() -> Option<Mutant> {
        let name = std::env::var(VARIABLE).ok()?;
        Some(Mutant::ALL.into_iter().find(|mutant| mutant.name() == name).expect("the name of a fault"))
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
