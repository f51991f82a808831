//! Goal: each judgement passes what is right and catches what is planted. Method: small histories by hand.

use super::*;

fn truth() -> Truth {
    Truth::by_hand(&[("a", "1", 10, false), ("a", "1", 11, false), ("a", "1", 12, true), ("a", "2", 13, false)])
}

fn seen(events: &[(Told, &str, u64)]) -> Vec<Seen> {
    let of = |(told, uid, version): &(Told, &str, u64)| Seen {
        told: *told,
        key: "a".into(),
        uid: (*uid).into(),
        version: *version,
        inferred: false,
    };
    events.iter().map(of).collect()
}

fn broken(result: Result<(), Violation>) -> &'static str {
    result.expect_err("the planted violation").promise
}

use Told::{Added, Deleted, Updated};

#[test]
fn a_subsequence_is_in_order_and_true() {
    let truth = truth();
    let whole = seen(&[(Added, "1", 10), (Updated, "1", 11), (Deleted, "1", 12), (Added, "2", 13)]);
    assert_eq!(subsequence(&whole, &truth), Ok(()));
    assert_eq!(subsequence(&seen(&[(Added, "1", 11), (Deleted, "1", 11)]), &truth), Ok(()), "inferred");
    assert_eq!(broken(subsequence(&seen(&[(Added, "1", 11), (Updated, "1", 10)]), &truth)), "I1");
    assert_eq!(broken(subsequence(&seen(&[(Added, "1", 11), (Updated, "1", 11)]), &truth)), "I1");
    assert_eq!(broken(subsequence(&seen(&[(Added, "2", 10)]), &truth)), "I1");
}

#[test]
fn every_life_has_one_beginning_and_one_end() {
    let truth = truth();
    let whole = seen(&[(Added, "1", 10), (Updated, "1", 11), (Deleted, "1", 12), (Added, "2", 13)]);
    assert_eq!(delete_completeness(&whole, &truth), Ok(()));
    let planted: [&[(Told, &str, u64)]; 6] = [
        &[(Updated, "1", 10)],
        &[(Added, "1", 10), (Added, "1", 11)],
        &[(Added, "1", 10), (Added, "2", 13)],
        &[(Added, "1", 10), (Deleted, "1", 12), (Deleted, "1", 12)],
        &[(Added, "1", 10), (Deleted, "1", 12), (Added, "1", 11)],
        // Gone in the end, and nobody said so.
        &[(Added, "1", 10), (Updated, "1", 11)],
    ];
    for events in planted {
        assert_eq!(broken(delete_completeness(&seen(events), &truth)), "I3", "{events:?}");
    }
}

#[test]
fn a_cache_converges_to_all_of_it_and_nothing_else() {
    let truth = truth();
    assert_eq!(convergence([("a", "2", 13)], &truth), Ok(()));
    let planted: [&[(&str, &str, u64)]; 4] =
        [&[], &[("a", "1", 11)], &[("a", "2", 12)], &[("a", "2", 13), ("b", "3", 9)]];
    for cache in planted {
        assert_eq!(broken(convergence(cache.iter().copied(), &truth)), "I2", "{cache:?}");
    }
}

#[test]
fn a_budget_is_of_every_window() {
    let at = |seconds: &[u64]| seconds.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
    let minute = Duration::from_secs(60);
    assert_eq!(request_budget(&at(&[0, 1, 60, 61, 120]), minute, 2), Ok(()));
    assert_eq!(broken(request_budget(&at(&[0, 50, 59]), minute, 2)), "I9");
    assert_eq!(broken(request_budget(&at(&[0, 30, 61, 89]), minute, 2)), "I9");
    assert_eq!(broken(no_tasks_left(1, 2)), "I10");
    assert_eq!(no_tasks_left(2, 1), Ok(()));
}

fn stay(identity: &str, epoch: u64, opened: u64, closed: u64) -> Stay {
    let (opened, closed) = (Duration::from_secs(opened), Duration::from_secs(closed));
    Stay { identity: identity.into(), epoch, opened, closed }
}

#[test]
fn gates_are_never_open_at_once() {
    assert_eq!(exclusive(&[stay("b", 2, 5, 9), stay("a", 1, 0, 5), stay("c", 2, 3, 3)]), Ok(()));
    assert_eq!(broken(exclusive(&[stay("a", 1, 0, 6), stay("b", 2, 5, 9)])), "I11");
    assert_eq!(broken(exclusive(&[stay("a", 2, 0, 5), stay("b", 2, 5, 9)])), "I13");
}

fn write(identity: &str, name: &str, version: u64, epoch: u64) -> WriteRecord {
    WriteRecord {
        version: Some(version),
        verb: "update",
        resource: "configmaps".into(),
        namespace: "default".into(),
        name: name.into(),
        identity: identity.into(),
        code: 200,
        epoch: Some(epoch.to_string()),
        boot_nanos: 0,
    }
}

#[test]
fn no_older_write_follows_a_newer_one() {
    let stays = [stay("a", 1, 0, 5), stay("b", 2, 5, 9)];
    let fine = [write("a", "x", 1, 1), write("b", "x", 3, 2), write("a", "y", 2, 1)];
    assert_eq!(epochs(&stays, &fine), Ok(()));
    assert_eq!(broken(epochs(&stays, &[write("b", "x", 1, 2), write("a", "x", 2, 1)])), "I12");
    assert_eq!(broken(epochs(&stays, &[write("a", "x", 1, 2)])), "I13");
    let refused = WriteRecord { version: None, ..write("a", "x", 2, 1) };
    assert_eq!(epochs(&stays, &[write("b", "x", 1, 2), refused]), Ok(()));
}
