//! Our side: the queue between reflector and store, as an informer makes it.
//!
//! In: which queue, and a workload. Out: its figure.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use watchkeeper::BoxError;
use watchkeeper_informer::delta_fifo::{Batch, Change, Coalescing, Delta, FifoLimits, Ordered, Work};
use watchkeeper_informer::{DeltaFifo, ResourceVersion};

use super::{Figure, Workload};
use crate::queue::cpu::{each, thread_time};
use crate::queue::ours::one_thread;

/// What it keeps of the deltas that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Coalescing,
    Ordered,
}

impl Queue {
    pub(super) const ALL: [Self; 2] = [Self::Coalescing, Self::Ordered];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Coalescing => "coalescing",
            Self::Ordered => "ordered",
        }
    }

    pub(super) fn coalesces(self) -> bool {
        self == Self::Coalescing
    }

    fn make(self) -> DeltaFifo<Pod> {
        let limits = FifoLimits::default();
        match self {
            Self::Coalescing => DeltaFifo::with_queue(Coalescing::default(), limits),
            Self::Ordered => DeltaFifo::with_queue(Ordered::default(), limits),
        }
    }
}

/// How large an object says it was.
const BYTES: usize = 10_000;

/// Versions are made for so many objects at a time.
const PIECE: usize = 1_000;

pub(super) fn measure(queue: Queue, workload: Workload, n: usize) -> Result<Figure, BoxError> {
    let objects = objects(workload);
    let fifo = queue.make();
    let (mut push, mut pop, mut popped, mut version) = (Duration::ZERO, Duration::ZERO, 0, 0_u64);
    let turns = objects.chunks(workload.pending * workload.updates).cycle().take(workload.turns(n));
    one_thread()?.block_on(async {
        for turn in turns {
            for piece in turn.chunks(PIECE) {
                let pushed: Vec<(Delta<Pod>, ResourceVersion)> = (piece.iter())
                    .map(|object| {
                        version += 1;
                        (Delta::Applied(object.clone()), ResourceVersion::new(&version.to_string()))
                    })
                    .collect();
                let began = thread_time();
                for (delta, version) in pushed {
                    fifo.push(delta, BYTES, version);
                }
                push += thread_time() - began;
            }
            let began = thread_time();
            while fifo.depth() > 0 {
                let Batch { work, receipt, .. } = fifo.pop().await.ok_or("the queue was closed")?;
                if let Work::Changes(changes) = work {
                    popped += changes.into_iter().map(look).count();
                }
                receipt.applied();
            }
            pop += thread_time() - began;
        }
        let deltas = workload.deltas(n);
        Ok(Figure { push: each(push, deltas), pop: each(pop, deltas), popped })
    })
}

fn look(change: Change<Pod>) {
    match black_box(change) {
        Change::Applied(object) | Change::Deleted { last: object, .. } => drop(black_box(object)),
    }
}

/// What all turns push, in order: keys in turn, within a turn as often as the workload says. Made like the peer's.
fn objects(workload: Workload) -> Vec<Arc<Pod>> {
    let turns = (0..workload.keys).step_by(workload.pending);
    let numbers = turns.flat_map(|first| (0..workload.updates).flat_map(move |_| first..first + workload.pending));
    numbers.enumerate().map(|(place, number)| object(number, place + 1)).collect()
}

fn object(number: usize, version: usize) -> Arc<Pod> {
    let metadata = ObjectMeta {
        namespace: Some(format!("namespace-{:04}", number % 100)),
        name: Some(format!("deployment-7d4b9c6f5d-{number:012}")),
        uid: Some(format!("00000000-0000-4000-8000-{number:012}")),
        resource_version: Some(version.to_string()),
        ..ObjectMeta::default()
    };
    Arc::new(Pod { metadata, ..Pod::default() })
}
