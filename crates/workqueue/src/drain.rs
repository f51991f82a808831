//! Waiting for a queue to have nothing left to do.
//!
//! In: any number of calls of `drained`. Out: all of them end at the first moment at which no key is ready or in
//! flight. (client-go wakes one of them.)

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::mutant::{Mutant, is_planted};
use crate::shared::Shared;

/// The waiting calls.
#[derive(Default)]
pub(crate) struct Drains {
    /// How often the queue was found drained while somebody waited for it: a waiter that is woken, but runs only when
    /// the queue is busy again, sees that its moment was.
    moments: u64,
    waiting: Vec<(u64, Waker)>,
    tickets: u64,
}

impl Drains {
    /// Nobody waits.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The queue is drained: whom to wake.
    pub(crate) fn release(&mut self) -> Vec<Waker> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        if is_planted(Mutant::OneDrainer) {
            return vec![self.waiting.remove(0).1];
        }
        self.moments += 1;
        self.waiting.drain(..).map(|(_, waker)| waker).collect()
    }
}

/// One call of [`WorkQueue::drained`](crate::WorkQueue::drained).
pub(crate) struct Drained<'a, K> {
    shared: &'a Shared<K>,
    stay: Option<Stay>,
}

#[derive(Clone, Copy)]
struct Stay {
    /// Those before it came.
    moments: u64,
    ticket: u64,
}

impl<'a, K> Drained<'a, K> {
    pub(crate) fn new(shared: &'a Shared<K>) -> Self {
        Self { shared, stay: None }
    }
}

impl<K> Future for Drained<'_, K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared;
        shared.with_drains(|ledger, drains| {
            if ledger.is_drained() || self.stay.is_some_and(|stay| stay.moments != drains.moments) {
                return Poll::Ready(());
            }
            match self.stay {
                None => {
                    let ticket = drains.tickets;
                    drains.tickets += 1;
                    drains.waiting.push((ticket, cx.waker().clone()));
                    self.stay = Some(Stay { moments: drains.moments, ticket });
                }
                Some(stay) => {
                    if let Some((_, waker)) = drains.waiting.iter_mut().find(|(ticket, _)| *ticket == stay.ticket) {
                        waker.clone_from(cx.waker());
                    }
                }
            }
            Poll::Pending
        })
    }
}

impl<K> Drop for Drained<'_, K> {
    fn drop(&mut self) {
        if let Some(stay) = self.stay {
            self.shared.with_drains(|_, drains| drains.waiting.retain(|(ticket, _)| *ticket != stay.ticket));
        }
    }
}
