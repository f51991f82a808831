//! What goes wrong around the informer.

use std::time::Duration;

use fastrand::Rng;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::replica::{Lag, Routing};

pub(crate) const REPLICAS: usize = 3;

/// One thing that goes wrong, at its time.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// All watches end, as when caches are initialised anew.
    CloseWatches,
    /// History is forgotten, all of it or all but some.
    Compact { keep: u64 },
    /// A replica is cut off from the log for a while.
    CutOff { replica: usize, until: Duration },
    /// A replica is behind from now on.
    Lag { replica: usize, by: Lag },
    /// A replica is restarted.
    Restart { replica: usize },
    /// A replica's cache isn't initialised for a while.
    Unready { replica: usize, until: Duration },
    /// The load balancer changes its mind; all watches end with it.
    Route(Routing),
}

impl What {
    pub(crate) const NAMES: [&str; 7] = ["close watches", "compact", "cut off", "lag", "restart", "unready", "route"];

    pub(crate) fn name(self) -> &'static str {
        let place = match self {
            Self::CloseWatches => 0,
            Self::Compact { .. } => 1,
            Self::CutOff { .. } => 2,
            Self::Lag { .. } => 3,
            Self::Restart { .. } => 4,
            Self::Unready { .. } => 5,
            Self::Route(_) => 6,
        };
        Self::NAMES[place]
    }

    fn draw(random: &mut Rng, within: Duration) -> Self {
        let replica = random.usize(..REPLICAS);
        let until = within.mul_f64(random.f64() / 3.0);
        match random.u8(..7) {
            0 => Self::CloseWatches,
            1 => Self::Compact { keep: random.u64(..20) },
            2 => Self::CutOff { replica, until },
            3 => Self::Lag {
                replica,
                by: match random.u8(..3) {
                    0 => Lag::None,
                    1 => Lag::Writes(random.u64(1..50)),
                    _ => Lag::Time(Duration::from_millis(random.u64(1..5000))),
                },
            },
            4 => Self::Restart { replica },
            5 => Self::Unready { replica, until },
            _ => Self::Route(match random.u8(..3) {
                0 => Routing::To(replica),
                1 => Routing::RoundRobin,
                _ => Routing::Random,
            }),
        }
    }
}

/// So many faults within this time, in its order.
pub(crate) fn draw(random: &mut Rng, count: usize, within: Duration) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        (0..count).map(|_| Fault { at: within.mul_f64(random.f64()), what: What::draw(random, within) }).collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// What has to be undone later.
enum Undo {
    Resume(usize),
    Ready(usize),
}

/// Lets the faults happen, each at its time, and heals everything when the last one is over.
pub(crate) async fn unleash(server: &ApiServer, faults: &[Fault], heal: bool) {
    let start = tokio::time::Instant::now();
    let mut due: Vec<(Duration, usize, Undo)> = Vec::new();
    for (turn, fault) in faults.iter().enumerate() {
        undo(server, start, &mut due, fault.at).await;
        tokio::time::sleep_until(start + fault.at).await;
        match fault.what {
            What::CloseWatches => server.close_watches(),
            What::Compact { keep } => server.compact(server.version().saturating_sub(keep)),
            What::CutOff { replica, until } => {
                server.replica(replica).pause();
                due.push((fault.at + until, turn, Undo::Resume(replica)));
            }
            What::Lag { replica, by } => server.replica(replica).set_lag(by),
            What::Restart { replica } => server.replica(replica).restart(),
            What::Unready { replica, until } => {
                server.replica(replica).set_ready(false);
                due.push((fault.at + until, turn, Undo::Ready(replica)));
            }
            What::Route(routing) => {
                server.set_routing(routing);
                server.close_watches();
            }
        }
    }
    undo(server, start, &mut due, Duration::MAX).await;
    if heal {
        server.set_routing(Routing::To(0));
        for replica in (0..REPLICAS).map(|index| server.replica(index)) {
            replica.set_lag(Lag::None);
            replica.resume();
            replica.set_ready(true);
        }
    } else {
        (0..REPLICAS).for_each(|index| server.replica(index).pause());
    }
}

async fn undo(
    server: &ApiServer,
    start: tokio::time::Instant,
    due: &mut Vec<(Duration, usize, Undo)>,
    before: Duration,
) {
    due.sort_by_key(|(at, turn, _)| (*at, *turn));
    let count = due.iter().take_while(|(at, ..)| *at < before).count();
    for (at, _, undo) in due.drain(..count) {
        tokio::time::sleep_until(start + at).await;
        match undo {
            Undo::Resume(replica) => server.replica(replica).resume(),
            Undo::Ready(replica) => server.replica(replica).set_ready(true),
        }
    }
}
