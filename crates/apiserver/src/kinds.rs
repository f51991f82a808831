//! The kinds a server knows: rows of a table, not code.
//!
//! Comes in: group, version and plural from a path. Goes out: the row, which says scope, sub-resources, what selectors
//! may look at and which checks apply. Adding a kind is adding a row. The table never changes while a server runs.

use serde_json::{Map, Value, json};

use crate::object::metadata_mut;
use crate::status::Cause;
use crate::validate;

/// Index of a kind in [`KINDS`]; the store keeps one log a kind under this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KindId(pub(crate) usize);

/// One row: everything that differs between kinds.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) namespaced: bool,
    /// Has a `/status` sub-resource, and the main path leaves the status alone.
    pub(crate) status: bool,
    /// `metadata.generation` counts changes of the spec.
    pub(crate) generation: bool,
    /// PUT of a name that doesn't exist creates it.
    pub(crate) create_on_update: bool,
    /// PUT without a resourceVersion overwrites.
    pub(crate) unconditional_update: bool,
    /// DELETE answers with the object that is gone rather than with a Status.
    pub(crate) delete_returns_object: bool,
    /// Fields that a field selector may name beside `metadata.name` and `metadata.namespace`.
    pub(crate) fields: &'static [SelectableField],
    /// Upstream has two texts for an unknown field selector: kinds with a conversion of their own, and all others.
    pub(crate) own_field_conversion: bool,
    /// Which names are allowed.
    pub(crate) names: validate::NameRule,
    /// Fields of type MicroTime: always six fractional digits once stored.
    pub(crate) micro_times: &'static [&'static [&'static str]],
    /// Fields that must be integers or absent: upstream's decoder refuses anything else with 400.
    pub(crate) integers: &'static [&'static [&'static str]],
    /// Checks of the object as a whole at create and update.
    pub(crate) validate: fn(&Map<String, Value>) -> Vec<Cause>,
    /// What the server fills in or wipes at create.
    pub(crate) prepare: fn(&mut Map<String, Value>),
}

/// A field a selector may name.
#[derive(Debug)]
pub(crate) struct SelectableField {
    /// How a selector spells it.
    pub(crate) label: &'static str,
    /// Where it is in the object.
    pub(crate) path: &'static [&'static str],
    /// What an absent field counts as.
    pub(crate) default: &'static str,
}

const fn field(label: &'static str, path: &'static [&'static str], default: &'static str) -> SelectableField {
    SelectableField { label, path, default }
}

const BASE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    namespaced: true,
    status: false,
    generation: false,
    create_on_update: false,
    unconditional_update: true,
    delete_returns_object: false,
    fields: &[],
    own_field_conversion: true,
    names: validate::NameRule::Subdomain,
    micro_times: &[],
    integers: &[],
    validate: validate::nothing,
    prepare: |_| {},
};

/// Namespaces are the one kind the code itself needs to know: everything namespaced lives in one.
pub(crate) const NAMESPACES: KindId = KindId(0);

/// Every kind there is. Within a group the order is the order of discovery.
pub(crate) static KINDS: [Kind; 6] = [
    Kind {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        namespaced: false,
        status: true,
        delete_returns_object: true,
        fields: &[field("status.phase", &["status", "phase"], "")],
        names: validate::NameRule::Label,
        prepare: prepare_namespace,
        ..BASE
    },
    Kind {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        own_field_conversion: false,
        ..BASE
    },
    Kind {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        namespaced: false,
        status: true,
        fields: &[field("spec.unschedulable", &["spec", "unschedulable"], "false")],
        ..BASE
    },
    Kind {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        status: true,
        generation: true,
        delete_returns_object: true,
        fields: &[
            field("spec.nodeName", &["spec", "nodeName"], ""),
            field("spec.restartPolicy", &["spec", "restartPolicy"], "Always"),
            field("spec.schedulerName", &["spec", "schedulerName"], "default-scheduler"),
            field("spec.serviceAccountName", &["spec", "serviceAccountName"], ""),
            field("spec.hostNetwork", &["spec", "hostNetwork"], "false"),
            field("status.phase", &["status", "phase"], ""),
            field("status.podIP", &["status", "podIP"], ""),
            field("status.nominatedNodeName", &["status", "nominatedNodeName"], ""),
        ],
        prepare: prepare_pod,
        ..BASE
    },
    Kind {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        create_on_update: true,
        unconditional_update: false,
        own_field_conversion: false,
        micro_times: &[&["spec", "acquireTime"], &["spec", "renewTime"]],
        integers: &[&["spec", "leaseDurationSeconds"], &["spec", "leaseTransitions"]],
        validate: validate::lease,
        ..BASE
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
        micro_times: &[&["eventTime"], &["series", "lastObservedTime"]],
        integers: &[&["series", "count"], &["deprecatedCount"]],
        validate: validate::event,
        ..BASE
    },
];

impl Kind {
    /// `v1`, or `group/version`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `leases.coordination.k8s.io`, as upstream's error texts spell a resource.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Lease.coordination.k8s.io`, as upstream's validation texts spell a kind.
    pub(crate) fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// `coordination.k8s.io/leases`; for the core group the plural alone. The audit log's spelling.
    pub(crate) fn audit_name(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}/{}", self.group, self.plural) }
    }
}

/// The row of `id`.
pub(crate) fn kind(id: KindId) -> &'static Kind {
    &KINDS[id.0]
}

/// The number of the kind at this place of a path.
pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<KindId> {
    KINDS.iter().position(|row| row.group == group && row.version == version && row.plural == plural).map(KindId)
}

/// Every kind with its number.
pub(crate) fn all() -> impl Iterator<Item = (KindId, &'static Kind)> {
    KINDS.iter().enumerate().map(|(index, row)| (KindId(index), row))
}

/// A new namespace is active, and kept until its content is gone.
fn prepare_namespace(object: &mut Map<String, Value>) {
    object.insert("spec".to_owned(), json!({ "finalizers": ["kubernetes"] }));
    object.insert("status".to_owned(), json!({ "phase": "Active" }));
    let metadata = metadata_mut(object);
    let name = metadata.get("name").cloned().unwrap_or_default();
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

/// A new pod has run nowhere yet, whatever its creator says.
fn prepare_pod(object: &mut Map<String, Value>) {
    object.insert("status".to_owned(), json!({ "phase": "Pending" }));
}
