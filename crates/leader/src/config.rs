//! What an elector is told, and whether it can work with that.
//!
//! In: names, an identity, timings, a seed. Out: a verdict with a text that says what to change. Never: defaults for what
//! only the caller can know.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bucket::fnv1a;
use crate::clock::GateClock;
use crate::coordination::Coordination;
use crate::events::EventRecorder;
use crate::identity::Identity;
use crate::metrics::MetricsSink;
use crate::objects::is_name;
use crate::old_locks::OldLock;
use crate::sight::Sight;
use crate::timings::{Timings, TimingsError};

/// What an elector is to do.
#[derive(Clone, Debug)]
pub struct ElectorConfig {
    /// Namespace of the Lease.
    pub lease_namespace: String,
    /// Name of the Lease. It needn't exist.
    pub lease_name: String,
    /// This candidate, in this incarnation.
    pub identity: Identity,
    /// The timings, which all candidates should share.
    pub timings: Timings,
    /// Declares that nobody can hold the Lease if the first look shows that it is missing, so that the first term can
    /// begin at once. Otherwise a missing Lease is waited out, since it may have been deleted under its holder.
    pub first_install: bool,
    /// Seed of the jitter. Different for each candidate.
    pub seed: u64,
    /// Put on the Lease when this candidate claims it; others on it stay. Upstream: `NewWithLabels`.
    pub labels: BTreeMap<String, String>,
    /// Where the measures go.
    pub metrics: MetricsSink,
    /// Whether Events on the Lease say who "became leader" and who "stopped leading", as upstream's do. Best effort: the Role should
    /// allow to create events in the Lease's namespace, and the log says so once if it doesn't. An [`Elector`](crate::Elector) by itself
    /// makes none, since it has a lock and no client.
    pub events: bool,
    /// A lock from before there were Leases, on Endpoints or a ConfigMap, that other candidates may still hold: then this one claims
    /// nothing before it has been silent for as long as a Lease would have to be (also if the object is missing or nobody is shown, and
    /// whatever `first_install` says), and holds both while it leads. Each renewal is two
    /// requests, with half of the request timeout each. The Role needs get, create and update on that object.
    ///
    /// None: no old lock is looked at, also if there is no Lease. To be set in a first version that all replicas run, and taken out in
    /// a later one. Not with buckets, and not with an [`Elector`](crate::Elector) by itself.
    pub old_lock: Option<OldLock>,
    /// The server names who is to lead, among the LeaseCandidates: see [`Coordination`]. None: whoever takes the Lease first. Not with
    /// buckets, not with an old lock, and not with an [`Elector`](crate::Elector) by itself.
    pub coordinated: Option<Coordination>,
}

/// Why an elector can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The timings can't work.
    #[error("the election timings can't work: {0}")]
    Timings(#[from] TimingsError),
    /// Not a name that a Lease or a namespace can have.
    #[error("{what} {text:?} isn't a Kubernetes name: use lower-case letters, digits, '-' and '.', at most 253 bytes")]
    Name {
        /// Namespace or name.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// An old lock can't be minded here.
    #[error("the old lock can't be minded: {0}; stand for one Lease alone, with a client")]
    OldLock(&'static str),
    /// The election can't be coordinated here.
    #[error("the election can't be coordinated: {0}; stand for one Lease alone, with a client and without an old lock")]
    Coordinated(&'static str),
    /// A version that the server would refuse.
    #[error("the {what} version {text:?} {wrong}")]
    Version {
        /// Binary or emulation.
        what: &'static str,
        /// What was given.
        text: String,
        /// What to change.
        wrong: &'static str,
    },
    /// The operating system gave no thread.
    #[error("can't start the elector's thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl ElectorConfig {
    /// Default timings, no first install, a seed of the identity's own, no labels, no metrics, Events, no old lock, no coordination.
    pub fn new(lease_namespace: impl Into<String>, lease_name: impl Into<String>, identity: Identity) -> Self {
        let seed = fnv1a(identity.as_str().bytes());
        Self {
            lease_namespace: lease_namespace.into(),
            lease_name: lease_name.into(),
            identity,
            timings: Timings::default(),
            first_install: false,
            seed,
            labels: BTreeMap::new(),
            metrics: MetricsSink::default(),
            events: true,
            old_lock: None,
            coordinated: None,
        }
    }

    pub(crate) fn sight(&self, clock: &Arc<dyn GateClock>, events: Option<EventRecorder>) -> Sight {
        let lease = format!("{}/{}", self.lease_namespace, self.lease_name);
        Sight::new(lease, self.identity.clone(), clock.clone(), &self.metrics, events)
    }

    /// Whether an elector can work with this.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.timings.check()?;
        if let Some(coordination) = &self.coordinated {
            coordination.check()?;
            if self.old_lock.is_some() {
                return Err(ConfigError::Coordinated("the server knows nothing of an old lock"));
            }
        }
        let lease = (self.lease_namespace.as_str(), self.lease_name.as_str());
        let old = self.old_lock.as_ref().map_or(lease, |old| old.place(self));
        for (what, text) in [
            ("the Lease's namespace", lease.0),
            ("the Lease's name", lease.1),
            ("the old lock's namespace", old.0),
            ("the old lock's name", old.1),
        ] {
            if !is_name(text) {
                return Err(ConfigError::Name { what, text: text.to_owned() });
            }
        }
        Ok(())
    }
}
