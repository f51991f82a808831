//! Our side: the queue between reflector and store, as an informer makes it.
//!
//! In: which queue, and a workload. Out: its figure.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use watchkeeper::BoxError;
use watchkeeper_informer::delta_fifo::{Batch, Coalescing, Delta, FifoLimits, Ordered, Work};
use watchkeeper_informer::{DeltaFifo, ResourceVersion};

use super::{Figure, Workload};
use crate::cpu_time::{each, thread_time};
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

/// Objects are made so many at a time, shortly before they are pushed, as a watch brings them.
const PIECE: usize = 100;

pub(super) fn measure(queue: Queue, workload: Workload, n: usize) -> Result<Figure, BoxError> {
    let fifo = queue.make();
    let (mut push, mut pop, mut popped, mut version) = (Duration::ZERO, Duration::ZERO, 0, 0);
    one_thread()?.block_on(async {
        for turn in 0..workload.turns(n) {
            let first = turn * workload.pending % workload.keys;
            let numbers = (0..workload.updates).flat_map(|_| first..first + workload.pending).collect::<Vec<_>>();
            // Both sides free objects outside of the figures: the peer by its collector, whose threads aren't counted.
            let mut kept = Vec::with_capacity(numbers.len());
            for piece in numbers.chunks(PIECE) {
                let mut pushed = Vec::with_capacity(PIECE);
                for number in piece {
                    version += 1;
                    let object = object(*number, version);
                    kept.push(Arc::clone(&object));
                    pushed.push((Delta::Applied(object), ResourceVersion::new(&version.to_string())));
                }
                let began = thread_time();
                for (delta, version) in pushed {
                    fifo.push(delta, BYTES, version);
                }
                push += thread_time() - began;
            }
            let mut handed = Vec::new();
            let began = thread_time();
            while fifo.depth() > 0 {
                let Batch { work, receipt, .. } = fifo.pop().await.ok_or("the queue was closed")?;
                handed.push(work);
                receipt.applied();
            }
            pop += thread_time() - began;
            for work in handed {
                if let Work::Changes(changes) = work {
                    popped += changes.len();
                }
            }
        }
        let deltas = workload.deltas(n);
        Ok(Figure { push: each(push, deltas), pop: each(pop, deltas), popped })
    })
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
