//! Query: objects for which several conditions on indexes hold at once.
//!
//! In: conditions, each of one index. Out: the present objects for which all of them hold. The condition that fewest objects
//! fulfil is gone through, the others only checked, by number and without touching the objects. It never scans.

use std::sync::Arc;

use super::maintained::Mark;
use crate::object::Cached;
use crate::store::ThreadSafeStore;
use crate::store::posting::Posting;
use crate::store::root::Root;

/// How many objects are read between two looks at whether something moves.
const AT_ONCE: usize = 64;

/// What a condition found in its index.
pub(crate) struct Look {
    pub(crate) mark: Mark,
    /// Taken after the mark. `None`: no object.
    pub(crate) posting: Option<Posting>,
}

impl Look {
    pub(crate) const NOTHING: Self = Self { mark: Mark::UNQUIET, posting: None };
}

/// One condition on one index.
pub(crate) trait Condition<K>: Send + Sync {
    fn look(&self, root: &Root<K>) -> Look;
    /// No object has moved since: all that were found fulfil the condition.
    fn is_quiet_since(&self, look: &Look, root: &Root<K>) -> bool;
    /// Whether the object fulfils it, by the user's function.
    fn holds(&self, object: &K, root: &Root<K>) -> bool;
}

/// Conditions that all have to hold; made by [`Index::query`](super::Index::query) and
/// [`RangeIndex::query`](super::RangeIndex::query). It keeps nothing of what it finds and can be used again.
pub struct Query<K> {
    store: ThreadSafeStore<K>,
    conditions: Vec<Arc<dyn Condition<K>>>,
}

impl<K> Clone for Query<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), conditions: self.conditions.clone() }
    }
}

impl<K: Cached> Query<K> {
    pub(crate) fn new(store: ThreadSafeStore<K>, condition: impl Condition<K> + 'static) -> Self {
        Self { store, conditions: vec![Arc::new(condition)] }
    }

    /// Both have to hold. The other is about an index of the same store: conditions on another store's index find nothing.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if !self.store.is_same(&other.store) {
            self.conditions.clear();
        } else if !self.conditions.is_empty() {
            self.conditions.extend(other.conditions);
        }
        self
    }

    /// The present objects for which all conditions hold, in no order. A range condition copies the numbers of all objects in its range.
    pub fn list(&self) -> Vec<Arc<K>> {
        list(&self.store.root(), &self.borrowed())
    }

    /// Calls `visit` with each of them, under no lock and without making a list. An object that goes and comes back
    /// meanwhile may be shown twice, the older state first.
    pub fn for_each(&self, visit: impl FnMut(&Arc<K>)) {
        self::visit(&self.store.root(), &self.borrowed(), visit);
    }

    fn borrowed(&self) -> Vec<&dyn Condition<K>> {
        self.conditions.iter().map(|condition| &**condition).collect()
    }
}

/// What all conditions found, the least of it first.
fn look_all<K>(root: &Root<K>, conditions: &[&dyn Condition<K>]) -> (Vec<Look>, Option<(Posting, Vec<Posting>)>) {
    let looks: Vec<Look> = conditions.iter().map(|condition| condition.look(root)).collect();
    let mut postings: Vec<Posting> = looks.iter().filter_map(|look| look.posting.clone()).collect();
    let is_complete = postings.len() == conditions.len();
    let least = (0..postings.len()).min_by_key(|at| postings[*at].len()).filter(|_| is_complete);
    let found = least.map(|least| (postings.swap_remove(least), postings));
    (looks, found)
}

fn is_quiet<K>(root: &Root<K>, conditions: &[&dyn Condition<K>], looks: &[Look]) -> bool {
    conditions.iter().zip(looks).all(|(condition, look)| condition.is_quiet_since(look, root))
}

pub(crate) fn list<K: Cached>(root: &Root<K>, conditions: &[&dyn Condition<K>]) -> Vec<Arc<K>> {
    let (looks, found) = look_all(root, conditions);
    let Some((least, others)) = found else { return Vec::new() };
    let mut objects = Vec::with_capacity(least.len());
    let slots = least.iter().filter(|slot| others.iter().all(|other| other.contains(*slot)));
    root.objects.visit_slots(slots, |_, object| objects.push(object));
    if !is_quiet(root, conditions, &looks) {
        objects.retain(|object| conditions.iter().all(|condition| condition.holds(object, root)));
        root.objects.keep_newest(&mut objects);
    }
    objects
}

pub(crate) fn visit<K: Cached>(root: &Root<K>, conditions: &[&dyn Condition<K>], mut visit: impl FnMut(&Arc<K>)) {
    let (looks, found) = look_all(root, conditions);
    let Some((least, others)) = found else { return };
    let mut slots = least.iter().filter(|slot| others.iter().all(|other| other.contains(*slot))).peekable();
    let mut objects = Vec::with_capacity(AT_ONCE.min(least.len()));
    while slots.peek().is_some() {
        root.objects.visit_slots(slots.by_ref().take(AT_ONCE), |_, object| objects.push(object));
        if !is_quiet(root, conditions, &looks) {
            objects.retain(|object| conditions.iter().all(|condition| condition.holds(object, root)));
        }
        objects.drain(..).for_each(|object| visit(&object));
    }
}
