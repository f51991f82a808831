//! The hard stop: what happens to work that goes on after its gate has closed and the stop bound J has passed.
//!
//! A worker is stopped by dropping its future, which needs an await. Blocking code has none, so it can outlive the term and act beside
//! the next leader. The promise I11 then leaves one way: the process ends. A blocked runtime can't be trusted to notice that by itself,
//! so a watchdog thread of its own looks on for the length of a term.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use watchkeeper_leader::{GateClock, Term};

/// How often the watchdog looks. It fires this much before J is over, so that it never fires later than J.
const LOOK: Duration = Duration::from_millis(100);

/// What to do when work does not stop in time.
#[derive(Clone)]
pub enum HardStop {
    /// Ends the process (SIGABRT). The default: nothing else keeps two replicas from acting at once.
    Abort,
    /// Calls this instead, at most once a term. If it returns, the promise I11 is the caller's; the Lease is not released.
    Call(Arc<dyn Fn() + Send + Sync>),
}

impl HardStop {
    /// Ends the process, or calls the hook.
    pub(crate) fn now(&self, term: &Term) {
        let epoch = term.is_elected().then(|| tracing::field::display(term.epoch()));
        tracing::error!(epoch, "work did not stop within the stop bound after the gate closed: hard stop");
        match self {
            Self::Abort => std::process::abort(),
            Self::Call(hook) => hook(),
        }
    }

    /// Watches `term` until the guard is dropped: the manager drops it when all workers have been joined.
    pub(crate) fn watch(&self, term: &Term, clock: Arc<dyn GateClock>) -> Watchdog {
        let joined = Arc::new(AtomicBool::new(false));
        let (seen, stop, term) = (joined.clone(), self.clone(), term.clone());
        #[expect(clippy::disallowed_methods, reason = "a blocked runtime is what this thread is for")]
        let thread = std::thread::spawn(move || {
            let grace = term.stop_bound().saturating_sub(LOOK);
            // Counted from when this thread first sees the gate closed: a process that was stopped and goes on has long
            // passed its time, but its workers are cancelled at once and its writes are refused, so it need not end.
            let mut closed_at = None;
            while !seen.load(Ordering::Acquire) {
                if term.closed().is_some() {
                    let now = clock.now();
                    if closed_at.get_or_insert(now).until(now) >= grace {
                        // A hook is called by the manager alone, whose timer does the same in a runtime that still runs.
                        if matches!(stop, Self::Abort) {
                            stop.now(&term);
                        }
                        return;
                    }
                }
                std::thread::park_timeout(LOOK);
            }
        });
        Watchdog { joined, thread: Some(thread) }
    }
}

/// Ends its thread when dropped.
pub(crate) struct Watchdog {
    joined: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.joined.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only looks at two flags: this takes microseconds.
            _ = thread.join();
        }
    }
}
