//! Our store, as an informer makes it, with three indexes: by namespace, which it always has, by node and by app.
//!
//! In: Pods. Out: the operations of a [`Cache`]. Everything that is asked of the store in `store` and `readers` stands here.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use watchkeeper_informer::delta_fifo::{Change, Relisted, Replacement, Work};
use watchkeeper_informer::store::Applied;
use watchkeeper_informer::{Cached as _, Index, ObjectKey, ResourceVersion, Snapshot, StoreWriter, ThreadSafeStore};

use super::cache::{Cache, Reader};
use super::objects::APP;

pub(crate) struct Ours {
    writer: StoreWriter<Pod>,
    reader: OurReader,
}

#[derive(Clone)]
pub(crate) struct OurReader {
    store: ThreadSafeStore<Pod>,
    by_namespace: Index<Pod, String>,
    by_node: Index<Pod, String>,
}

/// The node an object is found under.
pub(crate) fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

/// The app.
pub(crate) fn app(pod: &Pod) -> Option<String> {
    pod.metadata.labels.as_ref()?.get(APP).cloned()
}

impl Cache for Ours {
    type Reader = OurReader;
    type Upsert = Arc<Pod>;
    type Replacement = Replacement<Pod>;
    type Left = Applied<Pod>;
    type AllLeft = Applied<Pod>;

    fn new() -> Self {
        let mut writer = StoreWriter::default();
        let by_node = writer.add_index("node", node);
        writer.add_index("app", app);
        let store = writer.store();
        let reader = OurReader { by_namespace: store.by_namespace(), store, by_node };
        Self { writer, reader }
    }

    fn reader(&self) -> OurReader {
        self.reader.clone()
    }

    fn prepare(pod: Pod) -> Arc<Pod> {
        Arc::new(pod)
    }

    fn upsert(&mut self, upsert: Arc<Pod>) -> Applied<Pod> {
        let version = ResourceVersion::new(upsert.version());
        self.writer.apply(Work::Changes(vec![Change::applied(upsert)]), version)
    }

    fn prepare_replacement(pods: impl Iterator<Item = Pod>) -> Replacement<Pod> {
        let items: Vec<_> = pods.map(|pod| Relisted::new(Arc::new(pod))).collect();
        let version = ResourceVersion::new(items.last().map_or("0", |last| last.object().version()));
        Replacement { items, version }
    }

    fn replace(&mut self, replacement: Replacement<Pod>) -> Applied<Pod> {
        let version = replacement.version.clone();
        self.writer.apply(Work::Replace(replacement), version)
    }

    fn upsert_all(&mut self, upserts: Vec<Arc<Pod>>) -> Vec<Applied<Pod>> {
        let version = ResourceVersion::new(upserts.last().map_or("0", |last| last.version()));
        vec![self.writer.apply(Work::Changes(upserts.into_iter().map(Change::applied).collect()), version)]
    }
}

impl Reader for OurReader {
    type Key = ObjectKey;
    type Snapshot = Snapshot<Pod>;

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn get(&self, key: &ObjectKey) -> Option<Arc<Pod>> {
        self.store.get(key)
    }

    fn list_namespace(&self, namespace: &str) -> Vec<Arc<Pod>> {
        self.store.namespace(namespace)
    }

    fn visit_namespace(&self, namespace: &str, mut visit: impl FnMut(&Pod)) {
        self.by_namespace.for_each(namespace, |pod| visit(pod));
    }

    fn visit_node(&self, node: &String, mut visit: impl FnMut(&Pod)) -> bool {
        self.by_node.for_each(node, |pod| visit(pod));
        true
    }

    fn walk(&self, mut visit: impl FnMut(&Pod)) {
        self.store.for_each(|pod| visit(pod));
    }

    fn snapshot(&self) -> Snapshot<Pod> {
        self.store.snapshot()
    }
}
