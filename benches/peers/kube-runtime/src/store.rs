//! The store of a reflector, which has no indexes, as `store` and `readers` measure it.
//!
//! In: Pods, as the events of a watcher. Out: the operations of a [`Cache`].

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube_runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube_runtime::watcher::Event;

use crate::cache::{Cache, Reader};

pub(crate) struct Reflected {
    writer: Writer<Pod>,
    reader: Store<Pod>,
}

impl Cache for Reflected {
    type Reader = Store<Pod>;
    type Upsert = Box<Event<Pod>>;
    type Replacement = Vec<Event<Pod>>;
    /// What the store was handed: it keeps a copy.
    type Left = Box<Event<Pod>>;
    type AllLeft = Vec<Event<Pod>>;

    fn new() -> Self {
        let (reader, writer) = reflector::store();
        Self { writer, reader }
    }

    fn reader(&self) -> Store<Pod> {
        self.reader.clone()
    }

    fn prepare(pod: Pod) -> Box<Event<Pod>> {
        Box::new(Event::Apply(pod))
    }

    fn upsert(&mut self, upsert: Box<Event<Pod>>) -> Box<Event<Pod>> {
        self.writer.apply_watcher_event(&upsert);
        upsert
    }

    fn upsert_all(&mut self, upserts: Vec<Box<Event<Pod>>>) -> Vec<Box<Event<Pod>>> {
        upserts.iter().for_each(|upsert| self.writer.apply_watcher_event(upsert));
        upserts
    }

    fn prepare_replacement(pods: impl Iterator<Item = Pod>) -> Vec<Event<Pod>> {
        std::iter::once(Event::Init).chain(pods.map(Event::InitApply)).chain([Event::InitDone]).collect()
    }

    fn replace(&mut self, replacement: Vec<Event<Pod>>) -> Vec<Event<Pod>> {
        replacement.iter().for_each(|event| self.writer.apply_watcher_event(event));
        replacement
    }
}

impl Reader for Store<Pod> {
    type Key = ObjectRef<Pod>;
    type Snapshot = Vec<Arc<Pod>>;

    fn key(namespace: &str, name: &str) -> ObjectRef<Pod> {
        ObjectRef::new(name).within(namespace)
    }

    fn get(&self, key: &ObjectRef<Pod>) -> Option<Arc<Pod>> {
        Self::get(self, key)
    }

    fn list_namespace(&self, namespace: &str) -> Vec<Arc<Pod>> {
        self.state_filter(|pod| pod.metadata.namespace.as_deref() == Some(namespace))
    }

    fn visit_namespace(&self, namespace: &str, mut visit: impl FnMut(&Pod)) {
        self.list_namespace(namespace).iter().for_each(|pod| visit(pod));
    }

    fn visit_node(&self, _: &String, _: impl FnMut(&Pod)) -> bool {
        false
    }

    fn walk(&self, mut visit: impl FnMut(&Pod)) {
        self.state().iter().for_each(|pod| visit(pod));
    }

    fn snapshot(&self) -> Vec<Arc<Pod>> {
        self.state()
    }
}
