//! One replica of the monitor: a full stack with its own connection, cache, board and identity.
//!
//! ```text
//! Leases, Nodes → informers → board (inline, always)        → table
//!                           → queue → gate → teller         → Events, while this replica holds the Lease
//! ```
//!
//! In: a way to the server and the flags. Out: lines about its terms and its troubles, one per change. Losing the
//! Lease ends a term, not the replica.

use std::pin::pin;
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use watchkeeper::informer::{ObjectKey, Scope};
use watchkeeper::leader::Identity;
use watchkeeper::{Connection, Controller, Leadership, Manager, ManagerConfig};

use crate::attention::TICK;
use crate::board::Board;
use crate::cli::RunArgs;
use crate::election;
use crate::health::Health;
use crate::moment::SharedClock;
use crate::output::Voice;
use crate::problem;
use crate::teller::Teller;

/// What replicas of one process share.
pub(crate) struct Setup {
    pub(crate) args: RunArgs,
    pub(crate) clock: SharedClock,
    pub(crate) voice: Voice,
}

/// One replica, not yet running.
pub(crate) struct Replica {
    face: Face,
    manager: Manager,
    health: Health,
    standby: Standby,
    voice: Voice,
}

/// What others may see of a replica.
#[derive(Clone)]
pub(crate) struct Face {
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) board: Arc<Board>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    /// The monitor's own Lease.
    pub(crate) lease: ObjectKey,
}

impl Replica {
    /// Assembles a replica; starts nothing. Must be called on the runtime that will run it.
    ///
    /// # Errors
    /// Flags that don't fit together, credentials that can't be used.
    pub(crate) fn new(
        setup: &Setup,
        connection: Connection,
        (name, identity): (&str, Identity),
    ) -> Result<Replica, String> {
        let Setup { args, clock, voice } = setup;
        let board = Arc::new(Board::new(clock.clone()));

        let scope = match &args.target.namespace {
            Some(namespace) => Scope::namespaced::<Lease>(namespace),
            None => Scope::all::<Lease>(),
        };
        let mut leases = connection.informer_in::<Lease>(scope).map_err(|error| problem::chain(&error))?;
        // Before the controller's own source: when a key is queued, the board knows already.
        let on_board = board.clone();
        leases.add_source(move |event| on_board.lease(event));

        let mut nodes = connection.informer::<Node>().map_err(|error| problem::chain(&error))?;
        let on_board = board.clone();
        nodes.add_source(move |event| on_board.node(event));

        let teller =
            Teller { board: board.clone(), clock: clock.clone(), voice: voice.clone(), replica: name.to_owned() };
        let controller = Controller::new("lease-monitor", &mut leases, teller).workers(args.workers.into());
        let elector = election::elector(&args.election, identity.clone(), args.embedded)?;
        let lease = ObjectKey::new(&elector.lease_namespace, &elector.lease_name);
        let health = Health::new(name, leases.handle(), nodes.handle());
        let manager = Manager::new(ManagerConfig::new(connection, elector))
            .informer(leases)
            .informer(nodes)
            .controller(controller);
        let face = Face { name: name.to_owned(), identity, board, leadership: manager.leadership(), lease };
        let standby = Standby { own: face.identity.to_string(), said: String::new() };
        Ok(Replica { face, manager, health, standby, voice: voice.clone() })
    }

    /// What others may see.
    pub(crate) fn face(&self) -> Face {
        self.face.clone()
    }

    /// Runs until `shutdown`, and returns when everything has ended and the Lease is released.
    ///
    /// # Errors
    /// What ended it before.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), String> {
        let Replica { face, manager, mut health, mut standby, voice } = self;
        let Face { name, board, mut leadership, .. } = face;
        let sights = manager.sights();
        let mut manager = pin!(Box::pin(manager.run(shutdown)));
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut acting = None;
        loop {
            // Biased: news of a term is told before the end.
            tokio::select! {
                biased;
                Ok(()) = leadership.changed() => {
                    let now = leadership.borrow_and_update().clone();
                    announce(&voice, &name, &mut acting, &now);
                }
                result = &mut manager => {
                    announce(&voice, &name, &mut acting, &Leadership::Standby);
                    return result.map_err(|error| problem::chain(&error));
                }
                _ = ticks.tick() => {
                    for line in health.look() {
                        voice.say(&line);
                    }
                    let holder = sights.borrow().first().and_then(|sight| sight.status().holder);
                    if let Some(leader) = standby.news(&holder.unwrap_or_default()) {
                        voice.say(&format!("standby: {name} stands by; {leader} leads"));
                    }
                    board.tick(health.cut_off(), health.nodes_known());
                }
            }
        }
    }
}

/// What a replica that stands by has said of who leads.
struct Standby {
    own: String,
    /// The leader named last; empty after an own term.
    said: String,
}

impl Standby {
    /// The holder of the Lease, if it is another replica, and another one than before. A Lease that is free for a while is no news.
    fn news<'a>(&mut self, holder: &'a str) -> Option<&'a str> {
        if holder == self.own {
            self.said.clear();
        }
        let news = !holder.is_empty() && holder != self.own && holder != self.said;
        news.then(|| {
            self.said = holder.to_owned();
            holder
        })
    }
}

/// Says that a term has begun or ended.
fn announce(voice: &Voice, name: &str, acting: &mut Option<String>, now: &Leadership) {
    let epoch = match now {
        Leadership::Acting(term) => Some(term.epoch().to_string()),
        Leadership::Standby | Leadership::Starting(_) => None,
    };
    if *acting == epoch {
        return;
    }
    if let Some(old) = acting.take() {
        voice.say(&format!("term: {name} stands by, epoch {old} has ended"));
    }
    if let Some(new) = epoch {
        voice.say(&format!("term: {name} acts, epoch {new}"));
        *acting = Some(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_is_said_once_a_leader() {
        let mut standby = Standby { own: "me".into(), said: String::new() };
        let rounds = ["", "a", "a", "", "a", "b", "b", "me", "me", "", "b", "b"];
        let said: Vec<_> = rounds.into_iter().filter_map(|holder| standby.news(holder)).collect();
        assert_eq!(said, ["a", "b", "b"]);
    }
}
