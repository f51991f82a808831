//! The manager: start order, terms, stop order.
//!
//! In: informers and controllers, a way to the API server, who this is in the election. Out: nothing, until everything has ended.
//!
//! ```text
//! start   elector (own thread), informers          warm on standby: only workers wait for a term
//! a term  won → informers catch up with a read made after the acquire → every key queued once → gate opens → workers
//! loss    gate closes → work is cancelled → joined within J, else the hard stop → stand again
//! stop    no new keys → finish within the drain bound, still renewing → gate closes → joined within J → Lease released
//!         → elector ends → informers end
//! ```
//!
//! Upstream: `kubernetes-sigs/controller-runtime:pkg/manager/internal.go`, which ends the process when the Lease is lost.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::{Cached, SharedInformer};
use watchkeeper_leader::{
    Candidacy, CloseReason, ConfigError, Elector, ElectorConfig, ElectorFailure, ElectorThread, End, FenceConfig,
    GateClock, KubeLeaseLock, Standing, Term, spawn_elector_thread,
};

use crate::client::GatedClient;
use crate::connection::{Connection, ConnectionError};
use crate::controller::{Controller, TermWork};
use crate::hard_stop::HardStop;
use crate::informers::Informers;
use crate::reconcile::Reconciler;
use crate::worker::Shift;

/// How long a failed catch-up at the start of a term waits before the next try.
const CATCH_UP_RETRY: Duration = Duration::from_millis(500);

/// What a manager needs to know.
pub struct ManagerConfig {
    /// How to reach the API server.
    pub connection: Connection,
    /// Which Lease, who this is, and the timings (checked when the manager starts).
    pub elector: ElectorConfig,
    /// The clock by which the gate is judged.
    pub clock: Arc<dyn GateClock>,
    /// Where the elector runs.
    pub elector_on: ElectorOn,
    /// Bounds of gated writes.
    pub fence: FenceConfig,
    /// How long keys in hand may be finished at a clean stop. With the stop bound and one request it should stay below the
    /// pod's terminationGracePeriodSeconds (30 s by default).
    pub drain_bound: Duration,
    /// What happens when work does not stop within the stop bound J.
    pub hard_stop: HardStop,
}

impl ManagerConfig {
    /// Twenty seconds to drain; the process is ended if work can't be stopped.
    pub fn new(connection: Connection, elector: ElectorConfig) -> Self {
        let request_timeout = elector.timings.request_timeout;
        Self {
            connection,
            elector,
            clock: Arc::new(watchkeeper_leader::BootClock),
            elector_on: ElectorOn::OwnThread,
            fence: FenceConfig { write_timeout: request_timeout, ..FenceConfig::default() },
            drain_bound: Duration::from_secs(20),
            hard_stop: HardStop::Abort,
        }
    }
}

/// Where the elector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectorOn {
    /// On a thread and runtime of its own, so that busy or blocking workers can't keep it from renewing.
    OwnThread,
    /// Beside the workers: for simulations, whose time must be one runtime's.
    ThisRuntime,
}

/// A running elector.
enum Electing {
    Thread(ElectorThread),
    Task(JoinSet<()>),
}

impl Electing {
    async fn join(self) -> Result<(), ManagerError> {
        match self {
            Self::Thread(thread) => Ok(thread.join().await?),
            Self::Task(mut task) => match task.join_next().await {
                Some(Err(_panic)) => Err(ManagerError::ElectorGone),
                _ => Ok(()),
            },
        }
    }
}

/// Whether this process acts.
#[derive(Clone)]
pub enum Leadership {
    /// Another process acts, or none.
    Standby,
    /// The Lease is won, the gate is still closed: the informers catch up.
    Starting(Term),
    /// Workers act.
    Acting(Term),
}

type Runs = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;
type CatchUp = Box<dyn Fn() -> BoxFuture<'static, Result<(), watchkeeper_informer::RequestError>> + Send + Sync>;

/// Runs informers all the time and controllers while this process holds the Lease.
pub struct Manager {
    informers: Vec<Runs>,
    terms: Terms,
}

/// What terms are made of.
struct Terms {
    config: ManagerConfig,
    catch_ups: Vec<CatchUp>,
    controllers: Vec<Arc<dyn TermWork>>,
    leadership: watch::Sender<Leadership>,
}

impl Manager {
    /// Starts nothing.
    pub fn new(config: ManagerConfig) -> Self {
        let leadership = watch::Sender::new(Leadership::Standby);
        let terms = Terms { config, catch_ups: Vec::new(), controllers: Vec::new(), leadership };
        Self { informers: Vec::new(), terms }
    }

    /// Runs `informer` from start to stop, and lets it catch up before each term.
    #[must_use]
    pub fn informer<K: Cached>(mut self, informer: SharedInformer<K>) -> Self {
        let handle = informer.handle();
        self.terms.catch_ups.push(Box::new(move || {
            let handle = handle.clone();
            Box::pin(async move {
                handle.synced().await;
                handle.catch_up().await
            })
        }));
        self.informers.push(Box::new(move |stop| Box::pin(informer.run(stop))));
        self
    }

    /// Runs informers that are shared from start to stop, and lets all there are catch up before each term.
    #[must_use]
    pub fn informers(mut self, informers: &Informers) -> Self {
        let (factory, running) = (informers.factory().clone(), informers.factory().clone());
        self.terms.catch_ups.push(Box::new(move || {
            let factory = factory.clone();
            Box::pin(async move { factory.catch_up().await })
        }));
        self.informers.push(Box::new(move |stop| Box::pin(async move { running.run(stop).await })));
        self
    }

    /// Runs the workers of `controller` during terms.
    #[must_use]
    pub fn controller<K: Cached, R: Reconciler<K>>(mut self, controller: Controller<K, R>) -> Self {
        self.terms.controllers.push(Arc::new(controller));
        self
    }

    /// Whether this process acts, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.terms.leadership.subscribe()
    }

    /// Runs until `shutdown` is cancelled and everything has ended: when it has returned there is no write, no handler call and no task
    /// of ours (I10). Not cancel safe: cancel `shutdown` instead of dropping the future, which would leave the Lease to run out.
    ///
    /// # Errors
    /// A configuration that can't be safe, a connection that can't be made, an informer that panicked.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ManagerError> {
        let Self { informers: runs, terms } = self;
        let plain = terms.config.connection.client()?;
        let (elector_stop, informer_stop) = (CancellationToken::new(), CancellationToken::new());
        let (mut candidacy, elector) = terms.start_elector(elector_stop.clone())?;
        let mut informers: JoinSet<()> = runs.into_iter().map(|run| run(informer_stop.clone())).collect();

        let result = terms.one_after_the_other(&mut candidacy, &mut informers, plain, &shutdown).await;

        for controller in &terms.controllers {
            controller.shut_down();
        }
        elector_stop.cancel();
        // A term that was won while the stop was asked for: nothing has acted in it, so it is given back at once.
        while let Some(standing) = candidacy.next_term().await {
            standing.end(End::Release).await;
        }
        let elected = elector.join().await;
        informer_stop.cancel();
        while let Some(ended) = informers.join_next().await {
            ended.map_err(|_| ManagerError::Informer)?;
        }
        // Why the elector ended says more than that it ended.
        elected?;
        result
    }
}

impl Terms {
    fn start_elector(&self, stop: CancellationToken) -> Result<(Candidacy, Electing), ManagerError> {
        let ManagerConfig { connection, elector, clock, elector_on, .. } = &self.config;
        match elector_on {
            ElectorOn::OwnThread => {
                let connection = connection.clone();
                let connect = move || connection.client().map_err(Into::into);
                let (candidacy, thread) = spawn_elector_thread(connect, elector.clone(), clock.clone(), stop)?;
                Ok((candidacy, Electing::Thread(thread)))
            }
            ElectorOn::ThisRuntime => {
                let (namespace, name) = (elector.lease_namespace.clone(), elector.lease_name.clone());
                let lock = KubeLeaseLock::new(connection.client()?, namespace, name);
                let (elector, candidacy) = Elector::new(Arc::new(lock), elector.clone(), clock.clone())?;
                let mut task = JoinSet::new();
                task.spawn(elector.run(stop));
                Ok((candidacy, Electing::Task(task)))
            }
        }
    }

    /// Until `shutdown`.
    async fn one_after_the_other(
        &self,
        candidacy: &mut Candidacy,
        informers: &mut JoinSet<()>,
        plain: kube_client::Client,
        shutdown: &CancellationToken,
    ) -> Result<(), ManagerError> {
        loop {
            // Biased: a stop that is asked for wins over a term that was just won.
            let standing = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = informers.join_next() => {
                    // An informer ends by itself only by a panic.
                    return if ended.is_err() || !shutdown.is_cancelled() { Err(ManagerError::Informer) } else { Ok(()) };
                }
                standing = candidacy.next_term() => match standing {
                    Some(standing) => standing,
                    None => return Err(ManagerError::ElectorGone),
                },
            };
            let term = standing.term().clone();
            let client =
                GatedClient::new(&self.config.connection, plain.clone(), term.clone(), self.config.fence.clone())?;
            let how = self.term(&standing, client, shutdown).await;
            self.leadership.send_replace(Leadership::Standby);
            tracing::info!(epoch = %term.epoch(), released = matches!(how, End::Release), "term ended");
            standing.end(how).await;
        }
    }

    /// One term, from the Lease won to the last worker joined.
    async fn term(&self, standing: &Standing, client: GatedClient, shutdown: &CancellationToken) -> End {
        let term = standing.term();
        let over = term.cancelled();
        tracing::info!(identity = %term.identity(), epoch = %term.epoch(), "Lease won; informers catch up before the gate opens");
        self.leadership.send_replace(Leadership::Starting(term.clone()));
        // Nothing has acted yet, so a stop here may release at once. Biased: the end of the term or a stop win over readiness.
        tokio::select! {
            biased;
            () = over.cancelled() => return End::Keep,
            () = shutdown.cancelled() => return End::Release,
            () = self.catch_up() => {}
        }
        let keys: usize = self.controllers.iter().map(|controller| controller.queue_every_key()).sum();
        if standing.open().is_err() {
            return End::Keep;
        }
        tracing::info!(identity = %term.identity(), epoch = %term.epoch(), keys, "gate open: this process acts");
        self.leadership.send_replace(Leadership::Acting(term.clone()));

        let shift =
            Shift { term: term.clone(), client, clock: self.config.clock.clone(), intake: CancellationToken::new() };
        let mut workers = JoinSet::new();
        for controller in &self.controllers {
            controller.clone().start(&mut workers, &shift);
        }
        let watchdog = self.config.hard_stop.watch(term, self.config.clock.clone());
        let how = tokio::select! {
            biased;
            () = over.cancelled() => {
                tracing::warn!(epoch = %term.epoch(), "Lease lost: work is cancelled");
                End::Keep
            }
            () = shutdown.cancelled() => {
                shift.intake.cancel();
                self.drain(term, &mut workers).await;
                End::Release
            }
        };
        let joined = tokio::time::timeout(self.config.elector.timings.stop_bound, join(&mut workers)).await;
        if joined.is_err() {
            self.config.hard_stop.now(term);
            // Only a hard stop that does not end the process comes here: what still runs may act, so nothing is released.
            join(&mut workers).await;
            drop(watchdog);
            return End::Keep;
        }
        drop(watchdog);
        how
    }

    /// Lets workers finish the keys in hand, while the Lease is still renewed, then closes the gate.
    async fn drain(&self, term: &Term, workers: &mut JoinSet<()>) {
        let over = term.cancelled();
        // Biased: a Lease lost meanwhile ends the drain.
        tokio::select! {
            biased;
            () = over.cancelled() => {}
            drained = tokio::time::timeout(self.config.drain_bound, join(workers)) => {
                if drained.is_err() {
                    tracing::warn!(bound = ?self.config.drain_bound, "work did not finish within the drain bound and is cancelled");
                }
            }
        }
        term.close(CloseReason::Stopping);
    }

    /// The handover barrier: every informer has caught up with a read made after the acquire.
    async fn catch_up(&self) {
        for catch_up in &self.catch_ups {
            while let Err(error) = catch_up().await {
                tracing::warn!(%error, "an informer cannot catch up with the server; the gate stays closed until it can");
                tokio::time::sleep(CATCH_UP_RETRY).await;
            }
        }
    }
}

/// Waits for all workers. A worker catches its user's panics, so one that panicked itself is a defect of ours: logged, the rest go on.
async fn join(workers: &mut JoinSet<()>) {
    while let Some(ended) = workers.join_next().await {
        if ended.is_err_and(|error| error.is_panic()) {
            tracing::error!("a worker ended by a panic of its own");
        }
    }
}

/// Why a manager could not run, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// No client can be made.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The election can't be safe as configured.
    #[error(transparent)]
    Election(#[from] ConfigError),
    /// The elector could not go on.
    #[error(transparent)]
    Elector(#[from] ElectorFailure),
    /// The elector ended, so no term can begin any more.
    #[error("the elector ended unexpectedly")]
    ElectorGone,
    /// An informer ended by a panic.
    #[error("an informer ended unexpectedly; its panic was printed above")]
    Informer,
}
