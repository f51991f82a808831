//! What rules do before a request is carried out.
//!
//! Comes in: the request's head. Goes out: that it goes on, perhaps later or asking for less, or that it ends here, and how.
//! Never reads the request's body: who is cut off here has changed nothing.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, Uri, request};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::action::{Action, Refusal};
use super::answer::html;
use super::error::TransportError;
use super::facts::Facts;
use super::faults::Chosen;
use crate::list::EXPIRED_TOKEN;
use crate::route::Query;
use crate::server::{ApiServer, Shared};
use crate::service::{Body, failed, full, response};
use crate::status::{Cause, Failure};
use crate::write::MUTATION_LIMIT;

/// What upstream says where there is no token to go on with.
const EXPIRED_FOR_GOOD: &str = "The provided continue parameter is too old to display a consistent list result. You can \
start a new list without the continue parameter.";

pub(super) enum Next {
    Go,
    Answer(Response<Body>),
    Break(TransportError),
    Hang,
    /// It travels until then, with or without its client.
    Straggle(Instant),
}

/// The part of a request that rules may change.
pub(super) struct Course {
    pub(super) parts: request::Parts,
    pub(super) received: Instant,
}

impl Course {
    /// Whether the rule has a say before the request is carried out; if so it takes effect now.
    pub(super) fn concerns(action: &Action) -> bool {
        action.is_decisive()
            || matches!(
                action,
                Action::Delay { .. }
                    | Action::DelayBeforeCommit { .. }
                    | Action::Straggle { .. }
                    | Action::IgnoreInitialEvents
                    | Action::IgnoreLimit
                    | Action::Compact
                    | Action::CloseWatches
            )
    }

    pub(super) async fn meet(&mut self, chosen: &Chosen, shared: &Arc<Shared>, facts: &Facts) -> Next {
        match &chosen.rule.action {
            Action::Refuse => Next::Break(TransportError::Refused),
            Action::ResetBeforeHeaders | Action::ResetBeforeCommit => Next::Break(TransportError::Reset),
            Action::HangBeforeHeaders | Action::RequestsLost => Next::Hang,
            Action::Html { code } => Next::Answer(html(*code)),
            Action::EmptyBody => Next::Answer(response(200, "application/json", full(Bytes::new()))),
            Action::Answer(refusal) => Next::Answer(refusal.response()),
            Action::RejectInitialEvents => Next::Answer(failed(&initial_events_rejected())),
            Action::ExpireContinue { with_token } => Next::Answer(failed(&expired(facts, *with_token))),
            Action::VersionTooLarge => {
                let present = shared.state.lock().store.version();
                let asked = facts.parameter("resourceVersion").and_then(|version| version.parse().ok());
                let asked = asked.filter(|asked| *asked > present).unwrap_or(present + 1);
                Next::Answer(failed(&Failure::too_large_version(asked, present)))
            }
            Action::Conflict => Next::Answer(Refusal { message: Some(conflict(facts)), ..Refusal::of(409) }.response()),
            Action::Deny { code, message } => {
                let why = if message.is_empty() { "denied by policy" } else { message };
                let message = format!("admission webhook \"policy.example.com\" denied the request: {why}");
                Next::Answer(Refusal { message: Some(message), ..Refusal::of(*code) }.response())
            }
            Action::Delay { .. } => {
                sleep(chosen.pause).await;
                self.received = shared.clock.now();
                Next::Go
            }
            Action::DelayBeforeCommit { .. } => {
                let query = Query::parse(self.parts.uri.query());
                let limit = query.timeout().ok().flatten().unwrap_or(MUTATION_LIMIT).min(MUTATION_LIMIT);
                sleep_until((shared.clock.now() + chosen.pause).min(self.received + limit)).await;
                Next::Go
            }
            Action::Straggle { .. } => Next::Straggle(shared.clock.now() + chosen.pause),
            Action::IgnoreInitialEvents => self.without(&["sendInitialEvents", "resourceVersionMatch"]),
            Action::IgnoreLimit => self.without(&["limit"]),
            Action::Compact => {
                let mut state = shared.state.lock();
                let present = state.store.version();
                state.store.compact(present);
                Next::Go
            }
            Action::CloseWatches => {
                ApiServer { shared: shared.clone() }.close_watches();
                Next::Go
            }
            _ => Next::Go,
        }
    }

    /// Takes parameters out of the request.
    fn without(&mut self, names: &[&str]) -> Next {
        let uri = &self.parts.uri;
        let kept: Vec<&str> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !names.contains(&pair.split('=').next().unwrap_or_default()))
            .collect();
        let changed = format!("{}?{}", uri.path(), kept.join("&"));
        self.parts.uri = Uri::try_from(changed).expect("less of a valid query is valid");
        Next::Go
    }
}

fn initial_events_rejected() -> Failure {
    let detail = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    Failure::invalid_options(vec![Cause::forbidden("sendInitialEvents", detail)])
}

fn expired(facts: &Facts, with_token: bool) -> Failure {
    let token = facts.parameter("continue").filter(|_| with_token).and_then(|token| renewed(&token));
    let mut failure = Failure::expired(if token.is_some() { EXPIRED_TOKEN } else { EXPIRED_FOR_GOOD });
    failure.continue_token = token;
    failure
}

/// The same place in whatever the list is now. `None`: not a token of ours.
fn renewed(token: &str) -> Option<String> {
    let mut token: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    *token.get_mut("rv")? = (-1).into();
    Some(URL_SAFE_NO_PAD.encode(token.to_string()))
}

fn conflict(facts: &Facts) -> String {
    format!(
        "Operation cannot be fulfilled on {} {:?}: the object has been modified; please apply your changes to the latest \
         version and try again",
        facts.qualified(),
        facts.name
    )
}
