//! Errors as the Kubernetes API answers them: a Status with upstream's code, reason, causes and text.
//!
//! Comes in: what went wrong. Goes out: JSON bytes and the HTTP code. Nothing here decides whether something is wrong.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::kinds::Kind;

/// An answer of kind Status with `status: Failure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    /// Empty where upstream gives none.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Box<Details>>,
    /// For an expired continue token: the token to go on with.
    pub(crate) continue_token: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) retry_after_seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) field: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

impl Cause {
    /// `value` is shown as JSON, as upstream does.
    pub(crate) fn invalid(field: &str, value: impl Serialize, detail: &str) -> Self {
        let value = serde_json::to_string(&value).unwrap_or_default();
        Self {
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {detail}"),
            field: field.to_owned(),
        }
    }

    pub(crate) fn required(field: &str, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { reason: "FieldValueRequired", message, field: field.to_owned() }
    }

    pub(crate) fn forbidden(field: &str, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {detail}"), field: field.to_owned() }
    }

    pub(crate) fn too_long(field: &str, limit: usize) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self { reason: "FieldValueTooLong", message, field: field.to_owned() }
    }

    /// `dryRun` is a list, of nothing but `All`.
    pub(crate) fn no_dry_run(values: &[&str]) -> Option<Self> {
        let shown = serde_json::to_string(values).unwrap_or_default();
        values.iter().any(|value| *value != "All").then(|| Self {
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {shown}: supported values: \"All\""),
            field: "dryRun".to_owned(),
        })
    }

    pub(crate) fn not_supported(field: &str, value: &str, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        Self {
            reason: "FieldValueNotSupported",
            message: format!("Unsupported value: {value:?}: supported values: {}", supported.join(", ")),
            field: field.to_owned(),
        }
    }
}

/// A kind nobody knows, in the words of upstream's scheme.
pub(crate) fn unregistered(kind: &str, version: &str) -> String {
    format!("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"")
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, continue_token: None }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.name = name.to_owned();
        details.group = kind.group.to_owned();
        details.kind = kind.plural.to_owned();
        self
    }

    fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.details.get_or_insert_default().causes = causes;
        self
    }

    fn with_empty_details(mut self) -> Self {
        self.details.get_or_insert_default();
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    pub(crate) fn retry_after_seconds(&self) -> u32 {
        self.details.as_ref().map_or(0, |details| details.retry_after_seconds)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str, causes: Vec<Cause>) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.qualified());
        Self::new(403, "Forbidden", message).about(kind, name).with_causes(causes)
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.qualified())).about(kind, name)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_empty_details()
    }

    /// A path of a group that is served, but with nothing behind it.
    pub(crate) fn no_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_empty_details()
    }

    pub(crate) fn not_acceptable() -> Self {
        let available = "application/json, application/json;stream=watch";
        let message = format!("406: Not Acceptable\n\nAvailable representations: {available}");
        Self::new(406, "NotAcceptable", message).with_empty_details()
    }

    /// JSON, but in no form this server has.
    pub(crate) fn no_such_form() -> Self {
        Self::new(406, "NotAcceptable", "only the following media types are accepted: application/json")
    }

    /// A form of answer that doesn't fit what was asked for.
    pub(crate) fn not_acceptable_as(form: &str, why: &str) -> Self {
        Self::new(406, "NotAcceptable", format!("you requested {form}, but the requested object {why}"))
    }

    /// A body that isn't JSON, or not an object.
    pub(crate) fn unrecognized(kind: &str, body: &[u8], error: &serde_json::Error) -> Self {
        let why = if body.is_empty() { "unexpected end of JSON input (<empty>)".to_owned() } else { error.to_string() };
        let start = format!("the object provided is unrecognized (must be of type {kind})");
        Self::bad_request(format!("{start}: couldn't get version/kind; json parse error: {why}"))
    }

    /// A resourceVersion that isn't a number: a bad request of a list, an internal error of a get or watch.
    pub(crate) fn no_version(text: &str, why: &str) -> Self {
        Self::unknown(format!("resourceVersion: Invalid value: {text:?}: {why}"))
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str, terminating: bool) -> Self {
        let prefix = if terminating { "object is being deleted: " } else { "" };
        let message = format!("{prefix}{} {name:?} already exists", kind.qualified());
        Self::new(409, "AlreadyExists", message).about(kind, name)
    }

    pub(crate) fn generated_name_taken(kind: &Kind, name: &str) -> Self {
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: format!("generateName {name:?} led to a name that exists"),
            field: "metadata.generateName".to_owned(),
        };
        Self::already_exists(kind, name, false).with_causes(vec![cause]).retry_after(1)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// Where it is upstream's storage that finds the difference, it names the kind instead of the resource.
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified_kind());
        let mut failure = Self::new(409, "Conflict", message).about(kind, name);
        failure.details.get_or_insert_default().kind = kind.kind.to_owned();
        failure
    }

    pub(crate) fn unsupported_patch() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").with_empty_details()
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422 of an object.
    pub(crate) fn invalid(kind: &Kind, name: &str, causes: Vec<Cause>) -> Self {
        // Validation is of the kind that is stored, not of a resource: upstream puts the kind's name here.
        let kind = kind.stored();
        let mut failure = Self::invalid_as(&kind.qualified_kind(), name, causes).about(kind, name);
        failure.details.get_or_insert_default().kind = kind.kind.to_owned();
        failure
    }

    /// 422 of the options of a list or watch.
    pub(crate) fn invalid_options(causes: Vec<Cause>) -> Self {
        Self::invalid_of(("meta.k8s.io", "ListOptions"), "", causes)
    }

    /// 422 of something that isn't stored: `(group, kind)`.
    pub(crate) fn invalid_of((group, kind): (&str, &str), name: &str, causes: Vec<Cause>) -> Self {
        let what = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut failure = Self::invalid_as(&what, name, causes);
        let details = failure.details.get_or_insert_default();
        details.name = name.to_owned();
        details.group = group.to_owned();
        details.kind = kind.to_owned();
        failure
    }

    fn invalid_as(what: &str, name: &str, causes: Vec<Cause>) -> Self {
        let text = |cause: &Cause| format!("{}: {}", cause.field, cause.message);
        let message = match causes.as_slice() {
            [] => format!("{what} {name:?} is invalid"),
            [only] => format!("{what} {name:?} is invalid: {}", text(only)),
            many => {
                // A cause may be found twice; the text has it once.
                let mut all: Vec<String> = Vec::new();
                for text in many.iter().map(text) {
                    if !all.contains(&text) {
                        all.push(text);
                    }
                }
                let all = if all.len() == 1 { all.concat() } else { format!("[{}]", all.join(", ")) };
                format!("{what} {name:?} is invalid: {all}")
            }
        };
        Self::new(422, "Invalid", message).with_causes(causes)
    }

    /// 422 of a patch that could not be applied. Upstream doesn't say why.
    pub(crate) fn unprocessable() -> Self {
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request").with_empty_details()
    }

    /// 422 of a patch whose result is no object of the kind any more. It names nothing, upstream too.
    pub(crate) fn unlike(patched: &Map<String, Value>, why: &Self) -> Self {
        let shown = serde_json::to_string(patched).unwrap_or_default();
        Self::invalid_of(("", ""), "", vec![Cause::invalid("patch", shown, &why.message)])
    }

    /// 422 of an object whose resource is named instead of its kind.
    pub(crate) fn invalid_resource(kind: &Kind, name: &str, causes: Vec<Cause>) -> Self {
        Self::invalid_as(&kind.qualified(), name, causes).about(kind, name)
    }

    /// 500 without a reason: what upstream makes of an error it has no Status for.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// The watch cache isn't initialised: come again, the later the longer that lasts.
    pub(crate) fn not_ready(since: Duration) -> Self {
        // Upstream's e^(0.06 s), by its table: 30 is reached after 57 seconds.
        let seconds = (1..30).take_while(|seconds| f64::from(*seconds + 1).ln() <= 0.06 * since.as_secs_f64()).count();
        let seconds = u32::try_from(seconds + 1).unwrap_or(30);
        Self::new(429, "TooManyRequests", "storage is (re)initializing").retry_after(seconds)
    }

    pub(crate) fn timeout() -> Self {
        let message =
            "Timeout: request did not complete within requested timeout - context deadline exceeded".to_owned();
        let mut failure = Self::new(504, "Timeout", message);
        failure.details.get_or_insert_default();
        failure
    }

    /// A read asked for a version that isn't there yet.
    pub(crate) fn too_large_version(asked: u64, present: u64) -> Self {
        let cause = Cause {
            reason: "ResourceVersionTooLarge",
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        let message = format!("Timeout: Too large resource version: {asked}, current: {present}");
        Self::new(504, "Timeout", message).with_causes(vec![cause]).retry_after(1)
    }

    /// The Status as JSON.
    pub(crate) fn encode(&self) -> Bytes {
        let status = Status {
            kind: "Status",
            api_version: "v1",
            metadata: ListMeta { continue_token: self.continue_token.as_deref() },
            status: "Failure",
            message: &self.message,
            reason: self.reason,
            details: self.details.as_deref(),
            code: self.code,
        };
        Bytes::from(serde_json::to_vec(&status).expect("a Status has only text and numbers"))
    }
}

/// The Status that a completed deletion answers with.
pub(crate) fn deleted(kind: &Kind, name: &str, uid: &str) -> Bytes {
    let details = Details {
        name: name.to_owned(),
        group: kind.group.to_owned(),
        kind: kind.plural.to_owned(),
        uid: uid.to_owned(),
        ..Details::default()
    };
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    Bytes::from(status.to_string())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta<'a>,
    status: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

#[derive(Serialize)]
struct ListMeta<'a> {
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    continue_token: Option<&'a str>,
}
