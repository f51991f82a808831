//! A queue and the store behind it, in one hand.
//!
//! In: what a reflector would push. Out: the batches that the queue hands out and what a handler would hear of them, in short
//! texts.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::core::v1::ConfigMap;
use watchkeeper_informer::delta_fifo::{Change, Delta, Relisted, Replacement, Work};
use watchkeeper_informer::{Cached, DeltaFifo, DeltaOrder, Finality, ObjectKey, ResourceVersion, StoreWriter};

use crate::rig::{queue, told};

/// A name and a version. Behind `#` is the number of the life, if it isn't the first: its uid is another one.
pub(crate) type Item = (&'static str, u64);

/// What happens to a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// Added or modified.
    Apply(&'static str, u64),
    Delete(&'static str, u64),
    Replace(&'static [Item], u64),
    Bookmark(u64),
}

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What each batch asks for, and its version.
    pub(crate) batches: Vec<String>,
    /// What a handler would hear.
    pub(crate) events: Vec<String>,
}

pub(crate) fn thing(item: &str, version: u64) -> Arc<ConfigMap> {
    let mut object = ConfigMap::default();
    object.metadata.name = item.split('#').next().map(str::to_owned);
    object.metadata.uid = Some(item.to_owned());
    object.metadata.resource_version = Some(version.to_string());
    Arc::new(object)
}

pub(crate) fn at(version: u64) -> ResourceVersion {
    ResourceVersion::new(&version.to_string())
}

/// A queue and the store that takes from it.
pub(crate) struct Pipe {
    pub(crate) fifo: DeltaFifo<ConfigMap>,
    pub(crate) writer: StoreWriter<ConfigMap>,
}

impl Pipe {
    /// An empty queue, and a store that already holds these; nothing is listed yet.
    pub(crate) fn new(order: DeltaOrder, known: &[Item]) -> Self {
        let mut writer = StoreWriter::default();
        let known = known.iter().map(|(name, version)| Change::applied(thing(name, *version))).collect();
        writer.apply(Work::Changes(known), at(0));
        Self { fifo: queue(order), writer }
    }

    pub(crate) fn push(&self, op: Op) {
        match op {
            Op::Apply(name, version) => self.fifo.push(Delta::Applied(thing(name, version)), 1, at(version)),
            Op::Delete(name, version) => self.fifo.push(Delta::Deleted(thing(name, version)), 1, at(version)),
            Op::Replace(items, version) => {
                let items = items.iter().map(|(name, version)| Relisted::new(thing(name, *version))).collect();
                self.fifo.replace(Replacement { items, version: at(version) });
            }
            Op::Bookmark(version) => self.fifo.reached(at(version)),
        }
    }

    pub(crate) fn apply_all(&self, items: &[Item]) {
        items.iter().for_each(|(name, version)| self.push(Op::Apply(name, *version)));
    }

    /// Takes one batch and applies it; `false`: there was none.
    pub(crate) fn consume(&mut self, outcome: &mut Outcome) -> bool {
        let Some(batch) = self.fifo.pop().now_or_never().flatten() else { return false };
        outcome.batches.push(format!("{} @{}", text(&batch.work), batch.version));
        let applied = self.writer.apply(batch.work, batch.version);
        batch.receipt.applied();
        outcome.events.extend(applied.events.iter().map(told));
        true
    }

    pub(crate) fn drain(&mut self, outcome: &mut Outcome) {
        while self.consume(outcome) {}
    }

    pub(crate) fn has_synced(&self) -> bool {
        self.writer.store().reached().replacements > 0
    }
}

/// What becomes of these, taken when all is pushed, or (`keeps_up`) each at once.
pub(crate) fn play(order: DeltaOrder, known: &[Item], ops: &[Op], keeps_up: bool) -> Outcome {
    let (mut pipe, mut outcome) = (Pipe::new(order, known), Outcome::default());
    for op in ops {
        pipe.push(*op);
        if keeps_up {
            pipe.drain(&mut outcome);
        }
    }
    pipe.drain(&mut outcome);
    outcome
}

fn text(work: &Work<ConfigMap>) -> String {
    let (kind, parts): (_, Vec<_>) = match work {
        Work::Changes(changes) => ("", changes.iter().map(change).collect()),
        Work::Replace(replacement) => ("replace: ", replacement.items.iter().map(relisted).collect()),
    };
    if parts.is_empty() { format!("{kind}nothing") } else { format!("{kind}{}", parts.join(", ")) }
}

fn change(change: &Change<ConfigMap>) -> String {
    match change {
        Change::Applied(object, _) => named("applied ", object),
        Change::Deleted { last, finality: Finality::Observed } => named("deleted ", last),
        Change::Deleted { last, finality: Finality::Inferred } => named("missed ", last),
    }
}

fn relisted(item: &Relisted<ConfigMap>) -> String {
    match item {
        Relisted::New(object, _) => named("", object),
        Relisted::Unchanged(object) => ObjectKey::of(&**object).to_string(),
    }
}

fn named(what: &str, object: &ConfigMap) -> String {
    format!("{what}{}={}", object.name(), object.version())
}

/// Two producers of 500 objects each, on threads of their own: all arrive, those of each in its order.
pub(crate) fn basic(order: DeltaOrder) {
    const AMOUNT: u64 = 500;
    let fifo = queue(order);
    let mut popped = Vec::new();
    std::thread::scope(|scope| {
        let producers = ["a", "b"].map(|producer| {
            let fifo = fifo.clone();
            scope.spawn(move || {
                for number in 0..AMOUNT {
                    let object = thing(&format!("{producer}{number}"), number + 1);
                    fifo.push(Delta::Applied(object), 1, at(number + 1));
                    if number % 16 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        });
        let mut over = false;
        while !over {
            // What is pushed after the last look has been pushed before this one.
            over = producers.iter().all(std::thread::ScopedJoinHandle::is_finished);
            while let Some(batch) = fifo.pop().now_or_never().flatten() {
                let Work::Changes(changes) = batch.work else { panic!("nothing was replaced") };
                popped.extend(changes);
                batch.receipt.applied();
            }
        }
    });
    let mut last: HashMap<String, u64> = HashMap::new();
    assert_eq!(popped.len() as u64, 2 * AMOUNT);
    for change in popped {
        let Change::Applied(object, _) = change else { panic!("nothing was deleted") };
        let version = object.version().parse().expect("a number");
        let before = last.insert(object.name()[..1].to_owned(), version).unwrap_or_default();
        assert_eq!(version, before + 1, "out of order");
    }
}

/// What vanished from a list is deleted, once each, before anything of the list is told, with the newest state that the store
/// has seen. A consumer that keeps up hears of everything in between; what it has not yet taken is superseded by the list, so
/// one that lags doesn't.
pub(crate) fn replace_makes_deletions(order: DeltaOrder) {
    use Op::{Apply, Delete, Replace};
    type Texts = &'static [&'static str];
    const KNOWN: &[Item] = &[("foo", 5), ("bar", 6), ("baz", 7)];
    const FOO: Op = Replace(&[("foo", 5)], 20);
    let gone: Texts = &["missed bar=6", "missed baz=7"];
    let cases: [(&[Item], &[Op], Texts, Texts); 5] = [
        (KNOWN, &[Delete("baz", 10), FOO], &["deleted baz=10", "missed bar=6"], gone),
        (KNOWN, &[Apply("baz", 10), FOO], &["updated baz=10", "missed bar=6", "missed baz=10"], gone),
        (
            KNOWN,
            &[Delete("bar", 6), Apply("bar#2", 100), FOO],
            &["deleted bar=6", "added bar=100", "missed bar=100", "missed baz=7"],
            gone,
        ),
        (
            KNOWN,
            &[Replace(&[("bar", 100), ("foo", 5)], 19), FOO],
            &["missed baz=7", "updated bar=100", "missed bar=100"],
            gone,
        ),
        (&[], &[Apply("baz", 10), FOO], &["added baz=10", "missed baz=10", "initial foo=5"], &["initial foo=5"]),
    ];
    for (known, ops, at_once, late) in cases {
        assert_eq!(play(order, known, ops, true).events, at_once, "{ops:?}");
        let lagging = play(order, known, ops, false);
        assert_eq!(
            (lagging.events, lagging.batches),
            (late.iter().map(ToString::to_string).collect(), vec!["replace: foo=5 @20".to_owned()])
        );
    }
}

/// The same of a list that shows another state of what stayed.
pub(crate) fn replace_makes_deletions_replaced(order: DeltaOrder) {
    let (known, ops) = ([("foo", 5), ("bar", 6), ("baz", 7)], [Op::Delete("baz", 10), Op::Replace(&[("foo", 6)], 20)]);
    assert_eq!(play(order, &known, &ops, true).events, ["deleted baz=10", "missed bar=6", "updated foo=6"]);
    assert_eq!(play(order, &known, &ops, false).events, ["missed bar=6", "missed baz=7", "updated foo=6"]);
}

/// An object that is only in the queue is gone with a list that doesn't show it: a consumer that keeps up hears of one end,
/// one that lags of nothing, or, where the store holds an older state, of the end of that, once.
pub(crate) fn replace_makes_deletions_for_objects_only_in_queue(order: DeltaOrder) {
    use Op::{Apply, Delete, Replace};
    const ADD: Op = Apply("foo", 2);
    const NONE: Op = Replace(&[], 10);
    const SAME: Op = Replace(&[("foo", 2)], 9);
    let cases: [(&[Op], &[&str]); 6] = [
        (&[ADD, NONE], &["added foo=2", "missed foo=2"]),
        (&[ADD, SAME, NONE], &["added foo=2", "missed foo=2"]),
        (&[ADD, Delete("foo", 2), NONE], &["added foo=2", "deleted foo=2"]),
        (&[ADD, SAME, SAME, NONE], &["added foo=2", "missed foo=2"]),
        (&[ADD, NONE, Replace(&[], 11)], &["added foo=2", "missed foo=2"]),
        (
            &[ADD, Delete("foo", 2), Apply("foo#2", 3), NONE],
            &["added foo=2", "deleted foo=2", "added foo=3", "missed foo=3"],
        ),
    ];
    for (ops, events) in cases {
        assert_eq!(play(order, &[], ops, true).events, events, "{ops:?}");
        assert_eq!(play(order, &[], ops, false).events, [""; 0], "{ops:?}");
        assert_eq!(play(order, &[("foo", 1)], ops, false).events, ["missed foo=1"], "{ops:?}");
    }
}

/// A list shows an object whose end is pending: it isn't taken for gone, and its creation isn't missed. The same life has
/// changed, another one is added.
pub(crate) fn replace_with_delete_delta_in(order: DeltaOrder) {
    let known = [("foo", 1)];
    let ops = |listed| [Op::Delete("foo", 1), Op::Replace(listed, 5)];
    let (same, other) = (ops(&[("foo", 2)]), ops(&[("foo#2", 2)]));
    for ops in [same, other] {
        let outcome = play(order, &known, &ops, true);
        assert_eq!(outcome.events, ["deleted foo=1", "initial foo=2"]);
        assert_eq!(outcome.batches, ["deleted foo=1 @1", "replace: foo=2 @5"]);
    }
    assert_eq!(play(order, &known, &same, false).events, ["updated foo=2"]);
    assert_eq!(play(order, &known, &other, false).events, ["missed foo=1", "initial foo=2"]);
}

/// The ends of what a first list doesn't show belong to the first population, which is one piece: until all of it is in the
/// store it isn't synced, and nobody may ask what is known.
pub(crate) fn has_synced_correct_on_deletion(order: DeltaOrder) {
    let mut pipe = Pipe::new(order, &[("foo", 5), ("bar", 6), ("baz", 7)]);
    pipe.push(Op::Replace(&[("foo", 5)], 20));
    assert!(!pipe.has_synced() && pipe.fifo.consumed().now_or_never().is_none());
    let batch = pipe.fifo.pop().now_or_never().flatten().expect("the list");
    assert!(!pipe.has_synced() && pipe.fifo.pop().now_or_never().is_none());
    let applied = pipe.writer.apply(batch.work, batch.version);
    assert!(pipe.has_synced() && pipe.fifo.consumed().now_or_never().is_none());
    batch.receipt.applied();
    assert!(pipe.fifo.consumed().now_or_never().is_some());
    assert_eq!(applied.events.iter().map(told).collect::<Vec<_>>(), ["missed bar=6", "missed baz=7"]);
}

/// Synced is what has taken a list, whole, into the store: a list that waits isn't enough, nor is an object without a list.
pub(crate) fn has_synced(order: DeltaOrder) {
    use Op::{Apply, Replace};
    const TWO: Op = Replace(&[("a", 1), ("b", 2)], 5);
    let cases: [(&[Op], usize, bool); 8] = [
        (&[], 0, false),
        (&[Apply("a", 1)], 0, false),
        (&[Apply("a", 1)], 1, false),
        (&[Replace(&[], 5)], 0, false),
        (&[Replace(&[], 5)], 1, true),
        (&[TWO], 0, false),
        (&[TWO], 1, true),
        (&[Replace(&[("a", 1), ("a", 2)], 5)], 1, true),
    ];
    for (ops, pops, synced) in cases {
        let (mut pipe, mut outcome) = (Pipe::new(order, &[]), Outcome::default());
        ops.iter().for_each(|op| pipe.push(*op));
        assert!((0..pops).all(|_| pipe.consume(&mut outcome)), "{ops:?}");
        assert_eq!(pipe.has_synced(), synced, "{ops:?} after {pops}");
        let total = pipe.writer.store().len();
        assert_eq!(total, outcome.events.len(), "an object that is listed twice is told of once");
    }
}

/// Ten that wait for something to take are told within half a second that there will be nothing.
pub(crate) async fn pop_should_unblock_when_closed(order: DeltaOrder) {
    let fifo: DeltaFifo<ConfigMap> = queue(order);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let fifo = fifo.clone();
        waiting.spawn(async move { fifo.pop().await.is_none() });
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(waiting.try_join_next().is_none());
    fifo.close();
    let ended = tokio::time::timeout(std::time::Duration::from_millis(500), waiting.join_all()).await;
    assert_eq!(ended.expect("they return"), [true; 10]);
}
