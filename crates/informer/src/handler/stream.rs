//! EventStream: a mailbox, pulled from.
//!
//! In: polls. Out: events, one at a time, as a handler would hear them. Whatever isn't pulled stays in the mailbox, where it
//! is coalesced: nothing is buffered beside it. The delivery of a handler's events is a stream, and a loop that calls.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use tokio::time::{Sleep, sleep_until};

use crate::event::Event;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;

use super::call::discard;
use super::{Handler, HandlerStatus, Next, Subscriber, Subscription};

/// The events of an informer, for whoever would rather pull them than be called; made by
/// [`InformerHandle::events`](crate::InformerHandle::events).
///
/// What is pulled counts as told, and as being worked on until the next poll: so the first snapshot is finished when more
/// is asked for after the last event of it. It ends with the informer, what is pending then is dropped. Dropping it ends
/// the registration at once. Cancel-safe: an event leaves the mailbox when it is returned and not before.
#[must_use = "nothing comes out of a stream that isn't polled, and dropping it ends the registration"]
pub struct EventStream<K: Cached> {
    subscription: Arc<Subscription<K>>,
    /// The next resync.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<K: Cached> EventStream<K> {
    pub(crate) fn new(subscription: Arc<Subscription<K>>) -> Self {
        Self { subscription, timer: None }
    }

    /// Whether the first complete snapshot was pulled and more was asked for.
    pub fn has_synced(&self) -> bool {
        self.status().synced
    }

    /// As of a handler's registration; what was pulled last is the call in progress.
    pub fn status(&self) -> HandlerStatus {
        self.subscription.status()
    }
}

impl<K: Cached> Stream for EventStream<K> {
    type Item = Event<K>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event<K>>> {
        let mut is_registered = false;
        loop {
            match self.subscription.next() {
                Next::Event(event) => return Poll::Ready(Some(event)),
                Next::Ended => return Poll::Ready(None),
                // Then it looks once more: what arrived in between woke nobody.
                Next::Nothing { .. } if !is_registered => {
                    self.subscription.signals.arrived.register(context.waker());
                    if is_planted(Mutant::NoSecondLook) {
                        return Poll::Pending;
                    }
                    is_registered = true;
                }
                Next::Nothing { resync: None } => return Poll::Pending,
                Next::Nothing { resync: Some(at) } => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
                    if timer.deadline() != at {
                        timer.as_mut().reset(at);
                    }
                    ready!(timer.as_mut().poll(context));
                }
            }
        }
    }
}

impl<K: Cached> Drop for EventStream<K> {
    fn drop(&mut self) {
        self.subscription.end();
    }
}

impl<K: Cached> std::fmt::Debug for EventStream<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EventStream").field(&self.status()).finish()
    }
}

/// Calls the handler until the registration or the informer ends; what is then pending is dropped.
pub(crate) async fn deliver<K: Cached>(mut events: EventStream<K>, mut handler: Handler<K>) {
    /// Handlers that never lack events let others run now and then.
    const CALLS_BETWEEN_YIELDS: u32 = 32;
    let mut calls: u32 = 0;
    while let Some(event) = events.next().await {
        events.subscription.call(&mut handler, event);
        calls = calls.wrapping_add(1);
        if calls.is_multiple_of(CALLS_BETWEEN_YIELDS) {
            tokio::task::yield_now().await;
        }
    }
    discard(handler);
}
