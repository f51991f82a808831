//! What a handler is told, added up.
//!
//! Comes in: events. Goes out: what should be cached if they are true, and the first of them that doesn't fit those before.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use watchkeeper_informer::{Cached, Event};

use crate::heap::Heap;
use crate::world::Present;

#[derive(Clone, Default)]
pub(crate) struct Story(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    alive: BTreeMap<String, Arc<ConfigMap>>,
    wrong: Option<String>,
}

impl Story {
    /// The handler that writes it.
    pub(crate) fn writer(&self) -> impl FnMut(Event<ConfigMap>) + Send + 'static {
        let told = self.0.clone();
        move |event| {
            Heap::look();
            told.lock().hear(event);
        }
    }

    /// What adds up to this.
    pub(crate) fn present(&self) -> Present {
        present(self.0.lock().alive.values())
    }

    /// What didn't fit.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.0.lock().wrong.clone()
    }
}

impl Told {
    fn hear(&mut self, event: Event<ConfigMap>) {
        let present = match &event {
            Event::Added { object: present, .. }
            | Event::Updated { new: present, .. }
            | Event::Resync { object: present } => Some(present.clone()),
            Event::Deleted { .. } => None,
        };
        let key = key(event.object());
        let known = match present {
            Some(present) => self.alive.insert(key, present),
            None => self.alive.remove(&key),
        };
        let fits = match (&event, &known) {
            (Event::Added { .. }, known) => known.is_none(),
            (Event::Updated { old, new }, Some(known)) => Arc::ptr_eq(old, known) && old.uid() == new.uid(),
            // It says the last state of the server's, which may be newer than what was told.
            (Event::Deleted { last, .. }, Some(known)) => last.uid() == known.uid(),
            (Event::Resync { .. }, _) | (_, None) => false,
        };
        if !fits {
            self.wrong.get_or_insert_with(|| format!("{event:?} after {known:?}"));
        }
    }
}

pub(crate) fn key(object: &ConfigMap) -> String {
    format!("{}/{}", object.namespace(), object.name())
}

/// Keys with uid and version.
pub(crate) fn present<'a>(objects: impl IntoIterator<Item = &'a Arc<ConfigMap>>) -> Present {
    let entry = |object: &ConfigMap| (key(object), (object.uid().to_owned(), object.version().to_owned()));
    objects.into_iter().map(|object| entry(object)).collect()
}
