//! Items to identity, then to objects.
//!
//! In: the bytes of one item or one watch event. Out: first who it is (borrowed from the bytes, nothing decoded), then,
//! if wanted, the object, in the shape that the cache shall hold. It is pure and keeps nothing. What can't be decoded is a
//! value ([`Undecodable`]), not the end of a stream: it names the field that is wrong, and shows no value.

mod event;
mod identity;

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::json::{self, ManagedFields};
use crate::key::ObjectKey;
use crate::object::Cached;
use crate::version::ResourceVersion;

pub use event::{Bookmark, EventType, WatchFrame, bookmark, watch_frame};
pub(crate) use identity::who;
pub use identity::{Identity, identity};

/// How the bytes of an item become an object of one type.
pub struct Decoder<K> {
    build: Arc<Build<K>>,
}

type Build<K> = dyn Fn(&[u8], &Identity<'_>) -> Result<K, DecodeFault> + Send + Sync;

impl<K> Clone for Decoder<K> {
    fn clone(&self) -> Self {
        Self { build: Arc::clone(&self.build) }
    }
}

impl<K> fmt::Debug for Decoder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// What a decoder keeps of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecoderConfig {
    /// Keep `metadata.managedFields`. Default false: they are a third of a typical object's JSON, nearly half of its
    /// memory, and of use to hardly any controller.
    pub managed_fields: bool,
}

impl DecoderConfig {
    /// What becomes of an item's managed fields.
    pub(crate) fn of(self, identity: &Identity<'_>) -> ManagedFields {
        if self.managed_fields { ManagedFields::Kept } else { ManagedFields::LeftOut(identity.known_managed_fields()) }
    }
}

impl<K: DeserializeOwned> Decoder<K> {
    /// Decodes JSON with serde.
    pub fn new(config: DecoderConfig) -> Self {
        Self::from_fn(move |item, identity| json::read(item, config.of(identity)))
    }
}

impl<K> Decoder<K> {
    /// Decodes with a function of the item's bytes and of who it is. It must neither block nor keep the bytes, and what it
    /// makes must say of itself what the identity says. A fault that it returns is logged: it must not quote values.
    pub fn from_fn(build: impl Fn(&[u8], &Identity<'_>) -> Result<K, DecodeFault> + Send + Sync + 'static) -> Self {
        Self { build: Arc::new(build) }
    }

    /// The object. `identity` is that of the same bytes.
    ///
    /// # Errors
    /// What is wrong, and where; no value.
    pub fn object(&self, item: &[u8], identity: &Identity<'_>) -> Result<Arc<K>, DecodeFault> {
        (self.build)(item, identity).map(Arc::new)
    }
}

impl<K: Cached> Decoder<K> {
    /// The same, with a change to each object before the cache holds it: fields that nobody reads can be dropped. An object
    /// that isn't itself any more, by namespace, name, uid or version, counts as undecodable. `transform` must not block; if
    /// it panics, so does [`SharedInformer::run`](crate::SharedInformer::run).
    ///
    /// Upstream counterpart: `TransformFunc`.
    #[must_use]
    pub fn with_transform(self, transform: impl Fn(&mut K) + Send + Sync + 'static) -> Self {
        Self::from_fn(move |item, identity| {
            let mut object = (self.build)(item, identity)?;
            transform(&mut object);
            let is = [object.namespace(), object.name(), object.uid(), object.version()];
            let was = [&identity.namespace, &identity.name, &identity.uid, &identity.version];
            if is.iter().zip(was).all(|(is, was)| **is == **was) { Ok(object) } else { Err(DecodeFault::Transformed) }
        })
    }
}

/// Why an item can't become an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// It doesn't say who it is.
    #[error("it has no readable name or resource version")]
    Identity,
    /// It isn't JSON.
    #[error("it is not JSON")]
    Syntax,
    /// The type would keep more than 128 levels of it. What a type doesn't keep may be 10,000 levels deep.
    #[error("it is nested deeper than 128 levels")]
    TooDeep,
    /// It is JSON, but not of the type that the informer caches: where, and what the type says of it, such as `spec.replicas: a
    /// string, expected i32`; at most 512 characters. It has names of fields and keys of maps, but no values, not even where serde's message
    /// would quote them; only a type whose own word of what it expects has a value in it would show that. What serde buffers before it looks at it
    /// (flattened fields, enums that aren't tagged from outside) ends the path.
    #[error("its fields do not fit the type: {0}")]
    Shape(Box<str>),
    /// The transform has made another object of it.
    #[error("the transform has changed its namespace, name, uid or resource version")]
    Transformed,
}

/// An object that couldn't be decoded: which, at which version, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Its key, if it could be read.
    pub key: Option<ObjectKey>,
    /// Its uid, empty if it couldn't be read.
    pub uid: String,
    /// Its version, if it could be read.
    pub version: Option<ResourceVersion>,
    /// What is wrong.
    pub fault: DecodeFault,
}

impl Undecodable {
    /// An item that is known by name.
    pub fn known(identity: &Identity<'_>, fault: DecodeFault) -> Self {
        Self {
            key: Some(identity.key()),
            uid: identity.uid.to_string(),
            version: (!identity.version.is_empty()).then(|| ResourceVersion::new(&identity.version)),
            fault,
        }
    }

    /// An item that doesn't say who it is.
    pub fn nameless() -> Self {
        Self { key: None, uid: String::new(), version: None, fault: DecodeFault::Identity }
    }
}
