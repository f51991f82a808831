//! `RequestError`: what went wrong with a list or a watch, in what a caller can act on.
//!
//! In: HTTP status and headers, the start of an error body, transport errors. Out: one bounded, cloneable value. It
//! never carries an object, a body that isn't a Status, or anything that an authentication plugin printed.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::frame::FrameError;

/// Bytes of an error body that are read at all.
pub(crate) const ERROR_BODY_LIMIT: usize = 64 << 10;

/// Characters of a message that are kept.
const MESSAGE_LIMIT: usize = 512;

/// Causes that are kept.
const CAUSES_LIMIT: usize = 8;

/// Why a request, or the stream that answered it, failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server said no, by HTTP status or by an ERROR event.
    #[error("{0}")]
    Refused(Refusal),
    /// There was no answer: connection refused, reset before the headers, no credentials, TLS.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// The answer broke off.
    #[error("the answer was cut off: {0}")]
    Cut(String),
    /// A deadline of ours passed.
    #[error("{waited_for} did not come within {bound:?}")]
    TimedOut {
        /// What for.
        waited_for: Awaited,
        /// How long.
        bound: Duration,
    },
    /// What came isn't what Kubernetes sends.
    #[error("{0}")]
    Malformed(#[from] FrameError),
    /// The request itself can't be written down.
    #[error("the request can't be built: {0}")]
    Unsendable(String),
}

/// What a deadline waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The headers of an answer.
    Answer,
    /// The next bytes of an answer that had begun.
    Data,
    /// The end of an answer that had begun.
    End,
    /// The bookmark that ends a streaming list.
    EndOfInitialEvents,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer => "an answer",
            Self::Data => "more data",
            Self::End => "the end of the answer",
            Self::EndOfInitialEvents => "the bookmark at the end of the initial events",
        })
    }
}

/// A refusal by the server: the parts of its Status that decisions are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `Expired`; may be empty.
    pub reason: String,
    /// For people; at most 512 characters, empty where the answer was no Status.
    pub message: String,
    /// The first few causes.
    pub causes: Vec<Cause>,
    /// How long the server asks to stay away; not yet capped.
    pub retry_after: Option<Duration>,
}

/// One cause in a Status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable, such as `FieldValueForbidden`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The field it is about.
    pub field: String,
}

impl Refusal {
    /// From an HTTP answer: its code, its `Retry-After` in seconds, and its body if that is a Status.
    pub fn from_answer(code: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let mut refusal = Self::from_status(body);
        refusal.code = code;
        let header = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        refusal.retry_after = header.or(refusal.retry_after);
        refusal
    }

    /// From a Status object, as an ERROR event carries it. Total: fields of an unexpected type count as missing.
    pub fn from_status(body: &[u8]) -> Self {
        let status: Value = serde_json::from_slice(body).unwrap_or_default();
        let details = &status["details"];
        let causes = details["causes"].as_array().into_iter().flatten().take(CAUSES_LIMIT).map(|cause| Cause {
            reason: text(&cause["reason"]),
            message: text(&cause["message"]),
            field: text(&cause["field"]),
        });
        Self {
            code: status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or_default(),
            reason: text(&status["reason"]),
            message: text(&status["message"]),
            causes: causes.collect(),
            retry_after: details["retryAfterSeconds"].as_u64().filter(|&s| s > 0).map(Duration::from_secs),
        }
    }

    /// 410: the version, or the continue token, is too old (reasons `Expired` and `Gone`).
    pub fn is_expired(&self) -> bool {
        self.code == 410 || self.reason == "Expired" || self.reason == "Gone"
    }

    /// The version asked for lies in the server's future; three spellings over the releases: the cause's reason, the
    /// cause's message, the message.
    pub fn is_too_large_version(&self) -> bool {
        const TEXT: &str = "Too large resource version";
        self.causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge" || cause.message.contains(TEXT))
            || self.message.contains(TEXT)
    }

    /// Refuses the streaming list as such, not this attempt of it: 400, 405, 415 or 422.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.code, 400 | 405 | 415 | 422)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

fn text(value: &Value) -> String {
    bounded(value.as_str().unwrap_or_default())
}

/// A text from elsewhere, fit for a line of a log.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().take(MESSAGE_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl RequestError {
    /// The class that metrics and status name it by.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Refused(refusal) if refusal.is_expired() => "expired",
            Self::Refused(refusal) if refusal.is_too_large_version() => "too_large_version",
            Self::Refused(refusal) => match refusal.code {
                401 => "unauthorized",
                403 => "forbidden",
                404 => "not_found",
                429 => "too_many_requests",
                503 => "unavailable",
                500.. => "server_error",
                _ => "refused",
            },
            Self::Unreachable(_) => "unreachable",
            Self::Cut(_) => "cut",
            Self::TimedOut { .. } => "timed_out",
            Self::Malformed(_) => "malformed",
            Self::Unsendable(_) => "unsendable",
        }
    }

    /// No headers arrived: the root cause, or a fixed text where the cause could print a credential.
    pub(crate) fn unreachable(error: &(dyn StdError + 'static)) -> Self {
        Self::Unreachable(root_cause(error))
    }

    /// The body broke off.
    pub(crate) fn cut(error: &(dyn StdError + 'static)) -> Self {
        Self::Cut(root_cause(error))
    }
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut at = error;
    loop {
        // Its text holds the output of an exec plugin, which may hold a token.
        if at.is::<kube_client::client::AuthError>() {
            return "the credentials could not be obtained (authentication plugin, token file or refresh)".to_owned();
        }
        match at.source() {
            Some(source) => at = source,
            None => return bounded(&at.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a Status, pretty-printed or not, gives what decisions need, and the header wins over the body.
    #[test]
    fn status_bodies() {
        let body = br#"{
          "kind": "Status", "status": "Failure", "message": "Too large resource version: 9, current: 3",
          "reason": "Timeout", "code": 504,
          "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "m"}], "retryAfterSeconds": 1}
        }"#;
        let refusal = Refusal::from_answer(504, Some("7"), body);
        assert!(refusal.is_too_large_version() && !refusal.is_expired());
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(RequestError::Refused(refusal).class(), "too_large_version");
    }

    /// Goal: whatever a proxy sends, there is an error of the right class, without its body.
    #[test]
    fn other_bodies() {
        let html = Refusal::from_answer(502, None, b"<html>secret</html>");
        assert_eq!(html.to_string(), "the server answered 502");
        let odd = br#"{"code":"x","message":7,"details":{"retryAfterSeconds":-1,"causes":[3,{"reason":null}]}}"#;
        let odd = Refusal::from_status(odd);
        assert_eq!((odd.code, odd.retry_after, odd.causes.len()), (0, None, 2));
        let absurd = Refusal::from_answer(429, Some("18446744073709551615"), b"");
        assert_eq!(absurd.retry_after, Some(Duration::from_secs(u64::MAX)));
        assert!(Refusal { reason: "Gone".to_owned(), ..Refusal::default() }.is_expired());
    }
}
