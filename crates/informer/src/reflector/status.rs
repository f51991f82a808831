//! What a reflector says of itself: its handle, its state, its counts.
//!
//! In: notes from the run loop. Out: a copy for whoever asks. It never waits and holds nothing of an object but the names of
//! those that can't be decoded, and where they are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::audit::Audit;
use super::quarantine::Quarantine;
use crate::decode::Undecodable;
use crate::version::ResourceVersion;

/// What a reflector is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activity {
    /// Not running yet.
    #[default]
    Waiting,
    /// Reading a list, streaming or paged.
    Listing,
    /// Reading a watch.
    Watching,
    /// Waiting after a failure.
    BackingOff,
    /// Shut down.
    Stopped,
}

/// A failure that hasn't been followed by a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Its class, as metrics name it: `forbidden`, `unreachable`, `timed_out` and so on.
    pub class: &'static str,
    /// For people; of a Status at most its first 512 characters.
    pub message: String,
    /// When the first failure of this row happened.
    pub since: Instant,
    /// How many there have been in a row.
    pub failures: u64,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// List requests, a page each; streaming lists count as watches.
    pub lists: u64,
    /// Watch requests, streaming lists included.
    pub watches: u64,
    /// Questions for nothing but the newest version.
    pub newest_versions: u64,
    /// Complete lists handed on.
    pub replacements: u64,
    /// Items of relists that weren't decoded because they were cached already.
    pub unchanged: u64,
    /// Changes read from watches.
    pub events: u64,
    /// Items and events that couldn't be decoded.
    pub undecodable: u64,
    /// Objects that could be decoded again after that, or were gone.
    pub healed: u64,
    /// Events and bookmarks not newer than what had been delivered.
    pub stale_dropped: u64,
    /// Waits after failures.
    pub backoffs: u64,
    /// Waits of a watch for room in the queue, because the consumer lags.
    pub held_up: u64,
    /// Items and events that the server sent though they aren't wanted (another shard's).
    pub unwanted: u64,
    /// Audits, whatever they found.
    pub audits: u64,
    /// Audits that proved that something was lost.
    pub gaps: u64,
}

/// A reflector's state at one moment.
#[derive(Debug, Clone, Default)]
pub struct ReflectorStatus {
    /// What it is doing.
    pub activity: Activity,
    /// Where it stands; `None` before the first list.
    pub version: Option<ResourceVersion>,
    /// What goes wrong, until a list or something from a watch has arrived.
    pub failing: Option<Failing>,
    /// Why it reads paged lists although streaming ones are configured; said once such a list has come, since what both are refused
    /// for, a bad selector say, is no lack of streaming.
    pub paged_because: Option<String>,
    /// Counts since the start.
    pub counts: Counts,
}

impl ReflectorStatus {
    /// Remembers a failure; `true`: it is the first of its class in this row.
    pub(super) fn note_failure(&mut self, class: &'static str, message: String, now: Instant) -> bool {
        let before = self.failing.take();
        let is_new = before.as_ref().is_none_or(|before| before.class != class);
        let (since, failures) = before.map_or((now, 0), |before| (before.since, before.failures));
        self.failing = Some(Failing { class, message, since, failures: failures + 1 });
        is_new
    }
}

/// What the reflector and its handles share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) status: Mutex<ReflectorStatus>,
    pub(super) quarantine: Mutex<Quarantine>,
    relist: Wish,
    audit: Wish,
    audits_begun: AtomicU64,
    last_audit: watch::Sender<Option<Audit>>,
    /// When something last came from the server; known where there are metrics.
    last_arrival: Mutex<Option<Instant>>,
    /// Cancelled when the reflector has stopped, or was dropped.
    pub(super) ended: CancellationToken,
}

/// Something that is asked for until it is taken up. One task waits for it.
#[derive(Debug, Default)]
struct Wish {
    asked: AtomicBool,
    told: Notify,
}

impl Wish {
    fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Cancel-safe: the wish stays until it is taken.
    async fn asked(&self) {
        while !self.asked.load(Ordering::Acquire) {
            self.told.notified().await;
        }
    }

    fn take(&self) {
        self.asked.store(false, Ordering::Release);
    }
}

impl Shared {
    /// Waits for a relist to be asked for. Cancel-safe: the request stays until [`Shared::take_relist`].
    pub(super) async fn relist_asked(&self) {
        self.relist.asked().await;
    }

    /// Waits for an audit to be asked for. Cancel-safe, as above.
    pub(super) async fn audit_asked(&self) {
        self.audit.asked().await;
    }

    /// An audit begins: whatever was asked for until now is served by it. Returns its number.
    pub(super) fn audit_begins(&self) -> u64 {
        self.audit.take();
        self.audits_begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(super) fn audited(&self, audit: Audit) {
        self.last_audit.send_replace(Some(audit));
    }

    /// Waits for an audit that begins after this call; `None`: there will be none.
    async fn next_audit(&self) -> Option<Audit> {
        let begun = self.audits_begun.load(Ordering::Acquire);
        self.audit.ask();
        let mut audits = self.last_audit.subscribe();
        let later = audits.wait_for(|last| last.as_ref().is_some_and(|audit| audit.number > begun));
        self.ended.run_until_cancelled(later).await?.ok()?.clone()
    }

    pub(super) fn arrived(&self, now: Instant) {
        *self.last_arrival.lock() = Some(now);
    }

    /// Wants a list that begins after this.
    pub(super) fn ask_relist(&self) {
        self.relist.ask();
    }

    /// A list begins: whatever was asked for until now is served by it.
    pub(super) fn take_relist(&self) {
        self.relist.take();
    }
}

/// A handle on a reflector; cheap to clone.
#[derive(Debug, Clone)]
pub struct ReflectorHandle(pub(super) Arc<Shared>);

impl ReflectorHandle {
    /// Asks for a list that begins after this call. Requests until it begins are served by one list. It comes at once
    /// while watching (but not sooner than the configured pace), else when the present list or backoff is over.
    pub fn relist(&self) {
        self.0.ask_relist();
    }

    /// Asks for an audit that begins after this call, and waits for what it finds: whether the cache is what the server had at
    /// the version reached. It comes while watching, else when the present list or backoff is over: bound it. `None`: the reflector has
    /// ended before. Cancel-safe; the audit itself goes on.
    pub async fn audit(&self) -> Option<Audit> {
        self.0.next_audit().await
    }

    /// What the last audit found.
    pub fn last_audit(&self) -> Option<Audit> {
        self.0.last_audit.borrow().clone()
    }

    /// The objects that can't be decoded at the moment, in the order of their keys; at most
    /// [`QUARANTINE_LIMIT`](super::QUARANTINE_LIMIT). Of what is cached of them, the last state that could be decoded stays.
    pub fn quarantine(&self) -> Vec<Undecodable> {
        self.0.quarantine.lock().all()
    }

    pub(crate) fn quarantined(&self) -> usize {
        self.0.quarantine.lock().len()
    }

    pub(crate) fn last_arrival(&self) -> Option<Instant> {
        *self.0.last_arrival.lock()
    }

    /// The state at this moment.
    pub fn status(&self) -> ReflectorStatus {
        self.0.status.lock().clone()
    }
}
