//! Workers: one key at a time from the queue to an outcome, and the only place that judges the outcome of a reconcile.
//!
//! In: a [`Shift`] (the term, its client, the sign to take no more keys). Out: nothing; every key taken is given back to the queue
//! with an outcome. A worker exists only during a term, so a standby holds no key. It never writes by itself.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use watchkeeper_informer::{Cached, ObjectKey};
use watchkeeper_leader::{GateClock, GateClosed, Term};
use watchkeeper_workqueue::{WorkItem, WorkQueue};

use crate::client::GatedClient;
use crate::controller::Controller;
use crate::reconcile::{Action, Failure, Reconciler, Request};

/// What all workers of a term share.
#[derive(Clone)]
pub(crate) struct Shift {
    pub(crate) term: Term,
    pub(crate) client: GatedClient,
    pub(crate) clock: Arc<dyn GateClock>,
    /// Cancelled when no new key may be taken: at a clean stop, while the key in hand is still finished.
    pub(crate) intake: CancellationToken,
}

/// How one pass ended.
enum Pass {
    Finished(Result<Action, Failure>),
    TimedOut,
    Panicked,
    TermEnded,
}

impl<K: Cached, R: Reconciler<K>> Controller<K, R> {
    /// Takes keys until the term ends, the intake closes or the queue is shut down.
    ///
    /// Cancel safe: a key in hand goes back to the queue.
    pub(crate) async fn work(self: Arc<Self>, queue: WorkQueue<ObjectKey>, shift: Shift, worker: usize) {
        let over = shift.term.cancelled();
        loop {
            // Biased: once the intake is closed no further key is taken, however many wait.
            let item = tokio::select! {
                biased;
                () = shift.intake.cancelled() => return,
                () = over.cancelled() => return,
                item = queue.next() => match item {
                    Some(item) => item,
                    None => return,
                },
            };
            // The gate is read at use: the key may have been waited for longer than the term lasted.
            match shift.term.check() {
                Ok(_) => {}
                Err(GateClosed::InDoubt(_)) => {
                    drop(item);
                    shift.term.certain().await;
                    continue;
                }
                Err(GateClosed::NotOpenYet(_) | GateClosed::Closed { .. }) => return,
            }
            shift.activity("worker-start", &self.name, worker, item.key());
            let key = item.key().clone();
            let span = tracing::debug_span!("reconcile", controller = %self.name, key = %key, attempt = item.attempt());
            let pass = self.pass(&shift, &item).instrument(span).await;
            self.judge(&shift.term, item, pass);
            shift.activity("worker-end", &self.name, worker, &key);
        }
    }

    /// One call of the user's code, bounded by its deadline and by the term, with panics caught.
    async fn pass(&self, shift: &Shift, item: &WorkItem<ObjectKey>) -> Pass {
        let request = Request {
            key: item.key().clone(),
            object: self.informer.lister().get(item.key()),
            client: shift.client.clone(),
            attempt: item.attempt(),
        };
        // The call itself runs user code too, so it stands inside the guarded block.
        let guarded = AssertUnwindSafe(async { self.reconciler.reconcile(request).await }).catch_unwind();
        // Biased: when both are ready the term's end wins, so that nothing is judged after it.
        let over = shift.term.cancelled();
        tokio::select! {
            biased;
            () = over.cancelled() => Pass::TermEnded,
            ended = tokio::time::timeout(self.reconcile_timeout, guarded) => match ended {
                Ok(Ok(result)) => Pass::Finished(result),
                Ok(Err(_panic)) => Pass::Panicked,
                Err(_elapsed) => Pass::TimedOut,
            },
        }
    }

    /// The table of outcomes. A failure caused by the end of the term is not the key's: the key is queued again as it was.
    fn judge(&self, term: &Term, item: WorkItem<ObjectKey>, pass: Pass) {
        let (name, key) = (&self.name, item.key().clone());
        match pass {
            Pass::Finished(Ok(Action::Done)) => item.done(),
            Pass::Finished(Ok(Action::RequeueAfter(delay))) => item.after(delay),
            Pass::TermEnded => drop(item),
            Pass::Finished(Err(_)) | Pass::TimedOut | Pass::Panicked if !term.is_open() => drop(item),
            Pass::Finished(Err(Failure::GiveUp(error))) => {
                item.give_up();
                tracing::error!(controller = %name, %key, %error, "reconcile failed for good; the key rests until its object changes");
            }
            Pass::Finished(Err(Failure::Retry(error))) => {
                let attempt = item.attempt();
                let next = item.retry();
                tracing::warn!(controller = %name, %key, %error, attempt, ?next, "reconcile failed");
            }
            Pass::TimedOut => {
                let next = item.retry();
                tracing::warn!(controller = %name, %key, timeout = ?self.reconcile_timeout, ?next, "reconcile exceeded its deadline and was cancelled");
            }
            Pass::Panicked => {
                // The panic's own message went to the panic hook; it may hold an object and is not repeated here.
                let next = item.retry();
                tracing::error!(controller = %name, %key, ?next, "reconcile panicked");
            }
        }
    }
}

impl Shift {
    /// One line of the activity trace (see ARCHITECTURE.md, "How exclusivity is judged").
    fn activity(&self, what: &'static str, controller: &str, worker: usize, key: &ObjectKey) {
        if tracing::enabled!(target: "watchkeeper::activity", tracing::Level::TRACE) {
            let (epoch, boot_nanos) = (self.term.epoch(), self.clock.now().as_nanos());
            tracing::trace!(target: "watchkeeper::activity", what, %epoch, boot_nanos, controller, worker, %key);
        }
    }
}
