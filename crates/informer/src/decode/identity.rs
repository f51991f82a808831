//! Who an item is, from its bytes.
//!
//! In: the bytes of one item. Out: four texts, borrowed where they stand plainly, and where the managed fields are. One pass
//! over the metadata, which ends where all four are known; what is before it is passed over, what is behind isn't looked at.

use std::borrow::Cow;
use std::ops::Range;

use super::DecodeFault;
use crate::key::ObjectKey;
use crate::scan::{members_from, members_of};

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
    managed_fields: ManagedFields,
}

/// Where `metadata.managedFields` stand in the item, from the key to the value's end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ManagedFields {
    /// There; nowhere: an empty range.
    At(Range<usize>),
    /// Not before this place in the metadata.
    Behind(usize),
}

impl Identity<'_> {
    /// The key of the object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }

    /// Where the managed fields stand, as far as that is known; an empty range: nowhere, or somewhere.
    pub(crate) fn known_managed_fields(&self) -> Range<usize> {
        match &self.managed_fields {
            ManagedFields::At(place) => place.clone(),
            ManagedFields::Behind(_) => 0..0,
        }
    }

    /// Where the managed fields stand in the item whose identity this is; an empty range: nowhere.
    pub(crate) fn managed_fields(&self, item: &[u8]) -> Range<usize> {
        match &self.managed_fields {
            ManagedFields::At(place) => place.clone(),
            ManagedFields::Behind(at) => {
                let found = members_from(item, *at).find(|member| member.key == b"managedFields");
                found.map_or(0..0, |member| member.start..member.value.end)
            }
        }
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
        managed_fields: ManagedFields::At(0..0),
    };
    while let Some(member) = metadata.next() {
        let field = match member.key {
            b"namespace" => &mut found.namespace,
            b"name" => &mut found.name,
            b"uid" => &mut found.uid,
            b"resourceVersion" => &mut found.version,
            b"managedFields" => {
                found.managed_fields = ManagedFields::At(member.start..member.value.end);
                continue;
            }
            _ => continue,
        };
        *field = text(&item[member.value])?;
        let all = [&found.namespace, &found.name, &found.uid, &found.version];
        if found.managed_fields == ManagedFields::At(0..0) && all.iter().all(|text| !text.is_empty()) {
            found.managed_fields = ManagedFields::Behind(metadata.at());
            break;
        }
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
