//! Informers against a real API server: what the embedded one can't show.

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::kubeconfig::create;
use watchkeeper_informer::{
    Deadlines, InformerConfig, InformerHandle, KubeListWatch, Scope, Shard, ShardBy, SharedInformer, Verdict,
};

/// For what takes a second or two.
const PATIENCE: Duration = Duration::from_secs(30);
const SHARDS: u32 = 3;

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not {what} within {PATIENCE:?}"))
}

/// Goal: the selector of a shard is one that servers understand. With the feature switched on, the server sends a shard's objects
/// and nothing else, by list and by watch; without it, it sends all, and the same objects are cached. An audit agrees either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_are_cut_by_servers_that_know_how() {
    for knows_how in [true, false] {
        let folder = Folder::new().expect("a folder");
        let api_server_flags = vec![format!("--feature-gates=ShardedListAndWatch={knows_how}")];
        let config = ControlPlaneConfig { api_server_flags, ..ControlPlaneConfig::default() };
        let control_plane = ControlPlane::start(&folder, config).await.unwrap_or_else(|error| panic!("{error}"));
        let client = control_plane.client(0, ADMIN).await.expect("a client");
        let make = async |first: usize, count: usize| {
            for number in first..first + count {
                let object =
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c-{number}")}});
                create(&client, "/api/v1/namespaces/default/configmaps", &object).await.expect("created");
            }
        };
        make(0, 40).await;
        let stop = CancellationToken::new();
        let informer = |shard| {
            let scope = Scope { shard, ..Scope::namespaced::<ConfigMap>("default") };
            let source = KubeListWatch::new(client.clone(), scope, Deadlines::default());
            let informer = SharedInformer::<ConfigMap>::new(Arc::new(source), InformerConfig::default());
            let handle = informer.handle();
            tokio::spawn(informer.run(stop.clone()));
            handle
        };
        let whole = informer(None);
        let shard = |index| Shard::of(ShardBy::Uid, index, SHARDS).expect("one of three");
        let shards: Vec<_> = (0..SHARDS).map(|index| informer(Some(shard(index)))).collect();
        for handle in shards.iter().chain([&whole]) {
            within("synced", handle.synced()).await;
        }
        make(40, 20).await;
        let count = |handle: &InformerHandle<ConfigMap>| handle.keys().len();
        within("told", async {
            while shards.iter().map(count).sum::<usize>() < count(&whole) || count(&whole) < 60 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let all: Vec<_> = shards.iter().flat_map(InformerHandle::keys).collect();
        let distinct: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!((all.len(), &distinct), (distinct.len(), &whole.keys().into_iter().collect()));
        for handle in &shards {
            let objects = count(handle);
            assert!(objects > 5, "{objects} of {}", all.len());
            assert_eq!(within("audited", handle.audit()).await, Verdict::Agrees { objects });
            let unwanted = handle.sync_status().reflector().counts.unwanted;
            assert_eq!(unwanted == 0, knows_how, "{unwanted} objects of other shards were sent");
        }
        stop.cancel();
    }
}
