//! The gate's lock and its token, by the names that it uses; a model checker puts its own lock in the place of parking_lot's, and sees
//! when the token is touched.

use tokio_util::sync::CancellationToken;

#[cfg(watchkeeper_loom)]
pub(crate) use checked::Mutex;
#[cfg(not(watchkeeper_loom))]
pub(crate) use parking_lot::Mutex;

/// A token that only the gate cancels.
pub(crate) struct Token {
    inner: CancellationToken,
    #[cfg(watchkeeper_loom)]
    step: Mutex<()>,
}

impl Token {
    pub(crate) fn new() -> Self {
        Self {
            inner: CancellationToken::new(),
            #[cfg(watchkeeper_loom)]
            step: Mutex::new(()),
        }
    }

    pub(crate) fn cancel(&self) {
        self.step();
        self.inner.cancel();
    }

    /// For those who wait for it.
    pub(crate) fn share(&self) -> CancellationToken {
        self.step();
        self.inner.clone()
    }

    /// A moment at which another thread may go on.
    fn step(&self) {
        #[cfg(watchkeeper_loom)]
        drop(self.step.lock());
    }
}

/// The same interface over a lock that a model checker sees.
#[cfg(watchkeeper_loom)]
mod checked {
    use loom::sync::MutexGuard;

    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}
