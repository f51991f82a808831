//! The board: what this process has seen of all Leases, and what has been told of it.
//!
//! In: the informers' events, inline, on every replica, standbys too, so that the judgement of a new leader is warm
//! and an edge that fell into the gap between two leaders is still told. Out: a [`Plan`] for the reconciler, rows for
//! the table. One lock, never held over an await; memory is bounded by the live Leases.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use watchkeeper::informer::{Event, ObjectKey};

use crate::attention::Attention;
use crate::judge::{EDGES_KEPT, Edge, Observation, State, Watch};
use crate::moment::SharedClock;
use crate::record::Record;
use crate::story::Story;
use crate::threshold::duration;

/// The shared board of one replica.
pub(crate) struct Board {
    clock: SharedClock,
    inner: Mutex<Inner>,
}

struct Inner {
    attention: Attention,
    leases: HashMap<ObjectKey, Entry>,
    nodes: HashSet<String>,
    nodes_known: bool,
    changes: u64,
    lag: Option<SignedDuration>,
}

struct Entry {
    seen: Observation,
    told: VecDeque<Told>,
}

/// An edge that this process has told, or has found told.
struct Told {
    name: String,
    epoch: String,
    at: crate::moment::Moment,
}

/// What is to be done about one Lease now.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Edges to post, oldest first.
    pub(crate) tell: Vec<Story>,
    /// The edge whose Event's series is to be renewed, since its Lease is stale all along.
    pub(crate) renew: Option<Story>,
    /// When to plan again, if nothing happens before.
    pub(crate) again: Option<Duration>,
}

/// All that a table needs, taken under the lock in one go.
pub(crate) struct Glance<'a> {
    pub(crate) leases: Vec<(&'a ObjectKey, &'a Observation, State)>,
    pub(crate) watch: Watch,
    pub(crate) nodes: Option<&'a HashSet<String>>,
    pub(crate) changes: u64,
    pub(crate) lag: Option<SignedDuration>,
    pub(crate) cut_off: bool,
}

impl Board {
    /// An empty board.
    pub(crate) fn new(clock: SharedClock) -> Board {
        let attention = Attention::begin(clock.moment());
        let (leases, nodes) = (HashMap::new(), HashSet::new());
        let inner = Inner { attention, leases, nodes, nodes_known: false, changes: 0, lag: None };
        Board { clock, inner: Mutex::new(inner) }
    }

    /// The inline source of the Lease informer.
    pub(crate) fn lease(&self, event: &Event<Lease>) {
        let (moment, wall) = (self.clock.moment(), self.clock.wall());
        let lease = event.object();
        let metadata = &lease.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let key = ObjectKey::new(metadata.namespace.as_deref().unwrap_or_default(), name);
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let version = metadata.resource_version.as_deref().unwrap_or_default();
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.notice(moment);
        let watch = inner.attention.watch();
        match (event, inner.leases.get_mut(&key)) {
            (Event::Deleted { .. }, _) => {
                inner.leases.remove(&key);
            }
            (Event::Updated { .. }, Some(entry)) if entry.seen.uid == uid => {
                let record = Record::of(lease);
                let renewed = record.renewed;
                if entry.seen.seen(version, record, watch) {
                    inner.changes += 1;
                    inner.lag = renewed.map(|renewed| wall.duration_since(renewed));
                }
            }
            (event, _) => {
                let created = matches!(event, Event::Added { initial: false, .. });
                let seen = Observation::first(uid, version, Record::of(lease), (watch.now, created));
                inner.leases.insert(key, Entry { seen, told: VecDeque::new() });
            }
        }
    }

    /// The inline source of the Node informer.
    pub(crate) fn node(&self, event: &Event<Node>) {
        let name = event.object().metadata.name.clone().unwrap_or_default();
        let mut inner = self.inner.lock();
        match event {
            Event::Deleted { .. } => inner.nodes.remove(&name),
            Event::Added { .. } | Event::Updated { .. } | Event::Resync { .. } => inner.nodes.insert(name),
        };
    }

    /// The heartbeat of this process, each [`TICK`](crate::attention::TICK): it runs, and `cut_off` says whether its
    /// view of the server is down; `nodes_known` whether all Nodes have been listed.
    pub(crate) fn tick(&self, cut_off: bool, nodes_known: bool) {
        let now = self.clock.moment();
        let mut inner = self.inner.lock();
        inner.notice(now);
        if let Some(before) = inner.attention.cut_off(cut_off) {
            inner.look(before);
        }
        inner.nodes_known = nodes_known;
    }

    /// What to do about a Lease in the term `epoch`.
    pub(crate) fn plan(&self, key: &ObjectKey, epoch: &str) -> Plan {
        let now = self.clock.moment();
        let mut inner = self.inner.lock();
        inner.notice(now);
        let watch = inner.attention.watch();
        let Some(entry) = inner.leases.get_mut(key) else { return Plan::default() };
        entry.seen.look(watch);
        entry.plan(key, epoch, watch)
    }

    /// The edge called `name` is told: its Event exists on the server.
    pub(crate) fn told(&self, key: &ObjectKey, story: &Story, epoch: &str) {
        let at = self.clock.moment();
        let mut inner = self.inner.lock();
        let Some(entry) = inner.leases.get_mut(key).filter(|entry| entry.seen.uid == story.uid) else { return };
        entry.told.retain(|told| told.name != story.name);
        if entry.told.len() > EDGES_KEPT {
            entry.told.pop_front();
        }
        entry.told.push_back(Told { name: story.name.clone(), epoch: epoch.to_owned(), at });
    }

    /// The Event of an edge is gone from the server; if the edge still matters, it is told anew.
    pub(crate) fn untold(&self, key: &ObjectKey, story: &Story) {
        if let Some(entry) = self.inner.lock().leases.get_mut(key) {
            entry.told.retain(|told| told.name != story.name);
        }
    }

    /// Who holds a Lease, as far as has been seen.
    pub(crate) fn holder(&self, key: &ObjectKey) -> Option<String> {
        self.inner.lock().leases.get(key)?.seen.record.holder.clone()
    }

    /// Lets `read` look at everything, under the lock: it must only compute.
    pub(crate) fn glance<T>(&self, read: impl FnOnce(Glance<'_>) -> T) -> T {
        let now = self.clock.moment();
        let mut inner = self.inner.lock();
        inner.notice(now);
        let watch = inner.attention.watch();
        read(Glance {
            leases: inner.leases.iter().map(|(key, entry)| (key, &entry.seen, entry.seen.state(watch))).collect(),
            watch,
            nodes: inner.nodes_known.then_some(&inner.nodes),
            changes: inner.changes,
            lag: inner.lag,
            cut_off: inner.attention.is_cut_off(),
        })
    }
}

impl Inner {
    fn notice(&mut self, now: crate::moment::Moment) {
        if let Some(before) = self.attention.notice(now) {
            self.look(before);
        }
    }

    /// Notes what was true when this process last looked, before it forgets since when it had been looking.
    fn look(&mut self, before: Watch) {
        for entry in self.leases.values_mut() {
            entry.seen.look(before);
        }
    }
}

impl Entry {
    fn plan(&self, key: &ObjectKey, epoch: &str, watch: Watch) -> Plan {
        let seen = &self.seen;
        let mut plan = Plan { again: seen.next_look(watch), ..Plan::default() };
        for edge in seen.edges() {
            let stands = seen.stands(edge);
            let story = Story::of(key, seen, edge, stands);
            match self.told.iter().find(|told| told.name == story.name) {
                None if stands || watch.now.since(edge.at) <= seen.news() => plan.tell.push(story),
                None => {}
                Some(told) if stands && edge.to == State::Stale => {
                    let wait = renewal_period(seen, edge, watch).saturating_sub(watch.now.since(told.at));
                    if wait.is_zero() || told.epoch != epoch {
                        plan.renew = Some(story);
                    }
                    plan.again = earliest(plan.again, wait);
                }
                Some(_) => {}
            }
        }
        // What is told or renewed now is looked at again after its period.
        if plan.renew.is_some() || plan.tell.iter().any(|story| story.stands && story.to == State::Stale) {
            let edge = seen.edges().last();
            plan.again = edge.map(|edge| renewal_period(seen, edge, watch));
        }
        plan
    }
}

/// How often the series of a stale Lease's Event is renewed: once in the Lease's duration, 2 s at least; less often
/// as it gets old (a 32nd of its age), five minutes at most. The writes show, in the server's log, who is leading.
fn renewal_period(seen: &Observation, edge: &Edge, watch: Watch) -> Duration {
    let whole = duration(seen.record.seconds).unwrap_or_default();
    whole.max(watch.now.since(edge.at) / 32).clamp(Duration::from_secs(2), Duration::from_secs(300))
}

fn earliest(a: Option<Duration>, b: Duration) -> Option<Duration> {
    Some(a.map_or(b, |a| a.min(b)))
}

/// Counts of states, worst first, without those that are zero.
pub(crate) fn count(states: impl Iterator<Item = State>) -> BTreeMap<State, usize> {
    states.fold(BTreeMap::new(), |mut counts, state| {
        *counts.entry(state).or_default() += 1;
        counts
    })
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
