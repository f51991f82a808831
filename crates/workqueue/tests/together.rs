//! All rules at once, in any mixture, over random calls.
//!
//! Goal: whatever rules a queue has, no accepted wish is lost, no key is with two workers, and the limits of each rule
//! hold; at the end nothing of any key is left. Method: no second implementation, only what must hold of any queue:
//! the test remembers for each key whether somebody still waits for a hand-out of it.
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use support::*;
use tokio::time::{Instant, advance};
use watchkeeper_workqueue::{
    Added, Ageing, Ask, Attempts, Config, Debounce, Exponential, Flow, KeyId, Policy, Retried, WorkItem, WorkQueue,
};

type Key = Arc<u32>;

const KEYS: u32 = 12;
const STEPS: usize = 400;

/// What a test run knows of a key.
#[derive(Default)]
struct Known {
    /// Somebody was told that it will be handed out, and it wasn't since.
    wanted: bool,
    handed_out: Option<Instant>,
    in_flight: bool,
}

struct Run {
    seed: u64,
    random: Rng,
    queue: WorkQueue<Key>,
    min_interval: Duration,
    most_reasons: usize,
    capacity: usize,
    keys: Vec<Key>,
    known: HashMap<u32, Known>,
    items: Vec<WorkItem<Key>>,
    handles: Vec<KeyId<Key>>,
}

fn random_policy(random: &mut Rng) -> Policy<Key> {
    let flow: Flow<Key> = Box::new(|key| u64::from(**key % 3));
    let debounce = Debounce { quiet: MS * random.u32(0..30), longest: MS * random.u32(0..60) };
    let attempts = Attempts { most: NonZeroU32::MIN.saturating_add(random.u32(..3)), resting: random.usize(..4) };
    Policy {
        ageing: random.bool().then(|| Ageing { step: MS * random.u32(..100) }),
        flow: random.bool().then_some(flow),
        min_interval: if random.bool() { MS * random.u32(1..80) } else { Duration::ZERO },
        debounce: random.bool().then_some(debounce),
        attempts: random.bool().then_some(attempts),
        reasons: random.usize(..4),
        capacity: if random.bool() { NonZeroUsize::new(random.usize(..8)) } else { None },
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let policy = random_policy(&mut random);
        Self {
            seed,
            min_interval: policy.min_interval,
            most_reasons: policy.reasons,
            capacity: policy.capacity.map_or(usize::MAX, NonZeroUsize::get),
            queue: WorkQueue::new(Config {
                rate_limiter: Box::new(Exponential { base: 5 * MS, max: 40 * MS }),
                policy,
                ages: random.bool(),
                ..Config::default()
            }),
            random,
            keys: (0..KEYS).map(Arc::new).collect(),
            known: HashMap::new(),
            items: Vec::new(),
            handles: Vec::new(),
        }
    }

    fn known(&mut self, key: u32) -> &mut Known {
        self.known.entry(key).or_default()
    }

    /// One random call.
    async fn step(&mut self) {
        let key = self.keys[self.random.usize(..self.keys.len())].clone();
        match self.random.u8(..20) {
            0..5 => self.add(key),
            5..9 => self.take(),
            9..13 => self.end(),
            13 if self.queue.withdraw(&key) => self.known(*key).wanted = false,
            14 => self.queue.pause_key(key),
            15 => _ = self.queue.resume_key(&key),
            16 if self.random.bool() => self.queue.pause(),
            16 => self.queue.resume(),
            17 if self.handles.len() < 4 => self.handles.push(self.queue.intern(key)),
            17 => _ = self.handles.swap_remove(self.random.usize(..4)),
            18 if self.queue.retry_exhausted(&key) => self.known(*key).wanted = true,
            _ => advance(MS * self.random.u32(..20)).await,
        }
        self.check();
    }

    /// Asks for a key, by itself or by a handle, in any way.
    fn add(&mut self, key: Key) {
        let handle = self.handles.first().filter(|_| self.random.bool());
        let key = handle.map_or(key, KeyId::key);
        let number = self.random.u8(..5);
        let ask = Ask {
            after: if self.random.bool() { MS * self.random.u32(..50) } else { Duration::ZERO },
            priority: self.random.i16(-5..5),
            reason: self.random.bool().then(|| format!("{key} {number}").into()),
        };
        let added = match (handle, self.random.u8(..3)) {
            (Some(id), 0) => id.add(),
            (Some(id), _) => id.add_with(ask),
            (None, 0) => self.queue.add(key.clone()),
            (None, 1) => self.queue.add_with(key.clone(), ask),
            (None, _) => self.queue.add_rate_limited(key.clone()),
        };
        let key = *key;
        match added {
            Added::Full => assert!(!self.known(key).in_flight && !self.known(key).wanted, "{}: {key}", self.seed),
            added => {
                assert!(added.is_accepted(), "{}: not shut down", self.seed);
                self.known(key).wanted = true;
            }
        }
    }

    fn take(&mut self) {
        let Some(item) = poll(&self.queue) else { return };
        let item = item.expect("not over");
        let (key, seed, now, min_interval) = (**item.key(), self.seed, Instant::now(), self.min_interval);
        assert_eq!(item.attempt(), self.queue.failures(item.key()) + 1, "seed {seed}: {key}");
        assert!(item.reasons().kept.len() <= self.most_reasons, "seed {seed}: {key}");
        let prefix = format!("{key} ");
        assert!(item.reasons().kept.iter().all(|reason| reason.starts_with(&prefix)), "seed {seed}: {key}");
        let known = self.known(key);
        assert!(known.wanted && !known.in_flight, "seed {seed}: {key} was handed out to a second worker, or unasked");
        let rested = known.handed_out.is_none_or(|last| now - last >= min_interval);
        assert!(rested, "seed {seed}: {key} came too soon");
        *known = Known { wanted: false, handed_out: Some(now), in_flight: true };
        self.items.push(item);
    }

    /// A worker ends with its key in some way.
    fn end(&mut self) {
        if self.items.is_empty() {
            return;
        }
        let mut item = self.items.swap_remove(self.random.usize(..self.items.len()));
        let delay = MS * self.random.u32(..30);
        self.known(**item.key()).in_flight = false;
        let known = self.known.get_mut(&**item.key()).expect("in flight");
        match self.random.u8(..8) {
            0..3 => known.wanted |= item.retry() != Retried::Exhausted,
            3 => {
                known.wanted = true;
                item.after(delay);
            }
            4 => {
                known.wanted = true;
                drop(item);
            }
            5 => item.give_up(),
            6 => {
                item.forget();
                item.done();
            }
            _ => item.done(),
        }
    }

    /// The counts are those of the lists, and the lists are within the limits.
    fn check(&self) {
        let sight = self.queue.sight(usize::MAX);
        let (seen, seed) = (sight.snapshot, self.seed);
        assert_eq!(seen.in_flight, self.items.len(), "seed {seed}");
        let lengths = [sight.ready.len(), sight.waiting.len(), sight.in_flight.len(), sight.held.len()];
        assert_eq!([seen.ready, seen.waiting, seen.in_flight, seen.held], lengths, "seed {seed}");
        assert_eq!(seen.exhausted, sight.exhausted.len(), "seed {seed}");
        let flying: Vec<u32> = sight.in_flight.iter().map(|at| *at.key).collect();
        let waiting = sight.waiting.iter().filter(|waiting| !flying.contains(&waiting.key)).count();
        let busy = seen.ready + waiting + seen.in_flight + seen.held + seen.exhausted;
        assert!(busy <= self.capacity.min(KEYS as usize), "seed {seed}: {busy} keys");
    }

    /// The keys that say themselves that they will be handed out.
    fn expected(&self) -> Vec<u32> {
        let sight = self.queue.sight(usize::MAX);
        sight.ready.iter().chain(sight.waiting.iter().map(|waiting| &waiting.key)).map(|key| **key).collect()
    }

    /// Lets everything run to its end: each key that is wanted comes, and then nothing is left.
    async fn finish(mut self) {
        self.queue.resume();
        for key in &self.keys {
            self.queue.resume_key(key);
        }
        self.items.drain(..).for_each(|item| self.known.get_mut(&**item.key()).expect("taken").in_flight = false);
        for key in self.expected() {
            self.known(key).wanted = true;
        }
        for _ in 0..500 {
            advance(MS).await;
            while self.queue.snapshot().ready + self.queue.snapshot().waiting > 0 {
                let before = self.items.len();
                self.take();
                if self.items.len() == before {
                    break;
                }
                self.items.drain(..).for_each(WorkItem::done);
                self.known.values_mut().for_each(|known| known.in_flight = false);
            }
        }
        let lost: Vec<_> = self.known.iter().filter(|(_, known)| known.wanted).map(|(key, _)| key).collect();
        assert!(lost.is_empty(), "seed {}: {lost:?} were accepted and never came", self.seed);
        self.handles.clear();
        let resting = self.queue.retry_all_exhausted();
        self.queue.discard();
        let seen = self.queue.snapshot();
        assert_eq!([seen.ready, seen.waiting, seen.in_flight, seen.held, seen.failing], [0; 5], "seed {}", self.seed);
        let kept: Vec<_> = self.keys.iter().filter(|key| Arc::strong_count(key) > 1).collect();
        assert!(kept.is_empty(), "seed {}: {kept:?} are still there, {resting} were exhausted", self.seed);
    }
}

#[tokio::test(start_paused = true)]
async fn any_mixture_of_rules_loses_nothing() {
    for seed in 0..500 {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step().await;
        }
        run.finish().await;
    }
}
