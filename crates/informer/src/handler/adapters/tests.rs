use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::thing::Thing;

/// One that is wanted has it as its version.
fn thing(name: u8, life: u32, wanted: bool) -> Arc<Thing> {
    Arc::new(Thing { name: format!("n{name}"), uid: format!("u{name}-{life}"), version: wanted.to_string() })
}

fn is_wanted(thing: &Thing) -> bool {
    thing.version == "true"
}

fn text(event: &Event<Thing>) -> String {
    match event {
        Event::Added { object, initial } => format!("added {} {initial}", object.version),
        Event::Updated { old, new } => format!("updated {}..{}", old.version, new.version),
        Event::Deleted { last, finality } => format!("deleted {} {finality:?}", last.version),
        Event::Resync { object } => format!("resync {}", object.version),
    }
}

/// What a filter lets through of these events.
fn through(events: impl IntoIterator<Item = Event<Thing>>) -> Vec<String> {
    let mut heard = Vec::new();
    let mut handler = filtered(is_wanted, |event| heard.push(text(&event)));
    events.into_iter().for_each(&mut handler);
    drop(handler);
    heard
}

fn added(object: &Arc<Thing>) -> Event<Thing> {
    Event::Added { object: Arc::clone(object), initial: true }
}

fn updated(old: &Arc<Thing>, new: &Arc<Thing>) -> Event<Thing> {
    Event::Updated { old: Arc::clone(old), new: Arc::clone(new) }
}

fn deleted(last: &Arc<Thing>) -> Event<Thing> {
    Event::Deleted { last: Arc::clone(last), finality: Finality::Inferred }
}

fn resync(object: &Arc<Thing>) -> Event<Thing> {
    Event::Resync { object: Arc::clone(object) }
}

/// Goal: upstream's four transitions, and what becomes of ends and resyncs.
#[test]
fn transitions() {
    let (yes, also, no, never) = (thing(1, 1, true), thing(1, 1, true), thing(1, 1, false), thing(1, 1, false));
    assert_eq!(through([added(&yes), updated(&yes, &also)]), ["added true true", "updated true..true"]);
    assert_eq!(through([added(&no), updated(&no, &yes)]), ["added true false"]);
    assert_eq!(through([added(&yes), updated(&yes, &no)]), ["added true true", "deleted true Observed"]);
    assert!(through([added(&no), updated(&no, &never), resync(&never), deleted(&never)]).is_empty());
    assert_eq!(
        through([added(&yes), resync(&yes), deleted(&also)]),
        ["added true true", "resync true", "deleted true Inferred"]
    );
}

/// Goal: the last state of an object, which a handler that lagged was never told of, decides nothing.
#[test]
fn a_last_state_never_told_of() {
    let (yes, no) = (thing(1, 1, true), thing(1, 1, false));
    assert_eq!(through([added(&yes), deleted(&no)]), ["added true true", "deleted false Inferred"]);
    assert!(through([added(&no), deleted(&yes)]).is_empty());
}

/// Goal: a predicate that has changed its mind is followed at the next resync.
#[test]
fn a_changed_mind() {
    let open = std::cell::Cell::new(false);
    let mut heard = Vec::new();
    let object = thing(1, 1, true);
    let mut handler = filtered(|_: &Thing| open.get(), |event| heard.push(text(&event)));
    handler(added(&object));
    open.set(true);
    handler(resync(&object));
    handler(resync(&object));
    open.set(false);
    handler(resync(&object));
    handler(resync(&object));
    drop(handler);
    assert_eq!(heard, ["added true false", "resync true", "deleted true Observed"]);
}

/// Goal: adapters go into each other: a filter behind a map to several events, and a map behind a filter.
#[test]
fn they_compose() {
    let (mut names, mut twice) = (Vec::new(), 0);
    let inner = mapped(|event: Event<Thing>| [event.object().name.clone()], |name| names.push(name));
    let mut handler = filtered(is_wanted, inner);
    [added(&thing(1, 1, true)), added(&thing(2, 1, false))].into_iter().for_each(&mut handler);
    drop(handler);
    assert_eq!(names, ["n1"]);
    let inner = filtered(is_wanted, |_| twice += 1);
    let mut handler = mapped(|event: Event<Thing>| [event.clone(), resync(event.object())], inner);
    handler(added(&thing(1, 1, true)));
    drop(handler);
    assert_eq!(twice, 2);
}

proptest! {
    /// Goal: what a filter lets through is a whole story of its own, of just the wanted objects. Method: a handler's
    /// story at random, as a mailbox tells it (ends show states never told); the naive model is the set of what was told,
    /// filtered anew after each event. The inner handler has to believe that, and each of its steps has to fit the one
    /// before. A filter within a filter is the filter of both.
    #[test]
    fn a_filtered_story_is_a_story(steps in proptest::collection::vec((0u8..3, 0u8..4, any::<bool>()), 0..60)) {
        let (mut told, mut lives) = (BTreeMap::<u8, Arc<Thing>>::new(), 0);
        let inner = std::cell::RefCell::new(BTreeMap::<String, Arc<Thing>>::new());
        let hear = |event: Event<Thing>| {
            let name = event.object().name.clone();
            let mut inner = inner.borrow_mut();
            match event {
                Event::Added { object, .. } => assert!(inner.insert(name, object).is_none()),
                Event::Updated { old, new } => {
                    assert!(Arc::ptr_eq(&inner.insert(name, new).expect("known"), &old));
                }
                Event::Deleted { last, .. } => assert_eq!(inner.remove(&name).expect("known").uid, last.uid),
                Event::Resync { object } => assert!(Arc::ptr_eq(&inner[&name], &object)),
            }
        };
        let mut handler = filtered(is_wanted, filtered(|thing: &Thing| thing.name != "n0", hear));
        for (name, step, wanted) in steps {
            let event = match (step, told.get(&name).cloned()) {
                (0 | 1, None) => {
                    lives += 1;
                    let object = thing(name, lives, wanted);
                    told.insert(name, Arc::clone(&object));
                    added(&object)
                }
                (0 | 1, Some(old)) => {
                    let new = Arc::new(Thing { name: old.name.clone(), uid: old.uid.clone(), version: wanted.to_string() });
                    told.insert(name, Arc::clone(&new));
                    updated(&old, &new)
                }
                (2, Some(old)) => {
                    told.remove(&name);
                    deleted(&Arc::new(Thing { name: old.name.clone(), uid: old.uid.clone(), version: wanted.to_string() }))
                }
                (_, Some(object)) => resync(&object),
                (_, None) => continue,
            };
            handler(event);
            let model: BTreeMap<_, _> = told
                .values()
                .filter(|thing| is_wanted(thing) && thing.name != "n0")
                .map(|thing| (thing.name.clone(), Arc::clone(thing)))
                .collect();
            prop_assert_eq!(&*inner.borrow(), &model);
        }
    }
}
