//! Errands: what a loop is asked to do between two turns, while it runs: the processor, or the one that has the reflectors' tasks.
//!
//! In: closures, from any thread. Out: the same, in order, for the one who owns what they change. What is asked before it runs
//! waits; what is asked after it has ended is dropped. It never runs anything itself.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Something to be done with a `P`.
pub(crate) type Errand<P> = Box<dyn FnOnce(&mut P) + Send>;

pub(crate) struct Errands<P> {
    /// `None`: it has ended.
    waiting: Mutex<Option<Vec<Errand<P>>>>,
    /// One waits.
    pub(crate) arrived: Notify,
}

impl<P> Errands<P> {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::new(Some(Vec::new())), arrived: Notify::new() }
    }

    pub(crate) fn ask(&self, errand: impl FnOnce(&mut P) + Send + 'static) {
        drop(self.try_ask(errand)); // What a refused one owns is freed outside the lock.
    }

    /// Gives it back if it has ended.
    pub(crate) fn try_ask<E: FnOnce(&mut P) + Send + 'static>(&self, errand: E) -> Result<(), E> {
        match &mut *self.waiting.lock() {
            Some(waiting) => waiting.push(Box::new(errand)),
            None => return Err(errand),
        }
        self.arrived.notify_one();
        Ok(())
    }

    pub(crate) fn take(&self) -> Vec<Errand<P>> {
        self.waiting.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn close(&self) {
        let dropped = self.waiting.lock().take();
        drop(dropped);
    }
}
