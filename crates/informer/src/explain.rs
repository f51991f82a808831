//! Explain: what happened to one object at each stage, and when.
//!
//! In: notes of the stages, while [`InformerConfig::explain`](crate::InformerConfig::explain) is set. Out: the steps of one key,
//! oldest first, by [`InformerHandle::explain`](crate::InformerHandle::explain); as a text, by [`Story`]. The steps of all keys
//! share one ring of a fixed length, so a busy kind soon overwrites the story of a quiet object: then say which keys matter
//! ([`ExplainKeys`]). It holds names, uids and versions, and of an object's content no value: of what can't be decoded,
//! where it is wrong and what was expected there. When it is off, a stage asks one branch.
//!
//! Sources ([`SharedInformer::add_source`](crate::SharedInformer::add_source)) are told inline, right after a step says that
//! something was applied; that has no step of its own. Upstream has nothing like it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::decode::{DecodeFault, EventType};
use crate::event::{Event, Finality};
use crate::key::ObjectKey;
use crate::reflector::Verdict;
use crate::version::ResourceVersion;

mod batch;
mod ring;

pub(crate) use batch::Asked;
pub(crate) use ring::Explainer;

/// What is kept, and of which objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainConfig {
    /// How many steps are kept, of all keys together; beyond that the oldest is overwritten. A change makes four, and one more
    /// a handler; each takes some 200 bytes. Default 4,096.
    pub steps: usize,
    /// Of which objects. Default all.
    pub keys: ExplainKeys,
}

impl Default for ExplainConfig {
    fn default() -> Self {
        Self { steps: 4_096, keys: ExplainKeys::All }
    }
}

/// Which objects' steps are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExplainKeys {
    /// All of them.
    #[default]
    All,
    /// Those of one namespace.
    Namespace(String),
    /// These.
    These(BTreeSet<ObjectKey>),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// When it was noted.
    pub at: Instant,
    /// Of which object; `None`: of all, such as a list. Those belong to every object's story.
    pub key: Option<ObjectKey>,
    /// Which life of it, cut to [`UID_LENGTH`] characters; empty where it isn't known.
    pub uid: Box<str>,
    /// At which version; of a list or an audit, its version.
    pub version: Option<ResourceVersion>,
    /// What happened.
    pub what: What,
}

/// A uid of a Kubernetes server has so many characters.
pub const UID_LENGTH: usize = 36;

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A list showed it in the state that is cached, so it wasn't decoded.
    ListedUnchanged,
    /// A list showed it, and it was decoded.
    ListedNew,
    /// A watch told of it, or a streaming list of its deletion.
    Read(EventType),
    /// It wasn't newer than the version reached, and so left out.
    DroppedAsStale,
    /// It can't be decoded.
    Undecodable(DecodeFault),
    /// It went to the queue.
    Pushed,
    /// In the queue so many of its states were left out; the one that stays is this.
    Coalesced(u64),
    /// A list of so many objects went to the queue, in the place of all that waited there.
    ListPushed(usize),
    /// A list of so many objects took the place of what the store had.
    Replaced(usize),
    /// The store took it, and this is what that amounts to.
    Applied(News),
    /// The store had a newer state.
    OlderThanStored,
    /// The store had this very state.
    SameAsStored,
    /// A deletion of what the store had not.
    NotStored,
    /// Its namespace is watched no more, so the store let it go.
    Unwatched,
    /// A handler of this name was told, or the event stream of it was asked and gave it away.
    Told(Arc<str>, News),
    /// An audit: it isn't cached, but on the server.
    AuditedMissing,
    /// An audit: the server has another state.
    AuditedStale,
    /// An audit has compared all objects.
    Audited(Finding),
}

/// What an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// [`Event::Added`].
    Added,
    /// [`Event::Updated`].
    Updated,
    /// [`Event::Deleted`].
    Deleted(Finality),
    /// [`Event::Resync`].
    Resync,
}

/// What a whole audit found; [`Verdict`] without the reason for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// [`Verdict::Agrees`].
    Agrees,
    /// [`Verdict::Differs`].
    Differs {
        /// Objects that aren't cached.
        missing: usize,
        /// Objects of which another state is cached.
        stale: usize,
        /// Cached objects that aren't there. Which they are, the list that follows says.
        phantoms: usize,
    },
    /// [`Verdict::Unknown`].
    Unknown,
}

/// The stages of the pipeline that leave steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// [`crate::reflector`].
    Reflector,
    /// [`crate::delta_fifo`].
    DeltaFifo,
    /// [`crate::store`].
    Store,
    /// [`crate::handler`].
    Handler,
}

impl Step {
    /// Where it happened.
    pub fn stage(&self) -> Stage {
        match self.what {
            What::ListedUnchanged
            | What::ListedNew
            | What::Read(_)
            | What::DroppedAsStale
            | What::Undecodable(_)
            | What::AuditedMissing
            | What::AuditedStale
            | What::Audited(_) => Stage::Reflector,
            What::Pushed | What::Coalesced(_) | What::ListPushed(_) => Stage::DeltaFifo,
            What::Replaced(_)
            | What::Applied(_)
            | What::OlderThanStored
            | What::SameAsStored
            | What::NotStored
            | What::Unwatched => Stage::Store,
            What::Told(..) => Stage::Handler,
        }
    }
}

impl News {
    pub(crate) fn of<K>(event: &Event<K>) -> Self {
        match event {
            Event::Added { .. } => Self::Added,
            Event::Updated { .. } => Self::Updated,
            Event::Deleted { finality, .. } => Self::Deleted(*finality),
            Event::Resync { .. } => Self::Resync,
        }
    }
}

impl Finding {
    pub(crate) fn of(verdict: &Verdict) -> Self {
        match *verdict {
            Verdict::Agrees { .. } => Self::Agrees,
            Verdict::Differs { missing, stale, phantoms } => Self::Differs { missing, stale, phantoms },
            Verdict::Unknown(_) => Self::Unknown,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reflector => "reflector",
            Self::DeltaFifo => "queue",
            Self::Store => "store",
            Self::Handler => "handler",
        })
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Updated => "updated",
            Self::Deleted(Finality::Observed) => "deleted",
            Self::Deleted(Finality::Inferred) => "deleted, its end was missed and is inferred",
            Self::Resync => "still there (resync)",
        })
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ListedUnchanged => f.write_str("a list shows it as it is cached"),
            Self::ListedNew => f.write_str("a list shows it"),
            Self::Read(EventType::Deleted) => f.write_str("the server tells of its deletion"),
            Self::Read(event_type) => write!(f, "the watch tells of it as {event_type:?}"),
            Self::DroppedAsStale => f.write_str("left out: not newer than the version reached"),
            Self::Undecodable(fault) => write!(f, "it can't be decoded: {fault}"),
            Self::Pushed => f.write_str("it waits for the store"),
            Self::Coalesced(left_out) => write!(f, "put together, {left_out} left out, this one stays"),
            Self::ListPushed(items) => write!(f, "a list of {items} waits, in the place of all that waited before"),
            Self::Replaced(items) => write!(f, "a list of {items} takes the place of everything"),
            Self::Applied(news) => write!(f, "{news}"),
            Self::OlderThanStored => f.write_str("left out: what is stored is newer"),
            Self::SameAsStored => f.write_str("nothing to do: this state is stored already"),
            Self::NotStored => f.write_str("nothing to delete: it isn't stored"),
            Self::Unwatched => f.write_str("its namespace is watched no more"),
            Self::Told(handler, news) => write!(f, "{handler} is told: {news}"),
            Self::AuditedMissing => f.write_str("an audit finds it on the server, but not cached"),
            Self::AuditedStale => f.write_str("an audit finds another state of it on the server"),
            Self::Audited(Finding::Agrees) => f.write_str("an audit finds nothing wrong"),
            Self::Audited(Finding::Differs { missing, stale, phantoms }) => {
                write!(f, "an audit finds {missing} objects missing, {stale} stale, {phantoms} that aren't there")
            }
            Self::Audited(Finding::Unknown) => f.write_str("an audit can't tell"),
        }
    }
}

/// One line: the stage, what happened, the version, the uid.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9}  {}", self.stage(), self.what)?;
        if let Some(version) = &self.version {
            write!(f, ", version {version}")?;
        }
        if self.uid.is_empty() { Ok(()) } else { write!(f, ", uid {}", self.uid) }
    }
}

/// Steps as a text for people: a line each, with the time since the first.
///
/// ```
/// # use watchkeeper_informer::explain::Story;
/// # use watchkeeper_informer::{Cached, InformerHandle, ObjectKey};
/// fn why<K: Cached>(informer: &InformerHandle<K>) {
///     // +0.000 s  reflector  the watch tells of it as Modified, version 7, uid 5d2c…
///     // +0.000 s  queue      it waits for the store, version 7, uid 5d2c…
///     // +0.002 s  store      updated, version 7, uid 5d2c…
///     // +4.120 s  handler    slow is told: updated, version 7, uid 5d2c…
///     println!("{}", Story(&informer.explain(&ObjectKey::new("default", "a"))));
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Story<'a>(pub &'a [Step]);

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else { return f.write_str("nothing is known of it") };
        for (line, step) in self.0.iter().enumerate() {
            if line > 0 {
                writeln!(f)?;
            }
            write!(f, "+{:.3} s  {step}", step.at.saturating_duration_since(first.at).as_secs_f64())?;
        }
        Ok(())
    }
}
