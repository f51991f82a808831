//! Reflector: keeps the queue, and so the cache, a faithful copy of one scope of the server.
//!
//! In: a [`ListWatch`], a [`Decoder`], what is [`Known`]. Out: deltas, bookmarks and replacements in a [`DeltaFifo`].
//! The first read is consistent: a streaming list, or a paged one where the server refuses that; then a watch from its
//! version, resumed from the last version pushed. On trouble [`crate::recovery`] says what comes next. It spawns
//! nothing, never gives up and never lets the version it resumes from pass an event that it has neither pushed nor
//! recorded as undecodable.
//!
//! Requests are bounded in every steady state (defaults; a list counts as one however many pages it has):
//!
//! | state of the server | requests a minute, at most |
//! | --- | --- |
//! | healthy, with bookmarks | 0.2 (a new watch every 5 to 10 min) |
//! | healthy, quiet, without bookmarks | 0.7 (silence of 3 min, a question for the newest version, a new watch) |
//! | failing in any way, once at the cap of the backoff | 2, or 4 where a list succeeds and its watch then fails, or both kinds of list are refused |
//! | sending changes behind the version reached | 6 (every 30 s an audit, and where that proves a loss a list and its watch) |
//! | ending every watch cleanly after an event | 60 (one a second: the pace) |
//! | relists asked for without end | 60 lists |
//!
//! Upstream counterpart: `Reflector` of client-go, without resync.

mod audit;
mod initial;
mod list;
mod pages;
mod quarantine;
mod status;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backoff::Backoff;
use crate::budget::{Budget, ListPermit, later};
use crate::config::ReflectorConfig;
use crate::decode::{DecodeFault, Decoder, Identity, Undecodable, identity, who};
use crate::delta_fifo::{DeltaFifo, Known, Relisted, Replacement};
use crate::explain::What;
use crate::list_watch::ListWatch;
use crate::object::Cached;
use crate::recovery::{Next, Phase, Step, Trouble, Wait, is_unsupported, misses_bookmark, next_step};
use crate::request_error::RequestError;
use crate::sight::Sight;
use crate::version::ResourceVersion;

use audit::Audits;
pub use audit::{Audit, Verdict};
pub use quarantine::QUARANTINE_LIMIT;
use status::Shared;
pub use status::{Activity, Counts, Failing, ReflectorHandle, ReflectorStatus};

/// A reflector, not yet running.
pub struct Reflector<K> {
    list_watch: Arc<dyn ListWatch>,
    decoder: Decoder<K>,
    known: Arc<dyn Known<K>>,
    fifo: DeltaFifo<K>,
    config: ReflectorConfig,
    /// Objects elsewhere aren't wanted.
    namespace: Option<String>,
    budget: Budget,
    sight: Sight,
    shared: Arc<Shared>,
    /// It has ended when this is dropped, also if it never ran.
    _ends: DropGuard,
}

/// How one request, or one stream, ended.
enum Ended {
    /// A complete list was handed on.
    Listed,
    /// Somebody asked for a list.
    RelistAsked,
    /// Anything else, on which recovery decides.
    Trouble(Trouble, Phase),
}

impl<K: Cached> Reflector<K> {
    /// A reflector and its handle; nothing happens before [`Reflector::run`].
    pub fn new(
        list_watch: Arc<dyn ListWatch>,
        decoder: Decoder<K>,
        known: Arc<dyn Known<K>>,
        fifo: DeltaFifo<K>,
        config: ReflectorConfig,
    ) -> (Self, ReflectorHandle) {
        let shared = Arc::new(Shared::default());
        let (handle, ends) = (ReflectorHandle(Arc::clone(&shared)), shared.ended.clone().drop_guard());
        let (namespace, budget, sight) = (None, Budget::default(), Sight::default());
        (Self { list_watch, decoder, known, fifo, config, namespace, budget, sight, shared, _ends: ends }, handle)
    }

    /// Passes over what isn't in this namespace, whatever the source sends.
    #[must_use]
    pub(crate) fn within(self, namespace: Option<String>) -> Self {
        Self { namespace, ..self }
    }

    /// Shares what may be asked of the server with others; without it, this reflector has a budget of its own.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Tells what it does to whoever wants to know.
    #[must_use]
    pub(crate) fn with_sight(self, sight: Sight) -> Self {
        Self { sight, ..self }
    }

    /// Lists and watches until `shutdown`; returns promptly then, its request dropped. Dropping it does the same.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let mut run = Box::new(Run::new(self));
        shutdown.run_until_cancelled(run.forever()).await;
        shared.status.lock().activity = Activity::Stopped;
    }
}

/// A running reflector: the only writer of everything in here.
struct Run<K> {
    given: Reflector<K>,
    backoff: Backoff,
    random: fastrand::Rng,
    /// Everything up to this version has been pushed or recorded as undecodable.
    version: Option<ResourceVersion>,
    streaming: bool,
    /// Why streaming lists were given up, until a paged one has come: where those fail too, it isn't the streaming.
    gave_up_streaming: Option<String>,
    missed_bookmark: bool,
    malformed_before: bool,
    last_list: Option<Instant>,
    last_watch: Option<Instant>,
    /// While a list is read.
    permit: Option<ListPermit>,
    audits: Audits,
    /// Something was listed or deleted without saying what it is: another list shall tell, but not at once.
    relist_at: Option<Instant>,
}

#[expect(clippy::disallowed_methods, reason = "run modules read tokio's clock, which tests pause")]
fn now() -> Instant {
    Instant::now()
}

impl<K: Cached> Run<K> {
    fn new(given: Reflector<K>) -> Self {
        let config = &given.config;
        let mut random = fastrand::Rng::with_seed(config.seed);
        let backoff = Backoff::new(&config.backoff, random.u64(..), now().into_std());
        let streaming = config.streaming_list;
        let mut run = Self {
            given,
            backoff,
            random,
            version: None,
            streaming,
            gave_up_streaming: None,
            missed_bookmark: false,
            malformed_before: false,
            last_list: None,
            last_watch: None,
            permit: None,
            audits: Audits::default(),
            relist_at: None,
        };
        run.schedule_audit();
        run
    }

    async fn forever(&mut self) {
        let mut next = Next::List;
        loop {
            let ended = match next {
                Next::List | Next::PagedListForGood => self.list().await,
                Next::UnpagedList => self.paged_list(None).await,
                Next::Watch => self.watch().await,
                Next::NewestVersion => self.newest_version().await,
            };
            next = match ended {
                Ended::Listed => Next::Watch,
                Ended::RelistAsked => Next::List,
                Ended::Trouble(trouble, phase) => self.recover(&trouble, phase).await,
            };
        }
    }

    async fn list(&mut self) -> Ended {
        if self.streaming {
            self.streaming_list().await
        } else {
            self.paged_list(Some(self.given.config.page_size)).await
        }
    }

    /// Lets recovery decide, notes it where it can be seen, and waits as it says.
    async fn recover(&mut self, trouble: &Trouble, phase: Phase) -> Next {
        let Step { next, wait } = next_step(trouble, phase);
        self.permit = None;
        // A second stream without its bookmark is a verdict on the server; a second refused connection is not.
        self.missed_bookmark |= matches!(phase, Phase::StreamingList { .. }) && misses_bookmark(trouble);
        self.malformed_before = matches!(trouble, Trouble::Failed(RequestError::Malformed(_)));
        if next == Next::PagedListForGood && std::mem::replace(&mut self.streaming, false) {
            self.gave_up_streaming = Some(describe(trouble).1);
        }
        if matches!(phase, Phase::List { .. }) && is_unsupported(trouble) && self.gave_up_streaming.take().is_some() {
            self.streaming = true;
        }
        if wait == Wait::None {
            tracing::debug!(reflector = self.given.config.name, ended = describe(trouble).1, ?next, "going on");
            return next;
        }
        let delay = self.backoff.failed(now().into_std());
        let delay = match wait {
            // Not all who were told the same come back together.
            Wait::BackoffAndAtLeast(asked) => delay.max(self.backoff.longer(asked)),
            Wait::None | Wait::Backoff => delay,
        };
        self.note_failure(trouble, next, delay);
        tokio::time::sleep(delay).await;
        next
    }

    fn note_failure(&self, trouble: &Trouble, next: Next, delay: Duration) {
        let (class, message) = describe(trouble);
        let is_new = {
            let mut status = self.given.shared.status.lock();
            status.activity = Activity::BackingOff;
            status.counts.backoffs += 1;
            status.note_failure(class, message.clone(), now())
        };
        let reflector = &self.given.config.name;
        if is_new {
            tracing::warn!(reflector, class, message, ?delay, ?next, "trouble with the server");
        } else {
            tracing::debug!(reflector, class, message, ?delay, ?next, "still trouble with the server");
        }
    }

    /// Something has arrived: whatever failed before works again.
    fn note_success(&self) {
        let failed = self.given.shared.status.lock().failing.take();
        if let Some(failed) = failed {
            tracing::info!(
                reflector = self.given.config.name,
                after = failed.class,
                failures = failed.failures,
                "recovered"
            );
        }
    }

    /// Is our version still in the server's past? After a restore from a backup it may lie in its future, where every
    /// watch is silent for ever.
    async fn newest_version(&mut self) -> Ended {
        self.given.budget.turn().await;
        self.given.shared.status.lock().counts.newest_versions += 1;
        let trouble = match self.given.list_watch.newest_version().await {
            Err(error) => Trouble::Failed(error),
            Ok(newest) if self.version.as_ref().is_some_and(|version| !newest.has_reached(version)) => {
                Trouble::WentBackwards
            }
            Ok(_) => Trouble::UpToDate,
        };
        Ended::Trouble(trouble, Phase::NewestVersion { listed_recently: self.listed_recently() })
    }

    fn listed_recently(&self) -> bool {
        self.last_list.is_some_and(|last| now().duration_since(last) < self.given.config.suspicious)
    }

    /// A list begins, not before its pace: waits until what is cached can be told from what is pending. `false`: the
    /// consumer is too far behind, so nothing may be taken for unchanged.
    async fn begin_list(&mut self) -> bool {
        pace(&mut self.last_list, self.given.config.pace).await;
        self.permit = None;
        self.permit = Some(self.given.budget.list().await);
        self.last_list = Some(now());
        if let Some(meter) = &self.given.sight.meter {
            meter.list_begun();
        }
        self.relist_at = None;
        self.given.shared.take_relist();
        self.given.shared.quarantine.lock().list_begins();
        self.given.shared.status.lock().activity = Activity::Listing;
        let caught_up = tokio::time::timeout(self.given.config.catch_up, self.given.fifo.consumed()).await.is_ok();
        // Where nothing is cached, there is nothing to ask.
        caught_up && self.given.known.count() > 0
    }

    /// One item of a list: unchanged, new, or undecodable (then what is cached of it stays).
    fn relisted(&mut self, item: &[u8], ask_known: bool) -> Option<Relisted<K>> {
        let Ok(identity) = identity(item) else {
            return self.unversioned(item);
        };
        if !self.wants(&identity) {
            return None;
        }
        let Identity { namespace, name, uid, version, .. } = &identity;
        if ask_known && let Some(cached) = self.given.known.current(namespace, name, uid, version) {
            self.given.shared.status.lock().counts.unchanged += 1;
            self.note(&identity, || What::ListedUnchanged);
            self.release(&identity);
            return Some(Relisted::Unchanged(cached));
        }
        match self.given.decoder.object(item, &identity) {
            Ok(object) => {
                self.note(&identity, || What::ListedNew);
                self.release(&identity);
                Some(Relisted::New(object, u32::try_from(item.len()).unwrap_or(u32::MAX)))
            }
            Err(fault) => {
                self.note_undecodable(Undecodable::known(&identity, fault));
                self.given.known.life(namespace, name, uid).map(Relisted::Unchanged)
            }
        }
    }

    /// Wants another list, but not sooner than a list may follow another without being suspicious.
    fn relist_later(&mut self) {
        let last = self.last_list.unwrap_or_else(now);
        self.relist_at = Some(later(last, self.given.config.suspicious));
    }

    fn wants(&self, identity: &Identity<'_>) -> bool {
        let is_here = self.given.namespace.as_ref().is_none_or(|namespace| identity.namespace == **namespace);
        let wanted = is_here && self.given.list_watch.wants(identity);
        if !wanted {
            self.given.shared.status.lock().counts.unwanted += 1;
        }
        wanted
    }

    /// An item that doesn't say its version: it is there, so what is cached of it stays, and another list must tell more.
    fn unversioned(&mut self, item: &[u8]) -> Option<Relisted<K>> {
        let Ok(identity) = who(item) else {
            self.note_undecodable(Undecodable::nameless());
            return None;
        };
        if !self.wants(&identity) {
            return None;
        }
        self.note_undecodable(Undecodable::known(&identity, DecodeFault::Identity));
        self.relist_later();
        let Identity { namespace, name, uid, .. } = &identity;
        self.given.known.life(namespace, name, uid).map(Relisted::Unchanged)
    }

    fn replace(&mut self, items: Vec<Relisted<K>>, version: ResourceVersion) {
        tracing::debug!(reflector = self.given.config.name, items = items.len(), %version, "listed");
        let gone = self.end_quarantine();
        let count = items.len();
        self.given.sight.explain.note_all(&version, || What::ListPushed(count));
        self.given.fifo.replace(Replacement { items, version: version.clone() });
        if let Some(reason) = self.gave_up_streaming.take() {
            tracing::info!(reflector = self.given.config.name, %reason, "paged lists from now on: no streaming list here");
            self.given.shared.status.lock().paged_because = Some(reason);
        }
        self.missed_bookmark = false;
        self.malformed_before = false;
        self.permit = None;
        self.audits.suspicion = false;
        {
            let mut status = self.given.shared.status.lock();
            status.counts.replacements += 1;
            status.counts.healed += gone as u64;
            status.version = Some(version.clone());
        }
        self.version = Some(version);
        self.note_success();
        if let (Some(meter), Some(began)) = (&self.given.sight.meter, self.last_list) {
            meter.listed(now().duration_since(began), count);
        }
        self.arrived();
    }

    /// A piece of a body has been read.
    fn arrived(&self) {
        if let Some(meter) = &self.given.sight.meter {
            self.given.shared.arrived(now());
            meter.changed();
        }
    }

    /// Something has happened to one object.
    fn note(&self, identity: &Identity<'_>, what: impl FnOnce() -> What) {
        let Identity { namespace, name, uid, version, .. } = identity;
        self.given.sight.explain.note((namespace, name), uid, version, what);
    }
}

/// Waits until `pace` has passed since the last time, and notes this time.
async fn pace(last: &mut Option<Instant>, pace: Duration) {
    if let Some(last) = *last {
        tokio::time::sleep_until(later(last, pace)).await;
    }
    *last = Some(now());
}

/// Class and text of a trouble, for status and logs.
fn describe(trouble: &Trouble) -> (&'static str, String) {
    match trouble {
        Trouble::Failed(error) => match error.class() {
            // Of lists and watches it is said of the kind, not of an object.
            class @ "not_found" => {
                (class, format!("{error}; is the kind defined there, and this version of it served?"))
            }
            class => (class, error.to_string()),
        },
        Trouble::Ended => ("short_watch", "the server ended the stream".to_owned()),
        Trouble::UndecodableChange => ("undecodable", "a change can't be decoded or skipped".to_owned()),
        Trouble::WentBackwards => ("went_backwards", "the server's versions went backwards".to_owned()),
        Trouble::UpToDate => ("up_to_date", "the server has nothing newer".to_owned()),
    }
}
