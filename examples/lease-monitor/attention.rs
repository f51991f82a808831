//! Since when this process has been looking without a break; pure.
//!
//! In: the moments at which the process ran (a tick each half second, and each event), and whether it is cut off from
//! its API server. Out: the [`Watch`] that judgements are made with. A process that was stopped for ten seconds and
//! then reads ten seconds of changes at once would otherwise find that every Lease had stood still; while the watch
//! is down, it would find that every Lease has died. The monitor suspects itself first.

use std::time::Duration;

use crate::judge::Watch;
use crate::moment::Moment;

/// How often a process must tick.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// A silence of this process that counts as a break: four ticks.
pub(crate) const BREAK: Duration = Duration::from_secs(2);

/// The attention of one process.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    last: Moment,
    since: Moment,
    cut_off: bool,
}

impl Attention {
    /// Starts to look at `now`.
    pub(crate) fn begin(now: Moment) -> Attention {
        Attention { last: now, since: now, cut_off: false }
    }

    /// The process runs at `now`. If it didn't for too long, returns the last moment at which it was looking: what
    /// it knew then stays true, what happened since is unknown.
    pub(crate) fn notice(&mut self, now: Moment) -> Option<Watch> {
        let gap = now.since(self.last);
        let before = Watch { now: self.last, unbroken_since: self.since };
        let was_blind = self.cut_off;
        self.last = self.last.max(now);
        if gap >= BREAK || was_blind {
            self.since = self.last;
        }
        (gap >= BREAK && !was_blind).then_some(before)
    }

    /// The connection is down (or up again) as of the last [`notice`](Self::notice).
    pub(crate) fn cut_off(&mut self, cut_off: bool) -> Option<Watch> {
        let begins = cut_off && !self.cut_off;
        let before = self.watch();
        self.cut_off = cut_off;
        begins.then_some(before)
    }

    /// Whether the connection is down.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// The present, for judgements.
    pub(crate) fn watch(&self) -> Watch {
        Watch { now: self.last, unbroken_since: self.since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn ticks_keep_attention_and_a_pause_breaks_it() {
        let mut attention = Attention::begin(at(0));
        for tick in 1..10 {
            assert!(attention.notice(at(tick * 500)).is_none());
        }
        assert_eq!(attention.watch().unbroken_since, at(0));
        let before = attention.notice(at(20_000)).expect("a break");
        assert_eq!((before.now, before.unbroken_since), (at(4_500), at(0)));
        assert_eq!(attention.watch().unbroken_since, at(20_000));
        assert!(attention.notice(at(20_001)).is_none());
    }

    #[test]
    fn nothing_ages_while_cut_off() {
        let mut attention = Attention::begin(at(0));
        attention.notice(at(500));
        assert!(attention.cut_off(true).is_some());
        assert!(attention.cut_off(true).is_none());
        for tick in 2..10 {
            attention.notice(at(tick * 500));
            assert_eq!(attention.watch().unbroken_since, attention.watch().now);
        }
        attention.cut_off(false);
        attention.notice(at(5_000));
        assert_eq!(attention.watch().unbroken_since, at(4_500));
    }
}
