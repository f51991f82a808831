//! Tests of `record.rs`: what is read from odd objects, and what writes change and keep.

use super::*;
use proptest::prelude::*;

fn wall(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn claim(identity: &str) -> Claim<'_> {
    Claim { identity, duration: Duration::from_secs(15), wall: wall("2026-01-01T00:00:00.5Z"), labels: &NO_LABELS }
}

fn lease(spec: Value, annotations: Value) -> Lease {
    Lease::parse(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "n", "namespace": "ns", "uid": "u1", "resourceVersion": "41", "labels": {"app": "x"},
                     "annotations": annotations, "finalizers": ["keep/me"]},
        "spec": spec, "future": {"field": [1, 2]},
    }))
    .unwrap()
}

/// Goal: absurd durations never become a short or endless wait. Method: a table of raw values.
#[test]
fn durations_are_clamped() {
    for (raw, expected) in [
        (json!(15), Some(15)),
        (json!(1), Some(1)),
        (json!(0), None),
        (json!(-5), None),
        (json!(0.4), None),
        (json!(1_000_000), Some(600)),
        (json!(u64::MAX), Some(600)),
        (json!(1e300), Some(600)),
        (json!(null), None),
        (json!("15"), None),
        (json!([15]), None),
    ] {
        let lease = lease(json!({"leaseDurationSeconds": raw}), json!(null));
        assert_eq!(lease.duration(), expected.map(Duration::from_secs), "{raw}");
    }
    assert_eq!(lease(json!(null), json!(null)).duration(), None);
}

/// Goal: an object without uid or decimal version is refused. Method: a table.
#[test]
fn unusable_objects_are_refused() {
    for object in [json!(null), json!([]), json!({}), json!({"metadata": {"resourceVersion": "1"}})] {
        assert_eq!(Lease::parse(object), Err(RecordError::NoUid));
    }
    for version in [json!(null), json!(""), json!("x1"), json!("-1"), json!("+1"), json!(7), json!("1".repeat(60))] {
        let object = json!({"metadata": {"uid": "u", "resourceVersion": version}});
        assert_eq!(Lease::parse(object), Err(RecordError::NoVersion));
    }
}

/// Goal: a takeover changes its own fields only, counts the transition and removes the marker. Method: compare whole
/// objects.
#[test]
fn takeover_preserves_what_others_wrote() {
    let annotations =
        json!({"mine": "1", RELEASED_ANNOTATION: "a 3", RELEASED_TRANSITIONS_ANNOTATION: "4", "theirs": "2"});
    let spec =
        json!({"holderIdentity": "", "leaseTransitions": 4, "strategy": "OldestEmulationVersion", "new": {"x": 1}});
    let taken = lease(spec, annotations).taken_over(&claim("me"));
    assert_eq!(
        taken,
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "n", "namespace": "ns", "uid": "u1", "resourceVersion": "41", "labels": {"app": "x"},
                         "annotations": {"mine": "1", "theirs": "2"}, "finalizers": ["keep/me"]},
            "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 5,
                     "acquireTime": "2026-01-01T00:00:00.500000Z", "renewTime": "2026-01-01T00:00:00.500000Z",
                     "strategy": "OldestEmulationVersion", "new": {"x": 1}},
            "future": {"field": [1, 2]},
        })
    );
}

/// Goal: transitions as upstream keeps them. Method: a table of holders and counts.
#[test]
fn transitions_count_changes_of_the_holder() {
    for (holder, before, after) in [
        ("other", json!(4), 5),
        ("", json!(4), 5),
        ("me", json!(4), 4),
        ("other", json!(-9), 1),
        ("other", json!(i32::MAX), i32::MAX),
    ] {
        let taken =
            lease(json!({"holderIdentity": holder, "leaseTransitions": before}), json!({})).taken_over(&claim("me"));
        assert_eq!(taken["spec"]["leaseTransitions"], json!(after), "{holder:?} {before}");
    }
    assert_eq!(held("ns", "n", &claim("me"))["spec"]["leaseTransitions"], json!(0));
}

/// Goal: a renewal always changes the object, also when the wall clock stands still. Method: renew twice at one time.
#[test]
fn renewal_is_never_a_no_op() {
    let first = lease(json!({"holderIdentity": "me", "acquireTime": "x", "leaseTransitions": 2}), json!({}));
    let once = first.renewed(&claim("me"));
    assert_eq!(once["spec"]["acquireTime"], json!("x"));
    assert_eq!(once["spec"]["leaseTransitions"], json!(2));
    let again = Lease::parse(once.clone()).unwrap().renewed(&claim("me"));
    assert_ne!(once, again);
    assert_eq!(again["spec"]["renewTime"], json!("2026-01-01T00:00:00.500001Z"));
}

/// Goal: a marker is believed only if it is of the term that ended last. Method: release, then what others may do to it.
#[test]
fn marker_is_bound_to_its_term() {
    let object = lease(json!({"holderIdentity": "me", "leaseTransitions": 4}), json!(null)).released(
        &Ended { identity: "me", epoch: Epoch::new(40) },
        None,
        claim("me").wall,
    );
    assert_eq!(object["metadata"]["annotations"][RELEASED_ANNOTATION], json!("me 40"));
    assert_eq!(object["spec"]["leaseDurationSeconds"], json!(1));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = json!("50");
        change(&mut object);
        Lease::parse(object).unwrap().release()
    };
    assert_eq!(changed(&|_| ()), Some(Release { identity: "me".to_owned(), epoch: Epoch::new(40) }));
    assert_eq!(
        changed(&|object| object["metadata"]["labels"] = json!({"x": "y"})).map(|marker| marker.epoch.number()),
        Some(40)
    );
    // A client-go holder keeps annotations and counts; it holds, and later has released.
    assert_eq!(changed(&|object| object["spec"]["holderIdentity"] = json!("go")), None);
    assert_eq!(changed(&|object| object["spec"]["leaseTransitions"] = json!(5)), None);
    for text in ["", " 40", "me", "me x", "me 50", "me 51"] {
        assert_eq!(
            changed(&|object| object["metadata"]["annotations"][RELEASED_ANNOTATION] = json!(text)),
            None,
            "{text:?}"
        );
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,4}", inner, 0..3).prop_map(|map| json!(map))
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: whatever stands in a Lease, nothing panics, writes are usable Leases, and a duration stays in its bounds.
    /// Method: random JSON in every field that is read.
    #[test]
    fn any_content_is_survived(
        holder in any_json(), duration in any_json(), transitions in any_json(), spec in any_json(), annotations in any_json(),
        shaped in any::<bool>(),
    ) {
        let spec = if shaped {
            json!({"holderIdentity": holder, "leaseDurationSeconds": duration, "leaseTransitions": transitions})
        } else {
            spec
        };
        let lease = lease(spec, annotations);
        if let Some(duration) = lease.duration() {
            prop_assert!(duration >= Duration::from_secs(1) && duration <= LONGEST_LEASE);
        }
        let _ = lease.release();
        let taken = Lease::parse(lease.taken_over(&claim("me"))).unwrap();
        prop_assert_eq!(taken.holder(), "me");
        prop_assert_eq!(taken.release(), None);
        let released = Lease::parse(taken.released(&Ended { identity: "me", epoch: Epoch::new(7) }, None, claim("me").wall)).unwrap();
        prop_assert_eq!(released.holder(), "");
        prop_assert_eq!(released.release().map(|marker| marker.epoch), Some(Epoch::new(7)));
        prop_assert!(taken.renewed(&claim("me"))["spec"]["leaseTransitions"].is_number());
    }
}
