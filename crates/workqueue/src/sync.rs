//! The lock, by the name that the queue uses; model checkers put theirs in its place.

#[cfg(not(any(watchkeeper_loom, watchkeeper_shuttle)))]
pub(crate) use parking_lot::{Mutex, MutexGuard};

#[cfg(watchkeeper_loom)]
pub(crate) use checked::{Mutex, MutexGuard};
#[cfg(watchkeeper_shuttle)]
pub(crate) use checked::{Mutex, MutexGuard};

/// parking_lot's interface over a lock that a model checker sees.
#[cfg(any(watchkeeper_loom, watchkeeper_shuttle))]
mod checked {
    #[cfg(watchkeeper_loom)]
    use loom::sync as checker;
    #[cfg(watchkeeper_shuttle)]
    use shuttle::sync as checker;

    pub(crate) use checker::MutexGuard;

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(checker::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(checker::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}
