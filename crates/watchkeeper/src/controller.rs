//! A controller: a queue fed by informers, and a reconciler behind it.
//!
//! In: informers, each being set up or shared. Out: something the manager runs for the length of a term. It never starts anything itself.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use kube_client::Resource;
use tokio::task::JoinSet;
use watchkeeper_informer::{Cached, InformerHandle, ObjectKey};
use watchkeeper_workqueue::WorkQueue;

use crate::informers::{Heard, Informs};
use crate::reconcile::Reconciler;
use crate::source;
use crate::worker::Shift;

/// A queue, a reconciler and how many workers stand between them.
pub struct Controller<K, R> {
    pub(crate) name: String,
    pub(crate) queue: WorkQueue<ObjectKey>,
    pub(crate) informer: InformerHandle<K>,
    pub(crate) reconciler: R,
    pub(crate) reconcile_timeout: Duration,
    workers: usize,
    /// What keeps its sources, and informers that are shared, going.
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl<K: Cached, R: Reconciler<K>> Controller<K, R> {
    /// A controller of the objects of `informer`: every event about one queues its key. One worker, a deadline of one minute a pass.
    ///
    /// `name` stands in logs and metrics. Upstream: `ctrl.NewControllerManagedBy(mgr).For(..)`.
    pub fn new(name: &str, informer: impl Informs<K>, reconciler: R) -> Self {
        let queue = WorkQueue::new(watchkeeper_workqueue::Config { name: name.to_owned(), ..Default::default() });
        let sink = queue.clone();
        // A refused key means that the queue is shut down: the next leader queues every key anyway.
        let Heard { handle, kept } = informer.tell(move |event| _ = sink.add(source::itself(event)));
        let (name, reconcile_timeout, kept) = (name.to_owned(), Duration::from_secs(60), vec![kept]);
        Self { name, queue, informer: handle, reconciler, reconcile_timeout, workers: 1, kept }
    }

    /// Also queues the `K` that controls an object of `informer` (by ownerReference) when that object changes.
    /// Upstream: `Owns(..)`.
    #[must_use]
    pub fn owns<C: Cached + Resource>(mut self, informer: impl Informs<C>) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        let sink = self.queue.clone();
        let heard = informer.tell(move |event| {
            for key in source::owners::<K, C>(event) {
                _ = sink.add(key);
            }
        });
        self.kept.push(heard.kept);
        self
    }

    /// How many keys are worked on at once (at least 1). Upstream: `MaxConcurrentReconciles`, default 1.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// The deadline of one pass; a pass that exceeds it is cancelled and counts as failed.
    #[must_use]
    pub fn reconcile_timeout(mut self, timeout: Duration) -> Self {
        self.reconcile_timeout = timeout;
        self
    }

    /// The queue, for keys that come from elsewhere (a timer, another system). Keys wait there for the next term. Upstream:
    /// `source.Channel`; for `Watches(..)` with a map function or predicates, add a source to an informer that filters and adds keys here.
    pub fn queue(&self) -> WorkQueue<ObjectKey> {
        self.queue.clone()
    }
}

/// What the manager knows of a controller, whatever its kind.
pub(crate) trait TermWork: Send + Sync {
    /// Queues every key of the cache: at the start of a term the last leader's timers are gone.
    fn queue_every_key(&self) -> usize;
    /// Starts the workers of one term.
    fn start(self: Arc<Self>, workers: &mut JoinSet<()>, shift: &Shift);
    /// No more keys, ever.
    fn shut_down(&self);
}

impl<K: Cached, R: Reconciler<K>> TermWork for Controller<K, R> {
    fn queue_every_key(&self) -> usize {
        let keys = self.informer.keys();
        let count = keys.len();
        for key in keys {
            _ = self.queue.add(key);
        }
        count
    }

    fn start(self: Arc<Self>, workers: &mut JoinSet<()>, shift: &Shift) {
        for worker in 0..self.workers {
            workers.spawn(self.clone().work(shift.clone(), worker));
        }
    }

    fn shut_down(&self) {
        self.queue.shut_down();
    }
}
