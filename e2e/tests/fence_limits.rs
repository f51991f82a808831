//! Limits of the fence that rest on what only a real API server does: applies, and status writes of custom resources.
//!
//! Goal: what `crates/leader/src/fence.rs` says isn't covered does pass, with or without the stamp it names; what it says is
//! covered is refused.
//! Method: two terms whose gates are both open, as after a stop of a virtual machine. No election gives two at once, so the Lease
//! of the first, who looks at it once in five minutes, is deleted, and the second takes itself for the first install.

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kube_client::Client;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::Layer;
use watchkeeper_e2e::HarnessError;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::kubeconfig::{create, read, send};
use watchkeeper_leader::{
    BootClock, Candidacy, Elector, ElectorConfig, FenceConfig, FenceLayer, FenceRefused, Identity, KubeLeaseLock,
    Refusal, Standing, Timings, epoch_annotation,
};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/limits";
const CONFIGMAP: &str = "/api/v1/namespaces/default/configmaps/thing";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const THINGS: &str = "/apis/limits.watchkeeper.dev/v1/namespaces/default/things";
const STATUS: &str = "/apis/limits.watchkeeper.dev/v1/namespaces/default/things/thing/status";
const PATIENCE: Duration = Duration::from_secs(20);

/// A term with an open gate, renewed while this lives.
struct Leader {
    admin: Client,
    standing: Standing,
    _candidacy: Candidacy,
    _elector: DropGuard,
}

impl Leader {
    async fn elected(admin: &Client, name: &str) -> Self {
        let identity = Identity::generate(name).expect("an identity");
        let timings = Timings {
            lease_duration: Duration::from_secs(600),
            renew_deadline: Duration::from_secs(400),
            retry_period: Duration::from_secs(300),
            ..Timings::default()
        };
        let config =
            ElectorConfig { first_install: true, timings, ..ElectorConfig::new("default", "limits", identity) };
        // The first finds none.
        _ = send(admin, Method::DELETE, LEASE, ("application/json", "{}".to_owned())).await;
        let lock = Arc::new(KubeLeaseLock::new(admin.clone(), "default", "limits"));
        let (elector, mut candidacy) = Elector::new(lock, config, Arc::new(BootClock)).expect("a config that works");
        let shutdown = CancellationToken::new();
        tokio::spawn(elector.run(shutdown.clone()));
        let won = tokio::time::timeout(PATIENCE, candidacy.next_term()).await;
        let standing = won.expect("wins").expect("an elector that runs");
        standing.open().expect("opens");
        Self { admin: admin.clone(), standing, _candidacy: candidacy, _elector: shutdown.drop_guard() }
    }

    fn epoch(&self) -> Value {
        json!(self.standing.term().epoch().to_string())
    }

    /// A client for the term's writes.
    fn gated(&self, config: FenceConfig) -> Client {
        let admin = self.admin.clone();
        let service = tower::service_fn(move |request| {
            let admin = admin.clone();
            async move { admin.send(request).await }
        });
        Client::new(FenceLayer::new(self.standing.term().clone(), config).layer(service), "default")
    }

    /// Applies a state of `thing`, as the one field manager that the controller is.
    async fn apply(&self, force: bool, by: &str, version: Option<&Value>) -> Result<Value, HarnessError> {
        let mut object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing"}, "data": {"by": by}});
        if let Some(version) = version {
            object["metadata"]["resourceVersion"] = version.clone();
        }
        let path = format!("{CONFIGMAP}?fieldManager=controller&force={force}");
        let body = ("application/apply-patch+yaml", object.to_string());
        send(&self.gated(FenceConfig::default()), Method::PATCH, &path, body).await
    }
}

/// The leader that is over and doesn't know it, and the one that has followed.
async fn two() -> (ControlPlane, Leader, Leader) {
    let folder = Folder::new().expect("a folder");
    let server = ControlPlane::start(&folder, ControlPlaneConfig::default()).await;
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let admin = server.client(0, ADMIN).await.expect("a client");
    let (old, new) = (Leader::elected(&admin, "old").await, Leader::elected(&admin, "new").await);
    assert!(old.standing.term().epoch() < new.standing.term().epoch());
    (server, old, new)
}

fn epoch(object: &Value) -> &Value {
    &object["metadata"]["annotations"][epoch_annotation("default", "limits")]
}

async fn put(client: &Client, path: &str, object: &Value) -> Result<Value, HarnessError> {
    send(client, Method::PUT, path, ("application/json", object.to_string())).await
}

/// Goal: a forced apply with the version of an old base is refused; without a version it isn't, but says whose it was. One that isn't
/// forced takes the stamp away, so that a stale term which reads again passes.
#[tokio::test]
async fn applies() {
    let (_server, old, new) = two().await;
    let base = old.apply(true, "old", None).await.expect("creates");
    assert_eq!(*epoch(&base), old.epoch());
    let later = new.apply(true, "new", None).await.expect("applies");
    assert_eq!(*epoch(&later), new.epoch());

    let late = old.apply(true, "old", Some(&base["metadata"]["resourceVersion"])).await.expect_err("an old base");
    assert_eq!(late.refusal().map(|(code, _)| code), Some(409), "{late}");
    assert_eq!(read(&new.admin, CONFIGMAP).await.expect("is there"), later);

    let late = old.apply(true, "old", None).await.expect("no base, so that no server can refuse it");
    assert_eq!((&late["data"]["by"], epoch(&late)), (&json!("old"), &old.epoch()));

    new.apply(true, "new", None).await.expect("applies");
    let unforced = new.apply(false, "newer", None).await.expect("applies");
    assert_eq!(*epoch(&unforced), Value::Null);
    let late = put(&old.gated(FenceConfig::default()), CONFIGMAP, &unforced).await.expect("sees no later term");
    assert_eq!(*epoch(&late), old.epoch());
    assert!(old.standing.term().is_open());
}

/// Goal: a status write of a custom resource leaves no stamp on the metadata, so that a stale term which reads again passes, unless the status
/// keeps the epoch.
#[tokio::test]
async fn status_writes_of_custom_resources() {
    let (_server, old, new) = two().await;
    define_things(&new.admin).await;
    let thing = json!({"apiVersion": "limits.watchkeeper.dev/v1", "kind": "Thing", "metadata": {"name": "thing"}});
    // Not gated: a server holds back creates of a kind this new for 2 s, all the time that a gated write has.
    create(&new.admin, THINGS, &thing).await.expect("creates");
    let write = async |leader: &Leader, config: &FenceConfig, by: &str| {
        let mut thing = read(&leader.admin, STATUS).await.expect("is there");
        thing["status"]["by"] = json!(by);
        put(&leader.gated(config.clone()), STATUS, &thing).await
    };

    let plain = FenceConfig::default();
    let written = write(&new, &plain, "new").await.expect("writes");
    assert_eq!((&written["status"]["by"], epoch(&written)), (&json!("new"), &Value::Null));
    write(&old, &plain, "old").await.expect("sees no later term");

    let kept = FenceConfig { status_epoch: Some("epoch".to_owned()), ..FenceConfig::default() };
    let written = write(&new, &kept, "new").await.expect("writes");
    assert_eq!(written["status"], json!({"by": "new", "epoch": new.epoch()}));
    let late = write(&old, &kept, "old").await.expect_err("sees the later term");
    let refused = FenceRefused::find(&late).unwrap_or_else(|| panic!("{late}"));
    assert_eq!(refused.reason, Refusal::LaterTerm(new.standing.term().epoch()));
    assert!(!old.standing.term().is_open());
}

/// A kind whose status may hold anything; waits until it is served.
async fn define_things(admin: &Client) {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({
        "name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema},
    });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.limits.watchkeeper.dev"},
        "spec": {
            "group": "limits.watchkeeper.dev", "scope": "Namespaced", "versions": [version],
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        },
    });
    create(admin, DEFINITIONS, &definition).await.expect("creates");
    let served = async {
        while read(admin, THINGS).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("the kind is served");
}
