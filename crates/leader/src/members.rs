//! The shell around the roster: shows this replica's presence, looks who else is there, and has the candidates of the buckets stand
//! accordingly.
//!
//! In: a client, the candidates' footings, a token to stop. Out: stances. Its presence is a Lease that it renews every retry period and
//! deletes at a clean stop; others find it by a label. Never: decides who acts, or waits for a request without a deadline.
//!
//! Needs, beside what an election needs, the permission to list and delete Leases.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::candidacy::Footing;
use crate::clock::{GateClock, GateInstant, sleep_until};
use crate::lock::LockError;
use crate::objects::{About, Objects};
use crate::record::{Claim, Lease, NO_LABELS};
use crate::roster::{Advice, Group, MEMBERS_LABEL, Roster};
use crate::standpoint::Stance;
use crate::timings::Timings;

/// One replica among others.
pub(crate) struct Members {
    leases: Objects,
    clock: Arc<dyn GateClock>,
    timings: Timings,
    group: Group,
    roster: Roster,
    /// One a bucket.
    footings: Vec<Footing>,
    presence: Option<Lease>,
    /// When the presence was shown last.
    shown: Option<GateInstant>,
    advice: Advice,
    trouble: Option<String>,
}

impl Members {
    pub(crate) fn new(
        leases: Objects,
        clock: Arc<dyn GateClock>,
        timings: Timings,
        group: Group,
        footings: Vec<Footing>,
    ) -> Self {
        for footing in &footings {
            // Until it is known who else is there.
            footing.stand(Stance::Aside);
        }
        let roster = Roster::new(group.clone());
        let advice = Advice::Unknown;
        Self { leases, clock, timings, group, roster, footings, presence: None, shown: None, advice, trouble: None }
    }

    /// Until `stop`; then the presence is deleted, so that the others needn't wait to see it silent. Cancel safe, without that.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let begin = self.clock.now();
        while !stop.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.round(begin) => {}
            }
            let next = self.clock.now() + self.timings.retry_period;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(self.clock.as_ref(), next) => {}
            }
        }
        // By its name alone, which is nobody else's: a round that was given up may have written it without having heard so.
        let (name, timeout) = (self.group.presence_name(), self.timings.request_timeout);
        _ = self.leases.ask(Method::DELETE, About::One(&name), None, timeout).await;
    }

    /// Shows the presence, looks at the others', clears one away that is nobody's, stands.
    async fn round(&mut self, begin: GateInstant) {
        let shown = self.show().await;
        let listed = self.list().await;
        let now = self.clock.now();
        if shown.is_ok() {
            self.shown = Some(now);
        }
        self.report(shown.and(listed.as_ref().map(|_| ()).map_err(Clone::clone)));
        if let Ok(list) = listed {
            self.roster.saw(list, now);
            if let Some(remains) = self.roster.remains(now).cloned() {
                // Another one may have done so already.
                _ = self.delete(&remains).await;
            }
        }
        let mut advice = self.roster.advise(now);
        if advice == Advice::Unknown && begin.until(now) >= self.timings.lease_duration {
            // Nobody can be seen for long: better work than wait, but after everybody else.
            advice = Advice::Last;
        }
        let is_unseen = self.shown.is_none_or(|shown| shown.until(now) >= self.timings.lease_duration);
        if is_unseen && matches!(advice, Advice::Stances(_)) {
            // The others don't count this one. If it took a share all the same, they would ask for it back, and so on.
            advice = Advice::Last;
        }
        self.stand(advice, now);
    }

    fn stand(&mut self, advice: Advice, now: GateInstant) {
        if advice == self.advice {
            return;
        }
        let whole = &self.group.whole;
        match &advice {
            Advice::Unknown => {}
            Advice::Aside(elder) => {
                tracing::warn!(%whole, elder, buckets = self.group.buckets.count(), "keeps aside: a replica that is still there divides the keys into another number of buckets");
                self.footings.iter().for_each(|footing| footing.stand(Stance::Aside));
            }
            Advice::Last => {
                tracing::warn!(%whole, "can't be shared out: takes only the buckets that nobody else takes, a lease duration later");
                self.footings.iter().for_each(|footing| footing.stand(Stance::Reserve));
            }
            Advice::Stances(stances) => {
                let share = stances.iter().filter(|stance| **stance == Stance::Prefer).count();
                tracing::info!(%whole, replicas = self.roster.alive(now), share, "the buckets are shared out");
                for (footing, stance) in self.footings.iter().zip(stances) {
                    footing.stand(*stance);
                }
            }
        }
        self.advice = advice;
    }

    /// Creates or renews the presence.
    async fn show(&mut self) -> Result<(), LockError> {
        let claim = Claim {
            identity: &self.group.identity,
            duration: self.timings.lease_duration,
            wall: self.clock.wall(),
            labels: &NO_LABELS,
        };
        let timeout = self.timings.request_timeout;
        let answer = match &self.presence {
            Some(presence) => {
                let name = self.group.presence_name();
                self.leases.ask(Method::PUT, About::One(&name), Some(presence.renewed(&claim)), timeout).await
            }
            None => self.leases.ask(Method::POST, About::New, Some(self.group.presence(&claim)), timeout).await,
        };
        self.presence = match answer {
            Ok(object) => Lease::parse(object).ok(),
            Err(LockError::Missing) => None,
            // Edited, or there already after an answer that was lost.
            Err(LockError::Conflict) => {
                let name = self.group.presence_name();
                let read = self.leases.ask(Method::GET, About::One(&name), None, timeout).await?;
                Lease::parse(read).ok()
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Lease>, LockError> {
        let label = self.group.label();
        let timeout = self.timings.request_timeout;
        let list = self.leases.ask(Method::GET, About::Labelled(MEMBERS_LABEL, &label), None, timeout).await?;
        let Some(Value::Array(items)) = list.get("items").cloned() else {
            return Err(LockError::unknown("a list without items"));
        };
        // What can't be used is nobody's.
        Ok(items.into_iter().filter_map(|item| Lease::parse(item).ok()).collect())
    }

    /// Deletes this very presence, of another.
    async fn delete(&self, presence: &Lease) -> Result<(), LockError> {
        let name = presence.object()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": presence.uid(), "resourceVersion": presence.version().to_string()}});
        let timeout = self.timings.request_timeout;
        self.leases.ask(Method::DELETE, About::One(&name), Some(options), timeout).await.map(|_| ())
    }

    /// Says so once when the others can't be seen.
    fn report(&mut self, outcome: Result<(), LockError>) {
        let trouble = outcome.err().map(|error| error.to_string());
        if trouble != self.trouble {
            let whole = &self.group.whole;
            match &trouble {
                Some(trouble) => tracing::warn!(%whole, "can't see the other replicas: {trouble}"),
                None => tracing::info!(%whole, "the other replicas can be seen again"),
            }
            self.trouble = trouble;
        }
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
