//! Informers against a real API server: what the embedded one can't show.

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_client::Api;
use kube_client::api::DeleteParams;
use kube_client::core::DynamicObject;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::kubeconfig::create;
use watchkeeper_informer::decode::Decoder;
use watchkeeper_informer::factory::{Definition, Definitions};
use watchkeeper_informer::shape::Projected;
use watchkeeper_informer::{
    Deadlines, Event, InformerConfig, InformerFactory, InformerHandle, KubeListWatch, ResourceKind, Scope, Shard,
    ShardBy, SharedInformer, Verdict,
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
            within("synced", handle.synced()).await.expect("it runs");
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

/// The custom resource of the test below, and its definition.
fn definition() -> serde_json::Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "watches.ships.example.com"},
        "spec": {
            "group": "ships.example.com",
            "scope": "Namespaced",
            "names": {"plural": "watches", "singular": "watch", "kind": "Watch", "listKind": "WatchList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

/// Goal: an informer of a kind that isn't defined yet waits for its definition, caches its objects, tells of their end when the
/// definition is deleted, and ends with it; asked for again, it does so again. Method: a definition is made, used and deleted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_come_and_go() {
    let folder = Folder::new().expect("a folder");
    let control_plane =
        ControlPlane::start(&folder, ControlPlaneConfig::default()).await.unwrap_or_else(|e| panic!("{e}"));
    let client = control_plane.client(0, ADMIN).await.expect("a client");
    let (factory, stop) = (InformerFactory::default(), CancellationToken::new());
    let running = tokio::spawn({
        let (factory, stop) = (factory.clone(), stop.clone());
        async move { factory.run(stop).await.expect("it runs once") }
    });
    let source = |scope: &Scope| Arc::new(KubeListWatch::new(client.clone(), scope.clone(), Deadlines::default()));
    let scope = Definition::scope();
    let make = || {
        let (decoder, config) = (Decoder::<Projected<Definition>>::projected(), InformerConfig::default());
        Ok::<_, Infallible>(SharedInformer::with_decoder(source(&scope), decoder, config))
    };
    let known = factory.informer(&scope, make).expect("infallible");
    let definitions = Definitions::new((*known).clone());
    let kind = ResourceKind {
        group: "ships.example.com".to_owned(),
        version: "v1".to_owned(),
        kind: "Watch".to_owned(),
        plural: "watches".to_owned(),
        namespaced: true,
    };
    let scope = Scope::of_kind(kind);
    for _ in 0..2 {
        let make =
            || Ok::<_, Infallible>(SharedInformer::<DynamicObject>::new(source(&scope), InformerConfig::default()));
        let watches = factory.informer_while(&scope, definitions.presence(&scope.kind), make).expect("infallible");
        let gone = Arc::new(AtomicUsize::new(0));
        watches.add_handler({
            let gone = Arc::clone(&gone);
            move |event| {
                if matches!(event, Event::Deleted { .. }) {
                    gone.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let error = factory.synced(Duration::from_secs(2)).await.expect_err("it isn't defined");
        assert!(error.to_string().contains("isn't defined yet"), "{error}");
        create(&client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition())
            .await
            .expect("defined");
        within("synced", watches.synced()).await.expect("it runs");
        let watch = json!({"apiVersion": "ships.example.com/v1", "kind": "Watch", "metadata": {"name": "first"}});
        create(&client, "/apis/ships.example.com/v1/namespaces/default/watches", &watch).await.expect("created");
        let cached = async || {
            while watches.lister().get_named("default", "first").is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within("cached", cached()).await;
        let all = Api::<CustomResourceDefinition>::all(client.clone());
        all.delete("watches.ships.example.com", &DeleteParams::default()).await.expect("deleted");
        let ended = async {
            while !watches.has_ended() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within("ended", ended).await;
        assert_eq!(gone.load(Ordering::Relaxed), 1, "its object was deleted before its definition");
        let is_gone = async {
            while all.get_opt("watches.ships.example.com").await.expect("asked").is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within("gone", is_gone).await;
    }
    stop.cancel();
    running.await.expect("it ends");
}
