//! A controller: a queue fed by informers, and a reconciler behind it.
//!
//! In: informers, each being set up or shared. Out: something the manager runs for the length of a term. It never starts anything itself.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use kube_client::Resource;
use tokio::task::JoinSet;
use watchkeeper_informer::{Cached, InformerHandle};
use watchkeeper_leader::Buckets;

use crate::informers::{Heard, Informs};
use crate::keys::Keys;
use crate::reconcile::Reconciler;
use crate::source;
use crate::worker::Shift;

/// A queue, a reconciler and how many workers stand between them.
pub struct Controller<K, R> {
    pub(crate) name: String,
    pub(crate) keys: Keys,
    pub(crate) informer: InformerHandle<K>,
    pub(crate) reconciler: R,
    pub(crate) reconcile_timeout: Duration,
    workers: usize,
    gating: Gating,
    /// What keeps its sources, and informers that are shared, going.
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

/// Which Lease a controller's workers stand behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gating {
    /// The manager's, with all others that say so. The default: one write every two seconds, whatever their number.
    #[default]
    Shared,
    /// One of its own, called `<lease>.<controller>`: its controllers may run in different replicas. Asked for upstream as
    /// `kubernetes-sigs/controller-runtime` #364.
    Own,
    /// One a bucket, called `<lease>.<controller>.NN-of-MM`: replicas share the keys, and each key still has one worker set. See
    /// [`Stand::Shared`](watchkeeper_leader::Stand) for how buckets are shared out, and for what to mind when their number changes.
    Buckets(Buckets),
    /// None: every replica works. For what harms nobody when it is done twice; its writes are neither checked nor stamped.
    Always,
}

impl<K: Cached, R: Reconciler<K>> Controller<K, R> {
    /// A controller of the objects of `informer`: every event about one queues its key. One worker, a deadline of one minute a pass.
    ///
    /// `name` stands in logs and metrics. Upstream: `ctrl.NewControllerManagedBy(mgr).For(..)`.
    pub fn new(name: &str, informer: impl Informs<K>, reconciler: R) -> Self {
        let keys = Keys::new(name, ONE);
        let sink = keys.clone();
        let Heard { handle, kept } = informer.tell(move |event| sink.add(source::itself(event)));
        let (name, reconcile_timeout, kept) = (name.to_owned(), Duration::from_secs(60), vec![kept]);
        Self { name, keys, informer: handle, reconciler, reconcile_timeout, workers: 1, gating: Gating::Shared, kept }
    }

    /// Which Lease its workers stand behind.
    #[must_use]
    pub fn gated_by(mut self, gating: Gating) -> Self {
        let buckets = if let Gating::Buckets(buckets) = gating { buckets } else { ONE };
        self.keys.divide(&self.name, buckets);
        self.gating = gating;
        self
    }

    /// Also queues the `K` that controls an object of `informer` (by ownerReference) when that object changes.
    /// Upstream: `Owns(..)`.
    #[must_use]
    pub fn owns<C: Cached + Resource>(mut self, informer: impl Informs<C>) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        let sink = self.keys.clone();
        let heard = informer.tell(move |event| {
            for key in source::owners::<K, C>(event) {
                sink.add(key);
            }
        });
        self.kept.push(heard.kept);
        self
    }

    /// How many keys are worked on at once (at least 1; of a controller with buckets, in each). Upstream: `MaxConcurrentReconciles`, default 1.
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

    /// Where its keys wait, for those that come from elsewhere (a timer, another system). Upstream: `source.Channel`; for `Watches(..)`
    /// with a map function or predicates, add a source to an informer that filters and adds keys here.
    pub fn keys(&self) -> Keys {
        self.keys.clone()
    }
}

/// All keys in one queue.
const ONE: Buckets = match Buckets::new(1) {
    Ok(one) => one,
    Err(_) => unreachable!(),
};

/// What the manager knows of a controller, whatever its kind.
pub(crate) trait TermWork: Send + Sync {
    fn name(&self) -> &str;
    fn gating(&self) -> Gating;
    /// Queues every key of the cache that belongs to a part: at the start of a term the last leader's timers are gone.
    fn queue_every_key(&self, part: usize) -> usize;
    /// Starts the workers of one term.
    fn start(self: Arc<Self>, part: usize, workers: &mut JoinSet<()>, shift: &Shift);
    /// No more keys, ever.
    fn shut_down(&self);
}

impl<K: Cached, R: Reconciler<K>> TermWork for Controller<K, R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn gating(&self) -> Gating {
        self.gating
    }

    fn queue_every_key(&self, part: usize) -> usize {
        let queue = self.keys.part(part);
        let mut count = 0;
        for key in self.informer.keys().into_iter().filter(|key| self.keys.is_of(key, part)) {
            _ = queue.add(key);
            count += 1;
        }
        count
    }

    fn start(self: Arc<Self>, part: usize, workers: &mut JoinSet<()>, shift: &Shift) {
        for worker in 0..self.workers {
            workers.spawn(self.clone().work(self.keys.part(part), shift.clone(), worker));
        }
    }

    fn shut_down(&self) {
        self.keys.shut_down();
    }
}
