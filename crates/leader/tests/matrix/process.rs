//! One process: an elector over HTTP and work that has effects, on a clock of their own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::simulate::process::ProcessClock;
use watchkeeper_leader::{
    Candidacy, CloseReason, Elector, End, Identity, KubeLeaseLock, LeaseLock, Standing, Term, Timings,
};

use crate::breach::{Breach, Liar};
use crate::clock::Clock;
use crate::config::{PLACE, config};
use crate::terms::Terms;
use crate::wire::Wire;

/// A new leader catches up for so long.
const CATCHES_UP: Duration = Duration::from_millis(100);
/// Its work stops so long after it was told.
const STOPS: Duration = Duration::from_millis(500);

/// Timings on the edge of what is safe.
pub(crate) fn timings() -> Timings {
    let timings = Timings::default();
    Timings { renew_deadline: timings.longest_renew_deadline(), ..timings }
}

/// A clock at the edge of the stated error, a twelfth, in parts per million.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rate {
    Slow = 916_667,
    Fast = 1_083_333,
}

/// What the processes of a cell share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) terms: Terms,
    pub(crate) begin: Instant,
    pub(crate) breach: Option<Breach>,
}

impl World {
    pub(crate) fn now(&self) -> Duration {
        Instant::now() - self.begin
    }

    pub(crate) fn breaks(&self, breach: Breach) -> bool {
        self.breach == Some(breach)
    }
}

pub(crate) struct Process {
    pub(crate) user: String,
    pub(crate) wire: Wire,
    pub(crate) clock: ProcessClock,
    stop: CancellationToken,
    hand_over: Arc<Notify>,
    elector: JoinHandle<()>,
    work: JoinHandle<()>,
}

impl Process {
    /// Only the process named `a` breaks rules.
    pub(crate) fn start(world: &World, user: &str, rate: Rate) -> Self {
        let wire = Wire::new(world.server.clone(), user);
        let clock = ProcessClock::new(Instant::now(), Duration::from_secs(rate as u64), rate as u64);
        let identity = Identity::from_parts(user, 1, rate as u128).expect("a good name");
        let lock: Arc<dyn LeaseLock> = Arc::new(KubeLeaseLock::new(wire.client(), PLACE.0, PLACE.1));
        let lock = match world.breach {
            Some(breach) if user == "a" => Arc::new(Liar::new(lock, identity.as_str(), breach)),
            _ => lock,
        };
        let seed = user.bytes().fold(rate as u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
        let config = config(identity, timings(), false, seed);
        let (elector, candidacy) = Elector::new(lock, config, Arc::new(Clock(clock.clone()))).expect("sound timings");
        let (stop, hand_over) = (CancellationToken::new(), Arc::new(Notify::new()));
        let work = Work { world: world.clone(), user: user.to_owned(), hand_over: hand_over.clone() };
        let (elector, work) = (tokio::spawn(elector.run(stop.clone())), tokio::spawn(work.run(candidacy)));
        Self { user: user.to_owned(), wire, clock, stop, hand_over, elector, work }
    }

    /// SIGKILL.
    pub(crate) fn crash(self, world: &World) {
        self.elector.abort();
        self.work.abort();
        world.terms.died(&self.user, world.now());
    }

    /// Its present or next term is given up.
    pub(crate) fn hand_over(&self) {
        self.hand_over.notify_one();
    }

    /// SIGTERM, and its end; whether a part of it has panicked.
    pub(crate) async fn stop(self) -> bool {
        self.stop.cancel();
        self.hand_over.notify_one();
        let (elector, work) = (self.elector.await, self.work.await);
        elector.is_err() || work.is_err()
    }
}

struct Work {
    world: World,
    user: String,
    hand_over: Arc<Notify>,
}

impl Work {
    async fn run(self, mut candidacy: Candidacy) {
        while let Some(standing) = candidacy.next_term().await {
            self.term(standing).await;
        }
    }

    async fn term(&self, standing: Standing) {
        sleep(CATCHES_UP).await;
        if standing.open().is_err() {
            return standing.end(End::Release).await;
        }
        let term: Term = standing.term().clone();
        let number = self.world.terms.opened(&term, &self.user, self.world.now());
        tokio::select! {
            biased;
            () = term.cancelled().cancelled_owned() => {}
            () = self.hand_over.notified() => {}
        }
        if self.user == "a" && self.world.breaks(Breach::ReleasesBeforeTheStop) {
            standing.end(End::Release).await;
            sleep(8 * STOPS).await;
            return self.world.terms.stopped(number, self.world.now());
        }
        term.close(CloseReason::Stopping);
        sleep(STOPS).await;
        self.world.terms.stopped(number, self.world.now());
        standing.end(End::Release).await;
    }
}
