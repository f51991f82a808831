//! View: one cache, read as another type.
//!
//! In: a lister of lazy or dynamic objects. Out: the same objects as a type that can be decoded from them, decoded when they are
//! read. So one cache of a kind serves those who want all of an object now and then, and those who want its identity. Nothing is
//! kept: who reads an object often should cache it typed.
//!
//! Upstream counterpart: none; a typed and a dynamic informer of one kind are two caches.

use std::marker::PhantomData;
use std::sync::Arc;

use kube_client::core::DynamicObject;
use serde::de::DeserializeOwned;

use crate::decode::DecodeFault;
use crate::json::{self, ManagedFields};
use crate::key::ObjectKey;
use crate::lister::Lister;
use crate::object::Cached;
use crate::shape::Lazy;

/// An object that can be read as others.
pub trait Viewed: Cached {
    /// Decodes it, now.
    ///
    /// # Errors
    /// It isn't a `T`.
    fn view<T: DeserializeOwned>(&self) -> Result<T, DecodeFault>;
}

impl<L: Send + Sync + 'static> Viewed for Lazy<L> {
    fn view<T: DeserializeOwned>(&self) -> Result<T, DecodeFault> {
        self.decode()
    }
}

impl Viewed for DynamicObject {
    fn view<T: DeserializeOwned>(&self) -> Result<T, DecodeFault> {
        let json = serde_json::to_vec(self).map_err(|_| DecodeFault::Syntax)?;
        json::read(&json, ManagedFields::Kept)
    }
}

/// A lister that shows `T`s where `K`s are cached; a cheap handle. Made by [`Lister::view`].
pub struct View<K, T> {
    lister: Lister<K>,
    of: PhantomData<fn() -> T>,
}

impl<K, T> Clone for View<K, T> {
    fn clone(&self) -> Self {
        Self { lister: self.lister.clone(), of: PhantomData }
    }
}

impl<K: Viewed, T: DeserializeOwned> View<K, T> {
    pub(crate) fn new(lister: Lister<K>) -> Self {
        Self { lister, of: PhantomData }
    }

    /// The present state of one object; `None`: it isn't cached.
    ///
    /// # Errors
    /// It isn't a `T`.
    pub fn get(&self, key: &ObjectKey) -> Result<Option<T>, DecodeFault> {
        self.lister.get(key).map(|object| object.view()).transpose()
    }

    /// All objects, each a `T` or what is wrong with it.
    pub fn list(&self) -> impl Iterator<Item = (Arc<K>, Result<T, DecodeFault>)> + use<K, T> {
        self.lister.list().into_iter().map(decoded)
    }

    /// The same of one namespace.
    pub fn namespace(&self, namespace: &str) -> impl Iterator<Item = (Arc<K>, Result<T, DecodeFault>)> + use<K, T> {
        self.lister.namespace(namespace).into_iter().map(decoded)
    }
}

fn decoded<K: Viewed, T: DeserializeOwned>(object: Arc<K>) -> (Arc<K>, Result<T, DecodeFault>) {
    let view = object.view();
    (object, view)
}
