//! The server as a value: state behind one lock, the signals that wake watchers, the audit.
//!
//! Comes in: decided requests. Goes out: snapshots and wake-ups. The lock is held while something is decided or copied by
//! reference, never over an await and never while bytes are written to a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, WriteRecord};
use crate::clock::Clock;
use crate::config::Config;
use crate::kinds::{KINDS, KindId};
use crate::namespace;
use crate::service::Service;
use crate::status::Failure;
use crate::store::Store;
use crate::transaction::Transaction;

/// How long a read of a version that isn't there yet waits for it. Upstream's blockTimeout.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

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
    audit: Mutex<Audit>,
    head: watch::Sender<u64>,
    kinds: Vec<watch::Sender<u64>>,
    closing: watch::Sender<u64>,
}

/// The named bounds and switches a request meets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) watch_lag: usize,
    pub(crate) body: usize,
    pub(crate) bookmark_interval: Duration,
    pub(crate) streaming_lists: bool,
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) random: fastrand::Rng,
}

impl ApiServer {
    /// A server in which the namespaces `default`, `kube-system`, `kube-public` and `kube-node-lease` exist.
    pub fn new(config: Config) -> Self {
        let shared = Shared {
            limits: Limits {
                watch_lag: config.watch_lag,
                body: config.body_limit,
                bookmark_interval: config.bookmark_interval,
                streaming_lists: config.streaming_lists,
            },
            state: Mutex::new(State {
                store: Store::new(KINDS.len(), config.history),
                random: fastrand::Rng::with_seed(config.seed),
            }),
            audit: Mutex::new(Audit::new(config.audit_records, config.audit_log)),
            head: watch::Sender::new(0),
            kinds: KINDS.iter().map(|_| watch::Sender::new(0)).collect(),
            closing: watch::Sender::new(0),
            clock: config.clock,
        };
        let now = shared.clock.wall();
        namespace::create_initial(&mut Transaction::new(&mut shared.state.lock(), now, false));
        shared.head.send_replace(shared.state.lock().store.version());
        Self { shared: Arc::new(shared) }
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

    /// Ends every running watch with a clean end of body, as a server does that re-initialises its caches.
    pub fn close_watches(&self) {
        self.shared.closing.send_modify(|generation| *generation += 1);
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
    /// Runs one decision under the lock and records it; `decide` says what the record shall say.
    ///
    /// The audit's lock is taken before the state's is let go: the order of records is the order of decisions, while
    /// readers needn't wait for the audit log to be written.
    pub(crate) fn decide<T>(&self, dry_run: bool, decide: impl FnOnce(&mut Transaction<'_>) -> (T, WriteRecord)) -> T {
        let now = self.clock.wall();
        let mut state = self.state.lock();
        let mut transaction = Transaction::new(&mut state, now, dry_run);
        let (answer, record) = decide(&mut transaction);
        let touched = transaction.touched();
        let version = state.store.version();
        let mut audit = self.audit.lock();
        drop(state);
        audit.record(record);
        drop(audit);
        self.announce(&touched, version);
        answer
    }

    /// Records a request that was refused before it got near the state.
    pub(crate) fn refuse(&self, record: WriteRecord) {
        self.audit.lock().record(record);
    }

    fn announce(&self, touched: &[KindId], version: u64) {
        // Two writers may get here in either order: the signal never goes back.
        let raise = |seen: &mut u64| {
            let newer = *seen < version;
            *seen = version.max(*seen);
            newer
        };
        for kind in touched {
            self.kinds[kind.0].send_if_modified(raise);
        }
        if !touched.is_empty() {
            self.head.send_if_modified(raise);
        }
    }

    /// Wakes when `kind` has changed.
    pub(crate) fn changed(&self, kind: KindId) -> watch::Receiver<u64> {
        self.kinds[kind.0].subscribe()
    }

    /// Wakes when all watches are to end.
    pub(crate) fn closing(&self) -> watch::Receiver<u64> {
        self.closing.subscribe()
    }

    /// Waits until the newest write is at least `version`, at most three seconds. Cancel safe.
    pub(crate) async fn reach(&self, version: u64) -> Result<(), Failure> {
        let mut head = self.head.subscribe();
        let reached = timeout(FUTURE_WAIT, head.wait_for(|present| *present >= version)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Failure::too_large_version(version, self.state.lock().store.version())),
        }
    }
}
