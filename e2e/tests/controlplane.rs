//! The harness itself, on a real control plane.

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;

use kube_client::Client;
use serde_json::json;
use watchkeeper_e2e::HarnessError;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig, User};
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::kubeconfig::{create, read};
use watchkeeper_e2e::process::is_running;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn start(config: ControlPlaneConfig) -> (ControlPlane, Folder) {
    let folder = Folder::new().expect("a folder");
    let control_plane = ControlPlane::start(&folder, config).await.unwrap_or_else(|error| panic!("{error}"));
    (control_plane, folder)
}

fn configmap(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "annotations": {"epoch.watchkeeper.dev/default.lease": "7"}}})
}

/// The status of the answer that refused a request.
fn code(result: Result<serde_json::Value, HarnessError>) -> Option<u16> {
    Some(result.err()?.refusal()?.0)
}

async fn version(client: &Client) -> String {
    let answer = read(client, "/version").await.expect("answers");
    answer["gitVersion"].as_str().unwrap_or_default().to_owned()
}

/// Goal: two API servers are one cluster with several identities, and the write log tells who wrote what.
#[tokio::test]
async fn two_servers_one_cluster_several_identities() {
    let users = vec![User::new("alice", &["writers"]), User::new("bob", &[])];
    let (control_plane, _folder) =
        start(ControlPlaneConfig { api_servers: 2, users, ..ControlPlaneConfig::default() }).await;
    let admin = control_plane.client(0, ADMIN).await.expect("a client");
    assert!(version(&admin).await.starts_with("v1.36."), "the version is stamped into the binary");

    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get"]}]);
    control_plane.grant("writers", rules).await.expect("grants");
    let alice = control_plane.client(0, "alice").await.expect("a client");
    let bob = control_plane.client(1, "bob").await.expect("a client");
    // The authoriser hears of a grant through a watch.
    let granted = async {
        while code(create(&alice, CONFIGMAPS, &configmap("by-alice")).await).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), granted).await.expect("the grant takes effect");
    assert_eq!(code(create(&bob, CONFIGMAPS, &configmap("by-bob")).await), Some(403));
    assert_eq!(code(create(&admin, CONFIGMAPS, &configmap("by-alice")).await), Some(409));

    let other = control_plane.client(1, ADMIN).await.expect("a client");
    let seen = read(&other, &format!("{CONFIGMAPS}/by-alice")).await.expect("the other server shows it");
    let writes = control_plane.writes().expect("reads the logs");
    let write = |user: &str, code: u16| {
        let found = writes.iter().find(|write| write.identity == user && write.code == code);
        found.unwrap_or_else(|| panic!("no write of {user} with {code} in {writes:#?}"))
    };
    let by_alice = write("alice", 201);
    assert_eq!(
        by_alice.version.map(|version| json!(version.to_string())).as_ref(),
        Some(&seen["metadata"]["resourceVersion"])
    );
    assert_eq!((by_alice.resource.as_str(), by_alice.name.as_str()), ("configmaps", "by-alice"));
    assert_eq!(by_alice.epoch.map(|epoch| epoch.0), Some(7));
    assert!(write("bob", 403).version.is_none() && !write("admin", 409).committed());
}

/// Goal: a paused server hangs requests and goes on with them; killed and stopped servers come back with their data on
/// the same address; so does etcd.
#[tokio::test]
async fn servers_are_paused_resumed_killed_and_restarted() {
    let (mut control_plane, _folder) = start(ControlPlaneConfig::default()).await;
    let client = control_plane.client(0, ADMIN).await.expect("a client");
    create(&client, CONFIGMAPS, &configmap("kept")).await.expect("creates");
    let kept = format!("{CONFIGMAPS}/kept");

    control_plane.server(0).process.pause().await.expect("pauses");
    let hung = tokio::time::timeout(Duration::from_millis(500), read(&client, &kept)).await;
    assert!(hung.is_err(), "a paused server answered: {hung:?}");
    control_plane.server(0).process.resume().await.expect("resumes");
    read(&client, &kept).await.expect("answers again");

    control_plane.server(0).process.kill().await.expect("dies");
    assert!(read(&client, &kept).await.is_err());
    control_plane.server(0).start_again().await.unwrap_or_else(|error| panic!("{error}"));
    read(&client, &kept).await.expect("the same client, the same address, the same data");

    control_plane.server(0).stop().await.unwrap_or_else(|error| panic!("{error}"));
    control_plane.etcd().restart().await.unwrap_or_else(|error| panic!("{error}"));
    control_plane.server(0).start_again().await.unwrap_or_else(|error| panic!("{error}"));
    read(&client, &kept).await.expect("etcd has kept it");
}

/// Goal: nothing is left after a drop, nor after a panic, also of what is paused. Method: process numbers and the folder.
#[tokio::test]
async fn nothing_is_left_behind() {
    for panicking in [false, true] {
        let (mut control_plane, folder) = start(ControlPlaneConfig::default()).await;
        let pids = [control_plane.etcd().process.pid(), control_plane.server(0).process.pid()];
        let path: PathBuf = folder.path().to_owned();
        control_plane.etcd().process.pause().await.expect("pauses");
        let end = AssertUnwindSafe(move || {
            let _held = (control_plane, folder);
            assert!(!panicking, "a planted panic");
        });
        assert_eq!(std::panic::catch_unwind(end).is_err(), panicking);
        assert!(!pids.into_iter().any(is_running), "a process is left");
        assert!(!path.exists(), "the folder is left");
    }
}
