//! `Cached`: what the runtime must be able to read of an object, whatever its shape.
//!
//! In: any type that can say who it is. Out: four borrowed strings. It never allocates, and nothing in the pipeline
//! asks an object for more: kind and scope are values of the informer ([`crate::scope`]), not of the type.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube_client::Resource;

/// An object that can be cached.
///
/// Implemented for every `kube_client::Resource` (all k8s-openapi kinds, derived custom resources, metadata-only and
/// dynamic objects); a type of your own, with just the fields you want, implements the four accessors by hand. A field
/// that the object doesn't have is the empty string.
///
/// ```
/// use watchkeeper_informer::object::Cached;
///
/// struct Owner { namespace: String, name: String, uid: String, version: String }
///
/// impl Cached for Owner {
///     fn namespace(&self) -> &str { &self.namespace }
///     fn name(&self) -> &str { &self.name }
///     fn uid(&self) -> &str { &self.uid }
///     fn version(&self) -> &str { &self.version }
/// }
/// ```
pub trait Cached: Send + Sync + 'static {
    /// `metadata.namespace`; empty for a cluster-scoped object.
    fn namespace(&self) -> &str;
    /// `metadata.name`.
    fn name(&self) -> &str;
    /// `metadata.uid`: one life of this name.
    fn uid(&self) -> &str;
    /// `metadata.resourceVersion`.
    fn version(&self) -> &str;
    /// How many bytes it holds, for those shapes that know. `None`: taken to be as large as it arrived.
    fn held_bytes(&self) -> Option<usize> {
        None
    }
}

/// An object whose labels can be selected by; implemented for every `kube_client::Resource`, for [`Lazy`](crate::shape::Lazy) and for
/// [`Projected`](crate::shape::Projected) of what is labelled itself.
pub trait Labelled {
    /// `metadata.labels`; none are an empty map.
    fn labels(&self) -> Cow<'_, BTreeMap<String, String>>;
}

impl<K: Resource> Labelled for K {
    fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
        self.meta().labels.as_ref().map(Cow::Borrowed).unwrap_or_default()
    }
}

impl<K: Resource + Send + Sync + 'static> Cached for K {
    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    fn version(&self) -> &str {
        self.meta().resource_version.as_deref().unwrap_or_default()
    }
}
