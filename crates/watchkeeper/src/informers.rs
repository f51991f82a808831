//! Informers: those of a connection, shared by all controllers of a process.
//!
//! In: a connection. Out: for each kind, scope and shape that somebody asks for, a handle on the one informer of it. The manager runs
//! them ([`Manager::informers`](crate::Manager::informers)), or the caller does ([`InformerFactory::run`]).
//!
//! Upstream counterparts: `SharedInformerFactory` of client-go, the cache of controller-runtime's manager. For its `DefaultNamespaces`:
//! [`Informers::informer_in_namespaces`], whose namespaces may change while it runs.

use std::any::Any;
use std::sync::Arc;

use kube_client::Resource;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use watchkeeper_informer::decode::Decoder;
use watchkeeper_informer::factory::{Definition, Definitions};
use watchkeeper_informer::shape::Projected;
use watchkeeper_informer::{
    Cached, Event, InformerConfig, InformerFactory, InformerHandle, NamespacesError, Scope, SharedHandle,
    SharedInformer,
};

use crate::{Connection, ConnectionError};

/// The informers of a connection; a cheap, cloneable handle.
#[derive(Clone)]
pub struct Informers {
    connection: Connection,
    factory: InformerFactory,
    /// Which kinds there are, once somebody has asked for one that may not be; kept for as long as the informers are.
    kinds: Arc<Mutex<Option<Kinds>>>,
}

struct Kinds {
    _running: SharedHandle<Projected<Definition>>,
    definitions: Definitions,
}

impl Informers {
    /// None yet.
    pub fn new(connection: Connection) -> Self {
        Self { connection, factory: InformerFactory::default(), kinds: Arc::default() }
    }

    /// The informer of all objects of a kind, in all namespaces.
    ///
    /// # Errors
    /// Credentials or certificates that can't be used.
    pub fn informer<K>(&self) -> Result<SharedHandle<K>, ConnectionError>
    where
        K: Cached + DeserializeOwned + Resource<DynamicType = ()>,
    {
        self.informer_in(&Scope::all::<K>())
    }

    /// The informer of whole objects in this scope.
    ///
    /// # Errors
    /// As [`informer`](Self::informer).
    pub fn informer_in<K: Cached + DeserializeOwned>(&self, scope: &Scope) -> Result<SharedHandle<K>, ConnectionError> {
        self.factory.informer(scope, || self.connection.informer_in(scope.clone()))
    }

    /// The informer of what `decoder` makes of the objects in this scope. Who asks first for this scope and shape decides about
    /// `decoder` and `config`. Begin with [`Connection::informer_config`].
    ///
    /// # Errors
    /// As [`informer`](Self::informer).
    pub fn informer_with<K: Cached>(
        &self,
        scope: &Scope,
        decoder: Decoder<K>,
        config: InformerConfig,
    ) -> Result<SharedHandle<K>, ConnectionError> {
        self.factory.informer(scope, || self.connection.informer_with(scope.clone(), decoder, config))
    }

    /// The informer of whole objects of this scope in several namespaces, for those who may not read the kind in the whole cluster;
    /// `scope.namespace` has no say. There is one of a scope: it watches what anybody has asked for, so these are added to those that
    /// it has already, and stay until somebody removes them for all
    /// ([`InformerHandle::remove_namespace`](watchkeeper_informer::InformerHandle::remove_namespace)).
    ///
    /// # Errors
    /// As [`informer`](Self::informer); an empty namespace; if it is the first, no namespace, or one that is given twice.
    pub fn informer_in_namespaces<K: Cached + DeserializeOwned>(
        &self,
        scope: &Scope,
        namespaces: &[&str],
    ) -> Result<SharedHandle<K>, ConnectionError> {
        let make = || self.connection.informer_in_namespaces(scope, namespaces.iter().copied());
        let informer = self.factory.informer_in_namespaces(scope, make)?;
        for namespace in namespaces {
            match informer.add_namespace(namespace) {
                // After the factory has ended, what it returns has ended too.
                Ok(()) | Err(NamespacesError::Twice(_) | NamespacesError::Ended) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(informer)
    }

    /// The informer of a custom resource whose definition may not be there yet: it asks for nothing before, and ends with it; ask again to
    /// wait for the next. Needs the permission to list and watch `customresourcedefinitions`.
    ///
    /// # Errors
    /// As [`informer`](Self::informer).
    pub fn informer_when_defined<K: Cached + DeserializeOwned>(
        &self,
        scope: &Scope,
    ) -> Result<SharedHandle<K>, ConnectionError> {
        let present = self.definitions()?.presence(&scope.kind);
        self.factory.informer_while(scope, present, || self.connection.informer_in(scope.clone()))
    }

    fn definitions(&self) -> Result<Definitions, ConnectionError> {
        let mut kinds = self.kinds.lock();
        if let Some(kinds) = &*kinds {
            return Ok(kinds.definitions.clone());
        }
        let scope = Definition::scope();
        let running = self.informer_with(&scope, Decoder::projected(), self.connection.informer_config(&scope))?;
        let definitions = Definitions::new((*running).clone());
        *kinds = Some(Kinds { _running: running, definitions: definitions.clone() });
        Ok(definitions)
    }

    /// What runs them, and knows who is synced and who isn't.
    pub fn factory(&self) -> &InformerFactory {
        &self.factory
    }
}

/// An informer that a controller can hear of: one that is being set up, or one that is shared.
pub trait Informs<K>: Sized {
    /// Has `source` told of every event, inline: by a shared informer as long as what is returned is kept, by one that is being set up as long
    /// as it runs.
    fn tell(self, source: impl Fn(&Event<K>) + Send + Sync + 'static) -> Heard<K>;
}

/// What a controller keeps of an informer that it hears of.
pub struct Heard<K> {
    pub(crate) handle: InformerHandle<K>,
    pub(crate) kept: Box<dyn Any + Send + Sync>,
}

impl<K: Cached> Informs<K> for &mut SharedInformer<K> {
    fn tell(self, source: impl Fn(&Event<K>) + Send + Sync + 'static) -> Heard<K> {
        self.add_source(source);
        Heard { handle: self.handle(), kept: Box::new(()) }
    }
}

impl<K: Cached> Informs<K> for SharedHandle<K> {
    fn tell(self, source: impl Fn(&Event<K>) + Send + Sync + 'static) -> Heard<K> {
        let source = self.add_source(source);
        Heard { handle: (*self).clone(), kept: Box::new((source, self)) }
    }
}
