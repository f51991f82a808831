//! What is to happen later in a simulation, such as the end of a fault, beside what happens in its turn.
//!
//! Comes in: things with their times, in any order. Goes out: each at its time, in the order of times and then of coming in.

use tokio::time::{Instant, sleep_until};

/// Things that wait for their time.
#[derive(Clone, Debug)]
pub struct Later<T> {
    waiting: Vec<(Instant, T)>,
}

impl<T> Default for Later<T> {
    fn default() -> Self {
        Self { waiting: Vec::new() }
    }
}

impl<T> Later<T> {
    /// Adds one for this time.
    pub fn at(&mut self, time: Instant, thing: T) {
        let place = self.waiting.partition_point(|(other, _)| *other <= time);
        self.waiting.insert(place, (time, thing));
    }

    /// Waits for the next one that comes before `until`, or for that: then `None`. Without `until`, `None` is the end of all.
    /// Cancel safe: one is taken only when it is returned.
    pub async fn next(&mut self, until: Option<Instant>) -> Option<T> {
        let due = self.waiting.first().map(|(due, _)| *due).filter(|due| until.is_none_or(|until| *due < until));
        if let Some(time) = due.or(until) {
            sleep_until(time).await;
        }
        due.map(|_| self.waiting.remove(0).1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Goal: each thing comes at its time and not before, those of one time in the order in which they came in.
    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the test's own time")]
    async fn each_comes_at_its_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut later = Later::default();
        for (seconds, name) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            later.at(at(seconds), name);
        }
        assert_eq!((later.next(Some(at(2))).await, Instant::now()), (Some("a"), at(1)));
        assert_eq!((later.next(Some(at(2))).await, Instant::now()), (None, at(2)), "before, not at");
        assert_eq!((later.next(Some(at(9))).await, Instant::now()), (Some("b"), at(2)));
        assert_eq!((later.next(None).await, later.next(None).await, Instant::now()), (Some("c"), Some("d"), at(5)));
        assert_eq!((later.next(None).await, Instant::now()), (None, at(5)));
    }
}
