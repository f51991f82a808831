//! What makes a process of a part of a program: a clock that runs at its own rate, and a freeze like SIGSTOP's.
//!
//! Comes in: tokio's time. Goes out: the time as the process has it; its futures, polled only while it isn't frozen. A
//! frozen process's clock goes on, as a stopped process's does: when it is thawed, time has passed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A clock that runs faster or slower than tokio's, and started elsewhere. Never goes back. Clones are one clock.
#[derive(Clone, Debug)]
pub struct ProcessClock {
    course: Arc<Mutex<Course>>,
}

#[derive(Debug)]
struct Course {
    since: Instant,
    shown: Duration,
    parts_per_million: u64,
}

impl ProcessClock {
    /// A clock that shows `offset` at `now` and gains or loses by its rate: 1,000,000 is true, 1,083,333 a twelfth fast.
    pub fn new(now: Instant, offset: Duration, parts_per_million: u64) -> Self {
        let course = Course { since: now, shown: offset, parts_per_million };
        Self { course: Arc::new(Mutex::new(course)) }
    }

    /// What it shows.
    pub fn shows(&self, now: Instant) -> Duration {
        self.course.lock().shows(now)
    }

    /// From now on it runs at this rate.
    pub fn set_rate(&self, now: Instant, parts_per_million: u64) {
        let mut course = self.course.lock();
        *course = Course { since: now, shown: course.shows(now), parts_per_million };
    }

    /// Sets it forward, as a machine that was suspended does with its wall clock.
    pub fn jump(&self, by: Duration) {
        let mut course = self.course.lock();
        course.shown = course.shown.saturating_add(by);
    }
}

impl Course {
    fn shows(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.since).as_nanos();
        let passed = passed.saturating_mul(u128::from(self.parts_per_million)) / 1_000_000;
        self.shown.saturating_add(Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX)))
    }
}

/// A process of the simulation. Clones are one process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    frozen: bool,
    sleeping: Vec<Waker>,
}

impl Process {
    /// A process that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing of it runs until [`Process::thaw`].
    pub fn freeze(&self) {
        self.state.lock().frozen = true;
    }

    /// It runs again, and finds that time has passed.
    pub fn thaw(&self) {
        let sleeping = {
            let mut state = self.state.lock();
            state.frozen = false;
            std::mem::take(&mut state.sleeping)
        };
        sleeping.into_iter().for_each(Waker::wake);
    }

    /// A part of the process. Cancel safe where `future` is.
    pub fn run<F: Future>(&self, future: F) -> Part<F> {
        Part { process: self.clone(), future: Box::pin(future) }
    }
}

/// The future of [`Process::run`].
#[derive(Debug)]
pub struct Part<F> {
    process: Process,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Part<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut state = self.process.state.lock();
            if state.frozen {
                if !state.sleeping.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.sleeping.push(context.waker().clone());
                }
                return Poll::Pending;
            }
        }
        self.future.as_mut().poll(context)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test's own time and tasks")]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_clock_keeps_its_own_rate_and_never_goes_back() {
        let start = Instant::now();
        let clock = ProcessClock::new(start, 100 * SECOND, 1_100_000);
        advance(10 * SECOND).await;
        assert_eq!(clock.shows(Instant::now()), 111 * SECOND);
        clock.set_rate(Instant::now(), 900_000);
        assert_eq!(clock.shows(Instant::now()), 111 * SECOND);
        advance(10 * SECOND).await;
        assert_eq!(clock.shows(Instant::now()), 120 * SECOND);
        clock.jump(SECOND);
        assert_eq!(clock.shows(Instant::now()), 121 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_process_does_nothing_and_then_finds_that_time_has_passed() {
        let process = Process::new();
        let part = tokio::spawn(process.run(async {
            sleep(SECOND).await;
            Instant::now()
        }));
        tokio::task::yield_now().await;
        let start = Instant::now();
        process.freeze();
        sleep(10 * SECOND).await;
        assert!(!part.is_finished());
        process.thaw();
        assert_eq!(part.await.expect("no panic") - start, 10 * SECOND);
    }
}
