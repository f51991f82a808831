//! One candidate, a scripted server, and the term that it wins.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use watchkeeper_leader::{Candidacy, Elector, Identity, Sight, Standing, Timings, VirtualClock};

use crate::config::{PLACE, config};
use crate::scripted::Server;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// A third of a second past a whole one: renewals of a period that divides it have been answered.
pub(crate) const AND_THEN: Duration = Duration::from_millis(300);

pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) me: Identity,
    pub(crate) stop: CancellationToken,
    pub(crate) begin: Instant,
    candidacy: Candidacy,
    elector: JoinHandle<()>,
}

/// A Lease with this spec.
pub(crate) fn lease(spec: Value) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "namespace": PLACE.0, "name": PLACE.1 },
        "spec": spec,
    })
}

/// Held by somebody else, for so many seconds.
pub(crate) fn foreign(seconds: u64) -> Value {
    lease(json!({ "holderIdentity": "other", "leaseDurationSeconds": seconds, "leaseTransitions": 4 }))
}

/// Released by somebody else who follows the rules. The server gives it a higher version than the epoch.
pub(crate) fn released() -> Value {
    let mut object = lease(json!({ "holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 4 }));
    object["metadata"]["annotations"] = json!({
        watchkeeper_leader::RELEASED_ANNOTATION: "other 0",
        watchkeeper_leader::RELEASED_TRANSITIONS_ANNOTATION: "4",
    });
    object
}

impl Rig {
    pub(crate) fn new(object: Option<Value>) -> Self {
        Self::whole(object, false)
    }

    pub(crate) fn first_install() -> Self {
        Self::whole(None, true)
    }

    fn whole(object: Option<Value>, first_install: bool) -> Self {
        let (server, stop) = (Server::default(), CancellationToken::new());
        server.put(object);
        let me = Identity::from_parts("me", 1, 1).unwrap();
        let timings = Timings { jitter: 0.0, ..Timings::default() };
        let config = config(me.clone(), timings, first_install, 1);
        let (elector, candidacy) = Elector::new(server.lock("me"), config, Arc::new(VirtualClock::new())).unwrap();
        let elector = tokio::spawn(elector.run(stop.clone()));
        Self { server, me, stop, begin: Instant::now(), candidacy, elector }
    }

    /// The next term, its gate open.
    pub(crate) async fn term(&mut self) -> Standing {
        let standing = self.candidacy.next_term().await.unwrap();
        standing.open().unwrap();
        standing
    }

    pub(crate) fn sight(&self) -> Sight {
        self.candidacy.sight()
    }

    /// When the next term came, after the begin.
    pub(crate) async fn wins_after(&mut self) -> Duration {
        let standing = self.term().await;
        let after = self.begin.elapsed();
        assert_eq!(self.spec("holderIdentity"), json!(self.me.as_str()));
        // It goes on.
        tokio::spawn(async move {
            sleep(100 * SECOND).await;
            drop(standing);
        });
        after
    }

    /// The verbs asked so far, those that repeat told once.
    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        let mut verbs: Vec<_> = self.server.0.lock().calls.iter().map(|call| call.verb).collect();
        verbs.dedup_by(|later, earlier| *later == "get" && *earlier == "get");
        verbs
    }

    pub(crate) fn spec(&self, field: &str) -> Value {
        self.server.object().unwrap()["spec"][field].clone()
    }

    /// Whether the elector has returned.
    pub(crate) async fn ends(self) -> bool {
        self.stop.cancel();
        drop(self.candidacy);
        self.elector.await.is_ok()
    }
}
