//! All elections of a process, side by side in one runtime.
//!
//! In: what to stand for. Out: a candidacy for each Lease, and one future that runs them all. Never: a Lease without its own elector, or
//! a request of one elector that waits for another's.

use std::sync::Arc;

use futures::future::join_all;
use kube_client::Client;
use tokio_util::sync::CancellationToken;

use crate::bucket::Buckets;
use crate::candidacy::{Candidacy, Footing, Seats};
use crate::clock::GateClock;
use crate::config::{ConfigError, ElectorConfig};
use crate::elector::Elector;
use crate::events::EventQueue;
use crate::kube_lock::KubeLeaseLock;
use crate::lease_candidate::LeaseCandidate;
use crate::lock::LeaseLock;
use crate::members::Members;
use crate::objects::{LEASES, Objects, is_name};
use crate::old_locks::{MigratingLock, OldLock};
use crate::roster::Group;
use crate::rules::Rules;

/// What a process stands for.
#[derive(Clone, Debug)]
pub enum Stand {
    /// One Lease.
    Alone(ElectorConfig),
    /// A Lease a bucket, called `<lease_name>.NN-of-MM`, shared out between the replicas that are there: each should hold as many, give
    /// or take one. When one comes or goes, a bucket that should be another's is handed over. Each replica shows that it is there by a
    /// Lease called `<lease_name>.member-<hash>`; the Role needs list and delete on `leases`, too.
    ///
    /// **The number of buckets** divides the keys, so two numbers must not be at work at once. A replica that sees an older one with
    /// another number keeps aside until that is gone. That is as good as its sight: change the number with all replicas stopped where
    /// two workers on one key would do harm.
    Shared(ElectorConfig, Buckets),
}

/// All elections of a process, before they run.
pub struct Electors {
    clock: Arc<dyn GateClock>,
    events: EventQueue,
    each: Vec<(ElectorConfig, Seats)>,
    groups: Vec<(ElectorConfig, Buckets, Vec<Footing>)>,
}

impl Electors {
    /// The elections, and for each [`Stand`] its candidacies: one, or one a bucket. Sends and spawns nothing.
    ///
    /// # Errors
    /// A config that can't work.
    pub fn new(stands: Vec<Stand>, clock: Arc<dyn GateClock>) -> Result<(Self, Vec<Vec<Candidacy>>), ConfigError> {
        let mut electors = Self { clock, events: EventQueue::new(), each: Vec::new(), groups: Vec::new() };
        let candidacies = stands.into_iter().map(|stand| electors.stand(stand)).collect::<Result<_, _>>()?;
        Ok((electors, candidacies))
    }

    fn stand(&mut self, stand: Stand) -> Result<Vec<Candidacy>, ConfigError> {
        match stand {
            Stand::Alone(config) => Ok(vec![self.enter(config)?]),
            Stand::Shared(ElectorConfig { old_lock: Some(_), .. }, _) => {
                Err(ConfigError::OldLock("it is one lock, and buckets are many"))
            }
            Stand::Shared(ElectorConfig { coordinated: Some(_), .. }, _) => {
                Err(ConfigError::Coordinated("the server would give all buckets to one"))
            }
            Stand::Shared(whole, buckets) => {
                let presence = group_of(&whole, buckets).presence_name();
                if !is_name(&presence) {
                    return Err(ConfigError::Name { what: "the name of a replica's presence", text: presence });
                }
                let candidacies = buckets
                    .all()
                    .map(|bucket| {
                        let seed = whole.seed.wrapping_add(u64::from(bucket.index()));
                        let lease_name = bucket.lease_name(&whole.lease_name);
                        self.enter(ElectorConfig { lease_name, seed, ..whole.clone() })
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                let footings = candidacies.iter().map(Candidacy::footing).collect();
                self.groups.push((whole, buckets, footings));
                Ok(candidacies)
            }
        }
    }

    fn enter(&mut self, config: ElectorConfig) -> Result<Candidacy, ConfigError> {
        config.check()?;
        let minds = |config: &ElectorConfig| {
            let place = |old: &OldLock| (old.kind, old.place(config).0.to_owned(), old.place(config).1.to_owned());
            config.old_lock.as_ref().map(place)
        };
        if config.old_lock.is_some() && self.each.iter().any(|(other, _)| minds(other) == minds(&config)) {
            return Err(ConfigError::OldLock("another Lease stands beside the same one"));
        }
        let named = |config: &ElectorConfig| (config.lease_namespace.clone(), config.identity.clone());
        let coordinated = || self.each.iter().filter(|(other, _)| other.coordinated.is_some());
        if config.coordinated.is_some() && coordinated().any(|(other, _)| named(other) == named(&config)) {
            return Err(ConfigError::Coordinated(
                "a LeaseCandidate stands for one Lease, and another has its name, the identity",
            ));
        }
        let (seats, candidacy) = Candidacy::new(config.sight(&self.clock, self.events.recorder(&config)));
        self.each.push((config, seats));
        Ok(candidacy)
    }

    /// Runs all until `shutdown`, or until nobody wants any term, and at most two seconds longer for the last Events. Otherwise as [`Elector::run`]. The client must have no retry layer, see
    /// [`KubeLeaseLock`].
    pub async fn run(self, client: Client, shutdown: CancellationToken) {
        let Self { clock, events, each, groups } = self;
        let terms_over = CancellationToken::new();
        let members = groups.into_iter().map(|(whole, buckets, footings)| {
            let group = group_of(&whole, buckets);
            let leases = Objects::new(&LEASES, client.clone(), whole.lease_namespace);
            Members::new(leases, clock.clone(), whole.timings, group, footings).run(terms_over.clone())
        });
        let members = join_all(members);
        // Who leaves is not to be named again, also while it still holds the Lease.
        let leaving = shutdown.child_token();
        let candidates = each.iter().filter_map(|(config, seats)| {
            let coordination = config.coordinated.as_ref()?;
            let candidate =
                LeaseCandidate::new(client.clone(), config, coordination, clock.clone(), seats.footing().clone());
            Some(candidate.run(leaving.clone()))
        });
        let candidates = join_all(candidates);
        let electors = join_all(each.into_iter().map(|(config, seats)| {
            let (namespace, name) = (config.lease_namespace.clone(), config.lease_name.clone());
            let lock: Arc<dyn LeaseLock> = match &config.old_lock {
                None => Arc::new(KubeLeaseLock::new(client.clone(), namespace, name)),
                Some(old) => {
                    Arc::new(MigratingLock::new(client.clone(), &config, old, clock.clone(), seats.sight.clone()))
                }
            };
            Elector::assemble(lock, config, clock.clone(), seats, Rules::default()).run(shutdown.clone())
        }));
        let events = events.run(client.clone(), terms_over.clone());
        // A presence stays until all terms are over, and no Event comes after.
        let electors = async {
            electors.await;
            leaving.cancel();
            terms_over.cancel();
        };
        futures::join!(electors, members, candidates, events);
    }
}

fn group_of(whole: &ElectorConfig, buckets: Buckets) -> Group {
    Group {
        namespace: whole.lease_namespace.clone(),
        whole: whole.lease_name.clone(),
        identity: whole.identity.as_str().to_owned(),
        buckets,
        lease_duration: whole.timings.lease_duration,
    }
}
