//! One Lease of the living cluster, and whoever holds it: creates, renews, takes and releases it as its script says.
//!
//! In: a plain client (these are other programs' Leases; the monitor's own gate isn't theirs). Out: writes, each a
//! read and a versioned update, as client-go's electors make them. A conflict or an error is left to the next turn.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube_client::api::PostParams;
use kube_client::{Api, Client, Error};
use tokio_util::sync::CancellationToken;

use crate::moment::SharedClock;
use crate::problem;
use crate::script::{Act, Script};

/// A Lease and its play.
pub(crate) struct Actor {
    /// Namespace, name, labels and owner of the Lease.
    pub(crate) metadata: ObjectMeta,
    /// `leaseDurationSeconds` while it is held.
    pub(crate) seconds: i32,
    /// Time between two turns.
    pub(crate) period: Duration,
    /// Whether this is an election (with acquire time and transitions) or a mere sign of life.
    pub(crate) elects: bool,
    /// What happens.
    pub(crate) script: Script,
}

impl Actor {
    /// Plays until `shutdown`. Errors other than conflicts are logged once until a turn succeeds.
    pub(crate) async fn run(self, client: Client, clock: SharedClock, shutdown: CancellationToken) {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        let leases: Api<Lease> = Api::namespaced(client, &namespace);
        let begin = clock.moment();
        let mut turns = tokio::time::interval(self.period);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            // Biased: a stop that is asked for wins.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = turns.tick() => {}
            }
            let act = self.script.at(clock.moment().since(begin));
            match self.turn(&leases, act, clock.wall()).await {
                Ok(()) => failing = false,
                Err(error) if problem::code(&error) == Some(409) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let text = problem::explain(&error, "write", "leases.coordination.k8s.io", &namespace);
                        tracing::warn!("living cluster: {text}");
                    }
                }
            }
        }
    }

    async fn turn(&self, leases: &Api<Lease>, act: Act, now: Timestamp) -> Result<(), Error> {
        if act == Act::Nothing {
            return Ok(());
        }
        let name = self.metadata.name.clone().unwrap_or_default();
        match leases.get_opt(&name).await? {
            None => {
                let mut lease = Lease { metadata: self.metadata.clone(), spec: None };
                self.write(&mut lease, act, now);
                leases.create(&PostParams::default(), &lease).await?;
            }
            Some(mut lease) => {
                if self.write(&mut lease, act, now) {
                    leases.replace(&name, &PostParams::default(), &lease).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes the act into the record; returns whether there is anything to send.
    fn write(&self, lease: &mut Lease, act: Act, now: Timestamp) -> bool {
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        let micro = Some(MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)));
        match act {
            Act::Nothing => return false,
            Act::Release if spec.holder_identity.as_deref().unwrap_or_default().is_empty() => return false,
            Act::Release => {
                // As client-go releases: nobody holds it, and it lasts a second.
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
            }
            Act::Hold(holder) => {
                if self.elects && spec.holder_identity.as_deref() != Some(holder) {
                    spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
                    spec.acquire_time = micro.clone();
                }
                spec.holder_identity = Some(holder.to_owned());
                spec.lease_duration_seconds = Some(self.seconds);
            }
        }
        spec.renew_time = micro;
        true
    }
}
