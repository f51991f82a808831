//! The admission policies of `docs/admission`, as shipped, on the real API server.
//!
//! Goal: an election and its gated writes go on under them, and whoever breaks a rule is refused with a text that says which.
//! Method: the files are sent to the server as they are; a real `lease-monitor` stands with a real token of the service account
//! they name, and a second account with the same rights under RBAC tries what it must not.

#![cfg(feature = "e2e")]
#![allow(clippy::disallowed_methods, clippy::panic)]

use std::time::Duration;

use http::Method;
use kube_client::Client;
use serde_json::{Value, json};
use watchkeeper_e2e::HarnessError;
use watchkeeper_e2e::controlplane::{ADMIN, ControlPlane, ControlPlaneConfig, User};
use watchkeeper_e2e::exclusive::Epoch;
use watchkeeper_e2e::folder::Folder;
use watchkeeper_e2e::kubeconfig::{client, create, read, read_text, send};
use watchkeeper_e2e::replica::{ElectionTimings, Replica, ReplicaConfig};

/// Namespace, service account and Lease, as the files name them.
const NAME: &str = "lease-monitor";
const ACCOUNT: &str = "system:serviceaccount:lease-monitor:lease-monitor";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/lease-monitor/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/lease-monitor/leases/lease-monitor";
const CONFIGMAPS: &str = "/api/v1/namespaces/lease-monitor/configmaps";
const CONFIGMAP: &str = "/api/v1/namespaces/lease-monitor/configmaps/managed";
const EPOCH: &str = "epoch.watchkeeper.dev/lease-monitor.lease-monitor";
const TIMINGS: ElectionTimings = ElectionTimings {
    lease: Duration::from_secs(4),
    renew_deadline: Duration::from_millis(2_200),
    retry: Duration::from_millis(500),
    stop_bound: Duration::from_secs(1),
    request_timeout: Duration::from_secs(1),
};
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// A control plane with one policy in force, and clients of the three who try.
struct Cluster {
    server: ControlPlane,
    folder: Folder,
    admin: Client,
    /// The service account.
    account: Client,
    /// Another one, with the same rights.
    stranger: Client,
    kubeconfig: std::path::PathBuf,
}

impl Cluster {
    async fn start(policy: &str) -> Result<Self, HarnessError> {
        let folder = Folder::new()?;
        let users = vec![User::new("stranger", &["strangers"])];
        let server =
            ControlPlane::start(&folder, ControlPlaneConfig { users, ..ControlPlaneConfig::default() }).await?;
        let admin = server.client(0, ADMIN).await?;
        create(&admin, "/api/v1/namespaces", &json!({"metadata": {"name": NAME}})).await?;
        let accounts = format!("/api/v1/namespaces/{NAME}/serviceaccounts");
        create(&admin, &accounts, &json!({"metadata": {"name": NAME}})).await?;
        let token = create(&admin, &format!("{accounts}/{NAME}/token"), &json!({"spec": {}})).await?;
        let rules = json!([
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ]);
        server.grant("system:serviceaccounts:lease-monitor", rules.clone()).await?;
        server.grant("strangers", rules).await?;
        for object in policy.split("\n---\n") {
            let kind = object.lines().find_map(|line| line.strip_prefix("kind: ")).expect("a kind");
            let plural = match kind {
                "ValidatingAdmissionPolicy" => "validatingadmissionpolicies",
                "ValidatingAdmissionPolicyBinding" => "validatingadmissionpolicybindings",
                _ => panic!("{kind} isn't expected"),
            };
            let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}");
            send(&admin, Method::POST, &path, ("application/yaml", object.to_owned())).await?;
        }
        let token = token["status"]["token"].as_str().expect("a token");
        let kubeconfig = server.kubeconfig_with_token(0, "account", token)?;
        let account = client(&kubeconfig).await?;
        let stranger = server.client(0, "stranger").await?;
        Ok(Self { server, folder, admin, account, stranger, kubeconfig })
    }

    /// What the policy takes, by the server's own measure.
    async fn print_cost(&self) {
        let metrics = read_text(&self.admin, "/metrics").await.expect("metrics");
        let name = "apiserver_validating_admission_policy_check_duration_seconds";
        let of = |suffix: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}_{suffix}")));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        println!("{} checks of the policy took {:.0} us on average", of("count"), of("sum") / of("count") * 1e6);
    }
}

async fn patch(client: &Client, path: &str, patch: Value) -> Result<Value, HarnessError> {
    send(client, Method::PATCH, path, ("application/merge-patch+json", patch.to_string())).await
}

async fn delete(client: &Client, path: &str) -> Result<Value, HarnessError> {
    send(client, Method::DELETE, path, ("application/json", String::new())).await
}

fn refused(what: &str, result: Result<Value, HarnessError>, because: &str) {
    let error = result.expect_err(what);
    let (code, message) = error.refusal().unwrap_or_else(|| panic!("{what}: {error}"));
    assert!(code == 403 || code == 422, "{what}: {code} {message}");
    assert!(message.contains(because), "{what}: {message}");
    println!("{what}: {code} {message}");
}

/// Until grants and policies, which the server hears of by watches, have taken effect: tries without effect until refused.
async fn in_force(client: &Client, path: &str, object: &Value, because: &str) {
    let tried = async {
        while !create(client, &format!("{path}?dryRun=All"), object)
            .await
            .is_err_and(|error| error.refusal().is_some_and(|(_, message)| message.contains(because)))
        {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, tried).await.expect("the policy takes effect");
}

/// The epoch of a term that is newer than `after`.
async fn next_term(replica: &mut Replica, after: Option<Epoch>) -> Epoch {
    let opened = async {
        loop {
            replica.refresh().expect("reads");
            if let Some((_, epoch)) = replica.newest_term()
                && Some(epoch) > after
            {
                return epoch;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.expect("a term begins under the policy")
}

fn lease(spec: Value) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec})
}

#[tokio::test]
async fn an_election_goes_on_and_nobody_else_writes_its_lease() {
    let cluster = Cluster::start(include_str!("../../docs/admission/protect-lease.yaml")).await;
    let cluster = cluster.unwrap_or_else(|error| panic!("{error}"));
    let Cluster { server, folder, admin, account, stranger, kubeconfig } = &cluster;
    let foreign = lease(json!({"holderIdentity": "stranger", "leaseDurationSeconds": 4}));
    in_force(stranger, LEASES, &foreign, "only the candidates").await;
    refused("a stranger creates the Lease", create(stranger, LEASES, &foreign).await, "only the candidates");

    let config = ReplicaConfig {
        user: "replica".to_owned(),
        kubeconfig: kubeconfig.clone(),
        lease: (NAME.to_owned(), NAME.to_owned()),
        timings: TIMINGS,
        wall_clock: None,
    };
    let mut replica = Replica::start(folder, config).expect("starts");
    let first = next_term(&mut replica, None).await;
    let stolen = json!({"spec": {"holderIdentity": "stranger", "leaseTransitions": 2}});
    refused("a stranger takes it", patch(stranger, LEASE, stolen.clone()).await, "stranger is none");
    refused("an admin takes it", patch(admin, LEASE, stolen).await, "admin is none");
    refused("a stranger deletes it", delete(stranger, LEASE).await, "only admins may delete");
    refused("a stranger deletes all", delete(stranger, LEASES).await, "only admins may delete");
    // Longer than D: a leader that can't renew has lost its term by then.
    tokio::time::sleep(TIMINGS.renew_deadline + TIMINGS.retry).await;
    assert_eq!(next_term(&mut replica, None).await, first, "the term goes on, renewal by renewal");
    assert!(replica.process.stop(PATIENCE).await.expect("ends").success());
    let released = read(admin, LEASE).await.expect("is there");
    assert_eq!((&released["spec"]["holderIdentity"], &released["spec"]["leaseTransitions"]), (&json!(""), &json!(1)));
    replica.start_again().expect("starts");
    next_term(&mut replica, Some(first)).await;
    assert!(replica.process.stop(PATIENCE).await.expect("ends").success());
    let writes = server.writes().expect("the server's log");
    let of_account: Vec<_> = writes.iter().filter(|write| write.identity == ACCOUNT).collect();
    assert!(of_account.iter().any(|write| write.verb == "update" && write.committed()));
    let denied = of_account.iter().find(|write| matches!(write.code, 403 | 422));
    assert!(denied.is_none(), "nothing that the election does is refused: {denied:?}");

    let count =
        |holder: &str, transitions: i32| json!({"spec": {"holderIdentity": holder, "leaseTransitions": transitions}});
    refused("it counts down", patch(account, LEASE, count("x", 1)).await, "must not decrease, from 2 to 1");
    refused("it jumps", patch(account, LEASE, count("x", 4)).await, "must go up by one");
    refused("it isn't counted", patch(account, LEASE, count("x", 2)).await, "must go up by one");
    refused("a release is counted", patch(account, LEASE, count("", 3)).await, "must go up by one");
    patch(account, LEASE, count("x", 3)).await.expect("a takeover, counted once");
    patch(account, LEASE, count("y", 4)).await.expect("another");
    // Another Lease is none of the policy's business.
    let other = json!({"metadata": {"name": "other"}, "spec": {"leaseTransitions": 7}});
    create(stranger, LEASES, &other).await.expect("creates");
    patch(stranger, &format!("{LEASES}/other"), count("z", 0)).await.expect("updates");
    delete(admin, LEASE).await.expect("an admin may");
    cluster.print_cost().await;
}

#[tokio::test]
async fn no_older_epoch_is_written_over_a_newer_one() {
    let cluster = Cluster::start(include_str!("../../docs/admission/fence-objects.yaml")).await;
    let cluster = cluster.unwrap_or_else(|error| panic!("{error}"));
    let Cluster { account, stranger, .. } = &cluster;
    let epoch = |epoch: &str| json!({"metadata": {"annotations": {EPOCH: epoch}}});
    let removed = || json!({"metadata": {"annotations": {EPOCH: null}}});
    let managed = json!({"metadata": {"name": "managed", "annotations": {EPOCH: "9"}}});
    let granted = async {
        while create(account, CONFIGMAPS, &managed).await.is_err() {
            tokio::time::sleep(POLL).await;
        }
        // In force once a text is refused that is no number.
        while patch(stranger, &format!("{CONFIGMAP}?dryRun=All"), epoch("x")).await.is_ok_and(|_| true) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, granted).await.expect("grants and the policy take effect");

    refused("no number", patch(stranger, CONFIGMAP, epoch("x")).await, "must be a decimal number");
    patch(account, CONFIGMAP, epoch("10")).await.expect("a newer term; as texts, 10 would come before 9");
    patch(account, CONFIGMAP, json!({"metadata": {"annotations": {EPOCH: "10"}}, "data": {"a": "b"}}))
        .await
        .expect("the same");
    refused("an older term", patch(account, CONFIGMAP, epoch("9")).await, "its epoch is 10, that of this write 9");
    refused("by another", patch(stranger, CONFIGMAP, epoch("2")).await, "a newer leader has written this object");
    let apply = async |force: bool, annotations: Value| {
        let metadata = json!({"name": "managed", "annotations": annotations});
        let managed = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        let path = format!("{CONFIGMAP}?fieldManager=controller&force={force}");
        send(account, Method::PATCH, &path, ("application/apply-patch+yaml", managed.to_string())).await
    };
    let older = apply(true, json!({EPOCH: "9"})).await;
    refused("an older term's forced apply", older, "its epoch is 10, that of this write 9");
    apply(true, json!({EPOCH: "11"})).await.expect("a newer term's");
    refused("applied without force", apply(false, json!({})).await, "must not remove the epoch, which was 11");
    refused("removed by the controller", patch(account, CONFIGMAP, removed()).await, "must not remove the epoch");
    patch(stranger, CONFIGMAP, json!({"data": {"a": "c"}})).await.expect("an ungated write that keeps the epoch");
    let kept = read(account, CONFIGMAP).await.expect("is there");
    assert_eq!(kept["metadata"]["annotations"][EPOCH], "11");
    patch(stranger, CONFIGMAP, removed()).await.expect("others may remove it");
    patch(stranger, CONFIGMAP, json!({"data": {"a": "d"}})).await.expect("without an epoch there is no fence");
    cluster.print_cost().await;
}
