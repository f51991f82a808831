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

/// Which kinds are there; a cheap, cloneable handle, which needn't be kept. It knows what its informer does, and as long: when that has
/// ended, nobody tells of kinds any more, and for [`InformerFactory::informer_while`](super::InformerFactory::informer_while) they are gone.
#[derive(Clone)]
pub struct Definitions {
    /// The informer has the other end, as a source.
    shared: Weak<Shared>,
}

struct Shared {
    kinds: Mutex<HashMap<ResourceKind, watch::Sender<bool>>>,
    definitions: InformerHandle<Projected<Definition>>,
    /// It lasts as long as the informer.
    source: Mutex<Option<SourceGuard>>,
}

impl Definitions {
    /// Over an informer of [`Definition::scope`], which somebody runs.
    pub fn new(definitions: InformerHandle<Projected<Definition>>) -> Self {
        let kinds = Mutex::new(HashMap::new());
        let shared = Arc::new(Shared { kinds, definitions: definitions.clone(), source: Mutex::new(None) });
        let tells = Arc::clone(&shared);
        let source = definitions.add_source(move |event| tells.hear(event));
        *shared.source.lock() = Some(source);
        Self { shared: Arc::downgrade(&shared) }
    }

    /// Whether a kind is there, now and from now on, until the informer of definitions ends: then the sender is gone. `false` as long as the
    /// definitions aren't listed.
    pub fn presence(&self, kind: &ResourceKind) -> watch::Receiver<bool> {
        let Some(shared) = self.shared.upgrade() else { return watch::channel(false).1 };
        let mut kinds = shared.kinds.lock();
        if let Some(known) = kinds.get(kind) {
            return known.subscribe();
        }
        // Under the lock that events wait for: none is missed between looking and listening.
        let sender = watch::Sender::new(shared.is_there(kind));
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

    fn hear(&self, event: &Event<Projected<Definition>>) {
        let name = event.object().name();
        for (kind, sender) in &*self.kinds.lock() {
            if name == format!("{}.{}", kind.plural, kind.group) {
                let is_there = self.is_there(kind);
                sender.send_if_modified(|was| std::mem::replace(was, is_there) != is_there);
            }
        }
    }
}
