//! What upstream checks of Namespaces, Leases, candidates for them, and Events.
//!
//! Comes in: an object about to be written. Goes out: the causes of a 422.

use serde_json::{Map, Value};

use super::names::label_key_problems;
use super::owners::qualified;
use crate::object::{at, text};
use crate::status::Cause;

/// reportingInstance, action and reason of an Event.
const TEXT_LIMIT: usize = 128;
/// The note of an Event.
const NOTE_LIMIT: usize = 1024;
const OLDEST: &str = "OldestEmulationVersion";

/// Namespace: what holds it has a proper name, and its phase is what its deletion makes it.
pub(crate) fn namespace(object: &Map<String, Value>, before: Option<&Map<String, Value>>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let finalizers = at(object, &["spec", "finalizers"]).and_then(Value::as_array);
    for (place, finalizer) in finalizers.into_iter().flatten().enumerate() {
        let field = format!("spec.finalizers[{place}]");
        for problem in finalizer.as_str().map(label_key_problems).unwrap_or_default() {
            causes.push(Cause::invalid(&field, finalizer, problem));
        }
        qualified(&field, finalizer, &mut causes);
    }
    let phase = text(object, &["status", "phase"]).unwrap_or_default();
    let (expected, problem) = if at(object, &["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_null()) {
        ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
    } else {
        ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
    };
    if before.is_some() && phase != expected {
        causes.push(Cause::invalid("status.Phase", phase, problem));
    }
    causes
}

/// Lease: a duration is positive, transitions don't go below zero. An empty holder is allowed, that is how a release looks.
pub(crate) fn lease(object: &Map<String, Value>, _: Option<&Map<String, Value>>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let integer = |name| at(object, &["spec", name]).and_then(Value::as_i64);
    if let Some(seconds) = integer("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        causes.push(Cause::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    if let Some(count) = integer("leaseTransitions").filter(|count| *count < 0) {
        causes.push(Cause::invalid("spec.leaseTransitions", count, "must be greater than or equal to 0"));
    }
    let field = |name| text(object, &["spec", name]);
    if let Some(chosen) = field("strategy") {
        strategy("spec.strategy", chosen, &mut causes);
    }
    let preferred = field("preferredHolder").unwrap_or_default();
    if !preferred.is_empty() && field("strategy").unwrap_or_default().is_empty() {
        let detail = "may only be specified if `strategy` is defined";
        causes.push(Cause::forbidden("spec.preferredHolder", detail));
    }
    causes
}

/// LeaseCandidate: whose Lease, which binary, and how the leader is to be chosen.
pub(crate) fn lease_candidate(object: &Map<String, Value>, _: Option<&Map<String, Value>>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let field = |name| text(object, &["spec", name]).unwrap_or_default();
    if field("leaseName").is_empty() {
        causes.push(Cause::required("spec.leaseName", ""));
    }
    let emulated = version(field("emulationVersion"));
    if !field("emulationVersion").is_empty() && emulated.is_none() {
        let problem = "must be a valid semantic version";
        causes.push(Cause::invalid("spec.emulationVersion", field("emulationVersion"), problem));
    }
    let binary = field("binaryVersion");
    match version(binary) {
        _ if binary.is_empty() => causes.push(Cause::required("spec.binaryVersion", "")),
        None => causes.push(Cause::invalid("spec.binaryVersion", binary, "must be a valid semantic version")),
        Some(version) if emulated.is_some_and(|emulated| version < emulated) => {
            let problem = "must be greater than or equal to `emulationVersion`";
            causes.push(Cause::invalid("spec.binaryVersion", binary, problem));
        }
        Some(_) => {}
    }
    if field("strategy").is_empty() {
        causes.push(Cause::required("spec.strategy", ""));
    } else {
        if field("strategy") == OLDEST && emulated.is_none_or(|emulated| emulated == [0, 0, 0]) {
            let detail = "must be specified when `strategy` is 'OldestEmulationVersion'";
            causes.push(Cause::required("spec.emulationVersion", detail));
        }
        strategy("spec.strategy", field("strategy"), &mut causes);
    }
    causes
}

/// Upstream's own strategy, or someone's with a domain in front.
fn strategy(path: &str, strategy: &str, causes: &mut Vec<Cause>) {
    // The field's name is there twice upstream too.
    let path = format!("{path}.strategy");
    if !strategy.contains('/') {
        if strategy != OLDEST {
            causes.push(Cause::not_supported(&path, strategy, &[OLDEST]));
        }
    } else {
        let problems = label_key_problems(strategy).into_iter();
        causes.extend(problems.map(|problem| Cause::invalid(&path, strategy, problem)));
    }
}

/// The three numbers of a semantic version; what comes after them is not compared.
fn version(text: &str) -> Option<[u64; 3]> {
    let core = text.split(['-', '+']).next()?;
    let mut numbers = core.split('.').map(|number| match number {
        "0" => Some(0),
        number if number.starts_with(['0', '+']) => None,
        number => number.parse().ok(),
    });
    let version = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(version)
}

/// Event of the core group. One without eventTime is of the old sort, of which hardly anything is asked.
pub(crate) fn core_event(event: &Map<String, Value>, _: Option<&Map<String, Value>>) -> Vec<Cause> {
    plain_event(event, ["involvedObject", "reportingComponent", "message"])
}

/// Event of events.k8s.io/v1: of the new sort, with nothing in it that belongs to the old one, and later only counted. Causes
/// name most fields as the core group does, as upstream's do.
pub(crate) fn event(event: &Map<String, Value>, before: Option<&Map<String, Value>>) -> Vec<Cause> {
    let mut causes = plain_event(event, ["regarding", "reportingController", "note"]);
    if before.is_none_or(|before| before.get("series") != event.get("series")) {
        series(event, &mut causes);
    }
    if let Some(before) = before {
        unchanged(event, before, &mut causes);
        return causes;
    }
    if text(event, &["eventTime"]).is_none() {
        causes.push(Cause::required("eventTime", ""));
    }
    let kind = text(event, &["type"]).unwrap_or_default();
    if kind != "Normal" && kind != "Warning" {
        causes.push(Cause::invalid("type", "", &format!("has invalid value: {kind}")));
    }
    let old_sort = [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ];
    for (member, field) in old_sort {
        let set = event.get(member).is_some_and(|value| match value {
            Value::Null => false,
            Value::Number(number) => number.as_i64() != Some(0),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        });
        if set {
            causes.push(Cause::invalid(field, "", "needs to be unset"));
        }
    }
    causes
}

fn series(event: &Map<String, Value>, causes: &mut Vec<Cause>) {
    if !event.get("series").is_some_and(Value::is_object) {
        return;
    }
    if at(event, &["series", "count"]).and_then(Value::as_i64).unwrap_or(0) < 2 {
        causes.push(Cause::invalid("series.count", "", "should be at least 2"));
    }
    if text(event, &["series", "lastObservedTime"]).is_none() {
        causes.push(Cause::required("series.lastObservedTime", ""));
    }
}

/// What an update through events.k8s.io leaves as it was: all but the series and the metadata.
fn unchanged(event: &Map<String, Value>, before: &Map<String, Value>, causes: &mut Vec<Cause>) {
    // The reason is there twice upstream too.
    let members = [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    for (member, field) in members.into_iter().filter(|(member, _)| event.get(*member) != before.get(*member)) {
        causes.push(Cause::invalid(field, event.get(member).unwrap_or(&Value::Null), "field is immutable"));
    }
}

/// What both groups ask of an event; three of its fields have other names in each.
fn plain_event(event: &Map<String, Value>, [object, reporter, note]: [&str; 3]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let namespace = text(event, &["metadata", "namespace"]).unwrap_or_default();
    let involved = text(event, &[object, "namespace"]).unwrap_or_default();
    let old_sort = text(event, &["eventTime"]).is_none();
    // An event about something cluster-scoped lives in one of a few namespaces.
    let fits = match involved {
        "" => namespace == "default" || (!old_sort && namespace == "kube-system"),
        _ => !old_sort || involved == namespace,
    };
    if !fits {
        causes.push(Cause::invalid("involvedObject.namespace", involved, "does not match event.namespace"));
    }
    if old_sort {
        return causes;
    }
    let controller = text(event, &[reporter]).unwrap_or_default();
    if controller.is_empty() {
        causes.push(Cause::required(reporter, ""));
    }
    for problem in label_key_problems(controller) {
        causes.push(Cause::invalid(reporter, controller, problem));
    }
    for field in ["reportingInstance", "action", "reason"] {
        let value = text(event, &[field]).unwrap_or_default();
        if value.is_empty() {
            causes.push(Cause::required(field, ""));
        } else if value.len() > TEXT_LIMIT {
            let problem = format!("can have at most {TEXT_LIMIT} characters");
            causes.push(Cause::invalid(field, "", &problem));
        }
    }
    if text(event, &[note]).is_some_and(|note| note.len() > NOTE_LIMIT) {
        causes.push(Cause::invalid("message", "", &format!("can have at most {NOTE_LIMIT} characters")));
    }
    causes
}
