//! Planted faults: each breaks the queue in one way, to prove that the checks would see it. In a normal build every
//! question here is a constant no.

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
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutant;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants a fault in all queues of the process, or none.
    pub fn plant(mutant: Option<Mutant>) {
        PLANTED.store(mutant.map_or(0, |mutant| mutant as u8 + 1), Ordering::SeqCst);
    }

    pub(crate) fn is_planted(mutant: Mutant) -> bool {
        PLANTED.load(Ordering::SeqCst) == mutant as u8 + 1
    }
}

#[cfg(watchkeeper_mutants)]
pub(crate) use planted::is_planted;
#[cfg(watchkeeper_mutants)]
pub use planted::plant;

#[cfg(not(watchkeeper_mutants))]
pub(crate) const fn is_planted(_: Mutant) -> bool {
    false
}
