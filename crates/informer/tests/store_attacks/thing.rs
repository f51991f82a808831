//! Thing: an object that can be told from every other that was made, and is counted while it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use watchkeeper_informer::{Cached, ObjectKey, ThreadSafeStore};

/// What there is to say of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub version: String,
    pub groups: Vec<u16>,
    /// No other object has it.
    pub serial: u64,
}

pub(crate) struct Thing {
    pub state: State,
    shared: Arc<Shared>,
}

/// Makes them.
#[derive(Default)]
pub(crate) struct Maker {
    made: AtomicU64,
    shared: Arc<Shared>,
}

/// What all of them have.
#[derive(Default)]
struct Shared {
    alive: AtomicUsize,
    /// What each reads as it is freed.
    read_at_last: Mutex<Option<ThreadSafeStore<Thing>>>,
}

impl Maker {
    /// Of this state, but for its number.
    pub(crate) fn make(&self, state: State) -> Arc<Thing> {
        let serial = self.made.fetch_add(1, Ordering::Relaxed);
        self.shared.alive.fetch_add(1, Ordering::Relaxed);
        Arc::new(Thing { state: State { serial, ..state }, shared: Arc::clone(&self.shared) })
    }

    /// From now on, whatever is freed reads this store then; until that is `None`, which it has to be in the end.
    pub(crate) fn read_at_last(&self, store: Option<ThreadSafeStore<Thing>>) {
        *self.shared.read_at_last.lock() = store;
    }

    /// How many live.
    pub(crate) fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::Relaxed)
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        let store = self.shared.read_at_last.lock().clone();
        if let Some(store) = store {
            let snapshot = store.snapshot();
            assert_eq!(snapshot.list().len(), snapshot.len());
            drop((snapshot.get(&self.state.key()), store.get(&self.state.key())));
            drop(store.namespace(&self.state.namespace));
        }
        self.shared.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    pub(crate) fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }

    /// How large it was as it arrived.
    pub(crate) fn bytes(&self) -> u32 {
        self.serial as u32 % 1_000
    }

    /// The version, where it is a number.
    pub(crate) fn number(&self) -> Option<u64> {
        self.version.parse().ok()
    }
}

impl Cached for Thing {
    fn namespace(&self) -> &str {
        &self.state.namespace
    }
    fn name(&self) -> &str {
        &self.state.name
    }
    fn uid(&self) -> &str {
        &self.state.uid
    }
    fn version(&self) -> &str {
        &self.state.version
    }
}

/// For these an index function panics.
pub(crate) const BAD: u16 = 7;

/// Values of an index: none, one, some twice, many, or what makes the function panic.
pub(crate) fn groups(kind: u8) -> Vec<u16> {
    match kind % 8 {
        0 => vec![],
        1 => vec![1],
        2 => vec![1, 1, 2],
        3 => (0..BAD).chain(8..40).chain(0..5).collect(),
        4 => vec![1, BAD],
        5 => vec![2, 3],
        6 => (20..40).rev().collect(),
        _ => vec![3],
    }
}

/// An index function that panics for some.
pub(crate) fn groups_of(thing: &Thing) -> Vec<u16> {
    if thing.state.groups.contains(&BAD) {
        // Without a word on the screen.
        std::panic::resume_unwind(Box::new("planted"));
    }
    thing.state.groups.clone()
}

/// What it says of a state.
pub(crate) fn found_under(state: &State) -> &[u16] {
    if state.groups.contains(&BAD) { &[] } else { &state.groups }
}

/// By number, in order.
pub(crate) fn serials<'a>(things: impl IntoIterator<Item = &'a Arc<Thing>>) -> Vec<u64> {
    let mut serials: Vec<u64> = things.into_iter().map(|thing| thing.state.serial).collect();
    serials.sort_unstable();
    serials
}
