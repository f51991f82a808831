//! What the fence covers without any clock, and what it can't: two terms whose gates are both open, as after a stop of a virtual machine,
//! write to one embedded API server.
#![allow(clippy::disallowed_methods)]

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube_client::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube_client::{Api, Client};
use serde_json::{Value, json};
use watchkeeper_apiserver::ApiServer;

use super::tests::{EPOCH_ANNOTATION, open_term_of};
use super::*;
use crate::clock::VirtualClock;

/// The term that is over and doesn't know it, and the one that has followed.
struct Two {
    old: Api<ConfigMap>,
    new: Api<ConfigMap>,
    old_term: Term,
}

fn api(server: &ApiServer, epoch: u128) -> (Api<ConfigMap>, Term) {
    let term = open_term_of(epoch, &VirtualClock::new());
    let fence = FenceLayer::new(term.clone(), FenceConfig::default());
    (Api::namespaced(Client::new(fence.layer(server.service("tester")), "default"), "default"), term)
}

async fn two() -> Two {
    let server = ApiServer::new(watchkeeper_apiserver::Config::default());
    let ((old, old_term), (new, _)) = (api(&server, 1_000_000), api(&server, 2_000_000));
    old.create(&PostParams::default(), &object("thing", None)).await.unwrap();
    Two { old, new, old_term }
}

fn object(name: &str, version: Option<&str>) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "resourceVersion": version}, "data": {"by": "old"}}))
        .unwrap()
}

fn by(mut object: ConfigMap, who: &str) -> ConfigMap {
    object.data.get_or_insert_default().insert("by".to_owned(), who.to_owned());
    object
}

fn version(object: &ConfigMap) -> String {
    object.metadata.resource_version.clone().unwrap()
}

fn epoch(object: &ConfigMap) -> Option<&str> {
    object.metadata.annotations.as_ref()?.get(EPOCH_ANNOTATION).map(String::as_str)
}

async fn data(api: &Api<ConfigMap>) -> String {
    api.get("thing").await.unwrap().data.unwrap()["by"].clone()
}

/// Goal: I12 without clocks. Method: the old term writes from a base of before the new term's write (a conflict), then reads again (the
/// fence sees the later epoch, refuses, and closes the gate).
#[tokio::test]
async fn covered_an_old_base_conflicts_and_a_new_one_shows_the_later_epoch() {
    let Two { old, new, old_term } = two().await;
    let base = old.get("thing").await.unwrap();
    new.replace("thing", &PostParams::default(), &by(new.get("thing").await.unwrap(), "new")).await.unwrap();
    let error = old.replace("thing", &PostParams::default(), &by(base, "old")).await.unwrap_err();
    assert!(matches!(&error, kube_client::Error::Api(status) if status.code == 409), "{error}");
    let fresh = old.get("thing").await.unwrap();
    assert_eq!(epoch(&fresh), Some("2000000"));
    let error = old.replace("thing", &PostParams::default(), &by(fresh, "old")).await.unwrap_err();
    assert_eq!(FenceRefused::find(&error).unwrap().reason, Refusal::LaterTerm(Epoch::new(2_000_000)));
    assert!(!old_term.is_open());
    assert_eq!(data(&new).await, "new");
}

/// Goal: deletes by version and patches from an old base are covered too. Method: each after the new term's write.
#[tokio::test]
async fn covered_deletes_and_patches_with_the_version_of_an_old_base() {
    let Two { old, new, .. } = two().await;
    let base = version(&old.get("thing").await.unwrap());
    new.replace("thing", &PostParams::default(), &by(new.get("thing").await.unwrap(), "new")).await.unwrap();
    let delete = DeleteParams {
        preconditions: Some(Preconditions { resource_version: Some(base.clone()), uid: None }),
        ..DeleteParams::default()
    };
    let merge = json!({"metadata": {"resourceVersion": base}, "data": {"by": "old"}});
    let conflicts = [
        old.delete("thing", &delete).await.map(|_| ()),
        old.patch("thing", &PatchParams::default(), &Patch::Merge(&merge)).await.map(|_| ()),
    ];
    for (number, answer) in conflicts.into_iter().enumerate() {
        let error = answer.unwrap_err();
        assert!(matches!(&error, kube_client::Error::Api(status) if status.code == 409), "{number}: {error}");
    }
    assert_eq!(data(&new).await, "new");
}

/// Not covered: two names for one thing.
#[tokio::test]
async fn not_covered_creates_of_different_names() {
    let Two { old, new, .. } = two().await;
    new.create(&PostParams::default(), &object("thing-for-x-1", None)).await.unwrap();
    old.create(&PostParams::default(), &object("thing-for-x-2", None)).await.unwrap();
    // One name is: the second create fails.
    assert!(old.create(&PostParams::default(), &object("thing-for-x-1", None)).await.is_err());
}

/// Not covered: an apply without a version has no base, so that no server can refuse it. (The embedded server has no apply: what the
/// fence sends is looked at.)
#[tokio::test]
async fn not_covered_applies_without_a_version() {
    let term = open_term_of(1_000_000, &VirtualClock::new());
    let service = tower::service_fn(|request: Request<Body>| async move {
        let sent: Value = serde_json::from_slice(&request.into_body().collect_bytes().await?).unwrap();
        assert_eq!(sent["metadata"].get("resourceVersion"), None);
        Ok::<_, BoxError>(Response::new(Body::from(sent.to_string().into_bytes())))
    });
    let old = Client::new(FenceLayer::new(term, FenceConfig::default()).layer(service), "default");
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing"}, "data": {"by": "old"}});
    let things = Api::<ConfigMap>::namespaced(old, "default");
    things.patch("thing", &PatchParams::apply("me").force(), &Patch::Apply(&apply)).await.unwrap();
}

/// Not covered: a patch doesn't show its base's annotations, so one that was made from the later term's state passes.
#[tokio::test]
async fn not_covered_patches_of_a_base_that_was_read_again() {
    let Two { old, new, old_term } = two().await;
    new.replace("thing", &PostParams::default(), &by(new.get("thing").await.unwrap(), "new")).await.unwrap();
    let again = version(&old.get("thing").await.unwrap());
    let merge = json!({"metadata": {"resourceVersion": again}, "data": {"by": "old"}});
    old.patch("thing", &PatchParams::default(), &Patch::Merge(&merge)).await.unwrap();
    assert_eq!(data(&new).await, "old");
    assert!(old_term.is_open());
}

/// Not covered: an object that was built anew, with nothing but the version of what was read, doesn't show what that had as its epoch.
#[tokio::test]
async fn not_covered_updates_without_the_annotations_that_were_read() {
    let Two { old, new, old_term } = two().await;
    new.replace("thing", &PostParams::default(), &by(new.get("thing").await.unwrap(), "new")).await.unwrap();
    let again = version(&old.get("thing").await.unwrap());
    old.replace("thing", &PostParams::default(), &object("thing", Some(&again))).await.unwrap();
    let after = new.get("thing").await.unwrap();
    assert_eq!((data(&new).await.as_str(), epoch(&after)), ("old", Some("1000000")));
    assert!(old_term.is_open());
}

/// Not covered: a JSON patch carries no stamp, so that a stale term which reads again sees no later one.
#[tokio::test]
async fn not_covered_json_patches_of_the_later_term() {
    let Two { old, new, .. } = two().await;
    let base = new.get("thing").await.unwrap();
    let patch = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": version(&base)},
        {"op": "replace", "path": "/data/by", "value": "new"},
    ]);
    let request = Request::patch("/api/v1/namespaces/default/configmaps/thing")
        .header(http::header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes());
    new.clone().into_client().request::<ConfigMap>(request.unwrap()).await.unwrap();
    old.replace("thing", &PostParams::default(), &by(old.get("thing").await.unwrap(), "old")).await.unwrap();
    assert_eq!(data(&new).await, "old");
}

/// Not covered: a delete by uid alone means the life, whatever has been written to it.
#[tokio::test]
async fn not_covered_deletes_by_uid() {
    let Two { old, new, .. } = two().await;
    let uid = old.get("thing").await.unwrap().metadata.uid;
    new.replace("thing", &PostParams::default(), &by(new.get("thing").await.unwrap(), "new")).await.unwrap();
    let delete =
        DeleteParams { preconditions: Some(Preconditions { resource_version: None, uid }), ..DeleteParams::default() };
    old.delete("thing", &delete).await.unwrap();
    assert!(new.get_opt("thing").await.unwrap().is_none());
}

/// Not covered: what the new term hasn't touched yet says nothing of it.
#[tokio::test]
async fn not_covered_objects_that_the_new_term_has_not_touched() {
    let Two { old, new, .. } = two().await;
    old.replace("thing", &PostParams::default(), &by(old.get("thing").await.unwrap(), "still old")).await.unwrap();
    assert_eq!(data(&new).await, "still old");
}

/// A server as custom resources have it: a status write leaves the annotations alone.
fn custom<S>(
    service: S,
) -> impl Service<Request<Body>, Response = S::Response, Error = BoxError, Future: Send> + Clone + Send
where
    S: Service<Request<Body>, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
{
    tower::service_fn(move |request: Request<Body>| {
        let mut service = service.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?.to_vec();
            let mut object: Value = serde_json::from_slice(&body).unwrap_or_default();
            if !parts.uri.path().ends_with("/status") || object["metadata"]["annotations"].take().is_null() {
                return service.call(Request::from_parts(parts, Body::from(body))).await.map_err(Into::into);
            }
            let body = Body::from(object.to_string().into_bytes());
            service.call(Request::from_parts(parts, body)).await.map_err(Into::into)
        }
    })
}

/// Not covered without a field for it: a status write of a custom resource can't stamp the metadata, so that a stale term which reads
/// again sees no later one. Covered with [`FenceConfig::status_epoch`]. Method: a status under both.
#[tokio::test]
async fn not_covered_status_writes_unless_the_status_keeps_the_epoch() {
    for field in [None, Some("nominatedNodeName".to_owned())] {
        let server = ApiServer::new(watchkeeper_apiserver::Config::default());
        let pods = |epoch: u128| {
            let term = open_term_of(epoch, &VirtualClock::new());
            let config = FenceConfig { status_epoch: field.clone(), ..FenceConfig::default() };
            let client = Client::new(FenceLayer::new(term, config).layer(custom(server.service("tester"))), "default");
            Api::<Pod>::namespaced(client, "default")
        };
        let (old, new) = (pods(1_000_000), pods(2_000_000));
        let pod = json!({"metadata": {"name": "thing"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        old.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        let write = async |pods: &Api<Pod>, message: &str| {
            let mut pod = pods.get("thing").await.unwrap();
            pod.status.get_or_insert_default().message = Some(message.to_owned());
            pods.replace_status("thing", &PostParams::default(), &pod).await
        };
        write(&new, "new").await.unwrap();
        let late = write(&old, "old").await;
        let message = new.get("thing").await.unwrap().status.unwrap().message;
        match field {
            None => assert_eq!((late.is_ok(), message.as_deref()), (true, Some("old"))),
            Some(_) => {
                let error = late.unwrap_err();
                assert_eq!(FenceRefused::find(&error).unwrap().reason, Refusal::LaterTerm(Epoch::new(2_000_000)));
                assert_eq!(message.as_deref(), Some("new"));
            }
        }
    }
}

/// The list in the documentation and these tests are one.
#[test]
fn every_limit_has_a_test() {
    let (fence, limits) = (include_str!("../fence.rs"), include_str!("limits.rs"));
    let listed = fence.lines().filter(|line| line.starts_with("/// * ")).count();
    let shown = limits.lines().filter(|line| line.starts_with("async fn not_covered_")).count();
    // Outside the API server there is nothing to show it on.
    assert_eq!(listed, shown + 1);
}
