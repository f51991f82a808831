//! Goal: each shape of the table in `shape` holds what it says, through a whole informer over the embedded server.
#![allow(clippy::disallowed_methods)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::PostParams;
use kube_client::core::{DynamicObject, Expression, PartialObjectMeta};
use kube_client::{Api, Client};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::{ApiServer, Config};
use watchkeeper_informer::decode::{DecodeFault, Decoder, DecoderConfig, identity};
use watchkeeper_informer::delta_fifo::{Change, Work};
use watchkeeper_informer::scripted::{Answer, ScriptedListWatch};
use watchkeeper_informer::shape::{Lazy, Projected};
use watchkeeper_informer::{
    Cached, Deadlines, Event, InformerConfig, KubeListWatch, Labelled, Lister, ObjectKey, ResourceVersion, Scope,
    Selection, SharedInformer, StoreWriter, Viewed,
};

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
    handle.synced().await.expect("it runs");
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
    assert_eq!(objects[1].field::<u8>(&["data", "size"]), Err(DecodeFault::Shape("a string, expected u8".into())));
    assert!(!String::from_utf8_lossy(objects[1].json()).contains("managedFields"));
}

/// Goal: objects are selected by their labels in these shapes too, with an index and without.
#[test]
fn labels_of_what_is_no_resource() {
    #[derive(Deserialize)]
    struct Own {
        metadata: Labels,
    }
    #[derive(Deserialize)]
    struct Labels {
        #[serde(default)]
        labels: BTreeMap<String, String>,
    }
    impl Labelled for Own {
        fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
            Cow::Borrowed(&self.metadata.labels)
        }
    }
    fn selected<K: Cached + Labelled>(decoder: &Decoder<K>) {
        let changes =
            [r#","labels":{"app":"web","tier":"front"}"#, r#","labels":{"app":"db"}"#, r#","labels":null"#, ""]
                .iter()
                .zip(["a", "b", "c", "d"])
                .filter_map(|(labels, name)| {
                    let item = format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"1"{labels}}}}}"#);
                    let who = identity(item.as_bytes()).expect("known");
                    decoder.object(item.as_bytes(), &who).ok().map(Change::applied)
                });
        let mut writer = StoreWriter::default();
        writer.apply(Work::Changes(changes.collect()), ResourceVersion::new("1"));
        let lister = Lister::new(writer.store());
        let select = |labels: Expression| {
            let selected = lister.select(&Selection { labels: labels.into(), ..Selection::default() });
            let mut names: Vec<_> = selected.objects.iter().map(|object| object.name().to_owned()).collect();
            names.sort();
            (names.concat(), selected.access.to_string())
        };
        let equal = |value: &str| Expression::Equal("app".to_owned(), value.to_owned());
        assert_eq!(select(equal("web")), ("a".to_owned(), "by a scan, no index fits".to_owned()));
        assert_eq!(select(Expression::Exists("app".to_owned())).0, "ab");
        writer.add_label_index("app");
        assert_eq!(select(equal("db")), ("b".to_owned(), "by the index label app".to_owned()));
    }
    selected(&Decoder::<Projected<Own>>::projected());
    selected(&Decoder::<Lazy<ConfigMap>>::lazy());
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

/// Goal: one cache of lazy or dynamic objects can be read as whole typed ones and as a struct of one's own; what can't be read so is told,
/// and what isn't cached is none.
#[tokio::test]
async fn one_cache_is_read_as_several_types() {
    async fn check<K: Viewed>(objects: Vec<Arc<K>>) {
        let mut writer = StoreWriter::default();
        let changes = objects.into_iter().map(Change::applied).collect();
        writer.apply(Work::Changes(changes), ResourceVersion::new("9"));
        let lister = Lister::new(writer.store());
        let (typed, sizes) = (lister.view::<ConfigMap>(), lister.view::<Sizes>());
        let key = ObjectKey::new("default", "b");
        let whole = typed.get(&key).expect("a ConfigMap").expect("cached");
        assert_eq!((whole.metadata.name.as_deref(), whole.data.expect("data")["size"].as_str()), (Some("b"), "large"));
        assert_eq!(sizes.get(&key), Ok(Some(Sizes { data: Data { size: "large".to_owned() } })));
        assert_eq!(sizes.namespace("default").filter(|(_, size)| size.is_ok()).count(), 2);
        assert!(typed.get(&ObjectKey::new("default", "c")).expect("nothing wrong").is_none());
        assert!(lister.view::<Vec<u8>>().list().all(|(object, wrong)| object.name().len() == 1 && wrong.is_err()));
    }
    check(cached(Decoder::<Lazy<ConfigMap>>::lazy(), false).await).await;
    check(cached(Decoder::<DynamicObject>::new(DecoderConfig::default()), false).await).await;
}

/// Goal: a warm start decodes only what has changed, tells of the difference, weighs what there is, and is synced by the server
/// alone. Method: of four saved objects one is as it was, one newer by now, one gone and one has come back with another uid; the
/// rest is new.
#[tokio::test(start_paused = true)]
async fn what_was_saved_is_held_against_the_server() {
    let item = |name: &str, uid: &str, version: u64| {
        format!(r#"{{"metadata":{{"namespace":"n","name":"{name}","uid":"{uid}","resourceVersion":"{version}"}}}}"#)
    };
    let event = |name, uid, version| format!(r#"{{"type":"ADDED","object":{}}}"#, item(name, uid, version)) + "\n";
    let decoded = Arc::new(Mutex::new(Vec::new()));
    let decoder = Decoder::from_fn({
        let decoded = Arc::clone(&decoded);
        move |_, who| {
            decoded.lock().push(who.name.to_string());
            let mut map = ConfigMap::default();
            map.metadata.namespace = Some(who.namespace.to_string());
            map.metadata.name = Some(who.name.to_string());
            map.metadata.uid = Some(who.uid.to_string());
            map.metadata.resource_version = Some(who.version.to_string());
            Ok(map)
        }
    });
    let saved =
        [("gone", "g", 1), ("newer", "n", 2), ("reborn", "old", 3), ("same", "s", 4)].map(|(name, uid, version)| {
            let item = item(name, uid, version);
            let object = decoder.object(item.as_bytes(), &identity(item.as_bytes()).expect("an identity"));
            (object.expect("decodes"), item.len())
        });
    let bytes: u64 = saved.iter().map(|(_, bytes)| *bytes as u64).sum();
    decoded.lock().clear();
    let script = ScriptedListWatch::new();
    let (answer, feed) = Answer::live();
    script.on_watch(answer);
    let mut informer =
        SharedInformer::with_decoder(Arc::new(script), decoder, InformerConfig::default()).begin_with(saved);
    let sourced = Arc::new(Mutex::new(Vec::new()));
    informer.add_source({
        let sourced = Arc::clone(&sourced);
        move |event| sourced.lock().push(event.object().name().to_owned())
    });
    let (handle, stop, heard) = (informer.handle(), CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    let registration = handle.add_handler({
        let heard = Arc::clone(&heard);
        move |event| {
            let object = event.object();
            let what = format!("{} {}", object.name(), object.version());
            heard.lock().push(match event {
                Event::Added { initial, .. } => format!("added {what} {initial}"),
                Event::Updated { .. } => format!("updated {what}"),
                Event::Deleted { finality, .. } => format!("deleted {what} {finality:?}"),
                Event::Resync { .. } => format!("resync {what}"),
            });
        }
    });
    let running = tokio::spawn(informer.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((handle.lister().len(), handle.has_synced(), registration.has_synced()), (4, false, false));
    assert_eq!((handle.version(), handle.sync_status().bytes), (None, bytes));
    assert_eq!(std::mem::take(&mut *heard.lock()).len(), 4);
    assert_eq!(*sourced.lock(), ["gone", "newer", "reborn", "same"]);
    let now = [("more", "m", 9), ("newer", "n", 8), ("reborn", "new", 7), ("same", "s", 4)];
    for (name, uid, version) in now {
        feed.text(event(name, uid, version));
    }
    feed.text(concat!(
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","#,
        r#""annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        "\n"
    ));
    registration.synced().await.expect("it runs");
    assert_eq!(*decoded.lock(), ["more", "newer", "reborn"]);
    let bytes: u64 = now.iter().map(|(name, uid, version)| item(name, uid, *version).len() as u64).sum();
    assert_eq!(handle.sync_status().bytes, bytes);
    let mut heard = std::mem::take(&mut *heard.lock());
    heard.sort();
    let expected = [
        "added more 9 true",
        "added reborn 7 true",
        "deleted gone 1 Inferred",
        "deleted reborn 3 Inferred",
        "updated newer 8",
    ];
    assert_eq!(heard, expected);
    stop.cancel();
    running.await.expect("it ends");
}
