//! Whether each of upstream's tests is here, or is said not to be.

use Is::{Elsewhere, Here};

const FILES: [&str; 2] = [include_str!("election.rs"), include_str!("lock.rs")];

enum Is {
    /// This test.
    Here(&'static str),
    /// Not, for this reason.
    Elsewhere(&'static str),
}

const CANDIDATE: &str = "the object is kept by requests and no informer (`coordination`, `questions_are_answered`; \
                         `lease_candidate_tests`, `the_server_chooses_who_leads`; `e2e/tests/coordinated.rs`)";

/// client-go 1.36, tools/leaderelection and its resourcelock. Behind a slash is a case that is a test of its own.
const UPSTREAM: [(&str, Is); 31] = [
    // leaderelection_test.go
    ("TestTryAcquireOrRenewLeases/acquire from no object", Here("acquire_from_no_object")),
    (
        "TestTryAcquireOrRenewLeases/acquire from object without annotations",
        Here("acquire_from_object_without_annotations"),
    ),
    (
        "TestTryAcquireOrRenewLeases/acquire from led object with the lease duration seconds",
        Here("acquire_from_led_object_with_the_lease_duration_seconds"),
    ),
    ("TestTryAcquireOrRenewLeases/acquire from unled object", Here("acquire_from_unled_object")),
    ("TestTryAcquireOrRenewLeases/acquire from led, unacked object", Here("acquire_from_led_unacked_object")),
    ("TestTryAcquireOrRenewLeases/acquire from empty led, acked object", Here("acquire_from_empty_led_acked_object")),
    ("TestTryAcquireOrRenewLeases/don't acquire from led, acked object", Here("dont_acquire_from_led_acked_object")),
    ("TestTryAcquireOrRenewLeases/renew already acquired object", Here("renew_already_acquired_object")),
    (
        "TestTryCoordinatedRenew",
        Elsewhere(
            "a naming is claimed by a write of its own and waited for, and a preferred holder is handed over to: its cases are \
             other ones here (`naming_tests`; `lease_candidate_tests`, `the_server_chooses_who_leads`)",
        ),
    ),
    ("TestLeaseSpecToLeaderElectionRecordRoundTrip", Here("lease_spec_to_leader_election_record_round_trip")),
    ("TestReleaseLeaseLeases", Here("release_lease_leases")),
    (
        "TestReleaseMethodCallsGet",
        Elsewhere(
            "a release is a compare-and-swap against the own last version: a read before it could show, and give away, what \
             is another's (`tenure_tests`, `release_is_of_the_own_last_version`)",
        ),
    ),
    ("TestReleaseRetriesOnConflict", Here("release_retries_on_conflict")),
    ("TestReleaseOnCancellation_Leases", Here("release_on_cancellation_leases")),
    ("TestLeaderElectionConfigValidation", Here("leader_election_config_validation")),
    ("TestFastPathLeaderElection", Here("fast_path_leader_election")),
    ("TestCheckMethodRace", Here("check_method_race")),
    // healthzadaptor_test.go
    ("TestLeaderElectionHealthChecker", Here("leader_election_health_checker")),
    // leasecandidate_test.go
    ("TestLeaseCandidateCreation", Elsewhere(CANDIDATE)),
    ("TestLeaseCandidateAck", Elsewhere(CANDIDATE)),
    // resourcelock
    ("TestGetError", Here("get_error")),
    ("TestGet", Here("get")),
    ("TestCreateError", Here("create_error")),
    ("TestUpdateError", Here("update_error")),
    ("TestDescribe", Elsewhere("a lock has no text of its own: the elector names the Lease in each line of the log")),
    ("TestLeaseConversion", Here("lease_conversion")),
    (
        "TestRecordEventSuccess",
        Elsewhere("an Event needs an API server, not a lock (`events_tests`, `a_term_makes_two_events`)"),
    ),
    (
        "TestRecordEventNilRecorder",
        Elsewhere(
            "an elector that is run by itself has nobody to tell, as in all tests here; for others it is an option \
             (`events_tests`, `events_are_of_terms_only`)",
        ),
    ),
    ("TestUpdateWithNilLabelsOnLease", Here("update_with_nil_labels_on_lease")),
    ("TestUpdateWithNilLabelsOnLeaseLock", Here("update_with_nil_labels_on_lease_lock")),
    ("TestLabelUpdate", Here("label_update")),
];

/// The functions of a file that are tests.
fn tests(file: &str) -> impl Iterator<Item = &str> {
    file.split("\n\n").filter_map(|item| {
        let (_, declared) = item.split_once("#[test]\n").or_else(|| item.split_once("#[tokio::test("))?;
        declared.split_once("fn ")?.1.split('(').next()
    })
}

/// Goal: each of upstream's tests is one test here, or has a reason, and there are no others.
#[test]
fn every_name_is_a_test_or_has_a_reason() {
    let here: Vec<_> = FILES.into_iter().flat_map(tests).collect();
    let mut expected = 0;
    for (name, is) in &UPSTREAM {
        match is {
            Here(test) => {
                expected += 1;
                assert_eq!(here.iter().filter(|one| *one == test).count(), 1, "{name}: there is no test {test}");
            }
            Elsewhere(reason) => println!("not here: {name}: {reason}"),
        }
    }
    assert_eq!(here.len(), expected, "a test that isn't in the list");
}
