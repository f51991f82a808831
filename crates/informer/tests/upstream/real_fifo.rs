//! tools/cache, the_real_fifo_test.go: the queue that keeps every delta, in order.

use watchkeeper_informer::DeltaOrder::Ordered;

use crate::delta_fifo::transformed;
use crate::pipe::Op::{Apply, Bookmark, Delete, Replace};
use crate::pipe::{self, Item, Op, Outcome, Pipe, play};

/// TestRealFIFO_basic: what each of two producers pushes comes out in its order.
#[test]
fn real_fifo_basic() {
    pipe::basic(Ordered);
}

/// TestRealFIFO_replaceWithDeleteDeltaIn: a list that shows what was about to be deleted doesn't hide its creation.
#[test]
fn real_fifo_replace_with_delete_delta_in() {
    pipe::replace_with_delete_delta_in(Ordered);
}

/// TestRealFIFOW_ReplaceMakesDeletionsForObjectsOnlyInQueue: each end is told once, whether or not the store held the object. A
/// bookmark is no delta: it moves the version, and a list behind it makes up for it.
#[test]
fn real_fifow_replace_makes_deletions_for_objects_only_in_queue() {
    pipe::replace_makes_deletions_for_objects_only_in_queue(Ordered);
    let pipe = Pipe::new(Ordered, &[]);
    pipe.push(Bookmark(123));
    assert_eq!(pipe.fifo.depth(), 0);
    let ops = [Bookmark(123), Replace(&[], 124), Replace(&[], 125)];
    assert_eq!(
        play(Ordered, &[], &ops, false),
        Outcome { batches: vec!["replace: nothing @125".into()], events: vec![] }
    );
}

/// TestRealFIFO_addUpdate: added, updated and deleted are three deltas and three events.
#[test]
fn real_fifo_add_update() {
    let outcome = play(Ordered, &[], &[Apply("foo", 10), Apply("foo", 12), Delete("foo", 15)], false);
    assert_eq!(outcome.batches, ["applied foo=10, applied foo=12, deleted foo=15 @15"]);
    assert_eq!(outcome.events, ["added foo=10", "updated foo=12", "deleted foo=15"]);
}

/// TestRealFIFO_transformer: once for each delta; the second list ends only what came after the first.
#[tokio::test(start_paused = true)]
async fn real_fifo_transformer() {
    let (heard, calls) = transformed(Ordered).await;
    let foo = ["added foo=10", "added bar=11", "updated foo=12", "deleted foo=15"];
    assert_eq!(heard, [&foo[..], &["missed bar=11", "added bar=21", "missed bar=21"]].concat());
    assert_eq!(calls, 5);
}

/// TestRealFIFO_enqueueingNoLister: the end of something unknown is queued; the store tells nobody.
#[test]
fn real_fifo_enqueueing_no_lister() {
    let ops = [Apply("foo", 10), Apply("bar", 15), Apply("qux", 17), Delete("qux", 18), Delete("baz", 20)];
    let outcome = play(Ordered, &[], &ops, false);
    let batch = "applied foo=10, applied bar=15, applied qux=17, deleted qux=18, deleted baz=20 @20";
    assert_eq!(outcome.batches, [batch]);
    assert_eq!(outcome.events, ["added foo=10", "added bar=15", "added qux=17", "deleted qux=18"]);
}

/// TestRealFIFO_enqueueingWithLister: the end of something that the store holds is told.
#[test]
fn real_fifo_enqueueing_with_lister() {
    let known = [("foo", 5), ("bar", 6), ("baz", 7)];
    let outcome = play(Ordered, &known, &[Apply("foo", 10), Apply("bar", 15), Delete("baz", 20)], false);
    assert_eq!(outcome.batches, ["applied foo=10, applied bar=15, deleted baz=20 @20"]);
    assert_eq!(outcome.events, ["updated foo=10", "updated bar=15", "deleted baz=20"]);
}

/// TestRealFIFO_addReplace: both states are heard of by whoever keeps up; where the list overtakes the first, only the list is.
#[test]
fn real_fifo_add_replace() {
    let ops = [Apply("foo", 10), Replace(&[("foo", 15)], 20)];
    let at_once = play(Ordered, &[], &ops, true);
    assert_eq!(at_once.batches, ["applied foo=10 @10", "replace: foo=15 @20"]);
    assert_eq!(at_once.events, ["added foo=10", "updated foo=15"]);
    let late = play(Ordered, &[], &ops, false);
    assert_eq!((late.batches.join(""), late.events.join("")), ("replace: foo=15 @20".into(), "initial foo=15".into()));
}

/// TestRealFIFO_DeleteExistingNonPropagated: an end that follows a beginning is kept, and so is the beginning.
#[test]
fn real_fifo_delete_existing_non_propagated() {
    let outcome = play(Ordered, &[], &[Apply("foo", 5), Delete("foo", 6)], false);
    assert_eq!(outcome.batches, ["applied foo=5, deleted foo=6 @6"]);
    assert_eq!(outcome.events, ["added foo=5", "deleted foo=6"]);
}

/// TestRealFIFO_ReplaceMakesDeletions: what a list doesn't show is deleted before anything of the list is told.
#[test]
fn real_fifo_replace_makes_deletions() {
    pipe::replace_makes_deletions(Ordered);
}

/// TestRealFIFO_ReplaceMakesDeletionsReplaced: and what it shows anew is updated after that.
#[test]
fn real_fifo_replace_makes_deletions_replaced() {
    pipe::replace_makes_deletions_replaced(Ordered);
}

/// TestRealFIFO_HasSyncedCorrectOnDeletion: the first list, with all ends that follow from it, is one piece.
#[test]
fn real_fifo_has_synced_correct_on_deletion() {
    pipe::has_synced_correct_on_deletion(Ordered);
}

/// TestRealFIFO_detectLineJumpers: strictly in order of arrival, whatever the keys.
#[test]
fn real_fifo_detect_line_jumpers() {
    let (mut pipe, mut outcome) = (Pipe::new(Ordered, &[]), Outcome::default());
    pipe.apply_all(&[("foo", 10), ("bar", 1), ("foo", 11), ("foo", 13), ("zab", 30)]);
    assert!(pipe.consume(&mut outcome));
    pipe.push(Apply("foo", 14));
    pipe.drain(&mut outcome);
    let first = "applied foo=10, applied bar=1, applied foo=11, applied foo=13, applied zab=30 @30";
    assert_eq!(outcome.batches, [first, "applied foo=14 @14"]);
}

/// TestRealFIFO_HasSynced: only a list that is in the store counts; one that shows an object twice is taken once.
#[test]
fn real_fifo_has_synced() {
    pipe::has_synced(Ordered);
}

/// TestRealFIFO_PopShouldUnblockWhenClosed: a closed queue lets those who wait go.
#[tokio::test(start_paused = true)]
async fn real_fifo_pop_should_unblock_when_closed() {
    pipe::pop_should_unblock_when_closed(Ordered).await;
}

/// TestRealFIFO_PopMultipleDeltaInBatch: the first list is one batch and everything behind it another, whether keys are repeated
/// or not: a batch never crosses the end of a list, which is all that upstream's splitting is for here, and its size is bounded
/// by what may wait. Only what the list showed is told as initial.
#[test]
fn real_fifo_pop_multiple_delta_in_batch() {
    type Case = (&'static [Item], &'static [Op], &'static str, &'static [&'static str]);
    const THREE: &[Item] = &[("foo1", 5), ("foo2", 5), ("foo3", 5)];
    let (one, two) = (&THREE[..1], &THREE[..2]);
    let first = ["initial foo1=5", "initial foo2=5", "initial foo3=5"];
    let cases: [Case; 8] = [
        (THREE, &[], "", &[]),
        (
            two,
            &[Apply("foo3", 6), Apply("foo4", 7)],
            "applied foo3=6, applied foo4=7 @7",
            &["added foo3=6", "added foo4=7"],
        ),
        (
            one,
            &[Apply("foo1", 6), Apply("foo1", 7)],
            "applied foo1=6, applied foo1=7 @7",
            &["updated foo1=6", "updated foo1=7"],
        ),
        (
            two,
            &[Apply("foo2", 6), Apply("foo3", 7)],
            "applied foo2=6, applied foo3=7 @7",
            &["updated foo2=6", "added foo3=7"],
        ),
        (THREE, &[Apply("foo2", 6)], "applied foo2=6 @6", &["updated foo2=6"]),
        (THREE, &[Bookmark(6)], "nothing @6", &[]),
        (
            &[],
            &[Apply("foo1", 6), Apply("foo2", 7), Apply("foo3", 8)],
            "applied foo1=6, applied foo2=7, applied foo3=8 @8",
            &["added foo1=6", "added foo2=7", "added foo3=8"],
        ),
        (THREE, &[Apply("foo4", 6)], "applied foo4=6 @6", &["added foo4=6"]),
    ];
    for (listed, ops, batch, events) in cases {
        let outcome = play(Ordered, &[], &[&[Replace(listed, 5)], ops].concat(), false);
        assert_eq!(outcome.batches[0].split("foo").count(), listed.len() + 1, "{:?}", outcome.batches);
        assert!(outcome.batches[0].starts_with("replace: ") && outcome.batches[0].ends_with(" @5"));
        let behind: Vec<_> = [batch].into_iter().filter(|batch| !batch.is_empty()).collect();
        assert_eq!(outcome.batches[1..], behind);
        assert_eq!(outcome.events, [&first[..listed.len()], events].concat());
    }
}

/// TestRealFIFO_ReplaceAtomic: a list is one piece with its own version, behind the deltas and bookmarks before it, one for each
/// list. One that is still waiting, and what waits before it, is made superfluous by the next, where upstream keeps it.
#[test]
fn real_fifo_replace_atomic() {
    const FOO: &[Item] = &[("foo", 2)];
    let cases: [(&[Op], &[&str], &[&str]); 6] = [
        (&[Replace(&[], 123)], &["replace: nothing @123"], &["replace: nothing @123"]),
        (
            &[Apply("foo", 2), Replace(&[], 123)],
            &["applied foo=2 @2", "replace: nothing @123"],
            &["replace: nothing @123"],
        ),
        (
            &[Apply("foo", 2), Replace(FOO, 10), Replace(FOO, 20), Replace(&[], 56)],
            &["applied foo=2 @2", "replace: foo=2 @10", "replace: foo=2 @20", "replace: nothing @56"],
            &["replace: nothing @56"],
        ),
        (
            &[Apply("foo", 2), Replace(&[], 123), Apply("bar", 124)],
            &["applied foo=2 @2", "replace: nothing @123", "applied bar=124 @124"],
            &["replace: nothing @123", "applied bar=124 @124"],
        ),
        (
            &[Bookmark(123), Replace(&[], 1234)],
            &["nothing @123", "replace: nothing @1234"],
            &["replace: nothing @1234"],
        ),
        (
            &[Replace(&[], 123), Bookmark(1234)],
            &["replace: nothing @123", "nothing @1234"],
            &["replace: nothing @123", "nothing @1234"],
        ),
    ];
    for (ops, at_once, late) in cases {
        assert_eq!(play(Ordered, &[], ops, true).batches, at_once, "{ops:?}");
        assert_eq!(play(Ordered, &[], ops, false).batches, late, "{ops:?}");
    }
}

/// TestRealFIFO_ReplaceAtomicPop: a delta that was taken and a list behind it come out one after the other, the list whole.
#[test]
fn real_fifo_replace_atomic_pop() {
    let (mut pipe, mut outcome) = (Pipe::new(Ordered, &[]), Outcome::default());
    pipe.push(Apply("foo", 10));
    assert!(pipe.consume(&mut outcome));
    pipe.push(Replace(&[("foo", 15), ("bar", 12)], 20));
    assert!(pipe.consume(&mut outcome) && !pipe.consume(&mut outcome));
    assert_eq!(outcome.batches, ["applied foo=10 @10", "replace: foo=15, bar=12 @20"]);
    assert_eq!(outcome.events, ["added foo=10", "updated foo=15", "initial bar=12"]);
    assert_eq!(pipe.fifo.depth(), 0);
}
