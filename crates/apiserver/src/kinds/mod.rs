//! The kinds a server knows: rows of a table, not code.
//!
//! Comes in: group, version and plural from a path. Goes out: the row, which says scope, sub-resources, what selectors
//! may look at and which checks apply. Adding a kind is adding a row to `table.rs`; what a row can't say as data is a
//! function of `strategy.rs`. The table never changes while a server runs.

mod strategy;
mod table;
mod view;

use serde_json::{Map, Value};

use crate::status::Cause;
use crate::validate::NameRule;

pub(crate) use table::{KINDS, NAMESPACES};
pub(crate) use view::View;

/// Index of a kind in [`KINDS`]; the store keeps one log a kind under this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KindId(pub(crate) usize);

/// A check of an object beside what it was before, if it was: why it is refused.
pub(crate) type Check = fn(&Map<String, Value>, Option<&Map<String, Value>>) -> Vec<Cause>;

/// One row: everything that differs between kinds.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) namespaced: bool,
    /// With [`Subresource::Status`] the main path leaves the status alone.
    pub(crate) subresources: &'static [Subresource],
    pub(crate) generation: Generation,
    /// DELETE of a collection.
    pub(crate) delete_collection: bool,
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
    pub(crate) names: NameRule,
    /// Fields that an update can't change.
    pub(crate) immutable: &'static [&'static [&'static str]],
    /// Fields of type MicroTime: always six fractional digits once stored.
    pub(crate) micro_times: &'static [&'static [&'static str]],
    /// Fields that must be integers or absent: upstream's decoder refuses anything else with 400.
    pub(crate) integers: &'static [&'static [&'static str]],
    /// Checks of the object as a whole at create and update.
    pub(crate) validate: Check,
    /// What the server fills in or wipes at create.
    pub(crate) prepare: fn(&mut Map<String, Value>),
    /// What an object with nothing in it has beside its metadata, as bookmarks show it: members, each after a comma.
    pub(crate) empty: &'static str,
    /// What reading an object makes of it, before anything looks at it.
    pub(crate) convert: fn(&mut Map<String, Value>),
    /// Its objects are another kind's.
    pub(crate) view: Option<View>,
}

/// What a path may have after the name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subresource {
    /// The status alone: get, update and patch.
    Status,
    /// A namespace's `spec.finalizers` alone: update.
    Finalize,
    /// The node of a pod: create.
    Binding,
}

/// What `metadata.generation` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// The kind has none.
    Absent,
    /// Changes of the spec.
    Spec,
    /// Changes of anything but the metadata.
    Content,
}

impl Subresource {
    /// How a path spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Finalize => "finalize",
            Self::Binding => "binding",
        }
    }
}

/// A field a selector may name.
#[derive(Debug)]
pub(crate) struct SelectableField {
    /// How a selector spells it.
    pub(crate) label: &'static str,
    /// Where it is in the object.
    pub(crate) path: &'static [&'static str],
    /// Where it is looked for if it isn't there.
    pub(crate) otherwise: &'static [&'static str],
    /// What an absent field counts as.
    pub(crate) default: &'static str,
}

impl Kind {
    /// Whether objects have this sub-resource.
    pub(crate) fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }

    /// The row of the kind that is stored: this one, unless it is a view. Upstream's validation speaks of that one.
    pub(crate) fn stored(&self) -> &Self {
        self.view.as_ref().map_or(self, |view| kind(view.of))
    }

    /// `v1`, or `group/version`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `coordination`, or `core`: upstream's package of the internal type, as some texts show it.
    pub(crate) fn internal_package(&self) -> &'static str {
        self.group.split('.').next().filter(|package| !package.is_empty()).unwrap_or("core")
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

/// The kind that is stored where `id` is looked at.
pub(crate) fn stored(id: KindId) -> KindId {
    kind(id).view.as_ref().map_or(id, |view| view.of)
}

/// The number of the kind at this place of a path.
pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<KindId> {
    KINDS.iter().position(|row| row.group == group && row.version == version && row.plural == plural).map(KindId)
}

/// Every kind with its number.
pub(crate) fn all() -> impl Iterator<Item = (KindId, &'static Kind)> {
    KINDS.iter().enumerate().map(|(index, row)| (KindId(index), row))
}
