//! The queue and the naive one side by side, in virtual time.

use std::future::Future;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use watchkeeper_workqueue::{
    Ageing, Ask, Attempts, Config, Debounce, Exponential, KeyId, Policy, Retried, WorkItem, WorkQueue,
};

use crate::calls::Call;
use crate::naive::{Naive, Next, Outcome, Rules, State, Taken};

type Checked<T = ()> = Result<T, TestCaseError>;

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

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn reason(number: u8) -> String {
    format!("reason {number}")
}

fn policy(rules: Rules) -> Policy<u8> {
    Policy {
        ageing: rules.step.map(|step| Ageing { step: ms(step) }),
        flow: (rules.flows > 0)
            .then(|| Box::new(move |key: &u8| u64::from(*key) % rules.flows) as Box<dyn Fn(&u8) -> u64 + Send + Sync>),
        min_interval: ms(rules.min_interval),
        debounce: (rules.quiet > 0).then(|| Debounce { quiet: ms(rules.quiet), longest: ms(rules.longest) }),
        attempts: NonZeroU32::new(rules.attempts).map(|most| Attempts { most, resting: rules.resting }),
        reasons: rules.reasons,
        capacity: NonZeroUsize::new(rules.capacity),
    }
}

pub(crate) struct Harness {
    start: Instant,
    queue: WorkQueue<u8>,
    naive: Naive,
    waiting: Vec<Waiting<Option<WorkItem<u8>>>>,
    drains: Vec<Waiting<()>>,
    items: Vec<(WorkItem<u8>, Taken)>,
    handles: Vec<KeyId<u8>>,
}

impl Harness {
    pub(crate) fn new(rules: Rules) -> Self {
        let rate_limiter = Box::new(Exponential { base: ms(4), max: ms(32) });
        let config = Config { name: "model".into(), rate_limiter, policy: policy(rules), ..Config::default() };
        Self {
            start: Instant::now(),
            queue: WorkQueue::new(config),
            naive: Naive::new(rules),
            waiting: Vec::new(),
            drains: Vec::new(),
            items: Vec::new(),
            handles: Vec::new(),
        }
    }

    pub(crate) async fn call(&mut self, call: Call) -> Checked {
        let Self { queue, naive, .. } = self;
        match call {
            Call::Add(key) => prop_assert_eq!(queue.add(key), naive.add(key, 0, 0, None)),
            Call::AddRef(key) => prop_assert_eq!(queue.add_ref(&key), naive.add(key, 0, 0, None)),
            Call::AddAfter(key, delay) => {
                prop_assert_eq!(queue.add_after(key, ms(delay)), naive.add(key, delay, 0, None));
            }
            Call::AddWith(key, delay, priority, because) => {
                let ask = Ask { after: ms(delay), priority, reason: because.map(|number| reason(number).into()) };
                prop_assert_eq!(queue.add_with(key, ask), naive.add(key, delay, priority, because));
            }
            Call::AddRateLimited(key) => {
                prop_assert_eq!(queue.add_rate_limited(key), naive.add_rate_limited(key));
            }
            Call::Intern(key) => self.handles.push(queue.intern(key)),
            Call::AddById(index) => {
                if let Some(handle) = self.handles.get(index) {
                    prop_assert_eq!(handle.add(), naive.add(handle.key(), 0, 0, None));
                }
            }
            Call::Withdraw(key) => prop_assert_eq!(queue.withdraw(&key), naive.withdraw(key)),
            Call::Forget(key) => {
                queue.forget(&key);
                naive.forget(key);
            }
            Call::RetryExhausted(key) => prop_assert_eq!(queue.retry_exhausted(&key), naive.retry_exhausted(key)),
            Call::RetryAllExhausted => prop_assert_eq!(queue.retry_all_exhausted(), naive.retry_all_exhausted()),
            Call::DropId(index) if index < self.handles.len() => drop(self.handles.remove(index)),
            Call::DropWaiting(index) if index < self.waiting.len() => drop(self.waiting.remove(index)),
            Call::DropDrain(index) if index < self.drains.len() => drop(self.drains.remove(index)),
            Call::Finish(index, outcome) if index < self.items.len() => self.finish(index, outcome)?,
            Call::Poll(index) if index < self.waiting.len() => {
                let waiting = self.waiting.remove(index);
                self.poll(waiting)?;
            }
            Call::Wait => {
                let queue = queue.clone();
                self.poll(Waiting::new(async move { queue.next().await }))?;
            }
            Call::Advance(millis) => {
                tokio::time::advance(ms(millis)).await;
                naive.now += millis;
                naive.wake_due();
            }
            Call::Drain => self.drain()?,
            Call::DropId(_) | Call::DropWaiting(_) | Call::DropDrain(_) | Call::Finish(..) | Call::Poll(_) => {}
            stop => self.stop(&stop)?,
        }
        self.compare()
    }

    fn stop(&mut self, call: &Call) -> Checked {
        let Self { queue, naive, .. } = self;
        match *call {
            Call::Pause => {
                queue.pause();
                naive.pause();
            }
            Call::Resume => {
                queue.resume();
                naive.paused = false;
            }
            Call::PauseKey(key) => {
                queue.pause_key(key);
                naive.pause_key(key);
            }
            Call::ResumeKey(key) => prop_assert_eq!(queue.resume_key(&key), naive.resume_key(key)),
            Call::ShutDown => {
                queue.shut_down();
                naive.shut_down();
            }
            Call::Discard => {
                queue.discard();
                naive.discard();
            }
            _ => unreachable!("handled by the caller"),
        }
        Ok(())
    }

    fn drain(&mut self) -> Checked {
        let queue = self.queue.clone();
        let mut drain = Waiting::new(async move { queue.drained().await });
        prop_assert_eq!(drain.poll().is_ready(), self.naive.is_drained());
        if !self.naive.is_drained() {
            self.drains.push(drain);
        }
        Ok(())
    }

    fn finish(&mut self, index: usize, outcome: Outcome) -> Checked {
        let (item, taken) = self.items.remove(index);
        let next = self.naive.finish(taken, outcome);
        match outcome {
            Outcome::Done => item.done(),
            Outcome::After(delay) => item.after(ms(delay)),
            Outcome::Retry => prop_assert_eq!(
                item.retry(),
                match next {
                    Next::In(millis) => Retried::In(ms(millis)),
                    Next::AtOnce => Retried::AtOnce,
                    Next::Exhausted => Retried::Exhausted,
                    Next::Dropped => Retried::Dropped,
                }
            ),
            Outcome::GiveUp => item.give_up(),
            Outcome::Drop => drop(item),
        }
        Ok(())
    }

    /// Polls a call of `next` once; the naive queue must give the same.
    fn poll(&mut self, mut waiting: Waiting<Option<WorkItem<u8>>>) -> Checked {
        match (waiting.poll(), self.naive.take()) {
            (Poll::Pending, None) => self.waiting.push(waiting),
            (Poll::Ready(None), Some(None)) => {}
            (Poll::Ready(Some(item)), Some(Some(taken))) => {
                let (key, attempt, kept, dropped) = taken.clone();
                prop_assert_eq!((*item.key(), item.attempt()), (key, attempt));
                let kept: Vec<String> = kept.into_iter().map(reason).collect();
                prop_assert_eq!(&item.reasons().kept, &kept);
                prop_assert_eq!(item.reasons().dropped, dropped);
                self.items.push((item, taken));
            }
            (real, naive) => {
                let real = real.map(|item| item.map(|item| *item.key()));
                return Err(TestCaseError::fail(format!("took {real:?}, expected {naive:?}")));
            }
        }
        self.compare()
    }

    /// Every count, and every key with what is known of it.
    fn compare(&self) -> Checked {
        let Self { queue, naive, start, .. } = self;
        let sight = queue.sight(5);
        naive.agrees(&sight.snapshot).map_err(TestCaseError::fail)?;
        let since = |instant: Instant| u64::try_from((instant - *start).as_millis()).expect("small");
        let mut due: Vec<_> = (0_u8..5).filter_map(|key| Some((naive.keys[usize::from(key)].due?, key))).collect();
        due.sort_unstable();
        let mut waiting: Vec<_> = sight.waiting.iter().map(|waiting| (since(waiting.due), waiting.key)).collect();
        let mut expected: Vec<_> = due.into_iter().map(|((due, _), key)| (due, key)).collect();
        prop_assert!(waiting.is_sorted_by_key(|(due, _)| *due));
        waiting.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(waiting, expected);
        let exhausted: Vec<_> =
            sight.exhausted.iter().map(|exhausted| (since(exhausted.since), exhausted.key)).collect();
        let expected: Vec<_> = naive.exhausted().into_iter().map(|((since, _), key)| (since, key)).collect();
        prop_assert_eq!(exhausted, expected);
        for (key, known) in (0_u8..).zip(&naive.keys) {
            prop_assert_eq!(queue.failures(&key), known.failures, "failures of {}", key);
            prop_assert_eq!(sight.ready.contains(&key), matches!(known.state, State::Ready(_)));
            prop_assert_eq!(sight.held.contains(&key), known.state == State::Held);
        }
        for flight in &sight.in_flight {
            let known = &naive.keys[usize::from(flight.key)];
            let again = matches!(known.state, State::InFlight { again: true });
            prop_assert!(again || known.state == State::InFlight { again: false }, "not in flight");
            prop_assert_eq!(flight.will_rerun, again || known.due.is_some());
            if let Some(age) = flight.age {
                prop_assert_eq!(Some(age), known.started.map(|started| ms(naive.now - started)));
            }
        }
        Ok(())
    }

    /// Lets those run that were woken. Afterwards nobody may sleep who has something to come for.
    pub(crate) fn settle(&mut self) -> Checked {
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
        if !self.waiting.is_empty() && !self.naive.paused {
            prop_assert!(!self.naive.is_due(), "nobody keeps the time");
            let ready = self.naive.count(|key| matches!(key.state, State::Ready(_)));
            prop_assert_eq!(ready, 0, "a worker sleeps beside a ready key");
            prop_assert!(self.naive.take().is_none(), "a worker sleeps after the end");
        }
        for drain in &mut self.drains {
            prop_assert!(drain.poll().is_pending(), "drained too early");
        }
        Ok(())
    }
}
