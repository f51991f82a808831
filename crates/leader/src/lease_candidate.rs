//! The shell around a LeaseCandidate: shows the server that names leaders that this candidate is there.
//!
//! In: a client, the candidate's footing, a token to stop. Out: an object called as the candidate's identity, which answers the server's
//! questions; it is deleted as long as the candidate would claim nothing, and at the stop. Never: decides who leads, or waits for a
//! request without a deadline. After a crash the object stays, unanswered, until the server clears it away (half an hour).

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kube_client::Client;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::candidacy::Footing;
use crate::clock::{GateClock, GateInstant, sleep_until};
use crate::config::ElectorConfig;
use crate::coordination::{Coordination, answered, is_pinged};
use crate::lock::LockError;
use crate::objects::{About, LEASE_CANDIDATES, Objects};

/// The longest pause between two looks for a question: the server waits five seconds for the answer.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often it is renewed unasked. The server asks all candidates anew if one is a quarter of an hour old.
const RENEW_EVERY: Duration = Duration::from_secs(300);

/// The pause where the server has refused: somebody has to change something first.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// One candidate, as the server sees it.
pub(crate) struct LeaseCandidate {
    objects: Objects,
    clock: Arc<dyn GateClock>,
    config: ElectorConfig,
    coordination: Coordination,
    footing: Footing,
    /// The object may be there.
    shown: bool,
    renewed: GateInstant,
    trouble: Option<String>,
}

impl LeaseCandidate {
    pub(crate) fn new(
        client: Client,
        config: &ElectorConfig,
        coordination: &Coordination,
        clock: Arc<dyn GateClock>,
        footing: Footing,
    ) -> Self {
        let objects = Objects::new(&LEASE_CANDIDATES, client, config.lease_namespace.clone());
        let (config, coordination, renewed) = (config.clone(), coordination.clone(), clock.now());
        Self { objects, clock, config, coordination, footing, shown: false, renewed, trouble: None }
    }

    /// Until `stop`; then the object is deleted, so that the server doesn't name it any more. Cancel safe, without that.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                outcome = self.round() => outcome,
            };
            let refused = matches!(outcome, Err(LockError::Refused { .. }));
            self.report(outcome);
            let pause = self.config.timings.retry_period.min(LOOK_EVERY);
            let next = self.clock.now() + if refused { REFUSED_PAUSE } else { pause };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(self.clock.as_ref(), next) => {}
            }
        }
        if self.shown {
            _ = self.ask(Method::DELETE, None).await;
        }
    }

    /// One look, and what it calls for.
    async fn round(&mut self) -> Result<(), LockError> {
        let now = self.clock.now();
        if !self.footing.stands(now) {
            if self.shown {
                let answer = self.ask(Method::DELETE, None).await;
                self.shown = !matches!(answer, Ok(_) | Err(LockError::Missing));
            }
            return Ok(());
        }
        let wall = self.clock.wall();
        match self.ask(Method::GET, None).await {
            Ok(object) if is_pinged(&object) || self.renewed.until(now) >= RENEW_EVERY => {
                self.ask(Method::PUT, Some(answered(&object, wall))).await?;
                self.renewed = now;
            }
            Ok(_) => {}
            Err(LockError::Missing) => {
                let ElectorConfig { lease_namespace, lease_name, identity, .. } = &self.config;
                let object = self.coordination.candidate(lease_namespace, identity.as_str(), lease_name, wall);
                // Before the answer, which may be lost.
                self.shown = true;
                self.ask(Method::POST, Some(object)).await?;
                self.renewed = now;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn ask(&self, method: Method, object: Option<Value>) -> Result<Value, LockError> {
        let about = if method == Method::POST { About::New } else { About::One(self.config.identity.as_str()) };
        self.objects.ask(method, about, object, self.config.timings.request_timeout).await
    }

    /// Says so once when the server can't see this candidate.
    fn report(&mut self, outcome: Result<(), LockError>) {
        let trouble = match outcome {
            // Somebody has written it meanwhile: the server's question, mostly, which the next look shows.
            Ok(()) | Err(LockError::Conflict | LockError::Missing) => None,
            Err(LockError::Refused { code: 404, message, .. }) => Some(format!(
                "the API server has no LeaseCandidates, so nobody is named and nobody leads: it needs the feature gate \
                 CoordinatedLeaderElection and --runtime-config=coordination.k8s.io/v1beta1=true, and the namespace must exist; or \
                 stand without coordination ({message})"
            )),
            Err(error) => Some(error.message()),
        };
        if trouble != self.trouble {
            let (lease, candidate) = (&self.config.lease_name, &self.config.identity);
            match &trouble {
                Some(trouble) => {
                    tracing::warn!(lease, %candidate, "can't stand in the coordinated election: {trouble}")
                }
                None => tracing::info!(lease, %candidate, "stands in the coordinated election again"),
            }
            self.trouble = trouble;
        }
    }
}

#[cfg(test)]
#[path = "lease_candidate_tests.rs"]
mod tests;
