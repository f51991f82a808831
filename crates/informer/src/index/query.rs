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
    /// meanwhile may be shown twice, the older state first. Up to 128 are taken at a time: `visit` may find one of them newer than it is
    /// shown later.
    pub fn for_each(&self, visit: impl FnMut(&Arc<K>)) {
        self::visit(&self.store.root(), &self.borrowed(), visit);
    }

    fn borrowed(&self) -> Vec<&dyn Condition<K>> {
        self.conditions.iter().map(|condition| &**condition).collect()
    }
}

/// What all conditions found, and the slots that are under each of them.
fn look_all<K>(root: &Root<K>, conditions: &[&dyn Condition<K>]) -> (Vec<Look>, Option<Posting>) {
    let looks: Vec<Look> = conditions.iter().map(|condition| condition.look(root)).collect();
    let mut postings: Vec<&Posting> = looks.iter().filter_map(|look| look.posting.as_ref()).collect();
    if postings.len() < conditions.len() {
        return (looks, None);
    }
    postings.sort_by_key(|posting| posting.len());
    let found = match &*postings {
        [] => None,
        [only] => Some((*only).clone()),
        [least, others @ ..] => {
            let is_common = |slot: &u32| others.iter().all(|other| other.contains(*slot));
            Some(Posting::of(least.iter().filter(is_common).collect()))
        }
    };
    (looks, found)
}

fn is_quiet<K>(root: &Root<K>, conditions: &[&dyn Condition<K>], looks: &[Look]) -> bool {
    conditions.iter().zip(looks).all(|(condition, look)| condition.is_quiet_since(look, root))
}

pub(crate) fn list<K: Cached>(root: &Root<K>, conditions: &[&dyn Condition<K>]) -> Vec<Arc<K>> {
    let (looks, found) = look_all(root, conditions);
    let Some(found) = found else { return Vec::new() };
    let mut objects = Vec::with_capacity(found.len());
    root.objects.list_slots(found.slices(), &mut objects);
    if !is_quiet(root, conditions, &looks) {
        objects.retain(|object| conditions.iter().all(|condition| condition.holds(object, root)));
        root.objects.keep_newest(&mut objects);
    }
    objects
}

pub(crate) fn visit<K: Cached>(root: &Root<K>, conditions: &[&dyn Condition<K>], mut visit: impl FnMut(&Arc<K>)) {
    let (looks, found) = look_all(root, conditions);
    for taken in root.objects.take(found.iter().flat_map(Posting::slices)) {
        let is_quiet = is_quiet(root, conditions, &looks);
        let holds = |object: &Arc<K>| is_quiet || conditions.iter().all(|condition| condition.holds(object, root));
        taken.objects().map(|(_, object)| object).filter(|object| holds(object)).for_each(&mut visit);
    }
}
