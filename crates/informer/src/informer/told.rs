//! Told: what the processor works on: the store, the queues that fill it, a part each, and those who hear inline of what it is told.
//!
//! In: errands, which are about these: sources, parts and indexes that come or go between two batches. Out: the next batch of any part. It applies none
//! and tells none: that is the processor's business.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock, Weak};

use futures::future::select_all;
use tokio_util::sync::DropGuard;

use super::parts::Part;
use crate::delta_fifo::{Batch, DeltaFifo};
use crate::event::Event;
use crate::key::ObjectKey;
use crate::object::Cached;
use crate::store::StoreWriter;

/// The store, what fills it, and those who hear inline of what it is told; errands are about these.
pub(super) struct Told<K> {
    /// One a part of the store; at least one.
    queues: Vec<Queue<K>>,
    pub(super) writer: StoreWriter<K>,
    pub(super) sources: Vec<Source<K>>,
    pub(super) left: Option<Left<K>>,
    /// The object at which a source panicked.
    pub(super) source_panic: Arc<OnceLock<ObjectKey>>,
}

/// A part that has just left the store.
pub(super) struct Left<K> {
    /// The ends of what was cached of it, to be told of.
    pub(super) events: Vec<Event<K>>,
    /// Dropped when they have been.
    pub(super) told: DropGuard,
}

pub(super) type Tell<K> = Box<dyn Fn(&Event<K>) + Send + Sync>;

/// A function that is called inline with every event.
pub(super) struct Source<K> {
    tell: Tell<K>,
    /// It lasts as long as this does; `None`: as long as the processor.
    active: Option<Weak<()>>,
}

/// A part of the store, and the queue that it is filled from.
struct Queue<K> {
    part: usize,
    fifo: DeltaFifo<K>,
}

impl<K: Cached> Told<K> {
    /// The parts are numbered as the writer's are.
    pub(super) fn new(fifos: Vec<DeltaFifo<K>>, writer: StoreWriter<K>) -> Self {
        let queues = fifos.into_iter().enumerate().map(|(part, fifo)| Queue { part, fifo }).collect();
        Self { queues, writer, sources: Vec::new(), left: None, source_panic: Arc::default() }
    }

    /// Sources that were there before it runs hear of what was saved.
    pub(super) fn tell_what_is_there(&self) {
        self.writer.store().for_each(|object| {
            let added = Event::Added { object: Arc::clone(object), initial: true };
            self.tell_sources(&added);
        });
    }

    /// Goes on with a panic of one of them, when it has been noted at which object.
    pub(super) fn tell_sources(&self, event: &Event<K>) {
        self.sources.iter().for_each(|source| self.tell(source, event));
    }

    fn tell(&self, source: &Source<K>, event: &Event<K>) {
        // Whoever has the informer run hears of the panic, and what it breaks isn't used any more.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (source.tell)(event))) {
            // The first one ends it.
            let _ = self.source_panic.set(ObjectKey::of(&**event.object()));
            resume_unwind(panic);
        }
    }

    /// Adds a source while it runs: it first hears of everything that is there, unless it has gone meanwhile.
    pub(super) fn add_source(&mut self, tell: Tell<K>, active: Weak<()>) {
        let source = Source { tell, active: Some(active) };
        if !source.is_active() {
            return;
        }
        self.writer
            .store()
            .for_each(|object| self.tell(&source, &Event::Added { object: Arc::clone(object), initial: true }));
        self.sources.push(source);
    }

    /// From now on this part's batches are moved too.
    pub(super) fn add_part(&mut self, part: &Part<K>) {
        self.writer.add_part(part.number, part.namespace.clone());
        self.queues.push(Queue { part: part.number, fifo: part.fifo.clone() });
    }

    /// Drops what waits of a part, and all that is cached of it; `told` when that has been told of.
    pub(super) fn remove_part(&mut self, part: usize, told: DropGuard) {
        self.queues.extract_if(.., |queue| queue.part == part).for_each(|queue| queue.fifo.close());
        self.left = Some(Left { events: self.writer.remove_part(part), told });
    }

    pub(super) fn has_part(&self, part: usize) -> bool {
        self.queues.iter().any(|queue| queue.part == part)
    }

    /// The next batch of any part; all are asked, another one first at each turn, so that a busy one can't keep the others waiting. Cancel-safe.
    pub(super) async fn next_batch(&self, turn: usize) -> (usize, Option<Batch<K>>) {
        if let [Queue { part, fifo }] = &*self.queues {
            return (*part, fifo.pop().await);
        }
        let (before, from) = self.queues.split_at(turn % self.queues.len());
        let pops =
            from.iter().chain(before).map(|Queue { part, fifo }| Box::pin(async move { (*part, fifo.pop().await) }));
        select_all(pops).await.0
    }

    /// Nobody pushes any more.
    pub(super) fn close(&self) {
        self.queues.iter().for_each(|queue| queue.fifo.close());
    }
}

impl<K> Source<K> {
    /// As long as the processor.
    pub(super) fn lasting(tell: Tell<K>) -> Self {
        Self { tell, active: None }
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.strong_count() > 0)
    }
}
