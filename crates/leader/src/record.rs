//! What a Lease says, and the bodies of the writes that change what it says.
//!
//! In: the JSON object a server returned, whatever is in it. Out: the few fields an election reads, and new objects
//! that differ from the one read only where the election has something to say.
//! Never: drops labels, annotations or fields it doesn't know; reads a time (they are for people).
//!
//! The record is kept as the JSON it came as, because a PUT replaces the whole object.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::bucket::fnv1a;
use crate::timings::LONGEST_LEASE;

/// Annotation that a releasing holder leaves: `"<identity> <epoch>"` of the term it ends. Removed by the next takeover.
pub const RELEASED_ANNOTATION: &str = "watchkeeper.dev/released";

/// Annotation beside [`RELEASED_ANNOTATION`]: the Lease's `leaseTransitions` at the release.
///
/// Clients that don't know the marker (client-go) keep it when they take over, but they do count the transition. So a
/// marker whose count differs from the record's belongs to an earlier term.
pub const RELEASED_TRANSITIONS_ANNOTATION: &str = "watchkeeper.dev/released-transitions";

/// Annotation beside [`RELEASED_ANNOTATION`]: the identity for which the Lease was released. Others leave it to that one for a lease
/// duration. Removed by the next takeover.
pub const HANDED_TO_ANNOTATION: &str = "watchkeeper.dev/handed-to";

/// Annotation by which anybody who may update the Lease asks its holder to hand over: the identity that is to follow, or the readable
/// part of one (the pod's name, mostly). Removed by the release that answers it.
///
/// `kubectl annotate lease NAME watchkeeper.dev/hand-over-to=POD` is enough.
pub const HAND_OVER_ANNOTATION: &str = "watchkeeper.dev/hand-over-to";

/// How the annotations begin that gated writes carry, see [`epoch_annotation`].
pub const EPOCH_PREFIX: &str = "epoch.watchkeeper.dev/";

/// What fits into an annotation's name after its prefix.
const LONGEST_NAME: usize = 63;

/// Annotation stamped on gated writes of this Lease's terms: the epoch, in decimal. Epochs of different Leases can't be compared, so each
/// Lease has an annotation of its own, [`EPOCH_PREFIX`] and `NAMESPACE.NAME`; of a place too long for that, its beginning and a hash.
pub fn epoch_annotation(namespace: &str, name: &str) -> String {
    let place = format!("{namespace}.{name}");
    if place.len() <= LONGEST_NAME {
        return format!("{EPOCH_PREFIX}{place}");
    }
    let hash = format!("-{:016x}", fnv1a(place.bytes()));
    let begin: String = place.chars().take(LONGEST_NAME - hash.len()).collect();
    format!("{EPOCH_PREFIX}{begin}{hash}")
}

/// The number of a term: the resource version of the Lease write that won it.
///
/// Epochs of one Lease strictly increase, also over a deletion of the Lease (`leaseTransitions` doesn't: it restarts).
/// Only a restore of etcd to the past breaks that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u128);

impl Epoch {
    /// The epoch with this number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u128 {
        self.0
    }

    /// The epoch that a resource version or annotation in decimal stands for.
    pub fn parse(text: &str) -> Option<Self> {
        let decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if decimal { text.parse().ok().map(Self) } else { None }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A marker of a proper release: who ended which term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The identity that held the Lease.
    pub identity: String,
    /// The epoch of the term that ended.
    pub epoch: Epoch,
}

/// A Lease as a server returned it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    object: Value,
    uid: String,
    version: Epoch,
}

/// Why a server's answer can't be used as a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No `metadata.uid`, so a recreated Lease couldn't be told from this one.
    #[error("the server's Lease has no metadata.uid")]
    NoUid,
    /// No `metadata.resourceVersion`, or not a decimal one, so there would be no epoch.
    #[error("the server's Lease has no decimal metadata.resourceVersion")]
    NoVersion,
}

/// What a writer puts into a Lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The writer's identity.
    pub(crate) identity: &'a str,
    /// L, in whole seconds.
    pub(crate) duration: Duration,
    /// The wall clock, for people.
    pub(crate) wall: Timestamp,
    /// Labels to put on the Lease.
    pub(crate) labels: &'a BTreeMap<String, String>,
}

/// For what carries none.
pub(crate) static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

/// A term that a release ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) identity: &'a str,
    pub(crate) epoch: Epoch,
}

/// A recorded duration, at most [`LONGEST_LEASE`]; None if it isn't positive.
pub(crate) fn whole_seconds(value: &Value) -> Option<Duration> {
    // A number beyond u64 arrives as a float; it is longer than the longest all the same.
    let seconds = value.as_f64().filter(|seconds| *seconds >= 1.0)?;
    Some(Duration::from_secs_f64(seconds.min(LONGEST_LEASE.as_secs_f64()).floor()))
}

/// Whether an identity is meant by a text that people wrote: itself, or its readable part.
pub(crate) fn means(text: &str, identity: &str) -> bool {
    let generated = |rest: &str| {
        let mut parts = rest.splitn(3, '_');
        let (before, process, random) = (parts.next(), parts.next(), parts.next());
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let hexes = |part: &str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        before == Some("") && process.is_some_and(digits) && random.is_some_and(hexes)
    };
    text == identity || identity.strip_prefix(text).is_some_and(generated)
}

impl Lease {
    /// Reads what an election needs to know of any object.
    ///
    /// # Errors
    /// Without uid or decimal resource version the object can't be used. Whatever else is missing or absurd can.
    pub fn parse(object: Value) -> Result<Self, RecordError> {
        let metadata = object.get("metadata");
        let text = |name: &str| metadata.and_then(|metadata| metadata.get(name)).and_then(Value::as_str);
        let uid = text("uid").filter(|uid| !uid.is_empty()).ok_or(RecordError::NoUid)?.to_owned();
        let version = text("resourceVersion").and_then(Epoch::parse).ok_or(RecordError::NoVersion)?;
        Ok(Self { object, uid, version })
    }

    /// The JSON object.
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// `metadata.resourceVersion`, which is the epoch if this is the answer to a write that won a term.
    pub fn version(&self) -> Epoch {
        self.version
    }

    /// `spec.holderIdentity`, empty if nobody holds the Lease.
    pub fn holder(&self) -> &str {
        self.spec("holderIdentity").and_then(Value::as_str).unwrap_or_default()
    }

    /// `spec.leaseDurationSeconds`, at most [`LONGEST_LEASE`]. None if it is missing or not positive, since such a value
    /// says nothing about how long the holder may act.
    pub fn duration(&self) -> Option<Duration> {
        whole_seconds(self.spec("leaseDurationSeconds")?)
    }

    /// `spec.leaseTransitions`, zero if it is missing or absurd.
    pub fn transitions(&self) -> i32 {
        let value = self.spec("leaseTransitions").and_then(Value::as_i64).unwrap_or(0);
        i32::try_from(value.max(0)).unwrap_or(i32::MAX)
    }

    /// `spec.acquireTime` as text. Compared only with what this process wrote itself; never understood as a time.
    pub fn acquire_time(&self) -> &str {
        self.spec("acquireTime").and_then(Value::as_str).unwrap_or_default()
    }

    /// `spec.renewTime` as text. Compared only with what this process wrote itself; never understood as a time.
    pub fn renew_time(&self) -> &str {
        self.spec("renewTime").and_then(Value::as_str).unwrap_or_default()
    }

    /// The marker of a proper release of the last term, if nobody holds the Lease and no term has followed.
    pub fn release(&self) -> Option<Release> {
        if self.holder().is_empty() { self.marker() } else { None }
    }

    /// The same whoever is shown as the holder: a server that names somebody counts no transition and removes no marker.
    pub(crate) fn marker(&self) -> Option<Release> {
        let counted = self.annotation(RELEASED_TRANSITIONS_ANNOTATION)?;
        if counted != self.transitions().to_string() {
            return None;
        }
        let (identity, epoch) = self.annotation(RELEASED_ANNOTATION)?.rsplit_once(' ')?;
        let epoch = Epoch::parse(epoch)?;
        // A term can't have begun after the write that ended it.
        (!identity.is_empty() && epoch < self.version).then(|| Release { identity: identity.to_owned(), epoch })
    }

    /// For whom the Lease was released, if it was for somebody.
    pub fn handed_to(&self) -> Option<&str> {
        self.release()?;
        self.annotation(HANDED_TO_ANNOTATION).filter(|to| !to.is_empty())
    }

    /// To whom the holder is asked to hand over.
    pub fn hand_over(&self) -> Option<&str> {
        self.annotation(HAND_OVER_ANNOTATION).filter(|to| !to.is_empty())
    }

    /// Whom the server would rather have as the holder, in a coordinated election.
    pub fn preferred_holder(&self) -> Option<&str> {
        self.spec("preferredHolder").and_then(Value::as_str).filter(|to| !to.is_empty())
    }

    /// The object that asks this Lease's holder to hand over to `to`. Nothing else of it changes.
    pub(crate) fn asked(&self, to: &str) -> Value {
        let mut object = self.object.clone();
        let metadata = map(map_of(&mut object), "metadata");
        map(metadata, "annotations").insert(HAND_OVER_ANNOTATION.to_owned(), json!(to));
        object
    }

    /// The object that takes this Lease over for `claim`. A new holder counts a transition, as upstream does; acquireTime
    /// is the beginning of the term, and doesn't move with renewals.
    pub(crate) fn taken_over(&self, claim: &Claim<'_>) -> Value {
        let same = self.holder() == claim.identity;
        let transitions = if same { self.transitions() } else { self.transitions().saturating_add(1) };
        self.begun(claim, transitions)
    }

    /// The object by which `claim` begins a term in the Lease that names it. Always counts a transition, since the naming hasn't.
    pub(crate) fn taken_up(&self, claim: &Claim<'_>) -> Value {
        self.begun(claim, self.transitions().saturating_add(1))
    }

    fn begun(&self, claim: &Claim<'_>, transitions: i32) -> Value {
        let mut object = self.object.clone();
        if let Some(annotations) = existing_map(&mut object, &["metadata", "annotations"]) {
            for of_the_last_term in
                [RELEASED_ANNOTATION, RELEASED_TRANSITIONS_ANNOTATION, HANDED_TO_ANNOTATION, HAND_OVER_ANNOTATION]
            {
                annotations.remove(of_the_last_term);
            }
        }
        label(&mut object, claim.labels);
        let spec = map(map_of(&mut object), "spec");
        hold(spec, claim);
        spec.insert("acquireTime".to_owned(), micro_time(claim.wall));
        spec.insert("leaseTransitions".to_owned(), json!(transitions));
        object
    }

    /// The object that renews this Lease for `claim`, whose holder it is.
    pub(crate) fn renewed(&self, claim: &Claim<'_>) -> Value {
        let mut object = self.object.clone();
        // Asked to hand over to itself: done.
        if self.hand_over().is_some_and(|to| means(to, claim.identity))
            && let Some(annotations) = existing_map(&mut object, &["metadata", "annotations"])
        {
            annotations.remove(HAND_OVER_ANNOTATION);
        }
        hold(map(map_of(&mut object), "spec"), claim);
        object
    }

    /// The object that keeps this Lease, which names `claim`, without beginning a term: `acquire_time` is the naming's mark.
    pub(crate) fn kept(&self, claim: &Claim<'_>, acquire_time: &str) -> Value {
        let mut object = self.renewed(claim);
        map(map_of(&mut object), "spec").insert("acquireTime".to_owned(), json!(acquire_time));
        object
    }

    /// The object that releases this Lease, for `to` or for whoever comes first, and leaves the marker. As upstream: blank holder, a
    /// duration of one second, acquireTime and transitions kept.
    pub(crate) fn released(&self, by: &Ended<'_>, to: Option<&str>, wall: Timestamp) -> Value {
        let transitions = self.transitions();
        let mut object = self.object.clone();
        let root = map_of(&mut object);
        let spec = map(root, "spec");
        spec.insert("holderIdentity".to_owned(), json!(""));
        spec.insert("leaseDurationSeconds".to_owned(), json!(1));
        spec.insert("leaseTransitions".to_owned(), json!(transitions));
        spec.insert("renewTime".to_owned(), micro_time(wall));
        let annotations = map(map(root, "metadata"), "annotations");
        let Ended { identity, epoch } = by;
        annotations.insert(RELEASED_ANNOTATION.to_owned(), json!(format!("{identity} {epoch}")));
        annotations.remove(HAND_OVER_ANNOTATION);
        annotations.remove(HANDED_TO_ANNOTATION);
        if let Some(to) = to {
            annotations.insert(HANDED_TO_ANNOTATION.to_owned(), json!(to));
        }
        annotations.insert(RELEASED_TRANSITIONS_ANNOTATION.to_owned(), json!(transitions.to_string()));
        object
    }

    fn spec(&self, field: &str) -> Option<&Value> {
        self.object.get("spec")?.get(field)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.object.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }
}

/// A new Lease that nobody holds, to be waited out for `duration` like a held one.
pub(crate) fn vacant(namespace: &str, name: &str, duration: Duration) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "leaseDurationSeconds": duration.as_secs() },
    })
}

/// A new Lease held from the start.
pub(crate) fn held(namespace: &str, name: &str, claim: &Claim<'_>) -> Value {
    let mut object = vacant(namespace, name, claim.duration);
    label(&mut object, claim.labels);
    let spec = map(map_of(&mut object), "spec");
    hold(spec, claim);
    spec.insert("acquireTime".to_owned(), micro_time(claim.wall));
    spec.insert("leaseTransitions".to_owned(), json!(0));
    object
}

/// Labels of the candidate's beside those that are there.
fn label(object: &mut Value, labels: &BTreeMap<String, String>) {
    if labels.is_empty() {
        return;
    }
    let all = map(map(map_of(object), "metadata"), "labels");
    all.extend(labels.iter().map(|(key, value)| (key.clone(), json!(value))));
}

/// Kubernetes' MicroTime: RFC 3339 in UTC with exactly six digits.
pub(crate) fn micro_time(wall: Timestamp) -> Value {
    Value::String(format!("{wall:.6}"))
}

fn hold(spec: &mut Map<String, Value>, claim: &Claim<'_>) {
    spec.insert("holderIdentity".to_owned(), json!(claim.identity));
    spec.insert("leaseDurationSeconds".to_owned(), json!(claim.duration.as_secs()));
    // A server answers a PUT that changes nothing without a new version, and others would see no renewal.
    let mut wall = claim.wall;
    if spec.get("renewTime") == Some(&micro_time(wall)) {
        wall = wall.checked_add(Duration::from_micros(1)).unwrap_or(wall);
    }
    spec.insert("renewTime".to_owned(), micro_time(wall));
}

/// The value as a map; whatever else it was (null, mostly) is replaced by an empty one.
pub(crate) fn map_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("just made a map")
}

/// The map under a key, made if it is missing.
pub(crate) fn map<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    map_of(parent.entry(key).or_insert(Value::Null))
}

fn existing_map<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    path.iter().try_fold(value, |value, key| value.get_mut(*key))?.as_object_mut()
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
