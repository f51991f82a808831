//! Goal: what a Kubernetes client does with typed objects works without a socket. Method: kube-client over the service,
//! k8s-openapi types, paused time.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube_client::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube_client::core::ObjectMeta;
use kube_client::{Api, Client, ResourceExt};
use watchkeeper_apiserver::{ApiServer, Config, TokioClock};

fn server() -> ApiServer {
    let start = "2026-01-02T03:04:05Z".parse().expect("a time");
    ApiServer::new(Config { clock: Arc::new(TokioClock::starting_at(start)), ..Config::default() })
}

fn client(server: &ApiServer) -> Client {
    Client::new(server.service("alice"), "default")
}

fn lease(name: &str, holder: &str) -> Lease {
    Lease {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime("2026-01-02T03:04:05Z".parse().expect("a time"))),
            ..LeaseSpec::default()
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_created_renewed_taken_over_and_deleted() {
    let server = server();
    let leases: Api<Lease> = Api::default_namespaced(client(&server));
    let created = leases.create(&PostParams::default(), &lease("a", "one")).await.expect("created");
    assert_eq!(created.resource_version(), Some(server.version().to_string()));
    assert_eq!(created.creation_timestamp().expect("stamped").0.to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(created.uid().expect("a uid").len(), 36);

    let mut renewed = created.clone();
    renewed.spec.as_mut().expect("spec").lease_transitions = Some(1);
    let renewed = leases.replace("a", &PostParams::default(), &renewed).await.expect("renewed");
    assert_ne!(renewed.resource_version(), created.resource_version());
    assert_eq!(renewed.uid(), created.uid());

    // The state that lost the race is refused.
    let conflict = leases.replace("a", &PostParams::default(), &created).await.expect_err("stale");
    let kube_client::Error::Api(status) = conflict else { panic!("not a Status: {conflict}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert!(
        status.message.starts_with(r#"Operation cannot be fulfilled on leases.coordination.k8s.io "a": the object"#)
    );

    let taken = leases.create(&PostParams::default(), &lease("a", "two")).await.expect_err("exists");
    let kube_client::Error::Api(status) = taken else { panic!("not a Status: {taken}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"));

    leases.delete("a", &DeleteParams::default()).await.expect("deleted");
    assert!(leases.get_opt("a").await.expect("answered").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_what_happens_from_the_list_on() {
    let server = server();
    let leases: Api<Lease> = Api::default_namespaced(client(&server));
    leases.create(&PostParams::default(), &lease("a", "one")).await.expect("created");
    let list = leases.list(&ListParams::default()).await.expect("listed");
    assert_eq!(list.items.len(), 1);
    let version = list.metadata.resource_version.expect("a version");

    let events = leases.watch(&WatchParams::default().timeout(10), &version).await.expect("watching");
    pin_mut!(events);
    leases.create(&PostParams::default(), &lease("b", "one")).await.expect("created");
    let patch = serde_json::json!({ "spec": { "holderIdentity": "two" } });
    leases.patch("b", &PatchParams::default(), &Patch::Merge(patch)).await.expect("patched");
    leases.delete("b", &DeleteParams::default()).await.expect("deleted");

    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(match event.expect("an event") {
            WatchEvent::Added(lease) => format!("added {}", lease.name_any()),
            WatchEvent::Modified(lease) => format!("modified {:?}", lease.spec.and_then(|spec| spec.holder_identity)),
            WatchEvent::Deleted(lease) => format!("deleted {}", lease.name_any()),
            WatchEvent::Bookmark(_) => "bookmark".to_owned(),
            WatchEvent::Error(status) => format!("error {}", status.code),
        });
    }
    // The bookmark comes two seconds before the ten are over.
    assert_eq!(seen, ["added b", "modified Some(\"two\")", "deleted b", "bookmark"]);
}

#[tokio::test(start_paused = true)]
async fn every_kind_can_be_written_and_read() {
    let server = server();
    let client = client(&server);
    let post = PostParams::default();
    let named = |name: &str| ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    let node = Node { metadata: named("n1"), ..Node::default() };
    Api::<Node>::all(client.clone()).create(&post, &node).await.expect("a node");
    let namespace = Namespace { metadata: named("extra"), ..Namespace::default() };
    Api::<Namespace>::all(client.clone()).create(&post, &namespace).await.expect("a namespace");
    let map = ConfigMap { metadata: named("c"), ..ConfigMap::default() };
    Api::<ConfigMap>::namespaced(client.clone(), "extra").create(&post, &map).await.expect("a config map");
    let pod = Pod { metadata: named("p"), ..Pod::default() };
    let pod = Api::<Pod>::namespaced(client.clone(), "extra").create(&post, &pod).await.expect("a pod");
    assert_eq!(pod.metadata.generation, Some(1));
    let all = Api::<Namespace>::all(client.clone()).list(&ListParams::default()).await.expect("listed");
    let names: Vec<String> = all.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["default", "extra", "kube-node-lease", "kube-public", "kube-system"]);
    // A namespace takes its content along.
    Api::<Namespace>::all(client.clone()).delete("extra", &DeleteParams::default()).await.expect("deleted");
    assert!(Api::<Namespace>::all(client.clone()).get_opt("extra").await.expect("answered").is_none());
    assert!(Api::<Pod>::all(client.clone()).list(&ListParams::default()).await.expect("listed").items.is_empty());
    assert_eq!(client.apiserver_version().await.expect("a version").minor, "36");
}

#[tokio::test(start_paused = true)]
async fn events_of_the_new_group_are_strict() {
    use k8s_openapi::api::events::v1::Event;
    let server = server();
    let events: Api<Event> = Api::default_namespaced(client(&server));
    let bare = Event { metadata: ObjectMeta { name: Some("e".into()), ..ObjectMeta::default() }, ..Event::default() };
    let refused = events.create(&PostParams::default(), &bare).await.expect_err("too little");
    let kube_client::Error::Api(status) = refused else { panic!("not a Status: {refused}") };
    assert_eq!(status.code, 422);
    let event = Event {
        event_time: Some(MicroTime("2026-01-02T03:04:05.25Z".parse().expect("a time"))),
        action: Some("Judge".into()),
        reason: Some("LeaseStale".into()),
        reporting_controller: Some("watchkeeper.dev/lease-monitor".into()),
        reporting_instance: Some("host_1_abc".into()),
        type_: Some("Warning".into()),
        ..bare
    };
    events.create(&PostParams::default(), &event).await.expect("complete");
    let again = events.create(&PostParams::default(), &event).await.expect_err("once only");
    assert!(matches!(again, kube_client::Error::Api(status) if status.code == 409));
}

#[tokio::test(start_paused = true)]
async fn metadata_and_collections_work_as_the_client_asks_for_them() {
    let server = server();
    let leases: Api<Lease> = Api::default_namespaced(client(&server));
    for name in ["a", "b", "c"] {
        leases.create(&PostParams::default(), &lease(name, "one")).await.expect("created");
    }
    let one = leases.get_metadata("a").await.expect("metadata");
    assert_eq!(
        (one.types.expect("typed").kind.as_str(), one.metadata.name.as_deref()),
        ("PartialObjectMetadata", Some("a"))
    );
    let list = leases.list_metadata(&ListParams::default().limit(2)).await.expect("a page of metadata");
    assert_eq!((list.items.len(), list.metadata.remaining_item_count), (2, Some(1)));
    let at = list.metadata.resource_version.expect("a version");
    let events = leases.watch_metadata(&WatchParams::default(), &at).await.expect("a watch");
    pin_mut!(events);
    let gone = leases.delete_collection(&DeleteParams::background(), &ListParams::default()).await.expect("deleted");
    let names: Vec<String> = gone.left().expect("the list").items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "b", "c"]);
    for name in names {
        let Some(Ok(WatchEvent::Deleted(object))) = events.next().await else { panic!("no deletion of {name}") };
        assert_eq!(object.metadata.name, Some(name));
    }
    let pods: Api<Pod> = Api::default_namespaced(client(&server));
    let pod = Pod { metadata: ObjectMeta { name: Some("p".into()), ..ObjectMeta::default() }, ..Pod::default() };
    pods.create(&PostParams::default(), &pod).await.expect("created");
    pods.delete("p", &DeleteParams::foreground()).await.expect("deleted").left().expect("the pod as it is marked");
    assert!(pods.get_opt("p").await.expect("answered").is_none());
}
