//! The tasks that call handlers and what they are woken by, by the names they are used by; the model checker puts its own in their
//! place, or makes a point of each use of them where another may be next.

#[cfg(watchkeeper_shuttle)]
pub(crate) use checked::*;
#[cfg(not(watchkeeper_shuttle))]
pub(crate) use real::*;

#[cfg(not(watchkeeper_shuttle))]
mod real {
    pub(crate) use std::thread_local;

    pub(crate) use futures::task::AtomicWaker;
    pub(crate) use tokio::sync::Notify;

    /// They end with whoever holds them.
    pub(crate) type Deliveries = tokio::task::JoinSet<()>;
}

/// The same interfaces over what the model checker sees. A panic of a task ends the check.
#[cfg(watchkeeper_shuttle)]
mod checked {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Poll, Waker};

    use shuttle::future::{JoinHandle, spawn};
    use shuttle::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use shuttle::thread_local;
    use tokio::sync::futures::Notified;
    use tokio::task::JoinError;

    /// Before this, another may be next.
    #[derive(Default)]
    struct Point(AtomicBool);

    impl Point {
        fn reached(&self) {
            self.0.load(Ordering::SeqCst);
        }
    }

    #[derive(Default)]
    pub(crate) struct AtomicWaker(futures::task::AtomicWaker, Point);

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn register(&self, waker: &Waker) {
            self.1.reached();
            self.0.register(waker);
        }

        pub(crate) fn wake(&self) {
            self.1.reached();
            self.0.wake();
        }
    }

    #[derive(Default)]
    pub(crate) struct Notify(tokio::sync::Notify, Point);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn notified(&self) -> Notified<'_> {
            self.1.reached();
            self.0.notified()
        }

        pub(crate) fn notify_one(&self) {
            self.1.reached();
            self.0.notify_one();
        }

        pub(crate) fn notify_waiters(&self) {
            self.1.reached();
            self.0.notify_waiters();
        }
    }

    pub(crate) struct Deliveries(Vec<JoinHandle<()>>);

    impl Deliveries {
        pub(crate) fn new() -> Self {
            Self(Vec::new())
        }

        pub(crate) fn spawn(&mut self, delivery: impl Future<Output = ()> + Send + 'static) {
            self.0.push(spawn(delivery));
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub(crate) fn try_join_next(&mut self) -> Option<Result<(), JoinError>> {
            let ended = self.0.iter().position(JoinHandle::is_finished)?;
            drop(self.0.swap_remove(ended));
            Some(Ok(()))
        }

        pub(crate) async fn join_next(&mut self) -> Option<Result<(), JoinError>> {
            poll_fn(|context| {
                if self.0.is_empty() {
                    return Poll::Ready(None);
                }
                let ended = self.0.iter_mut().position(|delivery| Pin::new(delivery).poll(context).is_ready());
                ended.map_or(Poll::Pending, |ended| {
                    drop(self.0.swap_remove(ended));
                    Poll::Ready(Some(Ok(())))
                })
            })
            .await
        }
    }

    impl Drop for Deliveries {
        fn drop(&mut self) {
            self.0.iter().for_each(JoinHandle::abort);
        }
    }
}
