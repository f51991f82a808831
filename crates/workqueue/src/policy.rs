//! What a queue may do beyond the three guarantees. Everything here is off unless it is asked for, and what is off
//! costs nothing.

use std::borrow::Cow;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::keys::{Id, KEPT_SLOTS};
use crate::lanes::Standing;
use crate::moment::Moment;

/// The rules of a queue beyond its guarantees. The default has none.
pub struct Policy<K> {
    /// Keys with a higher priority are handed out first, but nobody starves. None: priorities are ignored.
    pub ageing: Option<Ageing>,
    /// Which flow a key belongs to, for instance its namespace, hashed. Flows take turns, so with `n` flows that have
    /// ready keys, a flow gets every n-th hand-out at least, however many keys the others have. Within a flow the
    /// order is by priority, or first in first out. None: all keys are one flow.
    ///
    /// Called outside the queue's lock with each key that is added, interned or paused. It may change its answer: a key
    /// that is ready stays where it is, and goes with the new flow from the next time on.
    pub flow: Option<Flow<K>>,
    /// A key isn't handed out sooner than this after its last hand-out, whatever asked for it: an add that comes too
    /// early waits. Zero: no such rule; at most 365 days, longer ones are cut. Costs memory for the keys of the last
    /// interval. A shut down ends it, and what it has held back is ready.
    pub min_interval: Duration,
    /// Adds wait until no more of them come. None: they don't. A shut down ends it, and what has waited is ready.
    pub debounce: Option<Debounce>,
    /// A key that fails too often is set aside. None: it is retried for ever.
    pub attempts: Option<Attempts>,
    /// How many different reasons are kept for a key. Zero: none, and reasons are dropped.
    pub reasons: usize,
    /// How many keys the queue holds at most, ready, waiting, in flight, held and exhausted together. Beyond that, an
    /// add of a further key is answered with [`Added::Full`](crate::Added::Full), and it's for the caller to come
    /// again; keys that are in the queue are always accepted, so neither a retry nor a delay of a worker finds it full.
    /// Not counted: keys that only a [`KeyId`](crate::KeyId), a pause or the minimum interval keeps. None: as many as
    /// there are.
    pub capacity: Option<NonZeroUsize>,
}

impl<K> Default for Policy<K> {
    fn default() -> Self {
        Self {
            ageing: None,
            flow: None,
            min_interval: Duration::ZERO,
            debounce: None,
            attempts: None,
            reasons: 0,
            capacity: None,
        }
    }
}

impl<K> fmt::Debug for Policy<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("ageing", &self.ageing)
            .field("flow", &self.flow.is_some())
            .field("min_interval", &self.min_interval)
            .field("debounce", &self.debounce)
            .field("attempts", &self.attempts)
            .field("reasons", &self.reasons)
            .field("capacity", &self.capacity)
            .finish()
    }
}

/// Says which flow a key belongs to.
pub type Flow<K> = Box<dyn Fn(&K) -> u64 + Send + Sync>;

/// Priorities that grow with the time waited, so that a key of priority `p` is served as if it had become ready
/// `p * step` earlier.
///
/// So nobody starves: a key can only be overtaken by keys of a priority higher by `d` that become ready within
/// `d * step` after it. controller-runtime's priority queue has no ageing (its issue 3496).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ageing {
    /// The time that a key must wait to gain one level of priority. At most an hour; more is cut. Zero: all levels
    /// are equal.
    pub step: Duration,
}

impl Default for Ageing {
    /// A second a level: the initial list, which controller-runtime gives a priority of -100, waits at most 100 s for
    /// what has changed since.
    fn default() -> Self {
        Self { step: Duration::from_secs(1) }
    }
}

/// A key that is added without a delay becomes ready when `quiet` has passed without another add, but not later than
/// `longest` after the first one.
///
/// Delays and backoffs that were asked for by [`WorkQueue::add_after`](crate::WorkQueue::add_after) or an outcome
/// stand beside it: the earlier of the two counts, and no add postpones them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debounce {
    /// How long no add must have come. Zero: no debounce.
    pub quiet: Duration,
    /// The longest wait from the first add of a burst; what is below `quiet` cuts `quiet`. Both are cut to 365 days.
    pub longest: Duration,
}

/// How often a key is tried, and where it rests afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// After this many failures in a row the key is exhausted: it rests until it is added, or sent back by
    /// [`WorkQueue::retry_exhausted`](crate::WorkQueue::retry_exhausted); either way it starts anew.
    pub most: NonZeroU32,
    /// How many exhausted keys are kept. Beyond that, the one that rests longest is given up and counted as such.
    pub resting: usize,
}

/// Why a key was added; put a short constant text or an object's name and version here, not its content.
pub type Reason = Cow<'static, str>;

/// Why a key was handed out: the reasons of all adds since it was last handed out, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// In the order in which they came, at most [`Policy::reasons`].
    pub kept: Vec<Reason>,
    /// How often further ones came that weren't kept; the same one may be counted several times.
    pub dropped: u64,
}

impl Reasons {
    pub(crate) fn note(&mut self, reason: Reason, most: usize) {
        if self.kept.contains(&reason) {
            return;
        }
        if self.kept.len() < most { self.kept.push(reason) } else { self.dropped = self.dropped.saturating_add(1) }
    }

    /// Those of before, and then the later ones.
    pub(crate) fn join(&mut self, later: Self, most: usize) {
        self.dropped = self.dropped.saturating_add(later.dropped);
        later.kept.into_iter().for_each(|reason| self.note(reason, most));
    }
}

/// How a key is asked for. The default is what [`WorkQueue::add`](crate::WorkQueue::add) does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Not before this; as of [`WorkQueue::add_after`](crate::WorkQueue::add_after).
    pub after: Duration,
    /// The higher, the earlier; see [`Ageing`]. The highest of all adds counts until the key is handed out, and
    /// stays with it until it is done: over failures, and over [`WorkItem::after`](crate::WorkItem::after).
    pub priority: i16,
    /// Why; see [`Policy::reasons`].
    pub reason: Option<Reason>,
}

/// The policy as the cores use it: checked numbers, no foreign code.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// Nanoseconds a level of priority.
    pub(crate) step: i64,
    pub(crate) ranked: bool,
    /// There is a minimum interval.
    pub(crate) paced: bool,
    pub(crate) min_interval: Duration,
    pub(crate) debounce: Option<Debounce>,
    pub(crate) attempts: Option<Attempts>,
    pub(crate) reasons: usize,
    pub(crate) capacity: Option<NonZeroUsize>,
    /// Some rule, or a sight, needs to know when things happened.
    pub(crate) timed: bool,
}

impl Rules {
    pub(crate) fn new<K>(policy: &Policy<K>, timed: bool) -> Self {
        const LONGEST_STEP: Duration = Duration::from_secs(3600);
        let debounce = policy.debounce.filter(|debounce| !debounce.quiet.is_zero());
        let step = policy.ageing.map_or(Duration::ZERO, |ageing| ageing.step.min(LONGEST_STEP));
        Self {
            step: i64::try_from(step.as_nanos()).expect("an hour has fewer than 2^63 nanoseconds"),
            ranked: policy.ageing.is_some() || policy.flow.is_some(),
            paced: !policy.min_interval.is_zero(),
            min_interval: policy.min_interval,
            debounce,
            attempts: policy.attempts,
            reasons: policy.reasons,
            capacity: policy.capacity,
            timed: timed || policy.ageing.is_some() || !policy.min_interval.is_zero() || debounce.is_some(),
        }
    }

    /// Whether a [`Memo`] is kept for each key.
    #[inline]
    pub(crate) fn remembers(&self) -> bool {
        self.timed || self.ranked
    }
}

/// What the rules remember of a key, in queues that have such rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memo {
    pub(crate) flow: u64,
    /// The highest priority asked for since the last hand-out. [`i16::MIN`]: none yet.
    pub(crate) asked: i16,
    /// The priority at which it was handed out.
    pub(crate) priority: i16,
    /// When the key became ready, or dirty.
    pub(crate) since: Moment,
    /// When it was last handed out.
    pub(crate) started: Option<Moment>,
    /// It would be ready, did the minimum interval or the debounce not hold it back.
    pub(crate) owed: bool,
    /// What it waits for has been counted as an add.
    pub(crate) counted: bool,
    /// When the first add of a debounced burst came.
    pub(crate) burst: Option<Moment>,
    /// The earliest delay that isn't a debounced add. [`Moment::NEVER`]: none.
    pub(crate) delayed: Moment,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            flow: 0,
            asked: i16::MIN,
            priority: i16::MIN,
            since: Moment::START,
            started: None,
            owed: false,
            counted: false,
            burst: None,
            delayed: Moment::NEVER,
        }
    }
}

impl Memo {
    /// Where the key stands when it is ready: with priorities by its age, else in the order of becoming ready.
    #[inline]
    pub(crate) fn standing(&self, rules: &Rules) -> Standing {
        let age = |since: Moment| since.nanos().saturating_sub(i64::from(self.asked).saturating_mul(rules.step));
        Standing { flow: self.flow, rank: if rules.step > 0 { age(self.since) } else { 0 } }
    }

    /// Before when the key must not be handed out again.
    #[inline]
    pub(crate) fn floor(&self, rules: &Rules) -> Moment {
        self.started.filter(|_| rules.paced).map_or(Moment::START, |at| at.after(rules.min_interval))
    }
}

/// The memos of a queue that has such rules; of others, nothing.
pub(crate) struct Memos {
    rules: Rules,
    memos: Vec<Memo>,
}

impl Memos {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, memos: Vec::new() }
    }

    /// There are rules, and no room yet for this id.
    #[inline]
    pub(crate) fn lack(&self, id: Id) -> bool {
        self.rules.remembers() && id.index() >= self.memos.len()
    }

    /// Makes room for ids below `slots`, or gives the memory of others back.
    pub(crate) fn resize(&mut self, slots: usize) {
        if self.rules.remembers() {
            self.memos.resize_with(slots, Memo::default);
            if self.memos.capacity() > KEPT_SLOTS.max(slots.saturating_mul(4)) {
                self.memos.shrink_to_fit();
            }
        }
    }

    #[inline]
    pub(crate) fn of(&self, id: Id) -> Memo {
        self.memos.get(id.index()).copied().unwrap_or_default()
    }

    /// None: nothing is remembered in this queue.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut Memo> {
        self.memos.get_mut(id.index())
    }

    #[inline]
    pub(crate) fn standing(&self, id: Id) -> Standing {
        self.memos.get(id.index()).map_or_else(Standing::default, |memo| memo.standing(&self.rules))
    }

    #[inline]
    pub(crate) fn forget(&mut self, id: Id) {
        if let Some(memo) = self.memos.get_mut(id.index()) {
            *memo = Memo::default();
        }
    }
}
