//! tools/cache, delta_fifo_test.go: the queue that keeps of each key what the store needs to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use k8s_openapi::api::core::v1::ConfigMap;
use watchkeeper_informer::DeltaOrder::{self, Coalescing};
use watchkeeper_informer::decode::{Decoder, DecoderConfig};
use watchkeeper_informer::scripted::Answer;

use crate::pipe::Op::{Apply, Delete, Replace};
use crate::pipe::{self, Outcome, Pipe, play};
use crate::rig::*;

/// TestDeltaFIFO_basic: what each of two producers pushes comes out in its order.
#[test]
fn delta_fifo_basic() {
    pipe::basic(Coalescing);
}

/// TestDeltaFIFO_replaceWithDeleteDeltaIn: a list that shows what was about to be deleted doesn't hide its creation.
#[test]
fn delta_fifo_replace_with_delete_delta_in() {
    pipe::replace_with_delete_delta_in(Coalescing);
}

/// TestDeltaFIFOW_ReplaceMakesDeletionsForObjectsOnlyInQueue: each end is told once, whether or not the store held the object.
#[test]
fn delta_fifow_replace_makes_deletions_for_objects_only_in_queue() {
    pipe::replace_makes_deletions_for_objects_only_in_queue(Coalescing);
}

/// TestDeltaFIFO_addUpdate: added, updated and deleted come out once, as the newest, which is the end.
#[test]
fn delta_fifo_add_update() {
    let ops = [Apply("foo", 10), Apply("foo", 12), Delete("foo", 15)];
    let pipe = Pipe::new(Coalescing, &[]);
    ops.into_iter().for_each(|op| pipe.push(op));
    assert_eq!((pipe.fifo.depth(), pipe.fifo.coalesced()), (1, 2));
    assert_eq!(play(Coalescing, &[], &ops, false).batches, ["deleted foo=15 @15"]);
    let events = play(Coalescing, &[("foo", 9)], &ops, false).events;
    assert_eq!((events, pipe.fifo.consumed().now_or_never()), (vec!["deleted foo=15".to_owned()], None));
}

/// Two watches and three lists, with a change to each object that counts how often it is made; what a handler hears.
pub(crate) async fn transformed(order: DeltaOrder) -> (Vec<String>, usize) {
    let server = script();
    let (first, feed) = Answer::live();
    let (second, feed_again) = Answer::live();
    server.on_list(list(5, &[])).on_watch(first).on_list(list(20, &[])).on_watch(second).on_list(list(25, &[]));
    let calls = Arc::new(AtomicUsize::new(0));
    let decoder = Decoder::new(DecoderConfig::default()).with_transform({
        let calls = Arc::clone(&calls);
        move |object: &mut ConfigMap| {
            calls.fetch_add(1, Ordering::Relaxed);
            assert!(object.metadata.labels.replace([("seen".to_owned(), String::new())].into()).is_none());
        }
    });
    let rig = Setup { decoder, order, ..Setup::paged() }.start(&server);
    feed.text(added("foo", 10) + &added("bar", 11) + &modified("foo", 12) + &deleted("foo", 15));
    seconds(1).await;
    assert!(rig.get("bar").metadata.labels.is_some());
    rig.handle.relist();
    seconds(2).await;
    feed_again.text(added("bar", 21));
    seconds(1).await;
    rig.handle.relist();
    seconds(2).await;
    assert_eq!((rig.cached(), rig.version()), (vec![], "25".to_owned()));
    (rig.heard(), calls.load(Ordering::Relaxed))
}

/// TestDeltaFIFO_transformer: each object that comes is changed once, before it is queued; the last state of what a list
/// doesn't show is not changed again.
#[tokio::test(start_paused = true)]
async fn delta_fifo_transformer() {
    let (heard, calls) = transformed(Coalescing).await;
    assert_eq!((heard.join(", ").as_str(), calls), ("added bar=11, missed bar=11, added bar=21, missed bar=21", 5));
}

/// TestDeltaFIFO_enqueueingNoLister: the queue doesn't know what the store holds, so the end of something unknown waits like
/// any other; the store, which knows, tells nobody.
#[test]
fn delta_fifo_enqueueing_no_lister() {
    let ops = [Apply("foo", 10), Apply("bar", 15), Apply("qux", 17), Delete("qux", 18), Delete("baz", 20)];
    let outcome = play(Coalescing, &[], &ops, false);
    assert_eq!(outcome.batches, ["applied foo=10, applied bar=15, deleted qux=18, deleted baz=20 @20"]);
    assert_eq!(outcome.events, ["added foo=10", "added bar=15"]);
}

/// TestDeltaFIFO_enqueueingWithLister: the end of something that the store holds is told.
#[test]
fn delta_fifo_enqueueing_with_lister() {
    let known = [("foo", 5), ("bar", 6), ("baz", 7)];
    let outcome = play(Coalescing, &known, &[Apply("foo", 10), Apply("bar", 15), Delete("baz", 20)], false);
    assert_eq!(outcome.batches, ["applied foo=10, applied bar=15, deleted baz=20 @20"]);
    assert_eq!(outcome.events, ["updated foo=10", "updated bar=15", "deleted baz=20"]);
}

/// TestDeltaFIFO_addReplace: what was added and then listed comes out once, as it was listed, also if more comes behind it.
#[test]
fn delta_fifo_add_replace() {
    let ops = [Apply("foo", 10), Replace(&[("foo", 15)], 20), Apply("bar", 21)];
    let outcome = play(Coalescing, &[], &ops, false);
    assert_eq!(outcome.batches, ["replace: foo=15 @20", "applied bar=21 @21"]);
    assert_eq!(outcome.events, ["initial foo=15", "added bar=21"]);
}

/// TestDeltaFIFO_DeleteExistingNonPropagated: an end is kept though the store may not hold the object: an older state might be
/// on its way. Upstream keeps the beginning beside it, which nobody would hear of here.
#[test]
fn delta_fifo_delete_existing_non_propagated() {
    let ops = [Apply("foo", 5), Delete("foo", 6)];
    let unknown = play(Coalescing, &[], &ops, false);
    assert_eq!((unknown.batches.join(""), unknown.events), ("deleted foo=6 @6".to_owned(), vec![]));
    assert_eq!(play(Coalescing, &[("foo", 4)], &ops, false).events, ["deleted foo=6"]);
}

/// TestDeltaFIFO_ReplaceMakesDeletions: what a list doesn't show is deleted, with the newest state that the store has seen.
#[test]
fn delta_fifo_replace_makes_deletions() {
    pipe::replace_makes_deletions(Coalescing);
}

/// TestDeltaFIFO_ReplaceMakesDeletionsReplaced: and what it shows anew is updated.
#[test]
fn delta_fifo_replace_makes_deletions_replaced() {
    pipe::replace_makes_deletions_replaced(Coalescing);
}

/// TestDeltaFIFO_ReplaceDeltaType: a list is told from changes, always; where it changes nothing nobody hears of it.
#[test]
fn delta_fifo_replace_delta_type() {
    let outcome = play(Coalescing, &[("foo", 5)], &[Replace(&[("foo", 5)], 20)], false);
    assert_eq!(outcome, Outcome { batches: vec!["replace: foo=5 @20".to_owned()], events: vec![] });
}

/// TestDeltaFIFO_HasSyncedCorrectOnDeletion: the first list, with all ends that follow from it, is one piece.
#[test]
fn delta_fifo_has_synced_correct_on_deletion() {
    pipe::has_synced_correct_on_deletion(Coalescing);
}

/// TestDeltaFIFO_detectLineJumpers: a key that waits keeps its place when it changes; one that was taken queues up anew.
#[test]
fn delta_fifo_detect_line_jumpers() {
    let (mut pipe, mut outcome) = (Pipe::new(Coalescing, &[]), Outcome::default());
    pipe.apply_all(&[("foo", 10), ("bar", 1), ("foo", 11), ("foo", 13), ("zab", 30)]);
    assert!(pipe.consume(&mut outcome));
    pipe.apply_all(&[("bar", 40), ("foo", 41)]);
    pipe.drain(&mut outcome);
    let batches = ["applied foo=13, applied bar=1, applied zab=30 @30", "applied bar=40, applied foo=41 @41"];
    assert_eq!(outcome.batches, batches);
}

/// TestDeltaFIFO_HasSynced: only a list that is in the store counts. Upstream takes an object without a list for enough, and a
/// list that is empty before it is taken.
#[test]
fn delta_fifo_has_synced() {
    pipe::has_synced(Coalescing);
}

/// TestDeltaFIFO_PopShouldUnblockWhenClosed: a closed queue lets those who wait go.
#[tokio::test(start_paused = true)]
async fn delta_fifo_pop_should_unblock_when_closed() {
    pipe::pop_should_unblock_when_closed(Coalescing).await;
}
