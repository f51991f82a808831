//! Budget: what all informers of one server may ask of it together.
//!
//! In: who wants to open a list or a watch. Out: when it is their turn. Fifty informers that start together, or whose watches
//! all end with one restart of the server, then come one after another: few lists at once, so that neither side holds fifty of
//! them in memory, and a pause between any two requests. Turns are given in order of asking.
//!
//! It knows nothing of failures: how long one informer stays away after its own is its backoff's business. It bounds no waiting
//! time: whoever holds a list's place has deadlines of its own, and gives the place back before it backs off.
//!
//! Upstream has no counterpart: each reflector of client-go asks on its own, and the server's flow control sorts it out.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How much informers may ask together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Lists that are read at once, streaming ones up to their end mark. At least 1. Default 4.
    pub lists: usize,
    /// At least this much time between the openings of two requests; pages behind the first don't count. Default 20 ms.
    pub spacing: Duration,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { lists: 4, spacing: Duration::from_millis(20) }
    }
}

/// A budget; cloning gives another handle on the same.
#[derive(Debug, Clone)]
pub struct Budget {
    lists: Arc<Semaphore>,
    next: Arc<Mutex<Option<Instant>>>,
    spacing: Duration,
}

/// The place of one list; dropping it makes room for the next.
#[derive(Debug)]
pub struct ListPermit {
    _place: Option<OwnedSemaphorePermit>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BudgetConfig::default())
    }
}

impl Budget {
    /// A budget of its own.
    pub fn new(config: BudgetConfig) -> Self {
        let lists = Arc::new(Semaphore::new(config.lists.clamp(1, Semaphore::MAX_PERMITS)));
        Self { lists, next: Arc::default(), spacing: config.spacing }
    }

    /// Waits for a place to read a list, and for a turn. Cancel-safe: a turn that isn't used costs the others its pause.
    pub async fn list(&self) -> ListPermit {
        // Nobody closes the semaphore; if somebody did, there would be no limit.
        let place = Arc::clone(&self.lists).acquire_owned().await.ok();
        self.turn().await;
        ListPermit { _place: place }
    }

    /// Waits for a turn to open a request. Cancel-safe, as above.
    pub async fn turn(&self) {
        tokio::time::sleep_until(self.take_turn()).await;
    }

    #[expect(clippy::disallowed_methods, reason = "run modules read tokio's clock, which tests pause")]
    fn take_turn(&self) -> Instant {
        let now = Instant::now();
        let mut next = self.next.lock();
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(later(turn, self.spacing));
        turn
    }
}

/// So much later; what no clock can say is 30 years later, which nobody lives to see.
pub(crate) fn later(at: Instant, by: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    at.checked_add(by).unwrap_or_else(|| at + FOREVER)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Goal: never more lists at once than allowed, never two openings closer than the spacing, and everyone has a turn.
    #[tokio::test(start_paused = true)]
    async fn few_at_once_and_one_after_another() {
        let budget = Budget::new(BudgetConfig { lists: 3, spacing: Duration::from_millis(20) });
        let (reading, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let opened = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let (budget, reading, most) = (budget.clone(), reading.clone(), most.clone());
                let opened = opened.clone();
                tokio::spawn(async move {
                    if number % 2 == 0 {
                        budget.turn().await;
                        opened.lock().push(Instant::now());
                        return;
                    }
                    let permit = budget.list().await;
                    opened.lock().push(Instant::now());
                    most.fetch_max(reading.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    reading.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let opened = opened.lock();
        assert_eq!((opened.len(), most.load(Ordering::SeqCst)), (50, 3));
        assert!(opened.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(20)));
    }

    /// Goal: whoever gives up while waiting takes nobody's place.
    #[tokio::test(start_paused = true)]
    async fn giving_up_takes_no_place() {
        let budget = Budget::new(BudgetConfig { lists: 1, spacing: Duration::ZERO });
        let held = budget.list().await;
        assert!(tokio::time::timeout(Duration::from_secs(1), budget.list()).await.is_err());
        drop(held);
        budget.list().await;
    }
}
