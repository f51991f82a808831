//! `ResourceVersion`: the server's clock, as the client may read it.
//!
//! In: the text of a `metadata.resourceVersion`. Out: the same text, and an order where Kubernetes defines one
//! (KEP-5504: decimal digits, no leading zero, any length; the longer is newer, equal lengths compare as text).
//! It never parses into an integer and never guesses an order for versions of another form: those only compare equal.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A resource version; making one of up to 22 bytes and cloning any allocate nothing. Equality is that of the text.
///
/// Versions are comparable within one kind on one server. Upstream counterpart: `resourceversion.CompareResourceVersion`.
#[derive(Clone)]
pub struct ResourceVersion(Text);

#[derive(Clone)]
enum Text {
    /// What every server of today sends: up to 20 digits.
    Short(u8, [u8; SHORT]),
    Long(Arc<str>),
}

const SHORT: usize = 22;

impl ResourceVersion {
    /// The version with this text.
    pub fn new(text: &str) -> Self {
        let mut short = [0; SHORT];
        match (short.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self(Text::Short(length, short))
            }
            _ => Self(Text::Long(text.into())),
        }
    }

    /// The text as the server gave it.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short(length, bytes) => {
                std::str::from_utf8(&bytes[..usize::from(*length)]).expect("it was made of a text")
            }
            Text::Long(text) => text,
        }
    }

    /// Older, equal or newer than `other`; `None` where Kubernetes defines no order between different texts.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        compare(self.as_str(), other.as_str())
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

impl PartialEq for ResourceVersion {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ResourceVersion {}

impl Hash for ResourceVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceVersion({self})")
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

    /// Goal: the text is kept, whatever its length, and is what counts.
    #[test]
    fn texts_are_kept() {
        for length in 0..60 {
            for text in ["7".repeat(length), "é".repeat(length)] {
                let version = ResourceVersion::new(&text);
                assert_eq!((version.as_str(), &version.clone()), (text.as_str(), &version));
            }
        }
        assert_ne!(ResourceVersion::new("1"), ResourceVersion::new("10"));
    }

    proptest! {
        /// Goal: the order is that of the numbers. Method: against u64 as the naive model.
        #[test]
        fn order_is_numeric(a in 1u64.., b in 1u64..) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), Some(a.cmp(&b)));
        }
    }
}
