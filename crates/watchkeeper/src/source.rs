//! From an event to the keys that it concerns: the object itself, or its owner.
//!
//! Both run inline in the informer: they only compute a key and hand it to the queue, which coalesces, so no mailbox is needed.
//! Upstream: `kubernetes-sigs/controller-runtime:pkg/handler` (EnqueueRequestForObject, EnqueueRequestForOwner).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube_client::Resource;
use watchkeeper_informer::{Cached, Event, ObjectKey};

/// The key of the object that an event is about.
pub(crate) fn itself<K: Cached>(event: &Event<K>) -> ObjectKey {
    ObjectKey::of(&**event.object())
}

/// The key of the controller of the object that an event is about, if that is a `K`. An update that changes the controller
/// concerns both.
pub(crate) fn owners<K, C>(event: &Event<C>) -> Vec<ObjectKey>
where
    K: Resource<DynamicType = ()>,
    C: Cached + Resource,
{
    let old = if let Event::Updated { old, .. } = event { Some(old) } else { None };
    let mut keys: Vec<ObjectKey> = [old, Some(event.object())]
        .into_iter()
        .flatten()
        .filter_map(|object| {
            let owner = object.meta().owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))?;
            is_a::<K>(owner).then(|| ObjectKey::new(namespace_of_owner::<K>(&**object), &owner.name))
        })
        .collect();
    keys.dedup();
    keys
}

/// Same kind and group; the version may differ, since an owner can be written through any served version.
fn is_a<K: Resource<DynamicType = ()>>(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    owner.kind == K::kind(&()) && group == K::group(&())
}

/// An owner lives in the namespace of what it owns, or has none. Whether `K` is cluster scoped shows in its URL.
fn namespace_of_owner<K: Resource<DynamicType = ()>>(owned: &impl Cached) -> &str {
    let cluster_scoped = K::url_path(&(), Some("n")) == K::url_path(&(), None);
    if cluster_scoped { "" } else { owned.namespace() }
}
