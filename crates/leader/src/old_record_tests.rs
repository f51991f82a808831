//! Tests of what an old lock says: tables, no server.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> GateInstant {
    GateInstant::from_nanos(seconds * 1_000_000_000)
}

fn watch() -> OldWatch {
    OldWatch::new("me", 15 * SECOND)
}

fn object(text: &str) -> Value {
    json!({"metadata": {"uid": "u", "resourceVersion": "7", "annotations": {OLD_LOCK_ANNOTATION: text}}})
}

/// As client-go writes it.
fn record(holder: &str, duration: u32, renewed: u32) -> Value {
    object(&format!(
        r#"{{"holderIdentity":"{holder}","leaseDurationSeconds":{duration},"acquireTime":"2020-01-01T00:00:00Z","renewTime":"2020-01-01T00:00:{renewed:02}Z","leaderTransitions":3}}"#
    ))
}

/// Goal: client-go's record is understood, and waited out from its last change, whatever its times say. Method: two renewals, an edit of
/// something else, a long duration.
#[test]
fn a_record_of_client_go() {
    let mut watch = watch();
    assert_eq!(watch.free_at(), None);
    watch.saw(Some(record("old_1", 60, 1)), at(100));
    assert_eq!((watch.holder().as_str(), watch.free_at()), ("old_1", Some(at(160))));
    watch.saw(Some(record("old_1", 60, 3)), at(102));
    assert_eq!(watch.free_at(), Some(at(162)));
    let mut edited = record("old_1", 60, 3);
    edited["metadata"]["resourceVersion"] = json!("8");
    watch.saw(Some(edited), at(110));
    assert_eq!(watch.free_at(), Some(at(162)));
    assert_eq!(watch.follows(&json!({}))["metadata"]["resourceVersion"], "8");
    // Shortened by an edit, its holder blanked, replaced by another, or gone: it is waited out all the same.
    for shown in [Some(record("old_1", 1, 4)), Some(record("", 1, 4)), Some(record("old_2", 15, 4)), None] {
        let mut watch = super::tests::watch();
        watch.saw(Some(record("old_1", 60, 3)), at(100));
        watch.saw(shown, at(110));
        assert_eq!(watch.free_at(), Some(at(170)));
    }
}

/// Goal: whatever is there is waited out for the own duration at least, and text that can't be understood has an unknown holder.
/// Method: a table.
#[test]
fn any_content_is_waited_out() {
    for (shown, holder) in [
        (None, ""),
        (Some(json!({})), ""),
        (Some(json!({"metadata": {"annotations": null}})), ""),
        (Some(object("{}")), ""),
        (Some(record("", 1, 1)), ""),
        (Some(record("x", 1, 1)), "x"),
        (Some(object(r#"{"holderIdentity":"x","leaseDurationSeconds":-3}"#)), "x"),
        (Some(object(r#"{"holderIdentity":"x","leaseDurationSeconds":"soon"}"#)), "x"),
        (Some(object(r#"{"holderIdentity":null}"#)), ""),
        (Some(object("")), UNKNOWN),
        (Some(object("null")), UNKNOWN),
        (Some(object("[1]")), UNKNOWN),
        (Some(object(r#"{"holderIdentity":7}"#)), UNKNOWN),
        (Some(object(r#"{"holderIdentity":"x"} and more"#)), UNKNOWN),
    ] {
        let mut watch = watch();
        let text = format!("{shown:?}");
        watch.saw(shown, at(100));
        assert_eq!((watch.holder().as_str(), watch.free_at()), (holder, Some(at(115))), "{text}");
    }
    let mut watch = watch();
    watch.saw(Some(object(r#"{"holderIdentity":"x","leaseDurationSeconds":1e300}"#)), at(100));
    assert_eq!(watch.free_at(), Some(at(100) + crate::timings::LONGEST_LEASE));
}

fn lease(holder: &str, duration: u32, renewed: &str) -> Value {
    json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": duration, "leaseTransitions": 4,
        "acquireTime": "2026-01-01T00:00:00.700000Z", "renewTime": renewed}})
}

/// Goal: what is written has client-go's shape, leaves the rest of the object alone, and no two renewals look alike.
/// Method: renewals of the same second, and of a wall clock that went back.
#[test]
fn what_is_written() {
    let mut watch = watch();
    watch.saw(Some(json!({"data": {"a": "b"}, "metadata": {"uid": "u", "labels": {"c": "d"}}})), at(0));
    let first = watch.follows(&lease("me", 15, "2026-01-01T00:00:01.700000Z"));
    assert_eq!((&first["data"], &first["metadata"]["labels"]), (&json!({"a": "b"}), &json!({"c": "d"})));
    let said: Value = serde_json::from_str(text(&first).unwrap()).unwrap();
    let expected = json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": "2026-01-01T00:00:00Z",
        "renewTime": "2026-01-01T00:00:01.7Z", "leaderTransitions": 4});
    assert_eq!(said, expected);
    let mut texts = vec![text(&first).unwrap().to_owned()];
    for renewed in ["2026-01-01T00:00:01.900000Z", "2026-01-01T00:00:02.000000Z", "2025-01-01T00:00:02.000000Z"] {
        texts.push(text(&watch.follows(&lease("me", 15, renewed))).unwrap().to_owned());
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 4);
    watch.saw(Some(first), at(5));
    assert!(watch.is_own() && watch.free_at() == Some(at(5)));
}

/// Goal: each renewal is another text to an old client, at any pace and whatever the wall clock does, and none lies more than a second
/// in the future. Method: ten renewals a second for a minute; a thousand at one moment; a clock that goes back by less and by more.
#[test]
fn renewals_differ_and_stay_with_the_wall_clock() {
    let mut watch = watch();
    watch.saw(None, at(0));
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let tenths = (0..600).map(|tenth| begin + SignedDuration::from_millis(100 * tenth));
    let still = std::iter::repeat_n(begin + SignedDuration::from_secs(60), 1000);
    let back = [59_500, 59_500, 20_000, 20_000, 80_000].map(|millis| begin + SignedDuration::from_millis(millis));
    let mut last = String::new();
    for wall in tenths.chain(still).chain(back) {
        let object = watch.follows(&lease("me", 15, &wall.to_string()));
        let said: Value = serde_json::from_str(text(&object).unwrap()).unwrap();
        let renewed: Timestamp = said["renewTime"].as_str().unwrap().parse().unwrap();
        assert!(renewed >= wall && renewed.duration_since(wall) <= SignedDuration::from_secs(1), "{wall} {renewed}");
        assert_ne!(text(&object).unwrap(), std::mem::replace(&mut last, text(&object).unwrap().to_owned()));
    }
}

/// Goal: a release by these rules frees the lock at once, and only for the very record that it left. Method: it, and ways to carry the
/// marker on.
#[test]
fn a_marker_is_of_its_record() {
    let mut holder = OldWatch::new("other", 15 * SECOND);
    holder.saw(None, at(0));
    let held = holder.follows(&lease("other", 15, "2026-01-01T00:00:01Z"));
    holder.saw(Some(held.clone()), at(1));
    let released = holder.given_back(&lease("", 1, "2026-01-01T00:00:02Z"));
    let free = |shown: &[&Value]| {
        let mut watch = watch();
        for (second, object) in (10..).zip(shown) {
            watch.saw(Some((*object).clone()), at(second));
        }
        watch.free_at() == watch.since
    };
    assert!(free(&[&released]) && free(&[&held, &released]));
    let mut carried_on = record("", 1, 1);
    carried_on["metadata"]["annotations"][RELEASED_ANNOTATION] =
        released["metadata"]["annotations"][RELEASED_ANNOTATION].clone();
    assert!(!free(&[&carried_on]));
    assert!(!free(&[&record("old_1", 60, 1), &released]));
    // The next holder takes it away.
    let mut next = watch();
    next.saw(Some(released), at(0));
    assert!(
        next.follows(&lease("me", 15, "2026-01-01T00:00:03Z"))["metadata"]["annotations"][RELEASED_ANNOTATION]
            .is_null()
    );
}

/// Goal: whatever an object says, of whatever shape, it is survived: what is written over it can be read again, and is the own. Method: odd values in each place.
#[test]
fn no_shape_of_an_object_does_harm() {
    let odd = [
        json!(null),
        json!(7),
        json!("x"),
        json!([1]),
        json!({"a": {"b": []}}),
        json!("x".repeat(1 << 20)),
        json!(-1),
        json!(1e300),
    ];
    let lease = json!({"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": "?", "renewTime": 7, "leaseTransitions": i64::MAX}});
    for value in &odd {
        let of = |field: &str| json!({field: value}).to_string();
        let texts = ["holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime", "leaderTransitions"].map(of);
        let with = |text: &Value| json!({"metadata": {"uid": "u", "annotations": {OLD_LOCK_ANNOTATION: text}}});
        let mut objects =
            vec![value.clone(), json!({"metadata": value}), json!({"metadata": {"annotations": value}}), with(value)];
        objects.extend(texts.iter().map(|text| with(&json!(text))));
        objects.push(with(&json!("[".repeat(100_000))));
        for object in objects {
            let mut watch = OldWatch::new("me", Duration::from_secs(15));
            watch.saw(Some(object.clone()), GateInstant::from_nanos(1));
            assert!(watch.free_at().is_some());
            let written = watch.given_back(&json!({"spec": value}));
            watch.saw(Some(written), GateInstant::from_nanos(2));
            let written = watch.follows(&lease);
            watch.saw(Some(written), GateInstant::from_nanos(3));
            assert!(watch.is_own(), "{}", watch.holder());
        }
    }
}
