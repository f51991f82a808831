//! Things by number.

use std::sync::Arc;

use watchkeeper_informer::ObjectKey;

#[path = "../thing/mod.rs"]
mod shared;

pub(crate) use shared::{Thing, version};

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
