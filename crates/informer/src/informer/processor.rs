//! Processor: the loop that moves batches from the queue into the store and tells those who want to know.
//!
//! In: batches of the DeltaFIFO, newcomers of the registry. Out: changes in the store, then calls of the inline
//! sources, then mail for the handlers, in this order; so whoever hears of an event finds the store and the indexes
//! showing it. It owns the store's writer, the list of subscriptions and the tasks that deliver, and holds no lock
//! while foreign code runs.
//!
//! A newcomer is taken up between two batches. That makes its snapshot and the changes after it one seamless story,
//! without a lock that both sides would have to hold.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::delta_fifo::{Batch, DeltaFifo, Work};
use crate::event::Event;
use crate::handler::{Newcomer, Registry, Subscription};
use crate::object::Cached;
use crate::store::StoreWriter;

pub(crate) type Source<K> = Box<dyn Fn(&Event<K>) + Send + Sync>;

pub(crate) struct Processor<K> {
    pub(crate) fifo: DeltaFifo<K>,
    pub(crate) writer: StoreWriter<K>,
    pub(crate) registry: Arc<Registry<K>>,
    pub(crate) sources: Vec<Source<K>>,
}

struct Running<K> {
    processor: Processor<K>,
    subscriptions: Vec<Arc<Subscription<K>>>,
    deliveries: JoinSet<()>,
    stop: CancellationToken,
}

impl<K: Cached> Processor<K> {
    /// Runs until `stop`, or until the queue is closed, which cancels `stop`. When it has returned, no source and no
    /// handler is being called. `relist` is called when the store needs a fresh list.
    pub(crate) async fn run(self, stop: CancellationToken, relist: impl Fn()) {
        let mut running =
            Running { processor: self, subscriptions: Vec::new(), deliveries: JoinSet::new(), stop: stop.clone() };
        running.process(relist).await;
        stop.cancel();
        running.processor.registry.close();
        running.processor.fifo.close();
        while let Some(ended) = running.deliveries.join_next().await {
            rethrow(ended);
        }
    }
}

impl<K: Cached> Running<K> {
    async fn process(&mut self, relist: impl Fn()) {
        loop {
            // Biased: stopping comes first, and whoever registered before a batch was pushed hears of that batch.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.processor.registry.arrived.notified() => self.take_up(),
                Some(ended) = self.deliveries.join_next() => rethrow(ended),
                batch = self.processor.fifo.pop() => match batch {
                    Some(batch) => self.apply(batch, &relist),
                    None => return,
                },
            }
        }
    }

    fn take_up(&mut self) {
        let store = self.processor.writer.store();
        for newcomer in self.processor.registry.newcomers() {
            if store.reached().replacements > 0 {
                let present = store.list().into_iter().map(|object| Event::Added { object, initial: true });
                newcomer.subscription.offer(present, true);
            }
            self.subscriptions.push(Arc::clone(&newcomer.subscription));
            self.deliveries.spawn(Newcomer::deliver(newcomer, self.stop.clone()));
        }
    }

    fn apply(&mut self, batch: Batch<K>, relist: impl Fn()) {
        let Batch { work, version, receipt } = batch;
        let is_snapshot = matches!(work, Work::Replace(_));
        let applied = self.processor.writer.apply(work, version);
        receipt.applied();
        if applied.missing > 0 {
            tracing::warn!(
                missing = applied.missing,
                "a list called objects unchanged that aren't cached; listing again"
            );
            relist();
        }
        for event in &applied.events {
            self.processor.sources.iter().for_each(|source| source(event));
        }
        self.subscriptions.retain(|subscription| !subscription.is_retired());
        if is_snapshot || !applied.events.is_empty() {
            for subscription in &self.subscriptions {
                subscription.offer(applied.events.iter().cloned(), is_snapshot);
            }
        }
    }
}

/// A panic that wasn't a handler's own is a bug of ours or of a source: it ends the informer loudly.
pub(crate) fn rethrow(ended: Result<(), JoinError>) {
    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests;
