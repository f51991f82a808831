//! The server as a value: state behind one lock, the signals that wake watchers, the audit.
//!
//! Comes in: decided requests. Goes out: snapshots and wake-ups. The lock is held while something is decided or copied by
//! reference, never over an await and never while bytes are written to a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::ageing::Ageing;
use crate::audit::{Audit, WriteRecord};
use crate::clock::Clock;
use crate::config::Config;
use crate::fault::{Core, Faults, Record};
use crate::kinds::{self, KINDS, KindId};
use crate::namespace;
use crate::replica::{Replica, Routing, View};
use crate::service::Service;
use crate::signal::{Listener, Signal};
use crate::status::Failure;
use crate::store::{Snapshot, Store};
use crate::transaction::Transaction;

/// How long a read of a version that isn't there yet waits for it. Upstream's blockTimeout.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

/// Makes the routes of a seed other than its names.
const ROUTING: u64 = 0x726f_7574_696e_6721;
/// The same for the order of dispatch.
const DISPATCH: u64 = 0x6469_7370_6174_6368;

/// An API server: a cheap handle, all clones of which are one server.
///
/// It does nothing by itself: no task, no thread, no socket. Reach it through [`ApiServer::service`] in process, or through
/// [`listen::serve`](crate::listen::serve).
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) state: Mutex<State>,
    pub(crate) faults: Arc<Core>,
    audit: Mutex<Audit>,
    /// Rings at every write.
    head: Signal,
    /// Ring when something of their kind is written.
    kinds: Vec<Signal>,
    /// One for each replica: the watches there end.
    closing: Vec<Signal>,
    /// Rings when something was done to a replica.
    control: Signal,
    router: Mutex<Router>,
}

/// Which replica the next request goes to.
struct Router {
    routing: Routing,
    random: fastrand::Rng,
    turn: usize,
}

/// The named bounds and switches a request meets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) watch_buffer: usize,
    pub(crate) watch_patience: Duration,
    pub(crate) body: usize,
    pub(crate) bookmark_interval: Duration,
    pub(crate) streaming_lists: bool,
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) store: Store,
    /// Compacts by age, if that is wanted.
    ageing: Option<Ageing>,
    /// What each replica has seen.
    pub(crate) views: Vec<View>,
    pub(crate) random: fastrand::Rng,
}

impl ApiServer {
    /// A server in which the namespaces `default`, `kube-system`, `kube-public` and `kube-node-lease` exist.
    pub fn new(config: Config) -> Self {
        let replicas = config.replicas.max(1);
        let router =
            Router { routing: Routing::To(0), random: fastrand::Rng::with_seed(config.seed ^ ROUTING), turn: 0 };
        let mut orders = fastrand::Rng::with_seed(config.seed ^ DISPATCH);
        let mut signal = || Signal::new(config.shuffle_dispatch.then(|| orders.fork()));
        let shared = Shared {
            limits: Limits {
                watch_buffer: config.watch_buffer.max(1),
                watch_patience: config.watch_patience,
                body: config.body_limit,
                bookmark_interval: config.bookmark_interval,
                streaming_lists: config.streaming_lists,
            },
            state: Mutex::new(State {
                store: Store::new(KINDS.len(), config.history),
                ageing: config.compact_after.map(Ageing::new),
                views: (0..replicas).map(|_| View::default()).collect(),
                random: fastrand::Rng::with_seed(config.seed),
            }),
            faults: Arc::new(Core::new(
                config.seed,
                Record::new(config.fault_log, config.event_log),
                config.clock.clone(),
            )),
            audit: Mutex::new(Audit::new(config.audit_records, config.audit_log)),
            head: signal(),
            kinds: KINDS.iter().map(|_| signal()).collect(),
            closing: (0..replicas).map(|_| signal()).collect(),
            control: signal(),
            router: Mutex::new(router),
            clock: config.clock,
        };
        if config.chronicle {
            shared.state.lock().store.remember();
        }
        let now = (shared.clock.wall(), shared.clock.now());
        namespace::create_initial(&mut Transaction::new(&mut shared.state.lock(), now, false));
        Self { shared: Arc::new(shared) }
    }

    /// One of the front ends; the last one where there are fewer.
    pub fn replica(&self, index: usize) -> Replica {
        Replica { server: self.clone(), index: index.min(self.shared.closing.len() - 1) }
    }

    /// Which replica answers requests from now on that aren't sent to a certain one. At first: replica 0. Running
    /// watches stay where they are.
    pub fn set_routing(&self, routing: Routing) {
        self.shared.router.lock().routing = routing;
    }

    /// A way in without sockets, for one identity: give it to `kube_client::Client::new`.
    pub fn service(&self, identity: &str) -> Service {
        Service::new(self.shared.clone(), identity, CancellationToken::new())
    }

    /// The version of the newest write: what a list taken now would carry.
    pub fn version(&self) -> u64 {
        self.shared.state.lock().store.version()
    }

    /// Makes every version below `version` too old: lists at it, continue tokens from it and watches after it get 410.
    /// Running watches that have seen what is compacted go on. A version not reached yet counts as the present one.
    pub fn compact(&self, version: u64) {
        self.shared.state.lock().store.compact(version);
    }

    /// The present state of everything, to go back to. Copies no objects.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.state.lock().store.snapshot()
    }

    /// Goes back to a state, as a cluster does that is restored from a backup: objects are as they were, and so is the
    /// version, which will be used again for other writes. All watches end; what had been written since is unknown.
    /// Upstream recommends to raise the version afterwards: [`ApiServer::raise_version`].
    pub fn restore(&self, snapshot: &Snapshot) {
        {
            let mut state = self.shared.state.lock();
            state.store.restore(snapshot);
            let version = state.store.version();
            state.views.iter_mut().for_each(|view| view.restored(version));
        }
        self.shared.head.ring();
        self.close_watches();
    }

    /// The next write's version is so much higher than it would be, as after a restore, or where versions have got beyond
    /// 2^53. At most up to 2^63.
    pub fn raise_version(&self, by: u64) {
        self.shared.state.lock().store.jump(by);
    }

    /// Ends every running watch with a clean end of body, as a server does that re-initialises its caches.
    pub fn close_watches(&self) {
        self.shared.close_watches(None);
    }

    /// What goes wrong on purpose: rules, freeze, and the log of requests.
    pub fn faults(&self) -> Faults {
        Faults::new(self.shared.faults.clone())
    }

    /// Who may do what.
    pub fn access(&self) -> Access {
        Access::new(self.shared.faults.clone())
    }

    /// The newest mutating requests, refused ones included, oldest first: at most
    /// [`Config::audit_records`](crate::Config::audit_records).
    pub fn writes(&self) -> Vec<WriteRecord> {
        self.shared.audit.lock().records()
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiServer").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Runs one decision of a replica under the lock and records it; `decide` says what the record shall say.
    ///
    /// The audit's lock is taken before the state's is let go: the order of records is the order of decisions, while
    /// readers needn't wait for the audit log to be written.
    pub(crate) fn decide<T>(
        &self,
        replica: usize,
        dry_run: bool,
        decide: impl FnOnce(&mut Transaction<'_>) -> (T, WriteRecord),
    ) -> T {
        let now = self.clock.wall();
        let mut state = self.state.lock();
        let now = state.views[replica].wall(now);
        let at = self.clock.now();
        let mut transaction = Transaction::new(&mut state, (now, at), dry_run);
        let (answer, record) = decide(&mut transaction);
        let mut touched = transaction.touched();
        let version = state.store.version();
        if !touched.is_empty() {
            if let Some(old) = state.ageing.as_mut().and_then(|ageing| ageing.old(version, at)) {
                state.store.compact(old);
            }
            state.views.iter_mut().for_each(|view| view.written(version, at));
            if state.views.iter().any(View::counts_writes) {
                touched = kinds::all().map(|(id, _)| id).collect();
            }
        }
        let mut audit = self.audit.lock();
        drop(state);
        audit.record(record);
        drop(audit);
        self.announce(&touched);
        answer
    }

    /// Records a request that was refused before it got near the state.
    pub(crate) fn refuse(&self, record: WriteRecord) {
        self.audit.lock().record(record);
    }

    fn announce(&self, touched: &[KindId]) {
        if touched.is_empty() {
            return;
        }
        touched.iter().for_each(|kind| self.kinds[kind.0].ring());
        self.head.ring();
    }

    /// Wakes when `kind` has changed.
    pub(crate) fn changed(&self, kind: KindId) -> Listener {
        self.kinds[kinds::stored(kind).0].listen()
    }

    /// Wakes when anything was written.
    pub(crate) fn written(&self) -> Listener {
        self.head.listen()
    }

    /// Wakes when all watches of a replica are to end.
    pub(crate) fn closing(&self, replica: usize) -> Listener {
        self.closing[replica].listen()
    }

    /// Wakes when something was done to a replica.
    pub(crate) fn control(&self) -> Listener {
        self.control.listen()
    }

    /// Ends the watches of one replica, or all.
    pub(crate) fn close_watches(&self, replica: Option<usize>) {
        let chosen = self.closing.iter().enumerate().filter(|(index, _)| replica.is_none_or(|only| only == *index));
        chosen.for_each(|(_, closing)| closing.ring());
    }

    /// Changes what a replica sees, given the time and the newest version.
    pub(crate) fn change_view(&self, replica: usize, change: impl FnOnce(&mut View, Instant, u64)) {
        let mut state = self.state.lock();
        let now = self.clock.now();
        // What it shows until now, it has shown.
        state.shown(replica, now);
        let present = state.store.version();
        change(&mut state.views[replica], now, present);
        drop(state);
        self.control.ring();
    }

    /// The newest version that a replica shows.
    pub(crate) fn shown(&self, replica: usize) -> u64 {
        self.state.lock().shown(replica, self.clock.now())
    }

    /// The replica that a request of this identity goes to.
    pub(crate) fn route(&self, identity: &str) -> usize {
        let replicas = self.closing.len();
        let mut router = self.router.lock();
        match router.routing {
            Routing::To(index) => index.min(replicas - 1),
            Routing::ByIdentity => identity.bytes().fold(0, |sum, byte| (sum * 31 + usize::from(byte)) % replicas),
            Routing::Random => router.random.usize(..replicas),
            Routing::RoundRobin => {
                router.turn = (router.turn + 1) % replicas;
                router.turn
            }
        }
    }

    /// Refuses what needs a replica's cache while that isn't initialised.
    pub(crate) fn check_ready(&self, replica: usize) -> Result<(), Failure> {
        let unready = self.state.lock().views[replica].unready_for(self.clock.now());
        unready.map_or(Ok(()), |since| Err(Failure::not_ready(since)))
    }

    /// Waits until a replica shows at least `version`, at most three seconds. Cancel safe.
    pub(crate) async fn reach(&self, replica: usize, version: u64) -> Result<(), Failure> {
        let deadline = self.clock.now() + FUTURE_WAIT;
        let (mut head, mut control) = (self.head.listen(), self.control.listen());
        loop {
            head.hear();
            control.hear();
            let (shown, next) = {
                let mut state = self.state.lock();
                (state.shown(replica, self.clock.now()), state.views[replica].next())
            };
            if shown >= version {
                return Ok(());
            }
            if self.clock.now() >= deadline {
                return Err(Failure::too_large_version(version, shown));
            }
            let wake = next.map_or(deadline, |next| next.min(deadline));
            tokio::select! {
                biased;
                () = head.rung() => {}
                () = control.rung() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Waits until a replica has seen everything that is written now. Cancel safe.
    pub(crate) async fn catch_up(&self, replica: usize) -> Result<(), Failure> {
        let present = self.state.lock().store.version();
        self.reach(replica, present).await
    }
}

impl State {
    /// The newest version that a replica shows.
    pub(crate) fn shown(&mut self, replica: usize, now: Instant) -> u64 {
        let reach = (self.store.oldest(), self.store.version());
        self.views[replica].shown(reach, now)
    }

    /// For how long a replica has shown a change.
    pub(crate) fn shown_for(&self, replica: usize, (kind, version): (KindId, u64), now: Instant) -> Duration {
        let view = &self.views[replica];
        let (writes, time) = view.delay();
        // Unknown where a lag by writes was ended by a write to another kind: then since the next one to this.
        let written = self.store.written(kind, version.saturating_add(writes));
        let since = written.map(|written| view.since().map_or(written + time, |since| since.max(written + time)));
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}
