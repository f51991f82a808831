//! The manager: start order, stop order, and which work stands behind which Lease.
//!
//! In: informers and controllers, a way to the API server, who this is in the election. Out: nothing, until everything has ended.
//!
//! ```text
//! start   electors (one thread), informers, health     warm on standby: only workers wait for a term
//! terms   office.rs: one office a Lease, side by side
//! stop    offices leave → electors end → informers end
//! ```
//!
//! Upstream: `kubernetes-sigs/controller-runtime:pkg/manager/internal.go`, which ends the process when the Lease is lost.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use watchkeeper_informer::{Cached, SharedInformer};
use watchkeeper_leader::{
    Candidacy, ConfigError, ElectorConfig, ElectorFailure, ElectorThread, Electors, End, FenceConfig, GateClock, Sight,
    Stand, Term, spawn_elector_thread,
};

use crate::connection::{Connection, ConnectionError};
use crate::controller::{Controller, Gating, TermWork};
use crate::hard_stop::HardStop;
use crate::health::{Health, HealthPolicy};
use crate::informers::Informers;
use crate::office::{CatchUp, House, Office};
use crate::reconcile::Reconciler;

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
    /// How long the informers may take, once the Lease is won, to catch up with the server. After that the Lease is given back to those who can,
    /// and not claimed for [`HealthPolicy::cool_down`]. Default 2 minutes. Upstream: `CacheSyncTimeout`, after which the manager ends.
    pub catch_up_bound: Duration,
    /// What happens when work does not stop within the stop bound J.
    pub hard_stop: HardStop,
    /// How the checks of [`Manager::health_check`] are run, and what follows.
    pub health: HealthPolicy,
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
            catch_up_bound: Duration::from_secs(120),
            hard_stop: HardStop::Abort,
            health: HealthPolicy::default(),
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

/// Runs informers all the time, and controllers while this process holds the Lease that they stand behind.
pub struct Manager {
    config: ManagerConfig,
    informers: Vec<Runs>,
    catch_ups: Vec<CatchUp>,
    controllers: Vec<Arc<dyn TermWork>>,
    health: Health,
    leadership: watch::Sender<Leadership>,
    sights: watch::Sender<Vec<Sight>>,
}

impl Manager {
    /// Starts nothing.
    pub fn new(config: ManagerConfig) -> Self {
        Self {
            health: Health::new(config.health.clone()),
            config,
            informers: Vec::new(),
            catch_ups: Vec::new(),
            controllers: Vec::new(),
            leadership: watch::Sender::new(Leadership::Standby),
            sights: watch::Sender::default(),
        }
    }

    /// Runs `informer` from start to stop, and lets it catch up before each term.
    #[must_use]
    pub fn informer<K: Cached>(mut self, informer: SharedInformer<K>) -> Self {
        let handle = informer.handle();
        self.catch_ups.push(Box::new(move || {
            let handle = handle.clone();
            Box::pin(async move { handle.catch_up().await })
        }));
        self.informers.push(Box::new(move |stop| Box::pin(informer.run(stop))));
        self
    }

    /// Runs informers that are shared from start to stop, and lets all there are catch up before each term.
    #[must_use]
    pub fn informers(mut self, informers: &Informers) -> Self {
        let (factory, running) = (informers.factory().clone(), informers.factory().clone());
        self.catch_ups.push(Box::new(move || {
            let factory = factory.clone();
            Box::pin(async move { factory.catch_up().await })
        }));
        self.informers.push(Box::new(move |stop| {
            Box::pin(async move {
                if let Err(error) = running.run(stop).await {
                    tracing::error!(%error, "the shared informers can't be run");
                }
            })
        }));
        self
    }

    /// Runs the workers of `controller` during the terms of the Lease that it stands behind ([`Controller::gated_by`]).
    #[must_use]
    pub fn controller<K: Cached, R: Reconciler<K>>(mut self, controller: Controller<K, R>) -> Self {
        self.controllers.push(Arc::new(controller));
        self
    }

    /// Asks `check` now and then whether this process is fit to lead, see [`HealthPolicy`]. Unfit, it gives up what it holds and claims
    /// nothing; other replicas take over. A check that panics or doesn't answer in time has failed.
    #[must_use]
    pub fn health_check<F>(mut self, name: &str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.health.add(name, check);
        self
    }

    /// Whether this process acts, as it changes: for the manager's own Lease.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// A view of each election, once they have begun: status, health, history. The manager's own Lease comes first, then those of the
    /// controllers.
    pub fn sights(&self) -> watch::Receiver<Vec<Sight>> {
        self.sights.subscribe()
    }

    /// Runs until `shutdown` is cancelled and everything has ended: when it has returned there is no write, no handler call and no task
    /// of ours (I10). Not cancel safe: cancel `shutdown` instead of dropping the future, which would leave the Lease to run out.
    ///
    /// # Errors
    /// A configuration that can't be safe, a connection that can't be made, an informer that panicked.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ManagerError> {
        let plain = self.config.connection.client()?;
        let (elector_stop, informer_stop) = (CancellationToken::new(), CancellationToken::new());
        let (always, stands) = self.offices();
        let (offices, stands): (Vec<_>, Vec<_>) = stands.into_iter().unzip();
        let (candidacies, electing) = start_electors(&self.config, stands, elector_stop.clone())?;
        let sights = candidacies.iter().flatten().map(Candidacy::sight).collect();
        self.sights.send_replace(sights);
        let mut elected: Vec<(Office, Candidacy)> =
            offices.into_iter().flatten().zip(candidacies.into_iter().flatten()).collect();
        let Self { config, informers, catch_ups, controllers, health, .. } = self;
        let mut informers: JoinSet<()> = informers.into_iter().map(|run| run(informer_stop.clone())).collect();
        // Leaving may also be for a reason of our own.
        let house = House { config, catch_ups, health, plain, shutdown: shutdown.child_token() };

        let result = house.until_left(&mut elected, &always, &mut informers).await;

        for controller in &controllers {
            controller.shut_down();
        }
        elector_stop.cancel();
        // Terms that were won while the stop was asked for: nothing has acted in them, so they are given back at once.
        join_all(elected.iter_mut().map(async |(_, candidacy)| {
            while let Some(standing) = candidacy.next_term().await {
                standing.end(End::Release).await;
            }
        }))
        .await;
        let ended = electing.join().await;
        informer_stop.cancel();
        while let Some(ended) = informers.join_next().await {
            ended.map_err(|_| ManagerError::Informer)?;
        }
        // Why the electors ended says more than that they ended.
        ended?;
        result
    }

    /// The offices that need no election, and those that do, with what each stands for: one office, or one a bucket.
    fn offices(&self) -> (Vec<Office>, Vec<(Vec<Office>, Stand)>) {
        let office = |name: String, work, leadership| Office { name, work, leadership };
        let (mut shared, mut always, mut stands) = (Vec::new(), Vec::new(), Vec::new());
        for controller in &self.controllers {
            let name = controller.name().to_owned();
            let elector = &self.config.elector;
            let seed = elector.seed.wrapping_add(u64::try_from(stands.len()).unwrap_or(0) + 1);
            let lease_name = format!("{}.{name}", elector.lease_name);
            let own = ElectorConfig { lease_name, seed, ..elector.clone() };
            let alone =
                |name| vec![office(name, vec![(controller.clone(), 0)], watch::Sender::new(Leadership::Standby))];
            match controller.gating() {
                Gating::Shared => shared.push((controller.clone(), 0)),
                Gating::Always => always.extend(alone(name)),
                Gating::Own => stands.push((alone(name), Stand::Alone(own))),
                Gating::Buckets(buckets) => {
                    let part = |(part, bucket)| {
                        let leadership = watch::Sender::new(Leadership::Standby);
                        office(format!("{name}.{bucket}"), vec![(controller.clone(), part)], leadership)
                    };
                    let offices = (0..).zip(buckets.all()).map(part).collect();
                    stands.push((offices, Stand::Shared(own, buckets)));
                }
            }
        }
        // A manager without controllers still stands for its Lease: somebody may look at its leadership.
        if !shared.is_empty() || self.controllers.is_empty() {
            let own = vec![office("manager".to_owned(), shared, self.leadership.clone())];
            stands.insert(0, (own, Stand::Alone(self.config.elector.clone())));
        }
        (always, stands)
    }
}

impl House {
    /// Until all offices have been left: after the shutdown, or after something has failed.
    async fn until_left(
        &self,
        elected: &mut [(Office, Candidacy)],
        always: &[Office],
        informers: &mut JoinSet<()>,
    ) -> Result<(), ManagerError> {
        // One that fails takes the others along.
        let leave_with = |result: Result<(), ManagerError>| {
            if result.is_err() {
                self.shutdown.cancel();
            }
            result
        };
        let elected =
            join_all(elected.iter_mut().map(async |(office, candidacy)| leave_with(office.run(self, candidacy).await)));
        let always = join_all(always.iter().map(async |office| leave_with(office.run_always(self).await)));
        // Without any office there is still something to run: informers.
        let offices =
            async { futures::join!(elected, always, self.shutdown.cancelled(), self.health.run(&self.shutdown)) };
        tokio::pin!(offices);
        let mut failed = None;
        loop {
            tokio::select! {
                biased;
                Some(ended) = informers.join_next() => {
                    // An informer ends by itself only by a panic, or where somebody else runs those that are shared.
                    if ended.is_err() || !self.shutdown.is_cancelled() {
                        failed.get_or_insert(ManagerError::Informer);
                        self.shutdown.cancel();
                    }
                }
                (elected, always, (), ()) = &mut offices => {
                    let first = elected.into_iter().chain(always).find_map(Result::err);
                    return failed.or(first).map_or(Ok(()), Err);
                }
            }
        }
    }
}

fn start_electors(
    config: &ManagerConfig,
    stands: Vec<Stand>,
    stop: CancellationToken,
) -> Result<(Vec<Vec<Candidacy>>, Electing), ManagerError> {
    let ManagerConfig { connection, clock, elector_on, .. } = config;
    match elector_on {
        ElectorOn::OwnThread => {
            let connection = connection.clone();
            let connect = move || connection.client().map_err(Into::into);
            let (candidacies, thread) = spawn_elector_thread(connect, stands, clock.clone(), stop)?;
            Ok((candidacies, Electing::Thread(thread)))
        }
        ElectorOn::ThisRuntime => {
            let (electors, candidacies) = Electors::new(stands, clock.clone())?;
            let mut task = JoinSet::new();
            task.spawn(electors.run(connection.client()?, stop));
            Ok((candidacies, Electing::Task(task)))
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
    /// An informer ended by a panic, or somebody else runs those that are shared.
    #[error("an informer ended unexpectedly; why was printed above")]
    Informer,
}
