//! From a request line to what it is about.
//!
//! Comes in: path, query and headers. Goes out: a target of the table of kinds, decoded parameters, or the answer that
//! nothing is there. Never looks at stored objects.

use std::num::IntErrorKind;
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::kinds::{self, KindId, Subresource};
use crate::status::{Cause, Failure};

/// Longest name of a field manager in bytes.
const MANAGER_LIMIT: usize = 128;

/// Go counts durations in nanoseconds of 63 bits.
const LONGEST_DURATION: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

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
        // A name has no slash in it, however it is written.
        segments.push(percent_decode(segment, false).filter(|segment| !segment.contains('/'))?);
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
    /// Pairs that can't be decoded are passed over, as Go passes them over.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
        let decoded = pairs.filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let read = |text| Some(String::from_utf8_lossy(&unescaped(text, true)?).into_owned());
            read(name).zip(read(value))
        });
        Self(decoded.collect())
    }

    /// The first value of `name`; empty counts as absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.raw(name).unwrap_or_default()
    }

    /// The first value of `name`, if it is there at all.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Absent, `0` and `false` are false, all else is true, as upstream reads booleans.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.raw(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A whole number; one below zero is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        match value.parse::<i64>() {
            Ok(number) => Ok(u64::try_from(number).ok()),
            Err(error) => {
                let out_of_range = matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
                let problem = if out_of_range { "value out of range" } else { "invalid syntax" };
                Err(Failure::bad_request(format!("strconv.ParseInt: parsing {value:?}: {problem}")))
            }
        }
    }

    /// What upstream reads of a list, a watch or the deletion of a collection before it looks at what it means.
    pub(crate) fn check_numbers(&self) -> Result<(), Failure> {
        ["timeoutSeconds", "limit"].into_iter().try_for_each(|name| self.number(name).map(drop))
    }

    /// The resourceVersion of a read; empty is none.
    pub(crate) fn version(&self) -> Result<Option<u64>, Failure> {
        match self.text("resourceVersion") {
            "" => Ok(None),
            text => go_uint(text).map(Some).map_err(|why| Failure::no_version(text, &why)),
        }
    }

    /// The Go duration `timeout`; zero, and what is below, counts as absent.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, Failure> {
        let value = self.text("timeout");
        if value.is_empty() {
            return Ok(None);
        }
        let timeout = go_duration(value.strip_prefix('-').unwrap_or(value)).map_err(|wrong| {
            let problem = match wrong {
                WrongDuration::Invalid => "invalid duration ".to_owned(),
                WrongDuration::NoUnit => "missing unit in duration ".to_owned(),
                WrongDuration::Unit(unit) => format!("unknown unit {unit:?} in duration "),
            };
            let place = "invalid timeout specified in the request URL";
            Failure::bad_request(format!("{place} - time: {problem}{value:?}"))
        })?;
        Ok(Some(timeout).filter(|timeout| !timeout.is_zero() && !value.starts_with('-')))
    }

    /// All values of `dryRun`.
    pub(crate) fn dry_run(&self) -> Vec<&str> {
        self.all("dryRun").collect()
    }

    /// Whether a write of these options is a dry run; or what is wrong with its options.
    pub(crate) fn write_options(&self, options: &str) -> Result<bool, Failure> {
        let mut causes = Vec::new();
        if options == "PatchOptions" && self.raw("force").is_some() {
            causes.push(Cause::forbidden("force", "may not be specified for non-apply patch"));
        }
        let manager = self.text("fieldManager");
        if manager.len() > MANAGER_LIMIT {
            causes.push(Cause::too_long("fieldManager", MANAGER_LIMIT));
        }
        for (place, character) in manager.char_indices().filter(|(_, character)| character.is_control()) {
            let problem = format!("invalid character U+{:04X} (at position {place})", u32::from(character));
            causes.push(Cause::invalid("fieldManager", manager, &problem));
        }
        causes.extend(Cause::no_dry_run(&self.dry_run()));
        let validation = self.text("fieldValidation");
        if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
            causes.push(Cause::not_supported("fieldValidation", validation, &["", "Ignore", "Strict", "Warn"]));
        }
        if causes.is_empty() {
            return Ok(!self.dry_run().is_empty());
        }
        Err(Failure::invalid_of(("meta.k8s.io", options), "", causes))
    }
}

/// Go's `ParseUint`, or its words.
pub(crate) fn go_uint(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if digits { "value out of range" } else { "invalid syntax" };
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| format!("strconv.ParseUint: parsing {text:?}: {problem}"))
}

/// Why a text is no Go duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WrongDuration {
    Invalid,
    NoUnit,
    Unit(String),
}

/// A Go duration that isn't negative: `1500ms`, `1m30s`, `0`, `2.5s`.
pub(crate) fn go_duration(text: &str) -> Result<Duration, WrongDuration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0.0_f64;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| WrongDuration::Invalid)?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "" => return Err(WrongDuration::NoUnit),
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                other => return Err(WrongDuration::Unit(other.to_owned())),
            };
        rest = &rest[end..];
        if rest.is_empty() {
            let total = Duration::try_from_secs_f64(total).ok();
            return total.filter(|total| *total <= LONGEST_DURATION).ok_or(WrongDuration::Invalid);
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
    String::from_utf8(unescaped(text, plus_is_space)?).ok()
}

fn unescaped(text: &str, plus_is_space: bool) -> Option<Vec<u8>> {
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
    Some(plain)
}

#[cfg(test)]
#[path = "route_test.rs"]
mod tests;
