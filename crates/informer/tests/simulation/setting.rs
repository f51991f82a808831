//! The setting of every scenario: a storm of a minute, an informer drawn from the seed, and the wait for the calm after it.

use std::fmt::Write as _;
use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::ListParams;
use kube_client::{Api, Client};
use tokio::time::sleep;
use watchkeeper_apiserver::ApiServer;
use watchkeeper_apiserver::simulate::Violation;
use watchkeeper_informer::{DeltaOrder, InformerConfig, ReflectorConfig};

use crate::observer::{Present, present};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const FAULTS: usize = 20;
/// After healing: a watch that heard of nothing ends by its silence, a backoff is over, a list is taken, and the slowest has
/// been told.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(180 + 45 + 60 + 60);

pub(crate) fn reflector(random: &mut Rng) -> ReflectorConfig {
    ReflectorConfig {
        seed: random.u64(..),
        streaming_list: random.bool(),
        page_size: random.u32(1..20),
        ..ReflectorConfig::default()
    }
}

/// The same with either queue.
pub(crate) fn config(random: &mut Rng) -> InformerConfig {
    let reflector = reflector(random);
    let order = if random.bool() { DeltaOrder::Coalescing } else { DeltaOrder::Ordered };
    InformerConfig { reflector, order, ..InformerConfig::default() }
}

/// Whom nothing is kept from.
pub(crate) fn judge(server: &ApiServer) -> Api<ConfigMap> {
    Api::all(Client::new(server.service("judge"), "default"))
}

/// What there is now.
pub(crate) async fn fresh(judge: &Api<ConfigMap>) -> Result<Present, Violation> {
    let fresh = judge.list(&ListParams::default()).await;
    fresh.map(|fresh| present(&fresh.items)).map_err(|error| Violation::new("judge", error.to_string()))
}

/// Waits until nothing is wrong any more, or for so long: what is wrong then.
pub(crate) async fn until_agreed(
    within: Duration,
    mut verdict: impl AsyncFnMut() -> Result<(), Violation>,
) -> Result<(), Violation> {
    let step = Duration::from_millis(500);
    let mut waited = Duration::ZERO;
    loop {
        let verdict = verdict().await;
        if verdict.is_ok() || waited >= within {
            return verdict;
        }
        sleep(step).await;
        waited += step;
    }
}

/// What the server did on purpose.
pub(crate) fn log_of(server: &ApiServer) -> String {
    let mut text = String::new();
    for line in server.faults().log() {
        _ = writeln!(text, "{line}");
    }
    text
}
