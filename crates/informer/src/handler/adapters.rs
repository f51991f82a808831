//! Adapters: handlers made of handlers.
//!
//! In: a function and a handler. Out: a handler, which can be registered or put into another adapter. They are plain
//! closures, without task, lock or clock.
//!
//! Upstream counterpart: `FilteringResourceEventHandler` of client-go; kube-runtime's `WatchStreamExt` has its like for
//! streams.

use std::collections::HashSet;

use ahash::RandomState;

use crate::event::{Event, Finality};
use crate::key::{ObjectKey, with_text};
use crate::object::Cached;
use crate::store::fingerprint::seeded;

/// A handler that sees only the objects of which `wanted` says so, as if there were no others:
///
/// | before, after | it is told |
/// | --- | --- |
/// | wanted, wanted | `Updated` |
/// | unwanted, wanted | `Added`, not `initial` |
/// | wanted, unwanted | `Deleted` with the old state, the last one that was wanted, and [`Finality::Observed`], since nothing was missed |
/// | unwanted, unwanted | nothing |
///
/// An object that is gone is `Deleted` as it was for the whole informer, whatever its last state is, if the handler
/// knows of it, and only then. A resync goes through if the object is wanted; if `wanted` has changed its mind since,
/// it is told as the transition that it then is.
///
/// To be right for a handler that lags, to whom an object's last state may be one it was never told of, this keeps the
/// keys that `handler` knows: memory is bounded by what is wanted and alive. Upstream asks the predicate about the last
/// state instead, and then tells the end of what it never told of, or doesn't tell an end.
///
/// ```
/// use std::sync::Arc;
/// use k8s_openapi::api::core::v1::Pod;
/// use watchkeeper_informer::Event;
/// use watchkeeper_informer::handler::adapters::filtered;
///
/// let on_a_node = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
/// let mut told = 0;
/// let mut handler = filtered(on_a_node, |_event: Event<Pod>| told += 1);
/// handler(Event::Added { object: Arc::new(Pod::default()), initial: true });
/// drop(handler);
/// assert_eq!(told, 0);
/// ```
pub fn filtered<K: Cached>(
    mut wanted: impl FnMut(&K) -> bool,
    mut handler: impl FnMut(Event<K>),
) -> impl FnMut(Event<K>) {
    let mut known = HashSet::<ObjectKey, RandomState>::with_hasher(seeded());
    move |event| {
        let object = event.object();
        let is_gone = matches!(event, Event::Deleted { .. });
        let was = with_text(object.namespace(), object.name(), |key| known.contains(key));
        let is = !is_gone && wanted(object);
        // Before the handler is told, which may panic: it counts as told then, as everywhere.
        if is && !was {
            known.insert(ObjectKey::of(&**object));
        } else if was && !is {
            with_text(object.namespace(), object.name(), |key| known.remove(key));
        }
        match (was, is, event) {
            (false, true, Event::Updated { new: object, .. } | Event::Resync { object }) => {
                handler(Event::Added { object, initial: false });
            }
            (true, false, Event::Updated { old: last, .. } | Event::Resync { object: last }) => {
                handler(Event::Deleted { last, finality: Finality::Observed });
            }
            (false, false, _) => {}
            (_, _, event) => handler(event),
        }
    }
}

/// A handler of whatever `values` makes of each event, in order: none, one or several values, events of another type
/// among them.
///
/// ```
/// use std::sync::Arc;
/// use k8s_openapi::api::core::v1::ConfigMap;
/// use watchkeeper_informer::handler::adapters::mapped;
/// use watchkeeper_informer::{Event, ObjectKey};
///
/// let mut keys = Vec::new();
/// let mut handler = mapped(|event: Event<ConfigMap>| Some(ObjectKey::of(&**event.object())), |key| keys.push(key));
/// handler(Event::Added { object: Arc::new(ConfigMap::default()), initial: true });
/// drop(handler);
/// assert_eq!(keys, [ObjectKey::new("", "")]);
/// ```
pub fn mapped<K, V, I: IntoIterator<Item = V>>(
    mut values: impl FnMut(Event<K>) -> I,
    mut handler: impl FnMut(V),
) -> impl FnMut(Event<K>) {
    move |event| values(event).into_iter().for_each(&mut handler)
}

#[cfg(test)]
mod tests;
