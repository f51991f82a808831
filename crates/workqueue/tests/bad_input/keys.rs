//! Keys that break the rules of keys.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::advance;
use watchkeeper_workqueue::{Added, Ageing, Flow, Policy, WorkQueue};

use crate::support::*;

fn plain<K>() -> WorkQueue<K> {
    queue(Policy::default())
}

/// A key that isn't equal to itself, as a float that is no number.
#[derive(Clone, Debug)]
struct Unequal(u32);

impl PartialEq for Unequal {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Unequal {}

impl Hash for Unequal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Goal: a key that equals nothing is a new key each time; each of them is handed out, and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn keys_that_equal_nothing_are_many_keys() {
    let queue = plain();
    for _ in 0..3 {
        assert_eq!(queue.add(Unequal(1)), Added::Queued);
    }
    assert!(!queue.withdraw(&Unequal(1)) && !queue.resume_key(&Unequal(1)));
    queue.add_after(Unequal(2), SECOND);
    take(&queue).retry();
    assert_eq!(serve_all(&queue).len(), 2);
    advance(SECOND).await;
    assert_eq!(serve_all(&queue).into_iter().map(|key| key.0).collect::<Vec<_>>(), [1, 2]);
    let seen = queue.snapshot();
    assert_eq!((seen.ready, seen.waiting, seen.in_flight, seen.failing), (0, 0, 0, 0));
}

/// A key whose hash says nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
struct SameHash(u32);

impl Hash for SameHash {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Goal: keys that all have the same hash are slow and nothing else.
#[tokio::test(start_paused = true)]
async fn keys_with_the_same_hash_stay_apart() {
    let queue = plain();
    (0..1500).for_each(|key| assert_eq!(queue.add(SameHash(key)), Added::Queued));
    (0..1500).for_each(|key| assert_eq!(queue.add(SameHash(key)), Added::AlreadyQueued));
    assert_eq!(serve_all(&queue), (0..1500).map(SameHash).collect::<Vec<_>>());
    assert_eq!(queue.failures(&SameHash(7)), 0);
}

/// A key that carries more than what it is compared by.
#[derive(Clone, Debug)]
struct Loaded(u32, &'static str);

impl PartialEq for Loaded {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Loaded {}

impl Hash for Loaded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Goal: of equal keys the one that came first is handed out, in each of its runs, until it has left the queue.
#[tokio::test(start_paused = true)]
async fn of_equal_keys_the_first_is_kept() {
    let queue = plain();
    queue.add(Loaded(1, "first"));
    queue.add(Loaded(1, "second"));
    let item = take(&queue);
    queue.add(Loaded(1, "third"));
    assert_eq!(item.key().1, "first");
    item.done();
    assert_eq!(serve(&queue).1, "first");
    queue.add(Loaded(1, "fourth"));
    assert_eq!(serve(&queue).1, "fourth");
}

/// Goal: keys need hold nothing at all.
#[tokio::test(start_paused = true)]
async fn a_key_may_be_empty() {
    let queue: WorkQueue<()> = plain();
    assert_eq!((queue.add(()), queue.add(())), (Added::Queued, Added::AlreadyQueued));
    let item = take(&queue);
    assert_eq!(queue.add(()), Added::WillRerun);
    item.done();
    assert_eq!(serve_all(&queue), [()]);
}

/// A key that panics when it is compared, hashed or cloned, if it is set to.
#[derive(Debug)]
struct Fragile(u32);

static COMPARES: AtomicBool = AtomicBool::new(true);
static HASHES: AtomicBool = AtomicBool::new(true);
static CLONES: AtomicBool = AtomicBool::new(true);

fn check(works: &AtomicBool) {
    if !works.load(Ordering::Relaxed) {
        planted();
    }
}

impl PartialEq for Fragile {
    fn eq(&self, other: &Self) -> bool {
        check(&COMPARES);
        self.0 == other.0
    }
}

impl Eq for Fragile {}

impl Hash for Fragile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        check(&HASHES);
        self.0.hash(state);
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        check(&CLONES);
        Self(self.0)
    }
}

/// The call panics if this doesn't work, and doesn't otherwise.
fn breaks<R>(works: &AtomicBool, call: impl FnOnce() -> R) -> bool {
    works.store(false, Ordering::Relaxed);
    let broken = panics(call);
    works.store(true, Ordering::Relaxed);
    broken
}

/// Goal: a panic of a key's own code goes to the caller and no further: the queue can be used, and has lost nothing.
/// Method: one test, since what the keys do is global; every call that compares or hashes, with three keys in it.
#[tokio::test(start_paused = true)]
async fn a_key_that_panics_harms_its_caller_only() {
    let queue: WorkQueue<Fragile> = queue(Policy { reasons: 1, ..Policy::default() });
    queue.add(Fragile(1));
    queue.add_after(Fragile(2), SECOND);
    queue.add(Fragile(3));
    let item = take(&queue);
    let before = queue.snapshot();
    for works in [&COMPARES, &HASHES] {
        for key in 1..=3 {
            type Call<'a> = (&'a str, Box<dyn Fn() + 'a>);
            let calls: [Call<'_>; 9] = [
                ("add", Box::new(|| _ = queue.add(Fragile(key)))),
                ("add after", Box::new(|| _ = queue.add_after(Fragile(key), SECOND))),
                ("add with", Box::new(|| _ = queue.add_with(Fragile(key), because("reason")))),
                ("add rate limited", Box::new(|| _ = queue.add_rate_limited(Fragile(key)))),
                ("withdraw", Box::new(|| _ = queue.withdraw(&Fragile(key)))),
                ("failures", Box::new(|| _ = queue.failures(&Fragile(key)))),
                ("forget", Box::new(|| queue.forget(&Fragile(key)))),
                ("pause", Box::new(|| queue.pause_key(Fragile(key)))),
                ("intern", Box::new(|| _ = queue.intern(Fragile(key)))),
            ];
            for (name, call) in calls {
                assert!(breaks(works, call), "{name} of {key}");
                assert_eq!(queue.snapshot(), before, "{name} of {key}");
            }
        }
    }
    assert!(breaks(&CLONES, || queue.sight(9)));
    let id = queue.intern(Fragile(3));
    assert!(breaks(&CLONES, || id.key()));
    assert_eq!(queue.snapshot(), before);
    assert_eq!((id.add(), id.key().0), (Added::AlreadyQueued, 3));
    item.done();
    assert_eq!(serve(&queue).0, 3);
    advance(SECOND).await;
    assert_eq!(serve(&queue).0, 2);
    assert!(is_drained(&queue) && is_waiting(&queue));
}

static HAND_OUTS: AtomicBool = AtomicBool::new(true);

/// A key that panics when it is cloned for a worker, if it is set to.
#[derive(PartialEq, Eq, Hash, Debug)]
struct HardToClone(u32);

impl Clone for HardToClone {
    fn clone(&self) -> Self {
        check(&HAND_OUTS);
        Self(self.0)
    }
}

/// Goal: a key that panics while it is cloned for a worker isn't lost, and isn't in flight with nobody: the call that
/// was to take it panics, the next one gets it, with its reasons.
#[tokio::test(start_paused = true)]
async fn a_key_that_panics_when_it_is_handed_out_stays() {
    let queue: WorkQueue<HardToClone> = queue(Policy { reasons: 1, ..Policy::default() });
    queue.add_with(HardToClone(1), because("reason"));
    queue.add(HardToClone(2));
    assert!(breaks(&HAND_OUTS, || poll(&queue)));
    assert_eq!((queue.snapshot().in_flight, queue.snapshot().ready), (0, 2));
    let items = [take(&queue), take(&queue)];
    assert!(items.iter().any(|item| item.key().0 == 1 && texts(item.reasons()) == ["reason"]));
    items.into_iter().for_each(|item| item.done());
    assert!(is_drained(&queue));
}

/// Goal: equal keys are one key, also if the flow function tells them apart: nothing is lost, nothing panics.
#[tokio::test(start_paused = true)]
async fn equal_keys_of_different_flows_are_one_key() {
    let flow: Flow<Loaded> = Box::new(|key| key.1.len() as u64);
    let queue = queue(Policy { flow: Some(flow), ageing: Some(Ageing::default()), ..Policy::default() });
    queue.add(Loaded(1, "a"));
    queue.add(Loaded(2, "bb"));
    queue.add_with(Loaded(1, "long"), at(3));
    queue.pause_key(Loaded(2, "longer"));
    assert!(queue.resume_key(&Loaded(2, "")));
    let id = queue.intern(Loaded(1, "longest of all"));
    id.add_with(at(5));
    let mut keys: Vec<u32> = serve_all(&queue).into_iter().map(|key| key.0).collect();
    keys.sort_unstable();
    assert_eq!(keys, [1, 2]);
    assert!(is_drained(&queue) && is_waiting(&queue));
}
