//! Maintained: one index as the writer sees it, whatever its values are.
//!
//! In: what a slot held and will hold. Out: postings that fit. The user's function runs here, under no lock; where it
//! panics, the object is found under no value of this index, and the panic is counted.
//!
//! What a change moves is worked out first ([`Maintained::moves`]), then done around the swap of the object ([`Move`]). As long as
//! that lasts, all values concerned say that something moves. Readers who find nothing moving need not ask the objects again.

use std::any::Any;
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

use super::query::Look;
use crate::key::ObjectKey;
use crate::mutant::{Mutant, is_planted};
use crate::object::Cached;
use crate::store::AHEAD;
use crate::store::fingerprint::seeded;
use crate::store::posting::Posting;
use crate::store::sync::{AtomicU64, Mutex, Ordering, RwLock};

/// Values of one object; most have one, or a few.
pub(crate) type Some4<V> = SmallVec<[V; 4]>;

/// From an object to the values it is found under.
type ValuesOf<K, V> = Arc<dyn Fn(&K) -> Some4<V> + Send + Sync>;

/// What an index is called, and what it is of.
pub(crate) struct Definition<K, V> {
    name: Arc<str>,
    values: ValuesOf<K, V>,
    /// The values of a key never change.
    is_of_key: bool,
    /// It has the values of this label, and no others.
    label: Option<Arc<str>>,
    /// How often its function has panicked, and at which object last.
    panics: Arc<Mutex<(u64, Option<ObjectKey>)>>,
}

impl<K, V> Clone for Definition<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            values: Arc::clone(&self.values),
            is_of_key: self.is_of_key,
            label: self.label.clone(),
            panics: Arc::clone(&self.panics),
        }
    }
}

impl<K: Cached, V> Definition<K, V> {
    pub(crate) fn new<I: IntoIterator<Item = V>>(name: &str, values: impl Fn(&K) -> I + Send + Sync + 'static) -> Self {
        let values = Arc::new(move |object: &K| values(object).into_iter().collect());
        Self { name: name.into(), values, is_of_key: false, label: None, panics: Arc::default() }
    }

    pub(crate) fn of_key(self) -> Self {
        Self { is_of_key: true, ..self }
    }

    pub(crate) fn of_label(self, key: &str) -> Self {
        Self { label: Some(key.into()), ..self }
    }

    /// The values of one object; none if the function panics.
    pub(crate) fn values(&self, object: &K) -> Some4<V> {
        // Nothing of ours is changed by it, and what the function itself breaks is its author's to know.
        catch_unwind(AssertUnwindSafe(|| (self.values)(object))).unwrap_or_else(|_| {
            let key = ObjectKey::of(object);
            let panics = {
                let mut panics = self.panics.lock();
                *panics = (panics.0 + 1, Some(key.clone()));
                panics.0
            };
            tracing::error!(index = &*self.name, %key, panics, "an index function panicked; the object isn't in this index");
            Some4::new()
        })
    }
}

/// Whether something moves into a value or out of it: as many moves have begun as ended, and then none begins.
#[derive(Default)]
pub(crate) struct Moves {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// What was seen of [`Moves`] before a look-up.
#[derive(Clone, Copy)]
pub(crate) struct Mark(Option<u64>);

impl Mark {
    pub(crate) const UNQUIET: Self = Self(None);
}

impl Moves {
    pub(crate) fn mark(&self) -> Mark {
        let begun = self.begun.load(Ordering::Acquire);
        Mark((self.ended.load(Ordering::Acquire) == begun).then_some(begun))
    }

    /// Nothing has moved since; what was loaded from slots meanwhile has the value.
    pub(crate) fn is_quiet_since(&self, mark: Mark) -> bool {
        mark.0 == Some(self.begun.load(Ordering::Acquire))
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    fn end(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// From values to postings. A change takes the hash of its value, so that several steps with one value hash it once.
pub(crate) trait Postings: Send + Sync + Sized + 'static {
    type Value: Eq + Hash + Clone + Send + Sync + 'static;
    fn empty() -> Self;
    fn hash(&self, value: &Self::Value) -> u64;
    fn change(&self, hash: u64, value: &Self::Value, change: impl FnOnce(&mut Option<Posting>));

    fn enter(&self, hash: u64, value: &Self::Value, slot: u32) {
        self.change(hash, value, |posting| match posting {
            Some(posting) => posting.insert(slot),
            None => *posting = Some(Posting::One(slot)),
        });
    }

    fn leave(&self, hash: u64, value: &Self::Value, slot: u32) {
        self.change(hash, value, |posting| {
            posting.take_if(|posting| !posting.remove(slot));
        });
    }

    fn moves(&self, hash: u64) -> &Moves;
    /// How many values there are.
    fn len(&self) -> usize;
}

/// By hash: sharded by value, so that one look-up visits one shard.
pub(crate) struct Hashed<V> {
    hasher: RandomState,
    shards: Box<[Shard<V>]>,
}

struct Shard<V> {
    moves: Moves,
    postings: RwLock<HashTable<(V, Posting)>>,
}

/// Small: most changes change no posting at all.
const SHARDS: usize = 16;

impl<V: Eq + Hash> Hashed<V> {
    /// What is found under a value, and the mark that was set before.
    pub(crate) fn look<Q: Hash + Eq + ?Sized>(&self, value: &Q) -> Look
    where
        V: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(value);
        let shard = self.shard(hash);
        let mark = shard.moves.mark();
        let postings = shard.postings.read();
        let found = postings.find(hash, |(other, _)| other.borrow() == value);
        Look { mark, posting: found.map(|(_, posting)| posting.clone()) }
    }

    /// Whether something moves into this value or out of it.
    pub(crate) fn moves_of<Q: Hash + ?Sized>(&self, value: &Q) -> &Moves {
        &self.shard(self.hasher.hash_one(value)).moves
    }

    pub(crate) fn values(&self) -> Vec<V>
    where
        V: Clone,
    {
        let values =
            |shard: &Shard<V>| shard.postings.read().iter().map(|(value, _)| value.clone()).collect::<Vec<_>>();
        self.shards.iter().flat_map(values).collect()
    }

    fn shard(&self, hash: u64) -> &Shard<V> {
        // Tables use the low bits of a hash and, as tags, the highest.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl<V: Eq + Hash + Clone + Send + Sync + 'static> Postings for Hashed<V> {
    type Value = V;

    fn empty() -> Self {
        let shard = || Shard { moves: Moves::default(), postings: RwLock::new(HashTable::new()) };
        Self { hasher: seeded(), shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    fn hash(&self, value: &V) -> u64 {
        self.hasher.hash_one(value)
    }

    fn change(&self, hash: u64, value: &V, change: impl FnOnce(&mut Option<Posting>)) {
        let mut postings = self.shard(hash).postings.write();
        match postings.entry(hash, |(other, _)| other == value, |(other, _)| self.hasher.hash_one(other)) {
            Entry::Occupied(mut there) => {
                // A value without objects is forgotten, else values that come and go would pile up.
                let mut posting = Some(std::mem::replace(&mut there.get_mut().1, Posting::One(0)));
                change(&mut posting);
                match posting {
                    Some(posting) => there.get_mut().1 = posting,
                    None => drop(there.remove()),
                }
            }
            Entry::Vacant(vacant) => {
                let mut posting = None;
                change(&mut posting);
                if let Some(posting) = posting {
                    vacant.insert((value.clone(), posting));
                }
            }
        }
    }

    fn moves(&self, hash: u64) -> &Moves {
        &self.shard(hash).moves
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.postings.read().len()).sum()
    }
}

/// By order.
pub(crate) struct Sorted<V> {
    pub(crate) moves: Moves,
    pub(crate) postings: RwLock<BTreeMap<V, Posting>>,
}

impl<V: Ord + Hash + Clone + Send + Sync + 'static> Postings for Sorted<V> {
    type Value = V;

    fn empty() -> Self {
        Self { moves: Moves::default(), postings: RwLock::default() }
    }

    fn hash(&self, _value: &V) -> u64 {
        0
    }

    fn change(&self, _hash: u64, value: &V, change: impl FnOnce(&mut Option<Posting>)) {
        let mut postings = self.postings.write();
        let mut posting = postings.remove(value);
        change(&mut posting);
        postings.extend(posting.map(|posting| (value.clone(), posting)));
    }

    fn moves(&self, _hash: u64) -> &Moves {
        &self.moves
    }

    fn len(&self) -> usize {
        self.postings.read().len()
    }
}

/// A definition and its postings in one root of the store.
pub(crate) struct Built<K, P: Postings> {
    pub(crate) definition: Definition<K, P::Value>,
    pub(crate) postings: P,
}

impl<K: Cached, P: Postings> Built<K, P> {
    pub(crate) fn new(definition: Definition<K, P::Value>) -> Self {
        Self { definition, postings: P::empty() }
    }
}

/// A change of one object that an index has yet to follow: first its slot enters the postings of the new values, then the object is
/// swapped, then the slot leaves the old ones.
pub(crate) trait Move {
    fn enter(&self, slot: u32);
    fn leave(&self, slot: u32);
}

struct Moving<'a, P: Postings> {
    postings: &'a P,
    /// With their hashes.
    entering: Differing<(u64, P::Value)>,
    leaving: Differing<(u64, P::Value)>,
}

impl<P: Postings> Moving<'_, P> {
    /// That something moves, of each value it moves into or out of.
    fn all(&self) -> impl Iterator<Item = &Moves> {
        let all = self.entering.iter().chain(&self.leaving).filter(|_| !is_planted(Mutant::SilentMove));
        all.map(|(hash, _)| self.postings.moves(*hash))
    }

    fn enter_all(&self, slot: u32) {
        self.entering.iter().for_each(|(hash, value)| self.postings.enter(*hash, value, slot));
    }
}

impl<P: Postings> Move for Moving<'_, P> {
    fn enter(&self, slot: u32) {
        self.all().for_each(Moves::begin);
        if !is_planted(Mutant::LateEntry) {
            self.enter_all(slot);
        }
    }

    fn leave(&self, slot: u32) {
        if is_planted(Mutant::LateEntry) {
            self.enter_all(slot);
        }
        self.leaving.iter().for_each(|(hash, value)| self.postings.leave(*hash, value, slot));
        self.all().for_each(Moves::end);
    }
}

/// One index as the store sees it.
pub(crate) trait Maintained<K>: Send + Sync {
    fn name(&self) -> Arc<str>;
    /// The label whose values it has, if that is what it is.
    fn label(&self) -> Option<&str>;
    /// What a change of one object moves here; `None`: nothing. Changes nothing yet.
    fn moves(&self, old: Option<&K>, new: Option<&K>) -> Option<Box<dyn Move + '_>>;
    /// Enters objects by their slots, while no reader has this index yet.
    fn fill(&self, objects: &[(u32, &K)]);
    /// The same index without objects, for a root built aside.
    fn emptied(&self) -> Arc<dyn Maintained<K>>;
    fn as_any(&self) -> &dyn Any;
    /// Its state, for people.
    fn summary(&self) -> IndexSummary;
}

/// What can be seen of one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSummary {
    /// As it was called when it was added.
    pub name: Arc<str>,
    /// How many values lead to objects.
    pub values: usize,
    /// How often its function has panicked.
    pub panics: u64,
    /// At which object it did last.
    pub last_panic: Option<ObjectKey>,
}

impl fmt::Display for IndexSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} values", self.name, self.values)?;
        match &self.last_panic {
            Some(key) => write!(f, ", its function panicked {} times, the last at {key}", self.panics),
            None => Ok(()),
        }
    }
}

impl<K: Cached, P: Postings> Maintained<K> for Built<K, P> {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.definition.name)
    }

    fn label(&self) -> Option<&str> {
        self.definition.label.as_deref()
    }

    fn moves(&self, old: Option<&K>, new: Option<&K>) -> Option<Box<dyn Move + '_>> {
        if self.definition.is_of_key && old.is_some() && new.is_some() {
            return None;
        }
        let values = |object: Option<&K>| object.map(|object| self.definition.values(object)).unwrap_or_default();
        let (before, after) = (values(old), values(new));
        if before == after {
            return None;
        }
        let (leaving, entering) = differences(before, after);
        let [leaving, entering] = [leaving, entering]
            .map(|values| values.into_iter().map(|value| (self.postings.hash(&value), value)).collect());
        Some(Box::new(Moving { postings: &self.postings, entering, leaving }))
    }

    fn fill(&self, objects: &[(u32, &K)]) {
        let values = objects.iter().map(|(slot, object)| (*slot, self.definition.values(object)));
        // All of them first: none waits for the memory of the others.
        for (slot, values) in values.collect::<SmallVec<[_; AHEAD]>>() {
            values.iter().for_each(|value| self.postings.enter(self.postings.hash(value), value, slot));
        }
    }

    fn emptied(&self) -> Arc<dyn Maintained<K>> {
        Arc::new(Self::new(self.definition.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn summary(&self) -> IndexSummary {
        let (panics, last_panic) = self.definition.panics.lock().clone();
        IndexSummary { name: self.name(), values: self.postings.len(), panics, last_panic }
    }
}

/// Values before a change that aren't there after it, or the other way round: mostly one of each.
type Differing<V> = SmallVec<[V; 1]>;

/// The values that only the first has, and those that only the second has, also where both are long.
fn differences<V: Eq + Hash>(before: Some4<V>, after: Some4<V>) -> (Differing<V>, Differing<V>) {
    const SHORT: usize = 16;
    if before.len().max(after.len()) <= SHORT {
        let (common, leaving): (Some4<V>, Some4<V>) = before.into_iter().partition(|value| after.contains(value));
        return (leaving.into_iter().collect(), after.into_iter().filter(|value| !common.contains(value)).collect());
    }
    let mut leaving: HashSet<V, RandomState> = before.into_iter().collect();
    let after: HashSet<V, RandomState> = after.into_iter().collect();
    let entering = after.into_iter().filter(|value| !leaving.remove(value)).collect();
    (leaving.into_iter().collect(), entering)
}
