//! Waiting for a key.
//!
//! One of the waiting calls holds a timer for the earliest deadline; when it gets a key or is dropped, another waiting
//! call takes the timer over.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::item::WorkItem;
use crate::ledger::Taken;
use crate::shared::Shared;
use crate::waiters::Ticket;

/// The future of [`WorkQueue::next`](crate::WorkQueue::next).
#[must_use = "futures do nothing unless polled"]
pub struct Next<'a, K> {
    shared: &'a Arc<Shared<K>>,
    /// Some: among the waiters.
    ticket: Option<Ticket>,
    /// Some: keeps the time.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a, K> Next<'a, K> {
    pub(crate) fn new(shared: &'a Arc<Shared<K>>) -> Self {
        Self { shared, ticket: None, timer: None }
    }
}

/// What a waiting call has found.
enum Found<K> {
    Item(Option<WorkItem<K>>),
    /// Nothing yet; keeps the time until then, if it has to.
    Nothing(Option<Instant>),
}

impl<K: Clone> Future for Next<'_, K> {
    type Output = Option<WorkItem<K>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A worker whose keys never run out must still let other tasks run.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let this = self.get_mut();
        loop {
            match this.take(cx) {
                Found::Item(item) => {
                    budget.made_progress();
                    return Poll::Ready(item);
                }
                Found::Nothing(None) => {
                    this.timer = None;
                    return Poll::Pending;
                }
                Found::Nothing(Some(deadline)) => ready!(this.sleep(deadline, cx)),
            }
        }
    }
}

impl<K: Clone> Next<'_, K> {
    /// Takes a key, or stands in line; in the latter case says until when to keep the time.
    #[inline]
    fn take(&mut self, cx: &Context<'_>) -> Found<K> {
        let shared = self.shared;
        let (taken, deadline) = shared.change_all(false, |inner, now| {
            let taken = inner.ledger.take(now);
            // Only now: if cloning the key panics, the drop of this call wakes another one.
            if let Some(ticket) = self.ticket.take() {
                inner.waiters.leave(ticket);
            }
            let mut deadline = None;
            if matches!(taken, Taken::Nothing) {
                let earliest = inner.ledger.earliest();
                let (ticket, keeps_time) = inner.waiters.enlist(cx.waker().clone(), earliest);
                self.ticket = Some(ticket);
                deadline = earliest.filter(|_| keeps_time);
            }
            (taken, deadline)
        });
        match taken {
            Taken::Nothing => Found::Nothing(deadline.map(|moment| shared.clock.instant(moment))),
            Taken::Over => Found::Item(None),
            Taken::Key(hand_out) => {
                shared.tell(|metrics| metrics.queue_duration(hand_out.now.since(hand_out.since)));
                Found::Item(Some(WorkItem::new(shared.clone(), hand_out)))
            }
        }
    }

    fn sleep(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

impl<K> Drop for Next<'_, K> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.change_all(false, |inner, _| inner.waiters.leave(ticket));
        }
    }
}

impl<K> fmt::Debug for Next<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("waits", &self.ticket.is_some()).finish()
    }
}
