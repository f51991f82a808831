//! Our side of `pipeline`: the whole way of an object, from a queue of deltas that is handed decoded objects to a worker.
//!
//! In: how many objects and updates, and a [`Variant`]. Out: a [`Figure`]: events a second and CPU time of the whole process
//! an event, of the initial list and of the updates, and how many adds the work queue absorbed. Objects are made before; what
//! is replaced is freed within the figure.
//!
//! The producer pushes as a reflector does, a piece of a body at a time, and waits for room. Each phase is over when every key
//! was seen by a worker as it is now and nothing is left to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Pod;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::delta_fifo::{Coalescing, Delta, FifoLimits, Ordered, Relisted, Replacement};
use watchkeeper_informer::{
    Cached as _, DeltaFifo, ObjectKey, Processor, Registration, ResourceVersion, ThreadSafeStore,
};
use watchkeeper_workqueue::{Config, WorkQueue};

use super::objects::{Objects, Place, shuffled, version_of};
use super::ours::{app, node};
use super::round::Figure;
use crate::cpu_time::{each, process_time};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How the work queue hears of events, and which deltas wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// By an inline source, of each delta: no event is left out before the work queue.
    Source,
    /// By a handler with a mailbox, which leaves out what is overtaken; a peer has a buffer there.
    Mailbox,
    /// By an inline source, behind the queue that coalesces, as informers have it by default.
    Coalescing,
}

/// What to measure.
#[derive(Args, Clone, Copy)]
pub(crate) struct Pipeline {
    /// How many objects.
    #[arg(long)]
    pub(super) objects: usize,
    /// How many updates after the initial list.
    #[arg(long)]
    pub(super) updates: usize,
    /// How many workers.
    #[arg(long)]
    pub(super) workers: usize,
    /// How the work queue hears of events.
    #[arg(long, value_enum)]
    pub(super) variant: Variant,
}

/// What a decoder hands on at a time.
const PIECE: usize = 100;
/// How large an object says it was as it arrived; so many that wait don't reach the limit of bytes.
const BYTES: usize = 500;
const PATIENCE: Duration = Duration::from_secs(120);

/// What was done in a phase.
struct Tally {
    queue: WorkQueue<ObjectKey>,
    told: AtomicU64,
    served: AtomicU64,
    settled: AtomicU64,
    /// The version of each object that has yet to be seen by a worker; 0: none.
    last: Vec<AtomicU64>,
}

impl Tally {
    fn tell(&self, pod: &Pod) {
        self.told.fetch_add(1, Ordering::Relaxed);
        self.queue.add(ObjectKey::of(pod));
    }

    async fn work(self: Arc<Self>, store: ThreadSafeStore<Pod>) -> Result<(), String> {
        while let Some(item) = self.queue.next().await {
            let pod = store.get(item.key()).ok_or_else(|| format!("{} is not cached", item.key()))?;
            let number = Objects::number_of(item.key().name()).ok_or("a key of another benchmark")?;
            let (version, none) = (version_of(&pod), Ordering::Relaxed);
            if self.last[number].compare_exchange(version, 0, none, none).is_ok() {
                self.settled.fetch_add(1, Ordering::Relaxed);
            }
            self.served.fetch_add(1, Ordering::Relaxed);
            item.done();
        }
        Ok(())
    }

    fn expect(&self, pod: &Pod, number: usize) {
        self.last[number].store(version_of(pod), Ordering::Relaxed);
    }
}

/// One phase, from its start.
struct Phase<'a> {
    name: &'static str,
    events: usize,
    keys: usize,
    tally: &'a Tally,
    fifo: &'a DeltaFifo<Pod>,
    handler: Option<&'a Registration>,
    coalesced: u64,
    began: Instant,
    used: Duration,
}

impl Phase<'_> {
    fn is_over(&self) -> bool {
        let queue = self.tally.queue.snapshot();
        self.tally.settled.load(Ordering::Relaxed) == self.keys as u64
            && self.fifo.is_consumed()
            && self.handler.map_or_else(|| self.are_all_told(), |handler| handler.pending() == 0)
            && queue.ready + queue.in_flight == 0
    }

    /// The store has an event before its source is told, so workers may have seen all objects by then.
    fn are_all_told(&self) -> bool {
        self.tally.told.load(Ordering::Relaxed) + self.fifo.coalesced() - self.coalesced >= self.events as u64
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
    async fn end(self, figure: &mut Figure) -> Result<(), BoxError> {
        let Self { name, events, tally, .. } = self;
        while !self.is_over() {
            if self.began.elapsed() > PATIENCE {
                let (told, settled) = (&tally.told, &tally.settled);
                return Err(format!("{name}: {told:?} events told, {settled:?} of {} keys seen", self.keys).into());
            }
            sleep(Duration::from_millis(1)).await;
        }
        let (took, used) = (self.began.elapsed(), process_time() - self.used);
        let coalesced = self.fifo.coalesced() - self.coalesced;
        let [told, served, settled] =
            [&tally.told, &tally.served, &tally.settled].map(|count| count.swap(0, Ordering::Relaxed));
        figure.row(&format!("{name} events"), events as f64 / took.as_secs_f64());
        figure.row(&format!("{name} cpu"), each(used, events));
        figure.row(&format!("{name} absorbed"), told.saturating_sub(served) as f64);
        figure.row(&format!("{name} coalesced"), (events as u64).saturating_sub(told) as f64);
        let by_mailbox = if self.handler.is_some() { (events as u64).saturating_sub(told + coalesced) } else { 0 };
        figure.count(&format!("{name} told"), told + coalesced + by_mailbox);
        figure.count(&format!("{name} seen"), settled);
        Ok(())
    }
}

pub(crate) async fn measure(options: Pipeline) -> Result<Figure, BoxError> {
    let Pipeline { updates, workers, variant, .. } = options;
    let objects = Objects { count: options.objects };
    let tally = Arc::new(Tally {
        queue: WorkQueue::new(Config::default()),
        told: AtomicU64::new(0),
        served: AtomicU64::new(0),
        settled: AtomicU64::new(0),
        last: (0..objects.count).map(|_| AtomicU64::new(0)).collect(),
    });
    let fifo = match variant {
        Variant::Source | Variant::Mailbox => DeltaFifo::with_queue(Ordered::default(), FifoLimits::default()),
        Variant::Coalescing => DeltaFifo::with_queue(Coalescing::default(), FifoLimits::default()),
    };
    let mut processor = Processor::new(fifo.clone());
    processor.writer().add_index("node", node);
    processor.writer().add_index("app", app);
    let telling = Arc::clone(&tally);
    let handler = match variant {
        Variant::Mailbox => Some(processor.add_handler(move |event| telling.tell(event.object()))),
        Variant::Source | Variant::Coalescing => {
            processor.add_source(move |event| telling.tell(event.object()));
            None
        }
    };
    let mut working = JoinSet::new();
    for _ in 0..workers {
        working.spawn(Arc::clone(&tally).work(processor.store()));
    }
    let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
    running.spawn(processor.run(stop.clone()));
    let phase = |name, events, keys| {
        let (fifo, handler, coalesced) = (&fifo, handler.as_ref(), fifo.coalesced());
        Phase {
            name,
            events,
            keys,
            tally: &tally,
            fifo,
            handler,
            coalesced,
            began: Instant::now(),
            used: process_time(),
        }
    };
    let mut figure = Figure::default();

    let items = (0..objects.count).map(|number| {
        let pod = Arc::new(objects.pod(0, number, Place::First));
        tally.expect(&pod, number);
        Relisted::new(pod)
    });
    let replacement = Replacement { items: items.collect(), version: version(objects.version(1, 0) - 1) };
    let initial = phase("initial", objects.count, objects.count);
    fifo.replace(replacement);
    initial.end(&mut figure).await?;

    let order = shuffled(objects.count);
    let handed: Vec<Arc<Pod>> = (0..updates)
        .map(|place| {
            let number = order[place % objects.count];
            // In the order of their versions, as a watch sends them.
            let pod = Arc::new(objects.state(objects.version(1, place), number, Place::First));
            tally.expect(&pod, number);
            pod
        })
        .collect();
    let update = phase("update", updates, updates.min(objects.count));
    for (place, pod) in handed.into_iter().enumerate() {
        let version = ResourceVersion::new(pod.version());
        fifo.push(Delta::Applied(pod), BYTES, version);
        if (place + 1) % PIECE == 0 {
            fifo.room().await;
            yield_now().await; // It reads on from its socket.
        }
    }
    update.end(&mut figure).await?;
    tally.queue.shut_down();
    while let Some(ended) = working.join_next().await {
        ended??;
    }
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended?;
    }
    Ok(figure)
}

fn version(version: usize) -> ResourceVersion {
    ResourceVersion::new(&version.to_string())
}
