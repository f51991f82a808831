//! A bell: whoever waits for something to happen is woken when it has.
//!
//! Comes in: rings. Goes out: wake-ups, in the order in which listeners were made, or shuffled by a seed. It says that
//! something has happened, never what: listeners look for themselves. tokio's channels would do, but for the order in which
//! they wake, which no seed decides.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Clones are one bell.
#[derive(Clone)]
pub(crate) struct Signal {
    inner: Arc<Inner>,
}

struct Inner {
    rings: AtomicU64,
    state: Mutex<State>,
}

struct State {
    listeners: u64,
    /// By the listener's number.
    waiting: BTreeMap<u64, Waker>,
    shuffle: Option<fastrand::Rng>,
}

/// Hears each ring once, several as one.
pub(crate) struct Listener {
    inner: Arc<Inner>,
    number: u64,
    heard: u64,
}

impl Signal {
    /// Who waits is woken in an order that `shuffle` decides, if there is one.
    pub(crate) fn new(shuffle: Option<fastrand::Rng>) -> Self {
        let state = State { listeners: 0, waiting: BTreeMap::new(), shuffle };
        Self { inner: Arc::new(Inner { rings: AtomicU64::new(0), state: Mutex::new(state) }) }
    }

    pub(crate) fn ring(&self) {
        let waiting = {
            let mut state = self.inner.state.lock();
            // Under the lock: who begins to wait afterwards sees it.
            self.inner.rings.fetch_add(1, Ordering::Release);
            let mut waiting: Vec<Waker> = std::mem::take(&mut state.waiting).into_values().collect();
            if let Some(random) = &mut state.shuffle {
                random.shuffle(&mut waiting);
            }
            waiting
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Hears what rings from now on.
    pub(crate) fn listen(&self) -> Listener {
        let mut state = self.inner.state.lock();
        state.listeners += 1;
        let heard = self.inner.rings.load(Ordering::Relaxed);
        Listener { inner: self.inner.clone(), number: state.listeners, heard }
    }
}

impl Listener {
    /// Whether it has rung since it was last heard.
    pub(crate) fn has_rung(&self) -> bool {
        self.inner.rings.load(Ordering::Acquire) != self.heard
    }

    /// What has rung until now is heard.
    pub(crate) fn hear(&mut self) {
        self.heard = self.inner.rings.load(Ordering::Acquire);
    }

    /// Waits for a ring, and hears it. Cancel safe.
    pub(crate) async fn rung(&mut self) {
        poll_fn(|context| self.poll_rung(context)).await;
    }

    fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self.inner.state.lock();
            if !self.has_rung() {
                state.waiting.insert(self.number, context.waker().clone());
                return Poll::Pending;
            }
        }
        self.hear();
        Poll::Ready(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.inner.state.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
#[path = "signal_test.rs"]
mod tests;
