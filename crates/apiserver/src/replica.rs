//! Replicas: several front ends over one log, each of which may be behind, as the replicas of a real API server are.
//!
//! Comes in: the versions of writes, with the time. Goes out: up to which version a front end has seen the log. Writes,
//! and reads that must be consistent, go to the log itself; everything a real replica answers from its watch cache is
//! answered from its view: lists and gets at `0` or at least at a version, and all watches. A view never goes back, but
//! two views differ: a client that is routed from one replica to another may read an older state than it has seen.
//!
//! A view can't be older than the log reaches ([`Config::history`](crate::Config::history)). Whether a watcher is too slow
//! counts from when its replica shows a change; after something was done to the replica, from then at the earliest.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::server::ApiServer;
use crate::service::Service;

/// So many steps of a view that lags by time are kept apart; more of them are shown together.
const STEPS: usize = 4096;

/// The longest lag by time.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How far a replica is behind the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// Not at all.
    #[default]
    None,
    /// By so many writes, to whatever resource.
    Writes(u64),
    /// Each write is seen so much later, at most a day.
    Time(Duration),
}

/// Which replica answers a request that isn't sent to a certain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Always this one. Changing it is a failover.
    To(usize),
    /// An identity always gets the same one, as over one long connection.
    ByIdentity,
    /// One after the other, as over many short connections.
    RoundRobin,
    /// Any, by the server's seed.
    Random,
}

/// What a replica has seen.
#[derive(Debug, Default)]
pub(crate) struct View {
    lag: Lag,
    paused: bool,
    /// Some: its cache isn't initialised, since then.
    unready: Option<Instant>,
    /// What it shows counts as shown not before this.
    since: Option<Instant>,
    /// How far its clock is ahead.
    skew: SignedDuration,
    /// The newest version that it shows.
    shown: u64,
    /// Its own history begins here.
    floor: u64,
    /// With a lag by time: versions, and when they are shown. Ascending in both.
    coming: VecDeque<(u64, Instant)>,
}

impl View {
    /// A write, or several, up to this version.
    pub(crate) fn written(&mut self, version: u64, now: Instant) {
        let Lag::Time(lag) = self.lag else { return };
        let due = now + lag.min(LONGEST);
        let full = self.coming.len() >= STEPS;
        if full {
            self.since = Some(due);
        }
        match self.coming.back_mut() {
            Some(last) if full || last.1 >= due => *last = (version, due.max(last.1)),
            _ => self.coming.push_back((version, due)),
        }
    }

    /// The log has gone back to this version.
    pub(crate) fn restored(&mut self, version: u64) {
        self.coming.clear();
        (self.shown, self.floor) = (version, version);
    }

    /// A write to one resource may let it show one to another.
    pub(crate) fn counts_writes(&self) -> bool {
        matches!(self.lag, Lag::Writes(_))
    }

    /// The newest version that it shows now. `present` is that of the log, `oldest` how far back that reaches.
    pub(crate) fn shown(&mut self, (oldest, present): (u64, u64), now: Instant) -> u64 {
        if !self.paused {
            match self.lag {
                Lag::None => self.shown = present,
                Lag::Writes(count) => self.shown = self.shown.max(present.saturating_sub(count)),
                Lag::Time(_) => {
                    while let Some((version, _)) = self.coming.front().copied().filter(|(_, due)| *due <= now) {
                        self.coming.pop_front();
                        self.shown = self.shown.max(version);
                    }
                }
            }
        }
        if self.shown < oldest {
            (self.shown, self.since) = (oldest, Some(now));
        }
        self.shown
    }

    /// By how many writes, and by how much time, it shows a write later.
    pub(crate) fn delay(&self) -> (u64, Duration) {
        match self.lag {
            Lag::None => (0, Duration::ZERO),
            Lag::Writes(count) => (count, Duration::ZERO),
            Lag::Time(lag) => (0, lag.min(LONGEST)),
        }
    }

    /// Writes that it has shown together count as shown not before this, whenever they were due.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// When it shows more without another write.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.coming.front().filter(|_| !self.paused).map(|(_, due)| *due)
    }

    /// What its clock shows, at this time.
    pub(crate) fn wall(&self, now: Timestamp) -> Timestamp {
        let end = if self.skew.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
        now.checked_add(self.skew).unwrap_or(end)
    }

    /// Watches from below this are too old here.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// How long its cache hasn't been initialised.
    pub(crate) fn unready_for(&self, now: Instant) -> Option<Duration> {
        self.unready.map(|since| now.saturating_duration_since(since))
    }
}

/// One front end of an [`ApiServer`]. Changes take effect at once, also for watches that run.
#[derive(Clone)]
pub struct Replica {
    pub(crate) server: ApiServer,
    pub(crate) index: usize,
}

impl Replica {
    /// A way in to this replica without sockets, for one identity.
    pub fn service(&self, identity: &str) -> Service {
        self.server.service(identity).at(self.index)
    }

    /// The newest version that this replica shows.
    pub fn version(&self) -> u64 {
        self.server.shared.shown(self.index)
    }

    /// From now on it is so far behind. What it has shown already stays shown.
    pub fn set_lag(&self, lag: Lag) {
        self.change(|view, now, present| {
            if !matches!(lag, Lag::Time(_)) {
                view.coming.clear();
            } else if view.shown < present && view.coming.is_empty() {
                view.coming.push_back((present, now));
            }
            view.lag = lag;
        });
    }

    /// It sees no further writes, as one that is cut off from its storage.
    pub fn pause(&self) {
        self.change(|view, _, _| view.paused = true);
    }

    /// It sees what it has missed.
    pub fn resume(&self) {
        self.change(|view, _, _| view.paused = false);
    }

    /// Whether its cache is initialised. Where it isn't, watches and lists that need it are answered 429.
    pub fn set_ready(&self, ready: bool) {
        self.change(|view, now, _| view.unready = if ready { None } else { Some(view.unready.unwrap_or(now)) });
    }

    /// Its clock is so far ahead, or, negative, behind: what it stamps on objects (`creationTimestamp`, `deletionTimestamp`,
    /// a binding's `lastTransitionTime`) in the writes that it answers. Timeouts and lags stay as they are.
    pub fn set_skew(&self, skew: SignedDuration) {
        self.server.shared.state.lock().views[self.index].skew = skew;
    }

    /// It starts anew from the present state: its watches end, and no version before that can be watched from.
    pub fn restart(&self) {
        self.change(|view, _, present| {
            view.coming.clear();
            (view.shown, view.floor) = (present, present);
        });
        self.server.shared.close_watches(Some(self.index));
    }

    fn change(&self, change: impl FnOnce(&mut View, Instant, u64)) {
        self.server.shared.change_view(self.index, |view, now, present| {
            view.since = Some(now);
            change(view, now, present);
        });
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Replica").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a view never goes back, whatever is done to its lag, and shows each write when its time has come.
    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the test's own time")]
    async fn a_view_never_goes_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut view = View::default();
        assert_eq!(view.shown((0, 5), at(0)), 5);
        view.lag = Lag::Writes(3);
        assert_eq!((view.shown((0, 6), at(0)), view.shown((0, 9), at(0))), (5, 6));
        view.lag = Lag::Time(Duration::from_secs(10));
        view.written(10, at(1));
        view.written(11, at(2));
        assert_eq!((view.shown((0, 11), at(10)), view.next()), (6, Some(at(11))));
        assert_eq!((view.shown((0, 11), at(11)), view.shown((0, 11), at(12)), view.next()), (10, 11, None));
        view.paused = true;
        view.written(12, at(13));
        assert_eq!((view.shown((0, 12), at(99)), view.next()), (11, None));
        assert_eq!(view.shown((12, 13), at(99)), 12, "the log doesn't reach further back");
    }

    /// Goal: a view of any number of writes is bounded, and shows all of them in the end.
    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the test's own time")]
    async fn a_lagging_view_is_bounded() {
        let start = Instant::now();
        let mut view = View { lag: Lag::Time(Duration::from_secs(60)), ..View::default() };
        for version in 0..10_000 {
            view.written(version, start + Duration::from_millis(version));
        }
        assert_eq!(view.coming.len(), STEPS);
        assert_eq!(view.shown((0, 9_999), start + Duration::from_secs(120)), 9_999);
    }
}
