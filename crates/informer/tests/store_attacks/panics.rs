//! Panics that come out of the writer.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use watchkeeper_informer::delta_fifo::{Change, Work};
use watchkeeper_informer::{ResourceVersion, StoreWriter};

use crate::thing::{BAD, Maker, State, Thing};

/// A value that can't always be hashed.
#[derive(Clone, PartialEq, Eq)]
struct Unhashed(u16);

impl Hash for Unhashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            BAD => resume_unwind(Box::new("planted")),
            value => value.hash(state),
        }
    }
}

/// Goal: a batch in the middle of which a panic comes out of the writer leaves a store that can be used: what was done before is there,
/// who asks for a snapshot gets one, the next batches do what they say, and nothing is kept.
#[test]
fn a_panic_in_the_middle_of_a_batch() {
    let (maker, mut writer) = (Maker::default(), StoreWriter::default());
    let by_group = writer.add_index("group", |thing: &Thing| thing.state.groups.clone().into_iter().map(Unhashed));
    let (store, at) = (writer.store(), ResourceVersion::new("1"));
    let change = |name: u16, version: u16, group: u16| {
        let (namespace, name, uid) = ("ns0".to_owned(), format!("n{name}"), "u".to_owned());
        let (version, groups) = (version.to_string(), vec![group]);
        Change::applied(maker.make(State { namespace, name, uid, version, groups, serial: 0 }))
    };
    writer.apply(Work::Changes((0..40).map(|name| change(name, 1, 1)).collect()), at.clone());
    for round in 1..4u16 {
        let bad = 10 * round;
        let changes = (0..40).map(|name| change(name, 2 * round, if name == bad { BAD } else { 2 }));
        let changes = Work::Changes(changes.collect());
        assert!(catch_unwind(AssertUnwindSafe(|| writer.apply(changes, at.clone()))).is_err());
        // Sixteen changes are looked at before the first of them is made.
        let made = usize::from(bad) / 16 * 16;
        let news = |thing: &&Arc<Thing>| thing.state.version == (2 * round).to_string();
        assert_eq!(store.list().iter().filter(news).count(), made);
        assert_eq!((store.snapshot().len(), by_group.get(&Unhashed(2)).len()), (40, made));
        let changes = Work::Changes((0..40).map(|name| change(name, 2 * round + 1, 1)).collect());
        assert_eq!(writer.apply(changes, at.clone()).events.len(), 40);
        assert_eq!((by_group.get(&Unhashed(1)).len(), by_group.get(&Unhashed(2)).len()), (40, 0));
        assert_eq!(maker.alive(), 40);
    }
}
