//! Processor: the loop that moves batches from the queue into the store and tells those who want to know.
//!
//! In: batches of the DeltaFIFO, newcomers of the registry. Out: changes in the store, then calls of the inline
//! sources, then mail for the handlers, in this order; so whoever hears of an event finds the store and the indexes
//! showing it, or what came after it in the same batch. It owns the store's writer, the list of subscriptions and the tasks that deliver, and holds no lock
//! while foreign code runs.
//!
//! A newcomer is taken up between two batches. That makes its snapshot and the changes after it one seamless story,
//! without a lock that both sides would have to hold.

use std::panic::resume_unwind;
use std::sync::Arc;

use futures::future::select_all;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::delta_fifo::{Batch, DeltaFifo, Work};
use crate::event::Event;
use crate::handler::{Newcomer, Registry, Subscription};
use crate::object::Cached;
use crate::store::StoreWriter;

pub(crate) type Source<K> = Box<dyn Fn(&Event<K>) + Send + Sync>;

pub(crate) struct Processor<K> {
    /// A queue a part of the store.
    pub(crate) fifos: Vec<DeltaFifo<K>>,
    pub(crate) writer: StoreWriter<K>,
    pub(crate) registry: Arc<Registry<K>>,
    pub(crate) sources: Vec<Source<K>>,
}

struct Running<K> {
    processor: Processor<K>,
    subscriptions: Vec<Arc<Subscription<K>>>,
    deliveries: JoinSet<()>,
    stop: CancellationToken,
    /// The part that is looked at first.
    turn: usize,
}

impl<K: Cached> Processor<K> {
    /// Runs until `stop`, or until the queue is closed, which cancels `stop`. When it has returned, no source and no
    /// handler is being called.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut running = Running {
            processor: self,
            subscriptions: Vec::new(),
            deliveries: JoinSet::new(),
            stop: stop.clone(),
            turn: 0,
        };
        running.process().await;
        stop.cancel();
        running.processor.registry.close();
        running.processor.fifos.iter().for_each(DeltaFifo::close);
        while let Some(ended) = running.deliveries.join_next().await {
            rethrow(ended);
        }
    }
}

impl<K: Cached> Running<K> {
    async fn process(&mut self) {
        loop {
            self.turn = (self.turn + 1) % self.processor.fifos.len();
            // Biased: stopping comes first, and whoever registered before a batch was pushed hears of that batch.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.processor.registry.arrived.notified() => self.take_up(),
                Some(ended) = self.deliveries.join_next() => rethrow(ended),
                (part, batch) = next_batch(&self.processor.fifos, self.turn) => match batch {
                    Some(batch) => self.apply(part, batch),
                    None => return,
                },
            }
        }
    }

    fn take_up(&mut self) {
        let store = self.processor.writer.store();
        for newcomer in self.processor.registry.newcomers() {
            let present = store.list().into_iter().map(|object| Event::Added { object, initial: true });
            newcomer.subscription.offer(present, store.reached().replacements > 0);
            self.subscriptions.push(Arc::clone(&newcomer.subscription));
            self.deliveries.spawn(Newcomer::deliver(newcomer, self.stop.clone()));
        }
    }

    fn apply(&mut self, part: usize, batch: Batch<K>) {
        let Batch { work, version, receipt } = batch;
        let is_list = matches!(work, Work::Replace(_));
        let applied = self.processor.writer.apply_to(part, work, version);
        let is_snapshot = is_list && self.processor.writer.store().reached().replacements > 0;
        receipt.applied();
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

/// The next batch of any part; all are asked, from `turn` on, so that a busy one can't keep the others waiting. Cancel-safe.
async fn next_batch<K: Cached>(fifos: &[DeltaFifo<K>], turn: usize) -> (usize, Option<Batch<K>>) {
    if let [fifo] = fifos {
        return (0, fifo.pop().await);
    }
    let pops = (0..fifos.len()).map(|step| {
        let part = (turn + step) % fifos.len();
        Box::pin(async move { (part, fifos[part].pop().await) })
    });
    select_all(pops).await.0
}

/// A panic that wasn't a handler's own is a bug of ours or of a source: it ends the informer loudly.
pub(crate) fn rethrow(ended: Result<(), JoinError>) {
    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests;
