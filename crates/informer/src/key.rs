//! `ObjectKey`: the name under which one object is cached, queued and looked up.
//!
//! In: a namespace and a name. Out: a cheap, cloneable, ordered, hashable key in one allocation.
//! It never carries a uid or a version: two lives of the same name share a key, the store tells them apart.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::object::Cached;

/// Namespace and name of an object, in one shared allocation; cloning copies a pointer.
///
/// Order and hash are those of the text `namespace/name` (a cluster-scoped object has an empty namespace), which is
/// also the order of keys in the API server's storage. Upstream counterpart: the string that
/// `cache.MetaNamespaceKeyFunc` makes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// A key from its parts; an empty `namespace` means cluster-scoped.
    ///
    /// The namespace ends at the first slash: Kubernetes allows none in either part.
    pub fn new(namespace: &str, name: &str) -> Self {
        with_text(namespace, name, |text| Self(text.into()))
    }

    /// The key of a cached object.
    pub fn of<K: Cached>(object: &K) -> Self {
        Self::new(object.namespace(), object.name())
    }

    /// The namespace, empty for a cluster-scoped object.
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// Namespace and name.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }

    /// The text that order, hash and equality go by: `namespace/name`, `/name` for a cluster-scoped object.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Namespace and name of an object.
pub(crate) fn parts_of<K: Cached>(object: &K) -> (&str, &str) {
    (object.namespace(), object.name())
}

/// The order of two keys, each a namespace and a name, see [`ObjectKey`].
pub(crate) fn compare((a_namespace, a_name): (&str, &str), (b_namespace, b_name): (&str, &str)) -> Ordering {
    if a_namespace == b_namespace {
        return a_name.cmp(b_name);
    }
    // A slash comes behind what may follow in a longer namespace: `a-b/` before `a/`.
    a_namespace.bytes().chain([b'/']).cmp(b_namespace.bytes().chain([b'/']))
}

/// The longest namespace and name that Kubernetes allows, and the slash.
const LONGEST: usize = 63 + 1 + 253;

/// Makes the text of a key for a moment, without an allocation unless it is longer than Kubernetes allows.
pub(crate) fn with_text<T>(namespace: &str, name: &str, then: impl FnOnce(&str) -> T) -> T {
    let length = namespace.len() + 1 + name.len();
    let mut short = [0; LONGEST];
    if let Some(text) = short.get_mut(..length) {
        text[..namespace.len()].copy_from_slice(namespace.as_bytes());
        text[namespace.len()] = b'/';
        text[namespace.len() + 1..].copy_from_slice(name.as_bytes());
        if let Ok(text) = std::str::from_utf8(text) {
            return then(text);
        }
    }
    then(&format!("{namespace}/{name}"))
}

/// Maps keyed by `ObjectKey` can be asked with the text of [`ObjectKey::as_str`], from a scratch buffer.
impl Borrow<str> for ObjectKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// `namespace/name`, or the bare name of a cluster-scoped object, as kubectl writes it.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_prefix('/').unwrap_or(&self.0))
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the parts come back as they went in, and cluster scope shows no slash.
    #[test]
    fn parts_come_back() {
        let namespaced = ObjectKey::new("kube-system", "a.b");
        assert_eq!((namespaced.namespace(), namespaced.name()), ("kube-system", "a.b"));
        assert_eq!(namespaced.to_string(), "kube-system/a.b");
        let cluster = ObjectKey::new("", "node-1");
        assert_eq!((cluster.namespace(), cluster.name()), ("", "node-1"));
        assert_eq!(cluster.to_string(), "node-1");
        assert_ne!(ObjectKey::new("a", "b"), ObjectKey::new("", "a/b2"));
    }
}
