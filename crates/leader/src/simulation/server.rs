//! The API server's part of the simulation: one Lease with compare-and-swap, and wires that delay, lose and refuse.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::lock::{LeaseLock, LockError};
use crate::record::Lease;

/// The one Lease, linearizable.
#[derive(Clone)]
pub(crate) struct Server(Arc<Mutex<Store>>);

struct Store {
    version: u64,
    lives: u64,
    object: Option<Value>,
    counts: Counts,
    changed: Instant,
    /// Changes of the holder that came too soon after the record's last change.
    thefts: Vec<String>,
}

/// A second of the fastest clock: a held record may not be taken over sooner than its recorded duration times this.
const FAST_SECOND: Duration = Duration::from_millis(892);

/// How many requests of each kind have arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) reads: u32,
    pub(crate) creates: u32,
    pub(crate) updates: u32,
    pub(crate) conflicts: u32,
}

#[derive(Clone)]
enum Ask {
    Read,
    Create(Value),
    Update(Value),
}

impl Server {
    pub(crate) fn new() -> Self {
        let store = Store {
            version: 100,
            lives: 0,
            object: None,
            counts: Counts::default(),
            changed: Instant::now(),
            thefts: Vec::new(),
        };
        Self(Arc::new(Mutex::new(store)))
    }

    pub(crate) fn wire(&self, weather: Weather, seed: u64) -> Wire {
        let state = WireState {
            random: fastrand::Rng::with_seed(seed),
            weather,
            requests_cut: None,
            answers_cut: None,
            slow_then_cut: None,
        };
        Wire { server: self.clone(), state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn object(&self) -> Option<Value> {
        self.0.lock().object.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().counts
    }

    /// What no follower of the rules does: take from a holder before its lease has run out.
    pub(crate) fn thefts(&self) -> Vec<String> {
        self.0.lock().thefts.clone()
    }

    /// A third party changes the Lease, if there is one.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut store = self.0.lock();
        if let Some(mut object) = store.object.take() {
            change(&mut object);
            store.put(object);
        }
    }

    /// A third party deletes the Lease.
    pub(crate) fn delete(&self) {
        let mut store = self.0.lock();
        store.version += 1;
        store.object = None;
    }

    /// A third party creates the Lease.
    pub(crate) fn plant(&self, object: Value) {
        let mut store = self.0.lock();
        store.create(object).expect("there was none");
    }

    fn apply(&self, ask: Ask) -> Result<Lease, LockError> {
        let mut store = self.0.lock();
        match ask {
            Ask::Read => {
                store.counts.reads += 1;
                store.object.clone().ok_or(LockError::Missing)
            }
            Ask::Create(object) => {
                store.counts.creates += 1;
                store.create(object)
            }
            Ask::Update(object) => {
                store.counts.updates += 1;
                let answer = store.update(object);
                store.counts.conflicts += u32::from(answer == Err(LockError::Conflict));
                answer
            }
        }
        .map(|object| Lease::parse(object).expect("a proper object"))
    }
}

impl Store {
    fn put(&mut self, mut object: Value) -> Value {
        self.version += 1;
        self.changed = Instant::now();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.object = Some(object.clone());
        object
    }

    fn create(&mut self, mut object: Value) -> Result<Value, LockError> {
        if self.object.is_some() {
            return Err(LockError::Conflict);
        }
        self.lives += 1;
        object["metadata"]["uid"] = json!(format!("life-{}", self.lives));
        Ok(self.put(object))
    }

    fn update(&mut self, object: Value) -> Result<Value, LockError> {
        let Some(stored) = &self.object else { return Err(LockError::Missing) };
        let same = |field: &str| stored["metadata"][field] == object["metadata"][field];
        if !same("uid") || !same("resourceVersion") {
            return Err(LockError::Conflict);
        }
        // As the real one: an update that changes nothing is answered without a new version.
        if *stored == object {
            return Ok(object);
        }
        let (before, after) = (stored["spec"]["holderIdentity"].as_str(), object["spec"]["holderIdentity"].as_str());
        let age = Instant::now() - self.changed;
        let recorded = stored["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(1);
        if let (Some(before), Some(after)) = (before, after)
            && ![before, after].contains(&"")
            && before != after
            && age < FAST_SECOND * u32::try_from(recorded).unwrap_or(1)
        {
            self.thefts.push(format!("theft: {after} from {before} after {age:?}"));
        }
        Ok(self.put(object))
    }
}

/// How requests fare. Probabilities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Of a way that takes up to three seconds instead of milliseconds.
    pub(crate) slow: f64,
    /// Of a request or an answer that is lost.
    pub(crate) lost: f64,
    /// Of an error at once: refused connection, 429, or 500 with or without a commit.
    pub(crate) refused: f64,
}

impl Weather {
    pub(crate) fn calm() -> Self {
        Self { slow: 0.0, lost: 0.0, refused: 0.0 }
    }
}

/// One process's connection to the server.
#[derive(Clone)]
pub(crate) struct Wire {
    server: Server,
    state: Arc<Mutex<WireState>>,
}

struct WireState {
    random: fastrand::Rng,
    weather: Weather,
    requests_cut: Option<Instant>,
    answers_cut: Option<Instant>,
    slow_then_cut: Option<(Duration, Duration)>,
}

#[derive(Default)]
struct Fate {
    /// No cut applies to it.
    exempt: bool,
    there: Duration,
    back: Duration,
    lost_there: bool,
    lost_back: bool,
    error: Option<LockError>,
    error_after_commit: bool,
}

impl Wire {
    /// Loses requests, answers or both for this long.
    pub(crate) fn cut(&self, length: Duration, requests: bool, answers: bool) {
        let mut state = self.state.lock();
        let until = Some(Instant::now() + length);
        state.requests_cut = if requests { until } else { state.requests_cut };
        state.answers_cut = if answers { until } else { state.answers_cut };
    }

    /// The next write is committed at once and answered late; then nothing goes through for a while.
    pub(crate) fn slow_answer_then_cut(&self, slow: Duration, length: Duration) {
        self.state.lock().slow_then_cut = Some((slow, length));
    }

    pub(crate) fn mend(&self) {
        let mut state = self.state.lock();
        state.weather = Weather::calm();
        state.requests_cut = None;
        state.answers_cut = None;
        state.slow_then_cut = None;
    }

    async fn ask(&self, ask: Ask) -> Result<Lease, LockError> {
        let fate = self.state.lock().fate(!matches!(ask, Ask::Read));
        let (tell, answer) = oneshot::channel();
        let (server, state) = (self.server.clone(), self.state.clone());
        // The network carries on with a request also after its sender has given it up.
        tokio::spawn(async move {
            tokio::time::sleep(fate.there).await;
            let cut = |until: Option<Instant>| !fate.exempt && until.is_some_and(|until| Instant::now() < until);
            if fate.lost_there || cut(state.lock().requests_cut) {
                return;
            }
            let answer = match fate.error {
                Some(error) if !fate.error_after_commit => Err(error),
                Some(error) => server.apply(ask).and(Err(error)),
                None => server.apply(ask),
            };
            tokio::time::sleep(fate.back).await;
            if !fate.lost_back && !cut(state.lock().answers_cut) {
                let _ = tell.send(answer);
            }
        });
        match answer.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

impl WireState {
    fn fate(&mut self, write: bool) -> Fate {
        let Weather { slow, lost, refused } = self.weather;
        let random = &mut self.random;
        let mut way = || {
            let most = if random.f64() < slow { 3.0 } else { 0.02 };
            Duration::from_secs_f64(0.001 + random.f64() * most)
        };
        let (there, back) = (way(), way());
        let error = (random.f64() < refused).then(|| match random.u8(..3) {
            0 => LockError::Refused {
                code: 429,
                message: "busy".to_owned(),
                retry_after: Some(Duration::from_secs(random.u64(..100))),
            },
            _ => LockError::unknown("500"),
        });
        let error_after_commit = matches!(error, Some(LockError::Unknown { .. })) && random.bool();
        let (lost_there, lost_back) = (random.f64() < lost / 2.0, random.f64() < lost / 2.0);
        if write && let Some((slow, length)) = self.slow_then_cut.take() {
            // Whatever is sent from now on is lost; this one's answer still comes.
            self.requests_cut = Some(Instant::now() + slow + length);
            let there = Duration::from_millis(1);
            return Fate { there, back: slow, exempt: true, ..Fate::default() };
        }
        Fate { there, back, lost_there, lost_back, error, error_after_commit, exempt: false }
    }
}

#[async_trait]
impl LeaseLock for Wire {
    async fn read(&self, _: Duration) -> Result<Lease, LockError> {
        self.ask(Ask::Read).await
    }

    async fn create(&self, object: Value, _: Duration) -> Result<Lease, LockError> {
        self.ask(Ask::Create(object)).await
    }

    async fn update(&self, object: Value, _: Duration) -> Result<Lease, LockError> {
        self.ask(Ask::Update(object)).await
    }
}
