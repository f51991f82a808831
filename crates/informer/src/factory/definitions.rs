//! Definitions: which kinds of custom resources a server has at the moment.
//!
//! In: an informer over `CustomResourceDefinition`s. Out: for a kind, whether it is defined, established and served, as it
//! changes. A definition that is being deleted is there until it is gone, for so long its objects are.
//!
//! It never asks the server itself. Upstream counterpart: none in client-go; controllers there fail, or wait, until they are started again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::watch;

use crate::event::Event;
use crate::informer::{InformerHandle, SourceGuard};
use crate::object::Cached;
use crate::scope::{ResourceKind, Scope};
use crate::shape::Projected;

/// What is kept of a `CustomResourceDefinition`: `Projected<Definition>` is a cache of them.
#[derive(Debug, Clone, Deserialize)]
pub struct Definition {
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Deserialize)]
struct Spec {
    group: String,
    names: Names,
    versions: Vec<Version>,
}

#[derive(Debug, Clone, Deserialize)]
struct Names {
    plural: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Version {
    name: String,
    served: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl Definition {
    /// The scope of all definitions, to make an informer of `Projected<Definition>` over.
    pub fn scope() -> Scope {
        Scope::of_kind(ResourceKind {
            group: "apiextensions.k8s.io".to_owned(),
            version: "v1".to_owned(),
            kind: "CustomResourceDefinition".to_owned(),
            plural: "customresourcedefinitions".to_owned(),
            namespaced: false,
        })
    }

    /// Whether this is the definition of a kind, and its objects can be asked for.
    fn serves(&self, kind: &ResourceKind) -> bool {
        let is_it = self.spec.group == kind.group && self.spec.names.plural == kind.plural;
        let is_served = || self.spec.versions.iter().any(|version| version.name == kind.version && version.served);
        let established = |one: &Condition| one.r#type == "Established" && one.status == "True";
        is_it && is_served() && self.status.conditions.iter().flatten().any(established)
    }
}

/// Which kinds are there; a cheap, cloneable handle. Keep one as long as what [`Definitions::presence`] returned is used: with the last
/// one the senders go, and for [`InformerFactory::informer_while`](super::InformerFactory::informer_while) the kind is gone. It knows what its
/// informer does.
#[derive(Clone)]
pub struct Definitions {
    shared: Arc<Shared>,
}

struct Shared {
    kinds: Mutex<HashMap<ResourceKind, watch::Sender<bool>>>,
    definitions: InformerHandle<Projected<Definition>>,
    source: Mutex<Option<SourceGuard>>,
}

impl Definitions {
    /// Over an informer of [`Definition::scope`], which somebody runs.
    pub fn new(definitions: InformerHandle<Projected<Definition>>) -> Self {
        let kinds = Mutex::new(HashMap::new());
        let shared = Arc::new(Shared { kinds, definitions: definitions.clone(), source: Mutex::new(None) });
        let of = Arc::downgrade(&shared);
        *shared.source.lock() = Some(definitions.add_source(move |event| Shared::hear(&of, event)));
        Self { shared }
    }

    /// Whether a kind is there, now and from now on. `false` as long as the definitions aren't listed.
    pub fn presence(&self, kind: &ResourceKind) -> watch::Receiver<bool> {
        let mut kinds = self.shared.kinds.lock();
        if let Some(known) = kinds.get(kind) {
            return known.subscribe();
        }
        // Under the lock that events wait for: none is missed between looking and listening.
        let sender = watch::Sender::new(self.shared.is_there(kind));
        let receiver = sender.subscribe();
        kinds.insert(kind.clone(), sender);
        receiver
    }
}

impl Shared {
    fn is_there(&self, kind: &ResourceKind) -> bool {
        let name = format!("{}.{}", kind.plural, kind.group);
        self.definitions.lister().get_named("", &name).is_some_and(|definition| definition.serves(kind))
    }

    fn hear(of: &Weak<Self>, event: &Event<Projected<Definition>>) {
        let Some(shared) = of.upgrade() else { return };
        let name = event.object().name();
        for (kind, sender) in &*shared.kinds.lock() {
            if name == format!("{}.{}", kind.plural, kind.group) {
                let is_there = shared.is_there(kind);
                sender.send_if_modified(|was| std::mem::replace(was, is_there) != is_there);
            }
        }
    }
}
