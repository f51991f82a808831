//! InformerFactory: one informer a kind, scope and shape, shared by everybody in a process who wants it.
//!
//! In: who wants what. Out: a handle on the one informer there is of it; the first to ask makes it, the last to drop its
//! handle stops it. One that is asked for again later begins anew. [`InformerFactory::run`] owns the tasks: what is asked for before it runs
//! starts with it, what comes later starts at once, and when it has returned nothing of any informer is alive.
//!
//! Kinds that may not exist yet are waited for ([`InformerFactory::informer_while`], [`Definitions`]): nothing is asked of the
//! server before, and the informer ends with its kind.
//!
//! It never makes requests itself. Upstream counterpart: `SharedInformerFactory` of client-go, whose informers can't be stopped
//! one by one (kubernetes/kubernetes#79610).

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::{BoxFuture, join_all, try_join_all};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::informer::{InformerHandle, NotCaughtUp, SharedInformer, rethrow};
use crate::object::Cached;
use crate::scope::Scope;
use crate::sync::SyncStatus;

mod definitions;
mod waiting;

pub use definitions::{Definition, Definitions};
pub use waiting::{FactoryNotSynced, Waiting};

/// The informers of a process; a cheap, cloneable handle.
#[derive(Clone)]
pub struct InformerFactory {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// An informer is to be started.
    arrived: Notify,
}

struct State {
    /// In order of their making.
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// By the same numbers.
    starting: BTreeMap<u64, Start>,
    /// Somebody has run it.
    run: bool,
    closed: bool,
}

/// A factory is run a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a factory of informers runs once, and this one is running or has ended")]
pub struct RunsOnce;

type Start = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// One informer, whatever it holds.
struct Entry {
    scope: Scope,
    shape: TypeId,
    in_namespaces: bool,
    /// As long as somebody holds it.
    in_use: Weak<InUse>,
    stop: CancellationToken,
    /// An `InformerHandle<K>` of that shape.
    handle: Box<dyn Any + Send + Sync>,
    seen: Arc<dyn Seen>,
    kind: Presence,
}

/// What is looked for, and what it is up to.
#[derive(Clone)]
struct Wanted<'a> {
    scope: &'a Scope,
    /// Several namespaces of it, not all of it.
    in_namespaces: bool,
    kind: Presence,
}

/// Whether a kind is there, see [`InformerFactory::informer_while`].
type Presence = Option<watch::Receiver<bool>>;

/// Dropped with the last handle.
struct InUse {
    number: u64,
    stop: CancellationToken,
    shared: Weak<Shared>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(shared) = self.shared.upgrade() {
            let dropped = {
                let mut state = shared.state.lock();
                (state.entries.remove(&self.number), state.starting.remove(&self.number))
            };
            drop(dropped); // What they hold is freed outside the lock, an informer that never ran included.
        }
    }
}

/// What can be asked of an informer whatever its objects are.
trait Seen: Send + Sync {
    fn status(&self) -> SyncStatus;
    /// Returns when it is synced with all its handlers, or has ended.
    fn settled(&self) -> BoxFuture<'_, ()>;
    fn catch_up(&self) -> BoxFuture<'_, Result<(), NotCaughtUp>>;
}

impl<K: Cached> Seen for InformerHandle<K> {
    fn status(&self) -> SyncStatus {
        self.sync_status()
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.settled())
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), NotCaughtUp>> {
        Box::pin(self.catch_up())
    }
}

/// A handle on an informer that is shared; it lives as long as one of these does. Reads like an [`InformerHandle`], which by itself keeps
/// no informer alive.
pub struct SharedHandle<K> {
    handle: InformerHandle<K>,
    in_use: Arc<InUse>,
}

impl<K> Clone for SharedHandle<K> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), in_use: Arc::clone(&self.in_use) }
    }
}

impl<K> Deref for SharedHandle<K> {
    type Target = InformerHandle<K>;

    fn deref(&self) -> &InformerHandle<K> {
        &self.handle
    }
}

impl Default for InformerFactory {
    fn default() -> Self {
        let state = State { entries: BTreeMap::new(), next: 0, starting: BTreeMap::new(), run: false, closed: false };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), arrived: Notify::new() }) }
    }
}

impl InformerFactory {
    /// The informer of this scope that holds `K`s. If there is none, or the one there was has ended, `make` makes it, and its choices
    /// win: whoever asks later gets it as it is. `make` runs under no lock and may ask for other scopes or shapes. If two make one at the same
    /// time, the first wins, and the other's is dropped unused.
    ///
    /// After the factory has ended, what is returned has ended too.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn informer<K: Cached, E>(
        &self,
        scope: &Scope,
        make: impl FnOnce() -> Result<SharedInformer<K>, E>,
    ) -> Result<SharedHandle<K>, E> {
        self.find_or_make(Wanted { scope, in_namespaces: false, kind: None }, make)
    }

    /// The same for an informer over several namespaces of this scope ([`SharedInformer::in_namespaces`]), which is another than the one over all of it;
    /// the scope's own namespace has no say. Which namespaces it watches may have changed since it was made: [`InformerHandle::namespaces`]. Whoever adds or
    /// removes one does so for all who share it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn informer_in_namespaces<K: Cached, E>(
        &self,
        scope: &Scope,
        make: impl FnOnce() -> Result<SharedInformer<K>, E>,
    ) -> Result<SharedHandle<K>, E> {
        let scope = &Scope { namespace: None, ..scope.clone() };
        self.find_or_make(Wanted { scope, in_namespaces: true, kind: None }, make)
    }

    /// The same for a kind that may not be there yet: it runs from when `present` says so until it says otherwise, or
    /// its sender is gone. [`Definitions::presence`] watches a custom resource's definition.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn informer_while<K: Cached, E>(
        &self,
        scope: &Scope,
        present: watch::Receiver<bool>,
        make: impl FnOnce() -> Result<SharedInformer<K>, E>,
    ) -> Result<SharedHandle<K>, E> {
        self.find_or_make(Wanted { scope, in_namespaces: false, kind: Some(present) }, make)
    }

    fn find_or_make<K: Cached, E>(
        &self,
        wanted: Wanted<'_>,
        make: impl FnOnce() -> Result<SharedInformer<K>, E>,
    ) -> Result<SharedHandle<K>, E> {
        if let Some(found) = self.find(&wanted) {
            return Ok(found);
        }
        let informer = make()?;
        let (handle, stop) = (informer.handle(), CancellationToken::new());
        let mut state = self.shared.state.lock();
        // Two may have made one at the same time: the first wins, what the other made is dropped.
        if let Some(found) = state.find(&wanted) {
            drop(state);
            return Ok(found);
        }
        let number = state.next;
        state.next += 1;
        let in_use = Arc::new(InUse { number, stop: stop.clone(), shared: Arc::downgrade(&self.shared) });
        if state.closed {
            drop(state); // The informer ends where it is dropped, outside the lock.
            return Ok(SharedHandle { handle, in_use });
        }
        let Wanted { scope, in_namespaces, kind } = wanted;
        let entry = Entry {
            scope: scope.clone(),
            shape: TypeId::of::<K>(),
            in_namespaces,
            in_use: Arc::downgrade(&in_use),
            stop: stop.clone(),
            handle: Box::new(handle.clone()),
            seen: Arc::new(handle.clone()),
            kind: kind.clone(),
        };
        state.entries.insert(number, entry);
        state.starting.insert(number, Box::new(move || Box::pin(run_while(informer, kind, stop))));
        drop(state);
        self.shared.arrived.notify_one();
        Ok(SharedHandle { handle, in_use })
    }

    fn find<K: Cached>(&self, wanted: &Wanted<'_>) -> Option<SharedHandle<K>> {
        self.shared.state.lock().find(wanted)
    }

    /// Runs all informers until `shutdown`: when it has returned, no handler is being called and no task of any is alive.
    ///
    /// Not cancel-safe: dropped early, its informers are aborted at their next await.
    ///
    /// # Errors
    /// At once, if it is running already, or has ended. What runs isn't touched by that.
    ///
    /// # Panics
    /// If a source of an informer panicked.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), RunsOnce> {
        if std::mem::replace(&mut self.shared.state.lock().run, true) {
            return Err(RunsOnce);
        }
        let _closes = Closes(&self.shared);
        let mut running = JoinSet::new();
        loop {
            let starting = std::mem::take(&mut self.shared.state.lock().starting);
            starting.into_values().for_each(|start| drop(running.spawn(start())));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.shared.arrived.notified() => {}
                Some(ended) = running.join_next() => rethrow(ended),
            }
        }
        self.shared.close();
        while let Some(ended) = running.join_next().await {
            rethrow(ended);
        }
        Ok(())
    }

    /// Waits until every informer there is now has listed and its handlers have finished their first snapshots; those that have
    /// ended while the factory runs don't count. Nothing is listed before [`run`](Self::run). Cancel-safe.
    ///
    /// # Errors
    /// Who isn't, and why, when so much time has passed, or when the factory has ended before.
    pub async fn synced(&self, within: Duration) -> Result<(), FactoryNotSynced> {
        let seen = self.seen();
        let all = join_all(seen.iter().map(|(_, seen, _)| seen.settled()));
        let have_settled = tokio::time::timeout(within, all).await.is_ok();
        // The end of them all is no success; one of several may end, since nobody wants it any more.
        let are_over = self.shared.state.lock().closed;
        if have_settled && !are_over {
            return Ok(());
        }
        let waiting = seen.iter().filter_map(|(scope, seen, kind)| {
            let status = seen.status();
            let is_there = is_there(kind.as_ref());
            let waiting = if is_there { Waiting::ForSync(Box::new(status.clone())) } else { Waiting::ForKind };
            (!status.is_synced() && (!status.ended || are_over)).then(|| (scope.clone(), waiting))
        });
        let waiting: Vec<_> = waiting.collect();
        // All the last ones may just have made it.
        if waiting.is_empty() { Ok(()) } else { Err(FactoryNotSynced { within, waiting }) }
    }

    /// Every informer there is, in the order of their making.
    pub fn statuses(&self) -> Vec<(Scope, SyncStatus)> {
        self.seen().into_iter().map(|(scope, seen, _)| (scope, seen.status())).collect()
    }

    /// Lets every informer there is catch up, see [`InformerHandle::catch_up`]; those whose kind isn't there have nothing to catch up with.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The first that can't.
    pub async fn catch_up(&self) -> Result<(), NotCaughtUp> {
        let seen = self.seen();
        let caught_up = seen.iter().map(|(_, seen, kind)| async {
            // One that has ended has nothing to catch up with either: its kind may have gone and come back.
            if !is_there(kind.as_ref()) || seen.status().ended {
                return Ok(());
            }
            let caught_up = seen.catch_up().await;
            // Nor one whose kind goes meanwhile.
            if kind.is_some() && seen.status().ended { Ok(()) } else { caught_up }
        });
        try_join_all(caught_up).await.map(|_| ())
    }

    fn seen(&self) -> Vec<(Scope, Arc<dyn Seen>, Presence)> {
        let state = self.shared.state.lock();
        state.entries.values().map(|one| (one.scope.clone(), Arc::clone(&one.seen), one.kind.clone())).collect()
    }
}

impl State {
    /// One that is in use and hasn't ended.
    fn find<K: Cached>(&self, wanted: &Wanted<'_>) -> Option<SharedHandle<K>> {
        self.entries.values().find_map(|entry| {
            let is_it = entry.scope == *wanted.scope && entry.in_namespaces == wanted.in_namespaces;
            if !is_it || entry.shape != TypeId::of::<K>() || entry.stop.is_cancelled() {
                return None;
            }
            let handle = entry.handle.downcast_ref::<InformerHandle<K>>().filter(|handle| !handle.has_ended())?;
            Some(SharedHandle { handle: handle.clone(), in_use: entry.in_use.upgrade()? })
        })
    }
}

impl Shared {
    /// Stops all there are, and starts none any more.
    fn close(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.closed = true;
            state.entries.values().for_each(|entry| entry.stop.cancel());
            std::mem::take(&mut state.starting)
        };
        drop(dropped);
    }
}

/// A run that is dropped closes the factory too.
struct Closes<'a>(&'a Shared);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A kind of which nothing is said is there.
fn is_there(kind: Option<&watch::Receiver<bool>>) -> bool {
    kind.is_none_or(|present| *present.borrow())
}

/// Runs an informer while its kind is there.
async fn run_while<K: Cached>(informer: SharedInformer<K>, kind: Presence, stop: CancellationToken) {
    let Some(mut present) = kind else { return informer.run(stop).await };
    let appeared = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        appeared = present.wait_for(|present| *present) => appeared.is_ok(),
    };
    if !appeared {
        return;
    }
    let gone = async {
        // Whoever told of the kind tells no more: nothing is known of it.
        let _ = present.wait_for(|present| !*present).await;
        // From now on nobody gets this one, though its last handler may still be at work.
        stop.cancel();
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = informer.run(stop.clone()) => {}
        () = gone => {}
    }
}
