//! The audit: whether what is cached is what the server had at that version.
//!
//! In: the version reached. Out: a verdict. A watch that lost an event says nothing of it, nor does a bookmark that was ahead
//! of its data; the cache is then wrong until the next list, and no version shows it. So the watch isn't read for a moment, the
//! store catches up, and a list of exactly the version reached is compared with what is cached: by identity, nothing is
//! decoded, nothing is held. Whatever differs is proven to have been lost, and a list makes it good.
//!
//! Upstream asks the same in its tests only: the consistency detector of client-go's tools/cache.

use futures::StreamExt;

use super::{Run, now};
use crate::decode::{Identity, who};
use crate::frame::{FrameError, ListSplitter};
use crate::list_watch::{ListAt, ListRequest, within};
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
    /// Nothing was lost.
    Agrees {
        /// How many objects were compared.
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
    /// It can't be told, and why. Where the server no longer knows the version, a list follows.
    Unknown(String),
}

impl Verdict {
    /// Of two parts of a cache, the verdict on both.
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

/// What has been compared so far.
#[derive(Default)]
struct Compared {
    /// Cached as the server shows it, or known to be undecodable.
    current: usize,
    missing: usize,
    stale: usize,
}

impl<K: Cached> Run<K> {
    /// When the next one is due, if there is a period: up to a tenth sooner or later, so that informers don't audit together.
    pub(super) fn schedule_audit(&mut self) {
        let jitter = 0.9 + 0.2 * self.random.f64();
        self.next_audit = self.given.config.audit.and_then(|period| now().checked_add(period.mul_f64(jitter)));
    }

    /// Brings the next one forward: to now, or to [`ReflectorConfig::suspicious`](crate::ReflectorConfig) after the last.
    pub(super) fn audit_soon(&mut self) {
        let earliest = self.last_audit.and_then(|last| last.checked_add(self.given.config.suspicious));
        let soon = earliest.map_or_else(now, |earliest| earliest.max(now()));
        self.next_audit = Some(self.next_audit.map_or(soon, |next| next.min(soon)));
    }

    /// Compares at the version reached, while the watch waits; asks for a list where one is needed.
    pub(super) async fn audit(&mut self) {
        self.last_audit = Some(now());
        self.schedule_audit();
        let number = self.given.shared.audit_begins();
        let Some(version) = self.version.clone() else { return };
        let (verdict, expired) = match self.compare(&version).await {
            Ok(verdict) => (verdict, false),
            Err(error) => {
                let expired = matches!(&error, RequestError::Refused(refusal) if refusal.is_expired());
                (Verdict::Unknown(error.to_string()), expired)
            }
        };
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
        if lost || expired {
            self.given.shared.ask_relist();
        }
        self.given.shared.audited(Audit { version, verdict, number });
    }

    async fn compare(&mut self, version: &ResourceVersion) -> Result<Verdict, RequestError> {
        if tokio::time::timeout(self.given.config.catch_up, self.given.fifo.consumed()).await.is_err() {
            return Ok(Verdict::Unknown("the store has not caught up".to_owned()));
        }
        let _permit = self.given.budget.list().await;
        let mut compared = Compared::default();
        let mut request = ListRequest {
            limit: Some(self.given.config.page_size),
            at: ListAt::Exact(version.clone()),
            continue_token: None,
        };
        loop {
            self.given.shared.status.lock().counts.lists += 1;
            // The watch isn't read meanwhile: that must not take long.
            let opened = self.given.list_watch.list(&request);
            let mut body = within(self.given.config.catch_up, Awaited::Answer, opened).await?;
            let mut splitter = ListSplitter::new(self.given.config.limits);
            while let Some(chunk) = body.next().await {
                splitter.push(&chunk?, |item| {
                    self.compare_item(item, &mut compared);
                    Ok::<(), FrameError>(())
                })?;
                tokio::task::coop::consume_budget().await;
            }
            let end = splitter.finish()?;
            if end.version != *version {
                return Ok(Verdict::Unknown(format!("the server lists version {} instead", end.version)));
            }
            match end.continue_token {
                Some(token) if request.continue_token.as_ref() != Some(&token) => request.continue_token = Some(token),
                Some(_) => return Err(FrameError::NotAList("tokens that move on").into()),
                None => break,
            }
        }
        let Compared { current, missing, stale } = compared;
        let phantoms = self.given.known.count().saturating_sub(current + stale);
        if (missing, stale, phantoms) == (0, 0, 0) {
            Ok(Verdict::Agrees { objects: current })
        } else {
            Ok(Verdict::Differs { missing, stale, phantoms })
        }
    }

    fn compare_item(&self, item: &[u8], compared: &mut Compared) {
        // What doesn't say who it is is in quarantine, and nothing is cached of it.
        let Ok(identity) = who(item) else { return };
        if !self.given.list_watch.wants(&identity) {
            return;
        }
        let Identity { namespace, name, uid, version, .. } = &identity;
        let held = self.given.known.holds(namespace, name, uid);
        if self.given.shared.quarantine.lock().holds(|| identity.key()) {
            compared.current += usize::from(held);
        } else if self.given.known.current(namespace, name, uid, version).is_some() {
            compared.current += 1;
        } else if held {
            compared.stale += 1;
        } else {
            compared.missing += 1;
        }
    }
}
