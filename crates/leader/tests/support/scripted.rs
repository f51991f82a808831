//! An honest server of one Lease in memory, whose answers a script can spoil and whose Lease a third party can change.
//!
//! Comes in: requests of candidates. Goes out: what an API server would say, at once or never, and a list of what was asked.
//! Writes are compare-and-swap, a write that changes nothing makes no new version, and no version or uid comes twice.
#![allow(dead_code, reason = "each of the tests uses a part")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use watchkeeper_leader::{Lease, LeaseLock, LockError};

/// Each request takes so long to the server: what asks again and again uses time up, and is seen.
const LATENCY: Duration = Duration::from_millis(1);

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) enum Spoil {
    /// It is not carried out.
    Before(LockError),
    /// It is carried out, and answered so.
    After(LockError),
    /// It is carried out, and answered so much later.
    Late(Duration),
    /// It is carried out, and the answer's metadata says this.
    Twisted(&'static str, Value),
    /// It is carried out or not, and never answered.
    Hang { commits: bool },
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) who: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) at: Instant,
    /// What was sent, and what was there.
    pub(crate) sent: Option<Value>,
    pub(crate) found: Option<Value>,
    pub(crate) committed: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) object: Option<Value>,
    pub(crate) calls: Vec<Call>,
    /// For the next requests, in their order; None: all is well.
    pub(crate) script: VecDeque<Option<Spoil>>,
    /// For the next request of this candidate, before the script.
    pub(crate) next: Option<(&'static str, Spoil)>,
    /// No request of this candidate arrives.
    pub(crate) cut: Option<&'static str>,
    version: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Server(pub(crate) Arc<Mutex<State>>);

impl Server {
    pub(crate) fn lock(&self, who: &'static str) -> Arc<Scripted> {
        Arc::new(Scripted { server: self.clone(), who })
    }

    /// A third party puts this in the Lease's place; None deletes it. Uid and version are the server's.
    pub(crate) fn put(&self, object: Option<Value>) {
        let mut state = self.0.lock();
        match object {
            None => state.object = None,
            Some(object) => _ = state.store(object),
        }
    }

    pub(crate) fn object(&self) -> Option<Value> {
        self.0.lock().object.clone()
    }
}

impl State {
    fn store(&mut self, mut object: Value) -> Value {
        let same_life = self.object.as_ref().map(|present| present["metadata"]["uid"].clone());
        if let Some(present) = self.object.as_ref().filter(|present| **present == object) {
            return present.clone();
        }
        self.version += 1;
        if !object.is_object() {
            object = json!({});
        }
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        object["metadata"]["uid"] = same_life.unwrap_or_else(|| json!(format!("uid-{}", self.version)));
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.object = Some(object.clone());
        object
    }

    fn apply(&mut self, verb: &str, sent: Option<&Value>) -> Result<Value, LockError> {
        match (verb, sent, &self.object) {
            ("create", Some(_), Some(_)) => Err(LockError::Conflict),
            ("create", Some(object), None) => Ok(self.store(object.clone())),
            (_, _, None) => Err(LockError::Missing),
            (_, None, Some(present)) => Ok(present.clone()),
            (_, Some(object), Some(present)) => {
                let same = |field: &str| object["metadata"][field] == present["metadata"][field];
                if same("uid") && same("resourceVersion") {
                    Ok(self.store(object.clone()))
                } else {
                    Err(LockError::Conflict)
                }
            }
        }
    }
}

/// One candidate's way to the server.
pub(crate) struct Scripted {
    server: Server,
    who: &'static str,
}

impl Scripted {
    async fn ask(&self, verb: &'static str, sent: Option<Value>) -> Result<Lease, LockError> {
        sleep(LATENCY).await;
        let (answer, spoil) = {
            let mut state = self.server.0.lock();
            let spoil = match state.next.take_if(|(who, _)| *who == self.who) {
                Some((_, spoil)) => Some(spoil),
                None if state.cut == Some(self.who) => Some(Spoil::Hang { commits: false }),
                None => state.script.pop_front().flatten(),
            };
            let found = state.object.clone();
            let kept = matches!(spoil, Some(Spoil::Before(_) | Spoil::Hang { commits: false }));
            let answer =
                if kept { Err(LockError::unknown("not carried out")) } else { state.apply(verb, sent.as_ref()) };
            let committed = sent.is_some() && answer.is_ok();
            state.calls.push(Call { who: self.who, verb, at: Instant::now(), sent, found, committed });
            (answer, spoil)
        };
        let answer = match spoil {
            None => answer,
            Some(Spoil::Before(error) | Spoil::After(error)) => Err(error),
            Some(Spoil::Late(by)) => {
                sleep(by).await;
                answer
            }
            Some(Spoil::Twisted(field, value)) => answer.map(|mut answer| {
                answer["metadata"][field] = value;
                answer
            }),
            Some(Spoil::Hang { .. }) => std::future::pending().await,
        };
        // As the lock over HTTP does with an answer that is no Lease.
        Lease::parse(answer?).map_err(|error| LockError::unknown(error.to_string()))
    }
}

#[async_trait]
impl LeaseLock for Scripted {
    async fn read(&self, _: Duration) -> Result<Lease, LockError> {
        self.ask("get", None).await
    }

    async fn create(&self, object: Value, _: Duration) -> Result<Lease, LockError> {
        self.ask("create", Some(object)).await
    }

    async fn update(&self, object: Value, _: Duration) -> Result<Lease, LockError> {
        self.ask("update", Some(object)).await
    }
}
