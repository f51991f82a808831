//! Goal: each shape of the table in `shape` holds what it says, through a whole informer over the embedded server.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::PostParams;
use kube_client::core::{DynamicObject, PartialObjectMeta};
use kube_client::{Api, Client};
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::{ApiServer, Config};
use watchkeeper_informer::decode::{DecodeFault, Decoder, DecoderConfig, identity};
use watchkeeper_informer::shape::{Lazy, Projected};
use watchkeeper_informer::{Cached, Deadlines, InformerConfig, KubeListWatch, Scope, SharedInformer};

#[derive(Debug, PartialEq, Deserialize)]
struct Sizes {
    data: Data,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Data {
    size: String,
}

/// A server with two ConfigMaps, one of which has managed fields and more data than most want.
async fn server() -> ApiServer {
    let server = ApiServer::new(Config::default());
    let api: Api<ConfigMap> = Api::namespaced(Client::new(server.service("author"), "default"), "default");
    for (name, size) in [("a", "small"), ("b", "large")] {
        let object = json!({"metadata": {"name": name, "managedFields": [{"manager": "m", "operation": "Apply"}]},
            "data": {"size": size, "other": "x".repeat(100)}});
        let object = serde_json::from_value(object).expect("a ConfigMap");
        api.create(&PostParams::default(), &object).await.expect("created");
    }
    server
}

/// What an informer of this shape has cached, in the order of names.
async fn cached<K: Cached>(decoder: Decoder<K>, metadata_only: bool) -> Vec<Arc<K>> {
    let server = server().await;
    let source = KubeListWatch::new(
        Client::new(server.service("reader"), "default"),
        Scope::namespaced::<ConfigMap>("default"),
        Deadlines::default(),
    );
    let source = if metadata_only { source.metadata_only() } else { source };
    let informer = SharedInformer::with_decoder(Arc::new(source), decoder, InformerConfig::default());
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    let running = tokio::spawn(informer.run(stop.clone()));
    handle.synced().await;
    let mut objects = handle.lister().list();
    objects.sort_by(|one, other| one.name().cmp(other.name()));
    stop.cancel();
    running.await.expect("no panic");
    let names: Vec<&str> = objects.iter().map(|object| object.name()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(objects.iter().all(|object| object.namespace() == "default" && !object.uid().is_empty()));
    assert!(objects.iter().all(|object| object.version().parse::<u64>().is_ok()));
    objects
}

#[tokio::test(start_paused = true)]
async fn typed() {
    let objects = cached(Decoder::<ConfigMap>::new(DecoderConfig::default()), false).await;
    assert_eq!(objects[1].data.as_ref().expect("data")["size"], "large");
    assert_eq!(objects[0].metadata.managed_fields, None);
    let objects = cached(Decoder::<ConfigMap>::new(DecoderConfig { managed_fields: true }), false).await;
    assert_eq!(objects[0].metadata.managed_fields.as_ref().map(Vec::len), Some(1));
}

/// Goal: metadata alone, whether the server sends no more or does.
#[tokio::test(start_paused = true)]
async fn metadata() {
    for metadata_only in [true, false] {
        let decoder = Decoder::<PartialObjectMeta<ConfigMap>>::metadata(DecoderConfig::default());
        let objects = cached(decoder, metadata_only).await;
        assert!(objects[0].metadata.creation_timestamp.is_some() && objects[0].metadata.managed_fields.is_none());
    }
    cached(Decoder::<PartialObjectMeta<ConfigMap>>::new(DecoderConfig::default()), true).await;
}

#[tokio::test(start_paused = true)]
async fn dynamic() {
    let objects = cached(Decoder::<DynamicObject>::new(DecoderConfig::default()), false).await;
    assert_eq!(objects[1].data["data"]["size"], "large");
}

#[tokio::test(start_paused = true)]
async fn projected() {
    let objects = cached(Decoder::<Projected<Sizes>>::projected(), false).await;
    assert_eq!(**objects[0], Sizes { data: Data { size: "small".to_owned() } });
}

#[tokio::test(start_paused = true)]
async fn lazy() {
    let objects = cached(Decoder::<Lazy<ConfigMap>>::lazy(), false).await;
    let whole = objects[1].get().expect("a ConfigMap");
    assert_eq!((whole.metadata.uid.as_deref(), whole.metadata.managed_fields), (Some(objects[1].uid()), None));
    assert_eq!(objects[1].field::<String>(&["data", "size"]), Ok(Some("large".to_owned())));
    assert_eq!(objects[1].field::<String>(&["data", "none"]), Ok(None));
    assert_eq!(objects[1].field::<u8>(&["data", "size"]), Err(DecodeFault::Shape));
    assert!(!String::from_utf8_lossy(objects[1].json()).contains("managedFields"));
}

/// Goal: a transform changes what is cached, but not who it is.
#[tokio::test(start_paused = true)]
async fn transformed() {
    let decoder = || Decoder::<ConfigMap>::new(DecoderConfig::default());
    let objects = cached(decoder().with_transform(|object| object.data = None), false).await;
    assert!(objects.iter().all(|object| object.data.is_none()));
    let item = br#"{"metadata":{"name":"a","resourceVersion":"5"}}"#;
    let renamed = decoder().with_transform(|object| object.metadata.name = Some("b".to_owned()));
    assert_eq!(renamed.object(item, &identity(item).expect("known")).unwrap_err(), DecodeFault::Transformed);
}
