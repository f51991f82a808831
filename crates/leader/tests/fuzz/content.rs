//! What a Lease may say: a true one with things done to it.
//!
//! Comes in: a Lease, a seed. Goes out: another, whatever is in it. Uid and version are the server's.

use fastrand::Rng;
use serde_json::{Value, json};
use watchkeeper_leader::{Lease, RELEASED_ANNOTATION, RELEASED_TRANSITIONS_ANNOTATION, Timings};

use crate::config::PLACE;

/// Where client-go's locks kept their record before there were Leases.
const OLD_RECORD: &str = "control-plane.alpha.kubernetes.io/leader";

const SPEC: [&str; 8] = [
    "holderIdentity",
    "leaseDurationSeconds",
    "leaseTransitions",
    "renewTime",
    "acquireTime",
    "strategy",
    "preferredHolder",
    "fieldOfTomorrow",
];

const ANNOTATIONS: [&str; 5] = [
    RELEASED_ANNOTATION,
    RELEASED_TRANSITIONS_ANNOTATION,
    "epoch.watchkeeper.dev/default.the-lease",
    OLD_RECORD,
    "theirs",
];

/// A Lease that nobody has held.
pub(crate) fn vacant() -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "namespace": PLACE.0, "name": PLACE.1, "labels": { "theirs": "1" } },
        "spec": { "leaseDurationSeconds": 15, "fieldOfTomorrow": { "deep": [1, null] } },
    })
}

/// Any value where another is expected. `names` are those of the candidates.
fn odd(random: &mut Rng, names: &[String]) -> Value {
    match random.u8(..22) {
        0 => Value::Null,
        1 => json!(""),
        2 => json!("NaN"),
        3 => json!("15"),
        4 => json!(0),
        5 => json!(-1),
        6 => json!(1),
        7 => json!(15),
        8 => json!(1e308),
        9 => json!(i64::MIN),
        10 => json!(u64::MAX),
        11 => json!(0.5),
        12 => json!(-0.0),
        13 => json!(i32::MAX),
        14 => json!(true),
        15 => json!([]),
        16 => json!({}),
        17 => json!({ "a": [{ "b": null }] }),
        18 => json!("x".repeat(random.usize(..2_000))),
        19 => json!("2099-01-01T00:00:00.000000Z"),
        20 => json!("\u{0}\u{202e} \n\u{1f600}"),
        _ => json!(names[random.usize(..names.len())]),
    }
}

/// A marker, as it should be but for a part, or not at all.
fn marker(random: &mut Rng, names: &[String]) -> Value {
    let name = &names[random.usize(..names.len())];
    let epoch = match random.u8(..6) {
        0 => "0".to_owned(),
        1 => u128::MAX.to_string(),
        2 => "340282366920938463463374607431768211456".to_owned(),
        3 => "-1".to_owned(),
        _ => random.u32(..60).to_string(),
    };
    match random.u8(..6) {
        0 => json!(name),
        1 => json!(format!("{name}  {epoch} ")),
        2 => json!(format!(" {epoch}")),
        _ => json!(format!("{name} {epoch}")),
    }
}

/// One to five things done to it.
pub(crate) fn mutated(base: &Value, random: &mut Rng, names: &[String]) -> Value {
    let mut object = base.clone();
    for _ in 0..random.usize(1..6) {
        let value = odd(random, names);
        match random.u8(..16) {
            0 => object["spec"] = value,
            1 => object["metadata"]["annotations"] = value,
            2 => object["metadata"]["labels"] = value,
            3 => object["status"] = value,
            4 => object["metadata"]["finalizers"] = value,
            5 => object["metadata"]["ownerReferences"] = value,
            6 => {
                if let Some(spec) = object["spec"].as_object_mut() {
                    spec.remove(SPEC[random.usize(..SPEC.len())]);
                }
            }
            place => {
                let (part, name, value) = match place {
                    7..12 => ("spec", SPEC[random.usize(..SPEC.len())], value),
                    12 => ("annotations", RELEASED_ANNOTATION, marker(random, names)),
                    13 => ("annotations", RELEASED_TRANSITIONS_ANNOTATION, json!(random.u8(..6).to_string())),
                    _ => ("annotations", ANNOTATIONS[random.usize(..ANNOTATIONS.len())], value),
                };
                let part = if part == "spec" { &mut object["spec"] } else { &mut object["metadata"]["annotations"] };
                if !part.is_object() {
                    *part = json!({});
                }
                part[name] = value;
            }
        }
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
    }
    object
}

/// The beginning of a term, as its holder recognises it.
fn term(object: &Value) -> [&Value; 3] {
    ["holderIdentity", "acquireTime", "leaseTransitions"].map(|field| &object["spec"][field])
}

/// Takes out what only a holder may say, since nothing is promised where others say it: that its work has stopped, which
/// `present` doesn't say, that a term of its own goes on which is over (`written` are the writes of candidates), and that its
/// lease is a shorter one than all candidates have.
pub(crate) fn without_forgery(mut object: Value, present: Option<&Value>, written: &[Value]) -> Value {
    let is_held = object["spec"]["holderIdentity"].is_string();
    let is_over = present.is_none_or(|present| term(present) != term(&object));
    if is_held && is_over && written.iter().any(|write| term(write) == term(&object)) {
        object["spec"]["holderIdentity"] = json!("somebody-else");
    }
    // Any uid and version that come after the present one.
    let read = |object: &Value, version: Option<u128>| {
        let mut object = object.clone();
        if let Some(version) = version {
            object["metadata"]["uid"] = json!("u");
            object["metadata"]["resourceVersion"] = json!(version.to_string());
        }
        Lease::parse(object).ok()
    };
    let Some(lease) = read(&object, Some(u128::MAX)) else { return object };
    let said = present.and_then(|present| read(present, None)).and_then(|lease| lease.release());
    if lease.release().is_some() && lease.release() != said {
        object["metadata"]["annotations"][RELEASED_ANNOTATION] = json!("");
    }
    let own = Timings::default().lease_duration;
    if !lease.holder().is_empty() && lease.duration().is_some_and(|duration| duration < own) {
        object["spec"]["leaseDurationSeconds"] = json!(own.as_secs());
    }
    object
}

/// The first thing in `found` that `sent` has lost and an election has no business with.
pub(crate) fn dropped(found: &Value, sent: &Value) -> Option<String> {
    const OURS: [&str; 5] = ["holderIdentity", "leaseDurationSeconds", "leaseTransitions", "renewTime", "acquireTime"];
    const MARKERS: [&str; 2] = [RELEASED_ANNOTATION, RELEASED_TRANSITIONS_ANNOTATION];
    let lost = |found: &Value, sent: &Value, but: &[&str]| {
        let kept = |(key, value): &(&String, &Value)| but.contains(&key.as_str()) || sent.get(key) == Some(*value);
        found.as_object().and_then(|found| found.iter().find(|pair| !kept(pair)).map(|(key, _)| key.clone()))
    };
    lost(found, sent, &["metadata", "spec"])
        .or_else(|| lost(&found["metadata"], &sent["metadata"], &["annotations"]))
        .or_else(|| lost(&found["metadata"]["annotations"], &sent["metadata"]["annotations"], &MARKERS))
        .or_else(|| lost(&found["spec"], &sent["spec"], &OURS))
}
