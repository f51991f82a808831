//! Where our informers read from in the benchmarks.
//!
//! In: where the API server is. Out: a list-watch of all its Pods, by a client that leaves retries to the informer.

use k8s_openapi::api::core::v1::Pod;
use kube_client::Client;
use watchkeeper::BoxError;
use watchkeeper_informer::{Deadlines, KubeListWatch, Scope};

pub(crate) fn all_pods(server: &str) -> Result<KubeListWatch, BoxError> {
    let mut config = kube_client::Config::new(server.parse()?);
    config.default_retry = false;
    Ok(KubeListWatch::new(Client::try_from(config)?, Scope::all::<Pod>(), Deadlines::default()))
}
