//! A controller's keys: one queue, or one a bucket.
//!
//! In: keys, from events and from elsewhere. Out: the queue each belongs to. Never: a key in two queues.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use watchkeeper_informer::ObjectKey;
use watchkeeper_leader::Buckets;
use watchkeeper_workqueue::WorkQueue;

/// Where the keys of one controller wait for their turn; cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<RwLock<Division>>);

/// How the keys are divided. Changes only while the controller is being set up.
struct Division {
    buckets: Buckets,
    /// One a bucket.
    queues: Vec<WorkQueue<ObjectKey>>,
}

impl Keys {
    pub(crate) fn new(name: &str, buckets: Buckets) -> Self {
        Self(Arc::new(RwLock::new(Division::new(name, buckets))))
    }

    /// Adds a key to the queue it belongs to. While no term lasts it waits there. A refused key means that the queue is shut down: the
    /// next leader queues every key anyway.
    pub fn add(&self, key: ObjectKey) {
        _ = self.queue_of(&key).add(key);
    }

    /// Adds a key when this time has passed.
    pub fn add_after(&self, key: ObjectKey, delay: Duration) {
        _ = self.queue_of(&key).add_after(key, delay);
    }

    /// The queue that a key belongs to, for everything else that a queue can do.
    pub fn queue_of(&self, key: &ObjectKey) -> WorkQueue<ObjectKey> {
        let division = self.0.read();
        division.queues[division.part_of(key)].clone()
    }

    /// Divides the keys anew. What was queued before belongs to no queue any more; a term begins with every key.
    pub(crate) fn divide(&self, name: &str, buckets: Buckets) {
        let old = std::mem::replace(&mut *self.0.write(), Division::new(name, buckets));
        for queue in old.queues {
            queue.shut_down();
        }
    }

    /// How many queues there are.
    pub(crate) fn parts(&self) -> usize {
        self.0.read().queues.len()
    }

    /// The queue of a part.
    pub(crate) fn part(&self, part: usize) -> WorkQueue<ObjectKey> {
        self.0.read().queues[part].clone()
    }

    /// Whether a key belongs to a part.
    pub(crate) fn is_of(&self, key: &ObjectKey, part: usize) -> bool {
        self.0.read().part_of(key) == part
    }

    pub(crate) fn shut_down(&self) {
        for part in 0..self.parts() {
            self.part(part).shut_down();
        }
    }
}

impl Division {
    fn new(name: &str, buckets: Buckets) -> Self {
        let queue = |name: String| WorkQueue::new(watchkeeper_workqueue::Config { name, ..Default::default() });
        let queues = match buckets.count() {
            1 => vec![queue(name.to_owned())],
            _ => buckets.all().map(|bucket| queue(format!("{name}.{bucket}"))).collect(),
        };
        Self { buckets, queues }
    }

    fn part_of(&self, key: &ObjectKey) -> usize {
        if self.queues.len() == 1 {
            return 0;
        }
        let bucket = self.buckets.of(key.namespace(), key.name());
        usize::try_from(bucket.index()).unwrap_or(0)
    }
}
