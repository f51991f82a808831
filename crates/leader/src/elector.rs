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

use tokio_util::sync::CancellationToken;

use crate::candidacy::{Candidacy, End, Ending, Seat, Seats, Standing};
use crate::clock::{GateClock, Moment, TICK, sleep_until};
use crate::config::{ConfigError, ElectorConfig};
use crate::election::{Candidate, Step};
use crate::gate::{CloseReason, Holder, Loss, Term};
use crate::lock::{LeaseLock, LockError};
use crate::record::{Lease, epoch_annotation};
use crate::rules::Rules;
use crate::sight::TermEnd;
use crate::standpoint::Standpoint;
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
    term_of: Holder,
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
        if config.old_lock.is_some() {
            return Err(ConfigError::OldLock("an elector by itself has a lock and no client"));
        }
        if config.coordinated.is_some() {
            return Err(ConfigError::Coordinated("an elector by itself has a lock and no client"));
        }
        let (seats, candidacy) = Candidacy::new(config.sight(&clock, None));
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
        let term_of = Holder {
            clock: clock.clone(),
            identity: config.identity.clone(),
            hold: config.timings.renew_deadline,
            stop_bound: config.timings.stop_bound,
            metrics: seats.sight.metrics().clone(),
            epoch_annotation: epoch_annotation(&config.lease_namespace, &config.lease_name).into(),
        };
        let fixed = Standpoint {
            namespace: config.lease_namespace,
            name: config.lease_name,
            identity: config.identity,
            timings: config.timings,
            first_install: config.first_install,
            labels: config.labels,
            coordinated: config.coordinated.is_some(),
            rules,
        };
        Self { lock, clock, candidate: Candidate::new(fixed, config.seed), seats, term_of }
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
        self.seats.sight.ended();
        tracing::debug!(identity = %self.candidate.fixed().identity, "the elector has stopped");
    }

    /// Until the Lease is won (the answer, and when the winning write was sent), or until nobody wants it.
    async fn contend(&mut self, shutdown: &CancellationToken) -> Option<(Lease, Moment)> {
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
            self.seats.sight.alive();
            self.candidate.set_stance(self.seats.stance());
            let now = self.clock.now();
            match self.candidate.decide(now, self.clock.wall()) {
                // Never longer than a tick, so that a change of stance is noticed.
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = stop => return None,
                    () = sleep_until(self.clock.as_ref(), until.min(now + TICK)) => {}
                },
                Step::Read => {
                    self.candidate.reading(now);
                    let answer = tokio::select! {
                        biased;
                        () = stop => return None,
                        answer = self.bounded(lock.read(timeout), None) => answer,
                    };
                    self.report(&answer);
                    self.candidate.on_read(answer, self.clock.now());
                }
                Step::PutDown(object) => {
                    let answer = self.bounded(lock.create(object, timeout), None).await;
                    self.report(&answer);
                    self.candidate.on_put_down(answer, self.clock.now());
                }
                Step::Ask(object) => {
                    tracing::info!(lease = %place(self.candidate.fixed()), holder = self.candidate.holder(), "asking the holder to hand over");
                    let answer = self.bounded(lock.update(object, timeout), None).await;
                    self.report(&answer);
                    self.candidate.on_asked(answer, self.clock.now());
                }
                Step::Keep(object) => {
                    self.candidate.keeping(&object);
                    let answer = self.bounded(lock.update(object, timeout), None).await;
                    self.report(&answer);
                    self.candidate.on_kept(answer, self.clock.now());
                }
                step @ (Step::Create(_) | Step::TakeOver(_)) => {
                    if let Some(won) = self.claim(step, timeout).await {
                        return Some(won);
                    }
                }
            }
        }
    }

    async fn claim(&mut self, step: Step, timeout: Duration) -> Option<(Lease, Moment)> {
        let lock = self.lock.clone();
        let absentee = self.candidate.absentee().map(str::to_owned);
        let (object, creating) = match step {
            Step::Create(object) => (object, true),
            Step::TakeOver(object) => (object, false),
            Step::Wait(_) | Step::Read | Step::PutDown(_) | Step::Ask(_) | Step::Keep(_) => return None,
        };
        // H1: read immediately before the request is sent.
        let sent = Moment::of(self.clock.as_ref());
        self.candidate.sending(&object, sent.at);
        let answer = if creating {
            self.bounded(lock.create(object, timeout), None).await
        } else {
            self.bounded(lock.update(object, timeout), None).await
        };
        let received = Moment::of(self.clock.as_ref());
        self.report(&answer);
        let won = self.candidate.on_claimed(answer, received.at)?;
        if let Some(named) = absentee {
            let leaders = self.seats.sight.status().contenders;
            tracing::warn!(
                lease = self.seats.sight.lease(),
                named,
                ?leaders,
                "nobody took the Lease that was handed over to this name: is there such a candidate? Those seen leading are listed"
            );
        }
        Some((won, if self.candidate.fixed().rules.count_from_answer { received } else { sent }))
    }

    /// One term, from the answer that won it to its end.
    async fn hold(&mut self, lease: Lease, sent: Moment, shutdown: &CancellationToken) {
        let fixed = self.candidate.fixed().clone();
        let tenure = Tenure::new(fixed.clone(), lease, sent.at);
        let term = Term::won(&self.term_of, tenure.epoch(), sent);
        // Whatever ends this function early, a panic included, closes the gate.
        let _guard = CloseOnDrop(term.clone());
        tracing::info!(identity = %fixed.identity, epoch = %term.epoch(), lease = %place(&fixed), "won the Lease");
        self.seats.sight.won(&term, tenure.lease());
        let (standing, seat) = Standing::new(term.clone());
        let mut held = Held { tenure, term: term.clone(), seat };
        // A shutdown that came while the claim was under way: no work has begun, so give the Lease back at once.
        let wanted = !shutdown.is_cancelled() && self.seats.hand_over(standing);
        let farewell = self.farewell(shutdown.clone());
        tokio::pin!(farewell);
        let (ended, end) = if wanted {
            match self.renew(&mut held, farewell.as_mut()).await {
                Over::Ended(ended) => {
                    let end = match ended.as_ref().map_or(&End::Keep, |ended| &ended.how) {
                        End::Keep => TermEnd::Kept,
                        End::Release => self.release(&mut held, None).await,
                        End::StepDown(cool_down) => {
                            self.seats.footing().rest(self.clock.now() + *cool_down);
                            self.release(&mut held, None).await
                        }
                        End::HandOver(to) => self.release(&mut held, Some(to)).await,
                    };
                    (ended, end)
                }
                Over::Lost => {
                    let ended = tokio::select! {
                        biased;
                        ended = &mut held.seat.ending => ended.ok(),
                        () = self.live_on() => None,
                        () = farewell => None,
                    };
                    (ended, TermEnd::Lost)
                }
                Over::Farewell => (None, TermEnd::Kept),
            }
        } else {
            (None, self.release(&mut held, None).await)
        };
        term.close(CloseReason::ElectorGone);
        activity!(term.epoch(), self.clock.now(), "term-end", identity = %fixed.identity);
        tracing::info!(lease = self.seats.sight.lease(), identity = %fixed.identity, epoch = %term.epoch(), %end, "the term has ended");
        self.seats.sight.over(&term, end);
        self.candidate.rest(self.clock.now(), term.hard_stop_at());
        if let Some(ended) = ended {
            if let End::StepDown(cool_down) = ended.how {
                self.candidate.cool_down(self.clock.now(), cool_down);
            }
            // The owner may have gone; it has asked for the end all the same.
            let _ = ended.done.send(());
        }
    }

    /// Renews until the owner ends the term, the Lease is lost, or the farewell takes too long.
    async fn renew(
        &self,
        held: &mut Held,
        mut farewell: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Over {
        let (lock, clock) = (self.lock.clone(), self.clock.clone());
        let timeout = self.candidate.fixed().timings.request_timeout;
        let Held { tenure, term, seat } = held;
        let mut doubted = None;
        loop {
            self.seats.sight.alive();
            if term.tick() {
                tracing::warn!(lease = self.seats.sight.lease(), epoch = %term.epoch(), "lost the Lease: no renewal succeeded within the renew deadline");
                return Over::Lost;
            }
            let now = clock.now();
            let doubt = term.doubt();
            if doubt > doubted {
                // Once a doubt: if the server can't be asked, it is tried again as ever.
                doubted = doubt;
                tenure.hurry(now);
            }
            seat.ask(tenure.asked_for());
            let verdict = match tenure.decide(now, clock.wall()) {
                Duty::Wait(until) => {
                    // Never longer than a tick, so that the lapse of the gate is noticed.
                    tokio::select! {
                        biased;
                        ended = &mut seat.ending => return Over::Ended(ended.ok()),
                        () = farewell.as_mut() => return Over::Farewell,
                        () = sleep_until(clock.as_ref(), until.min(now + TICK)) => {}
                    }
                    continue;
                }
                Duty::Renew(object) => {
                    // H1: read immediately before the request is sent.
                    let sent = Moment::of(clock.as_ref());
                    let answer = self.bounded(lock.update(object, timeout), Some(term)).await;
                    let received = Moment::of(clock.as_ref());
                    self.report(&answer);
                    match tenure.on_renewed(answer, sent.at, received.at) {
                        Verdict::Renewed(counted) => {
                            self.term_of.metrics.tell(|sink| sink.renewal_latency(sent.at.until(received.at)));
                            // Too late for a gate that has lapsed meanwhile; the next turn says so.
                            _ = term.extend(if counted == sent.at { sent } else { received });
                            continue;
                        }
                        verdict => verdict,
                    }
                }
                Duty::Read => {
                    self.term_of.metrics.tell(|sink| sink.slowpath(1));
                    let answer = self.bounded(lock.read(timeout), Some(term)).await;
                    self.report(&answer);
                    tenure.on_read(answer, clock.now())
                }
            };
            if let Verdict::Lost(loss) = verdict {
                tracing::warn!(lease = self.seats.sight.lease(), epoch = %term.epoch(), %loss, "lost the Lease");
                term.close(CloseReason::Lost(loss));
                return Over::Lost;
            }
        }
    }

    /// Gives the Lease back, by compare-and-swap on the own last version. After a conflict it is read again, and is given back if it is
    /// still this term's: somebody else has edited it.
    async fn release(&self, held: &mut Held, to: Option<&str>) -> TermEnd {
        let (lock, clock) = (self.lock.clone(), self.clock.clone());
        let timeout = self.candidate.fixed().timings.request_timeout;
        let Held { tenure, term, .. } = held;
        term.close(CloseReason::Ended);
        for attempt in 1..=RELEASE_TRIES {
            if term.tick() {
                return TermEnd::Kept;
            }
            let answer = self.bounded(lock.update(tenure.release(to, clock.wall()), timeout), Some(term)).await;
            let error = match answer {
                Ok(_) => {
                    tracing::info!(lease = self.seats.sight.lease(), epoch = %term.epoch(), to, "released the Lease");
                    return to.map_or(TermEnd::Released, |to| TermEnd::HandedOver(to.to_owned()));
                }
                Err(error) => error,
            };
            tracing::warn!(lease = self.seats.sight.lease(), epoch = %term.epoch(), attempt, %error, "could not release the Lease");
            let verdict = match error {
                LockError::Conflict => {
                    let answer = self.bounded(lock.read(timeout), Some(term)).await;
                    tenure.on_read(answer, clock.now())
                }
                LockError::Missing => Verdict::Lost(Loss::Deleted),
                LockError::Refused { .. } | LockError::Unknown { .. } | LockError::OldLock { .. } => {
                    let pause = self.candidate.fixed().timings.retry_period / 4;
                    sleep_until(clock.as_ref(), clock.now() + pause).await;
                    Verdict::Open
                }
            };
            if let Verdict::Lost(loss) = verdict {
                tracing::info!(lease = self.seats.sight.lease(), epoch = %term.epoch(), %loss, "the Lease is not this term's to give any more");
                return TermEnd::Kept;
            }
        }
        TermEnd::Kept
    }

    /// Shows that the elector lives while it waits for others. Never returns.
    async fn live_on(&self) {
        loop {
            self.seats.sight.alive();
            tokio::time::sleep(TICK).await;
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

    fn report(&self, answer: &Result<Lease, LockError>) {
        let trouble = match answer {
            Ok(_) | Err(LockError::Missing | LockError::Conflict | LockError::OldLock { .. }) => None,
            Err(error) => Some(error.to_string()),
        };
        let lease = place(self.candidate.fixed());
        if self.seats.sight.trouble(trouble.as_deref()) {
            match &trouble {
                Some(trouble) => tracing::warn!(%lease, "{trouble}"),
                None => tracing::info!(%lease, "the Lease can be reached again"),
            }
        }
        let seen = match answer {
            Ok(seen) => Some(seen),
            Err(LockError::Missing) => None,
            Err(_) => return,
        };
        if self.seats.sight.saw(seen) {
            tracing::info!(%lease, holder = seen.map_or("", Lease::holder), "the Lease's holder");
        }
    }

    /// A request with a deadline of our own, whatever the lock does about its own; meanwhile the term's gate is looked at.
    async fn bounded(
        &self,
        request: impl Future<Output = Result<Lease, LockError>>,
        term: Option<&Term>,
    ) -> Result<Lease, LockError> {
        let timeout = self.candidate.fixed().timings.request_timeout;
        let request = tokio::time::timeout(timeout, request);
        tokio::pin!(request);
        loop {
            tokio::select! {
                biased;
                answer = &mut request => {
                    return answer.unwrap_or_else(|_| Err(LockError::unknown(format!("no answer within {timeout:?}"))));
                }
                () = tokio::time::sleep(TICK) => {
                    self.seats.sight.alive();
                    if let Some(term) = term {
                        term.tick();
                    }
                }
            }
        }
    }
}

/// A term while its Lease is held: the pure part, the gate, the owner's chair.
struct Held {
    tenure: Tenure,
    term: Term,
    seat: Seat,
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

#[cfg(test)]
#[path = "elector_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "stance_tests.rs"]
mod stance_tests;
