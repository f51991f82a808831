//! A kind that shows the objects of another one under other names, as the Events of the two groups do.
//!
//! Comes in: an object with the names of one of them. Goes out: the same with the other's. Members that only the kind that
//! is left knows are not taken along, as little as upstream's types do. Never holds objects: the store does, once.

use serde_json::{Map, Value};

use super::KindId;

/// Whose objects a kind shows, and how.
#[derive(Debug)]
pub(crate) struct View {
    /// The kind that is stored. It has at most one view.
    pub(crate) of: KindId,
    /// Members that are named otherwise: by the kind that is stored, by this one.
    pub(crate) names: &'static [(&'static str, &'static str)],
}

impl View {
    /// What is stored, as this kind shows it.
    pub(crate) fn show(&self, object: Map<String, Value>) -> Map<String, Value> {
        rename(object, self.names.iter().copied())
    }

    /// What this kind was given, as it is stored.
    pub(crate) fn store(&self, object: Map<String, Value>) -> Map<String, Value> {
        rename(object, self.names.iter().map(|(stored, shown)| (*shown, *stored)))
    }
}

fn rename(
    object: Map<String, Value>,
    names: impl Iterator<Item = (&'static str, &'static str)> + Clone,
) -> Map<String, Value> {
    let renamed = |(name, value): (String, Value)| {
        if let Some((_, to)) = names.clone().find(|(from, _)| *from == name) {
            return Some(((*to).to_owned(), value));
        }
        (!names.clone().any(|(_, to)| to == name)).then_some((name, value))
    };
    object.into_iter().filter_map(renamed).collect()
}
