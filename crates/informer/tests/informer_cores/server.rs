//! A server's history of a few names, as a watch and a list would show it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use watchkeeper_informer::ResourceVersion;
use watchkeeper_informer::delta_fifo::Delta;

use crate::thing::{Thing, thing};

#[derive(Default)]
pub(crate) struct Server {
    pub live: BTreeMap<u8, (u64, Arc<Thing>)>,
    pub revision: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Create or change this name.
    Write(u8),
    /// Delete it, if it lives.
    Delete(u8),
    /// Delete it and create it again: the delete is seen.
    Recreate(u8),
    /// The watch is cut; writes go on unseen until the next relist.
    Cut,
    /// A complete list.
    Relist,
    /// A bookmark.
    Bookmark,
    /// The store takes one batch.
    Consume,
}

pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let name = 0u8..5;
    let step = prop_oneof![
        6 => name.clone().prop_map(Step::Write),
        3 => name.clone().prop_map(Step::Delete),
        2 => name.prop_map(Step::Recreate),
        1 => Just(Step::Cut),
        2 => Just(Step::Relist),
        1 => Just(Step::Bookmark),
        5 => Just(Step::Consume),
    ];
    proptest::collection::vec(step, 1..count)
}

impl Server {
    pub(crate) fn version(&self) -> ResourceVersion {
        ResourceVersion::new(&self.revision.to_string())
    }

    pub(crate) fn write(&mut self, name: u8) -> Delta<Thing> {
        self.revision += 1;
        let life = self.live.get(&name).map_or(self.revision, |(life, _)| *life);
        let object = thing(name, life, self.revision);
        self.live.insert(name, (life, Arc::clone(&object)));
        Delta::Applied(object)
    }

    pub(crate) fn delete(&mut self, name: u8) -> Option<Delta<Thing>> {
        let (life, _) = self.live.remove(&name)?;
        self.revision += 1;
        Some(Delta::Deleted(thing(name, life, self.revision)))
    }
}
