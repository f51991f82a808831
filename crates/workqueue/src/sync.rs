//! The lock, by the name that the queue uses; model checkers put theirs in its place.

#[cfg(watchkeeper_loom)]
pub(crate) use checked::{Mutex, MutexGuard};
#[cfg(watchkeeper_shuttle)]
pub(crate) use checked::{Mutex, MutexGuard};
#[cfg(not(any(watchkeeper_loom, watchkeeper_shuttle)))]
pub(crate) use patient::{Mutex, MutexGuard};

/// parking_lot's lock for calls that are short, from threads that may be many.
///
/// What such a lock guards moves to the processor that has it, which takes longer than a call does. So where several
/// threads want the lock all the time, the worst is to hand it over at every call: who finds it taken again and again
/// stays away for a while, and the others get through many calls each. Where it is only now and then that two threads
/// meet, the second one waits as parking_lot has it.
#[cfg(not(any(watchkeeper_loom, watchkeeper_shuttle)))]
mod patient {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::thread::sleep;
    use std::time::Duration;

    pub(crate) use parking_lot::MutexGuard;

    /// How many undisturbed calls make a crowd forgotten.
    const FORGETTING: u32 = 4096;
    /// How long to stay away from a crowd: as short as the system can, which for Linux is about 50 us.
    const AWAY: Duration = Duration::from_micros(1);
    /// How often, before waiting in line.
    const TIMES: usize = 8;

    #[derive(Debug)]
    pub(crate) struct Mutex<T> {
        /// How many more undisturbed calls it takes until nobody remembers a crowd; only changed with the lock held.
        crowded: AtomicU32,
        inner: parking_lot::Mutex<T>,
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self { crowded: AtomicU32::new(0), inner: parking_lot::Mutex::new(value) }
        }

        #[inline]
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            let Some(guard) = self.inner.try_lock() else { return self.lock_taken() };
            let crowded = self.crowded.load(Relaxed);
            if crowded > 0 {
                self.crowded.store(crowded - 1, Relaxed);
            }
            guard
        }

        #[cold]
        #[inline(never)]
        fn lock_taken(&self) -> MutexGuard<'_, T> {
            let times = if self.crowded.load(Relaxed) > 0 { TIMES } else { 0 };
            let stay_away = || {
                sleep(AWAY);
                self.inner.try_lock()
            };
            let guard = std::iter::repeat_with(stay_away).take(times).flatten().next();
            let guard = guard.unwrap_or_else(|| self.inner.lock());
            self.crowded.store(FORGETTING, Relaxed);
            guard
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Goal: one thread at a time, also in a crowd, which is remembered and then forgotten. Method: threads that
        /// meet for certain, since each holds the lock for a while.
        #[test]
        fn a_crowd_is_let_in_one_by_one() {
            let lock = Mutex::new(0_u32);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            let mut count = lock.lock();
                            let before = *count;
                            sleep(Duration::from_micros(100));
                            *count = before + 1;
                        }
                    });
                }
            });
            assert_eq!(*lock.lock(), 80);
            assert!(lock.crowded.load(Relaxed) > 0, "no two of them have met");
            (0..FORGETTING).for_each(|_| drop(lock.lock()));
            assert_eq!(lock.crowded.load(Relaxed), 0);
        }
    }
}

/// The same interface over a lock that a model checker sees.
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
