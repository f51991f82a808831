//! A large cluster's load: many node Leases, renewed one after the other at a given rate.
//!
//! In: a client, how many, how fast. Out: creates, then merge patches of `renewTime`, spread evenly over time by a
//! few connections. If the server is slower than asked, renewals are late rather than piled up; each ten seconds a
//! line says how many were made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube_client::api::{Patch, PatchParams, PostParams};
use kube_client::{Api, Client, Error};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::class::NODE_LEASES;
use crate::moment::SharedClock;
use crate::output::Voice;
use crate::problem;

/// Connections that share the work.
const LANES: u32 = 8;

/// How much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) leases: u32,
    pub(crate) per_second: u32,
}

/// Renews until `shutdown`.
///
/// # Errors
/// The Leases can't be created.
pub(crate) async fn run(
    client: Client,
    load: Load,
    (clock, voice): (SharedClock, Voice),
    shutdown: CancellationToken,
) -> Result<(), String> {
    let made = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(renew(client.clone(), (load, lane), (clock.clone(), made.clone()), shutdown.clone()));
    }
    let mut report = tokio::time::interval(Duration::from_secs(10));
    report.tick().await;
    loop {
        // Biased: ended lanes first, so that the last one ends the loop.
        tokio::select! {
            biased;
            ended = lanes.join_next() => match ended {
                None => return Ok(()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    return Err(problem::explain(&error, "create", "leases.coordination.k8s.io", NODE_LEASES));
                }
                Some(Err(_)) => return Err("a load lane panicked".to_owned()),
            },
            _ = report.tick() => voice.say(&format!("load: {} renewals so far", made.load(Ordering::Relaxed))),
        }
    }
}

async fn renew(
    client: Client,
    (load, lane): (Load, u32),
    (clock, made): (SharedClock, Arc<AtomicU64>),
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let leases: Api<Lease> = Api::namespaced(client, NODE_LEASES);
    let mine: Vec<String> =
        (0..load.leases).filter(|number| number % LANES == lane).map(|number| format!("load-{number:06}")).collect();
    for name in &mine {
        if shutdown.is_cancelled() {
            return Ok(());
        }
        let lease = json!({
            "metadata": {"name": name},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micro(clock.wall())},
        });
        let lease: Lease = serde_json::from_value(lease).map_err(Error::SerdeError)?;
        match leases.create(&PostParams::default(), &lease).await {
            Err(error) if problem::code(&error) != Some(409) => return Err(error),
            _ => {}
        }
    }
    let mut turns = tokio::time::interval(Duration::from_secs(1) * LANES / load.per_second);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for name in mine.iter().cycle() {
        // Biased: a stop that is asked for wins.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = turns.tick() => {}
        }
        let patch = json!({"spec": {"renewTime": micro(clock.wall())}});
        // A failed renewal is a missed one, as a kubelet's would be.
        if leases.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.is_ok() {
            made.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// As the server keeps it: six digits of a second, no more.
fn micro(now: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
}
