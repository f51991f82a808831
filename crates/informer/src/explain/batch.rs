//! Batch: what became of each change that the store was asked for.
//!
//! In: a batch, before it is applied, and the events that it amounted to. Out: notes, in the order of the changes. It compares
//! identities and versions, so the store needn't say what it left out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ahash::RandomState;

use super::{Explainer, News, What};
use crate::delta_fifo::{Change, Relisted, Work, is_older};
use crate::event::Event;
use crate::key::parts_of;
use crate::object::Cached;
use crate::store::ThreadSafeStore;
use crate::version::ResourceVersion;

/// What the store is about to be asked for.
pub(crate) enum Asked<K> {
    Changes(Vec<AskedChange<K>>),
    /// The new objects of a list, and how many it has in all.
    List(Vec<Arc<K>>, usize),
}

impl<K: Cached> Asked<K> {
    /// Remembers a batch, and what is stored before it.
    pub(crate) fn of(work: &Work<K>, store: &ThreadSafeStore<K>) -> Self {
        match work {
            Work::Changes(changes) => Self::Changes(changes.iter().map(|change| asked_change(change, store)).collect()),
            Work::Replace(list) => {
                let new = list.items.iter().filter_map(|item| match item {
                    Relisted::New(object, _) => Some(Arc::clone(object)),
                    Relisted::Unchanged(_) => None,
                });
                Self::List(new.collect(), list.items.len())
            }
        }
    }
}

pub(crate) struct AskedChange<K> {
    object: Arc<K>,
    is_deletion: bool,
    /// What was stored before the batch.
    had: Option<Arc<K>>,
}

impl Explainer {
    /// Notes what became of it.
    pub(crate) fn answered<K: Cached>(&self, asked: Asked<K>, events: &[Event<K>], version: &ResourceVersion) {
        match asked {
            Asked::Changes(changes) => self.changes_answered(&changes, events),
            Asked::List(new, items) => {
                self.note_all(version, || What::Replaced(items));
                events.iter().for_each(|event| self.applied(event));
                let applied: HashSet<_, RandomState> =
                    events.iter().map(|event| Arc::as_ptr(event.object()).addr()).collect();
                let same = new.iter().filter(|object| !applied.contains(&Arc::as_ptr(object).addr()));
                same.for_each(|object| self.note_object(&**object, || What::SameAsStored));
            }
        }
    }

    /// Notes the end of one whose part has left.
    pub(crate) fn unwatched<K: Cached>(&self, event: &Event<K>) {
        self.note_object(&**event.object(), || What::Unwatched);
        self.applied(event);
    }

    fn applied<K: Cached>(&self, event: &Event<K>) {
        self.note_object(&**event.object(), || What::Applied(News::of(event)));
    }

    /// Events come in the order of the changes: none for one that was left out; two where a life took another's place.
    fn changes_answered<K: Cached>(&self, changes: &[AskedChange<K>], events: &[Event<K>]) {
        let mut rest = events;
        // What earlier changes of this batch have left under a key.
        let mut left: HashMap<(&str, &str), Option<&Arc<K>>, RandomState> = HashMap::default();
        for change in changes {
            let key = parts_of(&*change.object);
            let held = left.get(&key).copied().unwrap_or(change.had.as_ref());
            let (own, others) = rest.split_at(answers(change, rest, held));
            rest = others;
            own.iter().for_each(|event| self.applied(event));
            if own.is_empty() {
                self.note_object(&*change.object, || left_out(change, held));
            } else {
                left.insert(key, (!change.is_deletion).then_some(&change.object));
            }
        }
    }
}

fn asked_change<K: Cached>(change: &Change<K>, store: &ThreadSafeStore<K>) -> AskedChange<K> {
    let (object, is_deletion) = match change {
        Change::Applied(object, _) => (object, false),
        Change::Deleted { last, .. } => (last, true),
    };
    let had = store.get_named(object.namespace(), object.name());
    AskedChange { object: Arc::clone(object), is_deletion, had }
}

/// How many of the first events are this change's.
fn answers<K: Cached>(change: &AskedChange<K>, events: &[Event<K>], held: Option<&Arc<K>>) -> usize {
    let is_own = |event: &Event<K>| Arc::ptr_eq(event.object(), &change.object);
    let is_end = |event: &Event<K>| matches!(event, Event::Deleted { .. });
    // The end of another life under this name, which is told with the state that was stored.
    let ends = |last: &Arc<K>, held: &Arc<K>| Arc::ptr_eq(last, held) && !is_older(&*change.object, &**held);
    match events {
        [event, ..] if is_own(event) => 1,
        [end, event, ..] if !change.is_deletion && is_end(end) && is_own(event) => 2,
        [end, ..] if change.is_deletion && is_end(end) => {
            usize::from(held.is_some_and(|held| ends(end.object(), held)))
        }
        _ => 0,
    }
}

fn left_out<K: Cached>(change: &AskedChange<K>, held: Option<&Arc<K>>) -> What {
    match held {
        None => What::NotStored,
        Some(held) if is_older(&*change.object, &**held) => What::OlderThanStored,
        Some(_) => What::SameAsStored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta_fifo::Replacement;
    use crate::event::Finality;
    use crate::explain::ExplainConfig;
    use crate::key::ObjectKey;
    use crate::store::StoreWriter;

    /// Uid and version of an object that is always called n/a.
    struct State(&'static str, &'static str);

    impl Cached for State {
        fn namespace(&self) -> &'static str {
            "n"
        }
        fn name(&self) -> &'static str {
            "a"
        }
        fn uid(&self) -> &'static str {
            self.0
        }
        fn version(&self) -> &'static str {
            self.1
        }
    }

    fn applied(uid: &'static str, version: &'static str) -> Change<State> {
        Change::applied(Arc::new(State(uid, version)))
    }

    fn deleted(uid: &'static str, version: &'static str) -> Change<State> {
        Change::Deleted { last: Arc::new(State(uid, version)), finality: Finality::Observed }
    }

    /// What became of these, where u at 5 was stored; with the versions.
    fn became(work: Work<State>) -> Vec<(String, What)> {
        let (explain, mut writer) = (Explainer::new(Some(&ExplainConfig::default())), StoreWriter::default());
        writer.apply(Work::Changes(vec![applied("u", "5")]), "5".into());
        let asked = Asked::of(&work, &writer.store());
        let events = writer.apply(work, "9".into()).events;
        explain.answered(asked, &events, &"9".into());
        let steps = explain.of(&ObjectKey::new("n", "a")).into_iter();
        steps.map(|step| (step.version.unwrap().to_string(), step.what)).collect()
    }

    /// Goal: each change is said to have become what it did, also where several of one key come in one batch. Method: a table.
    #[test]
    fn changes_become() {
        let (observed, inferred) = (News::Deleted(Finality::Observed), News::Deleted(Finality::Inferred));
        let (added, updated) = (What::Applied(News::Added), What::Applied(News::Updated));
        let table = [
            (vec![applied("u", "6")], vec![("6", updated.clone())]),
            (vec![applied("u", "5"), applied("u", "6")], vec![("5", What::SameAsStored), ("6", updated.clone())]),
            (vec![applied("u", "6"), applied("u", "6")], vec![("6", updated), ("6", What::SameAsStored)]),
            (vec![applied("u", "4")], vec![("4", What::OlderThanStored)]),
            (vec![applied("v", "7")], vec![("5", What::Applied(inferred)), ("7", added.clone())]),
            (vec![deleted("u", "6")], vec![("6", What::Applied(observed))]),
            (vec![deleted("v", "6")], vec![("5", What::Applied(inferred))]),
            (
                vec![deleted("u", "3"), deleted("u", "6")],
                vec![("3", What::OlderThanStored), ("6", What::Applied(observed))],
            ),
            (vec![deleted("u", "6"), deleted("u", "7")], vec![("6", What::Applied(observed)), ("7", What::NotStored)]),
            (vec![deleted("u", "6"), applied("v", "7")], vec![("6", What::Applied(observed)), ("7", added)]),
        ];
        for (number, (changes, expected)) in table.into_iter().enumerate() {
            let expected: Vec<_> = expected.into_iter().map(|(version, what)| (version.to_owned(), what)).collect();
            assert_eq!(became(Work::Changes(changes)), expected, "row {number}");
        }
    }

    /// Goal: an item of a list that says nothing new is said to say nothing new.
    #[test]
    fn lists_become() {
        let list =
            |state| Work::Replace(Replacement { items: vec![Relisted::new(Arc::new(state))], version: "9".into() });
        let replaced = ("9".to_owned(), What::Replaced(1));
        let same = [replaced.clone(), ("5".to_owned(), What::SameAsStored)];
        assert_eq!(became(list(State("u", "5"))), same);
        assert_eq!(became(list(State("u", "8"))), [replaced, ("8".to_owned(), What::Applied(News::Updated))]);
    }
}
