//! Shapes: what a cache can hold beside whole typed objects.
//!
//! | shape | a cache of | holds |
//! | --- | --- | --- |
//! | typed | `Pod` | every field, as k8s-openapi has them |
//! | metadata | `PartialObjectMeta<Pod>` | the metadata; ask the server for no more: [`KubeListWatch::metadata_only`] |
//! | dynamic | `DynamicObject` | a tree, of a kind known at run time |
//! | projected | [`Projected<Mine>`] | the fields that your type names, and who the object is |
//! | lazy | [`Lazy<Pod>`] | the JSON without managed fields, and who the object is; decoded when it is read |
//!
//! Projected and lazy ones need a decoder of their own, given to
//! [`SharedInformer::with_decoder`](crate::SharedInformer::with_decoder); metadata has one that is faster where a server
//! sends more than was asked for.
//!
//! Labels can be selected by ([`Lister::select`](crate::Lister::select)) in every shape but a projection whose type doesn't say where it has
//! them ([`Labelled`]).
//!
//! ```
//! use serde::Deserialize;
//! use watchkeeper_informer::Cached;
//! use watchkeeper_informer::decode::{Decoder, identity};
//! use watchkeeper_informer::shape::Projected;
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct Placement { spec: Spec }
//! #[derive(Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct Spec { node_name: Option<String> }
//!
//! # fn main() -> Result<(), watchkeeper_informer::decode::DecodeFault> {
//! let item = br#"{"metadata":{"namespace":"shop","name":"a","resourceVersion":"7"},"spec":{"nodeName":"n1"}}"#;
//! let pod = Decoder::<Projected<Placement>>::projected().object(item, &identity(item)?)?;
//! assert_eq!((pod.name(), pod.spec.node_name.as_deref()), ("a", Some("n1")));
//! # Ok(())
//! # }
//! ```
//!
//! [`KubeListWatch::metadata_only`]: crate::KubeListWatch::metadata_only

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

use kube_client::core::{ObjectMeta, PartialObjectMeta};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::decode::{DecodeFault, Decoder, DecoderConfig, Identity};
use crate::json::{self, ManagedFields};
use crate::object::{Cached, Labelled};
use crate::scan::{member, skip_whitespace};

/// Who an object is, in one allocation.
struct Who {
    text: Box<str>,
    /// Where namespace, name and uid end.
    ends: [usize; 3],
}

impl Who {
    fn new(identity: &Identity<'_>) -> Self {
        let Identity { namespace, name, uid, version, .. } = identity;
        let text = [&**namespace, name, uid, version].concat().into();
        let named = namespace.len() + name.len();
        Self { text, ends: [namespace.len(), named, named + uid.len()] }
    }

    fn namespace(&self) -> &str {
        &self.text[..self.ends[0]]
    }

    fn name(&self) -> &str {
        &self.text[self.ends[0]..self.ends[1]]
    }

    fn uid(&self) -> &str {
        &self.text[self.ends[1]..self.ends[2]]
    }

    fn version(&self) -> &str {
        &self.text[self.ends[2]..]
    }
}

macro_rules! cached_by_who {
    ($shape:ident, $content:expr) => {
        impl<T: Send + Sync + 'static> Cached for $shape<T> {
            fn namespace(&self) -> &str {
                self.who.namespace()
            }

            fn name(&self) -> &str {
                self.who.name()
            }

            fn uid(&self) -> &str {
                self.who.uid()
            }

            fn version(&self) -> &str {
                self.who.version()
            }

            fn held_bytes(&self) -> Option<usize> {
                let content: fn(&Self) -> usize = $content;
                Some(size_of::<Self>() + self.who.text.len() + content(self))
            }
        }
    };
}

// What the fields lead to isn't known.
cached_by_who!(Projected, |_| 0);
cached_by_who!(Lazy, |lazy| lazy.json.len());

/// The fields that `T` names, and who the object is. Reads like a `T`.
pub struct Projected<T> {
    who: Who,
    fields: T,
}

impl<T> Deref for Projected<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.fields
    }
}

impl<T: Labelled> Labelled for Projected<T> {
    fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
        self.fields.labels()
    }
}

impl<T: fmt::Debug> fmt::Debug for Projected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projected").field("name", &self.who.name()).field("fields", &self.fields).finish()
    }
}

impl<T: DeserializeOwned> Decoder<Projected<T>> {
    /// Decodes just the fields that `T` names. What `T` doesn't name is passed over, not decoded.
    pub fn projected() -> Self {
        Self::from_fn(|item, identity| {
            let left_out = ManagedFields::LeftOut(identity.known_managed_fields());
            Ok(Projected { who: Who::new(identity), fields: json::read(item, left_out)? })
        })
    }
}

impl<T> Decoder<PartialObjectMeta<T>> {
    /// Decodes the metadata, and passes over whatever else there is.
    pub fn metadata(config: DecoderConfig) -> Self {
        #[derive(Deserialize)]
        struct Only {
            metadata: ObjectMeta,
        }
        Self::from_fn(move |item, identity| {
            let Only { metadata } = json::read(item, config.of(identity))?;
            Ok(PartialObjectMeta { types: None, metadata, _phantom: PhantomData })
        })
    }
}

/// An object as its JSON, without managed fields, and who it is. About a fifth of a typed Pod's memory, and a tenth of
/// its decoding; each look at a field costs more.
pub struct Lazy<T> {
    who: Who,
    json: Box<[u8]>,
    of: PhantomData<fn() -> T>,
}

impl<T> Lazy<T> {
    /// The JSON as the server sent it, without `metadata.managedFields`. Only its brackets were looked at: whether it is
    /// well formed shows when it is decoded.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// One field, decoded, by the names that lead to it; `None`: it isn't there, or null. The rest is passed over.
    ///
    /// # Errors
    /// The field is not of this type.
    ///
    /// ```
    /// # use watchkeeper_informer::decode::{DecodeFault, Decoder, identity};
    /// # use watchkeeper_informer::shape::Lazy;
    /// # fn main() -> Result<(), DecodeFault> {
    /// # let item = br#"{"metadata":{"name":"a","resourceVersion":"7"},"spec":{"nodeName":"n1"}}"#;
    /// # let pod = Decoder::<Lazy<()>>::lazy().object(item, &identity(item)?)?;
    /// assert_eq!(pod.field::<String>(&["spec", "nodeName"])?, Some("n1".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn field<F: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<F>, DecodeFault> {
        let value = path.iter().try_fold(self.json(), |value, name| member(value, name));
        value.map_or(Ok(None), |value| json::read(value, ManagedFields::Kept))
    }
}

impl<T: DeserializeOwned> Lazy<T> {
    /// The whole object, decoded now.
    ///
    /// # Errors
    /// It can't be decoded; the cache holds it all the same.
    pub fn get(&self) -> Result<T, DecodeFault> {
        self.decode()
    }
}

impl<T> Lazy<T> {
    /// The whole object, as whatever it can be decoded to.
    pub(crate) fn decode<U: DeserializeOwned>(&self) -> Result<U, DecodeFault> {
        json::read(&self.json, ManagedFields::Kept)
    }
}

/// Decoded from the JSON at each call: it passes over what is before `metadata.labels` and makes a map of them, a few allocations. Labels that aren't a
/// map of strings, which no server sends, count as none.
impl<T> Labelled for Lazy<T> {
    fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
        Cow::Owned(self.field(&["metadata", "labels"]).ok().flatten().unwrap_or_default())
    }
}

impl<T> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").field("name", &self.who.name()).field("bytes", &self.json.len()).finish()
    }
}

impl<T> Decoder<Lazy<T>> {
    /// Decodes nothing but who the object is.
    pub fn lazy() -> Self {
        Self::from_fn(|item, identity| {
            let cut = with_comma(item, identity.managed_fields(item));
            let mut json = Vec::with_capacity(item.len() - cut.len());
            json.extend_from_slice(&item[..cut.start]);
            json.extend_from_slice(&item[cut.end..]);
            Ok(Lazy { who: Who::new(identity), json: json.into(), of: PhantomData })
        })
    }
}

/// A member and the comma that goes with it when it is cut out: the one behind it, or the one before it if it is the last.
fn with_comma(item: &[u8], member: Range<usize>) -> Range<usize> {
    if member.is_empty() {
        return member;
    }
    let end = skip_whitespace(item, member.end);
    if item.get(end) == Some(&b',') {
        return member.start..end + 1;
    }
    let before = item[..member.start].iter().rposition(|byte| !byte.is_ascii_whitespace()).unwrap_or_default();
    if item[before] == b',' { before..end } else { member.start..end }
}
