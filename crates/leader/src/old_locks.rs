//! The way from an old lock (an annotation on Endpoints or a ConfigMap) to a Lease: both are held, while candidates of both kinds run.
//!
//! In: what an elector asks of its Lease. Out: the same, done to the Lease only after it was done to the old lock. Never: a claim while
//! somebody else holds the old lock, a renewal of the Lease alone, or a write that isn't a compare-and-swap.
//!
//! * A look reads both, at once.
//! * A claim or renewal writes the old lock first, then the Lease. Each has half of the request timeout, and counts for the gate only if
//!   both were written. Upstream's `MultiLock` had the same order.
//! * A renewal that finds the old lock in another's hands shows the elector a Lease of that holder, which ends its term at once. An edit
//!   of the object, or its deletion, costs a read: it is written again, by compare-and-swap.
//! * A release gives both back. If the old lock can't be, it runs out. Events are on the Lease only.
//!
//! The old lock is a real lock between all who mind it; who minds only the Lease (an elector without [`OldLock`]) is held up by the Lease.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use kube_client::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::clock::GateClock;
use crate::config::ElectorConfig;
use crate::kube_lock::KubeLeaseLock;
use crate::lock::{LeaseLock, LockError};
use crate::objects::{About, CONFIG_MAPS, ENDPOINTS, Objects};
use crate::old_record::OldWatch;
use crate::record::{Lease, map, map_of};
use crate::sight::Sight;

/// How often a renewal or a release writes the old lock: once, and once on top of an edit.
const TRIES: u32 = 2;

/// The kinds of objects that carry old locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldLockKind {
    /// client-go's `endpoints` (and the first half of `endpointsleases`).
    Endpoints,
    /// client-go's `configmaps` (and the first half of `configmapsleases`).
    ConfigMap,
}

/// A lock from before there were Leases, to be minded beside one: see [`ElectorConfig::old_lock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldLock {
    /// What carries it.
    pub kind: OldLockKind,
    /// The object's namespace; None: the Lease's.
    pub namespace: Option<String>,
    /// The object's name; None: the Lease's.
    pub name: Option<String>,
}

impl OldLock {
    /// The old lock with the Lease's namespace and name.
    pub const fn new(kind: OldLockKind) -> Self {
        Self { kind, namespace: None, name: None }
    }

    /// Where it is, for this Lease: namespace and name.
    pub(crate) fn place<'a>(&'a self, config: &'a ElectorConfig) -> (&'a str, &'a str) {
        (
            self.namespace.as_deref().unwrap_or(&config.lease_namespace),
            self.name.as_deref().unwrap_or(&config.lease_name),
        )
    }
}

/// A Lease and an old lock.
pub(crate) struct MigratingLock {
    lease: KubeLeaseLock,
    old: Objects,
    kind: OldLockKind,
    namespace: String,
    name: String,
    identity: String,
    clock: Arc<dyn GateClock>,
    sight: Sight,
    watch: Mutex<OldWatch>,
    /// `acquireTime` of the term that was won last: what is sent with it is a renewal, not a claim.
    term: Mutex<Option<String>>,
}

/// What came of the wish to hold the old lock.
enum Old {
    Held,
    /// By this one, while a term of ours lasted.
    Taken(String),
}

impl MigratingLock {
    pub(crate) fn new(
        client: Client,
        config: &ElectorConfig,
        old: &OldLock,
        clock: Arc<dyn GateClock>,
        sight: Sight,
    ) -> Self {
        let (namespace, name) = old.place(config);
        let kind = match old.kind {
            OldLockKind::Endpoints => &ENDPOINTS,
            OldLockKind::ConfigMap => &CONFIG_MAPS,
        };
        Self {
            lease: KubeLeaseLock::new(client.clone(), config.lease_namespace.clone(), config.lease_name.clone()),
            old: Objects::new(kind, client, namespace.to_owned()),
            kind: old.kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: config.identity.as_str().to_owned(),
            clock,
            sight,
            watch: Mutex::new(OldWatch::new(config.identity.as_str(), config.timings.lease_duration)),
            term: Mutex::default(),
        }
    }

    fn place(&self) -> String {
        let kind = match self.kind {
            OldLockKind::Endpoints => ENDPOINTS.plural,
            OldLockKind::ConfigMap => CONFIG_MAPS.plural,
        };
        format!("{kind} {}/{}", self.namespace, self.name)
    }

    /// Reads the old lock.
    async fn look(&self, timeout: Duration) -> Result<(), LockError> {
        let shown = match self.old.ask(Method::GET, About::One(&self.name), None, timeout).await {
            Ok(object) => Some(object),
            Err(LockError::Missing) => None,
            Err(error) => return Err(self.of_old(error)),
        };
        self.saw(shown);
        Ok(())
    }

    fn saw(&self, shown: Option<Value>) {
        let now = self.clock.now();
        let in_the_way = {
            let mut watch = self.watch.lock();
            watch.saw(shown, now);
            watch.free_at().filter(|free| now < *free).map(|_| watch.holder()).filter(|holder| !holder.is_empty())
        };
        if self.sight.old_lock(in_the_way.as_deref()) {
            let (lock, lease) = (self.place(), self.sight.lease());
            match in_the_way {
                Some(holder) => tracing::warn!(
                    lease,
                    lock,
                    holder,
                    "the old lock is held: nothing is claimed before its holder is silent"
                ),
                None => tracing::info!(lease, lock, "nobody else holds the old lock"),
            }
        }
    }

    /// Writes the old lock as the Lease is about to be written.
    async fn hold(&self, lease: &Value, renewing: bool, timeout: Duration) -> Result<Old, LockError> {
        for attempt in 1..=TRIES {
            let object = {
                let (mut watch, now) = (self.watch.lock(), self.clock.now());
                let holder = watch.holder();
                // An edit that leaves nobody there is written over, by compare-and-swap.
                if renewing && !watch.is_own() && !holder.is_empty() {
                    return Ok(Old::Taken(holder));
                }
                if !renewing && watch.free_at().is_none_or(|free| now < free) {
                    return Err(LockError::OldLock { lock: self.place(), holder });
                }
                (watch.follows(lease), watch.is_there())
            };
            match self.write(object, timeout).await {
                Ok(()) if self.watch.lock().is_own() => return Ok(Old::Held),
                // Something has rewritten it on its way.
                Ok(()) => {}
                Err(LockError::Conflict | LockError::Missing) if renewing && attempt < TRIES => {
                    self.look(timeout).await?
                }
                Err(LockError::Conflict | LockError::Missing) => return Err(LockError::Conflict),
                Err(error) => return Err(self.of_old(error)),
            }
        }
        Err(LockError::Conflict)
    }

    /// Gives the old lock back, as the Lease is about to be.
    async fn give_back(&self, lease: &Value, timeout: Duration) -> Result<(), LockError> {
        for attempt in 1..=TRIES {
            let object = {
                let mut watch = self.watch.lock();
                if !watch.is_own() {
                    return Ok(());
                }
                (watch.given_back(lease), true)
            };
            match self.write(object, timeout).await {
                Err(LockError::Conflict) if attempt < TRIES => self.look(timeout).await?,
                Err(LockError::Missing) => return Ok(()),
                answer => return answer.map_err(|error| self.of_old(error)),
            }
        }
        Ok(())
    }

    /// One write of the old object, which is there or not.
    async fn write(&self, (mut object, is_there): (Value, bool), timeout: Duration) -> Result<(), LockError> {
        let (method, about) = if is_there { (Method::PUT, About::One(&self.name)) } else { (Method::POST, About::New) };
        if !is_there {
            let root = map_of(&mut object);
            root.insert("apiVersion".to_owned(), json!("v1"));
            let kind = match self.kind {
                OldLockKind::Endpoints => "Endpoints",
                OldLockKind::ConfigMap => "ConfigMap",
            };
            root.insert("kind".to_owned(), json!(kind));
            let metadata = map(root, "metadata");
            metadata.insert("namespace".to_owned(), json!(self.namespace));
            metadata.insert("name".to_owned(), json!(self.name));
        }
        let answer = self.old.ask(method, about, Some(object), timeout).await?;
        self.saw(Some(answer));
        Ok(())
    }

    /// A claim or a renewal: the old lock, then the Lease.
    async fn both(&self, object: Value, creating: bool, timeout: Duration) -> Result<Lease, LockError> {
        let half = timeout / 2;
        let acquired = object["spec"]["acquireTime"].as_str().map(str::to_owned);
        let renewing = !creating && acquired.is_some() && *self.term.lock() == acquired;
        let old = tokio::time::timeout(half, self.hold(&object, renewing, half)).await;
        match old.unwrap_or_else(|_| Err(self.of_old(LockError::unknown(format!("no answer within {half:?}")))))? {
            Old::Held => {}
            Old::Taken(holder) => {
                *self.term.lock() = None;
                tracing::warn!(lease = self.sight.lease(), lock = self.place(), holder, "the old lock was taken");
                let mut taken = object;
                map(map_of(&mut taken), "spec").insert("holderIdentity".to_owned(), json!(holder));
                return Lease::parse(taken).map_err(|error| LockError::unknown(error.to_string()));
            }
        }
        let answer =
            if creating { self.lease.create(object, half).await } else { self.lease.update(object, half).await };
        if answer.as_ref().is_ok_and(|lease| lease.holder() == self.identity) {
            *self.term.lock() = acquired;
        }
        answer
    }

    /// An error about the old lock, which says so.
    fn of_old(&self, error: LockError) -> LockError {
        let said = |message: String| format!("(its old lock, {}) {message}", self.place());
        match error {
            LockError::Refused { code, message, retry_after } => {
                LockError::Refused { code, message: said(message), retry_after }
            }
            LockError::Unknown { message, retry_after } => LockError::Unknown { message: said(message), retry_after },
            LockError::Missing | LockError::Conflict | LockError::OldLock { .. } => error,
        }
    }
}

/// Who the object says holds the Lease.
fn holder(object: &Value) -> &str {
    object["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

#[async_trait]
impl LeaseLock for MigratingLock {
    async fn read(&self, timeout: Duration) -> Result<Lease, LockError> {
        let (lease, old) = futures::join!(self.lease.read(timeout), self.look(timeout));
        old?;
        lease
    }

    async fn create(&self, object: Value, timeout: Duration) -> Result<Lease, LockError> {
        if holder(&object) == self.identity {
            return self.both(object, true, timeout).await;
        }
        self.lease.create(object, timeout).await
    }

    async fn update(&self, object: Value, timeout: Duration) -> Result<Lease, LockError> {
        match holder(&object) {
            own if own == self.identity => self.both(object, false, timeout).await,
            "" => {
                let half = timeout / 2;
                if !matches!(tokio::time::timeout(half, self.give_back(&object, half)).await, Ok(Ok(()))) {
                    tracing::warn!(
                        lease = self.sight.lease(),
                        lock = self.place(),
                        "the old lock could not be given back; it runs out"
                    );
                }
                self.lease.update(object, half).await
            }
            // A wish to hand over, which changes no holder.
            _ => self.lease.update(object, timeout).await,
        }
    }
}

#[cfg(test)]
#[path = "old_locks_tests.rs"]
mod tests;
