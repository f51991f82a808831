//! Tests of the shell: hand-over, shutdown, release, and what happens when it breaks.
#![allow(clippy::disallowed_methods)]

use super::*;
use crate::clock::VirtualClock;
use crate::identity::Identity;
use crate::timings::Timings;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// A server with one Lease that answers at once, and keeps a list of what it was asked.
#[derive(Default)]
pub(super) struct Scripted {
    pub(super) object: Mutex<Option<Value>>,
    version: Mutex<u64>,
    pub(super) log: Mutex<Vec<&'static str>>,
    /// Updates answered with this error; never if empty.
    pub(super) refuse_updates: Mutex<Option<LockError>>,
    panic_on_update: Mutex<bool>,
    hang: Mutex<bool>,
}

impl Scripted {
    /// A third party's edit.
    pub(super) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut object = self.object.lock().clone().expect("a Lease");
        change(&mut object);
        self.store(object);
    }

    pub(super) fn store(&self, mut object: Value) -> Lease {
        let mut version = self.version.lock();
        *version += 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["metadata"]["uid"] = json!("u");
        *self.object.lock() = Some(object.clone());
        Lease::parse(object).unwrap()
    }

    pub(super) fn holder(&self) -> String {
        let object = self.object.lock();
        object
            .as_ref()
            .map_or(String::new(), |object| object["spec"]["holderIdentity"].as_str().unwrap_or("").to_owned())
    }

    async fn enter(&self, what: &'static str) {
        self.log.lock().push(what);
        let hang = *self.hang.lock();
        if hang {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl LeaseLock for Scripted {
    async fn read(&self, _: Duration) -> Result<Lease, LockError> {
        self.enter("read").await;
        self.object.lock().clone().map(|object| Lease::parse(object).unwrap()).ok_or(LockError::Missing)
    }

    async fn create(&self, object: Value, _: Duration) -> Result<Lease, LockError> {
        self.enter("create").await;
        Ok(self.store(object))
    }

    async fn update(&self, object: Value, _: Duration) -> Result<Lease, LockError> {
        self.enter("update").await;
        assert!(!*self.panic_on_update.lock(), "a planted panic");
        if let Some(error) = self.refuse_updates.lock().clone() {
            return Err(error);
        }
        let stored = self.object.lock().as_ref().map(|stored| stored["metadata"]["resourceVersion"].clone());
        if stored.is_some_and(|version| version != object["metadata"]["resourceVersion"]) {
            return Err(LockError::Conflict);
        }
        Ok(self.store(object))
    }
}

struct Stage {
    server: Arc<Scripted>,
    candidacy: Option<Candidacy>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn config() -> ElectorConfig {
    ElectorConfig {
        first_install: true,
        seed: 1,
        ..ElectorConfig::new("ns", "n", Identity::from_parts("me", 1, 1).unwrap())
    }
}

fn stage() -> Stage {
    let server = Arc::new(Scripted::default());
    let (elector, candidacy) = Elector::new(server.clone(), config(), Arc::new(VirtualClock::new())).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(elector.run(shutdown.clone()));
    Stage { server, candidacy: Some(candidacy), shutdown, task }
}

impl Stage {
    async fn term(&mut self) -> Standing {
        self.candidacy.as_mut().unwrap().next_term().await.unwrap()
    }
}

/// Goal: a config that can't work is refused with a text that helps. Method: bad names and timings.
#[test]
fn bad_configs_are_refused() {
    for (name, namespace) in
        [("", "ns"), ("A", "ns"), ("n/../x", "ns"), ("n?", "ns"), ("n", ""), ("n", "a b"), ("-n", "ns")]
    {
        let config = ElectorConfig { lease_name: name.to_owned(), lease_namespace: namespace.to_owned(), ..config() };
        assert!(config.check().unwrap_err().to_string().contains("isn't a Kubernetes name"), "{name:?} {namespace:?}");
    }
    let timings = Timings { renew_deadline: 14 * SECOND, ..Timings::default() };
    let text = ElectorConfig { timings, ..config() }.check().unwrap_err().to_string();
    assert!(text.contains("10.859s"), "{text}");
}

/// Goal: SIGTERM path: renewals go on until the standing is ended, then the Lease is released, then run returns.
/// Method: shut down, drain for a minute, end.
#[tokio::test(start_paused = true)]
async fn renews_until_the_end_and_then_releases() {
    let mut stage = stage();
    let standing = stage.term().await;
    standing.open().unwrap();
    stage.shutdown.cancel();
    tokio::time::sleep(60 * SECOND).await;
    assert!(standing.term().is_open());
    assert!(!stage.task.is_finished());
    standing.term().close(CloseReason::Stopping);
    tokio::time::sleep(5 * SECOND).await;
    // Still held: the work may be under way.
    assert_ne!(stage.server.holder(), "");
    standing.end(End::Release).await;
    assert_eq!(stage.server.holder(), "");
    stage.task.await.unwrap();
    assert!(stage.candidacy.as_mut().unwrap().next_term().await.is_none());
}

/// Goal: without End::Release nothing is released, also if the standing is dropped. Method: both.
#[tokio::test(start_paused = true)]
async fn keeps_what_is_not_released() {
    for drop_it in [true, false] {
        let mut stage = stage();
        let standing = stage.term().await;
        standing.open().unwrap();
        let term = standing.term().clone();
        if drop_it {
            drop(standing);
        } else {
            standing.end(End::Keep).await;
        }
        assert_eq!(term.closed(), Some(CloseReason::Ended));
        stage.shutdown.cancel();
        stage.task.await.unwrap();
        assert_ne!(stage.server.holder(), "");
    }
}

/// Goal: a release that meets conflicts or no answers tries three times and returns; without a Lease there is nothing to give back.
/// Method: refuse.
#[tokio::test(start_paused = true)]
async fn a_release_is_bounded() {
    for (error, tries) in [(LockError::Conflict, 3), (LockError::Missing, 1), (LockError::unknown("?"), 3)] {
        let mut stage = stage();
        let standing = stage.term().await;
        *stage.server.refuse_updates.lock() = Some(error.clone());
        stage.server.log.lock().clear();
        standing.end(End::Release).await;
        let updates = stage.server.log.lock().iter().filter(|what| **what == "update").count();
        assert_eq!(updates, tries, "{error:?}");
    }
}

/// Goal: a shutdown finds its way out of every state of a candidate. Method: shut down while waiting, and while a request
/// hangs.
#[tokio::test(start_paused = true)]
async fn shutdown_while_contending() {
    for hang in [false, true] {
        let server = Arc::new(Scripted::default());
        server.store(json!({"spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}}));
        *server.hang.lock() = hang;
        let (elector, mut candidacy) = Elector::new(server, config(), Arc::new(VirtualClock::new())).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(elector.run(shutdown.clone()));
        tokio::time::sleep(5 * SECOND).await;
        shutdown.cancel();
        assert!(candidacy.next_term().await.is_none());
        task.await.unwrap();
    }
}

/// Goal: nobody to lead means no contending, and a Lease won for nobody is given back. Method: drop the candidacy.
#[tokio::test(start_paused = true)]
async fn a_dropped_candidacy_ends_it() {
    let mut stage = stage();
    stage.candidacy = None;
    stage.task.await.unwrap();
    assert_eq!(stage.server.holder(), "");
}

/// Goal: a standing that is never ended doesn't hold up a shutdown for ever. Method: wait for the bound.
#[tokio::test(start_paused = true)]
async fn the_farewell_is_bounded() {
    let mut stage = stage();
    let standing = stage.term().await;
    standing.open().unwrap();
    stage.shutdown.cancel();
    stage.task.await.unwrap();
    assert_eq!(standing.term().closed(), Some(CloseReason::ElectorGone));
    // Not released: the work may still run.
    assert_ne!(stage.server.holder(), "");
    // And ending it afterwards doesn't wait.
    standing.end(End::Release).await;
}

/// Goal: a loss waits for the work to stop before anything else is tried. Method: lose it, count requests, then end.
#[tokio::test(start_paused = true)]
async fn after_a_loss_it_waits_for_the_work() {
    let mut stage = stage();
    let standing = stage.term().await;
    standing.open().unwrap();
    *stage.server.refuse_updates.lock() = Some(LockError::Missing);
    standing.term().cancelled().cancelled().await;
    assert_eq!(standing.term().closed(), Some(CloseReason::Lost(crate::gate::Loss::Deleted)));
    *stage.server.refuse_updates.lock() = None;
    stage.server.log.lock().clear();
    tokio::time::sleep(100 * SECOND).await;
    assert!(stage.server.log.lock().is_empty());
    standing.end(End::Release).await;
    // It stands again, after a rest.
    let ended = tokio::time::Instant::now();
    let next = stage.term().await;
    assert!(ended.elapsed() >= 4 * SECOND);
    assert!(next.open().is_ok());
}

/// Goal: a hung server closes the gate by time, although the request under way never returns. Method: hang.
#[tokio::test(start_paused = true)]
async fn a_hung_request_does_not_hold_the_gate_open() {
    let mut stage = stage();
    let standing = stage.term().await;
    standing.open().unwrap();
    *stage.server.hang.lock() = true;
    let hung = tokio::time::Instant::now();
    standing.term().cancelled().cancelled().await;
    assert!(hung.elapsed() <= 10 * SECOND + crate::clock::TICK);
    assert_eq!(standing.term().closed(), Some(CloseReason::TimeRanOut));
}

/// Goal: an elector that is dropped or panics closes its gate. Method: abort the task, and a lock that panics.
#[tokio::test(start_paused = true)]
async fn a_broken_elector_closes_the_gate() {
    for panic in [false, true] {
        let mut stage = stage();
        let standing = stage.term().await;
        standing.open().unwrap();
        if panic {
            *stage.server.panic_on_update.lock() = true;
        } else {
            stage.task.abort();
        }
        standing.term().cancelled().cancelled().await;
        assert_eq!(standing.term().closed(), Some(CloseReason::ElectorGone));
        assert!(stage.task.await.is_err());
        standing.end(End::Release).await;
        assert!(stage.candidacy.as_mut().unwrap().next_term().await.is_none());
    }
}
