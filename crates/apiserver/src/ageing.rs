//! Which versions are old.
//!
//! Comes in: the version of each write, with the time. Goes out: the newest version that is older than the age, each time
//! that is a newer one. Keeps no more than a time for each sixteenth of the age.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const STEPS: u32 = 16;

#[derive(Debug)]
pub(crate) struct Ageing {
    age: Duration,
    /// The newest version at certain times, ascending.
    known: VecDeque<(Instant, u64)>,
}

impl Ageing {
    pub(crate) fn new(age: Duration) -> Self {
        Self { age, known: VecDeque::new() }
    }

    /// A write. The newest version that has become old with it.
    pub(crate) fn old(&mut self, version: u64, now: Instant) -> Option<u64> {
        let due = self.known.back().is_none_or(|(last, _)| now.saturating_duration_since(*last) >= self.age / STEPS);
        if due {
            self.known.push_back((now, version));
        }
        let mut old = None;
        while let Some((at, version)) = self.known.front().copied()
            && now.saturating_duration_since(at) > self.age
        {
            self.known.pop_front();
            old = Some(version);
        }
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the test's own time")]
    async fn what_is_older_than_the_age_is_old_and_the_memory_is_bounded() {
        let start = Instant::now();
        let mut ageing = Ageing::new(Duration::from_secs(16));
        for second in 0..1000 {
            let old = ageing.old(second, start + Duration::from_secs(second));
            assert_eq!(old, second.checked_sub(17));
            assert!(ageing.known.len() <= 17);
        }
        assert_eq!(ageing.old(1000, start + Duration::from_secs(5000)), Some(999));
    }
}
