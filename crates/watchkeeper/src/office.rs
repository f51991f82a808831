//! An office: the work that one Lease stands for, term after term.
//!
//! In: a candidacy (or none, for work that needs no election), the informers to catch up, the controllers' parts. Out: nothing, until
//! the stop. Never: two terms at once; a worker outside of a term.
//!
//! ```text
//! a term   won → informers catch up with a read made after the acquire → every key queued once → gate opens → workers
//! loss     gate closes → work is cancelled → joined within J, else the hard stop → stand again
//! leaving  (a stop, a hand-over that was asked for, a failed health check) no new keys → finish within the drain bound, still
//!          renewing → gate closes → joined within J → Lease released
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kube_client::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::field::display;
use watchkeeper_informer::NotCaughtUp;
use watchkeeper_leader::{Candidacy, CloseReason, End, Standing, Term};

use crate::client::GatedClient;
use crate::controller::TermWork;
use crate::health::Health;
use crate::manager::{Leadership, ManagerConfig, ManagerError};
use crate::worker::Shift;

/// How long a failed catch-up at the start of a term waits before the next try.
const CATCH_UP_RETRY: Duration = Duration::from_millis(500);

pub(crate) type CatchUp = Box<dyn Fn() -> BoxFuture<'static, Result<(), NotCaughtUp>> + Send + Sync>;

/// What all offices of a manager have in common.
pub(crate) struct House {
    pub(crate) config: ManagerConfig,
    pub(crate) catch_ups: Vec<CatchUp>,
    pub(crate) health: Health,
    pub(crate) plain: Client,
    pub(crate) shutdown: CancellationToken,
}

/// Controllers, or one bucket of one, and who hears whether they act.
pub(crate) struct Office {
    pub(crate) name: String,
    pub(crate) work: Vec<(Arc<dyn TermWork>, usize)>,
    pub(crate) leadership: watch::Sender<Leadership>,
}

impl Office {
    /// Term after term, until the shutdown.
    ///
    /// # Errors
    /// The elector has ended by itself, or no client can be made.
    pub(crate) async fn run(&self, house: &House, candidacy: &mut Candidacy) -> Result<(), ManagerError> {
        let footing = candidacy.footing();
        let mut fit = house.health.fit();
        loop {
            footing.withhold(!*fit.borrow_and_update());
            // Biased: a stop that is asked for wins over a term that was just won.
            let standing = tokio::select! {
                biased;
                () = house.shutdown.cancelled() => return Ok(()),
                standing = candidacy.next_term() => standing.ok_or(ManagerError::ElectorGone)?,
                // The sender lives as long as the house.
                Ok(()) = fit.changed() => continue,
            };
            let term = standing.term().clone();
            let how = self.term(house, &term, Some(&standing)).await?;
            self.leadership.send_replace(Leadership::Standby);
            // How it has ended, the elector says.
            standing.end(how).await;
        }
    }

    /// One term without election, until the shutdown.
    ///
    /// # Errors
    /// No client can be made.
    pub(crate) async fn run_always(&self, house: &House) -> Result<(), ManagerError> {
        let ManagerConfig { elector, clock, .. } = &house.config;
        let term = Term::always(clock.clone(), elector.identity.clone(), elector.timings.stop_bound);
        self.term(house, &term, None).await?;
        term.close(CloseReason::Stopping);
        self.leadership.send_replace(Leadership::Standby);
        Ok(())
    }

    /// One term, from the Lease won to the last worker joined.
    async fn term(&self, house: &House, term: &Term, standing: Option<&Standing>) -> Result<End, ManagerError> {
        let config = &house.config;
        let (over, office) = (term.cancelled(), self.name.as_str());
        // Without election there is no number to say.
        let epoch = term.is_elected().then(|| display(term.epoch()));
        tracing::info!(office, identity = %term.identity(), epoch, "informers catch up before anything acts");
        let client = GatedClient::new(&config.connection, house.plain.clone(), term.clone(), config.fence.clone())?;
        self.leadership.send_replace(Leadership::Starting(term.clone()));
        // Nothing has acted yet, so a stop here may release at once. Biased: the end of the term or a stop win over readiness.
        tokio::select! {
            biased;
            () = over.cancelled() => return Ok(End::Keep),
            how = house.reason_to_leave(standing) => return Ok(how),
            () = house.catch_up() => {}
            () = tokio::time::sleep(config.catch_up_bound), if standing.is_some() => {
                tracing::warn!(office, epoch, bound = ?config.catch_up_bound, "the informers haven't caught up: leaving the Lease to others");
                return Ok(End::StepDown(house.health.cool_down()));
            }
        }
        let keys: usize = self.work.iter().map(|(controller, part)| controller.queue_every_key(*part)).sum();
        if standing.is_some_and(|standing| standing.open().is_err()) {
            return Ok(End::Keep);
        }
        let acts = if standing.is_some() { "gate open: this process acts" } else { "no election: this process acts" };
        tracing::info!(office, identity = %term.identity(), epoch, keys, "{acts}");
        self.leadership.send_replace(Leadership::Acting(term.clone()));

        let shift = Shift { term: term.clone(), client, clock: config.clock.clone(), intake: CancellationToken::new() };
        let mut workers = JoinSet::new();
        for (controller, part) in &self.work {
            controller.clone().start(*part, &mut workers, &shift);
        }
        let watchdog = config.hard_stop.watch(term, config.clock.clone());
        let how = tokio::select! {
            biased;
            () = over.cancelled() => {
                let reason = term.closed().map_or_else(String::new, |reason| reason.to_string());
                tracing::warn!(office, epoch, reason, "the term is over: work is cancelled");
                End::Keep
            }
            how = house.reason_to_leave(standing) => {
                tracing::info!(office, epoch, why = why(&how), "leaving: keys in hand are finished");
                shift.intake.cancel();
                drain(config.drain_bound, term, &mut workers).await;
                how
            }
        };
        let joined = tokio::time::timeout(term.stop_bound(), join(&mut workers)).await;
        if joined.is_err() {
            config.hard_stop.now(term);
            // Only a hard stop that does not end the process comes here: what still runs may act, so nothing is released.
            join(&mut workers).await;
            drop(watchdog);
            return Ok(End::Keep);
        }
        drop(watchdog);
        Ok(how)
    }
}

impl House {
    /// The handover barrier: every informer has caught up with a read made after the acquire.
    async fn catch_up(&self) {
        for catch_up in &self.catch_ups {
            while let Err(error) = catch_up().await {
                tracing::warn!(%error, "an informer has not caught up with the server; the gate stays closed, and it is tried again");
                tokio::time::sleep(CATCH_UP_RETRY).await;
            }
        }
    }

    /// Returns when a term should be given up although its Lease is held, and how it should end.
    async fn reason_to_leave(&self, standing: Option<&Standing>) -> End {
        let Some(standing) = standing else {
            self.shutdown.cancelled().await;
            return End::Release;
        };
        let mut fit = self.health.fit();
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => End::Release,
            to = standing.asked_to_hand_over() => End::HandOver(to),
            // The sender lives as long as the house.
            Ok(_) = fit.wait_for(|fit| !*fit) => End::StepDown(self.health.cool_down()),
        }
    }
}

/// What [`House::reason_to_leave`] has found.
fn why(how: &End) -> &'static str {
    match how {
        End::Release => "a stop was asked for",
        End::HandOver(_) => "a hand-over was asked for",
        End::StepDown(_) => "this process is not fit to lead",
        End::Keep => "the term is over",
    }
}

/// Lets workers finish the keys in hand, while the Lease is still renewed, then closes the gate.
async fn drain(bound: Duration, term: &Term, workers: &mut JoinSet<()>) {
    let over = term.cancelled();
    // Biased: a Lease lost meanwhile ends the drain.
    tokio::select! {
        biased;
        () = over.cancelled() => {}
        drained = tokio::time::timeout(bound, join(workers)) => {
            if drained.is_err() {
                tracing::warn!(?bound, "work did not finish within the drain bound and is cancelled");
            }
        }
    }
    term.close(CloseReason::Stopping);
}

/// Waits for all workers. A worker catches its user's panics, so one that panicked itself is a defect of ours: logged, the rest go on.
async fn join(workers: &mut JoinSet<()>) {
    while let Some(ended) = workers.join_next().await {
        if ended.is_err_and(|error| error.is_panic()) {
            tracing::error!("a worker ended by a panic of its own");
        }
    }
}
