//! Who an item is, from its bytes.
//!
//! In: the bytes of one item. Out: four texts, borrowed where they stand plainly, and where the managed fields are. One pass
//! over the metadata; what is before it is passed over, what is behind it isn't looked at.

use std::borrow::Cow;
use std::ops::Range;

use super::DecodeFault;
use crate::key::ObjectKey;
use crate::scan::members_of;

/// Who an item is. Missing fields are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    /// `metadata.namespace`.
    pub namespace: Cow<'a, str>,
    /// `metadata.name`.
    pub name: Cow<'a, str>,
    /// `metadata.uid`.
    pub uid: Cow<'a, str>,
    /// `metadata.resourceVersion`.
    pub version: Cow<'a, str>,
    /// Where `metadata.managedFields` stand in the item, from the key to the value's end; nowhere: an empty range.
    pub(crate) managed_fields: Range<usize>,
}

impl Identity<'_> {
    /// The key of the object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }
}

/// Who an item is, without decoding it and, as a rule, without reading beyond its metadata.
///
/// # Errors
/// No metadata, a field of it that isn't a string, or no name or no version: such an item can't be cached.
pub fn identity(item: &[u8]) -> Result<Identity<'_>, DecodeFault> {
    who(item).and_then(|found| if found.version.is_empty() { Err(DecodeFault::Identity) } else { Ok(found) })
}

/// Who an item is, even if it doesn't say at which version.
///
/// # Errors
/// No metadata, a field of it that isn't a string, or no name.
pub(crate) fn who(item: &[u8]) -> Result<Identity<'_>, DecodeFault> {
    let mut metadata = members_of(item, "metadata").ok_or(DecodeFault::Identity)?;
    let mut found = Identity {
        namespace: Cow::Borrowed(""),
        name: Cow::Borrowed(""),
        uid: Cow::Borrowed(""),
        version: Cow::Borrowed(""),
        managed_fields: 0..0,
    };
    for member in &mut metadata {
        let field = match member.key {
            b"namespace" => &mut found.namespace,
            b"name" => &mut found.name,
            b"uid" => &mut found.uid,
            b"resourceVersion" => &mut found.version,
            b"managedFields" => {
                found.managed_fields = member.start..member.value.end;
                continue;
            }
            _ => continue,
        };
        *field = text(&item[member.value])?;
    }
    if found.name.is_empty() { Err(DecodeFault::Identity) } else { Ok(found) }
}

/// A JSON string, borrowed unless it holds escapes; null counts as missing.
fn text(value: &[u8]) -> Result<Cow<'_, str>, DecodeFault> {
    match value {
        b"null" => Ok(Cow::Borrowed("")),
        [b'"', inner @ .., b'"'] if memchr::memchr(b'\\', inner).is_none() => {
            std::str::from_utf8(inner).map(Cow::Borrowed).map_err(|_| DecodeFault::Identity)
        }
        _ => serde_json::from_slice(value).map(Cow::Owned).map_err(|_| DecodeFault::Identity),
    }
}
