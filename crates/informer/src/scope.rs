//! `Scope`: which objects an informer is about.
//!
//! In: a kind, perhaps a namespace, perhaps selectors. Out: the path and the query of its requests. It never asks a
//! server what exists: kind and scope are plain values, so that kinds known only at run time are no special case.

use std::any::TypeId;
use std::fmt;

use k8s_openapi::ClusterResourceScope;
use kube_client::Resource;

use crate::shard::Shard;

/// What a kind is called in a URL and in messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group.
    pub version: String,
    /// Kind, in camel case.
    pub kind: String,
    /// Plural as it stands in a URL.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl ResourceKind {
    /// The kind of a type that knows it when it is compiled: every k8s-openapi kind, every derived custom resource.
    pub fn of<K>() -> Self
    where
        K: Resource<DynamicType = ()>,
        K::Scope: 'static,
    {
        Self {
            group: K::group(&()).into_owned(),
            version: K::version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            namespaced: TypeId::of::<K::Scope>() != TypeId::of::<ClusterResourceScope>(),
        }
    }
}

/// `plural.group`, or the bare plural in the core group, as kubectl and the server's messages write it.
impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// A kind, where, and which of its objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The kind.
    pub kind: ResourceKind,
    /// One namespace; `None`: all of them, or the kind has none. A namespace with a cluster-scoped kind makes a path
    /// that the server answers with 404.
    pub namespace: Option<String>,
    /// As in `kubectl --selector`; checked by the server only.
    pub label_selector: Option<String>,
    /// As in `kubectl --field-selector`; checked by the server only.
    pub field_selector: Option<String>,
    /// A part of what is selected by the others; see [`Shard`].
    pub shard: Option<Shard>,
}

impl Scope {
    /// All objects of a kind in the cluster.
    pub fn all<K>() -> Self
    where
        K: Resource<DynamicType = ()>,
        K::Scope: 'static,
    {
        Self::of_kind(ResourceKind::of::<K>())
    }

    /// All objects of a kind in one namespace; the empty one is all of them, as upstream's `NamespaceAll`.
    pub fn namespaced<K>(namespace: &str) -> Self
    where
        K: Resource<DynamicType = ()>,
        K::Scope: 'static,
    {
        Self { namespace: Some(namespace.to_owned()).filter(|name| !name.is_empty()), ..Self::all::<K>() }
    }

    /// All objects of a kind that is known at run time only.
    pub fn of_kind(kind: ResourceKind) -> Self {
        Self { kind, namespace: None, label_selector: None, field_selector: None, shard: None }
    }

    /// The path of lists and watches, percent-encoded.
    pub fn path(&self) -> String {
        let ResourceKind { group, version, plural, .. } = &self.kind;
        let mut path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        if let Some(namespace) = &self.namespace {
            path.push_str("/namespaces/");
            path.push_str(&percent_encode(namespace));
        }
        path.push('/');
        path.push_str(plural);
        path
    }

    /// The path with the scope's selectors and the given query parameters behind it.
    pub(crate) fn url(&self, parameters: &[(&str, &str)]) -> String {
        let mut url = self.path();
        let shard = self.shard.map(|shard| shard.selector());
        let selectors = [
            ("labelSelector", &self.label_selector),
            ("fieldSelector", &self.field_selector),
            ("shardSelector", &shard),
        ];
        let selectors = selectors.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
        for (number, (key, value)) in parameters.iter().copied().chain(selectors).enumerate() {
            url.push(if number == 0 { '?' } else { '&' });
            url.push_str(key);
            url.push('=');
            url.push_str(&percent_encode(value));
        }
        url
    }
}

/// Kind and place, for logs and metrics: `leases.coordination.k8s.io in kube-system`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

/// Everything but RFC 3986's unreserved characters, for path segments and query values alike.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::{Node, Pod};

    /// Goal: paths of the core group, of named groups, of namespaces, and selectors that need encoding.
    #[test]
    fn urls() {
        assert_eq!(Scope::all::<Node>().url(&[]), "/api/v1/nodes");
        assert_eq!(
            Scope::namespaced::<Lease>("kube-system").url(&[("watch", "1")]),
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?watch=1"
        );
        let selected = Scope {
            label_selector: Some("app in (a,b),!x".to_owned()),
            field_selector: Some("spec.nodeName=n1".to_owned()),
            ..Scope::all::<Pod>()
        };
        assert_eq!(
            selected.url(&[("limit", "500")]),
            "/api/v1/pods?limit=500&labelSelector=app%20in%20%28a%2Cb%29%2C%21x&fieldSelector=spec.nodeName%3Dn1"
        );
        assert!(!Scope::all::<Node>().kind.namespaced && Scope::all::<Pod>().kind.namespaced);
        assert_eq!(Scope::namespaced::<Lease>("a").to_string(), "leases.coordination.k8s.io in a");
    }
}
