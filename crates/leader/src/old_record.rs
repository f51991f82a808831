//! What an old lock says: the annotation on Endpoints or a ConfigMap by which client-go elected leaders before there were Leases.
//!
//! In: the object as a server returned it, or that there is none, with the gate clock at the receipt. Out: who holds it, from when on it
//! may be taken, and the object that takes, renews or gives it back. Never: reads a clock, or a time that somebody else wrote.
//!
//! The rules are those of a Lease (C1 to C3 in `election.rs`), on the annotation's text instead of a version, since others may edit the
//! object for other reasons:
//!
//! * It may be taken once it has stood still for the longest of the recorded duration, the longest seen of its last holder, and the own.
//! * That also goes for an annotation without a holder (client-go's release may come before its work has stopped), for none, for an
//!   object that is missing, and for text that can't be understood, whose holder is unknown.
//! * At once only after a release by these rules, which leaves a marker with the very text beside it, and on an own record.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::clock::GateInstant;
use crate::record::{RELEASED_ANNOTATION, map, map_of, whole_seconds};

/// The annotation with the record. Upstream: `LeaderElectionRecordAnnotationKey`.
pub const OLD_LOCK_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// By how much two renewals differ at least; a Lease's times have as many digits.
const LITTLE: SignedDuration = SignedDuration::from_micros(1);

/// By how much a `renewTime` written here may be ahead of the wall clock.
const AHEAD: SignedDuration = SignedDuration::from_secs(1);

/// Who is shown for text that can't be understood. Upstream's name for it.
const UNKNOWN: &str = "leaderelection.k8s.io/unknown";

/// An annotation that could be understood.
#[derive(Clone, Debug, PartialEq)]
struct Record {
    holder: String,
    duration: Option<Duration>,
    /// A text to compare, no time.
    acquired: String,
}

/// What was seen of an old lock, and since when.
pub(crate) struct OldWatch {
    identity: String,
    lease_duration: Duration,
    /// The object; Null: there is none.
    object: Value,
    since: Option<GateInstant>,
    /// The holder seen last, also if it holds no more: who, and since when by its own words.
    last: Option<(String, String)>,
    /// The longest duration of that one.
    longest: Duration,
    /// Whoever was replaced by something else than a release is silent by then.
    not_before: GateInstant,
    /// The last `renewTime` written here.
    written: Option<Timestamp>,
}

impl OldWatch {
    pub(crate) fn new(identity: &str, lease_duration: Duration) -> Self {
        Self {
            identity: identity.to_owned(),
            lease_duration,
            object: Value::Null,
            since: None,
            last: None,
            longest: lease_duration,
            not_before: GateInstant::from_nanos(0),
            written: None,
        }
    }

    /// The object was shown at `received`; None: there is none.
    pub(crate) fn saw(&mut self, object: Option<Value>, received: GateInstant) {
        let object = object.unwrap_or(Value::Null);
        let says = |object: &Value| (uid(object).to_owned(), text(object).map(str::to_owned));
        let same = self.since.is_some() && says(&self.object) == says(&object);
        let before = std::mem::replace(&mut self.object, object);
        if same {
            return;
        }
        self.since = Some(received);
        if self.released_properly() {
            self.not_before = received;
        } else if text(&before).is_some_and(|text| Record::parse_or_unknown(text).holder != self.holder()) {
            self.not_before = self.not_before.max(received + self.longest);
        }
        let Some(record) = self.record().filter(|record| !record.holder.is_empty()) else { return };
        let duration = record.duration.unwrap_or(self.lease_duration);
        let another = self.last.as_ref().is_none_or(|(holder, _)| *holder != record.holder);
        self.longest = if another { duration } else { self.longest.max(duration) };
        self.last = Some((record.holder, record.acquired));
    }

    /// From when on it may be taken as it is shown; None before the first look.
    pub(crate) fn free_at(&self) -> Option<GateInstant> {
        let since = self.since?;
        if self.is_own() || self.released_properly() {
            return Some(since);
        }
        let recorded = self.record().and_then(|record| record.duration).unwrap_or_default();
        Some((since + recorded.max(self.longest).max(self.lease_duration)).max(self.not_before))
    }

    /// Who holds it as it is shown, empty if nobody does.
    pub(crate) fn holder(&self) -> String {
        self.record().map_or_else(String::new, |record| record.holder)
    }

    pub(crate) fn is_own(&self) -> bool {
        self.holder() == self.identity
    }

    /// Whether there is an object to replace; otherwise it has to be created.
    pub(crate) fn is_there(&self) -> bool {
        self.object.is_object()
    }

    /// The object that says what this Lease says.
    pub(crate) fn follows(&mut self, lease: &Value) -> Value {
        let record = self.writes(lease).to_string();
        let mut object = self.object.clone();
        let annotations = map(map(map_of(&mut object), "metadata"), "annotations");
        annotations.remove(RELEASED_ANNOTATION);
        annotations.insert(OLD_LOCK_ANNOTATION.to_owned(), json!(record));
        object
    }

    /// The same for a Lease that is given back: with the marker.
    pub(crate) fn given_back(&mut self, lease: &Value) -> Value {
        let mut object = self.follows(lease);
        let marker = self.marker(text(&object).unwrap_or_default());
        map(map(map_of(&mut object), "metadata"), "annotations").insert(RELEASED_ANNOTATION.to_owned(), marker);
        object
    }

    /// As client-go writes it, under names of its own; but for the time of the renewal, of which it writes whole seconds only, though it
    /// reads fractions: with those, two renewals within a second don't look like one.
    fn writes(&mut self, lease: &Value) -> Value {
        let spec = &lease["spec"];
        let time = |field: &str| {
            let time = spec[field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            time.unwrap_or(Timestamp::UNIX_EPOCH)
        };
        let acquired = Timestamp::from_second(time("acquireTime").as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
        let renewed = self.another(time("renewTime"));
        self.written = Some(renewed);
        json!({
            "holderIdentity": spec["holderIdentity"],
            "leaseDurationSeconds": spec["leaseDurationSeconds"],
            "acquireTime": acquired.to_string(),
            "renewTime": renewed.to_string(),
            "leaderTransitions": spec["leaseTransitions"],
        })
    }

    /// The time of a renewal, or if it is none later than the last, a little more than that; unless the wall clock has been set back,
    /// since then it is another one by itself.
    fn another(&self, renewed: Timestamp) -> Timestamp {
        let later = self.written.and_then(|written| written.checked_add(LITTLE).ok());
        later.filter(|later| later.duration_since(renewed) <= AHEAD).map_or(renewed, |later| later.max(renewed))
    }

    fn marker(&self, record: &str) -> Value {
        json!(format!("{} {record}", self.identity))
    }

    /// The marker is that of the record beside it, and of the term seen last, if one was seen.
    fn released_properly(&self) -> bool {
        let Some(record) = self.record().filter(|record| record.holder.is_empty()) else { return false };
        let marker = annotation(&self.object, RELEASED_ANNOTATION).and_then(|marker| marker.split_once(' '));
        let Some((by, of)) = marker else { return false };
        let of_last = self.last.as_ref().is_none_or(|(holder, acquired)| holder == by && *acquired == record.acquired);
        Some(of) == text(&self.object) && of_last
    }

    /// None: there is no annotation.
    fn record(&self) -> Option<Record> {
        text(&self.object).map(Record::parse_or_unknown)
    }
}

impl Record {
    fn parse_or_unknown(text: &str) -> Self {
        let unknown = || Self { holder: UNKNOWN.to_owned(), duration: None, acquired: String::new() };
        Self::parse(text).unwrap_or_else(unknown)
    }

    fn parse(text: &str) -> Option<Self> {
        let record: Map<String, Value> = serde_json::from_str(text).ok()?;
        let holder = match record.get("holderIdentity") {
            None | Some(Value::Null) => "",
            Some(holder) => holder.as_str()?,
        };
        let duration = record.get("leaseDurationSeconds").and_then(whole_seconds);
        let acquired = record.get("acquireTime").and_then(Value::as_str).unwrap_or_default();
        Some(Self { holder: holder.to_owned(), duration, acquired: acquired.to_owned() })
    }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn text(object: &Value) -> Option<&str> {
    annotation(object, OLD_LOCK_ANNOTATION)
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

#[cfg(test)]
#[path = "old_record_tests.rs"]
mod tests;
