//! Why a key is handed out: reasons of its adds, collected, bounded, and kept until it is done.
#![allow(clippy::disallowed_methods)]

mod support;

use std::num::NonZeroUsize;

use support::*;
use tokio::time::advance;
use watchkeeper_workqueue::{Added, Ask, Policy, Reasons, WorkItem};

fn keeping(reasons: usize) -> Queue {
    queue(Policy { reasons, ..Policy::default() })
}

/// Takes a key, ends it so, and says why it was handed out.
fn end_with(queue: &Queue, outcome: Outcome) -> Reasons {
    let item = take(queue);
    let reasons = item.reasons().clone();
    outcome(item);
    reasons
}

/// Goal: the reasons of all adds since the last hand-out, each once, in their order.
#[tokio::test(start_paused = true)]
async fn the_reasons_of_all_adds_come_with_the_key() {
    let queue = keeping(5);
    queue.add_with("a", because("spec"));
    queue.add_with("a", because("owner"));
    queue.add("a");
    queue.add_with("b", because("other"));
    queue.add_with("a", because("spec"));
    let reasons = end_with(&queue, WorkItem::done);
    assert_eq!((texts(&reasons), reasons.dropped), (vec!["spec", "owner"], 0));
    assert_eq!(texts(&end_with(&queue, WorkItem::done)), ["other"]);
}

/// Goal: no more than so many are kept, and it is told how many weren't; one that is known is none of those.
#[tokio::test(start_paused = true)]
async fn reasons_are_bounded() {
    let queue = keeping(2);
    for reason in ["1", "2", "3", "1", "4", "2", "3"] {
        queue.add_with("a", because(reason));
    }
    let reasons = end_with(&queue, WorkItem::done);
    assert_eq!((texts(&reasons), reasons.dropped), (vec!["1", "2"], 3));
}

#[tokio::test(start_paused = true)]
async fn a_queue_without_the_rule_keeps_none() {
    let queue = keeping(0);
    queue.add_with("a", because("spec"));
    assert_eq!(end_with(&queue, WorkItem::done), Reasons::default());
}

/// Goal: an attempt that didn't succeed was for reasons that still stand: the next one gets them, those of the adds
/// since then after them, within the bound.
#[tokio::test(start_paused = true)]
async fn reasons_come_back_until_the_key_is_done() {
    let outcomes: [(&str, Outcome); 3] = [("retry", |item| _ = item.retry()), ("panic", panic_with), ("drop", drop)];
    for (name, outcome) in outcomes {
        let queue = keeping(3);
        queue.add_with("a", because("1"));
        end_with(&queue, outcome);
        queue.add_with("a", because("2"));
        let reasons = end_with(&queue, outcome);
        assert_eq!(texts(&reasons), ["1", "2"], "{name}");
        for reason in ["3", "1", "4"] {
            queue.add_with("a", because(reason));
        }
        let reasons = end_with(&queue, WorkItem::done);
        assert_eq!((texts(&reasons), reasons.dropped), (vec!["1", "2", "3"], 1), "{name}");
        queue.add("a");
        assert_eq!(end_with(&queue, WorkItem::done), Reasons::default(), "{name}");
    }
}

/// Goal: what was dropped before a failure is still counted after it.
#[tokio::test(start_paused = true)]
async fn the_count_of_dropped_reasons_comes_back_too() {
    let queue = keeping(1);
    for reason in ["1", "2", "3"] {
        queue.add_with("a", because(reason));
    }
    let item = take(&queue);
    queue.add_with("a", because("4"));
    queue.add_with("a", because("5"));
    item.retry();
    let reasons = end_with(&queue, WorkItem::done);
    assert_eq!((texts(&reasons), reasons.dropped), (vec!["1"], 4));
}

/// Goal: a success ends its reasons and no others: those that came while it ran are for the next run.
#[tokio::test(start_paused = true)]
async fn reasons_that_come_in_flight_are_for_the_next_run() {
    let outcomes: [(&str, Outcome, &[&str]); 4] = [
        ("done", WorkItem::done, &["2"]),
        ("give up", WorkItem::give_up, &["2"]),
        ("after", |item| item.after(HOUR), &["2"]),
        ("retry", |item| _ = item.retry(), &["1", "2"]),
    ];
    for (name, outcome, expected) in outcomes {
        let queue = keeping(5);
        queue.add_with("a", because("1"));
        let item = take(&queue);
        queue.add_with("a", because("2"));
        assert_eq!(texts(item.reasons()), ["1"], "{name}");
        outcome(item);
        assert_eq!(texts(&end_with(&queue, WorkItem::done)), expected, "{name}");
    }
}

/// Goal: reasons of a delay stay with it, also while the key is in flight; none are left of what is withdrawn.
#[tokio::test(start_paused = true)]
async fn reasons_of_a_delay_wait_with_it() {
    let queue = keeping(5);
    let later = |reason: &'static str| Ask { after: SECOND, ..because(reason) };
    queue.add_with("a", later("1"));
    queue.add_with("a", later("2"));
    advance(SECOND).await;
    let item = take(&queue);
    queue.add_with("a", later("3"));
    assert_eq!(texts(item.reasons()), ["1", "2"]);
    item.done();
    advance(SECOND).await;
    assert_eq!(texts(&end_with(&queue, WorkItem::done)), ["3"]);

    queue.add_with("a", later("4"));
    assert!(queue.withdraw(&"a"));
    let id = queue.intern("a");
    id.add_with(later("5"));
    assert!(id.withdraw());
    queue.add("a");
    assert_eq!(end_with(&queue, WorkItem::done), Reasons::default());
}

/// Goal: a pause holds reasons with its key, and adds while it lasts bring theirs.
#[tokio::test(start_paused = true)]
async fn reasons_wait_for_a_resume() {
    let queue = keeping(5);
    queue.pause_key("a");
    queue.add_with("a", because("1"));
    queue.add_with("a", because("2"));
    queue.resume_key(&"a");
    assert_eq!(texts(&end_with(&queue, WorkItem::done)), ["1", "2"]);
}

/// Goal: an add that isn't accepted leaves no reason behind.
#[tokio::test(start_paused = true)]
async fn a_refused_add_leaves_no_reason() {
    let queue = queue(Policy { reasons: 5, capacity: NonZeroUsize::new(1), ..Policy::default() });
    queue.add("a");
    assert_eq!(queue.add_with("b", because("no room")), Added::Full);
    let id = queue.intern("b");
    assert_eq!(id.add_with(because("no room either")), Added::Full);
    assert_eq!(serve(&queue), "a");
    queue.add_with("b", because("room"));
    assert_eq!(texts(&end_with(&queue, WorkItem::done)), ["room"]);
}

/// Goal: a key keeps its own reasons and nobody else's, for many keys at once. Method: ten thousand, half of which
/// fail once.
#[tokio::test(start_paused = true)]
async fn keys_do_not_share_reasons() {
    let queue = queue(Policy { reasons: 3, ..Policy::default() });
    let name = |key: u32| key.to_string();
    for key in 0..10_000_u32 {
        queue.add_with(key, Ask { reason: Some(name(key).into()), ..Ask::default() });
    }
    let mut served = 0;
    for _ in 0..10_000 {
        let item = take(&queue);
        assert_eq!(texts(item.reasons()), [name(*item.key())]);
        if item.key() % 2 == 0 { _ = item.retry() } else { item.done() }
    }
    advance(SECOND).await;
    while let Some(Some(item)) = poll(&queue) {
        assert_eq!(texts(item.reasons()), [name(*item.key())]);
        served += 1;
        item.done();
    }
    assert_eq!(served, 5000);
}
