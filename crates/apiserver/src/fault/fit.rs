//! Which requests an action can be for, and whether its parameters make sense.
//!
//! Comes in: an action. Goes out: yes or no, and why not. Never looks at a matcher: that narrows down further.

use std::time::Duration;

use super::action::Action;
use super::facts::{Facts, Verb};

/// Whether a watch begins with initial events.
fn begins_with_state(facts: &Facts) -> bool {
    match facts.parameter("sendInitialEvents").as_deref() {
        None => matches!(facts.parameter("resourceVersion").as_deref(), None | Some("0")),
        Some(flag) => flag != "0" && !flag.eq_ignore_ascii_case("false"),
    }
}

impl Action {
    /// Whether the action means anything for such a request; where it doesn't, the request isn't matched nor counted.
    pub(crate) fn applies(&self, facts: &Facts) -> bool {
        match self {
            Self::ErrorEvent { .. }
            | Self::SlowEvents { .. }
            | Self::Stall { .. }
            | Self::End { .. }
            | Self::UnknownEventType { .. }
            | Self::DropBookmarks
            | Self::Illegal(_) => facts.verb == Verb::Watch,
            Self::HoldInitialEnd { .. } | Self::BareInitialEnd => facts.verb == Verb::Watch && begins_with_state(facts),
            Self::IgnoreInitialEvents | Self::RejectInitialEvents => {
                facts.verb == Verb::Watch && facts.parameter("sendInitialEvents").is_some()
            }
            Self::ExpireContinue { .. } => facts.verb == Verb::List && facts.parameter("continue").is_some(),
            Self::IgnoreLimit | Self::EmptyLastPage => facts.verb == Verb::List && facts.parameter("limit").is_some(),
            Self::VersionTooLarge | Self::PartialPage { .. } => facts.verb == Verb::List,
            Self::Conflict
            | Self::LoseAnswer { .. }
            | Self::ResetAfterCommit
            | Self::ResetBeforeCommit
            | Self::Deny { .. }
            | Self::DelayBeforeCommit { .. }
            | Self::Straggle { .. } => facts.verb.is_write(),
            Self::OtherKind { .. } | Self::MissingVersion { .. } => facts.is_resource(),
            _ => true,
        }
    }

    /// Whether the request gets no further: later rules are not asked.
    pub(crate) fn is_decisive(&self) -> bool {
        matches!(
            self,
            Self::Refuse
                | Self::ResetBeforeHeaders
                | Self::HangBeforeHeaders
                | Self::Html { .. }
                | Self::EmptyBody
                | Self::Answer(_)
                | Self::RejectInitialEvents
                | Self::ExpireContinue { .. }
                | Self::VersionTooLarge
                | Self::Conflict
                | Self::ResetBeforeCommit
                | Self::Deny { .. }
                | Self::RequestsLost
        )
    }

    /// The longest of its times.
    pub(crate) fn longest(&self) -> Duration {
        match self {
            Self::Delay { by, jitter }
            | Self::DelayAnswer { by, jitter }
            | Self::DelayBeforeCommit { by, jitter }
            | Self::Straggle { by, jitter } => *by.max(jitter),
            Self::SlowEvents { by } | Self::Merge { within: by } | Self::HoldInitialEnd { by: Some(by) } => *by,
            _ => Duration::ZERO,
        }
    }

    /// Least delay and jitter.
    pub(crate) fn pause(&self) -> Option<(Duration, Duration)> {
        match self {
            Self::Delay { by, jitter }
            | Self::DelayAnswer { by, jitter }
            | Self::DelayBeforeCommit { by, jitter }
            | Self::Straggle { by, jitter } => Some((*by, *jitter)),
            _ => None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let within = |code: u16, least: u16, most: u16| {
            if (least..=most).contains(&code) {
                Ok(())
            } else {
                Err(format!("code {code} of {} must be from {least} to {most}", self.kind()))
            }
        };
        match self {
            Self::Html { code } | Self::LoseAnswer { code } => within(*code, 500, 599),
            Self::Deny { code, .. } => within(*code, 400, 499),
            Self::Answer(refusal) => match refusal.code {
                Some(code) => within(code, 400, 599),
                None => Err("answer needs a code from 400 to 599".to_owned()),
            },
            Self::ErrorEvent { status, .. } => status.code.map_or(Ok(()), |code| within(code, 400, 599)),
            Self::Bandwidth { bytes_per_second: 0 } => {
                Err("bandwidth needs at least 1 byte per second: for silence take hangAfterHeaders".to_owned())
            }
            Self::ContentType { value } if http::HeaderValue::from_str(value).is_err() => {
                Err(format!("{value:?} can't be the value of a header"))
            }
            _ => Ok(()),
        }
    }
}
