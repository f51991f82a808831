//! The shell around the election: asks, waits, and hands terms over.
//!
//! In: a Lease lock, a clock, a shutdown token. Out: [`Standing`]s, one at a time, and their ends.
//! Never: decides (that is `election.rs` and `tenure.rs`), retries below a decision, waits for a request without a
//! deadline, or looks at its clock less often than every quarter of a second while a gate could lapse.
//!
//! Losing the Lease ends the term, not the elector: after the work has stopped it stands again. client-go's counterpart
//! returns, and most programs exit then.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::candidacy::{Candidacy, End, Ending, Seats, Standing};
use crate::clock::{GateClock, GateInstant, TICK, sleep_until};
use crate::config::{ConfigError, ElectorConfig};
use crate::election::{Candidate, Standpoint, Step};
use crate::gate::{CloseReason, Term};
use crate::lock::{LeaseLock, LockError};
use crate::record::Lease;
use crate::rules::Rules;
use crate::tenure::{Duty, Tenure, Verdict};
use crate::trace::activity;

/// How long the elector goes on renewing for a standing that isn't ended after a shutdown was asked for. Longer than any
/// sensible drain; then the gate is closed, the Lease kept, and the elector returns.
pub const LONGEST_FAREWELL: Duration = Duration::from_secs(300);

/// How often a release is tried. Each try is the same compare-and-swap, so that one is enough and more do no harm.
const RELEASE_TRIES: u32 = 3;

/// Stands in the election of one Lease, term after term.
pub struct Elector {
    lock: Arc<dyn LeaseLock>,
    clock: Arc<dyn GateClock>,
    candidate: Candidate,
    seats: Seats,
    /// The last trouble reported, so that a lasting one is reported once.
    trouble: Option<String>,
    /// The holder reported last.
    holder: Option<String>,
}

/// How the renewing part of a term came to its end.
enum Over {
    /// The owner has ended it; None: the standing was dropped.
    Ended(Option<Ending>),
    /// The Lease is lost.
    Lost,
    /// Shutdown was asked for, and the standing was not ended within the bound.
    Farewell,
}

impl Elector {
    /// An elector and the place at which it hands its terms over. Sends and spawns nothing.
    ///
    /// # Errors
    /// Timings or names that can't work.
    pub fn new(
        lock: Arc<dyn LeaseLock>,
        config: ElectorConfig,
        clock: Arc<dyn GateClock>,
    ) -> Result<(Self, Candidacy), ConfigError> {
        config.check()?;
        let (seats, candidacy) = Candidacy::new();
        Ok((Self::assemble(lock, config, clock, seats, Rules::default()), candidacy))
    }

    /// An elector from a config that was checked.
    pub(crate) fn assemble(
        lock: Arc<dyn LeaseLock>,
        config: ElectorConfig,
        clock: Arc<dyn GateClock>,
        seats: Seats,
        rules: Rules,
    ) -> Self {
        let fixed = Standpoint {
            namespace: config.lease_namespace,
            name: config.lease_name,
            identity: config.identity,
            timings: config.timings,
            first_install: config.first_install,
            rules,
        };
        Self { lock, clock, candidate: Candidate::new(fixed, config.seed), seats, trouble: None, holder: None }
    }

    /// Stands in the election until `shutdown`, or until the candidacy is dropped.
    ///
    /// Returns when nothing is left to do: a request that could still win or release the Lease has been answered or has
    /// timed out, and a standing has been ended (or [`LONGEST_FAREWELL`] has passed since the shutdown). Dropping the
    /// future instead closes the gate and keeps the Lease.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while let Some((lease, sent)) = self.contend(&shutdown).await {
            self.hold(lease, sent, &shutdown).await;
        }
        tracing::debug!(identity = %self.candidate.fixed().identity, "the elector has stopped");
    }

    /// Until the Lease is won (the answer, and when the winning write was sent), or until nobody wants it.
    async fn contend(&mut self, shutdown: &CancellationToken) -> Option<(Lease, GateInstant)> {
        loop {
            if shutdown.is_cancelled() {
                return None;
            }
            // Reads and waits are given up at once; claims are not, lest one wins a Lease that nobody then releases.
            let (lock, seats) = (self.lock.clone(), self.seats.clone());
            let timeout = self.candidate.fixed().timings.request_timeout;
            let stop = async {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => {}
                    () = seats.left() => {}
                }
            };
            match self.candidate.decide(self.clock.now(), self.clock.wall()) {
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = stop => return None,
                    () = sleep_until(self.clock.as_ref(), until) => {}
                },
                Step::Read => {
                    let answer = tokio::select! {
                        biased;
                        () = stop => return None,
                        answer = bounded(lock.read(timeout), timeout, None) => answer,
                    };
                    self.report(&answer);
                    self.candidate.on_read(answer, self.clock.now());
                    self.report_holder();
                }
                Step::PutDown(object) => {
                    let answer = bounded(lock.create(object, timeout), timeout, None).await;
                    self.report(&answer);
                    self.candidate.on_put_down(answer, self.clock.now());
                }
                step @ (Step::Create(_) | Step::TakeOver(_)) => {
                    if let Some(won) = self.claim(step, timeout).await {
                        return Some(won);
                    }
                }
            }
        }
    }

    async fn claim(&mut self, step: Step, timeout: Duration) -> Option<(Lease, GateInstant)> {
        let lock = self.lock.clone();
        let (object, creating) = match step {
            Step::Create(object) => (object, true),
            Step::TakeOver(object) => (object, false),
            Step::Wait(_) | Step::Read | Step::PutDown(_) => return None,
        };
        self.candidate.sending(&object);
        // H1: read immediately before the request is sent.
        let sent = self.clock.now();
        let answer = if creating {
            bounded(lock.create(object, timeout), timeout, None).await
        } else {
            bounded(lock.update(object, timeout), timeout, None).await
        };
        let received = self.clock.now();
        self.report(&answer);
        let won = self.candidate.on_claimed(answer, received)?;
        Some((won, if self.candidate.fixed().rules.count_from_answer { received } else { sent }))
    }

    /// One term, from the answer that won it to its end.
    async fn hold(&mut self, lease: Lease, sent: GateInstant, shutdown: &CancellationToken) {
        let fixed = self.candidate.fixed().clone();
        let mut tenure = Tenure::new(fixed.clone(), lease, sent);
        let term = Term::won(self.clock.clone(), fixed.identity.clone(), tenure.epoch(), &fixed.timings, sent);
        // Whatever ends this function early, a panic included, closes the gate.
        let _guard = CloseOnDrop(term.clone());
        tracing::info!(identity = %fixed.identity, epoch = %term.epoch(), lease = %place(&fixed), "won the Lease");
        let (standing, mut ending) = Standing::new(term.clone());
        // A shutdown that came while the claim was under way: no work has begun, so give the Lease back at once.
        let wanted = !shutdown.is_cancelled() && self.seats.hand_over(standing);
        let farewell = self.farewell(shutdown.clone());
        tokio::pin!(farewell);
        let ended = if wanted {
            match self.renew(&mut tenure, &term, &mut ending, farewell.as_mut()).await {
                Over::Ended(ended) => {
                    if ended.as_ref().is_some_and(|ended| ended.how == End::Release) {
                        self.release(&tenure, &term).await;
                    }
                    ended
                }
                Over::Lost => tokio::select! {
                    biased;
                    ended = &mut ending => ended.ok(),
                    () = farewell => None,
                },
                Over::Farewell => None,
            }
        } else {
            self.release(&tenure, &term).await;
            None
        };
        term.close(CloseReason::ElectorGone);
        activity!(term.epoch(), self.clock.now(), "term-end", identity = %fixed.identity);
        tracing::info!(identity = %fixed.identity, epoch = %term.epoch(), "the term has ended");
        self.candidate.rest(self.clock.now(), term.hard_stop_at());
        if let Some(ended) = ended {
            // The owner may have gone; it has asked for the end all the same.
            let _ = ended.done.send(());
        }
    }

    /// Renews until the owner ends the term, the Lease is lost, or the farewell takes too long.
    async fn renew(
        &mut self,
        tenure: &mut Tenure,
        term: &Term,
        ending: &mut oneshot::Receiver<Ending>,
        mut farewell: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Over {
        let (lock, clock) = (self.lock.clone(), self.clock.clone());
        let timeout = self.candidate.fixed().timings.request_timeout;
        loop {
            if term.tick() {
                tracing::warn!(epoch = %term.epoch(), "lost the Lease: no renewal succeeded within the renew deadline");
                return Over::Lost;
            }
            let now = clock.now();
            let verdict = match tenure.decide(now, clock.wall()) {
                Duty::Wait(until) => {
                    // Never longer than a tick, so that the lapse of the gate is noticed.
                    tokio::select! {
                        biased;
                        ended = &mut *ending => return Over::Ended(ended.ok()),
                        () = farewell.as_mut() => return Over::Farewell,
                        () = sleep_until(clock.as_ref(), until.min(now + TICK)) => {}
                    }
                    continue;
                }
                Duty::Renew(object) => {
                    // H1: read immediately before the request is sent.
                    let sent = clock.now();
                    let answer = bounded(lock.update(object, timeout), timeout, Some(term)).await;
                    self.report(&answer);
                    tenure.on_renewed(answer, sent, clock.now())
                }
                Duty::Read => {
                    let answer = bounded(lock.read(timeout), timeout, Some(term)).await;
                    self.report(&answer);
                    tenure.on_read(answer, clock.now())
                }
            };
            match verdict {
                Verdict::Open => {}
                // Too late for a gate that has lapsed meanwhile; the next turn says so.
                Verdict::Renewed(sent) => _ = term.extend(sent),
                Verdict::Lost(loss) => {
                    tracing::warn!(epoch = %term.epoch(), %loss, "lost the Lease");
                    term.close(CloseReason::Lost(loss));
                    return Over::Lost;
                }
            }
        }
    }

    /// Gives the Lease back, by compare-and-swap on the own last version. A conflict means that it isn't ours to give.
    async fn release(&mut self, tenure: &Tenure, term: &Term) {
        let (lock, timeout) = (self.lock.clone(), self.candidate.fixed().timings.request_timeout);
        term.close(CloseReason::Ended);
        for attempt in 1..=RELEASE_TRIES {
            if term.tick() {
                return;
            }
            match bounded(lock.update(tenure.release(self.clock.wall()), timeout), timeout, Some(term)).await {
                Ok(_) => {
                    tracing::info!(epoch = %term.epoch(), "released the Lease");
                    return;
                }
                Err(error @ (LockError::Conflict | LockError::Missing)) => {
                    tracing::info!(epoch = %term.epoch(), %error, "did not release the Lease");
                    return;
                }
                Err(error) => {
                    tracing::warn!(epoch = %term.epoch(), attempt, %error, "could not release the Lease");
                    let pause = self.candidate.fixed().timings.retry_period / 4;
                    sleep_until(self.clock.as_ref(), self.clock.now() + pause).await;
                }
            }
        }
    }

    /// Returns when the bound after a shutdown has passed.
    fn farewell(&self, shutdown: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let clock = self.clock.clone();
        async move {
            shutdown.cancelled().await;
            sleep_until(clock.as_ref(), clock.now() + LONGEST_FAREWELL).await;
        }
    }

    fn report(&mut self, answer: &Result<Lease, LockError>) {
        let trouble = match answer {
            Ok(_) | Err(LockError::Missing | LockError::Conflict) => None,
            Err(error) => Some(error.to_string()),
        };
        if trouble != self.trouble {
            let lease = place(self.candidate.fixed());
            match &trouble {
                Some(trouble) => tracing::warn!(%lease, "{trouble}"),
                None => tracing::info!(%lease, "the Lease can be reached again"),
            }
            self.trouble = trouble;
        }
    }

    fn report_holder(&mut self) {
        let holder = self.candidate.holder();
        if self.holder.as_deref() != Some(holder) {
            tracing::info!(lease = %place(self.candidate.fixed()), holder, "the Lease's holder");
            self.holder = Some(holder.to_owned());
        }
    }
}

/// Closes a gate whose elector is gone.
struct CloseOnDrop(Term);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(CloseReason::ElectorGone);
    }
}

fn place(fixed: &Standpoint) -> String {
    format!("{}/{}", fixed.namespace, fixed.name)
}

/// A request with a deadline of our own, whatever the lock does about its own; meanwhile the term's gate is looked at.
async fn bounded(
    request: impl Future<Output = Result<Lease, LockError>>,
    timeout: Duration,
    term: Option<&Term>,
) -> Result<Lease, LockError> {
    let request = tokio::time::timeout(timeout, request);
    tokio::pin!(request);
    loop {
        tokio::select! {
            biased;
            answer = &mut request => {
                return answer.unwrap_or_else(|_| Err(LockError::unknown(format!("no answer within {timeout:?}"))));
            }
            () = tokio::time::sleep(TICK) => {
                if let Some(term) = term {
                    term.tick();
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "elector_tests.rs"]
mod tests;
