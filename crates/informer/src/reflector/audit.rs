//! The audit: whether what is cached is what the server had at that version.
//!
//! In: the version reached. Out: a verdict. A watch that lost an event says nothing of it, nor does a bookmark that was ahead
//! of its data; the cache is then wrong until the next list, and no version shows it. So the watch isn't read for a moment, the
//! store catches up, and a list of exactly the version reached is compared with what is cached: by identity, nothing is
//! decoded. Whatever differs is proven to have been lost, and a list makes it good.
//!
//! Upstream asks the same in its tests only: the consistency detector of client-go's tools/cache.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pages::Pages;
use super::{Run, now};
use crate::backoff::scaled;
use crate::budget::later;
use crate::decode::{Identity, who};
use crate::explain::{Finding, What};
use crate::list_watch::{ListAt, ListRequest, read_list, within};
use crate::object::Cached;
use crate::request_error::{Awaited, RequestError};
use crate::version::ResourceVersion;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The version at which cache and server were compared.
    pub version: ResourceVersion,
    /// How they compare.
    pub verdict: Verdict,
    /// Counted from 1 for each reflector.
    pub(super) number: u64,
}

/// How cache and server compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was lost. Objects in quarantine don't count as lost: of them an older state may be cached, or none.
    Agrees {
        /// How many objects are cached.
        objects: usize,
    },
    /// Something was lost on the way here. A list follows at once.
    Differs {
        /// Objects that aren't cached.
        missing: usize,
        /// Objects of which another state is cached.
        stale: usize,
        /// Cached objects that aren't there.
        phantoms: usize,
    },
    /// It can't be told, and why, for people: the server refused, or knows this version no more, or another one only; the store
    /// had not caught up; it took too long. Where the version is no longer known, or a change was left out on suspicion, a
    /// list follows.
    Unknown(String),
}

impl Verdict {
    /// Of two parts of a cache, the verdict on both: what differs in one of them differs, with the sums of both; otherwise what
    /// is unknown of one is unknown.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Differs { missing, stale, phantoms }, Self::Differs { missing: m, stale: s, phantoms: p }) => {
                Self::Differs { missing: missing + m, stale: stale + s, phantoms: phantoms + p }
            }
            (differs @ Self::Differs { .. }, _) | (_, differs @ Self::Differs { .. }) => differs,
            (unknown @ Self::Unknown(_), _) | (_, unknown @ Self::Unknown(_)) => unknown,
            (Self::Agrees { objects }, Self::Agrees { objects: o }) => Self::Agrees { objects: objects + o },
        }
    }
}

/// When there are audits.
#[derive(Default)]
pub(super) struct Audits {
    pub(super) last: Option<Instant>,
    pub(super) next: Option<Instant>,
    /// A change was left out that may not have been a replay.
    pub(super) suspicion: bool,
}

/// An audit is given up after this: the watch isn't read meanwhile.
const AT_MOST: Duration = Duration::from_secs(60);

/// What has been compared so far.
#[derive(Default)]
struct Compared {
    /// Cached as the server shows it, or known to be undecodable at this version.
    current: usize,
    missing: usize,
    stale: usize,
    /// Hashes of the keys, since a list may show an object twice.
    seen: HashSet<u64, ahash::RandomState>,
}

impl<K: Cached> Run<K> {
    /// When the next one is due, if there is a period: up to a tenth sooner or later, so that informers don't audit together;
    /// never sooner than another list would be suspicious.
    pub(super) fn schedule_audit(&mut self) {
        let jitter = 0.9 + 0.2 * self.random.f64();
        let period = self.given.config.audit.map(|period| scaled(period, jitter).max(self.given.config.suspicious));
        self.audits.next = period.map(|period| later(now(), period));
    }

    /// A change was left out that may not have been a replay. Brings the next audit forward: to now, or to
    /// [`ReflectorConfig::suspicious`](crate::ReflectorConfig) after the last.
    pub(super) fn suspect(&mut self) {
        self.audits.suspicion = true;
        let earliest = self.audits.last.map_or_else(now, |last| later(last, self.given.config.suspicious));
        self.audits.next = Some(self.audits.next.map_or(earliest, |next| next.min(earliest)));
    }

    /// Compares at the version reached, while the watch waits; asks for a list where one is needed: where something was lost,
    /// or may have been and it can't be told.
    pub(super) async fn audit(&mut self) {
        let number = self.given.shared.audit_begins();
        let Some(version) = self.version.clone() else { return };
        let (verdict, expired) = match self.compare_in_time(&version).await {
            Ok(verdict) => (verdict, false),
            Err(error) => {
                let expired = matches!(&error, RequestError::Refused(refusal) if refusal.is_expired());
                (Verdict::Unknown(error.to_string()), expired)
            }
        };
        self.audits.last = Some(now());
        self.schedule_audit();
        let lost = matches!(verdict, Verdict::Differs { .. });
        let reflector = &self.given.config.name;
        if lost {
            tracing::warn!(reflector, %version, ?verdict, "audit: changes were lost; listing again");
        } else {
            tracing::debug!(reflector, %version, ?verdict, "audited");
        }
        {
            let mut status = self.given.shared.status.lock();
            status.counts.audits += 1;
            status.counts.gaps += u64::from(lost);
        }
        let agrees = matches!(verdict, Verdict::Agrees { .. });
        let suspicion = std::mem::take(&mut self.audits.suspicion) && !agrees;
        if lost || expired {
            self.given.shared.ask_relist();
        } else if suspicion {
            self.relist_later();
        }
        self.given.sight.explain.note_all(&version, || What::Audited(Finding::of(&verdict)));
        self.given.shared.audited(Audit { version, verdict, number });
    }

    /// Unless a list is asked for, which makes it superfluous, or it takes too long.
    async fn compare_in_time(&mut self, version: &ResourceVersion) -> Result<Verdict, RequestError> {
        let shared = Arc::clone(&self.given.shared);
        tokio::select! {
            biased;
            () = shared.relist_asked() => Ok(Verdict::Unknown("a list was asked for meanwhile".to_owned())),
            compared = tokio::time::timeout(AT_MOST, self.compare(version)) => {
                compared.unwrap_or_else(|_| Ok(Verdict::Unknown(format!("it takes longer than {AT_MOST:?}"))))
            }
        }
    }

    async fn compare(&mut self, version: &ResourceVersion) -> Result<Verdict, RequestError> {
        let patience = self.given.config.catch_up;
        if tokio::time::timeout(patience, self.given.fifo.consumed()).await.is_err() {
            return Ok(Verdict::Unknown("the store has not caught up".to_owned()));
        }
        let Ok(_permit) = tokio::time::timeout(patience, self.given.budget.list()).await else {
            return Ok(Verdict::Unknown("other informers' lists left no room for it".to_owned()));
        };
        let (mut compared, mut pages) = (Compared::default(), Pages::default());
        let mut request = ListRequest {
            limit: Some(self.given.config.page_size),
            at: ListAt::Exact(version.clone()),
            continue_token: None,
        };
        loop {
            self.given.shared.status.lock().counts.lists += 1;
            let body = within(patience, Awaited::Answer, self.given.list_watch.list(&request)).await?;
            let compare = |item: &[u8]| self.compare_item(item, &mut compared);
            let end = read_list(body, self.given.config.limits, compare).await?;
            if end.version != *version {
                return Ok(Verdict::Unknown(format!("the server lists version {} instead", end.version)));
            }
            let Some(token) = end.continue_token else { break };
            pages.turn(&token)?;
            request.continue_token = Some(token);
        }
        Ok(self.verdict(&compared))
    }

    fn verdict(&self, compared: &Compared) -> Verdict {
        let Compared { current, missing, stale, .. } = *compared;
        let phantoms = self.given.known.count().saturating_sub(current + stale);
        if (missing, stale, phantoms) == (0, 0, 0) {
            return Verdict::Agrees { objects: current };
        }
        if self.given.shared.quarantine.lock().leaves_out() {
            return Verdict::Unknown("more objects can't be decoded than are listed in quarantine".to_owned());
        }
        Verdict::Differs { missing, stale, phantoms }
    }

    fn compare_item(&self, item: &[u8], compared: &mut Compared) {
        // What doesn't say who it is is in quarantine, and nothing is cached of it.
        let Ok(identity) = who(item) else { return };
        let Identity { namespace, name, uid, version, .. } = &identity;
        let hash = compared.seen.hasher().hash_one((namespace, name));
        if !self.wants(&identity) || !compared.seen.insert(hash) {
            return;
        }
        let held = self.given.known.life(namespace, name, uid).is_some();
        if self.given.shared.quarantine.lock().holds(&identity) {
            compared.current += usize::from(held);
        } else if self.given.known.current(namespace, name, uid, version).is_some() {
            compared.current += 1;
        } else if held {
            compared.stale += 1;
            self.note(&identity, || What::AuditedStale);
        } else {
            compared.missing += 1;
            self.note(&identity, || What::AuditedMissing);
        }
    }
}
