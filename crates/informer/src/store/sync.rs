//! The locks of the store and the indexes, by the names they are used by; the model checker puts its own in their place.

#[cfg(watchkeeper_shuttle)]
pub(crate) use checked::*;
#[cfg(not(watchkeeper_shuttle))]
pub(crate) use real::*;

#[cfg(not(watchkeeper_shuttle))]
mod real {
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::thread::{ThreadId, current};

    pub(crate) use arc_swap::{ArcSwap, Guard};
    pub(crate) use parking_lot::{Mutex, RwLock};
}

/// The same interfaces over what the model checker sees.
#[cfg(watchkeeper_shuttle)]
mod checked {
    use std::ops::Deref;
    use std::sync::{Arc, PoisonError};

    use shuttle::sync;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use shuttle::thread::{ThreadId, current};

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }

    pub(crate) struct ArcSwap<T>(sync::Mutex<Arc<T>>);

    pub(crate) struct Guard<T>(T);

    impl<T> Guard<T> {
        pub(crate) fn into_inner(guard: Self) -> T {
            guard.0
        }
    }

    impl<T> Deref for Guard<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(sync::Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Guard<Arc<T>> {
            Guard(Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }
    }

    /// Readers wait for the checker's threads; the value itself is in the ordinary cell.
    pub(crate) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        is_set: sync::Mutex<()>,
        set: sync::Condvar,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self { value: std::sync::OnceLock::new(), is_set: sync::Mutex::new(()), set: sync::Condvar::new() }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            self.value.get()
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            let result = self.value.set(value);
            drop(self.is_set.lock());
            self.set.notify_all();
            result
        }

        pub(crate) fn wait(&self) -> &T {
            let mut guard = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                match self.value.get() {
                    Some(value) => return value,
                    None => guard = self.set.wait(guard).unwrap_or_else(PoisonError::into_inner),
                }
            }
        }
    }
}
