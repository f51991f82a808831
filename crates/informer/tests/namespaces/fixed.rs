//! One informer over several namespaces, by somebody who may read nothing else, against the embedded API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube_client::Client;
use kube_client::api::{Api, DeleteParams, ListParams, PostParams};
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::access::{AccessRule, Effect};
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::scripted::{Answer, ScriptedListWatch};
use watchkeeper_informer::{
    Cached, Deadlines, Event, InformerConfig, InformerHandle, KubeListWatch, ListWatch, NamespacesError, Registration,
    ResourceVersion, Scope, SharedInformer, Verdict,
};

const NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

struct Rig {
    server: ApiServer,
    handle: InformerHandle<ConfigMap>,
    registration: Registration,
    /// What the handler believes, from what it was told.
    told: Arc<Mutex<BTreeMap<String, String>>>,
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

impl Rig {
    /// The reader may read the three namespaces, and nothing in the whole cluster.
    async fn start() -> Self {
        let server = ApiServer::new(Config {
            clock: Arc::new(TokioClock::starting_at(Timestamp::UNIX_EPOCH)),
            ..Config::default()
        });
        let may = |namespace: &str| AccessRule {
            namespace: Some(namespace.to_owned()),
            ..AccessRule::new(Effect::Allow, "reader")
        };
        for namespace in NAMESPACES {
            server.access().add(may(namespace)).unwrap();
        }
        let client = Client::new(server.service("reader"), "default");
        let (scope, deadlines) = (Scope::all::<ConfigMap>(), Deadlines::default());
        let sources = KubeListWatch::in_namespaces(client, scope, NAMESPACES, deadlines);
        let decoder = Decoder::new(DecoderConfig::default());
        let informer = SharedInformer::in_namespaces(sources, &decoder, &InformerConfig::default()).unwrap();
        let handle = informer.handle();
        let told = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let registration = handle.add_handler({
            let told = told.clone();
            move |event: Event<ConfigMap>| {
                let mut told = told.lock();
                let (key, version) = {
                    let object = event.object();
                    (format!("{}/{}", object.namespace(), object.name()), object.version().to_owned())
                };
                match event {
                    Event::Added { .. } => assert_eq!(told.insert(key, version), None),
                    Event::Updated { .. } => assert!(told.insert(key, version).is_some()),
                    Event::Deleted { .. } => assert!(told.remove(&key).is_some()),
                    Event::Resync { .. } => unreachable!("nobody asked for it"),
                }
            }
        });
        let rig = Self { server, handle, registration, told };
        for namespace in NAMESPACES {
            for number in 0..3 {
                rig.create(namespace, &format!("first-{number}")).await;
            }
        }
        rig.create("kube-node-lease", "elsewhere").await;
        tokio::spawn(informer.run(CancellationToken::new()));
        rig
    }

    async fn synced(&self) {
        tokio::time::timeout(Duration::from_secs(10), self.handle.synced()).await.expect("synced").expect("it runs");
    }

    fn api(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(Client::new(self.server.service("writer"), "default"), namespace)
    }

    async fn create(&self, namespace: &str, name: &str) -> ResourceVersion {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        let created = self.api(namespace).create(&PostParams::default(), &object).await.unwrap();
        ResourceVersion::new(&created.metadata.resource_version.unwrap())
    }

    async fn delete(&self, namespace: &str, name: &str) {
        self.api(namespace).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Cache, handler and server are of one mind.
    async fn assert_equal(&self) {
        let mut listed = BTreeMap::new();
        for namespace in NAMESPACES {
            for object in self.api(namespace).list(&ListParams::default()).await.unwrap() {
                listed.insert(format!("{namespace}/{}", object.name()), object.version().to_owned());
            }
        }
        let cached = self.handle.lister().list();
        let cached = cached
            .iter()
            .map(|object| (format!("{}/{}", object.namespace(), object.name()), object.version().to_owned()));
        assert_eq!(cached.collect::<BTreeMap<_, _>>(), listed);
        assert_eq!(*self.told.lock(), listed);
    }
}

/// Goal: one cache of all three, changes in each, and a list of one of them touches nothing of the others: what was deleted
/// unseen is inferred there and only there.
#[tokio::test(start_paused = true)]
async fn one_cache_of_several_namespaces() {
    let rig = Rig::start().await;
    rig.synced().await;
    seconds(1).await;
    assert!(rig.handle.sync_status().is_synced(), "{}", rig.handle.sync_status());
    rig.assert_equal().await;
    for namespace in NAMESPACES {
        rig.create(namespace, "second").await;
        rig.delete(namespace, "first-0").await;
    }
    seconds(1).await;
    rig.assert_equal().await;

    rig.server.close_watches();
    rig.delete("kube-system", "first-1").await;
    rig.create("kube-public", "third").await;
    rig.server.compact(rig.server.version());
    seconds(20).await;
    rig.assert_equal().await;
    assert_eq!(rig.handle.audit().await, Verdict::Agrees { objects: 9 });
}

/// Goal: it is synced when all namespaces are, and says which of them isn't and why; what is there of the others is told; a
/// handler that comes in the meantime isn't synced either.
#[tokio::test(start_paused = true)]
async fn synced_means_all_of_them() {
    let rig = Rig::start().await;
    let forbidden = AccessRule { namespace: Some("kube-public".to_owned()), ..AccessRule::new(Effect::Deny, "reader") };
    let rule = rig.server.access().add(forbidden).unwrap();
    seconds(5).await;
    let late = Arc::new(Mutex::new(0));
    let newcomer = rig.handle.add_handler({
        let late = late.clone();
        move |_| *late.lock() += 1
    });
    seconds(5).await;
    let status = rig.handle.sync_status();
    assert!(!rig.handle.has_synced() && !rig.registration.has_synced() && !newcomer.has_synced());
    assert_eq!((status.objects, rig.told.lock().len(), *late.lock()), (6, 6, 6));
    assert_eq!(status.reflector().failing.as_ref().unwrap().class, "forbidden");
    assert!(status.to_string().contains("in kube-public"), "{status}");
    assert!(rig.server.access().remove(rule));
    seconds(90).await;
    assert!(rig.handle.has_synced() && rig.registration.has_synced() && newcomer.has_synced());
    assert_eq!(*late.lock(), 9);
    rig.assert_equal().await;
}

/// Goal: own writes can be waited for in their namespace at once; in all of them as soon as bookmarks say so; and the barrier
/// between two leaders covers them all.
#[tokio::test(start_paused = true)]
async fn own_writes() {
    let rig = Rig::start().await;
    rig.synced().await;
    seconds(1).await;
    let version = rig.create("kube-system", "mine").await;
    let soon = Duration::from_secs(1);
    tokio::time::timeout(soon, rig.handle.wait_for_in("kube-system", &version)).await.unwrap().unwrap();
    let elsewhere = tokio::time::timeout(soon, rig.handle.wait_for_in("elsewhere", &version)).await.unwrap();
    assert_eq!(elsewhere, Err(NamespacesError::NotWatched("elsewhere".to_owned())));
    assert!(tokio::time::timeout(soon, rig.handle.wait_for(&version)).await.is_err());
    tokio::time::timeout(Duration::from_secs(90), rig.handle.wait_for(&version)).await.unwrap().unwrap();
    for namespace in NAMESPACES {
        rig.create(namespace, "before-the-barrier").await;
    }
    tokio::time::timeout(Duration::from_secs(10), rig.handle.catch_up()).await.unwrap().unwrap();
    assert_eq!(rig.handle.lister().list().len(), 13);
}

/// Goal: none, or one twice, is refused.
#[test]
fn namespaces_are_a_set() {
    let source = || Arc::new(ScriptedListWatch::new()) as Arc<dyn ListWatch>;
    let made = |namespaces: &[&str]| {
        let sources = namespaces.iter().map(|namespace| ((*namespace).to_owned(), source()));
        let decoder = Decoder::<ConfigMap>::new(DecoderConfig::default());
        SharedInformer::in_namespaces(sources, &decoder, &InformerConfig::default()).err()
    };
    assert_eq!(made(&[]), Some(NamespacesError::None));
    assert_eq!(made(&["a", ""]), Some(NamespacesError::Empty));
    assert_eq!(made(&["a", "b", "a"]), Some(NamespacesError::Twice("a".to_owned())));
    assert_eq!(made(&["a", "b"]), None);
}

/// Goal: what a source sends of another namespace than its own is passed over, by the list, the watch and the audit.
#[tokio::test(start_paused = true)]
async fn a_namespace_is_a_namespace() {
    let object = |namespace: &str, name: &str, version: u32| {
        format!(
            r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}","uid":"{name}","resourceVersion":"{version}"}}}}"#
        )
    };
    let list = |items: &[String]| {
        Answer::body(format!(r#"{{"metadata":{{"resourceVersion":"5"}},"items":[{}]}}"#, items.join(",")))
    };
    let source = ScriptedListWatch::new();
    source.on_watch(Answer::refused(422, "Invalid")).on_list(list(&[object("own", "a", 3), object("other", "b", 4)]));
    let event = format!(r#"{{"type":"ADDED","object":{}}}"#, object("other", "c", 7));
    source.on_watch(Answer::live_with(event));
    source.on_list(Answer::body(format!(
        r#"{{"metadata":{{"resourceVersion":"7"}},"items":[{},{}]}}"#,
        object("own", "a", 3),
        object("other", "b", 4)
    )));
    let sources = [("own".to_owned(), Arc::new(source) as Arc<dyn ListWatch>)];
    let decoder = Decoder::<ConfigMap>::new(DecoderConfig::default());
    let informer = SharedInformer::in_namespaces(sources, &decoder, &InformerConfig::default()).unwrap();
    let handle = informer.handle();
    let stop = CancellationToken::new();
    let running = tokio::spawn(informer.run(stop.clone()));
    seconds(5).await;
    assert_eq!(handle.keys().iter().map(ToString::to_string).collect::<Vec<_>>(), ["own/a"]);
    assert_eq!(handle.audit().await, Verdict::Agrees { objects: 1 });
    assert_eq!(handle.sync_status().reflector().counts.unwanted, 3);
    stop.cancel();
    running.await.unwrap();
    assert_eq!(handle.audit().await, Verdict::Unknown("the informer has ended".to_owned()));
    assert!(handle.sync_status().to_string().contains("stopped"));
}
