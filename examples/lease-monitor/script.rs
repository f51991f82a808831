//! What the actors of the small living cluster do, and when; pure.
//!
//! In: the time since the cluster began. Out: one [`Act`]. A script repeats, unless it ends in a step without end.

use std::time::Duration;

/// What an actor does to its Lease at its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The holder of this name renews, or takes the Lease.
    Hold(&'static str),
    /// The holder gives the Lease back.
    Release,
    /// Nobody does anything: the holder has stopped, or hangs.
    Nothing,
}

/// Steps with their lengths in seconds, over and over.
pub(crate) struct Script(pub(crate) &'static [(u64, Act)]);

/// A step that never ends.
pub(crate) const FOR_EVER: u64 = u64::MAX;

impl Script {
    /// What to do at `elapsed`.
    pub(crate) fn at(&self, elapsed: Duration) -> Act {
        let whole: u64 = self.0.iter().fold(0, |sum, step| sum.saturating_add(step.0));
        let mut left = if whole == 0 { 0 } else { elapsed.as_secs() % whole };
        for (seconds, act) in self.0 {
            if left < *seconds {
                return *act;
            }
            left -= seconds;
        }
        Act::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other_and_repeat() {
        let script = Script(&[(2, Act::Hold("a")), (1, Act::Release), (1, Act::Nothing)]);
        let acts: Vec<_> = (0..6).map(|second| script.at(Duration::from_secs(second))).collect();
        let (hold, release, nothing) = (Act::Hold("a"), Act::Release, Act::Nothing);
        assert_eq!(acts, [hold, hold, release, nothing, hold, hold]);
        let stops = Script(&[(1, Act::Hold("a")), (FOR_EVER, Act::Nothing)]);
        assert_eq!(stops.at(Duration::from_secs(1_000_000)), Act::Nothing);
        assert_eq!(Script(&[]).at(Duration::ZERO), Act::Nothing);
    }
}
