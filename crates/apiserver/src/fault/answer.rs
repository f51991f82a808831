//! Answers that a server gives instead of the right one.
//!
//! Comes in: a refusal. Goes out: a response, or the line of an ERROR event. What isn't said is upstream's for the code.

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::action::Refusal;
use crate::service::{Body, full, response};

/// Reason and text of upstream for a code.
fn usual(code: u16) -> (&'static str, &'static str) {
    match code {
        400 => ("BadRequest", "the request is not valid"),
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "Forbidden"),
        404 => ("NotFound", "the server could not find the requested resource"),
        409 => {
            ("Conflict", "the object has been modified; please apply your changes to the latest version and try again")
        }
        410 => ("Expired", "The resourceVersion for the provided watch is too old."),
        422 => ("Invalid", "the request is invalid"),
        429 => ("TooManyRequests", "Too many requests, please try again later."),
        500 => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
        503 => ("ServiceUnavailable", "apiserver is shutting down"),
        504 => ("Timeout", "Timeout: request did not complete within the allotted timeout"),
        _ => ("", "an error on the server"),
    }
}

impl Refusal {
    fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_else(|| usual(self.code.unwrap_or(500)).1)
    }

    fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message(),
        });
        let usual = self.code.map_or("", |code| usual(code).0);
        let reason = self.reason.as_deref().unwrap_or(usual);
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        if let Some(code) = self.code {
            status["code"] = code.into();
        }
        if let Some(seconds) = self.retry_after_seconds {
            status["details"] = json!({ "retryAfterSeconds": seconds });
        }
        status
    }

    /// As an event of a watch.
    pub(super) fn event(&self) -> Bytes {
        Bytes::from(format!("{}\n", json!({ "type": "ERROR", "object": self.status() })))
    }

    /// As the answer to a request.
    pub(super) fn response(&self) -> Response<Body> {
        let code = self.code.unwrap_or(500);
        let mut answer = if self.text {
            response(code, "text/plain; charset=utf-8", full(Bytes::from(format!("{}\n", self.message()))))
        } else {
            response(code, "application/json", full(Bytes::from(self.status().to_string())))
        };
        if let Some(seconds) = self.retry_after_seconds {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// A page of a proxy.
pub(super) fn html(code: u16) -> Response<Body> {
    let title = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason()).unwrap_or("Error");
    let page = format!(
        "<html>\r\n<head><title>{code} {title}</title></head>\r\n<body>\r\n<center><h1>{code} {title}</h1></center>\r\n\
         </body>\r\n</html>\r\n"
    );
    response(code, "text/html", full(Bytes::from(page)))
}

/// Neither JSON nor UTF-8.
pub(super) const GARBAGE: &[u8] = b"\x00\xff\xfe}{garbage\n";

/// A type no client knows.
pub(super) const UNKNOWN_TYPE: &[u8] =
    b"{\"type\":\"RESYNC\",\"object\":{\"kind\":\"Resync\",\"apiVersion\":\"example.com/v1\",\"metadata\":{}}}\n";

/// An object nobody asked for.
pub(super) fn stranger() -> Value {
    json!({
        "kind": "Stranger", "apiVersion": "example.com/v1",
        "metadata": { "name": "stranger", "uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": "1" },
    })
}
