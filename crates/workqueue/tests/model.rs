//! The queue against a naive one, over random sequences of calls in virtual time.
//!
//! Goal: every answer, every hand-out and every count is the naive queue's, and no waiting call sleeps on while it has
//! something to come for (no wake-up is lost, the time is always kept). Method: waiting calls are polled by hand, and
//! only when their wakers were used; some are polled without need or dropped at any point.
#![allow(clippy::disallowed_methods)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;
use watchkeeper_workqueue::{Added, Config, Exponential, Snapshot, WorkItem, WorkQueue};

/// The reference: lists, searched.
#[derive(Default)]
struct Naive {
    now: u64,
    ready: Vec<u8>,
    /// Key, and whether it was added again.
    in_flight: Vec<(u8, bool)>,
    /// Due time, number of the call that set it, key.
    waiting: Vec<(u64, u64, u8)>,
    failures: Vec<(u8, u32)>,
    shut_down: bool,
    calls: u64,
    adds: u64,
    retries: u64,
    given_up: u64,
}

impl Naive {
    fn add(&mut self, key: u8) -> Added {
        if self.shut_down {
            return Added::Refused;
        }
        if self.ready.contains(&key) {
            return Added::AlreadyQueued;
        }
        self.waiting.retain(|waiting| waiting.2 != key);
        if let Some(flight) = self.in_flight.iter_mut().find(|flight| flight.0 == key) {
            self.adds += u64::from(!flight.1);
            flight.1 = true;
            return Added::WillRerun;
        }
        self.adds += 1;
        self.ready.push(key);
        Added::Queued
    }

    fn add_after(&mut self, key: u8, delay: u64) -> Added {
        if self.shut_down {
            return Added::Refused;
        }
        if delay == 0 {
            return self.add(key);
        }
        if self.ready.contains(&key) {
            return Added::AlreadyQueued;
        }
        let flight = self.in_flight.iter().find(|flight| flight.0 == key).copied();
        if flight.is_some_and(|flight| flight.1) {
            return Added::WillRerun;
        }
        let set = self.schedule(key, delay);
        match flight {
            Some(_) => Added::WillRerun,
            None if set => Added::Queued,
            None => Added::AlreadyQueued,
        }
    }

    fn schedule(&mut self, key: u8, delay: u64) -> bool {
        let due = self.now + delay;
        if self.waiting.iter().any(|waiting| waiting.2 == key && waiting.0 <= due) {
            return false;
        }
        self.waiting.retain(|waiting| waiting.2 != key);
        self.calls += 1;
        self.waiting.push((due, self.calls, key));
        true
    }

    /// None: waits. Some(None): over.
    fn take(&mut self) -> Option<Option<(u8, u32)>> {
        self.waiting.sort_unstable();
        while self.waiting.first().is_some_and(|first| first.0 <= self.now) {
            let (_, _, key) = self.waiting.remove(0);
            self.add(key);
        }
        if self.ready.is_empty() {
            let over = self.shut_down && !self.in_flight.iter().any(|flight| flight.1);
            return over.then_some(None);
        }
        let key = self.ready.remove(0);
        assert!(!self.in_flight.iter().any(|flight| flight.0 == key), "two workers on a key");
        self.in_flight.push((key, false));
        Some(Some((key, self.failed(key) + 1)))
    }

    fn failed(&self, key: u8) -> u32 {
        self.failures.iter().find(|failures| failures.0 == key).map_or(0, |failures| failures.1)
    }

    fn finish(&mut self, key: u8, outcome: Outcome) {
        let index = self.in_flight.iter().position(|flight| flight.0 == key).expect("in flight");
        let (_, again) = self.in_flight.remove(index);
        let failed = self.failed(key);
        if outcome != Outcome::Drop {
            self.failures.retain(|failures| failures.0 != key);
        }
        match outcome {
            Outcome::Retry => {
                self.retries += 1;
                self.failures.push((key, failed + 1));
            }
            Outcome::GiveUp => self.given_up += 1,
            _ => {}
        }
        if again {
            self.adds -= 1; // `add` counts it, and it was counted when it was marked.
            let open = std::mem::replace(&mut self.shut_down, false);
            self.add(key);
            self.shut_down = open;
            return;
        }
        if self.shut_down {
            self.failures.retain(|failures| failures.0 != key);
            return;
        }
        match outcome {
            Outcome::Drop | Outcome::After(0) => assert_ne!(self.add(key), Added::Refused),
            Outcome::After(delay) => _ = self.schedule(key, delay),
            Outcome::Retry => _ = self.schedule(key, backoff(failed + 1)),
            Outcome::Done | Outcome::GiveUp => {}
        }
    }

    fn shut_down(&mut self) {
        self.shut_down = true;
        self.waiting.clear();
        let Self { ready, in_flight, failures, .. } = self;
        failures.retain(|(key, _)| ready.contains(key) || in_flight.iter().any(|flight| flight.0 == *key));
    }

    fn discard(&mut self) {
        self.ready.clear();
        self.in_flight.iter_mut().for_each(|flight| flight.1 = false);
        self.shut_down();
    }

    fn is_drained(&self) -> bool {
        self.ready.is_empty() && self.in_flight.is_empty()
    }

    fn check(&self, seen: Snapshot) -> Result<(), TestCaseError> {
        prop_assert_eq!(seen.ready, self.ready.len());
        prop_assert_eq!(seen.waiting, self.waiting.len());
        prop_assert_eq!(seen.in_flight, self.in_flight.len());
        prop_assert_eq!(seen.failing, self.failures.len());
        prop_assert_eq!(seen.shut_down, self.shut_down);
        prop_assert_eq!((seen.adds, seen.retries, seen.given_up), (self.adds, self.retries, self.given_up));
        Ok(())
    }
}

/// The limiter both sides use: 4 ms, doubling up to 32 ms.
fn backoff(failures: u32) -> u64 {
    (4 << (failures - 1).min(10)).min(32)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Done,
    After(u64),
    Retry,
    GiveUp,
    Drop,
}

#[derive(Clone, Debug)]
enum Call {
    Add(u8),
    AddAfter(u8, u64),
    Wait,
    /// Poll a waiting call that wasn't woken.
    Poll(usize),
    DropWaiting(usize),
    Finish(usize, Outcome),
    Advance(u64),
    Drain,
    DropDrain(usize),
    ShutDown,
    Discard,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let key = 0..5_u8;
    let outcome = prop_oneof![
        3 => Just(Outcome::Done),
        2 => (0..40_u64).prop_map(Outcome::After),
        3 => Just(Outcome::Retry),
        1 => Just(Outcome::GiveUp),
        2 => Just(Outcome::Drop),
    ];
    let call = prop_oneof![
        10 => key.clone().prop_map(Call::Add),
        6 => (key, 0..40_u64).prop_map(|(key, delay)| Call::AddAfter(key, delay)),
        9 => Just(Call::Wait),
        2 => (0..8_usize).prop_map(Call::Poll),
        4 => (0..8_usize).prop_map(Call::DropWaiting),
        10 => (0..8_usize, outcome).prop_map(|(index, outcome)| Call::Finish(index, outcome)),
        6 => (1..30_u64).prop_map(Call::Advance),
        1 => Just(Call::Drain),
        1 => (0..3_usize).prop_map(Call::DropDrain),
    ];
    let end = prop_oneof![2 => Just(Call::ShutDown), 1 => Just(Call::Discard)];
    (prop::collection::vec(call.clone(), 0..60), end, prop::collection::vec(call, 0..15))
        .prop_map(|(before, end, after)| before.into_iter().chain([end]).chain(after).collect())
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A future that is polled by hand.
struct Waiting<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    woken: Arc<Flag>,
}

impl<T> Waiting<T> {
    fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self { future: Box::pin(future), woken: Arc::default() }
    }

    fn poll(&mut self) -> Poll<T> {
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(self.woken.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed)
    }
}

struct Harness {
    queue: WorkQueue<u8>,
    naive: Naive,
    waiting: Vec<Waiting<Option<WorkItem<u8>>>>,
    drains: Vec<Waiting<()>>,
    items: Vec<WorkItem<u8>>,
}

impl Harness {
    fn new() -> Self {
        let rate_limiter = Exponential { base: Duration::from_millis(4), max: Duration::from_millis(32) };
        let queue =
            WorkQueue::new(Config { name: "model".into(), rate_limiter: Box::new(rate_limiter), ..Config::default() });
        Self { queue, naive: Naive::default(), waiting: Vec::new(), drains: Vec::new(), items: Vec::new() }
    }

    async fn call(&mut self, call: Call) -> Result<(), TestCaseError> {
        match call {
            Call::Add(key) => prop_assert_eq!(self.queue.add(key), self.naive.add(key)),
            Call::AddAfter(key, delay) => {
                let added = self.queue.add_after(key, Duration::from_millis(delay));
                prop_assert_eq!(added, self.naive.add_after(key, delay));
            }
            Call::Wait => {
                let queue = self.queue.clone();
                self.poll(Waiting::new(async move { queue.next().await }))?;
            }
            Call::Poll(index) if index < self.waiting.len() => {
                let waiting = self.waiting.remove(index);
                self.poll(waiting)?;
            }
            Call::DropWaiting(index) if index < self.waiting.len() => drop(self.waiting.remove(index)),
            Call::Finish(index, outcome) if index < self.items.len() => {
                let item = self.items.remove(index);
                self.naive.finish(*item.key(), outcome);
                match outcome {
                    Outcome::Done => item.done(),
                    Outcome::After(delay) => item.after(Duration::from_millis(delay)),
                    Outcome::Retry => {
                        let delay = backoff(item.attempt());
                        _ = (delay, item.retry());
                    }
                    Outcome::GiveUp => item.give_up(),
                    Outcome::Drop => drop(item),
                }
            }
            Call::Advance(millis) => {
                tokio::time::advance(Duration::from_millis(millis)).await;
                self.naive.now += millis;
            }
            Call::Drain => {
                let queue = self.queue.clone();
                let mut drain = Waiting::new(async move { queue.drained().await });
                prop_assert_eq!(drain.poll().is_ready(), self.naive.is_drained());
                if !self.naive.is_drained() {
                    self.drains.push(drain);
                }
            }
            Call::DropDrain(index) if index < self.drains.len() => drop(self.drains.remove(index)),
            Call::ShutDown => {
                self.queue.shut_down();
                self.naive.shut_down();
            }
            Call::Discard => {
                self.queue.discard();
                self.naive.discard();
            }
            Call::Poll(_) | Call::DropWaiting(_) | Call::Finish(..) | Call::DropDrain(_) => {}
        }
        self.naive.check(self.queue.snapshot())
    }

    /// Polls a call of `next` once; the naive queue must give the same.
    fn poll(&mut self, mut waiting: Waiting<Option<WorkItem<u8>>>) -> Result<(), TestCaseError> {
        match (waiting.poll(), self.naive.take()) {
            (Poll::Pending, None) => self.waiting.push(waiting),
            (Poll::Ready(None), Some(None)) => {}
            (Poll::Ready(Some(item)), Some(Some((key, attempt)))) => {
                prop_assert_eq!((*item.key(), item.attempt()), (key, attempt));
                self.items.push(item);
            }
            (real, naive) => {
                let real = real.map(|item| item.map(|item| *item.key()));
                return Err(TestCaseError::fail(format!("took {real:?}, expected {naive:?}")));
            }
        }
        self.naive.check(self.queue.snapshot())
    }

    /// Lets those run that were woken. Afterwards nobody may sleep who has something to come for.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        if self.naive.is_drained() {
            for mut drain in self.drains.drain(..) {
                prop_assert!(drain.is_woken(), "a drain sleeps on");
                prop_assert!(drain.poll().is_ready());
            }
        }
        while let Some(index) = self.waiting.iter().position(Waiting::is_woken) {
            let waiting = self.waiting.remove(index);
            self.poll(waiting)?;
        }
        if !self.waiting.is_empty() {
            let due = self.naive.waiting.iter().any(|waiting| waiting.0 <= self.naive.now);
            prop_assert!(!due, "nobody keeps the time");
            prop_assert!(self.naive.ready.is_empty(), "a worker sleeps beside a ready key");
            prop_assert!(self.naive.take().is_none(), "a worker sleeps after the end");
        }
        for drain in &mut self.drains {
            prop_assert!(drain.poll().is_pending(), "drained too early");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn the_queue_behaves_like_the_naive_one(calls in calls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        // Polled by hand within one task, many calls would use up that task's budget.
        runtime.block_on(tokio::task::unconstrained(async {
            let mut harness = Harness::new();
            for call in calls {
                harness.call(call).await?;
                harness.settle()?;
            }
            Ok::<(), TestCaseError>(())
        }))?;
    }
}
