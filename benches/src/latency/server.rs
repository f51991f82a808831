//! Updates by an API server that has Pods already.
//!
//! In: the server, and how many updates at which pace. Out: patches of the annotation, each with the moment before it is sent.
//! Nothing else of a Pod is changed, and none is made or deleted.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube_client::api::{ListParams, Patch, PatchParams};
use kube_client::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinSet;
use watchkeeper::BoxError;

use super::sent;

/// Patches whose answers are waited for at once.
const IN_FLIGHT: usize = 64;

/// A server, and some of its Pods.
pub(super) struct Server {
    client: Client,
    pods: Vec<(String, String)>,
}

impl Server {
    /// Its first Pods, at most so many.
    pub(super) async fn find(url: &str, most: usize) -> Result<Self, BoxError> {
        let client = Client::try_from(kube_client::Config::new(url.parse()?))?;
        let parameters = ListParams::default().limit(most.try_into().unwrap_or(u32::MAX));
        let pods = Api::<Pod>::all(client.clone()).list_metadata(&parameters).await?;
        let pods: Vec<_> =
            pods.iter().take(most).map(|pod| (pod.namespace().unwrap_or_default(), pod.name_any())).collect();
        if pods.is_empty() { Err("the server has no Pods".into()) } else { Ok(Self { client, pods }) }
    }

    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }

    /// Patches the Pods in turn until all updates are made.
    pub(super) async fn update(&self, events: usize, pause: Duration) -> Result<(), BoxError> {
        let mut ticks = tokio::time::interval(pause);
        let mut patches = JoinSet::new();
        for (namespace, name) in self.pods.iter().cycle().take(events) {
            if patches.len() == IN_FLIGHT
                && let Some(patched) = patches.join_next().await
            {
                patched??;
            }
            ticks.tick().await;
            let (pods, name) = (Api::<Pod>::namespaced(self.client.clone(), namespace), name.clone());
            patches.spawn(async move {
                let annotations = json!({ sent::ANNOTATION: sent::digits(sent::now()) });
                let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
                pods.patch_metadata(&name, &PatchParams::default(), &patch).await.map(drop)
            });
        }
        while let Some(patched) = patches.join_next().await {
            patched??;
        }
        Ok(())
    }
}
