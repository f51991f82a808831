//! The smallest object that can be cached.

use std::sync::Arc;

use watchkeeper_informer::{Cached, ObjectKey};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub version: String,
    pub groups: Vec<u8>,
}

impl Cached for Thing {
    fn namespace(&self) -> &str {
        &self.namespace
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn version(&self) -> &str {
        &self.version
    }
}

/// Name `name` in one of two namespaces, in its life number `life`, at `version`.
pub(crate) fn thing(name: u8, life: u64, version: u64) -> Arc<Thing> {
    Arc::new(Thing {
        namespace: format!("ns{}", name % 2),
        name: format!("n{name}"),
        uid: format!("u{name}-{life}"),
        version: version.to_string(),
        groups: vec![(version % 3) as u8, (life % 3) as u8],
    })
}

pub(crate) fn key(thing: &Thing) -> ObjectKey {
    ObjectKey::of(thing)
}

pub(crate) fn version(thing: &Thing) -> u64 {
    thing.version.parse().expect("test versions are numbers")
}
