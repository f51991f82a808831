//! One simulated process: an elector, a worker set as bad as the rules allow, and the hand that stops or kills them.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::Plan;
use super::checker::Checker;
use super::jumping::JumpingClock;
use super::object::Object;
use super::server::Wire;
use crate::candidacy::{Candidacy, End, Standing};
use crate::clock::{GateClock, VirtualClock};
use crate::config::ElectorConfig;
use crate::elector::Elector;
use crate::gate::CloseReason;
use crate::identity::Identity;

/// What the owner of the work does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Habits {
    /// Breaks the order of a release: the Lease is given back while the work still runs.
    pub(crate) release_before_stop: bool,
    /// The first install is declared.
    pub(crate) first_install: bool,
    /// The work catches up at once, and always releases.
    pub(crate) prompt: bool,
    /// Everybody has the same name (a rule says they mustn't).
    pub(crate) same_identity: bool,
    /// The work writes without a fence, as client-go's users do.
    pub(crate) unfenced: bool,
    /// Breaks what the fence rests on: the server compares no versions.
    pub(crate) unversioned: bool,
}

/// One process.
pub(crate) struct Process {
    pub(crate) wire: Wire,
    shutdown: CancellationToken,
    elector: JoinHandle<()>,
    work: JoinHandle<()>,
    elector_paused: Pauses,
    work_paused: Pauses,
    hand_over: Rc<tokio::sync::Notify>,
    clock: JumpingClock,
    leads: Rc<Cell<bool>>,
}

type Pauses = Rc<Cell<Option<Instant>>>;

pub(crate) fn now() -> Instant {
    Instant::now()
}

impl Process {
    pub(crate) fn start(
        plan: &Plan,
        number: u32,
        seed: u64,
        rate: f64,
        wire: Wire,
        object: &Object,
        checker: &Checker,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let name = if plan.habits.same_identity { 0 } else { number };
        let config = ElectorConfig {
            timings: plan.timings.clone(),
            first_install: plan.habits.first_install,
            seed: random.u64(..),
            ..ElectorConfig::new(
                "default",
                "the-lease",
                Identity::from_parts("sim", name, u128::from(name)).expect("a good name"),
            )
        };
        let born = now();
        // Nobody's wall clock is right, nor equal to another's.
        let wall =
            jiff::Timestamp::from_microsecond(1_700_000_000_000_000 + random.i64(0..1_000_000_000)).expect("a date");
        let offset = Duration::from_secs(random.u64(..1_000_000));
        let clock = JumpingClock::new(VirtualClock::new().with_wall(wall).with_rate(rate), offset);
        let gate_clock: Arc<dyn GateClock> = Arc::new(clock.clone());
        let (seats, candidacy) = Candidacy::new(config.sight(&gate_clock, None));
        let elector = Elector::assemble(Arc::new(wire.clone()), config, gate_clock, seats, plan.rules);
        let shutdown = CancellationToken::new();
        let (elector_paused, work_paused) = (Pauses::default(), Pauses::default());
        let hand_over = Rc::new(tokio::sync::Notify::new());
        let leads = Rc::new(Cell::new(false));
        let work = Work {
            habits: plan.habits,
            random,
            checker: checker.clone(),
            clock: clock.clone(),
            born,
            hand_over: hand_over.clone(),
            leads: leads.clone(),
            object: object.clone(),
            // Not from `random`, so that it changes nothing else of a seed.
            writes: fastrand::Rng::with_seed(!seed),
        };
        let elector = Pausable::new(elector.run(shutdown.clone()), elector_paused.clone());
        let work = Pausable::new(work.run(candidacy), work_paused.clone());
        Self {
            wire,
            shutdown,
            elector: tokio::task::spawn_local(elector),
            work: tokio::task::spawn_local(work),
            elector_paused,
            work_paused,
            hand_over,
            clock,
            leads,
        }
    }

    /// The machine is suspended, and its gate clock counts more of it than anybody else's; so does its wall, or not. Only where a term
    /// is held for certain: a candidate whose clock jumps breaks the bound on its rate.
    pub(crate) fn suspend(&self, length: Duration, jump: Duration, wall: bool) {
        let awake = self.work_paused.get().is_none_or(|until| until <= now());
        self.pause(length, true);
        if awake && self.leads.get() {
            self.clock.jump(jump, wall);
        }
    }

    /// SIGSTOP for a while; or only the elector is stuck, and the work goes on.
    pub(crate) fn pause(&self, length: Duration, all: bool) {
        let until = Some(now() + length);
        self.elector_paused.set(until);
        if all {
            self.work_paused.set(until);
        }
    }

    pub(crate) fn resume(&self) {
        self.elector_paused.set(None);
        self.work_paused.set(None);
    }

    /// SIGKILL.
    pub(crate) fn crash(&self) {
        self.elector.abort();
        self.work.abort();
    }

    /// SIGTERM.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
        self.hand_over();
    }

    /// The owner is asked to give its next (or present) term up.
    pub(crate) fn hand_over(&self) {
        self.hand_over.notify_one();
    }
}

struct Work {
    habits: Habits,
    random: fastrand::Rng,
    checker: Checker,
    clock: JumpingClock,
    born: Instant,
    hand_over: Rc<tokio::sync::Notify>,
    /// A term is held.
    leads: Rc<Cell<bool>>,
    object: Object,
    writes: fastrand::Rng,
}

impl Work {
    async fn run(mut self, mut candidacy: Candidacy) {
        while let Some(standing) = candidacy.next_term().await {
            self.leads.set(true);
            self.term(standing).await;
            self.leads.set(false);
        }
    }

    async fn term(&mut self, standing: Standing) {
        let writes = self.object.clone().work(standing.term().clone(), self.writes.u64(..));
        tokio::select! {
            biased;
            () = self.lead(standing) => {}
            () = writes => {}
        }
    }

    async fn lead(&mut self, standing: Standing) {
        let stop_bound = standing.term().stop_bound();
        let number = self.checker.borrow_mut().won(standing.term(), &self.clock, self.born);
        let catching_up = self.up_to(2.0);
        if !self.habits.prompt {
            tokio::time::sleep(catching_up).await;
        }
        if standing.open().is_err() {
            return standing.end(End::Release).await;
        }
        self.checker.borrow_mut().opened(number);
        let cancelled = standing.term().cancelled();
        tokio::select! {
            biased;
            // Lost. The last effects take as long as they may; the judge assumes so by itself.
            () = cancelled.cancelled() => {
                tokio::time::sleep(stop_bound).await;
                return standing.end(End::Release).await;
            }
            () = self.hand_over.notified() => {}
        }
        // Time to stop: drain while renewing, then close and join.
        let drain = self.up_to(3.0);
        tokio::select! {
            biased;
            () = cancelled.cancelled() => {}
            () = tokio::time::sleep(drain) => {}
        }
        standing.term().close(CloseReason::Stopping);
        let join = stop_bound.mul_f64(self.random.f64());
        if self.habits.release_before_stop {
            standing.end(End::Release).await;
            tokio::time::sleep(join).await;
            self.checker.borrow_mut().stopped(number);
        } else {
            tokio::time::sleep(join).await;
            self.checker.borrow_mut().stopped(number);
            let keep = self.random.u8(..4) == 0 && !self.habits.prompt;
            standing.end(if keep { End::Keep } else { End::Release }).await;
        }
    }

    fn up_to(&mut self, seconds: f64) -> Duration {
        Duration::from_secs_f64(self.random.f64() * seconds)
    }
}

/// A future that isn't polled while it is paused.
struct Pausable<F> {
    inner: Pin<Box<F>>,
    until: Pauses,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<F> Pausable<F> {
    fn new(inner: F, until: Pauses) -> Self {
        Self { inner: Box::pin(inner), until, sleep: None }
    }
}

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(until) = self.until.get().filter(|until| now() < *until) {
            let sleep = self.sleep.insert(Box::pin(tokio::time::sleep_until(until)));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.inner.as_mut().poll(context)
    }
}
