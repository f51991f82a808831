//! The gate of one term: whether its work may act, right now.
//!
//! In: from the elector, renewals (the time each was sent) and losses; from the owner, opening and closing. Out: an
//! answer at each use, and a token that is cancelled when the answer has become no for good.
//! Never: answers from memory. Each check reads the clock, so a process that slept through its lease, suspended or
//! stopped, finds the gate closed although nobody has closed it.
//!
//! Open means: opened, not closed, and now < sent + D, where `sent` was read just before the last renewal that
//! succeeded was sent. Closing is final: a later renewal opens nothing, a new term has a new gate. client-go's
//! counterpart is a context that is cancelled when the renew loop has given up, and so up to one stalled request late.
//!
//! Doubt: when wall clock and gate clock have moved apart since that renewal, time may have passed that the gate clock didn't count (a
//! virtual machine that stood still). Then nothing may act until a renewal that is sent afterwards has succeeded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{GateClock, GateInstant, Moment, TICK};
use crate::identity::Identity;
use crate::metrics::MetricsSink;
use crate::mutant::{Mutant, is_planted};
use crate::record::Epoch;
use crate::sync::{Mutex, Token};
use crate::trace::activity;

/// One term of leadership, as the workers see it: who, which epoch, and whether it may act now. Cheap to clone.
///
/// A term is over for good once its gate has closed. It is never renewed into the next one.
#[derive(Clone)]
pub struct Term(Arc<Gate>);

struct Gate {
    holder: Holder,
    epoch: Epoch,
    /// False for a term that no Lease stands behind.
    elected: bool,
    state: Mutex<State>,
    cancelled: Token,
}

/// What the terms of one candidate have in common.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) clock: Arc<dyn GateClock>,
    pub(crate) identity: Identity,
    /// D.
    pub(crate) hold: Duration,
    /// J.
    pub(crate) stop_bound: Duration,
    pub(crate) metrics: MetricsSink,
    /// What its writes are stamped with; empty, where they aren't.
    pub(crate) epoch_annotation: Arc<str>,
}

#[cfg(test)]
impl Holder {
    /// The default timings, and a name.
    pub(crate) fn example(clock: impl GateClock + 'static) -> Self {
        let timings = crate::timings::Timings::default();
        Self {
            clock: Arc::new(clock),
            identity: Identity::from_parts("me", 1, 1).expect("a good name"),
            hold: timings.renew_deadline,
            stop_bound: timings.stop_bound,
            metrics: MetricsSink::default(),
            epoch_annotation: crate::record::epoch_annotation("default", "the-lease").into(),
        }
    }
}

struct State {
    opened: bool,
    closed: Option<Closed>,
    /// Open before this; moves only forward, and only while the gate has not closed.
    deadline: GateInstant,
    /// Just before the last renewal that succeeded was sent.
    renewed: Moment,
    /// The clocks have jumped, seen then; no renewal that was sent since has succeeded.
    doubt: Option<GateInstant>,
}

#[derive(Clone)]
struct Closed {
    at: GateInstant,
    reason: CloseReason,
}

/// Why a gate has closed for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The Lease is no longer this term's.
    #[error("the Lease was lost: {0}")]
    Lost(Loss),
    /// No renewal succeeded in time.
    #[error("no renewal of the Lease succeeded within the renew deadline")]
    TimeRanOut,
    /// An object was met that a later term has written.
    #[error("a later term (epoch {0}) has already written")]
    LaterTerm(Epoch),
    /// The owner is stopping, or gives the term up.
    #[error("the owner is stopping")]
    Stopping,
    /// The owner has ended the term.
    #[error("the term has ended")]
    Ended,
    /// The elector is gone: it was dropped or has panicked, or its bound after a shutdown has passed.
    #[error("the elector has stopped")]
    ElectorGone,
}

impl CloseReason {
    /// The reason as a label of `leader_election_closings_total`: one word.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Lost(Loss::Overwritten(_)) => "overwritten",
            Self::Lost(Loss::Recreated) => "recreated",
            Self::Lost(Loss::Deleted) => "deleted",
            Self::Lost(Loss::Twin) => "twin",
            Self::TimeRanOut => "time",
            Self::LaterTerm(_) => "later-term",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
            Self::ElectorGone => "elector-gone",
        }
    }
}

/// What an answer of the server showed that ends a term at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The Lease names another holder, or none (empty).
    #[error("the holder is now {0:?}")]
    Overwritten(String),
    /// The Lease has another uid: it was deleted and created again.
    #[error("the Lease was deleted and created again")]
    Recreated,
    /// There is no Lease any more.
    #[error("the Lease was deleted")]
    Deleted,
    /// Another process renews it under the same identity, as a copy of a virtual machine does.
    #[error("another process renews the Lease under the same identity, of which each needs one of its own")]
    Twin,
}

/// The answer of a gate that isn't open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateClosed {
    /// The term was won, but its owner hasn't opened the gate yet.
    #[error("the gate of epoch {0} has not been opened yet")]
    NotOpenYet(Epoch),
    /// The clocks have jumped against each other, as after a stop of the virtual machine: the server is being asked whether the term is
    /// still this process's. Takes one request; the gate opens again, or closes.
    #[error("the clocks have jumped, so the gate of epoch {0} is shut until the server has been asked")]
    InDoubt(Epoch),
    /// Closed for good.
    #[error("the gate of epoch {epoch} is closed: {reason}")]
    Closed {
        /// The term.
        epoch: Epoch,
        /// Why.
        reason: CloseReason,
    },
}

/// How long an open gate stays open without another renewal, at the moment of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    checked_at: GateInstant,
    deadline: GateInstant,
}

impl Remaining {
    /// Time from the check to the closing.
    pub const fn duration(self) -> Duration {
        self.checked_at.until(self.deadline)
    }

    /// When the check was made.
    pub const fn checked_at(self) -> GateInstant {
        self.checked_at
    }

    /// When the gate closes unless a renewal succeeds before.
    pub const fn deadline(self) -> GateInstant {
        self.deadline
    }
}

impl Term {
    /// A term won by a write that was sent at `sent`. Its gate is not open yet.
    pub(crate) fn won(holder: &Holder, epoch: Epoch, sent: Moment) -> Self {
        let deadline = sent.at + holder.hold;
        let state = State { opened: false, closed: None, deadline, renewed: sent, doubt: None };
        activity!(epoch, holder.clock.now(), "term-begin", identity = %holder.identity);
        Self::of(holder.clone(), Some(epoch), state)
    }

    /// The term of work that needs no election: its gate is open until it is closed by its owner, whatever other processes do. It has the
    /// epoch zero, and the [fence](crate::FenceLayer) neither stamps its writes nor asks them for versions.
    pub fn always(clock: Arc<dyn GateClock>, identity: Identity, stop_bound: Duration) -> Self {
        let (hold, metrics, epoch_annotation) = (Duration::MAX, MetricsSink::default(), "".into());
        let holder = Holder { clock, identity, hold, stop_bound, metrics, epoch_annotation };
        let sent = Moment::of(holder.clock.as_ref());
        let deadline = GateInstant::from_nanos(u64::MAX);
        Self::of(holder, None, State { opened: true, closed: None, deadline, renewed: sent, doubt: None })
    }

    fn of(holder: Holder, epoch: Option<Epoch>, state: State) -> Self {
        let (elected, epoch) = (epoch.is_some(), epoch.unwrap_or(Epoch::new(0)));
        Self(Arc::new(Gate { holder, epoch, elected, state: Mutex::new(state), cancelled: Token::new() }))
    }

    /// The number of this term.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// The annotation in which gated writes carry the epoch, see [`epoch_annotation`](crate::epoch_annotation); empty without election.
    pub fn epoch_annotation(&self) -> &str {
        &self.0.holder.epoch_annotation
    }

    /// Whether the term was won in an election; see [`Term::always`].
    pub fn is_elected(&self) -> bool {
        self.0.elected
    }

    /// Who holds it.
    pub fn identity(&self) -> &Identity {
        &self.0.holder.identity
    }

    /// Whether the term's work may act now, and for how long at least.
    ///
    /// To be asked at each use; the answer must not be kept. An effect begun after a check must be over within the stop
    /// bound, or carry a deadline (the [fence](crate::FenceLayer) sees to that for API writes).
    ///
    /// # Errors
    /// Why the gate isn't open.
    pub fn check(&self) -> Result<Remaining, GateClosed> {
        let (now, answer) = self.look();
        activity!(self.0.epoch, now, "gate", passed = answer.is_ok());
        answer
    }

    /// As [`Term::check`], for those who look on and won't act: leaves no trace.
    pub(crate) fn peek(&self) -> Result<Duration, GateClosed> {
        self.look().1.map(Remaining::duration)
    }

    /// Whether the gate is open now. As [`Term::check`], for places that only want to know.
    pub fn is_open(&self) -> bool {
        self.check().is_ok()
    }

    /// Closes the gate for good. The first reason stays; closing again does nothing.
    ///
    /// The Lease is still renewed while the [`Standing`](crate::Standing) lives, so that nobody else begins before the
    /// work here has stopped.
    pub fn close(&self, reason: CloseReason) {
        if is_planted(Mutant::CancelledFirst) {
            self.0.cancelled.cancel();
        }
        let early = is_planted(Mutant::EarlyStamp).then(|| self.0.holder.clock.now());
        let closed = {
            let mut state = self.0.state.lock();
            let now = early.unwrap_or_else(|| self.0.holder.clock.now());
            self.0.lapse(&mut state, now).or_else(|| self.0.close(&mut state, now, reason))
        };
        self.tell(closed);
    }

    /// A token that is cancelled when the gate has closed, by loss, by time or by its owner.
    ///
    /// By time it is cancelled up to a quarter of a second late (the elector looks that often), and not at all while
    /// the process is stopped; the gate itself is exact.
    pub fn cancelled(&self) -> CancellationToken {
        self.0.cancelled.share()
    }

    /// Returns once the gate is not in doubt: at once, mostly. What it is then, [`Term::check`] says. Cancel safe.
    pub async fn certain(&self) {
        while matches!(self.look().1, Err(GateClosed::InDoubt(_))) {
            tokio::time::sleep(TICK / 5).await;
        }
    }

    /// Why the gate has closed, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        self.tick();
        self.0.state.lock().closed.as_ref().map(|closed| closed.reason.clone())
    }

    /// When the last effect of this term must be over, on the gate clock: the stop bound after the gate's closing. What
    /// still runs then should end the process. Moves on with each renewal as long as the Lease isn't lost.
    pub fn hard_stop_at(&self) -> GateInstant {
        let state = self.0.state.lock();
        let closing = match &state.closed {
            // After a loss somebody else may begin sooner than our own clock says.
            Some(Closed { at, reason: CloseReason::Lost(_) | CloseReason::LaterTerm(_) }) => (*at).min(state.deadline),
            _ => state.deadline,
        };
        closing + self.0.holder.stop_bound
    }

    /// J: how long an effect may last after the gate has closed.
    pub fn stop_bound(&self) -> Duration {
        self.0.holder.stop_bound
    }

    pub(crate) fn clock(&self) -> &dyn GateClock {
        self.0.holder.clock.as_ref()
    }

    pub(crate) fn metrics(&self) -> &MetricsSink {
        &self.0.holder.metrics
    }

    /// Opens the gate, if it hasn't closed before it was opened.
    pub(crate) fn open(&self) -> Result<(), GateClosed> {
        let now = {
            let mut state = self.0.state.lock();
            let now = self.0.holder.clock.now();
            if state.closed.is_none() && now < state.deadline && !state.opened {
                state.opened = true;
                Some(now)
            } else {
                None
            }
        };
        if let Some(now) = now {
            activity!(self.0.epoch, now, "gate-open");
        }
        if is_planted(Mutant::OpenedUnasked) {
            return Ok(());
        }
        match self.look().1 {
            // It is opened; the doubt passes, or closes it.
            Ok(_) | Err(GateClosed::InDoubt(_)) => Ok(()),
            Err(closed) => Err(closed),
        }
    }

    /// A renewal that was sent at `sent` has succeeded: the gate stays open until `sent` + D, and doubts from before are gone.
    ///
    /// A gate whose time has run out meanwhile, or that was closed, stays closed: false if the term is lost.
    pub(crate) fn extend(&self, sent: Moment) -> bool {
        let (closed, alive) = {
            let mut state = self.0.state.lock();
            let now = self.0.holder.clock.now();
            let closed = self.0.lapse(&mut state, now);
            // Closed by its owner, the term still has its Lease, and the hard stop moves on with it.
            let alive = !state.lost() && now < state.deadline;
            if is_planted(Mutant::TwoSteps) {
                drop(state);
                state = self.0.state.lock();
            }
            if alive {
                let least = if is_planted(Mutant::LastAnswer) { sent.at } else { state.deadline };
                state.deadline = least.max(sent.at + self.0.holder.hold);
                state.renewed = sent;
                if state.doubt.is_some_and(|since| since <= sent.at) || is_planted(Mutant::OldRenewal) {
                    state.doubt = None;
                }
            }
            (closed, alive)
        };
        self.tell(closed);
        alive
    }

    /// Notices that time has run out. True if the Lease is no longer this term's.
    pub(crate) fn tick(&self) -> bool {
        let (closed, lost) = {
            let mut state = self.0.state.lock();
            let now = self.0.holder.clock.now();
            let closed = self.0.lapse(&mut state, now);
            // The owner's closing doesn't lose the Lease, but time does, also after it.
            (closed, state.lost() || now >= state.deadline)
        };
        self.tell(closed);
        lost
    }

    /// Since when the gate has been in doubt, if it is.
    pub(crate) fn doubt(&self) -> Option<GateInstant> {
        _ = self.look();
        self.0.state.lock().doubt
    }

    fn look(&self) -> (GateInstant, Result<Remaining, GateClosed>) {
        let (now, closed, doubted, answer) = {
            let mut state = self.0.state.lock();
            let moment = Moment::of(self.0.holder.clock.as_ref());
            let now = moment.at;
            let closed = self.0.lapse(&mut state, now);
            let doubted =
                self.0.elected && state.doubt.is_none() && state.closed.is_none() && state.renewed.disagrees(moment);
            if doubted {
                state.doubt = Some(now);
            }
            let answer = match &state.closed {
                Some(Closed { reason, .. }) => Err(GateClosed::Closed { epoch: self.0.epoch, reason: reason.clone() }),
                None if !state.opened => Err(GateClosed::NotOpenYet(self.0.epoch)),
                None if state.doubt.is_some() => Err(GateClosed::InDoubt(self.0.epoch)),
                None => Ok(Remaining { checked_at: now, deadline: state.deadline }),
            };
            (now, closed, doubted, answer)
        };
        self.tell(closed);
        if doubted {
            self.0.holder.metrics.tell(|sink| sink.doubts(1));
            tracing::warn!(epoch = %self.0.epoch, "the clocks have jumped: nothing acts until the server has been asked");
        }
        (now, answer)
    }

    /// Cancels and reports, outside the lock, what was just closed under it.
    fn tell(&self, closed: Option<Closed>) {
        if let Some(Closed { at, reason }) = closed {
            self.0.cancelled.cancel();
            self.0.holder.metrics.tell(|sink| sink.closings(reason.label()));
            activity!(self.0.epoch, at, "gate-close", reason = %reason);
        }
    }
}

impl Gate {
    fn lapse(&self, state: &mut State, now: GateInstant) -> Option<Closed> {
        // It closed when its time ran out, however late that is noticed.
        if now >= state.deadline { self.close(state, state.deadline, CloseReason::TimeRanOut) } else { None }
    }

    fn close(&self, state: &mut State, at: GateInstant, reason: CloseReason) -> Option<Closed> {
        if state.closed.is_some() && !is_planted(Mutant::LastReason) {
            return state.closed.clone().filter(|_| is_planted(Mutant::ToldAgain));
        }
        let closed = Closed { at, reason };
        state.closed = Some(closed.clone());
        Some(closed)
    }
}

impl State {
    fn lost(&self) -> bool {
        let reason = self.closed.as_ref().map(|closed| &closed.reason);
        matches!(reason, Some(CloseReason::Lost(_) | CloseReason::TimeRanOut | CloseReason::ElectorGone))
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        formatter
            .debug_struct("Term")
            .field("identity", &self.0.holder.identity.as_str())
            .field("epoch", &self.0.epoch.number())
            .field("opened", &state.opened)
            .field("closed", &state.closed.as_ref().map(|closed| &closed.reason))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
