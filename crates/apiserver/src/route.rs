//! From a request line to what it is about.
//!
//! Comes in: path, query and headers. Goes out: a target of the table of kinds, decoded parameters, or the answer that
//! nothing is there. Never looks at stored objects.

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::kinds::{self, KindId, Subresource};
use crate::status::{Cause, Failure};

/// What a resource path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: KindId,
    /// Empty for cluster-scoped kinds and for a collection over all namespaces.
    pub(crate) namespace: String,
    /// `None`: the collection.
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<Subresource>,
}

impl Target {
    /// Whether what is named can be read: of the sub-resources, only the status.
    pub(crate) fn is_readable(&self) -> bool {
        matches!(self.subresource, None | Some(Subresource::Status))
    }

    /// What keys of this target begin with.
    pub(crate) fn prefix(&self) -> String {
        if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) }
    }

    /// The key of `name` in this target's namespace.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }
}

/// Reads a path such as `/apis/coordination.k8s.io/v1/namespaces/a/leases/b/status`. `None`: nothing is served there.
pub(crate) fn target(path: &str) -> Option<Target> {
    let mut segments = Vec::new();
    for segment in path.strip_prefix('/')?.trim_end_matches('/').split('/') {
        segments.push(percent_decode(segment, false)?);
    }
    let mut segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version) = match segments.as_slice() {
        ["api", version, ..] => ("", *version),
        ["apis", group, version, ..] => (*group, *version),
        _ => return None,
    };
    let rest = segments.split_off(if group.is_empty() { 2 } else { 3 });
    let find = |plural: &str| kinds::find(group, version, plural);
    // A namespace is both an object and the place of others: /namespaces/a/status is the former, /namespaces/a/pods the latter.
    let (kind, namespace, rest) = match rest.as_slice() {
        ["namespaces", namespace, plural, rest @ ..] if !matches!(*plural, "status" | "finalize") => {
            let kind = find(plural).filter(|kind| kinds::kind(*kind).namespaced)?;
            (kind, *namespace, rest)
        }
        [plural, rest @ ..] => (find(plural)?, "", rest),
        [] => return None,
    };
    let row = kinds::kind(kind);
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (Some(*name), None),
        [name, below] => {
            let known = row.subresources.iter().find(|subresource| subresource.name() == *below)?;
            (Some(*name), Some(*known))
        }
        _ => return None,
    };
    // Objects of a namespaced kind are reached only through their namespace.
    if row.namespaced && namespace.is_empty() && name.is_some() {
        return None;
    }
    Some(Target { kind, namespace: namespace.to_owned(), name: name.map(str::to_owned), subresource })
}

/// Whether a path is below a group that has resources, whatever its version.
pub(crate) fn is_of_known_group(path: &str) -> bool {
    let group = match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
        ["api", _, _, ..] => "",
        ["apis", group, _, _, ..] if !group.is_empty() => *group,
        _ => return false,
    };
    kinds::all().any(|(_, row)| row.group == group)
}

/// The decoded parameters of a request. Unknown ones are ignored by whoever asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = percent_decode(name, true).zip(percent_decode(value, true));
            all.push(decoded.ok_or_else(|| Failure::bad_request(format!("invalid URL escape in {pair:?}")))?);
        }
        Ok(Self(all))
    }

    /// The first value of `name`; empty counts as absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.raw(name).unwrap_or_default()
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Absent, `0` and `false` are false, all else is true, as upstream reads booleans.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.raw(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A whole number; one below zero is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        match self.text(name) {
            "" => Ok(None),
            value => match value.parse::<i64>() {
                Ok(number) => Ok(u64::try_from(number).ok()),
                Err(_) => Err(Failure::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))),
            },
        }
    }

    /// The resourceVersion of a read; empty is none.
    pub(crate) fn version(&self) -> Result<Option<u64>, Failure> {
        match self.text("resourceVersion") {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Failure::no_version(text)),
        }
    }

    /// The Go duration `timeout`; zero, and what is below, counts as absent.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, Failure> {
        match self.text("timeout") {
            "" => Ok(None),
            value => match go_duration(value.trim_start_matches('-')) {
                Some(Duration::ZERO) => Ok(None),
                Some(_) if value.starts_with('-') => Ok(None),
                Some(timeout) => Ok(Some(timeout)),
                None => {
                    let message =
                        format!("invalid timeout specified in the request URL - time: invalid duration {value:?}");
                    Err(Failure::bad_request(message))
                }
            },
        }
    }

    /// `dryRun=All`, of options of this kind.
    pub(crate) fn dry_run(&self, options: &str) -> Result<bool, Failure> {
        match self.text("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => {
                let cause = Cause {
                    reason: "FieldValueNotSupported",
                    message: format!("Unsupported value: [{other:?}]: supported values: \"All\""),
                    field: "dryRun".to_owned(),
                };
                Err(Failure::invalid_of(("meta.k8s.io", options), "", vec![cause]))
            }
        }
    }
}

/// A Go duration that isn't negative: `1500ms`, `1m30s`, `0`, `2.5s`.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0.0_f64;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
        if rest.is_empty() {
            return Duration::try_from_secs_f64(total).ok();
        }
    }
}

/// The media type of the body, without parameters; JSON where none is given.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media.is_empty() { "application/json".to_owned() } else { media }
}

/// `None`: not an escape, or not UTF-8 afterwards.
pub(crate) fn percent_decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
#[path = "route_test.rs"]
mod tests;
