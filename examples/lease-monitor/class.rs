//! What a Lease is for: seven classes, the first match wins.
//!
//! In: a Lease object. Out: its [`Class`], from labels, namespace, owner and record alone, so that every replica
//! says the same. Classes are matched by label and by shape, not by name patterns that changed between releases
//! of Kubernetes. It never asks the server and never looks at another object.

use k8s_openapi::api::coordination::v1::Lease;
use serde::Serialize;

/// The label API servers put on their identity Leases.
pub(crate) const API_SERVER_LABEL: &str = "apiserver.kubernetes.io/identity";

/// The namespace of the kubelets' Leases.
pub(crate) const NODE_LEASES: &str = "kube-node-lease";

const CORE: [&str; 4] =
    ["kube-controller-manager", "kube-scheduler", "cloud-controller-manager", "cloud-provider-extraction-migration"];

/// The use a Lease is put to; it decides which thresholds apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Class {
    /// An API server says that it lives; nobody takes it over.
    ApiServer,
    /// A kubelet says that its node lives.
    Node,
    /// Coordinated election: the server, not the candidates, chooses.
    Coordinated,
    /// An election of the control plane itself.
    Core,
    /// Candidates contend for it.
    Election,
    /// One holder says that it lives.
    Heartbeat,
    /// Never renewed by anyone: information, not a sign of life.
    Inert,
}

impl Class {
    /// The class of `lease`.
    pub(crate) fn of(lease: &Lease) -> Class {
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        let namespace = lease.metadata.namespace.as_deref().unwrap_or_default();
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if lease.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(API_SERVER_LABEL)) {
            Class::ApiServer
        } else if namespace == NODE_LEASES {
            Class::Node
        } else if spec.strategy.is_some() {
            Class::Coordinated
        } else if namespace == "kube-system" && CORE.contains(&name) {
            Class::Core
        } else if spec.renew_time.is_none() {
            Class::Inert
        } else if holder == name || spec.acquire_time.is_none() {
            Class::Heartbeat
        } else {
            Class::Election
        }
    }

    /// The word in the table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Class::ApiServer => "api-server",
            Class::Node => "node",
            Class::Coordinated => "coordinated",
            Class::Core => "core",
            Class::Election => "election",
            Class::Heartbeat => "heartbeat",
            Class::Inert => "inert",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_match_wins() {
        let time = "2026-01-01T00:00:00.000000Z";
        let table = [
            (
                json!({"namespace": "kube-system", "name": "x", "labels": {API_SERVER_LABEL: "kube-apiserver"}}),
                json!({"renewTime": time, "strategy": "OldestEmulationVersion"}),
                Class::ApiServer,
            ),
            (json!({"namespace": NODE_LEASES, "name": "node-a"}), json!({"holderIdentity": "node-a"}), Class::Node),
            (json!({"namespace": "a", "name": "b"}), json!({"strategy": "OldestEmulationVersion"}), Class::Coordinated),
            (json!({"namespace": "kube-system", "name": "kube-scheduler"}), json!({}), Class::Core),
            (json!({"namespace": "a", "name": "kube-scheduler"}), json!({}), Class::Inert),
            (json!({"namespace": "a", "name": "b"}), json!({"renewTime": time}), Class::Heartbeat),
            (
                json!({"namespace": "a", "name": "b"}),
                json!({"renewTime": time, "acquireTime": time, "holderIdentity": "b"}),
                Class::Heartbeat,
            ),
            (
                json!({"namespace": "a", "name": "b"}),
                json!({"renewTime": time, "acquireTime": time, "holderIdentity": "b-1_x"}),
                Class::Election,
            ),
        ];
        for (metadata, spec, class) in table {
            let lease = json!({"metadata": metadata, "spec": spec});
            let lease: Lease = serde_json::from_value(lease.clone()).expect("a Lease");
            assert_eq!(Class::of(&lease), class, "{lease:?}");
        }
    }
}
