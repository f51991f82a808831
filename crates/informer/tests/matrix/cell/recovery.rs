//! The end of a cell: the fault is over, the cache becomes right, and the informer is told to stop.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use watchkeeper_apiserver::simulate::log;
use watchkeeper_informer::reflector::Activity;
use watchkeeper_informer::{Cached, ObjectKey};

use super::{MINUTE, Play, TICK};
use crate::fault::{Heals, Inject};
use crate::story::present;
use crate::world::{BOOKMARKS, Present};

/// A look at the whole cache is so expensive that it isn't taken at every tick.
const TICKS_A_LOOK: u32 = 10;
/// The informer has returned so soon after it was told to stop.
const STOPS: Duration = Duration::from_millis(10);
/// So long after it, nothing more was asked.
const QUIET: Duration = Duration::from_secs(120);

impl Play {
    /// (b) The fault ends, and everything is right again.
    pub(super) async fn recover(&mut self) {
        self.end_rule();
        self.wire.tamper(None);
        let mends = matches!((self.cell.fault.steps)(self.place)[0].inject, Inject::Undecodable | Inject::Oversize);
        if mends {
            self.world.mend().await;
        }
        match self.cell.fault.heals {
            Heals::Alone => {}
            Heals::WhenCut => self.wire.cut(),
            Heals::ByRelist => self.relist().await,
        }
        let ended = Instant::now();
        let last = self.world.create("last", "the last").await;
        while !(self.has_settled(&last) && self.is_right().await) {
            if ended.elapsed() > self.cell.fault.within {
                self.complain_of_cache().await;
                break;
            }
            let ticks = if self.has_settled(&last) { TICKS_A_LOOK } else { 1 };
            for _ in 0..ticks {
                sleep(TICK).await;
                self.look();
            }
        }
        self.figures.healed = ended.elapsed();
        if self.cell.fault.heals == Heals::WhenCut && !self.failing.iter().any(|(class, _)| *class == "cut") {
            self.complain(format!("it doesn't tell of the cut; seen: {:?}", self.failing));
        }
    }

    /// Makes the informer list. The handle has no call for that but `catch_up`, which lists only where the watch doesn't
    /// bring the present version: so that is moved by a write that the watch doesn't see, between two bookmarks.
    async fn relist(&mut self) {
        if present(&self.handle.lister().list()) == self.world.present().await {
            self.complain("nothing was lost");
        }
        sleep(BOOKMARKS / 2).await;
        self.world.write_elsewhere().await;
        match timeout(MINUTE, self.handle.catch_up()).await {
            Ok(Ok(())) => {}
            other => self.complain(format!("no relist: {other:?}")),
        }
    }

    /// The last write has arrived, and nothing is pending or failing.
    fn has_settled(&self, last: &str) -> bool {
        let arrived = self.handle.lister().get(&ObjectKey::new("default", "last"));
        arrived.is_some_and(|object| object.version() == last)
            && self.registration.pending() == 0
            && self.handle.sync_status().reflector().failing.is_none()
            && self.handle.quarantine().is_empty()
    }

    /// The cache is what the server has, and the handlers' story adds up to it.
    async fn is_right(&self) -> bool {
        let cached = present(&self.handle.lister().list());
        cached == self.story.present() && cached == self.world.present().await
    }

    async fn complain_of_cache(&mut self) {
        let there = self.world.present().await;
        let cached = present(&self.handle.lister().list());
        let told = self.story.present();
        let differs = |a: &Present, b: &Present| {
            let differs = |(key, state): &(&String, &(String, String))| b.get(*key) != Some(*state);
            a.iter().filter(differs).map(|(key, (_, version))| format!("{key}@{version}")).take(5).collect::<Vec<_>>()
        };
        let status = self.handle.sync_status();
        let missing = differs(&there, &cached);
        let surplus = differs(&cached, &there);
        let untold = differs(&cached, &told);
        self.complain(format!(
            "not right after {:?}: missing {missing:?}, surplus {surplus:?}, untold {untold:?}, quarantine {:?}, {status:?}",
            self.cell.fault.within,
            self.handle.quarantine(),
        ));
    }

    /// It is told to stop: it returns, and nothing of it is left.
    pub(super) async fn stop(&mut self, running: JoinHandle<()>) {
        self.stop.cancel();
        let told = Instant::now();
        match timeout(MINUTE, running).await {
            Ok(Ok(())) if told.elapsed() <= STOPS => {}
            other => self.complain(format!("stopped after {:?}: {other:?}", told.elapsed())),
        }
        sleep(Duration::from_millis(1)).await;
        if self.wire.open() > 0 {
            self.complain(format!("{} requests are open after the stop", self.wire.open()));
        }
        let asked = log::requests(&self.world.server, "").remove("informer").unwrap_or_default().len();
        sleep(QUIET).await;
        let later = log::requests(&self.world.server, "").remove("informer").unwrap_or_default().len();
        if later > asked {
            self.complain(format!("{} requests after the stop", later - asked));
        }
        let cached = present(&self.handle.lister().list());
        if self.story.wrong().is_some() || cached != self.story.present() {
            self.complain(format!("the story doesn't add up to the cache: {:?}", self.story.wrong()));
        }
        let activity = self.handle.sync_status().reflector().activity;
        if activity != Activity::Stopped {
            self.complain(format!("{activity:?} after the stop"));
        }
    }
}
