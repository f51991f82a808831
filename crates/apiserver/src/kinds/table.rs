//! The rows: every kind this server knows, with upstream's strategy of each as data.
//!
//! Never holds behaviour: the few functions that rows name are in `strategy.rs` and in `validate`.

use super::strategy;
use super::{Generation, Kind, KindId, SelectableField, Subresource, View};
use crate::validate::{self, NameRule};

/// Namespaces are the one kind the code itself needs to know: everything namespaced lives in one.
pub(crate) const NAMESPACES: KindId = KindId(0);
/// Events of the core group: those of the other group are the same.
const EVENTS: KindId = KindId(3);

const STATUS: &[Subresource] = &[Subresource::Status];
const ALL: &[&str] = &["all"];

/// What most kinds of the core group are.
const BASE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    subresources: &[],
    generation: Generation::Absent,
    delete_collection: true,
    create_on_update: false,
    unconditional_update: true,
    delete_returns_object: false,
    fields: &[],
    own_field_conversion: false,
    names: NameRule::Subdomain,
    immutable: &[],
    micro_times: &[],
    integers: &[],
    validate: validate::nothing,
    prepare: strategy::nothing,
    empty: "",
    convert: strategy::nothing,
    view: None,
};

/// What has a spec that is counted and a status that controllers write.
const WORKLOAD: Kind = Kind {
    group: "apps",
    categories: ALL,
    subresources: STATUS,
    generation: Generation::Spec,
    immutable: &[&["spec", "selector"]],
    prepare: strategy::wipe_status,
    ..BASE
};

const COORDINATION: Kind =
    Kind { group: "coordination.k8s.io", create_on_update: true, unconditional_update: false, ..BASE };

const fn field(label: &'static str, path: &'static [&'static str], default: &'static str) -> SelectableField {
    SelectableField { label, path, otherwise: &[], default }
}

/// Every kind there is. Kinds of a group are together, in the order of discovery.
pub(crate) static KINDS: [Kind; 19] = [
    Kind {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        namespaced: false,
        subresources: &[Subresource::Finalize, Subresource::Status],
        delete_collection: false,
        delete_returns_object: true,
        fields: &[field("status.phase", &["status", "phase"], "")],
        own_field_conversion: true,
        names: NameRule::Label,
        validate: validate::namespace,
        prepare: strategy::namespace,
        convert: strategy::name_label,
        ..BASE
    },
    Kind {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        convert: strategy::config_map,
        ..BASE
    },
    Kind {
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        create_on_update: true,
        ..BASE
    },
    Kind {
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        create_on_update: true,
        fields: &[
            field("involvedObject.kind", &["involvedObject", "kind"], ""),
            field("involvedObject.namespace", &["involvedObject", "namespace"], ""),
            field("involvedObject.name", &["involvedObject", "name"], ""),
            field("involvedObject.uid", &["involvedObject", "uid"], ""),
            field("involvedObject.apiVersion", &["involvedObject", "apiVersion"], ""),
            field("involvedObject.resourceVersion", &["involvedObject", "resourceVersion"], ""),
            field("involvedObject.fieldPath", &["involvedObject", "fieldPath"], ""),
            field("reason", &["reason"], ""),
            field("reportingComponent", &["reportingComponent"], ""),
            SelectableField {
                label: "source",
                path: &["source", "component"],
                otherwise: &["reportingComponent"],
                default: "",
            },
            field("type", &["type"], ""),
        ],
        own_field_conversion: true,
        micro_times: &[&["eventTime"], &["series", "lastObservedTime"]],
        integers: &[&["series", "count"], &["count"]],
        validate: validate::core_event,
        empty: concat!(
            r#","involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,"#,
            r#""reportingComponent":"","reportingInstance":"""#
        ),
        convert: strategy::core_event,
        ..BASE
    },
    Kind {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        namespaced: false,
        subresources: STATUS,
        fields: &[field("spec.unschedulable", &["spec", "unschedulable"], "false")],
        own_field_conversion: true,
        ..BASE
    },
    Kind {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: ALL,
        subresources: &[Subresource::Binding, Subresource::Status],
        generation: Generation::Spec,
        delete_returns_object: true,
        fields: &[
            field("spec.nodeName", &["spec", "nodeName"], ""),
            field("spec.restartPolicy", &["spec", "restartPolicy"], "Always"),
            field("spec.schedulerName", &["spec", "schedulerName"], "default-scheduler"),
            field("spec.serviceAccountName", &["spec", "serviceAccountName"], ""),
            field("spec.hostNetwork", &["spec", "hostNetwork"], "false"),
            field("status.phase", &["status", "phase"], ""),
            field("status.podIP", &["status", "podIP"], ""),
            // Upstream knows the name, and no object has the field.
            field("status.podIPs", &[], ""),
            field("status.nominatedNodeName", &["status", "nominatedNodeName"], ""),
        ],
        own_field_conversion: true,
        prepare: strategy::pod,
        ..BASE
    },
    Kind {
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        fields: &[field("type", &["type"], "Opaque")],
        own_field_conversion: true,
        immutable: &[&["type"]],
        convert: strategy::secret,
        ..BASE
    },
    Kind {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        delete_returns_object: true,
        ..BASE
    },
    Kind {
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: ALL,
        subresources: STATUS,
        create_on_update: true,
        delete_returns_object: true,
        fields: &[
            field("spec.clusterIP", &["spec", "clusterIP"], ""),
            field("spec.type", &["spec", "type"], "ClusterIP"),
        ],
        own_field_conversion: true,
        names: NameRule::ServiceLabel,
        prepare: strategy::service,
        ..BASE
    },
    Kind {
        kind: "DaemonSet",
        plural: "daemonsets",
        singular: "daemonset",
        short_names: &["ds"],
        prepare: strategy::daemon_set,
        ..WORKLOAD
    },
    Kind { kind: "Deployment", plural: "deployments", singular: "deployment", short_names: &["deploy"], ..WORKLOAD },
    Kind {
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        fields: &[field("status.replicas", &["status", "replicas"], "0")],
        prepare: strategy::replica_set,
        own_field_conversion: true,
        ..WORKLOAD
    },
    Kind {
        kind: "StatefulSet",
        plural: "statefulsets",
        singular: "statefulset",
        short_names: &["sts"],
        prepare: strategy::stateful_set,
        ..WORKLOAD
    },
    Kind {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        create_on_update: true,
        fields: &[
            field("regarding.kind", &["regarding", "kind"], ""),
            field("regarding.namespace", &["regarding", "namespace"], ""),
            field("regarding.name", &["regarding", "name"], ""),
            field("regarding.uid", &["regarding", "uid"], ""),
            field("regarding.apiVersion", &["regarding", "apiVersion"], ""),
            field("regarding.resourceVersion", &["regarding", "resourceVersion"], ""),
            field("regarding.fieldPath", &["regarding", "fieldPath"], ""),
            field("reason", &["reason"], ""),
            field("reportingController", &["reportingController"], ""),
            field("type", &["type"], ""),
        ],
        own_field_conversion: true,
        micro_times: &[&["eventTime"], &["series", "lastObservedTime"]],
        integers: &[&["series", "count"], &["deprecatedCount"]],
        validate: validate::event,
        empty: concat!(
            r#","eventTime":null,"regarding":{},"deprecatedSource":{},"deprecatedFirstTimestamp":null,"#,
            r#""deprecatedLastTimestamp":null"#
        ),
        convert: strategy::event,
        view: Some(View {
            of: EVENTS,
            names: &[
                ("involvedObject", "regarding"),
                ("message", "note"),
                ("reportingComponent", "reportingController"),
                ("source", "deprecatedSource"),
                ("firstTimestamp", "deprecatedFirstTimestamp"),
                ("lastTimestamp", "deprecatedLastTimestamp"),
                ("count", "deprecatedCount"),
            ],
        }),
        ..BASE
    },
    Kind {
        group: "batch",
        kind: "CronJob",
        plural: "cronjobs",
        singular: "cronjob",
        short_names: &["cj"],
        immutable: &[],
        ..WORKLOAD
    },
    Kind {
        group: "batch",
        kind: "Job",
        plural: "jobs",
        singular: "job",
        fields: &[field("status.successful", &["status", "succeeded"], "0")],
        own_field_conversion: true,
        immutable: &[&["spec", "selector"], &["spec", "completionMode"]],
        ..WORKLOAD
    },
    Kind {
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        micro_times: &[&["spec", "acquireTime"], &["spec", "renewTime"]],
        integers: &[&["spec", "leaseDurationSeconds"], &["spec", "leaseTransitions"]],
        validate: validate::lease,
        empty: r#","spec":{}"#,
        convert: strategy::lease,
        ..COORDINATION
    },
    Kind {
        version: "v1beta1",
        kind: "LeaseCandidate",
        plural: "leasecandidates",
        singular: "leasecandidate",
        fields: &[field("spec.leaseName", &["spec", "leaseName"], "")],
        own_field_conversion: true,
        names: NameRule::MapKey,
        immutable: &[&["spec", "leaseName"]],
        micro_times: &[&["spec", "pingTime"], &["spec", "renewTime"]],
        validate: validate::lease_candidate,
        ..COORDINATION
    },
    Kind {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        generation: Generation::Content,
        immutable: &[&["addressType"]],
        ..BASE
    },
];
