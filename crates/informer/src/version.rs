//! `ResourceVersion`: the server's clock, as the client may read it.
//!
//! In: the text of a `metadata.resourceVersion`. Out: the same text, and an order where Kubernetes defines one
//! (KEP-5504: decimal digits, no leading zero, any length; the longer is newer, equal lengths compare as text).
//! It never parses into an integer and never guesses an order for versions of another form: those only compare equal.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A resource version; cloning copies a pointer. Equality is that of the text.
///
/// Versions are comparable within one kind on one server. Upstream counterpart: `resourceversion.CompareResourceVersion`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResourceVersion(Arc<str>);

impl ResourceVersion {
    /// The version with this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text as the server gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Older, equal or newer than `other`; `None` where Kubernetes defines no order between different texts.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        compare(&self.0, &other.0)
    }

    /// Known to be at or after `other`: equal, or newer where an order is defined.
    pub fn has_reached(&self, other: &Self) -> bool {
        matches!(self.compare(other), Some(Ordering::Equal | Ordering::Greater))
    }
}

/// [`ResourceVersion::compare`] on borrowed texts, for the paths that don't want to allocate.
pub fn compare(left: &str, right: &str) -> Option<Ordering> {
    if left == right {
        return Some(Ordering::Equal);
    }
    (is_ordered(left) && is_ordered(right)).then(|| left.len().cmp(&right.len()).then_with(|| left.cmp(right)))
}

/// Decimal, not empty, no leading zero; "0" is a request ("anything"), never the version of an object or a list.
fn is_ordered(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceVersion({})", self.0)
    }
}

impl From<&str> for ResourceVersion {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Goal: texts that aren't well formed have no order, but still an identity.
    #[test]
    fn opaque_versions_only_compare_equal() {
        for odd in ["", "0", "01", "1a", "-1", " 1", "1.0", "๑"] {
            assert_eq!(compare(odd, "5"), None, "{odd:?}");
            assert_eq!(compare("5", odd), None, "{odd:?}");
            assert_eq!(compare(odd, odd), Some(Ordering::Equal), "{odd:?}");
        }
    }

    /// Goal: beyond 64 and 128 bits the order still holds.
    #[test]
    fn any_length() {
        let big = "9".repeat(60);
        let bigger = format!("1{}", "0".repeat(60));
        assert_eq!(compare(&big, &bigger), Some(Ordering::Less));
    }

    proptest! {
        /// Goal: the order is that of the numbers. Method: against u64 as the naive model.
        #[test]
        fn order_is_numeric(a in 1u64.., b in 1u64..) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), Some(a.cmp(&b)));
        }
    }
}
