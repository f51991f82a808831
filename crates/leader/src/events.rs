//! Events of the election on its Lease: who became leader, and who stopped leading.
//!
//! In: what [`Sight`](crate::Sight) is told of own terms. Out: one core/v1 Event a change, as upstream's `LeaseLock.RecordEvent` with the
//! legacy recorder, which kube-controller-manager and controller-runtime give it. Never: waited for by an elector, a second request
//! before the first is over, a retry of what was refused, or an Event for the presence of a replica.
//!
//! All is best effort: what doesn't fit into the queue is dropped and counted, a request has its deadline, three tries are the most, and
//! at the end of all terms the rest has two seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use kube_client::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bucket::fnv1a;
use crate::config::ElectorConfig;
use crate::lock::LockError;
use crate::objects::{About, EVENTS, LONGEST_NAME, Objects};
use crate::record::Lease;

/// How many Events wait to be sent. More than any process has terms at once: two for each of 99 buckets.
const MOST_WAITING: usize = 256;

/// How often one Event is sent if there is no answer to it.
const TRIES: u32 = 3;

/// Between two tries, as upstream.
const PAUSE: Duration = Duration::from_secs(10);

/// The longest pause that a server may ask for: the other Events wait meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long the end of all terms waits for the last Events.
const LAST_WORDS: Duration = Duration::from_secs(2);

const BECAME: &str = "became leader";
const STOPPED: &str = "stopped leading";

/// Where a process's electors put their Events, and where they wait.
pub(crate) struct EventQueue {
    sender: mpsc::Sender<News>,
    waiting: mpsc::Receiver<News>,
    dropped: Arc<AtomicU64>,
    /// What the log said last.
    trouble: Option<String>,
}

/// One elector's way into the queue.
pub(crate) struct EventRecorder {
    whose: Arc<Whose>,
    sender: mpsc::Sender<News>,
    dropped: Arc<AtomicU64>,
    /// The Lease of the term that lasts.
    lease: Mutex<Subject>,
}

struct Whose {
    namespace: String,
    name: String,
    identity: String,
    timeout: Duration,
}

/// Uid and version of a Lease.
#[derive(Clone, Default)]
struct Subject {
    uid: String,
    version: String,
}

struct News {
    whose: Arc<Whose>,
    lease: Subject,
    what: &'static str,
    at: Timestamp,
}

impl EventQueue {
    pub(crate) fn new() -> Self {
        let (sender, waiting) = mpsc::channel(MOST_WAITING);
        Self { sender, waiting, dropped: Arc::default(), trouble: None }
    }

    /// None: this one makes no Events.
    pub(crate) fn recorder(&self, config: &ElectorConfig) -> Option<EventRecorder> {
        let whose = Arc::new(Whose {
            namespace: config.lease_namespace.clone(),
            name: config.lease_name.clone(),
            identity: config.identity.as_str().to_owned(),
            timeout: config.timings.request_timeout,
        });
        let (sender, dropped) = (self.sender.clone(), self.dropped.clone());
        config.events.then(|| EventRecorder { whose, sender, dropped, lease: Mutex::default() })
    }

    /// Sends what comes, until all terms are `over` and what was left is sent, or has had its time.
    pub(crate) async fn run(mut self, client: Client, over: CancellationToken) {
        let too_late = async {
            over.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            biased;
            () = self.send_all(&client, &over) => {}
            () = too_late => tracing::warn!(left = self.waiting.len() + 1, "the last election Events were not written in time"),
        }
    }

    async fn send_all(&mut self, client: &Client, over: &CancellationToken) {
        loop {
            // Biased: what waits comes before the end.
            let news = tokio::select! {
                biased;
                news = self.waiting.recv() => news,
                () = over.cancelled() => return,
            };
            let Some(news) = news else { return };
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "election Events were dropped: too many were waiting");
            }
            self.send(client, &news, over).await;
        }
    }

    async fn send(&mut self, client: &Client, news: &News, over: &CancellationToken) {
        let events = Objects::new(&EVENTS, client.clone(), news.whose.namespace.clone());
        for attempt in 1..=TRIES {
            let answer = events.ask(Method::POST, About::New, Some(news.event()), news.whose.timeout).await;
            let error = match answer {
                // A conflict: an earlier try has arrived.
                Ok(_) | Err(LockError::Conflict) => return self.report(None),
                Err(error) => error,
            };
            self.report(Some(error.message()));
            // A refusal is final, and the end has no time for pauses.
            if !matches!(error, LockError::Unknown { .. }) || attempt == TRIES || over.is_cancelled() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(error.retry_after().unwrap_or(PAUSE).clamp(PAUSE, LONGEST_PAUSE)) => {}
                () = over.cancelled() => {}
            }
        }
    }

    /// Says so once when Events can't be written.
    fn report(&mut self, trouble: Option<String>) {
        if trouble == self.trouble {
            return;
        }
        match &trouble {
            Some(trouble) => tracing::warn!("election Events can't be written: {trouble}"),
            None => tracing::info!("election Events can be written again"),
        }
        self.trouble = trouble;
    }
}

impl EventRecorder {
    /// A term was won with this Lease.
    pub(crate) fn won(&self, lease: &Lease, at: Timestamp) {
        let lease = Subject { uid: lease.uid().to_owned(), version: lease.version().to_string() };
        *self.lease.lock() = lease.clone();
        self.put(BECAME, lease, at);
    }

    /// That term has ended.
    pub(crate) fn over(&self, at: Timestamp) {
        let lease = self.lease.lock().clone();
        self.put(STOPPED, lease, at);
    }

    fn put(&self, what: &'static str, lease: Subject, at: Timestamp) {
        if self.sender.try_send(News { whose: self.whose.clone(), lease, what, at }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl News {
    fn event(&self) -> Value {
        let Whose { namespace, name, identity, .. } = self.whose.as_ref();
        let at = Timestamp::from_second(self.at.as_second()).unwrap_or(self.at).to_string();
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "namespace": namespace, "name": self.name() },
            "involvedObject": {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "namespace": namespace,
                "name": name,
                "uid": self.lease.uid,
                "resourceVersion": self.lease.version,
            },
            "type": "Normal",
            "reason": "LeaderElection",
            "message": format!("{identity} {}", self.what),
            "source": { "component": name },
            "reportingComponent": name,
            "reportingInstance": identity,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        })
    }

    /// The Lease's name and a number that no other Event of this or another process has, and that a second try has again.
    fn name(&self) -> String {
        let Whose { name, identity, .. } = self.whose.as_ref();
        let number = fnv1a(format!("{identity} {} {}", self.what, self.at.as_nanosecond()).bytes());
        let full = format!("{name}.{number:016x}");
        if full.len() <= LONGEST_NAME { full } else { format!("{:016x}.{number:016x}", fnv1a(name.bytes())) }
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
