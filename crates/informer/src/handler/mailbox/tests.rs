#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;
use crate::thing::Thing;

fn thing(name: u8, life: u64, version: u64) -> Arc<Thing> {
    Arc::new(Thing { name: format!("n{name}"), uid: format!("u{name}-{life}"), version: version.to_string() })
}

/// What the store would say of a sane history.
#[derive(Default)]
struct Store {
    live: BTreeMap<u8, (u64, Arc<Thing>)>,
    revision: u64,
}

impl Store {
    fn write(&mut self, name: u8, initial: bool) -> Event<Thing> {
        self.revision += 1;
        let life = self.live.get(&name).map_or(self.revision, |(life, _)| *life);
        let new = thing(name, life, self.revision);
        match self.live.insert(name, (life, Arc::clone(&new))) {
            Some((_, old)) => Event::Updated { old, new },
            None => Event::Added { object: new, initial },
        }
    }

    fn delete(&mut self, name: u8) -> Option<Event<Thing>> {
        let (life, _) = self.live.remove(&name)?;
        self.revision += 1;
        Some(Event::Deleted { last: thing(name, life, self.revision), finality: Finality::Observed })
    }
}

/// What a handler makes of what it hears.
#[derive(Default)]
struct Handler {
    told: BTreeMap<String, Arc<Thing>>,
    ended: HashSet<String>,
    initial: BTreeSet<String>,
    resyncs: usize,
}

impl Handler {
    fn hear(&mut self, event: Event<Thing>) {
        match event {
            Event::Added { object, initial } => {
                assert!(!self.ended.contains(&object.uid), "a life began twice");
                if initial {
                    self.initial.insert(object.name.clone());
                }
                let told = self.told.insert(object.name.clone(), object);
                assert!(told.is_none(), "the life before has not ended");
            }
            Event::Updated { old, new } => {
                assert_eq!(old.uid, new.uid);
                assert!(number(&old) < number(&new), "went back");
                let told = self.told.insert(new.name.clone(), new).expect("updated before it was added");
                assert!(Arc::ptr_eq(&told, &old), "old is what was last told");
            }
            Event::Deleted { last, .. } => {
                let told = self.told.remove(&last.name).expect("deleted without being there");
                assert_eq!(told.uid, last.uid);
                assert!(number(&told) <= number(&last));
                assert!(self.ended.insert(last.uid.clone()), "ended twice");
            }
            Event::Resync { object } => {
                let told = self.told.get(&object.name).expect("told again before it was told");
                assert!(Arc::ptr_eq(told, &object), "a change told as a resync");
                self.resyncs += 1;
            }
        }
    }
}

fn offer(mailbox: &mut Mailbox<Thing>, event: Event<Thing>, now: Instant) {
    mailbox.offer(&ObjectKey::of(&**event.object()), &event, now);
}

fn number(thing: &Thing) -> u64 {
    thing.version.parse().expect("test versions are numbers")
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write(u8),
    Delete(u8),
    Recreate(u8),
    Deliver,
    /// So many seconds pass.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..5).prop_map(Step::Write),
        2 => (0u8..5).prop_map(Step::Delete),
        2 => (0u8..5).prop_map(Step::Recreate),
        6 => Just(Step::Deliver),
        1 => (0u64..30).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..80)
}

const PERIOD: Duration = Duration::from_secs(20);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    /// Goal: I3 and I5 for a handler of any speed, within the stated bound. Method: a store's events, a snapshot
    /// first, deliveries in between at random; a handler that checks every life it hears of; in the end it believes
    /// what is there, and it is synced exactly from when nothing of the snapshot is left to tell. Told again is only what
    /// was told and has no news, and in a period without news, each of them once.
    #[test]
    fn a_handler_hears_every_life_in_order(snapshot in 0u8..5, steps in steps()) {
        let (mut store, mut mailbox, mut handler) = (Store::default(), Mailbox::new(Some(PERIOD)), Handler::default());
        let mut now = Instant::now();
        for name in 0..snapshot {
            let event = store.write(name, true);
            offer(&mut mailbox, event, now);
        }
        prop_assert!(!mailbox.has_finished_snapshot());
        mailbox.end_snapshot();
        // Names of the snapshot of which nothing has been told, and that have been there all the time.
        let mut left: BTreeSet<String> = (0..snapshot).map(|name| format!("n{name}")).collect();
        for step in steps {
            let events = match step {
                Step::Write(name) => vec![store.write(name, false)],
                Step::Delete(name) => store.delete(name).into_iter().collect(),
                Step::Recreate(name) => {
                    let mut events: Vec<_> = store.delete(name).into_iter().collect();
                    events.push(store.write(name, false));
                    events
                }
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    Vec::new()
                }
                Step::Deliver => Vec::new(),
            };
            for event in events {
                if let Event::Deleted { last, .. } = &event {
                    left.remove(&last.name);
                }
                offer(&mut mailbox, event, now);
            }
            if matches!(step, Step::Deliver) && let Some(event) = mailbox.next(now) {
                prop_assert!(mailbox.calling_since().is_some() && !mailbox.has_finished_snapshot());
                let news = mailbox.waiting.contains_key(&ObjectKey::of(&**event.object()));
                prop_assert!(!news || !matches!(event, Event::Resync { .. }), "there is something else to tell");
                left.remove(&event.object().name);
                handler.hear(event);
                mailbox.returned();
            }
            prop_assert_eq!(mailbox.has_finished_snapshot(), left.is_empty());
            let live: BTreeSet<_> = store.live.values().map(|(_, object)| object.name.clone()).collect();
            let bound = live.union(&handler.told.keys().cloned().collect()).count();
            prop_assert!(mailbox.pending() <= bound);
            prop_assert_eq!(mailbox.pending(), mailbox.waiting.len());
        }
        while let Some(event) = mailbox.next(now) {
            handler.hear(event);
            mailbox.returned();
        }
        prop_assert!(mailbox.has_finished_snapshot());
        handler.resyncs = 0;
        while let Some(event) = mailbox.next(now + PERIOD) {
            handler.hear(event);
            mailbox.returned();
        }
        prop_assert_eq!(handler.resyncs, handler.told.len());
        let present: BTreeMap<_, _> =
            store.live.into_values().map(|(_, object)| (object.name.clone(), object)).collect();
        prop_assert_eq!(&handler.told, &present);
        let after_snapshot = format!("n{snapshot}");
        prop_assert!(handler.initial.iter().all(|name| *name < after_snapshot));
    }
}

/// Goal: a burst is told as one difference, and what came and went unseen isn't told at all.
#[test]
fn a_burst_is_one_difference() {
    let (mut mailbox, now) = (Mailbox::new(None), Instant::now());
    offer(&mut mailbox, Event::Added { object: thing(1, 1, 1), initial: false }, now);
    let told = mailbox.next(now);
    mailbox.returned();
    assert!(matches!(told, Some(Event::Added { .. })));
    offer(&mut mailbox, Event::Updated { old: thing(1, 1, 1), new: thing(1, 1, 2) }, now);
    offer(&mut mailbox, Event::Deleted { last: thing(1, 1, 3), finality: Finality::Observed }, now);
    offer(&mut mailbox, Event::Added { object: thing(1, 2, 4), initial: false }, now);
    offer(&mut mailbox, Event::Deleted { last: thing(1, 2, 5), finality: Finality::Observed }, now);
    offer(&mut mailbox, Event::Added { object: thing(1, 3, 6), initial: false }, now);
    offer(&mut mailbox, Event::Added { object: thing(2, 1, 7), initial: false }, now);
    offer(&mut mailbox, Event::Deleted { last: thing(2, 1, 8), finality: Finality::Observed }, now);
    assert_eq!(mailbox.pending(), 1);
    let Some(Event::Deleted { last, finality: Finality::Observed }) = mailbox.next(now) else {
        panic!("the end of the life that was told")
    };
    assert_eq!(last, thing(1, 1, 3));
    mailbox.returned();
    let Some(Event::Added { object, initial: false }) = mailbox.next(now) else { panic!("the present life") };
    assert_eq!(object, thing(1, 3, 6));
    mailbox.returned();
    assert!(mailbox.next(now).is_none());
}

/// Goal: an object that left the selectors and came back while the handler lagged is an update of the same life.
#[test]
fn leaving_and_coming_back_unseen_is_an_update() {
    let (mut mailbox, now) = (Mailbox::new(None), Instant::now());
    offer(&mut mailbox, Event::Added { object: thing(1, 1, 1), initial: false }, now);
    mailbox.next(now);
    mailbox.returned();
    offer(&mut mailbox, Event::Deleted { last: thing(1, 1, 2), finality: Finality::Observed }, now);
    offer(&mut mailbox, Event::Added { object: thing(1, 1, 3), initial: false }, now);
    assert!(
        matches!(mailbox.next(now), Some(Event::Updated { old, new }) if *old == *thing(1, 1, 1) && *new == *thing(1, 1, 3))
    );
}
