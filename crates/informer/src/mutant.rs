//! Planted faults: each breaks the store or the handlers in one way, to prove that the checks would see it. In a normal build every
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
    /// A newcomer isn't told of the batch before which it was taken up.
    MissedBatch,
    /// A newcomer's snapshot counts as complete before anything was listed.
    EmptySnapshot,
    /// Who comes is announced before it can be found.
    EarlyAnnouncement,
    /// Who comes after the end is kept waiting.
    LeftOpen,
    /// The end doesn't wait for the calls in progress.
    LeftRunning,
    /// A registration is said to have ended before its mailbox is closed.
    EarlyEnd,
    /// A call that is about to begin isn't seen by who waits for the last one.
    UnseenCall,
    /// Who waits for the last call looks first and listens then.
    LateListening,
    /// Who pulls doesn't look again after it has said whom to wake.
    NoSecondLook,
    /// The first snapshot is finished while the last call of it is running.
    EarlySync,
}

#[cfg(watchkeeper_mutants)]
mod planted {
    use std::sync::OnceLock;

    use super::Mutant;

    /// Names the fault of this process.
    pub const VARIABLE: &str = "WATCHKEEPER_MUTANT";

    impl Mutant {
        /// Those of the store.
        pub const STORE: [Self; 7] = [
            Self::SilentMove,
            Self::LateEntry,
            Self::SeenTwice,
            Self::HalfABatch,
            Self::NothingAside,
            Self::LateAside,
            Self::EmptyRoot,
        ];
        /// Those of the handlers, their registry and the processor.
        pub const HANDLERS: [Self; 10] = [
            Self::MissedBatch,
            Self::EmptySnapshot,
            Self::EarlyAnnouncement,
            Self::LeftOpen,
            Self::LeftRunning,
            Self::EarlyEnd,
            Self::UnseenCall,
            Self::LateListening,
            Self::NoSecondLook,
            Self::EarlySync,
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
